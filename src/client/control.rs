//! Events other than messages: collected on the doorbell, handled by one task in order.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::exceptions::PyException;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use super::Connection;
use super::waits::Reply;
use crate::bridge::{calls, reject, resolve};
use crate::connection::dispatch::Mail;
use crate::connection::{Backlog, Event, lock};
use crate::errors::TimeoutError;
use crate::jetstream::push::Notice;
use crate::message::wire_text;
use crate::protocol::{Frame, encode};

/// A PING that waits for its PONG.
pub struct Pinger {
    /// `None` for a keep-alive.
    pub(super) future: Option<Py<PyAny>>,
    /// Asked for by the task that handles events: it can't wait behind itself.
    direct: bool,
}

/// What `Connection.next_event` hands out. Counted in the backlog until then.
enum ControlEvent {
    Server(Event),
    /// A PONG that must not overtake the events before it.
    Pong(Option<Py<PyAny>>),
    /// A dropped message and its subscription, which may be complete by the time of the report.
    Dropped(Frame, Py<PyAny>),
}

impl ControlEvent {
    fn settle(&self, backlog: &Backlog) {
        match self {
            Self::Server(event) => backlog.settle(event),
            Self::Pong(_) => backlog.settle(&Event::Pong),
            Self::Dropped(..) => backlog.settle_drop_report(),
        }
    }

    /// Whichever connection it came from.
    fn is_about_messages(&self) -> bool {
        matches!(self, Self::Dropped(..) | Self::Server(Event::Push(..)))
    }

    fn is_info(&self) -> bool {
        matches!(self, Self::Server(Event::Info(_)))
    }
}

#[derive(Default)]
pub struct Control {
    events: VecDeque<ControlEvent>,
    /// What a handshake has passed over; comes before `events`.
    passed_over: VecDeque<ControlEvent>,
    /// The task is handling an event right now.
    busy: bool,
    waiter: Option<Py<PyAny>>,
    pub pongs: VecDeque<Pinger>,
}

impl Control {
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.waiter)?;
        self.pongs.iter().try_for_each(|pinger| visit.call(&pinger.future))?;
        self.passed_over.iter().chain(&self.events).try_for_each(|event| match event {
            ControlEvent::Pong(future) => visit.call(future),
            ControlEvent::Dropped(_, subscription) => visit.call(subscription),
            ControlEvent::Server(_) => Ok(()),
        })
    }
}

#[pymethods]
impl Connection {
    /// Collects the mail: called by the loop when the bell has rung.
    pub fn drain(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        this.shared.get()?.bell.silence();
        this.sort_mail(slf)?;
        this.take_back_reading(slf)
    }

    /// The next event as `(kind, value)`, or `None`.
    ///
    /// Kinds: `info` (JSON text), `ok`, `err` (text), `pong` (future or `None`), `dropped`
    /// (`(subject, reply, sid, subscription)`), `push` (`(sid, None)` of a gap in an ordered
    /// consumer, else `(sid, (stream, consumer and last consumer sequence))`), `ended`
    /// (`(epoch, exception)`).
    fn next_event(&self, py: Python<'_>) -> PyResult<Option<(Py<PyString>, Py<PyAny>)>> {
        self.check_process()?;
        let mut control = lock(&self.control);
        let event = control.passed_over.pop_front().or_else(|| control.events.pop_front());
        control.busy = event.is_some();
        drop(control);
        self.hand_out(py, event)
    }

    /// The next event that answers a handshake. What it passes over is left to `next_event`:
    /// reports on messages and, unless the handshake `takes_info`, INFO.
    fn next_answer(
        &self,
        py: Python<'_>,
        takes_info: bool,
    ) -> PyResult<Option<(Py<PyString>, Py<PyAny>)>> {
        self.check_process()?;
        let mut control = lock(&self.control);
        let answer = loop {
            match control.events.pop_front() {
                Some(event) if event.is_about_messages() || event.is_info() && !takes_info => {
                    control.passed_over.push_back(event);
                }
                answer => break answer,
            }
        };
        drop(control);
        self.hand_out(py, answer)
    }

    /// Resolves when there is an event.
    fn event_ready<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.check_process()?;
        let future = self.create_future(py)?;
        let mut control = lock(&self.control);
        control.busy = false;
        if control.events.is_empty() {
            control.waiter = Some(future.clone().unbind());
            return Ok(future);
        }
        drop(control);
        resolve(&future, py.None())?;
        Ok(future)
    }

    /// Drops what a connection that is over has left. What is known of messages stays: reports
    /// of dropped ones and of gaps. Who waited for a PONG that has come gets it.
    fn clear_events(&self, py: Python<'_>) -> PyResult<()> {
        let backlog = self.shared.get_unless_inherited().map(|shared| &shared.backlog);
        let mut control = lock(&self.control);
        let mut answered = Vec::new();
        let mut drop_stale = |events: &mut VecDeque<ControlEvent>| {
            for event in std::mem::take(events) {
                if event.is_about_messages() {
                    events.push_back(event);
                    continue;
                }
                if let Some(backlog) = backlog {
                    event.settle(backlog);
                }
                if let ControlEvent::Pong(Some(future)) = event {
                    answered.push(future);
                }
            }
        };
        let Control { events, passed_over, .. } = &mut *control;
        drop_stale(passed_over);
        drop_stale(events);
        control.busy = false;
        drop(control);
        answered.iter().try_for_each(|future| resolve(future.bind(py), true))
    }

    /// Sends PING behind everything pending; `future` is resolved by its PONG. While no
    /// connection is in service nobody is asked, and the future times out at once.
    fn ping(slf: &Bound<'_, Self>, future: Option<Py<PyAny>>, direct: bool) -> PyResult<()> {
        let this = slf.get();
        let outbox = &this.shared.get()?.outbox;
        if !outbox.append_in_service(|out| out.extend_from_slice(encode::PING)) {
            return match future {
                Some(future) => reject(future.bind(slf.py()), TimeoutError::new_err(())),
                None => Ok(()),
            };
        }
        lock(&this.control).pongs.push_back(Pinger { future, direct });
        Self::write_out(slf)
    }

    /// Counts a keep-alive PING about to be sent; returns how many are unanswered.
    fn count_ping(&self) -> u32 {
        self.pings_outstanding.fetch_add(1, Relaxed) + 1
    }
}

impl Connection {
    /// Has the loop collect the mail: for threads that it doesn't run in.
    pub fn drain_soon(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let drain = slf.getattr(intern!(py, "drain"))?;
        let call_soon = slf.get().event_loop.call_soon_threadsafe.bind(py);
        calls::call1(call_soon, (drain,)).map(drop)
    }

    fn hand_out(
        &self,
        py: Python<'_>,
        event: Option<ControlEvent>,
    ) -> PyResult<Option<(Py<PyString>, Py<PyAny>)>> {
        if let Some(event) = &event {
            event.settle(&self.shared.get()?.backlog);
        }
        event.map(|event| describe(py, event)).transpose()
    }

    /// Collects the mail and passes on everything in it.
    pub(super) fn sort_mail(&self, slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let mut outcome = Ok(());
        let mut note = |sorted: PyResult<()>| {
            // One item that fails must not keep the rest of the mail from its readers.
            if let Err(error) = report_unless_fatal(sorted, slf) {
                outcome = Err(error);
            }
        };
        let mut mail = Mail::default();
        self.shared.get()?.collect(&mut mail);
        for frame in mail.replies {
            let pending = lock(&self.requests).take_by_subject(frame.subject());
            if let Some(pending) = pending {
                note(self.resolve_request(pending, Reply::Frame(py, frame)));
            }
        }
        // Before the PONG behind them: a flush returns when handlers have begun.
        for key in mail.wakes {
            let consumer = lock(&self.consumers).get(&key).and_then(std::sync::Weak::upgrade);
            if let Some(consumer) = consumer {
                note(consumer.wake(py, self));
            }
        }
        for event in mail.events {
            note(self.sort(py, event));
        }
        let mut control = lock(&self.control);
        let waiter = if control.events.is_empty() { None } else { control.waiter.take() };
        drop(control);
        if let Some(waiter) = waiter {
            note(resolve(waiter.bind(py), py.None()));
        }
        outcome
    }

    /// Handles an event that needs no policy; queues it for the task otherwise.
    fn sort(&self, py: Python<'_>, event: Event) -> PyResult<()> {
        let backlog = &self.shared.get()?.backlog;
        match event {
            Event::Complete(sid) => match self.subscriptions.bind(py).get_item(sid)? {
                Some(subscription) => {
                    calls::call_method0(&subscription, intern!(py, "_complete")).map(drop)
                }
                None => Ok(()),
            },
            Event::Room => self.release_publishers(py),
            Event::Dialed => self.finish_dial(py),
            Event::Pong => self.sort_pong(py, backlog),
            Event::Dropped(frame) => {
                match self.subscriptions.bind(py).get_item(frame.sid())? {
                    Some(subscription) => {
                        let dropped = ControlEvent::Dropped(frame, subscription.unbind());
                        lock(&self.control).events.push_back(dropped);
                    }
                    None => backlog.settle_drop_report(),
                }
                Ok(())
            }
            Event::Ok => {
                let mut control = lock(&self.control);
                if matches!(control.events.back(), Some(ControlEvent::Server(Event::Ok))) {
                    backlog.settle(&event);
                } else {
                    control.events.push_back(ControlEvent::Server(event));
                }
                Ok(())
            }
            event => {
                lock(&self.control).events.push_back(ControlEvent::Server(event));
                Ok(())
            }
        }
    }

    fn sort_pong(&self, py: Python<'_>, backlog: &Backlog) -> PyResult<()> {
        let mut control = lock(&self.control);
        let pinger = control.pongs.pop_front();
        if pinger.is_some() {
            self.pings_outstanding.store(0, Relaxed);
        }
        let in_turn = control.busy || !control.passed_over.is_empty() || !control.events.is_empty();
        match pinger {
            Some(Pinger { future, direct }) if direct || !in_turn => {
                drop(control);
                backlog.settle(&Event::Pong);
                future.map_or(Ok(()), |future| resolve(future.bind(py), true))
            }
            pinger => {
                let future = pinger.and_then(|pinger| pinger.future);
                control.events.push_back(ControlEvent::Pong(future));
                Ok(())
            }
        }
    }
}

fn describe(py: Python<'_>, event: ControlEvent) -> PyResult<(Py<PyString>, Py<PyAny>)> {
    let text = |bytes: &[u8]| wire_text(py, bytes).into_any().unbind();
    let (kind, value) = match event {
        ControlEvent::Pong(future) => (intern!(py, "pong"), future.unwrap_or_else(|| py.None())),
        ControlEvent::Dropped(frame, subscription) => {
            let (subject, reply) = (text(frame.subject()), text(frame.reply()));
            let report = (subject, reply, frame.sid(), subscription);
            (intern!(py, "dropped"), report.into_pyobject(py)?.into_any().unbind())
        }
        ControlEvent::Server(event) => match event {
            Event::Info(json) => (intern!(py, "info"), PyBytes::new(py, &json).into_any().unbind()),
            Event::Err(message) => (intern!(py, "err"), text(&message)),
            Event::Push(sid, notice) => {
                let report = (sid, push_report(notice));
                return Ok((
                    intern!(py, "push").clone().unbind(),
                    report.into_pyobject(py)?.into_any().unbind(),
                ));
            }
            Event::Ended(epoch, end) => {
                let report = (epoch, PyErr::from(end).into_value(py));
                (intern!(py, "ended"), report.into_pyobject(py)?.into_any().unbind())
            }
            // The others never get here: `sort` deals with them.
            Event::Ok
            | Event::Pong
            | Event::Dropped(_)
            | Event::Complete(_)
            | Event::Room
            | Event::Dialed => (intern!(py, "ok"), py.None()),
        },
    };
    Ok((kind.clone().unbind(), value))
}

fn push_report(notice: Notice) -> Option<(u64, u64, Option<u64>)> {
    match notice {
        Notice::Gap => None,
        Notice::Mismatch { stream_seq, consumer_seq, last_consumer_seq } => {
            Some((stream_seq, consumer_seq, last_consumer_seq))
        }
    }
}

/// Reports an error where nobody can be told of it, except what ends programs.
pub(super) fn report_unless_fatal(
    outcome: PyResult<()>,
    context: &Bound<'_, Connection>,
) -> PyResult<()> {
    let Err(error) = outcome else { return Ok(()) };
    if !error.is_instance_of::<PyException>(context.py()) {
        return Err(error);
    }
    calls::report(error, context.as_any());
    Ok(())
}
