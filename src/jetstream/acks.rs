//! Acknowledgements of published messages.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::bridge::calls;
use crate::protocol::{Frame, headers};

/// The plain acknowledgement; whatever else is in one is left to Python.
#[derive(Deserialize)]
struct Ack<'a> {
    #[serde(borrow)]
    stream: Cow<'a, str>,
    seq: u64,
    #[serde(borrow, default)]
    domain: Option<Cow<'a, str>>,
    #[serde(default)]
    duplicate: Option<bool>,
    #[serde(default)]
    error: Option<IgnoredAny>,
    #[serde(default)]
    batch: Option<IgnoredAny>,
    #[serde(default)]
    count: Option<IgnoredAny>,
    #[serde(default)]
    val: Option<IgnoredAny>,
}

impl Ack<'_> {
    fn is_plain(&self) -> bool {
        self.error.is_none() && self.batch.is_none() && self.count.is_none() && self.val.is_none()
    }
}

/// The `PubAck` that a reply carries, or the exception that it stands for.
pub fn from_frame<'py>(py: Python<'py>, frame: &Frame) -> PyResult<Bound<'py, PyAny>> {
    let status = status(frame.headers());
    if status.is_none()
        && let Ok(ack) = serde_json::from_slice::<Ack<'_>>(frame.payload())
        && ack.is_plain()
    {
        static PUB_ACK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let class = look_up(py, &PUB_ACK, "nats.js.api", "PubAck")?;
        return calls::call1(class, (ack.stream, ack.seq, ack.domain, ack.duplicate));
    }
    static PARSE_ACK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let parse = look_up(py, &PARSE_ACK, "nats.js._acks", "parse_ack")?;
    calls::call1(parse, (frame.payload(), status))
}

/// The status of a reply: inline, or a header of that name, which is as good to `request`.
fn status(block: &[u8]) -> Option<String> {
    let mut status = None;
    headers::parse(block, |name, value| {
        if name == headers::STATUS {
            status = Some(value.to_owned());
        }
    });
    status
}

/// As `from_frame`, of a reply that has become a message object already.
pub fn from_message<'py>(message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static PARSE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let parse = look_up(message.py(), &PARSE, "nats.js._acks", "parse_ack_message")?;
    calls::call1(parse, (message,))
}

fn look_up<'py>(
    py: Python<'py>,
    cell: &'py PyOnceLock<Py<PyAny>>,
    module: &str,
    name: &str,
) -> PyResult<&'py Bound<'py, PyAny>> {
    let found =
        cell.get_or_try_init(py, || Ok::<_, PyErr>(py.import(module)?.getattr(name)?.unbind()))?;
    Ok(found.bind(py))
}
