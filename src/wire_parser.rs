//! `WireParser`: the protocol parser as a Python object, for `nats.protocol.parser`.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::ProtocolError;
use crate::protocol::{Parser, ServerOp};

/// Parses a byte stream that was split anywhere.
#[pyclass(module = "nats._core")]
pub struct WireParser(Parser);

#[pymethods]
impl WireParser {
    #[new]
    fn new() -> Self {
        Self(Parser::new())
    }

    /// Takes bytes; returns the operations that are complete as `(op, value)`.
    ///
    /// Values: `(sid, subject, reply, data, header block)` for `MSG`, bytes for `INFO` and
    /// `-ERR`, `None` for the others.
    fn feed<'py>(
        &mut self,
        py: Python<'py>,
        data: &[u8],
    ) -> PyResult<Vec<(&'static str, Bound<'py, PyAny>)>> {
        self.0.feed(data);
        let bytes = |slice: &[u8]| PyBytes::new(py, slice).into_any();
        let none = || py.None().into_bound(py);
        let mut found = Vec::new();
        while let Some(op) =
            self.0.next_op().map_err(|error| ProtocolError::new_err(error.to_string()))?
        {
            found.push(match op {
                ServerOp::Msg(frame) => {
                    let parts = (
                        frame.sid(),
                        bytes(frame.subject()),
                        bytes(frame.reply()),
                        bytes(frame.payload()),
                        bytes(frame.headers()),
                    );
                    ("MSG", parts.into_pyobject(py)?.into_any())
                }
                ServerOp::Info(text) => ("INFO", bytes(&text)),
                ServerOp::Err(text) => ("-ERR", bytes(&text)),
                ServerOp::Ping => ("PING", none()),
                ServerOp::Pong => ("PONG", none()),
                ServerOp::Ok => ("+OK", none()),
            });
        }
        Ok(found)
    }

    /// Whether a message has begun but not ended.
    #[getter]
    fn in_message(&self) -> bool {
        self.0.in_message()
    }
}
