//! A connection's socket: one descriptor, known to the runtime only while the I/O thread waits.

use std::io;
use std::net::TcpStream;
use std::ops::Deref;
use std::sync::{Arc, Mutex, Weak};

use tokio::io::unix::AsyncFd;

use super::lock;

/// The socket while the runtime watches it. Ends with the last clone.
pub type Registered = Arc<AsyncFd<Arc<TcpStream>>>;

/// Read and written on either thread, never blocking.
pub struct Socket {
    stream: Arc<TcpStream>,
    registered: Mutex<Weak<AsyncFd<Arc<TcpStream>>>>,
}

impl Socket {
    /// `stream` must not block.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream: Arc::new(stream), registered: Mutex::default() }
    }

    /// Has the runtime watch the socket, under the descriptor that it has: a process that has no
    /// descriptors left must be able to go on. For tasks of the I/O thread only, which share one
    /// registration as an epoll instance takes a descriptor once.
    ///
    /// Not for as long as the connection lives: each message that arrives in light traffic would
    /// wake the I/O thread.
    pub fn register(&self) -> io::Result<Registered> {
        let mut registered = lock(&self.registered);
        if let Some(socket) = registered.upgrade() {
            return Ok(socket);
        }
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for descriptors that may be closed meanwhile; \
                      this one belongs to the stream that the registration holds"
        )]
        let socket = AsyncFd::new(Arc::clone(&self.stream))?;
        let socket = Arc::new(socket);
        *registered = Arc::downgrade(&socket);
        Ok(socket)
    }
}

impl Deref for Socket {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}
