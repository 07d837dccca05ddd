//! The exception classes of `nats.errors` that Rust raises.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use crate::connection::LinkEnd;
use crate::protocol::headers::BadHeader;
use crate::protocol::subject::BadSubject;

pyo3::import_exception!(nats.errors, BadHeaderError);
pyo3::import_exception!(nats.errors, BadSubjectError);
pyo3::import_exception!(nats.errors, ConnectionClosedError);
pyo3::import_exception!(nats.errors, ConnectionDrainingError);
pyo3::import_exception!(nats.errors, Error);
pyo3::import_exception!(nats.errors, MaxPayloadError);
pyo3::import_exception!(nats.errors, OutboundBufferLimitError);
pyo3::import_exception!(nats.errors, ProtocolError);
pyo3::import_exception!(nats.errors, TimeoutError);
pyo3::import_exception!(nats.errors, UnexpectedEOF);
pyo3::import_exception!(nats.errors, WrongLoopError);

impl From<BadSubject<'_>> for PyErr {
    fn from(bad: BadSubject<'_>) -> Self {
        BadSubjectError::new_err((bad.to_string(),))
    }
}

impl From<BadHeader> for PyErr {
    fn from(BadHeader(name): BadHeader) -> Self {
        BadHeaderError::new_err(name)
    }
}

impl From<LinkEnd> for PyErr {
    fn from(end: LinkEnd) -> Self {
        match end {
            LinkEnd::Eof => UnexpectedEOF::new_err(()),
            LinkEnd::Io(error) => os_error(&error),
            LinkEnd::Protocol(error) => ProtocolError::new_err(error.to_string()),
            LinkEnd::Internal(panic) => Error::new_err(format!("nats: internal error: {panic}")),
        }
    }
}

/// `OSError(errno, text)`, which makes itself the right subclass.
fn os_error(error: &std::io::Error) -> PyErr {
    match error.raw_os_error() {
        Some(errno) => {
            // Rust appends " (os error N)", Python prepends "[Errno N]".
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default().to_owned();
            PyOSError::new_err((errno, text))
        }
        None => PyOSError::new_err(error.to_string()),
    }
}

/// What asyncio raises when a connection attempt fails.
pub fn connect_error(error: &std::io::Error, address: &std::net::SocketAddr) -> PyErr {
    let Some(errno) = error.raw_os_error() else { return os_error(error) };
    let host = address.ip();
    let address = match address {
        std::net::SocketAddr::V4(v4) => format!("('{host}', {})", v4.port()),
        std::net::SocketAddr::V6(v6) => {
            format!("('{host}', {}, {}, {})", v6.port(), v6.flowinfo(), v6.scope_id())
        }
    };
    PyOSError::new_err((errno, format!("Connect call failed {address}")))
}

/// The client was inherited over a fork; its socket and thread belong to the parent.
pub fn forked() -> PyErr {
    Error::new_err("nats: connection was made before a fork, connect again in this process")
}
