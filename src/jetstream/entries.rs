//! Entries of key-value buckets, made from the messages that carry them (ADR-8).

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDateTime, PyDict, PyString, PyTzInfo};
use serde::Deserialize;
use serde::de::IgnoredAny;
use time::OffsetDateTime;

use super::delivery::Position;
use super::initial::InitialValues;
use crate::bridge::calls;
use crate::client::Connection;
use crate::message::wire_text;
use crate::protocol::{Frame, headers};
use crate::request::ReplyKind;
use crate::subscription::SubscriptionCore;

const OPERATION: &str = "KV-Operation";
const MARKER_REASON: &str = "Nats-Marker-Reason";
const SUBJECT: &str = "Nats-Subject";
const SEQUENCE: &str = "Nats-Sequence";
const DELETE: &str = "DEL";
const PURGE: &str = "PURGE";

/// What an entry asked for by its key looks like.
#[pyclass(frozen, module = "nats._core")]
pub struct EntryShape {
    class: Py<PyAny>,
    bucket: Py<PyString>,
    key: Py<PyAny>,
    subject: String,
}

#[pymethods]
impl EntryShape {
    /// `class_` takes bucket, key, value, revision, delta, created and operation; `subject` is
    /// the one that the key, as it was given, is stored at.
    #[new]
    fn new(class_: Py<PyAny>, bucket: Py<PyString>, key: Py<PyAny>, subject: String) -> Self {
        Self { class: class_, bucket, key, subject }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.class)?;
        visit.call(&self.bucket)?;
        visit.call(&self.key)
    }
}

impl EntryShape {
    /// The entry in the reply to a get, direct (ADR-31) or through the API; `None` where the
    /// reply is anything else than a value of that key: an error, a marker, another subject.
    pub fn entry<'py>(
        &self,
        py: Python<'py>,
        frame: &Frame,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if frame.headers().is_empty() {
            return match StoredMessage::parse(frame.payload()) {
                Some(stored) if stored.subject == self.subject => {
                    self.make(py, &stored.data, stored.seq).map(Some)
                }
                _ => Ok(None),
            };
        }
        let block = frame.headers();
        if headers::inline_status(block).is_some() {
            return Ok(None);
        }
        let (mut is_value, mut is_same, mut revision) = (true, false, None);
        headers::parse(block, |name, value| match name {
            OPERATION | MARKER_REASON | headers::STATUS => is_value = false,
            SUBJECT => is_same = value == self.subject,
            SEQUENCE => revision = value.parse::<u64>().ok(),
            _ => {}
        });
        match revision {
            Some(revision) if is_value && is_same => {
                self.make(py, frame.payload(), revision).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn make<'py>(
        &self,
        py: Python<'py>,
        value: &[u8],
        revision: u64,
    ) -> PyResult<Bound<'py, PyAny>> {
        // The reference gives `None` for an empty value.
        let value = (!value.is_empty()).then(|| PyBytes::new(py, value));
        let nothing = py.None();
        let arguments = (&self.bucket, &self.key, value, revision, &nothing, &nothing, &nothing);
        calls::call1(self.class.bind(py), arguments)
    }
}

/// A message without headers in the API's answer to STREAM.MSG.GET.
struct StoredMessage {
    subject: String,
    seq: u64,
    data: Vec<u8>,
}

impl StoredMessage {
    /// `None` for every other answer.
    fn parse(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            message: Message<'a>,
        }
        #[derive(Deserialize)]
        struct Message<'a> {
            #[serde(borrow)]
            subject: Cow<'a, str>,
            seq: u64,
            #[serde(borrow, default)]
            data: Cow<'a, str>,
            #[serde(default)]
            hdrs: Option<IgnoredAny>,
        }
        let message = serde_json::from_slice::<Answer<'_>>(json).ok()?.message;
        if message.hdrs.is_some() {
            return None;
        }
        let data = BASE64.decode(message.data.as_bytes()).ok()?;
        Some(Self { subject: message.subject.into_owned(), seq: message.seq, data })
    }
}

#[pymethods]
impl Connection {
    /// As `request`, but the future gets the entry in the reply where there is one.
    fn request_entry<'py>(
        slf: &Bound<'py, Self>,
        shape: Py<EntryShape>,
        subject: &Bound<'py, PyAny>,
        payload: &Bound<'py, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<(Bound<'py, PyAny>, u64, Option<Py<PyAny>>)> {
        let future = slf.get().create_future(slf.py())?;
        let kind = ReplyKind::Entry(shape);
        let (token, room) =
            Self::send_request(slf, subject, payload, None, timeout, &future, kind)?;
        Ok((future, token, room))
    }
}

/// The message's operation: `None` for a value, `Err` where it isn't known.
fn operation(frame: &Frame) -> Result<Option<String>, ()> {
    let (mut operation, mut reason) = (None, None);
    headers::parse(frame.headers(), |name, value| match name {
        OPERATION => operation = Some(value.to_owned()),
        MARKER_REASON => reason = Some(value.to_owned()),
        _ => {}
    });
    if operation.is_some() {
        return Ok(operation);
    }
    // Left by the server (ADR-43).
    match reason.as_deref() {
        None => Ok(None),
        Some("MaxAge" | "Purge") => Ok(Some(PURGE.to_owned())),
        Some("Remove") => Ok(Some(DELETE.to_owned())),
        Some(_) => Err(()),
    }
}

fn is_delete(operation: Option<&str>) -> bool {
    matches!(operation, Some(DELETE | PURGE))
}

/// As `datetime.fromtimestamp(nanos / 1e9, timezone.utc)`, to the same microsecond; that call
/// costs twice as much as taking the time apart here.
fn utc_datetime(py: Python<'_>, nanos: i64) -> PyResult<Bound<'_, PyDateTime>> {
    const NANOS_PER_SECOND: f64 = 1e9;
    const MICROS_PER_SECOND: f64 = 1e6;
    let seconds = nanos as f64 / NANOS_PER_SECOND;
    let micros = (seconds.fract() * MICROS_PER_SECOND).round_ties_even();
    let carry = micros >= MICROS_PER_SECOND;
    let time = OffsetDateTime::from_unix_timestamp(seconds.trunc() as i64 + i64::from(carry))
        .map_err(|error| PyValueError::new_err(error.to_string()))?;
    PyDateTime::new(
        py,
        time.year(),
        time.month().into(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        if carry { 0 } else { micros as u32 },
        Some(&*PyTzInfo::utc(py)?),
    )
}

/// Turns the messages of a watcher's subscription into entries.
#[pyclass(frozen, module = "nats._core")]
pub struct EntryFeed {
    core: Py<SubscriptionCore>,
    class: Py<PyAny>,
    bucket: Py<PyString>,
    prefix: String,
    ignore_deletes: bool,
    initial: Py<InitialValues>,
    /// The end of the initial values has been handed out.
    is_marked: AtomicBool,
}

/// What the next step of a feed brings.
enum Step {
    Entry(Frame, Position, Option<String>),
    /// The end of the initial values.
    Mark,
    Nothing,
}

impl EntryFeed {
    fn step(&self, py: Python<'_>) -> PyResult<Step> {
        let core = self.core.get();
        core.check_process()?;
        let initial = self.initial.get();
        loop {
            if !self.is_marked.load(Relaxed) {
                if initial.is_complete() {
                    self.is_marked.store(true, Relaxed);
                    return Ok(Step::Mark);
                }
                if initial.is_in_doubt() && !core.stopped() {
                    return Ok(Step::Nothing);
                }
            }
            let Some(frame) = core.take_frame(py)? else { return Ok(Step::Nothing) };
            core.finish(py)?;
            let Some(position) = Position::parse(frame.reply()) else { continue };
            // What a source brings is delivered as well where the filter is the stream's only
            // subject (nats-server 2.15, the last messages of each subject).
            if !frame.subject().starts_with(self.prefix.as_bytes()) {
                initial.pass_over(position.pending);
                continue;
            }
            initial.note_message(frame.subject(), position.stream_seq, position.pending);
            let Ok(operation) = operation(&frame) else { continue };
            return Ok(Step::Entry(frame, position, operation));
        }
    }

    fn key<'py>(&self, py: Python<'py>, frame: &Frame) -> Bound<'py, PyString> {
        wire_text(py, frame.subject().get(self.prefix.len()..).unwrap_or_default())
    }
}

#[pymethods]
impl EntryFeed {
    /// `class_` as in `EntryShape`; `prefix` stands before the key in the subjects of the
    /// bucket. `initial` tells where the mark belongs.
    #[new]
    fn new(
        core: Py<SubscriptionCore>,
        class_: Py<PyAny>,
        bucket: Py<PyString>,
        prefix: String,
        ignore_deletes: bool,
        initial: Py<InitialValues>,
    ) -> Self {
        let is_marked = AtomicBool::new(false);
        Self { core, class: class_, bucket, prefix, ignore_deletes, initial, is_marked }
    }

    /// The next entry, `None` at the end of the initial values, the feed itself where there is
    /// nothing yet, or the initial values are in doubt.
    fn pop<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let (frame, position, operation) = loop {
            match this.step(py)? {
                Step::Entry(_, _, operation)
                    if this.ignore_deletes && is_delete(operation.as_deref()) => {}
                Step::Entry(frame, position, operation) => break (frame, position, operation),
                Step::Mark => return Ok(py.None().into_bound(py)),
                Step::Nothing => return Ok(slf.clone().into_any()),
            }
        };
        let created = utc_datetime(py, position.timestamp)?;
        let arguments = (
            &this.bucket,
            this.key(py, &frame),
            PyBytes::new(py, frame.payload()),
            position.stream_seq,
            position.pending,
            created,
            operation,
        );
        calls::call1(this.class.bind(py), arguments)
    }

    /// Adds the keys that are there, but for deleted ones; true at the end of the initial values.
    ///
    /// A consumer that was made anew in the middle delivers more than the latest revisions: what
    /// comes later replaces what came before.
    fn collect_keys(&self, py: Python<'_>, keys: &Bound<'_, PyDict>) -> PyResult<bool> {
        loop {
            match self.step(py)? {
                Step::Entry(frame, _, operation) => {
                    let key = self.key(py, &frame);
                    if keys.contains(&key)? {
                        keys.del_item(&key)?;
                    }
                    if !is_delete(operation.as_deref()) {
                        keys.set_item(key, py.None())?;
                    }
                }
                Step::Mark => return Ok(true),
                Step::Nothing => return Ok(false),
            }
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.core)?;
        visit.call(&self.initial)?;
        visit.call(&self.class)?;
        visit.call(&self.bucket)
    }
}
