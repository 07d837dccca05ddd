//! The tokio driver's connection: one socket, read on either thread.
//!
//! In light traffic the loop's thread reads the socket itself, which saves a reply the hop
//! over another thread. In a flood, or when the loop doesn't turn, the I/O thread reads beside
//! Python and rings the doorbell. Writing starts on the caller's thread and is finished by the
//! writer task.

use std::any::Any;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::dispatch::{Event, LinkEnd, Shared};
use super::outbox::Written;
use super::socket::Socket;
use super::{lock, runtime, try_lock};
use crate::protocol::{Parser, ProtocolError, ServerOp};

/// Operations parsed before they are delivered: bounds what one batch holds back.
const MAX_BATCH: usize = 1024;
/// A read of the loop's thread that brings more than this is the start of a flood.
const FLOOD_BYTES: usize = 24 * 1024;
/// How long after something has arrived the I/O thread looks whether the loop's thread still
/// reads. Far below the server's patience with an unanswered PING.
const WATCH: Duration = Duration::from_millis(500);
/// How long data may lie unread before the I/O thread concludes that the loop is blocked.
const GRACE: Duration = Duration::from_millis(20);

/// Which thread reads.
mod reader {
    pub const LOOP: u8 = 0;
    pub const THREAD: u8 = 1;
}

/// What the loop's thread has to do after it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Watch the socket on.
    Continue,
    /// Stop watching: the I/O thread reads now, or nobody does any more.
    Stop,
}

#[derive(Default)]
struct Input {
    parser: Parser,
    batch: Vec<ServerOp>,
}

struct Inner {
    socket: Socket,
    shared: Arc<Shared>,
    epoch: u64,
    /// Of the process that it was made in.
    generation: u32,
    reader: AtomicU8,
    input: Mutex<Input>,
    /// Reads of the loop's thread: how the I/O thread sees that it is alive.
    loop_reads: AtomicU64,
    /// Operations that the I/O thread has parsed since it was asked last.
    parsed: AtomicU32,
    takeover: Notify,
    closing: AtomicBool,
    closed: Notify,
}

/// A connection in service; closes when dropped.
pub struct Link(Arc<Inner>);

impl Link {
    /// Connects and starts the tasks of the I/O thread. Call on the runtime.
    pub async fn dial(address: SocketAddr, shared: Arc<Shared>) -> io::Result<Self> {
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let inner = Arc::new(Inner {
            socket: Socket::new(stream.into_std()?),
            epoch: shared.attach(),
            generation: runtime::generation(),
            shared,
            reader: AtomicU8::new(reader::LOOP),
            input: Mutex::default(),
            loop_reads: AtomicU64::new(0),
            parsed: AtomicU32::new(0),
            takeover: Notify::new(),
            closing: AtomicBool::new(false),
            closed: Notify::new(),
        });
        tokio::spawn(Arc::clone(&inner).supervise(Task::Read));
        tokio::spawn(Arc::clone(&inner).supervise(Task::Write));
        Ok(Self(inner))
    }

    pub fn epoch(&self) -> u64 {
        self.0.epoch
    }

    pub fn fd(&self) -> RawFd {
        self.0.socket.as_raw_fd()
    }

    /// Reads once, on the loop's thread, when the loop says that there is something.
    pub fn read_on_loop(&self) -> Reading {
        let inner = &*self.0;
        if inner.reader.load(Ordering::Acquire) != reader::LOOP {
            return Reading::Stop;
        }
        inner.loop_reads.fetch_add(1, Ordering::Relaxed);
        if inner.closing.load(Ordering::Acquire) {
            return Reading::Stop;
        }
        // Held by the I/O thread for a last read of its own: the loop will call again.
        let Some(mut input) = try_lock(&inner.input) else { return Reading::Continue };
        let read = contain(|| inner.read_once(&mut input, |buffer| (&*inner.socket).read(buffer)));
        match read {
            Ok(0) => Reading::Continue,
            Ok(bytes) if bytes > FLOOD_BYTES => {
                drop(input);
                self.read_on_thread();
                Reading::Stop
            }
            Ok(_) => Reading::Continue,
            Err(end) => {
                drop(input);
                inner.end(end);
                Reading::Stop
            }
        }
    }

    /// Leaves reading to the I/O thread.
    pub fn read_on_thread(&self) {
        self.0.reader.store(reader::THREAD, Ordering::Release);
        self.0.takeover.notify_one();
    }

    pub fn is_read_on_thread(&self) -> bool {
        self.0.reader.load(Ordering::Acquire) == reader::THREAD
    }

    /// Takes reading back to the loop's thread; false if the connection has ended.
    pub fn take_back(&self) -> bool {
        self.0.reader.store(reader::LOOP, Ordering::Release);
        !self.0.closing.load(Ordering::Acquire)
    }

    /// How many operations the I/O thread has parsed since the last call.
    pub fn take_parsed(&self) -> u32 {
        self.0.parsed.swap(0, Ordering::Relaxed)
    }

    /// Writes from the calling thread, never blocking; what the socket doesn't take now is
    /// left to the writer task.
    pub fn write_now(&self) {
        self.0.write_now();
    }

    /// Ends both tasks, without a report. The socket closes with the last of them.
    pub fn close(&self) {
        self.0.close();
    }

    /// Closes the connection at once, whoever still holds the link.
    pub fn hang_up(&self) {
        self.0.end(LinkEnd::Eof);
    }

    pub fn has_ended(&self) -> bool {
        self.0.closing.load(Ordering::Acquire)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The tasks of an inherited one run in the parent alone, and may have held the locks that
        // waking them takes.
        if self.0.generation == runtime::generation() {
            self.close();
        }
    }
}

#[derive(Clone, Copy)]
enum Task {
    Read,
    Write,
}

impl Inner {
    fn write_now(&self) {
        let outbox = &self.shared.outbox;
        match outbox.try_write(self.epoch, |bytes| (&*self.socket).write(bytes)) {
            Ok(Written::All | Written::Detached) => self.shared.notice_room(),
            // The writer task sees an error again and reports it.
            Ok(Written::Blocked | Written::Busy) | Err(_) => outbox.wake.notify_one(),
        }
    }

    fn close(&self) {
        if !self.closing.swap(true, Ordering::AcqRel) {
            self.closed.notify_waiters();
        }
    }

    /// Reports the end of the connection, once, and closes it.
    fn end(&self, end: LinkEnd) {
        if !self.closing.swap(true, Ordering::AcqRel) {
            self.closed.notify_waiters();
            // Not only when the report is read, before which other callbacks may take their time.
            // It fails where the server has closed first.
            let _ = self.socket.shutdown(Shutdown::Both);
            self.shared.post(Event::Ended(self.epoch, end));
        }
    }

    async fn wait_closed(&self) {
        let notified = self.closed.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if !self.closing.load(Ordering::Acquire) {
            notified.await;
        }
    }

    /// A task that panics must not leave a connection that nobody serves.
    async fn supervise(self: Arc<Self>, task: Task) {
        if let Err(error) = tokio::spawn(Arc::clone(&self).run(task)).await {
            let panic = error.try_into_panic().map_or_else(|_| String::new(), panic_text);
            self.end(LinkEnd::Internal(panic));
        }
    }

    async fn run(self: Arc<Self>, task: Task) {
        let outcome = tokio::select! {
            biased;
            () = self.wait_closed() => return,
            outcome = async {
                match task {
                    Task::Read => self.read().await,
                    Task::Write => self.write().await,
                }
            } => outcome,
        };
        if let Err(end) = outcome {
            self.end(end);
        }
    }

    /// One read and its delivery; returns the bytes read, zero if there were none.
    fn read_once(
        &self,
        input: &mut Input,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> Result<usize, LinkEnd> {
        let bytes = match read(input.parser.spare()) {
            Ok(0) => return Err(LinkEnd::Eof),
            Ok(bytes) => bytes,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                return Ok(0);
            }
            Err(error) => return Err(LinkEnd::Io(error)),
        };
        input.parser.filled(bytes);
        let Input { parser, batch } = input;
        let parsed = deliver(self.epoch, parser, batch, &self.shared, || self.write_now())
            .map_err(LinkEnd::Protocol)?;
        self.parsed.fetch_add(parsed, Ordering::Relaxed);
        Ok(bytes)
    }

    /// The reader task: watches over the loop's thread, or reads in its place.
    async fn read(&self) -> Result<(), LinkEnd> {
        loop {
            if self.reader.load(Ordering::Acquire) == reader::THREAD {
                self.read_while_on_thread().await?;
            } else {
                self.watch().await;
            }
        }
    }

    /// Sees to it that somebody reads what arrives next, if the loop's thread doesn't.
    async fn watch(&self) {
        self.wait_for_input().await;
        let reads = self.loop_reads.load(Ordering::Relaxed);
        let _ = tokio::time::timeout_at(next_look(), self.takeover.notified()).await;
        if self.is_left_unread(reads) {
            tokio::time::sleep(GRACE).await;
            if self.is_left_unread(reads) {
                self.reader.store(reader::THREAD, Ordering::Release);
            }
        }
    }

    /// Sleeps until something arrives, or reading is left to the I/O thread. Where the runtime
    /// can't take the socket, a look now and then has to do.
    async fn wait_for_input(&self) {
        let Ok(socket) = self.socket.register() else { return };
        tokio::select! {
            // Not used up: `watch` must not wait either then.
            () = self.takeover.notified() => self.takeover.notify_one(),
            _ = socket.readable() => {}
        }
    }

    /// Whether something waits in the socket that the loop's thread hasn't come for.
    fn is_left_unread(&self, reads: u64) -> bool {
        self.reader.load(Ordering::Acquire) == reader::LOOP
            && self.loop_reads.load(Ordering::Relaxed) == reads
            && self.socket.peek(&mut [0]).is_ok()
    }

    async fn read_while_on_thread(&self) -> Result<(), LinkEnd> {
        let socket = self.socket.register().map_err(LinkEnd::Io)?;
        loop {
            let mut ready = socket.readable().await.map_err(LinkEnd::Io)?;
            if self.reader.load(Ordering::Acquire) != reader::THREAD {
                return Ok(());
            }
            self.read_once(&mut lock(&self.input), |buffer| {
                ready
                    .try_io(|socket| (&**socket.get_ref()).read(buffer))
                    .unwrap_or_else(|_| Err(io::ErrorKind::WouldBlock.into()))
            })?;
        }
    }

    async fn write(&self) -> Result<(), LinkEnd> {
        let outbox = &self.shared.outbox;
        loop {
            match outbox.write(self.epoch, |bytes| (&*self.socket).write(bytes)) {
                Ok(Written::Detached) => return Ok(()),
                Ok(Written::All | Written::Busy) => {
                    self.shared.notice_room();
                    outbox.wake.notified().await;
                }
                Ok(Written::Blocked) => self.write_while_blocked().await.map_err(LinkEnd::Io)?,
                Err(error) => return Err(LinkEnd::Io(error)),
            }
        }
    }

    async fn write_while_blocked(&self) -> io::Result<()> {
        let socket = self.socket.register()?;
        loop {
            self.shared.notice_room();
            let mut ready = socket.writable().await?;
            let written = self.shared.outbox.write(self.epoch, |bytes| {
                ready
                    .try_io(|socket| (&**socket.get_ref()).write(bytes))
                    .unwrap_or_else(|_| Err(io::ErrorKind::WouldBlock.into()))
            })?;
            if written != Written::Blocked {
                return Ok(());
            }
        }
    }
}

/// When the I/O thread next looks after its connections: together, so that it wakes once for all.
fn next_look() -> Instant {
    static FIRST: LazyLock<Instant> = LazyLock::new(Instant::now);
    let soonest = FIRST.elapsed() + WATCH / 2;
    let looks = soonest.as_millis() / WATCH.as_millis() + 1;
    *FIRST + WATCH * u32::try_from(looks).unwrap_or(u32::MAX)
}

/// Runs what handles received bytes; a panic in it ends the connection and nothing else.
///
/// The parser may be left in any state: the connection must not be read again.
pub fn contain<T>(work: impl FnOnce() -> Result<T, LinkEnd>) -> Result<T, LinkEnd> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(LinkEnd::Internal(panic_text(panic))))
}

/// What a panic had to say.
fn panic_text(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast_ref::<&str>().unwrap_or(&"unknown panic").to_string(),
    }
}

/// Dispatches everything that is complete and returns how much that was; calls `answer` when
/// a PONG has to go out.
pub fn deliver(
    epoch: u64,
    parser: &mut Parser,
    batch: &mut Vec<ServerOp>,
    shared: &Shared,
    mut answer: impl FnMut(),
) -> Result<u32, ProtocolError> {
    let mut parsed = 0;
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
        parsed += batch.len() as u32;
        if !batch.is_empty() && shared.dispatch(epoch, batch) {
            answer();
        }
        if shared.backlog.is_over() {
            return Err(ProtocolError::TooManyEvents);
        }
        if let Some(outcome) = outcome {
            return outcome.map(|()| parsed);
        }
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
