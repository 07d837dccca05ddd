//! Where received operations go: messages to their subscription, the rest to the mailbox.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::{Backlog, Bell, Outbox, Pinned, Stats, Subscription, lock};
use crate::jetstream::push::Notice;
use crate::protocol::{Frame, ProtocolError, ServerOp};

/// Replies beyond so many that wait together leave their read buffers: a small one would keep
/// all of its buffer from being used again.
const COMPACT_REPLIES: usize = 1024;

/// Why a connection ended.
#[derive(Debug)]
pub enum LinkEnd {
    /// The server closed it.
    Eof,
    Io(io::Error),
    Protocol(ProtocolError),
    /// Our own code has panicked; with what it said.
    Internal(String),
}

/// What the loop's thread has to know besides messages.
#[derive(Debug)]
pub enum Event {
    Info(Bytes),
    Pong,
    Ok,
    Err(Bytes),
    /// The connection of this epoch is gone.
    Ended(u64, LinkEnd),
    /// A message was dropped: its subscription is over a pending limit. Without its payload.
    Dropped(Frame),
    /// The subscription has received all that it wants.
    Complete(u64),
    /// The push consumer of this subscription has something to tell.
    Push(u64, Notice),
    /// Publishers that waited for room may go on.
    Room,
    /// The outcome of a dial is there.
    Dialed,
}

impl Event {
    /// Whether it only means something to the connection that it came from. What is known of
    /// messages does to the client; an end has its epoch.
    fn dies_with_connection(&self) -> bool {
        matches!(self, Self::Info(_) | Self::Pong | Self::Ok | Self::Err(_))
    }
}

/// Collected by the loop's thread when the bell has rung.
#[derive(Debug, Default)]
pub struct Mail {
    pub events: VecDeque<Event>,
    /// Keys of subscriptions whose waiting consumer has a message now.
    pub wakes: Vec<u64>,
    /// Answers to requests.
    pub replies: Vec<Frame>,
}

impl Mail {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.wakes.is_empty() && self.replies.is_empty()
    }
}

/// Subscription ids are small consecutive numbers: they spread well enough as they are.
#[derive(Default)]
pub struct SidHasher(u64);

impl Hasher for SidHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, sid: u64) {
        // hashbrown keys its buckets by the top bits as well.
        self.0 = sid.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

pub type SidMap<T> = HashMap<u64, T, BuildHasherDefault<SidHasher>>;

/// The state that the I/O thread and the loop's thread share; one per client.
pub struct Shared {
    pub outbox: Outbox,
    pub stats: Stats,
    pub bell: Bell,
    pub backlog: Backlog,
    pub pinned: Arc<Pinned>,
    /// Publishers wait above this many unwritten bytes.
    pub room_limit: AtomicUsize,
    subscriptions: Mutex<SidMap<Arc<Subscription>>>,
    /// The connection in service; written under the lock of the mail.
    epoch: AtomicU64,
    mail: Mutex<Mail>,
}

impl Shared {
    pub fn new(bell: Bell) -> Self {
        Self {
            outbox: Outbox::default(),
            stats: Stats::default(),
            bell,
            backlog: Backlog::default(),
            pinned: Arc::default(),
            room_limit: AtomicUsize::new(0),
            subscriptions: Mutex::default(),
            epoch: AtomicU64::new(0),
            mail: Mutex::default(),
        }
    }

    /// Hands the client over to a new connection and returns its epoch; see [`Outbox::attach`].
    /// What the old one has left in the mail, or still delivers, isn't taken for the new one's.
    pub fn attach(&self) -> u64 {
        let epoch = self.outbox.attach();
        let mut mail = lock(&self.mail);
        self.epoch.store(epoch, Relaxed);
        self.drop_stale(&mut mail.events);
        epoch
    }

    /// Drops the events of a connection that is out of service.
    pub fn drop_stale(&self, events: &mut VecDeque<Event>) {
        events.retain(|event| {
            let keep = !event.dies_with_connection();
            if !keep {
                self.backlog.settle(event);
            }
            keep
        });
    }

    pub fn add_subscription(&self, sid: u64, subscription: Arc<Subscription>) {
        lock(&self.subscriptions).insert(sid, subscription);
    }

    /// Takes all out, and returns their numbers.
    pub fn take_subscriptions(&self) -> Vec<u64> {
        std::mem::take(&mut *lock(&self.subscriptions)).into_keys().collect()
    }

    pub fn remove_subscription(&self, sid: u64) {
        lock(&self.subscriptions).remove(&sid);
    }

    /// Swaps the mail out; `into` must be empty and keeps its allocations.
    pub fn collect(&self, into: &mut Mail) {
        std::mem::swap(&mut *lock(&self.mail), into);
        self.backlog.forget_replies();
    }

    pub fn post(&self, event: Event) {
        lock(&self.mail).events.push_back(event);
        self.bell.ring();
    }

    /// Posts [`Event::Room`] if a publisher waits and there is room again.
    pub fn notice_room(&self) {
        if self.outbox.take_room_notice(self.room_limit.load(Relaxed)) {
            self.post(Event::Room);
        }
    }

    /// Delivers a batch of the connection of `epoch` and rings once. Returns true if a PONG has
    /// to be written.
    pub fn dispatch(&self, epoch: u64, batch: &mut Vec<ServerOp>) -> bool {
        let mut must_answer = false;
        let mut mail = Mail::default();
        let (mut msgs, mut bytes) = (0, 0);
        let mut current: Option<Arc<Subscription>> = None;
        let mut current_sid = 0;
        let mut ops = batch.drain(..).peekable();
        while let Some(op) = ops.next() {
            let frame = match op {
                ServerOp::Msg(frame) => frame,
                ServerOp::Ping => {
                    if epoch == self.epoch.load(Relaxed) {
                        self.outbox.append_pong();
                        must_answer = true;
                    }
                    continue;
                }
                ServerOp::Pong => {
                    self.note(&mut mail, Event::Pong);
                    continue;
                }
                ServerOp::Info(text) => {
                    self.note(&mut mail, Event::Info(text));
                    continue;
                }
                ServerOp::Err(text) => {
                    self.note(&mut mail, Event::Err(text));
                    continue;
                }
                ServerOp::Ok => {
                    // A verbose server says it for every message; one tells as much as many.
                    if !matches!(mail.events.back(), Some(Event::Ok)) {
                        self.note(&mut mail, Event::Ok);
                    }
                    continue;
                }
            };
            let mut count = |frame: &Frame| {
                msgs += 1;
                bytes += frame.payload_len() as u64;
            };
            count(&frame);
            let sid = frame.sid();
            if current.is_none() || current_sid != sid {
                current = lock(&self.subscriptions).get(&sid).cloned();
                current_sid = sid;
            }
            let Some(subscription) = &current else { continue };
            let complete = if subscription.is_request_mux {
                if self.backlog.admits_reply(&frame) {
                    mail.replies.push(frame);
                } else {
                    self.note_drop(&mut mail, &frame);
                }
                subscription.count_received()
            } else {
                // What follows for the same subscription goes in under one lock.
                let delivery = subscription.offer(frame, || {
                    let next = ops.next_if(|op| matches!(op, ServerOp::Msg(f) if f.sid() == sid));
                    let Some(ServerOp::Msg(frame)) = next else { return None };
                    count(&frame);
                    Some(frame)
                });
                if delivery.wake {
                    mail.wakes.push(subscription.key);
                }
                for notice in delivery.notices {
                    self.note(&mut mail, Event::Push(sid, notice));
                }
                for subject in delivery.responses {
                    self.outbox.append_flow_answer(&subject);
                    must_answer = true;
                }
                for frame in &delivery.dropped {
                    self.note_drop(&mut mail, frame);
                }
                delivery.complete
            };
            if complete {
                mail.events.push_back(Event::Complete(sid));
                self.remove_subscription(sid);
                current = None;
            }
        }
        drop(ops);
        if msgs > 0 {
            self.stats.count_in(msgs, bytes);
        }
        if !mail.is_empty() {
            self.deliver(epoch, mail);
            self.bell.ring();
        }
        must_answer
    }

    fn note(&self, mail: &mut Mail, event: Event) {
        self.backlog.add(&event);
        mail.events.push_back(event);
    }

    /// Notes that a message was dropped, as far as there is room for such reports.
    fn note_drop(&self, mail: &mut Mail, frame: &Frame) {
        if let Some(report) = frame.without_body()
            && self.backlog.admits_drop_report()
        {
            mail.events.push_back(Event::Dropped(report));
        }
    }

    fn deliver(&self, epoch: u64, mut new: Mail) {
        let mut mail = lock(&self.mail);
        if epoch != self.epoch.load(Relaxed) {
            self.drop_stale(&mut new.events);
        }
        if mail.is_empty() {
            *mail = new;
            return;
        }
        if matches!((mail.events.back(), new.events.front()), (Some(Event::Ok), Some(Event::Ok))) {
            new.events.pop_front();
            self.backlog.settle(&Event::Ok);
        }
        if mail.replies.len() > COMPACT_REPLIES {
            new.replies.iter_mut().for_each(Frame::compact);
        }
        mail.events.append(&mut new.events);
        mail.wakes.append(&mut new.wakes);
        mail.replies.append(&mut new.replies);
    }
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
