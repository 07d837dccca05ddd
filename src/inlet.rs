//! `Inlet`: where a consumer takes its messages from, and when it has to give way.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::connection::{Run, Subscription};
use crate::message::wire_text;
use crate::protocol::Frame;

/// A consumer that never runs dry gives way to other tasks after so many messages…
const BURST_MESSAGES: u32 = 256;
/// …or so long.
const BURST_TIME: Duration = Duration::from_millis(5);
/// Messages between two looks at the clock.
const CLOCK_EVERY: u32 = 16;

/// Where messages come out of the shared queue.
#[derive(Default)]
pub struct Inlet {
    /// Taken from the shared queue in one go, handed out one by one.
    ready: VecDeque<Frame>,
    /// Taken, and yet to be reported as such: once for all messages of a read buffer.
    taken: Run,
    pub burst: Burst,
    /// The subject's text of the last message: mostly that of the next one, too.
    last_subject: Option<(Vec<u8>, Py<PyAny>)>,
}

impl Inlet {
    /// The next message.
    pub fn take(&mut self, subscription: &Subscription) -> Option<Frame> {
        if self.ready.is_empty() {
            subscription.take_into(&mut self.ready);
        }
        let frame = self.ready.pop_front()?;
        if self.ready.is_empty() && self.ready.capacity() > 1024 {
            self.ready = VecDeque::new();
        }
        subscription.count_taken(&frame);
        subscription.pinned.remove(self.taken.push(&frame));
        if self.ready.is_empty() {
            subscription.pinned.remove(self.taken.end());
        }
        Some(frame)
    }

    /// Puts messages that were taken and dealt with in front of all others.
    pub fn give_back(&mut self, subscription: &Subscription, frames: Vec<Frame>) {
        let mut run = Run::default();
        for frame in frames.into_iter().rev() {
            subscription.count_given_back(&frame);
            subscription.pinned.add(run.push(&frame));
            self.ready.push_front(frame);
        }
        subscription.pinned.add(run.end());
    }

    /// Nobody will take what is left.
    pub fn abandon(&mut self, subscription: &Subscription) {
        for frame in self.ready.drain(..) {
            subscription.pinned.remove(self.taken.push(&frame));
        }
        subscription.pinned.remove(self.taken.end());
    }

    /// Puts a message that was taken, and no more, in front of all others.
    pub fn put_back(&mut self, frame: Frame, subscription: &Subscription) {
        let mut run = Run::default();
        subscription.count_put_back(&frame);
        subscription.pinned.add(run.push(&frame));
        subscription.pinned.add(run.end());
        self.ready.push_front(frame);
    }

    /// The text of a message's subject.
    pub fn subject_text(&mut self, py: Python<'_>, subject: &[u8]) -> Py<PyAny> {
        match &self.last_subject {
            Some((bytes, text)) if bytes == subject => text.clone_ref(py),
            _ => {
                let text = wire_text(py, subject).into_any().unbind();
                self.last_subject = Some((subject.to_vec(), text.clone_ref(py)));
                text
            }
        }
    }
}

/// How long a consumer hasn't waited.
pub struct Burst {
    messages: u32,
    since: Instant,
    exhausted: bool,
}

impl Default for Burst {
    fn default() -> Self {
        Self { messages: 0, since: Instant::now(), exhausted: false }
    }
}

impl Burst {
    /// Whether it was time to give way when the last message was asked for.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Counts a message; true if it's time to give way.
    pub fn is_over(&mut self) -> bool {
        if self.messages == 0 {
            self.since = Instant::now();
        }
        self.messages += 1;
        self.exhausted = self.messages >= BURST_MESSAGES
            || (self.messages.is_multiple_of(CLOCK_EVERY) && self.since.elapsed() >= BURST_TIME);
        self.exhausted
    }
}
