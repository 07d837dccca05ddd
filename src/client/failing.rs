//! Failing at once what waits for an answer that can't come any more.

use pyo3::exceptions::PyBaseException;
use pyo3::prelude::*;
use pyo3::types::PyString;

use super::Connection;
use crate::bridge::{calls, reject};
use crate::connection::lock;
use crate::errors::ConnectionClosedError;
use crate::request::{Pending, ReplyKind};

/// `error` in the methods below makes an exception: each future gets one of its own.
#[pymethods]
impl Connection {
    /// A future that fails when a request to `subject` would: in time, with the client, or when
    /// the server refuses the publish. Whoever asks resolves it: `(future, token)`.
    fn open_wait<'py>(
        slf: &Bound<'py, Self>,
        subject: &Bound<'py, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<(Bound<'py, PyAny>, u64)> {
        let future = slf.get().create_future(slf.py())?;
        let (_, token) = Self::expect_reply(slf, subject, timeout, &future, ReplyKind::Elsewhere)?;
        Ok((future, token))
    }

    /// The server has refused a publish to `subject`: fails the requests made with it.
    fn fail_requests_to(
        &self,
        py: Python<'_>,
        subject: &str,
        error: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.fail_where(error, |pending| {
            let requested = pending.subject.bind(py).cast::<PyString>();
            requested.is_ok_and(|requested| requested.to_str().is_ok_and(|text| text == subject))
        })
    }

    /// The server has refused a publish with this reply subject: fails the request it came from.
    fn fail_request_at(
        &self,
        py: Python<'_>,
        reply: &str,
        error: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let pending = lock(&self.requests).take_by_subject(reply.as_bytes());
        self.fail(py, pending, error)
    }

    /// The shared inbox gets nothing: fails the requests whose replies it was for.
    fn fail_inbox(&self, error: &Bound<'_, PyAny>) -> PyResult<()> {
        self.fail_where(error, |pending| !matches!(pending.kind, ReplyKind::Elsewhere))
    }

    /// A connection was lost: fails the asynchronous publishes that it had written, as their
    /// acknowledgements will not come.
    fn fail_written_publishes(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        let unsent = self.unsent_requests()?;
        let written = self.take_async_publishes(&unsent);
        written.into_iter().try_for_each(|pending| self.fail(py, Some(pending), error))
    }

    /// Why the client has closed without having been asked to.
    #[getter]
    fn final_error(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        lock(&self.final_error).as_ref().map(|error| error.clone_ref(py))
    }

    #[setter]
    fn set_final_error(&self, error: Py<PyAny>) {
        *lock(&self.final_error) = Some(error);
    }

    /// What is raised by, and waits for, a client that is closed.
    #[pyo3(name = "closed_error")]
    fn closed_error_object(&self, py: Python<'_>) -> Py<PyBaseException> {
        self.closed_error(py).into_value(py)
    }

    /// The client closes: fails requests and PINGs, and wakes who waits for a message.
    fn fail_waits(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        self.fail_where(error, |_| true)?;
        self.forget_pongs(error)?;
        for consumer in self.consumers() {
            consumer.release_waiters(py, self)?;
            consumer.stop_fetches(py, self)?;
        }
        Ok(())
    }
}

impl Connection {
    pub(super) fn closed_error(&self, py: Python<'_>) -> PyErr {
        match self.final_error(py) {
            Some(error) => ConnectionClosedError::new_err((error,)),
            None => ConnectionClosedError::new_err(()),
        }
    }

    /// The connection is shut down: lets go of publishers that wait for room, or tells them that
    /// the client has given up.
    pub(super) fn end_publishers(&self, py: Python<'_>) -> PyResult<()> {
        if self.final_error(py).is_none() {
            return self.release_publishers(py);
        }
        let waiters = std::mem::take(&mut *lock(&self.room_waiters));
        waiters.iter().try_for_each(|waiter| reject(waiter.bind(py), self.closed_error(py)))
    }

    fn fail_where(
        &self,
        error: &Bound<'_, PyAny>,
        is_meant: impl Fn(&Pending) -> bool,
    ) -> PyResult<()> {
        let failed = lock(&self.requests).take_where(|_, pending| is_meant(pending));
        failed.into_iter().try_for_each(|pending| self.fail(error.py(), Some(pending), error))
    }

    fn fail(
        &self,
        py: Python<'_>,
        pending: Option<Pending>,
        error: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        match self.close_request(py, pending)? {
            Some(future) => reject(future.bind(py), PyErr::from_value(calls::call0(error)?)),
            None => Ok(()),
        }
    }

    /// PONGs that will never come.
    pub(super) fn forget_pongs(&self, error: &Bound<'_, PyAny>) -> PyResult<()> {
        let forgotten = std::mem::take(&mut lock(&self.control).pongs);
        self.pings_outstanding.store(0, std::sync::atomic::Ordering::Relaxed);
        forgotten.iter().filter_map(|pinger| pinger.future.as_ref()).try_for_each(|future| {
            reject(future.bind(error.py()), PyErr::from_value(calls::call0(error)?))
        })
    }
}
