//! `Message`: the native base of `nats.aio.msg.Msg`.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::bridge::calls;
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
    /// twice where the payload, which is asked for anyway, is all that there is left.
    #[inline]
    pub fn outlive(&mut self, py: Python<'_>) {
        let Some(frame) = self.frame.as_mut().filter(|frame| frame.is_small()) else { return };
        if self.subject.is_none() || !frame.reply().is_empty() || !frame.headers().is_empty() {
            frame.compact();
        } else {
            self.data(py);
        }
    }

    /// Assigns a part. The old one goes when nothing is borrowed any more: its finalizer may look
    /// at the message.
    fn replace(
        slf: &Bound<'_, Self>,
        part: impl FnOnce(&mut Self) -> &mut Option<Py<PyAny>>,
        value: Py<PyAny>,
    ) -> PyResult<()> {
        let old = part(&mut *slf.try_borrow_mut()?).replace(value);
        if let Some(old) = old {
            calls::release(old.into_bound(slf.py()));
        }
        Ok(())
    }

    /// Lets go of the read buffer if nothing large is left in it that hasn't been asked for.
    fn leave_buffer(&mut self, py: Python<'_>) {
        if let Some(frame) = &self.frame
            && self.data.is_some()
            && (self.headers.is_some() || frame.headers().is_empty())
        {
            self.subject.get_or_insert_with(|| subject_of(py, frame));
            if !frame.reply().is_empty() {
                self.reply.get_or_insert_with(|| reply_of(py, frame));
            }
            self.frame = None;
        }
    }
}

fn subject_of(py: Python<'_>, frame: &Frame) -> Py<PyAny> {
    wire_text(py, frame.subject()).into_any().unbind()
}

fn reply_of(py: Python<'_>, frame: &Frame) -> Py<PyAny> {
    let text = match frame.reply() {
        b"" => intern!(py, "").clone(),
        bytes => wire_text(py, bytes),
    };
    text.into_any().unbind()
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
            let text = self.frame.as_ref().map(|frame| subject_of(py, frame));
            self.subject =
                Some(text.unwrap_or_else(|| intern!(py, "").clone().into_any().unbind()));
        }
        or_none(py, self.subject.as_ref())
    }

    #[setter]
    fn set_subject(slf: &Bound<'_, Self>, value: Py<PyAny>) -> PyResult<()> {
        Self::replace(slf, |this| &mut this.subject, value)
    }

    #[getter]
    fn reply(&mut self, py: Python<'_>) -> Py<PyAny> {
        if self.reply.is_none() {
            let text = self.frame.as_ref().map(|frame| reply_of(py, frame));
            self.reply = Some(text.unwrap_or_else(|| intern!(py, "").clone().into_any().unbind()));
        }
        or_none(py, self.reply.as_ref())
    }

    #[setter]
    fn set_reply(slf: &Bound<'_, Self>, value: Py<PyAny>) -> PyResult<()> {
        Self::replace(slf, |this| &mut this.reply, value)
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
    fn set_data(slf: &Bound<'_, Self>, value: Py<PyAny>) -> PyResult<()> {
        Self::replace(slf, |this| &mut this.data, value)
    }

    #[getter]
    fn headers(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let frame = {
            let this = slf.try_borrow()?;
            match (&this.headers, &this.frame) {
                (None, Some(frame)) if !frame.headers().is_empty() => frame.clone(),
                (headers, _) => return Ok(or_none(py, headers.as_ref())),
            }
        };
        // Not borrowed: making a dict may have the garbage collector run, and that a finalizer
        // which looks at this message.
        let headers = header_dict(py, frame.headers())?;
        let mut this = slf.try_borrow_mut()?;
        if this.headers.is_none() {
            this.headers = headers;
            this.leave_buffer(py);
        }
        Ok(or_none(py, this.headers.as_ref()))
    }

    #[setter]
    fn set_headers(slf: &Bound<'_, Self>, value: Py<PyAny>) -> PyResult<()> {
        Self::replace(slf, |this| &mut this.headers, value)
    }

    #[getter(_client)]
    fn client(&self, py: Python<'_>) -> Py<PyAny> {
        or_none(py, self.client.as_ref())
    }

    #[setter(_client)]
    fn set_client(slf: &Bound<'_, Self>, value: Py<PyAny>) -> PyResult<()> {
        Self::replace(slf, |this| &mut this.client, value)
    }

    #[getter(_sid)]
    fn sid(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match &self.sid {
            None if self.wire_sid != 0 => Ok(self.wire_sid.into_pyobject(py)?.into_any().unbind()),
            sid => Ok(or_none(py, sid.as_ref())),
        }
    }

    #[setter(_sid)]
    fn set_sid(slf: &Bound<'_, Self>, value: Py<PyAny>) -> PyResult<()> {
        Self::replace(slf, |this| &mut this.sid, value)
    }

    #[getter(_metadata)]
    fn metadata(&self, py: Python<'_>) -> Py<PyAny> {
        or_none(py, self.metadata.as_ref())
    }

    #[setter(_metadata)]
    fn set_metadata(slf: &Bound<'_, Self>, value: Py<PyAny>) -> PyResult<()> {
        Self::replace(slf, |this| &mut this.metadata, value)
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
    fn set_acked(slf: &Bound<'_, Self>, value: Py<PyAny>) -> PyResult<()> {
        Self::replace(slf, |this| &mut this.acked, value)
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
        let (acked, reply, client) = {
            let this = slf.try_borrow()?;
            let reply = match (&this.reply, &this.frame) {
                (Some(reply), _) => reply.extract::<String>(py).unwrap_or_default(),
                (None, Some(frame)) => {
                    String::from_utf8(frame.reply().to_vec()).unwrap_or_default()
                }
                (None, None) => String::new(),
            };
            let copy = |part: &Option<Py<PyAny>>| part.as_ref().map(|part| part.clone_ref(py));
            (copy(&this.acked), reply, copy(&this.client))
        };
        if let Some(acked) = acked
            && acked.bind(py).is_truthy()?
        {
            return Ok(None);
        }
        let Some(client) = client.filter(|_| !reply.is_empty()) else { return Ok(None) };
        let Some(connection) = Connection::of_native_publisher(client.bind(py))? else {
            return Ok(None);
        };
        let room = Connection::send_bytes(&connection, &reply, payload.as_bytes())?;
        let yes = true.into_pyobject(py)?.to_owned().into_any();
        Self::replace(slf, |this| &mut this.acked, yes.clone().unbind())?;
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

    fn __clear__(slf: &Bound<'_, Self>) {
        let parts = slf.try_borrow_mut().map(|mut this| std::mem::take(&mut *this));
        // Borrowed no more: what goes may look at the message.
        drop(parts);
    }
}
