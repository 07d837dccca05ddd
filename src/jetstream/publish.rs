//! Publishing to a stream: requests whose reply is an acknowledgement.

use pyo3::intern;
use pyo3::prelude::*;

use super::window::AckWindow;
use crate::bridge::reject;
use crate::client::Connection;
use crate::errors::TimeoutError;
use crate::request::ReplyKind;

/// The future of an acknowledgement, and what to await first.
type Sent<'py> = (Bound<'py, PyAny>, Option<Py<PyAny>>);

#[pymethods]
impl Connection {
    /// As `request`, but the future gets a `PubAck`, or fails as the server says.
    fn request_ack<'py>(
        slf: &Bound<'py, Self>,
        subject: &Bound<'py, PyAny>,
        payload: &Bound<'py, PyAny>,
        headers: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<(Bound<'py, PyAny>, u64, Option<Py<PyAny>>)> {
        let future = slf.get().create_future(slf.py())?;
        let (token, room) =
            Self::send_request(slf, subject, payload, headers, timeout, &future, ReplyKind::Ack)?;
        Ok((future, token, room))
    }

    /// Publishes without waiting for the acknowledgement: returns the future that gets it, of
    /// class `future_class`, and what to await first unless it is `None`. Returns `None` if the
    /// window is full; `granted` says that the caller has waited for its slot.
    fn publish_async<'py>(
        slf: &Bound<'py, Self>,
        window: &Bound<'py, AckWindow>,
        future_class: &Bound<'py, PyAny>,
        subject: &Bound<'py, PyAny>,
        payload: &Bound<'py, PyAny>,
        headers: Option<&Bound<'py, PyAny>>,
        granted: bool,
    ) -> PyResult<Option<Sent<'py>>> {
        if !granted && window.get().is_full() {
            return Ok(None);
        }
        let py = slf.py();
        let future = slf.get().create_future_of(future_class)?;
        let kind = ReplyKind::AsyncAck(window.clone().unbind());
        let (token, room) =
            Self::send_request(slf, subject, payload, headers, None, &future, kind)?;
        // Before anything that can fail: the reply leaves the window.
        window.get().open(granted);
        future.setattr(intern!(py, "_core"), slf)?;
        future.setattr(intern!(py, "_token"), token)?;
        Ok(Some((future, room)))
    }

    /// Makes room for the acknowledgement of a message that the caller publishes itself:
    /// `(reply subject, token)`.
    fn open_publish(
        slf: &Bound<'_, Self>,
        window: &Bound<'_, AckWindow>,
        subject: &Bound<'_, PyAny>,
        future: &Bound<'_, PyAny>,
        granted: bool,
    ) -> PyResult<(String, u64)> {
        let kind = ReplyKind::AsyncAck(window.clone().unbind());
        let opened = Self::expect_reply(slf, subject, None, future, kind)?;
        window.get().open(granted);
        Ok(opened)
    }

    /// Fails the asynchronous publishes of a window up to the token `newest` for want of an
    /// acknowledgement; returns the newest token there is now.
    fn fail_overdue_publishes(
        &self,
        py: Python<'_>,
        window: &Bound<'_, AckWindow>,
        newest: u64,
    ) -> PyResult<u64> {
        for pending in self.take_overdue_publishes(window, newest) {
            if let Some(future) = self.close_request(py, Some(pending))? {
                reject(future.bind(py), TimeoutError::new_err(()))?;
            }
        }
        Ok(self.newest_request())
    }
}
