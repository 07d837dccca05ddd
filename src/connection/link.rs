//! The tokio driver: one socket, a reader task and a writer task on the I/O thread.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::dispatch::{Event, LinkEnd, Shared};
use super::outbox::Written;
use crate::protocol::{Parser, ServerOp};

/// Operations parsed before they are delivered: bounds what one batch holds back.
const MAX_BATCH: usize = 1024;

/// A TCP connection in service.
pub struct Link {
    stream: Arc<TcpStream>,
    shared: Arc<Shared>,
    epoch: u64,
    /// Tells the tasks that the connection isn't wanted any more.
    closing: Arc<Closing>,
}

#[derive(Default)]
struct Closing {
    flag: AtomicBool,
    notify: Notify,
}

impl Closing {
    async fn wait(&self) {
        let notified = self.notify.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if !self.flag.load(Ordering::Acquire) {
            notified.await;
        }
    }
}

impl Link {
    /// Connects and starts both tasks. Call on the runtime.
    pub async fn dial(address: SocketAddr, shared: Arc<Shared>) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let link = Self {
            stream: Arc::new(stream),
            epoch: shared.outbox.attach(),
            shared,
            closing: Arc::default(),
        };
        tokio::spawn(link.task(Task::Read));
        tokio::spawn(link.task(Task::Write));
        Ok(link)
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Writes from the calling thread, never blocking; what the socket doesn't take now is
    /// left to the writer task.
    pub fn write_now(&self) {
        let outbox = &self.shared.outbox;
        match outbox.try_write(self.epoch, |bytes| self.stream.try_write(bytes)) {
            Ok(Written::All | Written::Detached) => self.shared.notice_room(),
            // The writer task sees an error again and reports it.
            Ok(Written::Blocked | Written::Busy) | Err(_) => outbox.wake.notify_one(),
        }
    }

    /// Ends both tasks and closes the socket, without a report.
    pub fn close(&self) {
        self.closing.flag.store(true, Ordering::Release);
        self.closing.notify.notify_waiters();
    }

    fn task(&self, task: Task) -> impl Future<Output = ()> + Send + 'static {
        let stream = Arc::clone(&self.stream);
        let shared = Arc::clone(&self.shared);
        let closing = Arc::clone(&self.closing);
        let epoch = self.epoch;
        async move {
            let end = tokio::select! {
                biased;
                () = closing.wait() => return,
                end = async {
                    match task {
                        Task::Read => read(&stream, &shared, epoch).await,
                        Task::Write => write(&stream, &shared, epoch).await,
                    }
                } => end,
            };
            // The first task to end reports; close() also stops the other one.
            if let Some(end) = end
                && !closing.flag.swap(true, Ordering::AcqRel)
            {
                closing.notify.notify_waiters();
                shared.post(Event::Ended(epoch, end));
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
    }
}

#[derive(Clone, Copy)]
enum Task {
    Read,
    Write,
}

async fn read(stream: &TcpStream, shared: &Shared, epoch: u64) -> Option<LinkEnd> {
    let mut parser = Parser::new();
    let mut batch: Vec<ServerOp> = Vec::with_capacity(MAX_BATCH);
    loop {
        if let Err(error) = stream.readable().await {
            return Some(LinkEnd::Io(error));
        }
        match stream.try_read_buf(parser.read_buffer()) {
            Ok(0) => return Some(LinkEnd::Eof),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Some(LinkEnd::Io(error)),
        }
        if let Err(error) = deliver(&mut parser, &mut batch, shared, || {
            let written = shared.outbox.try_write(epoch, |bytes| stream.try_write(bytes));
            if !matches!(written, Ok(Written::All)) {
                shared.outbox.wake.notify_one();
            }
        }) {
            return Some(LinkEnd::Protocol(error));
        }
    }
}

/// Dispatches everything that is complete; calls `answer` when a PONG has to go out.
pub fn deliver(
    parser: &mut Parser,
    batch: &mut Vec<ServerOp>,
    shared: &Shared,
    mut answer: impl FnMut(),
) -> Result<(), crate::protocol::ProtocolError> {
    loop {
        let outcome = loop {
            match parser.next_op() {
                Ok(Some(op)) => batch.push(op),
                Ok(None) => break Some(Ok(())),
                Err(error) => break Some(Err(error)),
            }
            if batch.len() == MAX_BATCH {
                break None;
            }
        };
        if !batch.is_empty() && shared.dispatch(batch) {
            answer();
        }
        if let Some(outcome) = outcome {
            return outcome;
        }
    }
}

async fn write(stream: &TcpStream, shared: &Shared, epoch: u64) -> Option<LinkEnd> {
    loop {
        match shared.outbox.write(epoch, |bytes| stream.try_write(bytes)) {
            Ok(Written::Detached) => return None,
            Ok(Written::All | Written::Busy) => {
                shared.notice_room();
                shared.outbox.wake.notified().await;
            }
            Ok(Written::Blocked) => {
                shared.notice_room();
                if let Err(error) = stream.writable().await {
                    return Some(LinkEnd::Io(error));
                }
            }
            Err(error) => return Some(LinkEnd::Io(error)),
        }
    }
}
