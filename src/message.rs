//! `Message`: the native base of `nats.aio.msg.Msg`.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::client::Connection;
use crate::protocol::{Frame, headers};

/// A received message whose parts become Python objects when first asked for.
///
/// Every attribute can be assigned. Once `data` has been read, and `headers` where there are any,
/// the slice of the read buffer is let go, so a kept message doesn't pin a buffer.
#[pyclass(subclass, module = "nats._core")]
#[derive(Default)]
pub struct Message {
    frame: Option<Frame>,
    subject: Option<Py<PyAny>>,
    reply: Option<Py<PyAny>>,
    data: Option<Py<PyAny>>,
    headers: Option<Py<PyAny>>,
    client: Option<Py<PyAny>>,
    /// Of a received message; zero otherwise.
    wire_sid: u64,
    /// As assigned.
    sid: Option<Py<PyAny>>,
    metadata: Option<Py<PyAny>>,
    acked: Option<Py<PyAny>>,
}

impl Message {
    /// Fills a new object with a received message.
    pub fn receive(&mut self, frame: Frame, subject: Option<Py<PyAny>>, client: Py<PyAny>) {
        self.wire_sid = frame.sid();
        self.frame = Some(frame);
        self.subject = subject;
        self.client = Some(client);
    }

    /// Has a small message that outlives its delivery let go of the read buffer. Nothing is done
    /// twice where the payload, which is all that there is, is asked for anyway.
    pub fn outlive(message: &Bound<'_, PyAny>) {
        let Ok(message) = message.cast::<Self>() else { return };
        // Where somebody is using it, it stays as it is.
        let Ok(mut this) = message.try_borrow_mut() else { return };
        match &mut this.frame {
            Some(frame) if !frame.reply().is_empty() || !frame.headers().is_empty() => {
                frame.compact();
            }
            Some(frame) if frame.is_small() => drop(this.data(message.py())),
            _ => {}
        }
    }

    /// Lets go of the read buffer if nothing large is left in it that hasn't been asked for.
    fn leave_buffer(&mut self, py: Python<'_>) {
        if let Some(frame) = &self.frame
            && self.data.is_some()
            && (self.headers.is_some() || frame.headers().is_empty())
        {
            let has_reply = !frame.reply().is_empty();
            self.subject(py);
            if has_reply {
                self.reply(py);
            }
            self.frame = None;
        }
    }
}

/// A `str` of wire bytes. A server passes subjects on unchecked; what is no UTF-8 is shown
/// as U+FFFD instead of losing the message.
pub fn wire_text<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    PyString::new(py, &String::from_utf8_lossy(bytes))
}

/// The header block as a dict, or `None` where there is nothing in it.
pub fn header_dict(py: Python<'_>, block: &[u8]) -> PyResult<Option<Py<PyAny>>> {
    if block.is_empty() {
        return Ok(None);
    }
    let dict = PyDict::new(py);
    let mut outcome = Ok(());
    headers::parse(block, |name, value| {
        if outcome.is_ok() {
            outcome = dict.set_item(name, value);
        }
    });
    outcome?;
    Ok((!dict.is_empty()).then(|| dict.into_any().unbind()))
}

fn or_none(py: Python<'_>, value: Option<&Py<PyAny>>) -> Py<PyAny> {
    value.map_or_else(|| py.None(), |value| value.clone_ref(py))
}

#[pymethods]
impl Message {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    #[getter]
    fn subject(&mut self, py: Python<'_>) -> Py<PyAny> {
        if self.subject.is_none() {
            let bytes = self.frame.as_ref().map_or(&b""[..], Frame::subject);
            self.subject = Some(wire_text(py, bytes).into_any().unbind());
        }
        or_none(py, self.subject.as_ref())
    }

    #[setter]
    fn set_subject(&mut self, value: Py<PyAny>) {
        self.subject = Some(value);
    }

    #[getter]
    fn reply(&mut self, py: Python<'_>) -> Py<PyAny> {
        if self.reply.is_none() {
            let text = match self.frame.as_ref().map_or(&b""[..], Frame::reply) {
                b"" => intern!(py, "").clone(),
                bytes => wire_text(py, bytes),
            };
            self.reply = Some(text.into_any().unbind());
        }
        or_none(py, self.reply.as_ref())
    }

    #[setter]
    fn set_reply(&mut self, value: Py<PyAny>) {
        self.reply = Some(value);
    }

    #[getter]
    fn data(&mut self, py: Python<'_>) -> Py<PyAny> {
        if self.data.is_none() {
            let payload = self.frame.as_ref().map_or(&b""[..], Frame::payload);
            self.data = Some(PyBytes::new(py, payload).into_any().unbind());
            self.leave_buffer(py);
        }
        or_none(py, self.data.as_ref())
    }

    #[setter]
    fn set_data(&mut self, value: Py<PyAny>) {
        self.data = Some(value);
    }

    #[getter]
    fn headers(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if self.headers.is_none()
            && let Some(frame) = &self.frame
        {
            self.headers = header_dict(py, frame.headers())?;
            self.leave_buffer(py);
        }
        Ok(or_none(py, self.headers.as_ref()))
    }

    #[setter]
    fn set_headers(&mut self, value: Py<PyAny>) {
        self.headers = Some(value);
    }

    #[getter(_client)]
    fn client(&self, py: Python<'_>) -> Py<PyAny> {
        or_none(py, self.client.as_ref())
    }

    #[setter(_client)]
    fn set_client(&mut self, value: Py<PyAny>) {
        self.client = Some(value);
    }

    #[getter(_sid)]
    fn sid(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match &self.sid {
            None if self.wire_sid != 0 => Ok(self.wire_sid.into_pyobject(py)?.into_any().unbind()),
            sid => Ok(or_none(py, sid.as_ref())),
        }
    }

    #[setter(_sid)]
    fn set_sid(&mut self, value: Py<PyAny>) {
        self.sid = Some(value);
    }

    #[getter(_metadata)]
    fn metadata(&self, py: Python<'_>) -> Py<PyAny> {
        or_none(py, self.metadata.as_ref())
    }

    #[setter(_metadata)]
    fn set_metadata(&mut self, value: Py<PyAny>) {
        self.metadata = Some(value);
    }

    #[getter(_ackd)]
    fn acked(&self, py: Python<'_>) -> Py<PyAny> {
        match &self.acked {
            Some(value) => value.clone_ref(py),
            None => false
                .into_pyobject(py)
                .map_or_else(|never| match never {}, |value| value.to_owned().into_any().unbind()),
        }
    }

    #[setter(_ackd)]
    fn set_acked(&mut self, value: Py<PyAny>) {
        self.acked = Some(value);
    }

    /// Publishes a final acknowledgement straight through the core. Returns `True`, or what to
    /// await, or `None` where the caller has to do it: there is no reply subject, the message
    /// has been acknowledged, or the client publishes in a way of its own.
    #[pyo3(name = "_acknowledge")]
    fn acknowledge<'py>(
        slf: &Bound<'py, Self>,
        payload: &Bound<'py, PyBytes>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        let this = slf.borrow();
        if let Some(acked) = &this.acked
            && acked.bind(py).is_truthy()?
        {
            return Ok(None);
        }
        let reply = match (&this.reply, &this.frame) {
            (Some(reply), _) => reply.extract::<String>(py).unwrap_or_default(),
            (None, Some(frame)) => String::from_utf8(frame.reply().to_vec()).unwrap_or_default(),
            (None, None) => String::new(),
        };
        let Some(client) = this.client.as_ref().filter(|_| !reply.is_empty()) else {
            return Ok(None);
        };
        let Some(connection) = Connection::of_native_publisher(client.bind(py))? else {
            return Ok(None);
        };
        drop(this);
        let room = Connection::send_bytes(&connection, &reply, payload.as_bytes())?;
        let yes = true.into_pyobject(py)?.to_owned().into_any();
        slf.borrow_mut().acked = Some(yes.clone().unbind());
        Ok(Some(room.map_or(yes, |room| room.into_bound(py))))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for part in [&self.subject, &self.reply, &self.sid, &self.data, &self.headers] {
            visit.call(part)?;
        }
        visit.call(&self.client)?;
        visit.call(&self.metadata)?;
        visit.call(&self.acked)
    }

    fn __clear__(&mut self) {
        *self = Self::default();
    }
}
