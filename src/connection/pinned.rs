//! How many read buffers the queued messages of a client keep alive.

use super::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};
use crate::protocol::Frame;

/// Read buffers that queued messages may keep alive for free…
const SPARE_BUFFERS: usize = 32;
/// …and one more for so many queued bytes: above, small messages leave their buffers.
const BYTES_PER_BUFFER: usize = 32 * 1024;
/// Buffers are counted by their numbers modulo this. Those that share a slot count as one, which
/// matters to none but a queue that is far longer, and dense.
const SLOTS: usize = if cfg!(fastnats_loom) { 2 } else { 512 };

/// Counted for a whole client: messages of many subscriptions share a buffer.
///
/// Messages may be counted out before they are counted in: the numbers wrap, and come right.
#[derive(Debug)]
pub struct Pinned {
    /// Queued bytes of the buffers in each slot.
    slots: Box<[AtomicUsize]>,
    /// Slots with any.
    buffers: AtomicIsize,
    bytes: AtomicIsize,
}

impl Default for Pinned {
    fn default() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| AtomicUsize::new(0)).collect(),
            buffers: AtomicIsize::new(0),
            bytes: AtomicIsize::new(0),
        }
    }
}

impl Pinned {
    /// Whether there are too many. It doesn't matter that others keep the same buffer alive: they
    /// may be taken long before.
    pub fn is_over(&self) -> bool {
        let bytes = usize::try_from(self.bytes.load(Relaxed)).unwrap_or(0);
        self.buffers() >= SPARE_BUFFERS + bytes / BYTES_PER_BUFFER
    }

    fn slot(&self, buffer: u32) -> &AtomicUsize {
        &self.slots[buffer as usize % SLOTS]
    }

    fn buffers(&self) -> usize {
        usize::try_from(self.buffers.load(Relaxed)).unwrap_or(0)
    }

    /// Messages have been queued.
    pub fn add(&self, run: Run) {
        if run.bytes == 0 {
            return;
        }
        let before = self.slot(run.buffer).fetch_add(run.bytes, Relaxed);
        self.note_change(before, before.wrapping_add(run.bytes));
        self.bytes.fetch_add(run.bytes as isize, Relaxed);
    }

    /// Messages have been taken.
    pub fn remove(&self, run: Run) {
        if run.bytes == 0 {
            return;
        }
        let before = self.slot(run.buffer).fetch_sub(run.bytes, Relaxed);
        self.note_change(before, before.wrapping_sub(run.bytes));
        self.bytes.fetch_sub(run.bytes as isize, Relaxed);
    }

    fn note_change(&self, before: usize, after: usize) {
        match (before, after) {
            (0, 1..) => self.buffers.fetch_add(1, Relaxed),
            (1.., 0) => self.buffers.fetch_sub(1, Relaxed),
            _ => 0,
        };
    }
}

/// Messages of one buffer that come one after another: counted as one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    buffer: u32,
    bytes: usize,
}

impl Run {
    /// Whether the next message, of this buffer, continues the run.
    pub fn is_of(&self, buffer: u32) -> bool {
        self.buffer == buffer
    }

    /// Counts a message in; returns the run that it doesn't belong to, which has ended.
    pub fn push(&mut self, frame: &Frame) -> Self {
        let buffer = frame.buffer();
        let ended = if self.is_of(buffer) { Self::default() } else { self.end() };
        self.buffer = buffer;
        // What has memory of its own keeps no buffer.
        self.bytes += if buffer == Frame::OWN { 0 } else { frame.len() };
        ended
    }

    /// Ends the run.
    pub fn end(&mut self) -> Self {
        std::mem::take(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(buffer: u32, bytes: usize) -> Run {
        Run { buffer, bytes }
    }

    #[test]
    fn a_few_buffers_are_free() {
        let pinned = Pinned::default();
        for buffer in 1..=SPARE_BUFFERS as u32 {
            assert!(!pinned.is_over());
            pinned.add(run(buffer, 1));
        }
        assert!(pinned.is_over());
        pinned.remove(run(1, 1));
        assert!(!pinned.is_over());
    }

    #[test]
    fn buffers_full_of_queued_messages_are_free() {
        let pinned = Pinned::default();
        for buffer in 1..=4 * SPARE_BUFFERS as u32 {
            assert!(!pinned.is_over());
            pinned.add(run(buffer, BYTES_PER_BUFFER));
        }
    }

    #[test]
    fn what_is_taken_before_it_is_counted_comes_right() {
        let pinned = Pinned::default();
        pinned.remove(run(1, 5));
        assert!(!pinned.is_over());
        pinned.add(run(1, 5));
        assert_eq!((pinned.buffers(), pinned.bytes.load(Relaxed)), (0, 0));
    }
}
