//! Awaiting replies and deadlines.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use pyo3::intern;
use pyo3::prelude::*;

use super::Connection;
use crate::bridge::{calls, reject, resolve};
use crate::connection::lock;
use crate::errors::TimeoutError;
use crate::jetstream::acks;
use crate::jetstream::window::AckWindow;
use crate::protocol::Frame;
use crate::request::{DeadlineKey, Expiring, Pending, ReplyKind};

/// A reply as it came in.
pub enum Reply<'a, 'py> {
    Frame(Python<'py>, Frame),
    /// Received by a Python handler.
    Message(&'a Bound<'py, PyAny>),
}

#[pymethods]
impl Connection {
    /// Sets the subject of the shared inbox that replies arrive at, up to its last dot.
    fn set_reply_prefix(&self, prefix: String) {
        lock(&self.requests).prefix = prefix;
    }

    /// Makes room for the reply to a request to `subject`: `(reply subject, future, token)`. The future fails with
    /// `TimeoutError` after `timeout` seconds, never if that is `None`.
    fn open_request<'py>(
        slf: &Bound<'py, Self>,
        subject: &Bound<'py, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<(String, Bound<'py, PyAny>, u64)> {
        let future = slf.get().create_future(slf.py())?;
        let (inbox, token) =
            Self::expect_reply(slf, subject, timeout, &future, ReplyKind::Message)?;
        Ok((inbox, future, token))
    }

    /// Publishes a request: `(future, token, room)`, where `room` is to be awaited first unless
    /// it is `None`. The reply is dealt with as in `open_request`.
    fn request<'py>(
        slf: &Bound<'py, Self>,
        subject: &Bound<'py, PyAny>,
        payload: &Bound<'py, PyAny>,
        headers: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<(Bound<'py, PyAny>, u64, Option<Py<PyAny>>)> {
        let future = slf.get().create_future(slf.py())?;
        let kind = ReplyKind::Message;
        let (token, room) =
            Self::send_request(slf, subject, payload, headers, timeout, &future, kind)?;
        Ok((future, token, room))
    }

    /// Drops a request that nobody waits for any more.
    fn forget_request(&self, py: Python<'_>, token: u64) -> PyResult<()> {
        self.close_request(py, self.take_request(token)).map(drop)
    }

    /// Hands `message` to the request that `subject` answers, where a handler instead of the
    /// doorbell has received it.
    fn answer_request(&self, subject: &str, message: &Bound<'_, PyAny>) -> PyResult<()> {
        let pending = lock(&self.requests).take_by_subject(subject.as_bytes());
        match pending {
            Some(pending) => self.resolve_request(pending, Reply::Message(message)),
            None => Ok(()),
        }
    }

    /// Sends a request's output at once if it is the only one on its way; several share the
    /// write at the end of the turn.
    fn kick_if_alone(slf: &Bound<'_, Self>) -> PyResult<()> {
        if lock(&slf.get().requests).len() == 1 { Self::write_out(slf) } else { Ok(()) }
    }

    /// Fails what has been waiting too long; called by the loop's timer.
    fn expire(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let py = slf.py();
        let mut deadlines = lock(&this.deadlines);
        deadlines.armed = None;
        let expired = deadlines.expired(Instant::now());
        drop(deadlines);
        // One that can't be told, because of what a signal handler raises, must not keep the
        // others from being told.
        let told = expired.into_iter().map(|expiring| this.fail_expired(py, expiring));
        let told = told.fold(Ok(()), Result::and);
        told.and(Self::arm_deadlines(slf))
    }
}

impl Connection {
    fn fail_expired(&self, py: Python<'_>, expiring: Expiring) -> PyResult<()> {
        let future = match expiring {
            Expiring::Future(future) => Some(future),
            Expiring::Request(token) => self.close_request(py, self.take_request(token))?,
        };
        match future {
            Some(future) => reject(future.bind(py), TimeoutError::new_err(())),
            None => Ok(()),
        }
    }

    /// Makes room for a reply that `future` is to get: `(reply subject, token)`.
    pub fn expect_reply(
        slf: &Bound<'_, Self>,
        subject: &Bound<'_, PyAny>,
        timeout: Option<f64>,
        future: &Bound<'_, PyAny>,
        kind: ReplyKind,
    ) -> PyResult<(String, u64)> {
        let this = slf.get();
        let (token, inbox) = lock(&this.requests).add(|token| Pending {
            subject: subject.clone().unbind(),
            future: future.clone().unbind(),
            deadline: timeout
                .map(|timeout| lock(&this.deadlines).add(timeout, Expiring::Request(token))),
            kind,
        });
        if let Err(error) = Self::arm_deadlines(slf) {
            this.withdraw_request(token);
            return Err(error);
        }
        Ok((inbox, token))
    }

    /// Publishes with a reply subject of its own; nothing is left behind if that fails.
    pub fn send_request(
        slf: &Bound<'_, Self>,
        subject: &Bound<'_, PyAny>,
        payload: &Bound<'_, PyAny>,
        headers: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
        future: &Bound<'_, PyAny>,
        kind: ReplyKind,
    ) -> PyResult<(u64, Option<Py<PyAny>>)> {
        let this = slf.get();
        let waits = !matches!(kind, ReplyKind::AsyncAck(_));
        let (inbox, token) = Self::expect_reply(slf, subject, timeout, future, kind)?;
        let sent = Self::send_message(slf, subject, payload, &inbox, headers);
        let sent = sent.and_then(|room| {
            if waits {
                Self::kick_if_alone(slf)?;
            }
            Ok(room)
        });
        match sent {
            Ok(room) => Ok((token, room)),
            Err(error) => {
                this.withdraw_request(token);
                Err(error)
            }
        }
    }

    /// Drops a request that hasn't been sent. It isn't closed: it has never been in its window.
    fn withdraw_request(&self, token: u64) {
        if let Some(deadline) = self.take_request(token).and_then(|lost| lost.deadline) {
            self.remove_deadline(&deadline);
        }
    }

    pub fn take_request(&self, token: u64) -> Option<Pending> {
        lock(&self.requests).take(token)
    }

    pub fn take_async_publishes(&self, but: &HashSet<u64>) -> Vec<Pending> {
        lock(&self.requests).take_async_publishes(but)
    }

    pub fn take_overdue_publishes(
        &self,
        window: &Bound<'_, AckWindow>,
        newest: u64,
    ) -> Vec<Pending> {
        lock(&self.requests).take_overdue(newest, |of| of.bind(window.py()).is(window))
    }

    pub fn newest_request(&self) -> u64 {
        lock(&self.requests).newest()
    }

    /// Tokens of the requests that are still waiting to be written.
    pub fn unsent_requests(&self) -> PyResult<HashSet<u64>> {
        let outbox = &self.shared.get()?.outbox;
        let requests = lock(&self.requests);
        Ok(outbox.pending_replies(|reply| requests.token(reply)))
    }

    /// The future of a request that has been taken out; its deadline and its place in the
    /// window go.
    pub fn close_request(
        &self,
        py: Python<'_>,
        pending: Option<Pending>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let Some(pending) = pending else { return Ok(None) };
        if let Some(deadline) = &pending.deadline {
            self.remove_deadline(deadline);
        }
        if let ReplyKind::AsyncAck(window) = &pending.kind {
            window.get().close(py)?;
        }
        Ok(Some(pending.future))
    }

    /// Gives a reply to whoever waits for it.
    pub(super) fn resolve_request(&self, pending: Pending, reply: Reply<'_, '_>) -> PyResult<()> {
        let py = match &reply {
            Reply::Frame(py, _) => *py,
            Reply::Message(message) => message.py(),
        };
        let result = match (&pending.kind, reply) {
            (ReplyKind::Message | ReplyKind::Elsewhere, Reply::Frame(py, frame)) => {
                self.factory().make_lasting(py, frame, None)
            }
            (ReplyKind::Ack | ReplyKind::AsyncAck(_), Reply::Frame(py, frame)) => {
                acks::from_frame(py, &frame)
            }
            (ReplyKind::Entry(shape), Reply::Frame(py, frame)) => {
                match shape.get().entry(py, &frame) {
                    Ok(Some(entry)) => Ok(entry),
                    Ok(None) => self.factory().make_lasting(py, frame, None),
                    Err(error) => Err(error),
                }
            }
            (ReplyKind::Ack | ReplyKind::AsyncAck(_), Reply::Message(message)) => {
                acks::from_message(message)
            }
            (
                ReplyKind::Message | ReplyKind::Entry(_) | ReplyKind::Elsewhere,
                Reply::Message(message),
            ) => Ok(message.clone()),
        };
        let Some(future) = self.close_request(py, Some(pending))? else { return Ok(()) };
        match result {
            Ok(result) => resolve(future.bind(py), result),
            Err(error) => reject(future.bind(py), error),
        }
    }

    /// Fails `future` with `TimeoutError` after `timeout` seconds unless removed before.
    pub fn add_deadline(
        slf: &Bound<'_, Self>,
        timeout: f64,
        future: Py<PyAny>,
    ) -> PyResult<DeadlineKey> {
        let this = slf.get();
        let key = lock(&this.deadlines).add(timeout, Expiring::Future(future));
        if let Err(error) = Self::arm_deadlines(slf) {
            this.remove_deadline(&key);
            return Err(error);
        }
        Ok(key)
    }

    pub fn remove_deadline(&self, key: &DeadlineKey) {
        lock(&self.deadlines).remove(key);
    }

    fn arm_deadlines(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let Some(delay) = lock(&this.deadlines).arm() else { return Ok(()) };
        let set = Self::set_timer(slf, delay);
        if set.is_err() {
            // What a signal handler raises, for one: the next deadline has to try again.
            lock(&this.deadlines).armed = None;
        }
        set
    }

    fn set_timer(slf: &Bound<'_, Self>, delay: Duration) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let expire = slf.getattr(intern!(py, "expire"))?;
        let call_later = this.event_loop.call_later.bind(py);
        let timer = calls::call1(call_later, (delay.as_secs_f64(), expire))?;
        let later = lock(&this.timer).replace(timer.unbind());
        // Left to ring, it would set another one, and so on: they'd only ever become more.
        match later {
            Some(later) => calls::call_method0(later.bind(py), intern!(py, "cancel")).map(drop),
            None => Ok(()),
        }
    }

    /// Cancels a timer that nothing needs: it would keep the client alive.
    pub(super) fn disarm_deadlines(&self, py: Python<'_>) -> PyResult<()> {
        if lock(&self.deadlines).len() > 0 {
            return Ok(());
        }
        match lock(&self.timer).take() {
            Some(timer) => calls::call_method0(timer.bind(py), intern!(py, "cancel")).map(drop),
            None => Ok(()),
        }
    }
}
