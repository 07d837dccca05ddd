//! `SubscriptionCore`: the consuming half of a subscription.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::bridge::{Started, YieldOnce, calls, is_shared, resolve, start_coroutine};
use crate::client::Connection;
use crate::connection::{Subscription, lock};
use crate::consumer::{Consumer, Waiter};
use crate::jetstream::fetch::Pulls;
use crate::jetstream::push::Push;
use crate::message::Message;
use crate::process::OwnProcess;
use crate::protocol::Frame;

/// A handler that waits, and what for; nothing where it is an unusual awaitable.
type Suspended<'py> = (Bound<'py, PyAny>, Option<Bound<'py, PyAny>>);

/// The native part of `nats.aio.subscription.Subscription`.
#[pyclass(frozen, module = "nats._core")]
pub struct SubscriptionCore {
    connection: Py<Connection>,
    consumer: Arc<Consumer>,
    /// What the server calls it; a push consumer that is made anew gets another one.
    sid: AtomicU64,
    /// The message handed out last is still being handled.
    handling: AtomicBool,
    stopped: AtomicBool,
}

impl SubscriptionCore {
    pub fn check_process(&self) -> PyResult<()> {
        self.subscription().map(drop)
    }

    fn subscription(&self) -> PyResult<&Arc<Subscription>> {
        self.consumer.subscription.get()
    }

    fn unregister(&self) {
        let connection = self.connection.get();
        // Those of the parent aren't the child's to remove.
        if let Some(shared) = connection.shared().get_unless_inherited()
            && let Some(subscription) = self.consumer.subscription.get_unless_inherited()
        {
            shared.remove_subscription(self.sid.load(Relaxed));
            connection.remove_consumer(subscription.key);
        }
    }

    pub fn connection<'py>(&self, py: Python<'py>) -> &Bound<'py, Connection> {
        self.connection.bind(py)
    }

    pub fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// Takes the next frame; answers flow control that waited for it to be taken.
    pub fn take_frame(&self, py: Python<'_>) -> PyResult<Option<Frame>> {
        let frame = self.consumer.take()?;
        if let Err(error) = self.answer_flow_control(py) {
            self.put_back(frame)?;
            return Err(error);
        }
        if frame.is_some() {
            self.pass_on(py)?;
        }
        Ok(frame)
    }

    /// After a waiter has been added.
    fn begin_to_wait(&self, py: Python<'_>) -> PyResult<()> {
        if !self.subscription()?.wait() {
            self.consumer.wake_next(py, self.connection.get())?;
        }
        // Nothing more to do in this turn: what the handler has published may leave.
        Connection::flush_before_waiting(self.connection.bind(py))
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
        match self.subscription()?.flow_due() {
            Some(subject) => Connection::publish_empty(self.connection.bind(py), &subject),
            None => Ok(()),
        }
    }

    /// Has a frame be the next one again: something has failed before it was handed out.
    fn put_back(&self, frame: Option<Frame>) -> PyResult<()> {
        if let Some(frame) = frame {
            lock(&self.consumer.inlet).put_back(frame, self.subscription()?);
        }
        Ok(())
    }

    /// The next message and its subject's text, unless there is none or it is time to give way.
    #[inline]
    fn take(&self, py: Python<'_>) -> PyResult<Option<(Frame, Py<PyAny>)>> {
        let subscription = self.subscription()?;
        let mut inlet = lock(&self.consumer.inlet);
        if inlet.burst.is_over() {
            return Ok(None);
        }
        let Some(frame) = inlet.take(subscription) else { return Ok(None) };
        let subject = inlet.subject_text(py, frame.subject());
        drop(inlet);
        if let Err(error) = self.answer_flow_control(py) {
            self.put_back(Some(frame))?;
            return Err(error);
        }
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
        let shared = owner.shared().get()?;
        let subscription = Arc::new(Subscription::new(
            is_request_mux,
            msgs_limit,
            bytes_limit,
            Arc::clone(&shared.pinned),
        ));
        if future.is_some() {
            subscription.wait();
        }
        let consumer = Arc::new(Consumer {
            subscription: OwnProcess::new(Arc::clone(&subscription)),
            inlet: Mutex::default(),
            waiters: Mutex::default(),
            joiners: Mutex::default(),
            pulls: Pulls::default(),
            future,
        });
        owner.add_consumer(subscription.key, &consumer);
        shared.add_subscription(sid, Arc::clone(&subscription));
        Ok(Self {
            connection: connection.clone().unbind(),
            consumer,
            sid: AtomicU64::new(sid),
            handling: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        })
    }

    /// The connection that delivers here, or did.
    #[getter(connection)]
    fn connection_object(&self, py: Python<'_>) -> Py<Connection> {
        self.connection.clone_ref(py)
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
            // The handler has kept it, or hasn't ended. Where somebody is using it, it stays as it is.
            if is_shared(&message)
                && let Ok(kept) = message.cast::<Message>()
                && let Ok(mut kept) = kept.try_borrow_mut()
            {
                kept.outlive(py);
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
        match self.begin_to_wait(py).and_then(|()| calls::check_signals(py)) {
            Ok(()) => Ok(future),
            Err(error) => {
                // The caller doesn't get to know of its future.
                self.give_up(py, &future)?;
                Err(error)
            }
        }
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
        match self.consumer.subscription.get_unless_inherited() {
            Some(subscription) if subscription.pending_msgs() > 0 => {
                self.consumer.wake_next(py, owner)
            }
            _ => Ok(()),
        }
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
    fn track_push(&self, ordered: bool) -> PyResult<()> {
        let sid = self.sid.load(Relaxed);
        self.subscription()?.push.get_or_init(|| Push::new(ordered, sid));
        Ok(())
    }

    /// A new push consumer delivers under another sid; what is queued stays.
    fn rebind(&self, sid: u64) -> PyResult<()> {
        let subscription = self.subscription()?;
        let old = self.sid.swap(sid, Relaxed);
        if let Some(push) = subscription.push.get() {
            push.restart(sid);
        }
        let shared = self.connection.get().shared().get()?;
        shared.add_subscription(sid, Arc::clone(subscription));
        shared.remove_subscription(old);
        Ok(())
    }

    /// Whether a push consumer's message or heartbeat has arrived since the last call.
    fn take_active(&self) -> PyResult<bool> {
        Ok(self.subscription()?.push.get().is_none_or(Push::take_active))
    }

    /// The stream of an ordered consumer has been made anew: its sequence begins again.
    fn forget_stream(&self) -> PyResult<()> {
        if let Some(push) = self.subscription()?.push.get() {
            push.forget_stream();
        }
        Ok(())
    }

    /// Stream sequence of the last message of an ordered consumer; zero before the first.
    #[getter]
    fn stream_seq(&self) -> PyResult<u64> {
        Ok(self.subscription()?.push.get().map_or(0, Push::stream_seq))
    }

    /// Consumer sequence of the last message of a push consumer; zero before the first.
    #[getter]
    fn consumer_seq(&self) -> PyResult<u64> {
        Ok(self.subscription()?.push.get().map_or(0, Push::consumer_seq))
    }

    /// Resolves when no message is queued or being handled, or the subscription is stopped.
    fn join<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let subscription = self.subscription()?;
        let future = self.connection.get().create_future(py)?;
        if subscription.unfinished() == 0 || self.stopped() {
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
    fn pending_msgs(&self) -> PyResult<usize> {
        Ok(self.subscription()?.pending_msgs())
    }

    #[getter]
    fn pending_bytes(&self) -> PyResult<i64> {
        Ok(self.subscription()?.pending_bytes())
    }

    #[getter]
    fn received(&self) -> PyResult<u64> {
        Ok(self.subscription()?.received.load(Relaxed))
    }

    #[setter]
    fn set_received(&self, value: u64) -> PyResult<()> {
        self.subscription()?.received.store(value, Relaxed);
        Ok(())
    }

    #[getter]
    fn max_msgs(&self) -> PyResult<u64> {
        Ok(self.subscription()?.max_msgs.load(Relaxed))
    }

    #[setter]
    fn set_max_msgs(&self, value: u64) -> PyResult<()> {
        self.subscription()?.max_msgs.store(value, Relaxed);
        Ok(())
    }

    #[getter]
    fn msgs_limit(&self) -> PyResult<i64> {
        Ok(self.subscription()?.msgs_limit.load(Relaxed))
    }

    #[setter]
    fn set_msgs_limit(&self, value: i64) -> PyResult<()> {
        self.subscription()?.msgs_limit.store(value, Relaxed);
        Ok(())
    }

    #[getter]
    fn bytes_limit(&self) -> PyResult<i64> {
        Ok(self.subscription()?.bytes_limit.load(Relaxed))
    }

    #[setter]
    fn set_bytes_limit(&self, value: i64) -> PyResult<()> {
        self.subscription()?.bytes_limit.store(value, Relaxed);
        Ok(())
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
