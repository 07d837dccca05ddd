//! Push consumers: heartbeats, flow control and the order of deliveries (ADR-15, ADR-17).
//!
//! Control messages are dealt with where messages arrive and never reach the application.

use super::delivery::Position;
use crate::connection::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use crate::connection::sync::{Mutex, lock};
use crate::protocol::{Frame, headers};

const CONTROL_STATUS: &str = "100";
const FLOW_CONTROL: &str = "Flow";
const HEARTBEAT: &str = "Idle";
const CONSUMER_STALLED: &str = "Nats-Consumer-Stalled";
const LAST_CONSUMER: &str = "Nats-Last-Consumer";

/// No flow control request is waiting for its messages to be taken.
const NEVER: usize = usize::MAX;

/// Something that the loop's side has to know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// An ordered consumer has lost messages: it has to be made anew.
    Gap,
    /// A heartbeat tells of deliveries that haven't arrived.
    Mismatch { stream_seq: u64, consumer_seq: u64, last_consumer_seq: Option<u64> },
}

/// What becomes of a message of a push consumer.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Deliver,
    Swallow,
    Report(Notice),
    /// Publish an empty message there.
    Respond(Vec<u8>),
}

#[derive(Debug)]
struct Track {
    /// What the server calls the subscription now; what still comes under another sid is from
    /// a consumer that has been given up.
    sid: u64,
    /// The next consumer sequence of an ordered consumer.
    expected: u64,
    /// Of the last message in order; survives a reset.
    stream_seq: u64,
    /// The last message that was delivered.
    last: Option<Position>,
    /// A gap has been reported; nothing is delivered until the consumer is made anew.
    broken: bool,
    flow_reply: Vec<u8>,
}

/// State of one push consumer.
#[derive(Debug)]
pub struct Push {
    ordered: bool,
    /// Something has arrived since the last look.
    active: AtomicBool,
    track: Mutex<Track>,
    /// Taken messages at which the flow control request is to be answered.
    flow_at: AtomicUsize,
}

impl Push {
    pub fn new(ordered: bool, sid: u64) -> Self {
        let track = Track {
            sid,
            expected: 1,
            stream_seq: 0,
            last: None,
            broken: false,
            flow_reply: Vec::new(),
        };
        Self {
            ordered,
            active: AtomicBool::new(true),
            track: Mutex::new(track),
            flow_at: AtomicUsize::new(NEVER),
        }
    }

    /// Judges a message that has arrived. `queued` and `taken` count the messages before it,
    /// ever queued and ever taken by the consumer.
    pub fn inspect(&self, frame: &Frame, queued: usize, taken: usize) -> Verdict {
        let mut track = lock(&self.track);
        if frame.sid() != track.sid {
            return Verdict::Swallow;
        }
        // A broken consumer is as good as silent: should nobody make it anew, the watch does.
        self.active.store(!track.broken, Relaxed);
        match Control::of(frame) {
            Some(Control::Flow) => {
                let reply = frame.reply().to_vec();
                if queued == taken || reply.is_empty() {
                    return if reply.is_empty() {
                        Verdict::Swallow
                    } else {
                        Verdict::Respond(reply)
                    };
                }
                track.flow_reply = reply;
                self.flow_at.store(queued, Relaxed);
                Verdict::Swallow
            }
            Some(Control::Heartbeat { stalled: Some(reply), .. }) => Verdict::Respond(reply),
            Some(Control::Heartbeat { last_consumer_seq, .. }) => {
                if !frame.reply().is_empty() || track.broken {
                    return Verdict::Swallow;
                }
                if self.ordered {
                    // Behind the message with this number, the last one that was sent.
                    let arrived = track.expected - 1;
                    track.broken = last_consumer_seq.is_some_and(|sent| sent != arrived);
                    return match track.broken {
                        true => Verdict::Report(Notice::Gap),
                        false => Verdict::Swallow,
                    };
                }
                let Some(last) = track.last else { return Verdict::Swallow };
                if last_consumer_seq == Some(last.consumer_seq) {
                    return Verdict::Swallow;
                }
                Verdict::Report(Notice::Mismatch {
                    stream_seq: last.stream_seq,
                    consumer_seq: last.consumer_seq,
                    last_consumer_seq,
                })
            }
            None => self.inspect_message(&mut track, frame),
        }
    }

    fn inspect_message(&self, track: &mut Track, frame: &Frame) -> Verdict {
        let position = Position::parse(frame.reply());
        if self.ordered
            && let Some(position) = position
        {
            if track.broken {
                return Verdict::Swallow;
            }
            if position.consumer_seq != track.expected {
                track.broken = true;
                return Verdict::Report(Notice::Gap);
            }
            track.expected += 1;
            // Delivered by the consumer before, after the new one had been asked for.
            if position.stream_seq <= track.stream_seq {
                return Verdict::Swallow;
            }
            track.stream_seq = position.stream_seq;
        }
        if position.is_some() {
            track.last = position;
        }
        Verdict::Deliver
    }

    /// The reply to a flow control request whose messages have all been taken, once.
    pub fn flow_due(&self, taken: usize) -> Option<Vec<u8>> {
        if taken < self.flow_at.load(Relaxed) {
            return None;
        }
        let mut track = lock(&self.track);
        self.flow_at.store(NEVER, Relaxed);
        Some(std::mem::take(&mut track.flow_reply)).filter(|reply| !reply.is_empty())
    }

    /// Whether something has arrived since the last call.
    pub fn take_active(&self) -> bool {
        self.active.swap(false, Relaxed)
    }

    /// Stream sequence of the last message in order, zero before the first.
    pub fn stream_seq(&self) -> u64 {
        lock(&self.track).stream_seq
    }

    /// Consumer sequence of the last message, zero before the first.
    pub fn consumer_seq(&self) -> u64 {
        lock(&self.track).last.map_or(0, |last| last.consumer_seq)
    }

    /// What comes next is of another stream, whose sequence has nothing to do with the old one.
    pub fn forget_stream(&self) {
        lock(&self.track).stream_seq = 0;
    }

    /// A new consumer takes over, under another sid: its sequence starts at one.
    pub fn restart(&self, sid: u64) {
        let mut track = lock(&self.track);
        track.sid = sid;
        track.expected = 1;
        track.last = None;
        track.broken = false;
        track.flow_reply.clear();
        self.flow_at.store(NEVER, Relaxed);
    }
}

enum Control {
    Flow,
    Heartbeat { stalled: Option<Vec<u8>>, last_consumer_seq: Option<u64> },
}

impl Control {
    /// `None` for messages with content.
    fn of(frame: &Frame) -> Option<Self> {
        let block = frame.headers();
        if frame.payload_len() > 0 || headers::inline_status(block) != Some(CONTROL_STATUS) {
            return None;
        }
        let (mut flow, mut heartbeat) = (false, false);
        let (mut stalled, mut last_consumer_seq) = (None, None);
        headers::parse(block, |name, value| match name {
            headers::DESCRIPTION => {
                flow = value.starts_with(FLOW_CONTROL);
                heartbeat = value.starts_with(HEARTBEAT);
            }
            CONSUMER_STALLED => stalled = Some(value.as_bytes().to_vec()),
            LAST_CONSUMER => last_consumer_seq = value.parse().ok(),
            _ => {}
        });
        match (flow, heartbeat) {
            (true, _) => Some(Self::Flow),
            (_, true) => Some(Self::Heartbeat { stalled, last_consumer_seq }),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "push_tests.rs"]
mod tests;
