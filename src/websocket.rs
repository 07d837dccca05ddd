//! WebSocket framing (RFC 6455) for the asyncio driver: bytes in, bytes out, no socket.

use std::io::{self, Read, Write};
use std::mem;
use std::sync::{Mutex, OnceLock};

use memchr::memmem;
use pyo3::exceptions::{PyConnectionError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::{ClientHandshake, Request};
use tungstenite::handshake::{HandshakeError, MidHandshake};
use tungstenite::http::header::{HOST, HeaderName, HeaderValue};
use tungstenite::http::uri::Uri;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Bytes, Error, Message};

use crate::connection::lock;

/// The buffer that a read fills, zeroed each time: larger isn't faster.
const READ_BUFFER: usize = 32 * 1024;
/// What a frame may announce; tungstenite reserves address space for all of it. Four times
/// what a server keeps for a client by default (`max_pending`), which it may send in one frame.
const MAX_FRAME: usize = 256 * 1024 * 1024;
/// What an answer's head may have; a server's has two hundred bytes.
const MAX_HEAD: usize = 64 * 1024;
const HTTP: &[u8] = b"HTTP/";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// What tungstenite takes for its stream.
#[derive(Debug, Default)]
struct Pipe {
    incoming: Vec<u8>,
    taken: usize,
    outgoing: Vec<u8>,
}

impl Pipe {
    fn feed(&mut self, data: &[u8]) {
        if self.taken == self.incoming.len() {
            self.incoming.clear();
            self.taken = 0;
        }
        self.incoming.extend_from_slice(data);
    }

    /// Whether the answer to the request, of which `fresh` bytes are new, can be judged: its head
    /// is complete, too long or not HTTP. tungstenite refuses heads that come in small pieces.
    fn has_head(&self, fresh: usize) -> bool {
        let head = &self.incoming;
        let start = head.len().min(HTTP.len());
        let new = head.len().saturating_sub(fresh + END_OF_HEAD.len() - 1);
        head[..start] != HTTP[..start]
            || head.len() > MAX_HEAD
            || memmem::find(&head[new..], END_OF_HEAD).is_some()
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (&self.incoming[self.taken..]).read(buffer)?;
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.taken += count;
        Ok(count)
    }
}

impl Write for Pipe {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.outgoing.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum State {
    Handshake(MidHandshake<ClientHandshake<Pipe>>),
    Open(Box<tungstenite::WebSocket<Pipe>>),
    /// By the peer, or because of what it sent.
    Closed(Pipe),
}

impl State {
    fn pipe(&mut self) -> &mut Pipe {
        match self {
            Self::Handshake(handshake) => handshake.get_mut().get_mut(),
            Self::Open(socket) => socket.get_mut(),
            Self::Closed(pipe) => pipe,
        }
    }

    fn close(&mut self) {
        let pipe = mem::take(self.pipe());
        *self = Self::Closed(pipe);
    }
}

/// The client's end of a WebSocket connection. `output` is what has to be sent after each call,
/// first of all the request that begins the connection.
#[pyclass(frozen, module = "nats._core")]
pub struct WebSocketCodec {
    state: Mutex<State>,
    failure: OnceLock<String>,
}

#[pymethods]
impl WebSocketCodec {
    /// `url` begins with `ws://` or `wss://`; the request carries `headers` beside its own.
    ///
    /// Raises `ValueError` for what can't be in a request.
    #[new]
    fn new(url: &str, headers: Vec<(String, String)>) -> PyResult<Self> {
        let request = request(url, headers)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .max_message_size(Some(MAX_FRAME))
            .max_frame_size(Some(MAX_FRAME));
        let handshake = ClientHandshake::start(Pipe::default(), request, Some(config))
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let mut state = State::Handshake(handshake);
        // Nothing has arrived: this writes the request.
        state.advance().map_err(PyValueError::new_err)?;
        Ok(Self { state: Mutex::new(state), failure: OnceLock::new() })
    }

    /// Whether the server has accepted the connection and nobody has closed it.
    #[getter]
    fn is_open(&self) -> bool {
        matches!(*lock(&self.state), State::Open(_))
    }

    /// Whether somebody has closed it, or had to.
    #[getter]
    fn is_closed(&self) -> bool {
        matches!(*lock(&self.state), State::Closed(_))
    }

    /// How the server has refused the connection or broken the protocol, if it has.
    #[getter]
    fn failure(&self) -> Option<PyErr> {
        self.failure.get().map(|text| PyConnectionError::new_err(text.clone()))
    }

    /// Takes bytes from the network; returns the content of the binary frames in them.
    ///
    /// What follows a failure or the peer's good-bye is ignored: see `failure` and `is_closed`.
    fn receive<'py>(&self, py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
        let mut state = lock(&self.state);
        let mut content = Vec::new();
        if let Err(failure) = state.receive(data, &mut content) {
            state.close();
            _ = self.failure.set(failure);
        }
        PyBytes::new(py, &content)
    }

    /// What has to be sent.
    fn output<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &mem::take(&mut lock(&self.state).pipe().outgoing))
    }

    /// Puts `data` into a binary frame.
    ///
    /// Raises `RuntimeError` unless the connection is open.
    fn send(&self, data: &[u8]) -> PyResult<()> {
        match &mut *lock(&self.state) {
            State::Open(socket) => socket
                .send(Message::Binary(Bytes::copy_from_slice(data)))
                .map_err(|error| PyRuntimeError::new_err(error.to_string())),
            _ => Err(PyRuntimeError::new_err("the WebSocket connection isn't open")),
        }
    }

    /// Says good-bye, if there is somebody to say it to.
    fn close(&self) {
        let mut state = lock(&self.state);
        if let State::Open(socket) = &mut *state {
            // What can fail is over then anyway.
            _ = socket.close(None);
            _ = socket.flush();
        }
        state.close();
    }
}

impl State {
    fn receive(&mut self, data: &[u8], content: &mut Vec<u8>) -> Result<(), String> {
        if matches!(self, Self::Closed(_)) {
            return Ok(());
        }
        self.pipe().feed(data);
        if matches!(self, Self::Handshake(_)) && self.pipe().has_head(data.len()) {
            self.advance()?;
        }
        self.read(content)
    }

    /// Goes on with the handshake as far as the received bytes allow.
    fn advance(&mut self) -> Result<(), String> {
        let placeholder = Self::Closed(Pipe::default());
        let Self::Handshake(handshake) = mem::replace(self, placeholder) else { return Ok(()) };
        match handshake.handshake() {
            Ok((socket, _)) => *self = Self::Open(Box::new(socket)),
            Err(HandshakeError::Interrupted(handshake)) => *self = Self::Handshake(handshake),
            Err(HandshakeError::Failure(error)) => {
                return Err(format!("nats: websocket handshake failed: {error}"));
            }
        }
        Ok(())
    }

    fn read(&mut self, content: &mut Vec<u8>) -> Result<(), String> {
        let Self::Open(socket) = self else { return Ok(()) };
        let end = loop {
            match socket.read() {
                Ok(Message::Binary(data)) if content.is_empty() => *content = data.into(),
                Ok(Message::Binary(data)) => content.extend_from_slice(&data),
                // Answered by tungstenite; the answer is written by the flush.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Ok(Message::Text(_) | Message::Close(_)) => break Ok(()),
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    _ = socket.flush();
                    return Ok(());
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => break Ok(()),
                Err(error) => break Err(format!("nats: websocket error: {error}")),
            }
        };
        _ = socket.flush();
        self.close();
        end
    }
}

fn request(url: &str, headers: Vec<(String, String)>) -> PyResult<Request> {
    let invalid = |error: &dyn ToString| PyValueError::new_err(error.to_string());
    let uri: Uri = url.parse().map_err(|error| invalid(&error))?;
    let mut request = uri.into_client_request().map_err(|error| invalid(&error))?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|error| invalid(&error))?;
        let value = HeaderValue::try_from(value).map_err(|error| invalid(&error))?;
        if name == HOST {
            request.headers_mut().insert(name, value);
        } else {
            request.headers_mut().append(name, value);
        }
    }
    Ok(request)
}
