//! WebSocket (RFC 6455) for the asyncio driver: bytes in, bytes out, no socket. tungstenite does
//! the handshake and makes frames; what comes is read by `protocol::websocket`.

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
use tungstenite::protocol::frame::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, Message};

use crate::connection::lock;
use crate::protocol::websocket::{End, FrameReader, Received};

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

    /// How much of the answer to the request, of which `fresh` bytes are new, has to be judged:
    /// its head, or all of what is too long for one or not HTTP. Nothing before that:
    /// tungstenite refuses heads that come in small pieces.
    fn head(&self, fresh: usize) -> Option<usize> {
        let head = &self.incoming;
        let start = head.len().min(HTTP.len());
        let new = head.len().saturating_sub(fresh + END_OF_HEAD.len() - 1);
        if let Some(end) = memmem::find(&head[new..], END_OF_HEAD) {
            return Some(new + end + END_OF_HEAD.len());
        }
        (head[..start] != HTTP[..start] || head.len() > MAX_HEAD).then_some(head.len())
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

/// A WebSocket in service.
struct Opened {
    /// Nothing is read from it.
    socket: tungstenite::WebSocket<Pipe>,
    frames: FrameReader,
    /// The answer that is due to the latest PING.
    pong: Option<Vec<u8>>,
}

enum State {
    Handshake(MidHandshake<ClientHandshake<Pipe>>),
    Open(Box<Opened>),
    /// By the peer, or because of what it sent.
    Closed(Pipe),
}

impl State {
    fn pipe(&mut self) -> &mut Pipe {
        match self {
            Self::Handshake(handshake) => handshake.get_mut().get_mut(),
            Self::Open(opened) => opened.socket.get_mut(),
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
        let config = WebSocketConfig::default().read_buffer_size(0);
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

    /// Takes bytes from the network; returns what they bring of the content of binary frames.
    ///
    /// What follows a failure or the peer's good-bye is ignored: see `failure` and `is_closed`.
    fn receive<'py>(&self, py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
        let mut state = lock(&self.state);
        let mut received = Received::default();
        if let Err(failure) = state.receive(data, &mut received) {
            state.close();
            _ = self.failure.set(failure);
        }
        PyBytes::new(py, &received.content)
    }

    /// What has to be sent. Of the PINGs since the last call, the latest is answered: whoever
    /// leaves the output while nothing can be sent keeps one answer at most.
    fn output<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let mut state = lock(&self.state);
        if let State::Open(opened) = &mut *state
            && let Some(pong) = opened.pong.take()
        {
            // Only a closed socket refuses it.
            _ = opened.socket.send(Message::Pong(pong.into()));
        }
        PyBytes::new(py, &mem::take(&mut state.pipe().outgoing))
    }

    /// Puts `data` into a binary frame.
    ///
    /// Raises `RuntimeError` unless the connection is open.
    fn send(&self, data: &[u8]) -> PyResult<()> {
        match &mut *lock(&self.state) {
            State::Open(opened) => opened
                .socket
                .send(Message::Binary(Bytes::copy_from_slice(data)))
                .map_err(|error| PyRuntimeError::new_err(error.to_string())),
            _ => Err(PyRuntimeError::new_err("the WebSocket connection isn't open")),
        }
    }

    /// Says good-bye, if there is somebody to say it to.
    fn close(&self) {
        lock(&self.state).say_good_bye(None);
    }
}

impl State {
    fn receive(&mut self, data: &[u8], received: &mut Received) -> Result<(), String> {
        match self {
            Self::Closed(_) => Ok(()),
            Self::Open(opened) => {
                let end = opened.read(data, received);
                self.end(end)
            }
            Self::Handshake(_) => {
                let pipe = self.pipe();
                pipe.feed(data);
                let Some(end) = pipe.head(data.len()) else { return Ok(()) };
                let rest = pipe.incoming.split_off(end);
                self.advance()?;
                if let Self::Open(_) = self { self.receive(&rest, received) } else { Ok(()) }
            }
        }
    }

    /// Goes on with the handshake as far as the received bytes allow.
    fn advance(&mut self) -> Result<(), String> {
        let placeholder = Self::Closed(Pipe::default());
        let Self::Handshake(handshake) = mem::replace(self, placeholder) else { return Ok(()) };
        match handshake.handshake() {
            Ok((mut socket, _)) => {
                socket.get_mut().incoming = Vec::new();
                let opened = Opened { socket, frames: FrameReader::default(), pong: None };
                *self = Self::Open(Box::new(opened));
            }
            Err(HandshakeError::Interrupted(handshake)) => *self = Self::Handshake(handshake),
            Err(HandshakeError::Failure(error)) => {
                return Err(format!("nats: websocket handshake failed: {error}"));
            }
        }
        Ok(())
    }

    /// Does what the end of reading, if it is one, asks for.
    fn end(&mut self, end: Result<(), End>) -> Result<(), String> {
        match end {
            Ok(()) => {}
            Err(End::Closed(reason)) => self.say_good_bye(reason),
            Err(End::Text) => {
                self.say_good_bye(Some((CloseCode::Unsupported.into(), String::new())))
            }
            Err(End::Broken(how)) => {
                self.say_good_bye(Some((CloseCode::Protocol.into(), String::new())));
                return Err(format!("nats: websocket error: {how}"));
            }
        }
        Ok(())
    }

    /// Closes the WebSocket, with a code and a reason if there are any.
    fn say_good_bye(&mut self, reason: Option<(u16, String)>) {
        if let Self::Open(opened) = self {
            let frame = reason.map(|(code, reason)| match CloseCode::from(code) {
                code if code.is_allowed() => CloseFrame { code, reason: reason.into() },
                _ => CloseFrame { code: CloseCode::Protocol, reason: "".into() },
            });
            // What can fail is over then anyway.
            _ = opened.socket.close(frame);
        }
        self.close();
    }
}

impl Opened {
    fn read(&mut self, data: &[u8], received: &mut Received) -> Result<(), End> {
        received.content.reserve(data.len());
        let end = self.frames.read(data, received);
        if received.ping.is_some() {
            self.pong = received.ping.take();
        }
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
