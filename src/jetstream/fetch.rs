//! `PullFetch`: one fetch of a pull subscription, as Python drives it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString};

use super::pull::{Action, Desk, Fetch};
use crate::bridge::{calls, reject};
use crate::client::Connection;
use crate::connection::lock;
use crate::consumer::{Consumer, Waiter};
use crate::subscription::SubscriptionCore;

/// The fetches of one subscription.
pub type Pulls = Mutex<Desk<Waiter>>;

impl Consumer {
    /// Hands what has arrived to the fetches that wait for it, and wakes those that can go on.
    pub fn deal(&self, py: Python<'_>, connection: &Connection) -> PyResult<()> {
        let subscription = self.subscription.get()?;
        loop {
            let mut desk = lock(&self.pulls);
            if desk.is_empty() {
                return Ok(());
            }
            desk.deal(Instant::now(), || {
                let frame = lock(&self.inlet).take(subscription);
                if frame.is_some() {
                    subscription.count_finished();
                }
                frame
            });
            let wants_messages = desk.wants_messages();
            drop(desk);
            self.release_joiners_if_done(py)?;
            self.wake_due(py, connection)?;
            if !wants_messages || subscription.wait() {
                return Ok(());
            }
        }
    }

    fn wake_due(&self, py: Python<'_>, connection: &Connection) -> PyResult<()> {
        let due = lock(&self.pulls).take_due();
        due.into_iter().try_for_each(|waiter| self.release(py, connection, waiter).map(drop))
    }

    /// The subscription has ended, and with it what fetches wait for.
    pub fn stop_fetches(&self, py: Python<'_>, connection: &Connection) -> PyResult<()> {
        lock(&self.pulls).stop();
        self.wake_due(py, connection)
    }
}

impl Connection {
    /// What fetches have asked of another connection is lost: they ask again.
    pub fn renew_pulls(&self, py: Python<'_>) -> PyResult<()> {
        for consumer in self.consumers() {
            lock(&consumer.pulls).on_new_connection(Instant::now());
            consumer.wake_due(py, self)?;
        }
        Ok(())
    }
}

#[pymethods]
impl SubscriptionCore {
    /// Begins to fetch up to `batch` messages. Times are in nanoseconds; a timeout of `None` is
    /// for ever, a heartbeat of `None` leaves it to the fetch. Drive it with `step` until that
    /// gives a result, and `end` it in any case.
    #[pyo3(signature = (batch, timeout, heartbeat))]
    fn begin_fetch(
        slf: &Bound<'_, Self>,
        batch: usize,
        timeout: Option<u64>,
        heartbeat: Option<u64>,
    ) -> PyResult<PullFetch> {
        let py = slf.py();
        let core = slf.get();
        core.connection(py).get().check_process()?;
        let started = Instant::now();
        let duration = |nanoseconds: Option<u64>| nanoseconds.map(Duration::from_nanos);
        let mut fetch = Fetch::new(batch, duration(timeout), duration(heartbeat), started);
        if core.stopped() {
            fetch.stop();
        }
        let id = lock(&core.consumer().pulls).open(fetch);
        Ok(PullFetch { core: slf.clone().unbind(), id, started, has_begun: AtomicBool::new(false) })
    }

    /// What fetches need has been refused: fails those that wait. `error` makes an exception: each
    /// gets one of its own.
    fn fail_fetches(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        let owner = self.connection(py).get();
        owner.check_process()?;
        let waiters = lock(&self.consumer().pulls).take_waiters();
        waiters.into_iter().try_for_each(|waiter| {
            if let Some(deadline) = &waiter.deadline {
                owner.remove_deadline(deadline);
            }
            reject(waiter.future.bind(py), PyErr::from_value(calls::call0(error)?))
        })
    }
}

/// One fetch that is going on.
#[pyclass(frozen, module = "nats._core")]
pub struct PullFetch {
    core: Py<SubscriptionCore>,
    id: u64,
    started: Instant,
    has_begun: AtomicBool,
}

#[pymethods]
impl PullFetch {
    /// What is to be done now, as `(kind, value)`.
    ///
    /// Kinds: `ask` (publish a request: `(payload, token)`), `wait` (a future to await before
    /// the next step; may fail with `TimeoutError`, which means nothing, or with
    /// what `fail_fetches` was given), `look` (nobody serves
    /// the consumer: tell `expect` whether somebody may, after so many seconds at most),
    /// `messages` (the result), `refused` (the status message that says why), `timeout` (whether there were
    /// heartbeats).
    fn step<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyString>, Bound<'py, PyAny>)> {
        let core = self.core.get();
        let consumer = core.consumer();
        let connection = core.connection(py);
        let owner = connection.get();
        owner.check_process()?;
        consumer.deal(py, owner)?;
        // All the time there is belongs to the first request.
        let now = if self.has_begun.swap(true, Relaxed) { Instant::now() } else { self.started };
        let action = lock(&consumer.pulls).poll(self.id, now, owner.is_connected());
        let step = match action {
            Action::Ask(token, terms) => {
                let payload = PyBytes::new(py, terms.to_json().as_bytes());
                (intern!(py, "ask"), (payload, token).into_pyobject(py)?.into_any())
            }
            Action::Wait(until) => (intern!(py, "wait"), self.wait(connection, until, now)?),
            Action::LookUp(patience) => {
                (intern!(py, "look"), patience.as_secs_f64().into_pyobject(py)?.into_any())
            }
            Action::Finish => (intern!(py, "messages"), self.take_messages(py)?.into_any()),
            Action::Refuse(frame) => (intern!(py, "refused"), core.make_message(py, frame)?),
            Action::TimeOut(heard) => {
                (intern!(py, "timeout"), heard.into_pyobject(py)?.to_owned().into_any())
            }
        };
        Ok((step.0.clone(), step.1))
    }

    /// Whether somebody may serve the consumer again: what `look` has asked for.
    fn expect(&self, py: Python<'_>, may_be_served: bool) -> PyResult<()> {
        let core = self.core.get();
        core.connection(py).get().check_process()?;
        lock(&core.consumer().pulls).expect(self.id, may_be_served, Instant::now());
        Ok(())
    }

    /// Nobody waits for the result any more. Messages that weren't handed out are given to
    /// others, now or later.
    fn end(&self, py: Python<'_>) -> PyResult<()> {
        let core = self.core.get();
        let consumer = core.consumer();
        let owner = core.connection(py).get();
        // Those of the parent aren't the child's to give.
        let Some(subscription) = consumer.subscription.get_unless_inherited() else {
            return Ok(());
        };
        let (messages, waiter) = lock(&consumer.pulls).close(self.id);
        if let Some(deadline) = waiter.and_then(|waiter| waiter.deadline) {
            owner.remove_deadline(&deadline);
        }
        lock(&consumer.inlet).give_back(subscription, messages);
        consumer.deal(py, owner)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.core)
    }
}

impl PullFetch {
    /// A future that is resolved when there is something to do, or fails when the time has come.
    fn wait<'py>(
        &self,
        connection: &Bound<'py, Connection>,
        until: Option<Instant>,
        now: Instant,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = connection.py();
        let owner = connection.get();
        let consumer = self.core.get().consumer();
        let future = owner.create_future(py)?;
        let deadline = match until {
            Some(until) => {
                let seconds = until.saturating_duration_since(now).as_secs_f64();
                Some(Connection::add_deadline(connection, seconds, future.clone().unbind())?)
            }
            None => None,
        };
        lock(&consumer.pulls).wait(self.id, Waiter { future: future.clone().unbind(), deadline });
        if !consumer.subscription.get()?.wait() {
            consumer.deal(py, owner)?;
        }
        // Nothing more to do in this turn: what has been asked for may leave.
        Connection::flush_before_waiting(connection)?;
        Ok(future)
    }

    fn take_messages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let core = self.core.get();
        let frames = lock(&core.consumer().pulls).take_messages(self.id);
        let messages = PyList::empty(py);
        for frame in frames {
            messages.append(core.make_message(py, frame)?)?;
        }
        Ok(messages)
    }
}
