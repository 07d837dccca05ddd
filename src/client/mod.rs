//! `Connection`: what `nats.aio.client.Client` drives.
//!
//! One object per `connect()`, kept over reconnects. Methods run on the loop's thread under
//! the GIL; the mutexes only guard against re-entrance and publishers in other threads, and
//! none is held across a call into Python.

mod control;
mod dial;
mod driver;
mod failing;
mod loop_end;
mod publish;
mod waits;

use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicUsize, Ordering::Relaxed,
};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Instant;

use pyo3::exceptions::{PyAttributeError, PyNotImplementedError, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyWeakrefReference};

use crate::bridge::{CallRing, Doorbell, MessageFactory, calls};
use crate::connection::bell::{FdRing, Silent};
use crate::connection::dispatch::SidMap;
use crate::connection::{Bell, Shared, lock};
use crate::consumer::Consumer;
use crate::process::OwnProcess;
use crate::request::{Deadlines, Requests};
use control::Control;
pub use dial::DialedLink;
use dial::Dialing;
use driver::Driver;

/// States of `nats.aio.client.Client`, under the same numbers.
pub mod status {
    pub const DISCONNECTED: u8 = 0;
    pub const CONNECTED: u8 = 1;
    pub const CLOSED: u8 = 2;
    pub const DRAINING_SUBS: u8 = 5;
    pub const DRAINING_PUBS: u8 = 6;
}

/// A number that no other running thread has; cheaper than asking for the thread's id.
fn thread_mark() -> usize {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.with(|mark| std::ptr::from_ref(mark).addr())
}

/// Whether the loop can watch descriptors: every loop has `add_reader`, some only to refuse.
fn can_watch(event_loop: &Bound<'_, PyAny>, ring: &FdRing) -> PyResult<bool> {
    let py = event_loop.py();
    let Some(fd) = ring.fd() else { return Ok(false) };
    match calls::call_method1(event_loop, intern!(py, "remove_reader"), (fd,)) {
        Ok(_) => Ok(true),
        Err(error)
            if error.is_instance_of::<PyNotImplementedError>(py)
                || error.is_instance_of::<PyAttributeError>(py) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// The parts of the event loop that are called often, looked up once.
struct Loop {
    event_loop: Py<PyAny>,
    call_soon: Py<PyAny>,
    call_soon_threadsafe: Py<PyAny>,
    call_later: Py<PyAny>,
    create_future: Py<PyAny>,
}

/// Connection of one client: output, subscriptions, requests and events.
#[pyclass(frozen, weakref, module = "nats._core")]
pub struct Connection {
    shared: OwnProcess<Arc<Shared>>,
    /// The thread that the loop ran in when it was last looked at.
    thread: AtomicUsize,
    event_loop: Loop,
    doorbell: Doorbell,
    /// Set where the doorbell is a call to the loop.
    bell_target: Arc<OnceLock<Py<PyWeakrefReference>>>,
    /// `Client._subs`: completed subscriptions leave it.
    subscriptions: Py<PyDict>,
    client: Py<PyAny>,
    factory: Mutex<Arc<MessageFactory>>,
    driver: Mutex<Driver>,
    dialing: Mutex<Option<Dialing>>,
    status: AtomicU8,
    max_payload: AtomicUsize,
    max_pending: AtomicI64,
    skip_subject_validation: AtomicBool,
    /// A kick is due at the end of this turn of the loop.
    kick_armed: AtomicBool,
    /// The driver's connection is an asyncio transport, which the loop alone writes to.
    uses_transport: AtomicBool,
    pings_outstanding: AtomicU32,
    /// Rings of the doorbell in a row that have brought little.
    calm_rings: AtomicU32,
    control: Mutex<Control>,
    room_waiters: Mutex<Vec<Py<PyAny>>>,
    /// Futures of publishers that let the loop write.
    kick_waiters: Mutex<Vec<Py<PyAny>>>,
    /// By the keys of their subscriptions.
    consumers: Mutex<SidMap<Weak<Consumer>>>,
    requests: Mutex<Requests>,
    deadlines: Mutex<Deadlines>,
    /// The loop's timer for the earliest of them.
    timer: Mutex<Option<Py<PyAny>>>,
    header_scratch: Mutex<Vec<u8>>,
    /// Until when publishers are served after the loop's end.
    served_until: Mutex<Option<Instant>>,
    /// Of a client that has given up.
    final_error: Mutex<Option<Py<PyAny>>>,
    /// Through which the loop's end is noticed.
    loop_timer: Mutex<Option<Py<PyWeakrefReference>>>,
}

impl Connection {
    pub fn is_connected(&self) -> bool {
        matches!(
            self.status.load(Relaxed),
            status::CONNECTED | status::DRAINING_SUBS | status::DRAINING_PUBS
        )
    }

    /// Whether this thread runs the loop, or has last: see `runs_here` then. A loop can be run
    /// in one thread and later in another.
    fn on_loop_thread(&self, py: Python<'_>) -> PyResult<bool> {
        let mark = thread_mark();
        if mark == self.thread.load(Relaxed) {
            return Ok(true);
        }
        let moved = self.runs_here(py)?;
        if moved {
            self.thread.store(mark, Relaxed);
        }
        Ok(moved)
    }

    fn is_loop_closed(&self, py: Python<'_>) -> PyResult<bool> {
        let event_loop = self.event_loop.event_loop.bind(py);
        calls::call_method0(event_loop, intern!(py, "is_closed"))?.is_truthy()
    }

    /// Whether this thread runs the loop.
    fn runs_here(&self, py: Python<'_>) -> PyResult<bool> {
        static RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let running_loop = RUNNING_LOOP.import(py, "asyncio", "_get_running_loop")?;
        Ok(calls::call0(running_loop)?.is(&self.event_loop.event_loop))
    }

    pub fn check_process(&self) -> PyResult<()> {
        self.shared.get().map(drop)
    }

    /// A future of the client's loop, for that loop.
    pub fn create_future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.check_loop(py)?;
        calls::call0(self.event_loop.create_future.bind(py))
    }

    /// A future of a class derived from `asyncio.Future`.
    pub fn create_future_of<'py>(&self, class: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = class.py();
        self.check_loop(py)?;
        let arguments = PyDict::new(py);
        arguments.set_item(intern!(py, "loop"), &self.event_loop.event_loop)?;
        calls::call_with(class, &arguments)
    }

    pub fn factory(&self) -> Arc<MessageFactory> {
        Arc::clone(&lock(&self.factory))
    }

    pub fn shared(&self) -> &OwnProcess<Arc<Shared>> {
        &self.shared
    }

    pub fn add_consumer(&self, key: u64, consumer: &Arc<Consumer>) {
        lock(&self.consumers).insert(key, Arc::downgrade(consumer));
    }

    pub fn consumers(&self) -> Vec<Arc<Consumer>> {
        lock(&self.consumers).values().filter_map(Weak::upgrade).collect()
    }

    pub fn remove_consumer(&self, key: u64) {
        lock(&self.consumers).remove(&key);
    }
}

#[pymethods]
impl Connection {
    /// `driver` is "tokio" or "asyncio"; `message_class` must derive from `Message`.
    #[new]
    fn new(
        py: Python<'_>,
        event_loop: Py<PyAny>,
        client: Py<PyAny>,
        subscriptions: Py<PyDict>,
        driver: &str,
        message_class: Py<PyAny>,
    ) -> PyResult<Self> {
        let bell_target = Arc::new(OnceLock::new());
        let (doorbell, bell) = match driver {
            "asyncio" => (Doorbell::None, Bell::new(Box::new(Silent))),
            "tokio" => match FdRing::new() {
                Ok(ring) if can_watch(event_loop.bind(py), &ring)? => {
                    let ring = Arc::new(ring);
                    (Doorbell::Fd(Arc::clone(&ring)), Bell::new(Box::new(ring)))
                }
                _ => {
                    let ring = CallRing { target: Arc::clone(&bell_target) };
                    (Doorbell::Call, Bell::new(Box::new(ring)))
                }
            },
            other => return Err(PyValueError::new_err(format!("unknown driver {other:?}"))),
        };
        let factory = MessageFactory::new(py, message_class, client.clone_ref(py), true)?;
        let look_up = |name| event_loop.getattr(py, name);
        Ok(Self {
            shared: OwnProcess::new(Arc::new(Shared::new(bell))),
            thread: AtomicUsize::new(thread_mark()),
            event_loop: Loop {
                call_soon: look_up(intern!(py, "call_soon"))?,
                call_soon_threadsafe: look_up(intern!(py, "call_soon_threadsafe"))?,
                call_later: look_up(intern!(py, "call_later"))?,
                create_future: look_up(intern!(py, "create_future"))?,
                event_loop,
            },
            doorbell,
            bell_target,
            subscriptions,
            client,
            factory: Mutex::new(Arc::new(factory)),
            driver: Mutex::new(if driver == "tokio" { Driver::tokio() } else { Driver::asyncio() }),
            dialing: Mutex::default(),
            status: AtomicU8::new(status::DISCONNECTED),
            max_payload: AtomicUsize::new(1024 * 1024),
            max_pending: AtomicI64::new(0),
            skip_subject_validation: AtomicBool::new(false),
            kick_armed: AtomicBool::new(false),
            uses_transport: AtomicBool::new(false),
            pings_outstanding: AtomicU32::new(0),
            calm_rings: AtomicU32::new(0),
            control: Mutex::default(),
            room_waiters: Mutex::default(),
            kick_waiters: Mutex::default(),
            consumers: Mutex::default(),
            requests: Mutex::default(),
            deadlines: Mutex::default(),
            timer: Mutex::default(),
            header_scratch: Mutex::default(),
            served_until: Mutex::default(),
            final_error: Mutex::default(),
            loop_timer: Mutex::default(),
        })
    }

    /// What messages are made of: a class deriving from `Message` to be filled directly, or
    /// (`native` false) any callable taking the fields as keywords.
    fn set_message_class(&self, py: Python<'_>, class_: Py<PyAny>, native: bool) -> PyResult<()> {
        let factory = MessageFactory::new(py, class_, self.client.clone_ref(py), native)?;
        *lock(&self.factory) = Arc::new(factory);
        Ok(())
    }

    /// Starts listening to the doorbell.
    fn open(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        this.check_process()?;
        match &this.doorbell {
            Doorbell::Fd(ring) => {
                if let Some(fd) = ring.fd() {
                    let drain = slf.getattr(intern!(py, "drain"))?;
                    let event_loop = this.event_loop.event_loop.bind(py);
                    calls::call_method1(event_loop, intern!(py, "add_reader"), (fd, drain))?;
                }
            }
            Doorbell::Call => {
                let _ = this.bell_target.set(PyWeakrefReference::new(slf)?.unbind());
            }
            Doorbell::None => {}
        }
        Ok(())
    }

    /// Stops listening and drops what is unwritten; the connection can't be used again.
    fn shut_down(&self, py: Python<'_>) -> PyResult<()> {
        self.drop_link(py)?;
        *lock(&self.driver) = Driver::Closed;
        if let Some(shared) = self.shared.get_unless_inherited() {
            shared.outbox.clear();
        }
        if let Doorbell::Fd(ring) = &self.doorbell
            && self.in_own_process()
            && let Some(fd) = ring.fd()
        {
            let event_loop = self.event_loop.event_loop.bind(py);
            calls::call_method1(event_loop, intern!(py, "remove_reader"), (fd,))?;
            ring.close();
        }
        self.disarm_deadlines(py)?;
        self.cancel_loop_timer(py)?;
        self.end_publishers(py)
    }

    /// False after a fork: what the connection holds is the parent's then.
    pub fn in_own_process(&self) -> bool {
        !self.shared.is_inherited()
    }

    fn is_shut_down(&self) -> bool {
        matches!(*lock(&self.driver), Driver::Closed)
    }

    #[getter]
    fn status(&self) -> u8 {
        self.status.load(Relaxed)
    }

    #[setter]
    fn set_status(&self, value: u8) {
        self.status.store(value, Relaxed);
    }

    /// Bytes.
    #[getter]
    fn max_payload(&self) -> usize {
        self.max_payload.load(Relaxed)
    }

    #[setter]
    fn set_max_payload(&self, value: usize) {
        self.max_payload.store(value, Relaxed);
    }

    /// Bytes of output that may wait before publishers do; zero or less: no buffering while
    /// disconnected, no waiting while connected.
    #[getter]
    fn max_pending(&self) -> i64 {
        self.max_pending.load(Relaxed)
    }

    #[setter]
    fn set_max_pending(&self, value: i64) -> PyResult<()> {
        let shared = self.shared.get()?;
        self.max_pending.store(value, Relaxed);
        shared.room_limit.store(usize::try_from(value / 2).unwrap_or(0), Relaxed);
        Ok(())
    }

    fn set_skip_subject_validation(&self, value: bool) {
        self.skip_subject_validation.store(value, Relaxed);
    }

    /// Unwritten bytes.
    #[getter]
    fn pending_size(&self) -> PyResult<usize> {
        Ok(self.shared.get()?.outbox.size())
    }

    /// `(in_msgs, out_msgs, in_bytes, out_bytes)` since the connection was made.
    fn counters(&self) -> PyResult<(u64, u64, u64, u64)> {
        let stats = &self.shared.get()?.stats;
        Ok((
            stats.in_msgs.load(Relaxed),
            stats.out_msgs.load(Relaxed),
            stats.in_bytes.load(Relaxed),
            stats.out_bytes.load(Relaxed),
        ))
    }

    /// Entries that a leak would grow: `(requests, deadlines, consumers, pongs)`.
    fn census(&self) -> PyResult<(usize, usize, usize, usize)> {
        self.check_process()?;
        Ok((
            lock(&self.requests).len(),
            lock(&self.deadlines).len(),
            lock(&self.consumers).len(),
            lock(&self.control).pongs.len(),
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop.event_loop)?;
        visit.call(&self.event_loop.call_soon)?;
        visit.call(&self.event_loop.call_soon_threadsafe)?;
        visit.call(&self.event_loop.call_later)?;
        visit.call(&self.event_loop.create_future)?;
        visit.call(&self.subscriptions)?;
        visit.call(&self.client)?;
        // A lock that is taken belongs to code that is using the objects: they stay.
        if let Ok(factory) = self.factory.try_lock() {
            factory.traverse(&visit)?;
        }
        if let Ok(driver) = self.driver.try_lock() {
            driver.traverse(&visit)?;
        }
        if let Ok(dialing) = self.dialing.try_lock() {
            visit.call(dialing.as_ref().map(|dialing| &dialing.future))?;
        }
        // What waits leads by its tasks back to the client: where a loop has been closed under
        // them, nothing else would ever free it and its socket.
        if let Ok(control) = self.control.try_lock() {
            control.traverse(&visit)?;
        }
        for waiters in [&self.room_waiters, &self.kick_waiters] {
            if let Ok(waiters) = waiters.try_lock() {
                waiters.iter().try_for_each(|waiter| visit.call(waiter))?;
            }
        }
        if let Ok(requests) = self.requests.try_lock() {
            requests.traverse(&visit)?;
        }
        if let Ok(deadlines) = self.deadlines.try_lock() {
            deadlines.traverse(&visit)?;
        }
        if let Ok(timer) = self.timer.try_lock() {
            visit.call(&*timer)?;
        }
        if let Ok(error) = self.final_error.try_lock() {
            visit.call(&*error)?;
        }
        Ok(())
    }
}
