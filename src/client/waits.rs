//! Awaiting replies and deadlines.

use std::time::Instant;

use pyo3::intern;
use pyo3::prelude::*;

use super::Connection;
use crate::bridge::{reject, resolve};
use crate::connection::lock;
use crate::errors::TimeoutError;
use crate::request::{DeadlineKey, Expiring, Pending};

#[pymethods]
impl Connection {
    /// Sets the subject of the shared inbox that replies arrive at, up to its last dot.
    fn set_reply_prefix(&self, prefix: String) {
        lock(&self.requests).prefix = prefix;
    }

    /// Makes room for a reply: `(reply subject, future, token)`. The future fails with
    /// `TimeoutError` after `timeout` seconds, never if that is `None`.
    fn open_request<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<f64>,
    ) -> PyResult<(String, Bound<'py, PyAny>, u64)> {
        Self::expect_reply(slf, timeout)
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
        let this = slf.get();
        let (inbox, future, token) = Self::expect_reply(slf, timeout)?;
        let sent = Self::send_message(slf, subject, payload, &inbox, headers)
            .and_then(|room| this.kick_if_alone(slf.py()).map(|()| room));
        match sent {
            Ok(room) => Ok((future, token, room)),
            Err(error) => {
                this.forget_request(token);
                Err(error)
            }
        }
    }

    /// Drops a request that nobody waits for any more.
    fn forget_request(&self, token: u64) {
        let pending = lock(&self.requests).take(token);
        self.close_request(pending);
    }

    /// Hands `message` to the request that `subject` answers, where a handler instead of the
    /// doorbell has received it.
    fn answer_request(&self, py: Python<'_>, subject: &str, message: Py<PyAny>) -> PyResult<()> {
        let pending = lock(&self.requests).take_by_subject(subject.as_bytes());
        match self.close_request(pending) {
            Some(future) => resolve(future.bind(py), message),
            None => Ok(()),
        }
    }

    /// Sends a request's output at once if it is the only one on its way; several share the
    /// write at the end of the turn.
    fn kick_if_alone(&self, py: Python<'_>) -> PyResult<()> {
        if lock(&self.requests).len() == 1 { self.write_out(py) } else { Ok(()) }
    }

    /// Fails what has been waiting too long; called by the loop's timer.
    fn expire(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let py = slf.py();
        let mut deadlines = lock(&this.deadlines);
        deadlines.armed = None;
        let expired = deadlines.expired(Instant::now());
        drop(deadlines);
        for expiring in expired {
            let future = match expiring {
                Expiring::Future(future) => future,
                Expiring::Request(token) => match lock(&this.requests).take(token) {
                    Some(pending) => pending.future,
                    None => continue,
                },
            };
            reject(future.bind(py), TimeoutError::new_err(()))?;
        }
        this.arm_deadlines(slf)
    }
}

impl Connection {
    fn expect_reply<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<f64>,
    ) -> PyResult<(String, Bound<'py, PyAny>, u64)> {
        let this = slf.get();
        let future = this.create_future(slf.py())?;
        let (token, inbox) = lock(&this.requests).add(|token| Pending {
            future: future.clone().unbind(),
            deadline: timeout
                .map(|timeout| lock(&this.deadlines).add(timeout, Expiring::Request(token))),
        });
        this.arm_deadlines(slf)?;
        Ok((inbox, future, token))
    }

    /// The future of a request that has been taken out; its deadline goes.
    pub(super) fn close_request(&self, pending: Option<Pending>) -> Option<Py<PyAny>> {
        let pending = pending?;
        if let Some(deadline) = pending.deadline {
            lock(&self.deadlines).remove(&deadline);
        }
        Some(pending.future)
    }

    /// Fails `future` with `TimeoutError` after `timeout` seconds unless removed before.
    pub fn add_deadline(
        slf: &Bound<'_, Self>,
        timeout: f64,
        future: Py<PyAny>,
    ) -> PyResult<DeadlineKey> {
        let this = slf.get();
        let key = lock(&this.deadlines).add(timeout, Expiring::Future(future));
        this.arm_deadlines(slf)?;
        Ok(key)
    }

    pub fn remove_deadline(&self, key: &DeadlineKey) {
        lock(&self.deadlines).remove(key);
    }

    fn arm_deadlines(&self, slf: &Bound<'_, Self>) -> PyResult<()> {
        let delay = lock(&self.deadlines).arm();
        if let Some(delay) = delay {
            let py = slf.py();
            let expire = slf.getattr(intern!(py, "expire"))?;
            let timer = self.event_loop.call_later.bind(py).call1((delay.as_secs_f64(), expire))?;
            *lock(&self.timer) = Some(timer.unbind());
        }
        Ok(())
    }

    /// Cancels a timer that nothing needs: it would keep the client alive.
    pub(super) fn disarm_deadlines(&self, py: Python<'_>) -> PyResult<()> {
        if lock(&self.deadlines).len() > 0 {
            return Ok(());
        }
        match lock(&self.timer).take() {
            Some(timer) => timer.call_method0(py, intern!(py, "cancel")).map(drop),
            None => Ok(()),
        }
    }
}
