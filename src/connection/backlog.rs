//! How much of what a server says may wait for the loop's thread.
//!
//! Messages have the limits of their subscriptions. Everything else that arrives faster than
//! Python handles it would fill the memory of a client whose loop is blocked, or whose server
//! means it ill.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::Event;
use crate::protocol::Frame;

/// Bytes of unhandled events above which the connection is given up. It is what a server does
/// to a client that doesn't keep up with it.
const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;
/// What an event costs besides its text.
pub const EVENT_COST: usize = 64;
/// Reports of dropped messages kept; the drops beyond are counted by `delivered` alone.
pub const MAX_DROP_REPORTS: usize = 10_000;
/// Replies that wait to be collected: the limits of a subscription by default.
pub const MAX_REPLIES: usize = 512 * 1024;
pub const MAX_REPLY_BYTES: usize = 128 * 1024 * 1024;

/// Counts what has been posted and not been dealt with.
#[derive(Debug, Default)]
pub struct Backlog {
    event_bytes: AtomicUsize,
    drop_reports: AtomicUsize,
    replies: AtomicUsize,
    reply_bytes: AtomicUsize,
}

impl Backlog {
    /// Counts an event; see [`Backlog::is_over`].
    pub fn add(&self, event: &Event) {
        self.event_bytes.fetch_add(cost(event), Relaxed);
    }

    /// Counts a report of a dropped message; false if there are too many.
    pub fn admits_drop_report(&self) -> bool {
        let admitted = self.drop_reports.load(Relaxed) < MAX_DROP_REPORTS;
        if admitted {
            self.drop_reports.fetch_add(1, Relaxed);
        }
        admitted
    }

    /// Counts a reply; false if there are too many.
    pub fn admits_reply(&self, frame: &Frame) -> bool {
        let admitted = self.replies.load(Relaxed) < MAX_REPLIES
            && self.reply_bytes.load(Relaxed) < MAX_REPLY_BYTES;
        if admitted {
            self.replies.fetch_add(1, Relaxed);
            self.reply_bytes.fetch_add(frame.len(), Relaxed);
        }
        admitted
    }

    /// The replies have been collected.
    pub fn forget_replies(&self) {
        self.replies.store(0, Relaxed);
        self.reply_bytes.store(0, Relaxed);
    }

    /// An event has been dealt with, or dropped.
    pub fn settle(&self, event: &Event) {
        match event {
            Event::Dropped(_) => self.settle_drop_report(),
            event => self.settle_bytes(cost(event)),
        }
    }

    pub fn settle_bytes(&self, bytes: usize) {
        self.event_bytes.fetch_sub(bytes, Relaxed);
    }

    pub fn settle_drop_report(&self) {
        self.drop_reports.fetch_sub(1, Relaxed);
    }

    /// The connection has to go: its events come faster than they are handled.
    pub fn is_over(&self) -> bool {
        self.event_bytes.load(Relaxed) > MAX_EVENT_BYTES
    }
}

/// Bytes that an event stands for; nothing for those that can't become many.
fn cost(event: &Event) -> usize {
    match event {
        Event::Info(text) | Event::Err(text) => EVENT_COST + text.len(),
        Event::Pong | Event::Ok | Event::Push(..) => EVENT_COST,
        Event::Ended(..) | Event::Dropped(_) | Event::Complete(_) | Event::Room | Event::Dialed => {
            0
        }
    }
}
