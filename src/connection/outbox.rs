//! Pending output: filled by publishers, emptied by whoever writes to the socket.

use std::collections::HashSet;
use std::io;

use tokio::sync::Notify;

use super::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use super::sync::{Mutex, lock, try_lock};
use crate::protocol::encode;

/// Buffers that grew past this in a burst are given back once they are mostly empty again;
/// while the burst lasts, a fresh buffer would cost a page fault for every 4 KiB written.
const KEEP_CAPACITY: usize = 256 * 1024;
/// Answers to the server's own demands that may wait for a write. No server has more than a few
/// of them open; one that demands without reading must not fill our memory.
const MAX_ANSWERS: usize = 64 * 1024;

/// How far a writer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Nothing is left to write.
    All,
    /// The socket takes no more for now.
    Blocked,
    /// Somebody else is writing.
    Busy,
    /// The outbox belongs to a newer connection.
    Detached,
}

#[derive(Debug, Default)]
struct Pending {
    /// Handshake commands, replayed subscriptions and PONGs: ahead of everything, never held.
    urgent: Vec<u8>,
    commands: Vec<u8>,
    /// Bytes of answers in the two.
    answers: usize,
    /// Not connected: `commands` are collected but not to be written.
    held: bool,
}

impl Pending {
    /// Counts an answer of so many bytes; false if too many wait already.
    fn admits_answer(&mut self, len: usize) -> bool {
        let admitted = self.answers < MAX_ANSWERS;
        if admitted {
            self.answers += len;
        }
        admitted
    }
}

/// The buffer being written. Its lock is held during a write, which never blocks.
#[derive(Debug, Default)]
struct Writer {
    buffer: Vec<u8>,
    written: usize,
    /// The connection that may write.
    epoch: u64,
}

/// Commands on their way to the server; outlives connections.
#[derive(Debug)]
pub struct Outbox {
    pending: Mutex<Pending>,
    writer: Mutex<Writer>,
    /// Bytes in `commands` and in the writer's buffer.
    size: AtomicUsize,
    /// Writing stops while a publisher waits for less than this many bytes.
    room_wanted: AtomicBool,
    /// The socket has taken no more: until the writer task has waited for it, another attempt
    /// would be a system call for nothing.
    blocked: AtomicBool,
    /// Wakes the writer task.
    pub wake: Notify,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            pending: Mutex::new(Pending { held: true, ..Pending::default() }),
            writer: Mutex::default(),
            size: AtomicUsize::new(0),
            room_wanted: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }
}

impl Outbox {
    /// Unwritten bytes.
    pub fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Appends commands; returns the bytes now waiting to be picked up by a writer.
    pub fn append(&self, encode: impl FnOnce(&mut Vec<u8>)) -> usize {
        let mut pending = lock(&self.pending);
        let before = pending.commands.len();
        encode(&mut pending.commands);
        let waiting = pending.commands.len();
        self.size.fetch_add(waiting - before, Ordering::Relaxed);
        waiting
    }

    /// Appends a command that goes out ahead of all pending ones.
    pub fn append_urgent(&self, command: &[u8]) {
        let mut pending = lock(&self.pending);
        pending.urgent.extend_from_slice(command);
        // Under the lock, as everywhere: a writer must not subtract what hasn't been added.
        self.size.fetch_add(command.len(), Ordering::Relaxed);
    }

    /// Appends the PONG that a PING asks for, ahead of all pending commands.
    pub fn append_pong(&self) {
        let mut pending = lock(&self.pending);
        if pending.admits_answer(encode::PONG.len()) {
            pending.urgent.extend_from_slice(encode::PONG);
            self.size.fetch_add(encode::PONG.len(), Ordering::Relaxed);
        }
    }

    /// Appends the empty message that a flow control request at `subject` asks for. A consumer
    /// that doesn't get it asks again.
    pub fn append_flow_answer(&self, subject: &[u8]) {
        let mut pending = lock(&self.pending);
        if pending.admits_answer(subject.len()) {
            let before = pending.commands.len();
            encode::publish(&mut pending.commands, subject, b"", b"", b"");
            self.size.fetch_add(pending.commands.len() - before, Ordering::Relaxed);
        }
    }

    /// Collects commands from now on: those of the next connection.
    pub fn hold(&self) {
        lock(&self.pending).held = true;
    }

    /// Ends the handshake: `replay` goes out, and publishes collected while disconnected behind
    /// it. The other commands among them mean nothing to the new connection: `replay` holds all
    /// subscriptions that there are, and a PONG that nobody expects would be taken for another.
    pub fn release(&self, replay: &[u8]) {
        let mut pending = lock(&self.pending);
        let publishes = encode::unwritten_publishes(&pending.commands, 0);
        self.size.fetch_sub(pending.commands.len() - publishes.len(), Ordering::Relaxed);
        self.size.fetch_add(replay.len(), Ordering::Relaxed);
        pending.commands = publishes;
        pending.urgent.extend_from_slice(replay);
        pending.held = false;
    }

    /// Appends commands that mean something to the connection in service alone; false if there
    /// is none: see [`Outbox::release`].
    pub fn append_in_service(&self, encode: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut pending = lock(&self.pending);
        if !pending.held {
            let before = pending.commands.len();
            encode(&mut pending.commands);
            self.size.fetch_add(pending.commands.len() - before, Ordering::Relaxed);
        }
        !pending.held
    }

    /// Asks [`Outbox::take_room_notice`] to report when less than half of the limit is left.
    pub fn want_room(&self) {
        self.room_wanted.store(true, Ordering::Relaxed);
    }

    /// True once after [`Outbox::want_room`], as soon as no more than `limit` bytes are unwritten.
    pub fn take_room_notice(&self, limit: usize) -> bool {
        // A publisher says that it waits and then looks at the size, a writer does it the other
        // way round: one of them has to see what the other has done.
        fence(Ordering::SeqCst);
        self.room_wanted.load(Ordering::Relaxed)
            && self.size() <= limit
            && self.room_wanted.swap(false, Ordering::Relaxed)
    }

    /// Writes until the socket blocks or nothing is left. `write` must not block.
    pub fn write(
        &self,
        epoch: u64,
        write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<Written> {
        let mut writer = lock(&self.writer);
        self.write_locked(&mut writer, epoch, write)
    }

    /// As [`Outbox::write`], unless another thread is at it or the socket is known to be blocked.
    /// What is left then is the writer task's, which has to be woken.
    pub fn try_write(
        &self,
        epoch: u64,
        write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<Written> {
        if self.blocked.load(Ordering::Relaxed) {
            return Ok(Written::Blocked);
        }
        match try_lock(&self.writer) {
            Some(mut writer) => self.write_locked(&mut writer, epoch, write),
            None => Ok(Written::Busy),
        }
    }

    fn write_locked(
        &self,
        writer: &mut Writer,
        epoch: u64,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<Written> {
        if writer.epoch != epoch {
            return Ok(Written::Detached);
        }
        self.blocked.store(false, Ordering::Relaxed);
        loop {
            if writer.written == writer.buffer.len() && !self.refill(writer) {
                return Ok(Written::All);
            }
            match write(&writer.buffer[writer.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    writer.written += written;
                    self.size.fetch_sub(written, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked.store(true, Ordering::Relaxed);
                    return Ok(Written::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Swaps the pending commands in; false if there are none.
    fn refill(&self, writer: &mut Writer) -> bool {
        let mut pending = lock(&self.pending);
        if !pending.held {
            pending.answers = 0;
        }
        if pending.urgent.is_empty() && (pending.held || pending.commands.is_empty()) {
            return false;
        }
        // What follows tells whether the burst lasts.
        let capacity = writer.buffer.capacity();
        if capacity > KEEP_CAPACITY && pending.commands.len() < capacity / 4 {
            writer.buffer = Vec::new();
        }
        writer.buffer.clear();
        writer.written = 0;
        if pending.urgent.is_empty() {
            std::mem::swap(&mut writer.buffer, &mut pending.commands);
        } else {
            writer.buffer.append(&mut pending.urgent);
            if pending.urgent.capacity() > KEEP_CAPACITY {
                pending.urgent = Vec::new();
            }
            if !pending.held {
                writer.buffer.append(&mut pending.commands);
            }
        }
        true
    }

    /// Hands what may be written over to a driver that keeps unwritten bytes itself: one piece of
    /// `most` bytes at most. `hand_over` must not call back.
    pub fn take<T>(
        &self,
        epoch: u64,
        most: usize,
        hand_over: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        let mut writer = lock(&self.writer);
        if writer.epoch != epoch {
            return None;
        }
        if writer.written == writer.buffer.len() && !self.refill(&mut writer) {
            return None;
        }
        let end = writer.buffer.len().min(writer.written.saturating_add(most));
        let piece = &writer.buffer[writer.written..end];
        let taken = hand_over(piece);
        self.size.fetch_sub(piece.len(), Ordering::Relaxed);
        writer.written = end;
        Some(taken)
    }

    /// Hands the outbox to a new connection and returns its epoch. Pending commands are held,
    /// and publishes that the old connection had not written completely are pending again.
    pub fn attach(&self) -> u64 {
        let mut writer = lock(&self.writer);
        let mut pending = lock(&self.pending);
        let recovered = encode::unwritten_publishes(&writer.buffer, writer.written);
        if !recovered.is_empty() {
            pending.commands.splice(0..0, recovered);
        }
        pending.urgent.clear();
        pending.held = true;
        writer.buffer = Vec::new();
        writer.written = 0;
        writer.epoch += 1;
        self.blocked.store(false, Ordering::Relaxed);
        self.size.store(pending.commands.len(), Ordering::Relaxed);
        writer.epoch
    }

    /// What `token` makes of the reply subjects of the publishes that are still pending.
    pub fn pending_replies(&self, token: impl Fn(&[u8]) -> Option<u64>) -> HashSet<u64> {
        let pending = lock(&self.pending);
        encode::reply_subjects(&pending.commands).filter_map(token).collect()
    }

    /// Drops everything unwritten.
    pub fn clear(&self) {
        self.attach();
        lock(&self.pending).commands = Vec::new();
        self.size.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
