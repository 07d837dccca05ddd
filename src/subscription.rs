//! `SubscriptionCore`: the consuming half of a subscription.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::bridge::{Started, YieldOnce, calls, is_done, is_shared, resolve, start_coroutine};
use crate::client::Connection;
use crate::connection::{Subscription, lock};
use crate::inlet::Inlet;
use crate::jetstream::fetch::Pulls;
use crate::jetstream::push::Push;
use crate::message::Message;
use crate::protocol::Frame;
use crate::request::DeadlineKey;

/// A handler that waits, and what for; nothing where it is an unusual awaitable.
type Suspended<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyAny>>);

/// Somebody waiting for a message.
pub struct Waiter {
    pub future: Py<PyAny>,
    pub deadline: Option<DeadlineKey>,
}

/// State of the consuming side; touched under the GIL only.
pub struct Consumer {
    pub subscription: Arc<Subscription>,
    pub inlet: Mutex<Inlet>,
    waiters: Mutex<VecDeque<Waiter>>,
    /// The fetches of a pull subscription.
    pub pulls: Pulls,
    /// Wait until no message is queued or being handled.
    joiners: Mutex<Vec<Py<PyAny>>>,
    /// Takes the first message, as `subscribe(future=…)` asks for.
    future: Option<Py<PyAny>>,
}

impl Consumer {
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.future)?;
        // A lock that is taken belongs to code that is using the futures: they stay.
        if let Ok(waiters) = self.waiters.try_lock() {
            waiters.iter().try_for_each(|waiter| visit.call(&waiter.future))?;
        }
        if let Ok(joiners) = self.joiners.try_lock() {
            joiners.iter().try_for_each(|joiner| visit.call(joiner))?;
        }
        if let Ok(pulls) = self.pulls.try_lock() {
            pulls.waiters().try_for_each(|waiter| visit.call(&waiter.future))?;
        }
        Ok(())
    }

    pub fn take(&self) -> Option<Frame> {
        lock(&self.inlet).take(&self.subscription)
    }

    fn is_empty(&self) -> bool {
        self.subscription.pending_msgs() == 0
    }

    /// A message has arrived for somebody who waits.
    pub fn wake(&self, py: Python<'_>, connection: &Connection) -> PyResult<()> {
        if let Some(future) = &self.future {
            while let Some(frame) = self.take() {
                self.finish(py)?;
                let message = connection.factory().make_lasting(py, frame, None)?;
                resolve(future.bind(py), message)?;
            }
            // Only frames that arrived meanwhile make this false; they'd be for nobody.
            self.subscription.wait();
            return Ok(());
        }
        self.deal(py, connection)?;
        self.wake_next(py, connection)
    }

    /// Wakes the next waiter if there is a message for it, and asks to be told of the next
    /// message otherwise.
    fn wake_next(&self, py: Python<'_>, connection: &Connection) -> PyResult<()> {
        loop {
            let mut waiters = lock(&self.waiters);
            if waiters.is_empty() || (self.is_empty() && self.subscription.wait()) {
                return Ok(());
            }
            let Some(waiter) = waiters.pop_front() else { return Ok(()) };
            drop(waiters);
            if self.release(py, connection, waiter)? {
                return Ok(());
            }
        }
    }

    /// Resolves a waiter; false if it had been cancelled or had timed out.
    pub fn release(
        &self,
        py: Python<'_>,
        connection: &Connection,
        waiter: Waiter,
    ) -> PyResult<bool> {
        if let Some(deadline) = &waiter.deadline {
            connection.remove_deadline(deadline);
        }
        let future = waiter.future.bind(py);
        if is_done(future)? {
            return Ok(false);
        }
        resolve(future, py.None())?;
        Ok(true)
    }

    /// Wakes everybody who waits, with or without a message.
    pub fn release_waiters(&self, py: Python<'_>, connection: &Connection) -> PyResult<()> {
        let waiters = std::mem::take(&mut *lock(&self.waiters));
        waiters.into_iter().try_for_each(|waiter| self.release(py, connection, waiter).map(drop))
    }

    /// A message has been dealt with.
    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        self.subscription.count_finished();
        self.release_joiners_if_done(py)
    }

    pub fn release_joiners_if_done(&self, py: Python<'_>) -> PyResult<()> {
        if self.subscription.unfinished() > 0 { Ok(()) } else { self.release_joiners(py) }
    }

    fn release_joiners(&self, py: Python<'_>) -> PyResult<()> {
        let joiners = std::mem::take(&mut *lock(&self.joiners));
        joiners.iter().try_for_each(|joiner| resolve(joiner.bind(py), py.None()))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let inlet = self.inlet.get_mut().unwrap_or_else(PoisonError::into_inner);
        inlet.abandon(&self.subscription);
    }
}

/// The native part of `nats.aio.subscription.Subscription`.
#[pyclass(frozen, module = "nats._core")]
pub struct SubscriptionCore {
    connection: Py<Connection>,
    subscription: Arc<Subscription>,
    consumer: Arc<Consumer>,
    /// What the server calls it; a push consumer that is made anew gets another one.
    sid: AtomicU64,
    /// The message handed out last is still being handled.
    handling: AtomicBool,
    stopped: AtomicBool,
}

impl SubscriptionCore {
    fn unregister(&self) {
        let connection = self.connection.get();
        // In the child of a fork nobody would ever let go of a lock that the I/O thread has held.
        if !connection.in_own_process() {
            return;
        }
        connection.shared().remove_subscription(self.sid.load(Relaxed));
        connection.remove_consumer(self.subscription.key);
    }

    pub fn connection<'py>(&self, py: Python<'py>) -> &Bound<'py, Connection> {
        self.connection.bind(py)
    }

    pub fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// Takes the next frame; answers flow control that waited for it to be taken.
    pub fn take_frame(&self, py: Python<'_>) -> PyResult<Option<Frame>> {
        let frame = self.consumer.take();
        self.answer_flow_control(py)?;
        if frame.is_some() {
            self.pass_on(py)?;
        }
        Ok(frame)
    }

    /// Others who wait are due next.
    fn pass_on(&self, py: Python<'_>) -> PyResult<()> {
        if lock(&self.consumer.waiters).is_empty() {
            return Ok(());
        }
        self.consumer.wake_next(py, self.connection.get())
    }

    /// A message that was taken with `take_frame` has been dealt with.
    pub fn finish(&self, py: Python<'_>) -> PyResult<()> {
        self.consumer.finish(py)
    }

    /// The object for a frame of this subscription.
    pub fn make_message<'py>(&self, py: Python<'py>, frame: Frame) -> PyResult<Bound<'py, PyAny>> {
        let subject = lock(&self.consumer.inlet).subject_text(py, frame.subject());
        self.connection.get().factory().make_lasting(py, frame, Some(subject))
    }

    fn answer_flow_control(&self, py: Python<'_>) -> PyResult<()> {
        match self.subscription.flow_due() {
            Some(subject) => self.connection.get().publish_empty(py, &subject),
            None => Ok(()),
        }
    }

    /// The next message and its subject's text, unless there is none or it is time to give way.
    fn take(&self, py: Python<'_>) -> PyResult<Option<(Frame, Py<PyAny>)>> {
        let mut inlet = lock(&self.consumer.inlet);
        if inlet.burst.is_over() {
            return Ok(None);
        }
        let Some(frame) = inlet.take(&self.subscription) else { return Ok(None) };
        let subject = inlet.subject_text(py, frame.subject());
        drop(inlet);
        self.answer_flow_control(py)?;
        Ok(Some((frame, subject)))
    }
}

#[pymethods]
impl SubscriptionCore {
    /// Registers `sid` for delivery. Limits of zero or less mean none.
    #[new]
    fn new(
        connection: &Bound<'_, Connection>,
        sid: u64,
        msgs_limit: i64,
        bytes_limit: i64,
        is_request_mux: bool,
        future: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let owner = connection.get();
        owner.check_process()?;
        let subscription = Arc::new(Subscription::new(
            is_request_mux,
            msgs_limit,
            bytes_limit,
            Arc::clone(&owner.shared().pinned),
        ));
        if future.is_some() {
            subscription.wait();
        }
        let consumer = Arc::new(Consumer {
            subscription: Arc::clone(&subscription),
            inlet: Mutex::default(),
            waiters: Mutex::default(),
            joiners: Mutex::default(),
            pulls: Pulls::default(),
            future,
        });
        owner.add_consumer(subscription.key, &consumer);
        owner.shared().add_subscription(sid, Arc::clone(&subscription));
        Ok(Self {
            connection: connection.clone().unbind(),
            subscription,
            consumer,
            sid: AtomicU64::new(sid),
            handling: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        })
    }

    /// The next message, or `None`: await `ready` then.
    fn pop<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some((frame, subject)) = self.take(py)? else { return Ok(None) };
        let factory = self.connection.get().factory();
        let message = factory.make_lasting(py, frame, Some(subject))?;
        self.consumer.finish(py)?;
        self.pass_on(py)?;
        Ok(Some(message))
    }

    /// Runs `handler` for message after message, as long as it doesn't suspend. Ends with
    /// `None` when there is no message, the subscription has stopped or other tasks are due,
    /// and with what is left to await of a handler that has suspended. Raises what a handler
    /// raises; the message counts as unfinished until the next call.
    fn run_handler<'py>(
        &self,
        py: Python<'py>,
        handler: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Suspended<'py>>> {
        loop {
            self.handled(py)?;
            if self.stopped.load(Relaxed) {
                return Ok(None);
            }
            let Some((frame, subject)) = self.take(py)? else { return Ok(None) };
            let message = self.connection.get().factory().make(py, frame, Some(subject))?;
            self.handling.store(true, Relaxed);
            let awaitable = calls::call1(handler, (&message,))?;
            let started = start_coroutine(&awaitable)?;
            if is_shared(&message) {
                // The handler has kept it, or hasn't ended.
                Message::outlive(&message);
            }
            calls::release(message);
            match started {
                Started::Done => calls::release(awaitable),
                Started::Suspended(value) => return Ok(Some((awaitable, Some(value)))),
                Started::NotACoroutine => return Ok(Some((awaitable, None))),
            }
        }
    }

    /// The handler is done with its message.
    fn handled(&self, py: Python<'_>) -> PyResult<()> {
        if self.handling.swap(false, Relaxed) { self.consumer.finish(py) } else { Ok(()) }
    }

    /// Something to await before the next `pop`; raises `TimeoutError` after `timeout`
    /// seconds. Also ends, without a message, when the subscription stops.
    fn ready<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let connection = self.connection.bind(py);
        let owner = connection.get();
        owner.check_process()?;
        let burst = std::mem::take(&mut lock(&self.consumer.inlet).burst);
        if burst.is_exhausted() || self.stopped.load(Relaxed) {
            return Ok(Bound::new(py, YieldOnce)?.into_any());
        }
        let future = owner.create_future(py)?;
        let deadline = match timeout {
            Some(timeout) => {
                Some(Connection::add_deadline(connection, timeout, future.clone().unbind())?)
            }
            None => None,
        };
        lock(&self.consumer.waiters)
            .push_back(Waiter { future: future.clone().unbind(), deadline });
        if !self.subscription.wait() {
            self.consumer.wake_next(py, owner)?;
        }
        // Nothing more to do in this turn: what the handler has published may leave.
        owner.flush_before_waiting(py)?;
        Ok(future)
    }

    /// The waiter of `future` has given up; a message it was woken for goes to the next one.
    fn give_up(&self, py: Python<'_>, future: &Bound<'_, PyAny>) -> PyResult<()> {
        let owner = self.connection.get();
        let mut waiters = lock(&self.consumer.waiters);
        let at = waiters.iter().position(|waiter| waiter.future.is(future));
        let waiter = at.and_then(|at| waiters.remove(at));
        drop(waiters);
        if let Some(deadline) = waiter.and_then(|waiter| waiter.deadline) {
            owner.remove_deadline(&deadline);
        }
        if self.consumer.is_empty() { Ok(()) } else { self.consumer.wake_next(py, owner) }
    }

    /// Ends all waiting, now and later. Messages that are there stay.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        self.stopped.store(true, Relaxed);
        self.consumer.release_waiters(py, self.connection.get())?;
        self.consumer.stop_fetches(py, self.connection.get())?;
        // What is queued may never be handled.
        self.consumer.release_joiners(py)
    }

    /// No further deliveries: what still arrives for the sid is dropped.
    fn detach(&self) {
        self.unregister();
    }

    /// The subscription delivers for a push consumer. `ordered` has gaps reported.
    fn track_push(&self, ordered: bool) {
        let sid = self.sid.load(Relaxed);
        self.subscription.push.get_or_init(|| Push::new(ordered, sid));
    }

    /// A new push consumer delivers under another sid; what is queued stays.
    fn rebind(&self, sid: u64) {
        let old = self.sid.swap(sid, Relaxed);
        if let Some(push) = self.subscription.push.get() {
            push.restart(sid);
        }
        let shared = self.connection.get().shared();
        shared.add_subscription(sid, Arc::clone(&self.subscription));
        shared.remove_subscription(old);
    }

    /// Whether a push consumer's message or heartbeat has arrived since the last call.
    fn take_active(&self) -> bool {
        self.subscription.push.get().is_none_or(Push::take_active)
    }

    /// The stream of an ordered consumer has been made anew: its sequence begins again.
    fn forget_stream(&self) {
        if let Some(push) = self.subscription.push.get() {
            push.forget_stream();
        }
    }

    /// Stream sequence of the last message of an ordered consumer; zero before the first.
    #[getter]
    fn stream_seq(&self) -> u64 {
        self.subscription.push.get().map_or(0, Push::stream_seq)
    }

    /// Consumer sequence of the last message of a push consumer; zero before the first.
    #[getter]
    fn consumer_seq(&self) -> u64 {
        self.subscription.push.get().map_or(0, Push::consumer_seq)
    }

    /// Resolves when no message is queued or being handled, or the subscription is stopped.
    fn join<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let future = self.connection.get().create_future(py)?;
        if self.subscription.unfinished() == 0 || self.stopped() {
            resolve(&future, py.None())?;
        } else {
            lock(&self.consumer.joiners).push(future.clone().unbind());
        }
        Ok(future)
    }

    #[getter]
    pub fn stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    #[getter]
    fn pending_msgs(&self) -> usize {
        self.subscription.pending_msgs()
    }

    #[getter]
    fn pending_bytes(&self) -> i64 {
        self.subscription.pending_bytes()
    }

    #[getter]
    fn received(&self) -> u64 {
        self.subscription.received.load(Relaxed)
    }

    #[setter]
    fn set_received(&self, value: u64) {
        self.subscription.received.store(value, Relaxed);
    }

    #[getter]
    fn max_msgs(&self) -> u64 {
        self.subscription.max_msgs.load(Relaxed)
    }

    #[setter]
    fn set_max_msgs(&self, value: u64) {
        self.subscription.max_msgs.store(value, Relaxed);
    }

    #[getter]
    fn msgs_limit(&self) -> i64 {
        self.subscription.msgs_limit.load(Relaxed)
    }

    #[setter]
    fn set_msgs_limit(&self, value: i64) {
        self.subscription.msgs_limit.store(value, Relaxed);
    }

    #[getter]
    fn bytes_limit(&self) -> i64 {
        self.subscription.bytes_limit.load(Relaxed)
    }

    #[setter]
    fn set_bytes_limit(&self, value: i64) {
        self.subscription.bytes_limit.store(value, Relaxed);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.connection)?;
        self.consumer.traverse(&visit)
    }
}

impl Drop for SubscriptionCore {
    fn drop(&mut self) {
        self.unregister();
    }
}
