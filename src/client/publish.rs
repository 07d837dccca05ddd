//! Publishing, and when pending output leaves.

use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::PyTypeInfo;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use super::{Connection, status};
use crate::bridge::{calls, resolve};
use crate::connection::lock;
use crate::errors::{ConnectionDrainingError, MaxPayloadError, OutboundBufferLimitError};
use crate::protocol::{encode, headers, subject};

/// Pending output of this size leaves without waiting for the turn of the loop to end.
const KICK_AT: usize = 32 * 1024;
/// A transport that takes output gets it before more than this share of the limit is pending: by then
/// it is in no cache of the processor any more, and costs twice as much.
const UNWRITTEN_SHARE: usize = 16;
/// The limit that the share is of where there is none.
const USUAL_LIMIT: usize = 2 * 1024 * 1024;
/// The buffer that headers are encoded in is kept up to this size.
const KEEP_HEADERS: usize = 64 * 1024;

/// The text of a subject; `None` counts as empty, as any false value does in the reference.
fn subject_text<'a>(value: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    if value.is_none() {
        return Ok("");
    }
    match value.cast::<PyString>() {
        Ok(text) => text.to_str(),
        Err(_) => Err(PyTypeError::new_err(format!(
            "nats: a subject must be a str, not {}",
            value.get_type().name()?
        ))),
    }
}

/// The bytes of a payload that isn't `bytes` itself.
fn payload_bytes(value: &Bound<'_, PyAny>) -> PyResult<PyBackedBytes> {
    let py = value.py();
    if value.is_instance_of::<PyString>() || !value.hasattr(intern!(py, "__len__"))? {
        return Err(PyTypeError::new_err(format!(
            "nats: a payload must be bytes-like, not {}",
            value.get_type().name()?
        )));
    }
    // A memoryview takes any object with a buffer and refuses everything else.
    let view = py.import(intern!(py, "builtins"))?.getattr(intern!(py, "memoryview"))?;
    let bytes = calls::call_method0(&calls::call1(&view, (value,))?, intern!(py, "tobytes"))?;
    Ok(bytes.cast_into::<PyBytes>()?.into())
}

fn header_text<'a>(value: &'a Bound<'_, PyAny>, what: &str) -> PyResult<&'a str> {
    match value.cast::<PyString>() {
        Ok(text) => text.to_str(),
        Err(_) => Err(PyTypeError::new_err(format!(
            "nats: a header {what} must be a str, not {}",
            value.get_type().name()?
        ))),
    }
}

fn encode_headers(value: &Bound<'_, PyAny>, block: &mut Vec<u8>) -> PyResult<()> {
    headers::start(block);
    if let Ok(dict) = value.cast::<PyDict>() {
        for (name, value) in dict {
            headers::push(block, header_text(&name, "name")?, header_text(&value, "value")?)?;
        }
    } else {
        let py = value.py();
        let items = calls::call_method0(value, intern!(py, "items"))?;
        for item in calls::call1(PyList::type_object(py).as_any(), (items,))?.cast::<PyList>()? {
            let (name, value) = item.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            headers::push(block, header_text(&name, "name")?, header_text(&value, "value")?)?;
        }
    }
    headers::finish(block);
    Ok(())
}

#[pymethods]
impl Connection {
    /// Encodes a message into the pending output. Returns a future to be awaited when the
    /// pending limit is passed, else `None`.
    ///
    /// Safe from any thread: outside the loop's the message is written at once, and where
    /// the loop's thread would wait for room, `OutboundBufferLimitError` is raised.
    fn publish(
        slf: &Bound<'_, Self>,
        subject: &Bound<'_, PyAny>,
        payload: &Bound<'_, PyAny>,
        reply: &Bound<'_, PyAny>,
        headers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        Self::send_message(slf, subject, payload, subject_text(reply)?, headers)
    }

    /// Sends SUB and, with a `limit` above zero, the UNSUB that tells the server of it: together,
    /// or messages beyond the limit could come between. Callers have checked the subject, and
    /// have the next connection subscribe to it if there is none now.
    fn send_subscribe(
        slf: &Bound<'_, Self>,
        subject: &str,
        queue: &str,
        sid: u64,
        limit: u64,
    ) -> PyResult<()> {
        Self::send_command(slf, |out| {
            encode::subscribe(out, subject, queue, sid);
            if limit > 0 {
                encode::unsubscribe(out, sid, limit);
            }
        })
    }

    /// Sends UNSUB, after `limit` messages or at once if that is zero.
    fn send_unsubscribe(slf: &Bound<'_, Self>, sid: u64, limit: u64) -> PyResult<()> {
        Self::send_command(slf, |out| encode::unsubscribe(out, sid, limit))
    }

    /// Writes pending output now, as far as the socket takes it without blocking. For the loop to
    /// call, and for who waits for the output to leave.
    fn kick(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        this.kick_armed.store(false, Relaxed);
        let written = if this.uses_transport.load(Relaxed) && this.runs_here(slf.py())? {
            Self::write_to_transport(slf)
        } else {
            Self::write_out(slf)
        };
        release(slf.py(), &this.kick_waiters).and(written)
    }

    /// Resolves once no more than `limit` bytes are unwritten.
    fn room<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyAny>> {
        self.shared.get()?.room_limit.store(limit, Relaxed);
        self.wait_for_room(py)
    }
}

impl Connection {
    /// As the method `publish`.
    pub fn send_message(
        slf: &Bound<'_, Self>,
        subject: &Bound<'_, PyAny>,
        payload: &Bound<'_, PyAny>,
        reply: &str,
        headers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let this = slf.get();
        let subject = subject_text(subject)?;
        this.check_sending(slf.py(), subject, reply)?;
        match payload.cast_exact::<PyBytes>() {
            Ok(payload) => this.enqueue(slf, subject, reply, payload.as_bytes(), headers),
            Err(_) => this.enqueue(slf, subject, reply, &payload_bytes(payload)?, headers),
        }
    }

    /// As `send_message`, without reply subject and headers.
    pub fn send_bytes(
        slf: &Bound<'_, Self>,
        subject: &str,
        payload: &[u8],
    ) -> PyResult<Option<Py<PyAny>>> {
        slf.get().check_sending(slf.py(), subject, "")?;
        slf.get().enqueue(slf, subject, "", payload, None)
    }

    /// The connection of a client whose `publish` is our own.
    pub fn of_native_publisher<'py>(
        client: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, Self>>> {
        static PUBLISH: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = client.py();
        let native = PUBLISH.get_or_try_init(py, || {
            let publish = py.import("nats.aio.client")?.getattr("_NATIVE_PUBLISH")?;
            Ok::<_, PyErr>(publish.unbind())
        })?;
        let publish = calls::attribute(client, intern!(py, "publish"))?;
        match publish.getattr_opt(intern!(py, "__func__"))? {
            Some(function) if function.is(native) => {
                Ok(calls::attribute(client, intern!(py, "_core"))?.cast_into::<Self>().ok())
            }
            _ => Ok(None),
        }
    }

    fn check_sending(&self, py: Python<'_>, subject: &str, reply: &str) -> PyResult<()> {
        if !self.skip_subject_validation.load(Relaxed) {
            subject::check_publish(subject)?;
            if !reply.is_empty() {
                subject::check_publish(reply)?;
            }
        }
        match self.status.load(Relaxed) {
            status::CLOSED => Err(self.closed_error(py)),
            status::DRAINING_PUBS => Err(ConnectionDrainingError::new_err(())),
            _ => Ok(()),
        }
    }

    fn enqueue(
        &self,
        slf: &Bound<'_, Self>,
        subject: &str,
        reply: &str,
        payload: &[u8],
        headers: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let py = slf.py();
        let shared = self.shared.get()?;
        let outbox = &shared.outbox;
        let connected = self.is_connected();
        let max_pending = self.max_pending.load(Relaxed);
        let over_limit =
            |added: usize| i64::try_from(outbox.size() + added).unwrap_or(i64::MAX) > max_pending;
        if !connected && (max_pending <= 0 || over_limit(payload.len())) {
            return Err(OutboundBufferLimitError::new_err(format!(
                "disconnected, and pending_size lets no more than {max_pending} bytes wait"
            )));
        }
        if payload.len() > self.max_payload.load(Relaxed) {
            return Err(MaxPayloadError::new_err(()));
        }
        if subject.is_empty() {
            return Err(subject::BadSubject(subject).into());
        }
        let foreign = !self.on_loop_thread(py)?;
        if max_pending > 0 && over_limit(payload.len()) && (foreign || !self.runs_here(py)?) {
            return Err(OutboundBufferLimitError::new_err(format!(
                "pending_size lets no more than {max_pending} bytes wait, and only the loop's \
                 thread can wait for room"
            )));
        }
        let waiting = match headers {
            None => outbox.append(|out| {
                encode::publish(out, subject.as_bytes(), reply.as_bytes(), b"", payload);
            }),
            Some(headers) => {
                // Taken out, not locked: reading the mapping may run Python code that publishes.
                let mut block = std::mem::take(&mut *lock(&self.header_scratch));
                block.clear();
                encode_headers(headers, &mut block)?;
                // The server counts them, too, and hangs up on a publisher of more.
                if block.len() + payload.len() > self.max_payload.load(Relaxed) {
                    return Err(MaxPayloadError::new_err(()));
                }
                let waiting = outbox.append(|out| {
                    encode::publish(out, subject.as_bytes(), reply.as_bytes(), &block, payload);
                });
                if block.capacity() <= KEEP_HEADERS {
                    *lock(&self.header_scratch) = block;
                }
                waiting
            }
        };
        shared.stats.count_out(payload.len());
        if !connected {
            return Ok(None);
        }
        if foreign {
            Self::write_out(slf)?;
        } else if max_pending > 0 && over_limit(0) {
            self.read_beside()?;
            Self::write_out(slf)?;
            if over_limit(0) && self.runs_here(py)? {
                return Ok(Some(self.wait_for_room(py)?.unbind()));
            }
        } else if waiting < KICK_AT {
            Self::kick_soon(slf)?;
        } else if self.uses_transport.load(Relaxed) {
            Self::kick_soon(slf)?;
            if self.is_much_for_a_transport(waiting) && self.runs_here(py)? {
                return Ok(Some(self.wait_for_kick(py)?.unbind()));
            }
        } else {
            self.read_beside()?;
            Self::write_out(slf)?;
        }
        Ok(None)
    }

    /// Whether publishers should let the loop turn for it to write so much pending output.
    fn is_much_for_a_transport(&self, waiting: usize) -> bool {
        let limit = usize::try_from(self.max_pending.load(Relaxed)).unwrap_or(0);
        let (most, is_limited) = if limit > 0 { (limit, true) } else { (USUAL_LIMIT, false) };
        (waiting >= KICK_AT.max(most / UNWRITTEN_SHARE) && self.is_writable())
            || (waiting >= most && !is_limited)
    }

    /// Publishes an empty message and has it written at once.
    pub fn publish_empty(slf: &Bound<'_, Self>, subject: &[u8]) -> PyResult<()> {
        let outbox = &slf.get().shared.get()?.outbox;
        outbox.append(|out| encode::publish(out, subject, b"", b"", b""));
        Self::write_out(slf)
    }

    /// Has the pending output written at the end of this turn of the loop.
    fn kick_soon(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if this.kick_armed.load(Relaxed) {
            return Ok(());
        }
        if this.runs_here(py)? || this.is_loop_closed(py)? {
            return Self::arm_kick(slf, &this.event_loop.call_soon);
        }
        Self::write_out(slf)
    }

    /// Has the loop write the pending output, unless that is due anyway.
    pub(super) fn arm_kick(slf: &Bound<'_, Self>, call_soon: &Py<PyAny>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if this.kick_armed.swap(true, Relaxed) {
            return Ok(());
        }
        let kick = slf.getattr(intern!(py, "kick"));
        let armed = kick.and_then(|kick| calls::call1(call_soon.bind(py), (kick,)));
        if armed.is_err() {
            // What a signal handler raises, for one: the next publish has to try again.
            this.kick_armed.store(false, Relaxed);
        }
        armed.map(drop)
    }

    /// Sends a command to the connection in service, if there is one.
    fn send_command(slf: &Bound<'_, Self>, encode: impl FnOnce(&mut Vec<u8>)) -> PyResult<()> {
        let this = slf.get();
        let outbox = &this.shared.get()?.outbox;
        if outbox.append_in_service(encode) { Self::kick_soon(slf) } else { Ok(()) }
    }

    /// Writes what a handler has published before its task goes to sleep: a turn earlier than
    /// the kick that is due anyway, which is what a transport waits for.
    pub fn flush_before_waiting(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        if this.kick_armed.load(Relaxed) && !this.uses_transport.load(Relaxed) {
            return Self::write_out(slf);
        }
        Ok(())
    }

    /// Lets go of publishers that wait for room.
    pub(super) fn release_publishers(&self, py: Python<'_>) -> PyResult<()> {
        release(py, &self.room_waiters)
    }

    fn wait_for_room<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let shared = self.shared.get()?;
        let future = self.create_future(py)?;
        lock(&self.room_waiters).push(future.clone().unbind());
        shared.outbox.want_room();
        // The writer may have made room before it knew that anybody wanted it.
        shared.notice_room();
        Ok(future)
    }

    /// Resolves with the next kick.
    fn wait_for_kick<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let future = self.create_future(py)?;
        lock(&self.kick_waiters).push(future.clone().unbind());
        Ok(future)
    }
}

fn release(py: Python<'_>, waiters: &Mutex<Vec<Py<PyAny>>>) -> PyResult<()> {
    let waiters = std::mem::take(&mut *lock(waiters));
    waiters.iter().try_for_each(|waiter| resolve(waiter.bind(py), py.None()))
}
