//! The receiving half of a subscription: a bounded queue and its counters.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::lock;
use crate::protocol::Frame;

/// What became of a message offered to a subscription.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivery {
    Queued,
    /// Queued, and the consumer waits for it.
    Wake,
    /// Over a pending limit: dropped, the frame comes back for the report.
    Dropped(Frame),
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    /// The consumer found the queue empty and wants to be woken.
    waiting: bool,
}

/// Shared by the thread that receives and the one that consumes.
#[derive(Debug)]
pub struct Subscription {
    pub sid: u64,
    /// Its messages answer requests instead of being queued.
    pub is_request_mux: bool,
    queue: Mutex<Queue>,
    /// Messages received since SUB, dropped ones included.
    pub received: AtomicU64,
    /// Auto-unsubscribe after so many; zero for never.
    pub max_msgs: AtomicU64,
    /// Not yet handed to the consumer.
    pub pending_msgs: AtomicUsize,
    /// Their payload bytes.
    pub pending_bytes: AtomicI64,
    /// Limits of the two above; zero or less for none.
    pub msgs_limit: AtomicI64,
    pub bytes_limit: AtomicI64,
    /// Queued or being handled: a drain ends when it reaches zero.
    pub unfinished: AtomicUsize,
}

impl Subscription {
    pub fn new(sid: u64, is_request_mux: bool, msgs_limit: i64, bytes_limit: i64) -> Self {
        Self {
            sid,
            is_request_mux,
            queue: Mutex::default(),
            received: AtomicU64::new(0),
            max_msgs: AtomicU64::new(0),
            pending_msgs: AtomicUsize::new(0),
            pending_bytes: AtomicI64::new(0),
            msgs_limit: AtomicI64::new(msgs_limit),
            bytes_limit: AtomicI64::new(bytes_limit),
            unfinished: AtomicUsize::new(0),
        }
    }

    /// Counts a received message; true if it was the last that the subscription wants.
    pub fn count_received(&self) -> bool {
        let received = self.received.fetch_add(1, Relaxed) + 1;
        let max_msgs = self.max_msgs.load(Relaxed);
        max_msgs > 0 && received >= max_msgs
    }

    /// Queues a message unless a pending limit is reached.
    pub fn offer(&self, frame: Frame) -> Delivery {
        let size = frame.payload_len() as i64;
        let bytes_limit = self.bytes_limit.load(Relaxed);
        let msgs_limit = self.msgs_limit.load(Relaxed);
        if (bytes_limit > 0 && self.pending_bytes.load(Relaxed) + size >= bytes_limit)
            || (msgs_limit > 0 && self.pending_msgs.load(Relaxed) as i64 >= msgs_limit)
        {
            return Delivery::Dropped(frame);
        }
        self.pending_msgs.fetch_add(1, Relaxed);
        self.pending_bytes.fetch_add(size, Relaxed);
        self.unfinished.fetch_add(1, Relaxed);
        let mut queue = lock(&self.queue);
        queue.frames.push_back(frame);
        if std::mem::take(&mut queue.waiting) { Delivery::Wake } else { Delivery::Queued }
    }

    /// Moves everything queued into `ready`, which must be empty.
    pub fn take_into(&self, ready: &mut VecDeque<Frame>) {
        std::mem::swap(&mut lock(&self.queue).frames, ready);
    }

    /// Asks for a wake-up with the next message; false if one is there already.
    pub fn wait(&self) -> bool {
        let mut queue = lock(&self.queue);
        queue.waiting = queue.frames.is_empty();
        queue.waiting
    }

    /// The consumer has taken this message.
    pub fn count_taken(&self, frame: &Frame) {
        self.pending_msgs.fetch_sub(1, Relaxed);
        self.pending_bytes.fetch_sub(frame.payload_len() as i64, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Parser, ServerOp};

    fn frame(payload: &str) -> Frame {
        let mut parser = Parser::new();
        parser.feed(format!("MSG a 1 {}\r\n{payload}\r\n", payload.len()).as_bytes());
        match parser.next_op() {
            Ok(Some(ServerOp::Msg(frame))) => frame,
            other => panic!("no message: {other:?}"),
        }
    }

    #[test]
    fn drops_over_the_message_limit() {
        let sub = Subscription::new(1, false, 2, 0);
        assert_eq!(sub.offer(frame("x")), Delivery::Queued);
        assert_eq!(sub.offer(frame("x")), Delivery::Queued);
        assert!(matches!(sub.offer(frame("y")), Delivery::Dropped(_)));
        assert_eq!(sub.pending_msgs.load(Relaxed), 2);
        assert_eq!(sub.pending_bytes.load(Relaxed), 2);
    }

    #[test]
    fn drops_when_the_byte_limit_would_be_reached() {
        let sub = Subscription::new(1, false, 0, 4);
        assert_eq!(sub.offer(frame("abc")), Delivery::Queued);
        assert!(matches!(sub.offer(frame("d")), Delivery::Dropped(_)));
        assert_eq!(sub.offer(frame("")), Delivery::Queued);
    }

    #[test]
    fn wakes_a_waiting_consumer_once() {
        let sub = Subscription::new(1, false, 0, 0);
        assert!(sub.wait());
        assert_eq!(sub.offer(frame("a")), Delivery::Wake);
        assert_eq!(sub.offer(frame("b")), Delivery::Queued);
        assert!(!sub.wait(), "two messages are there");
        let mut ready = VecDeque::new();
        sub.take_into(&mut ready);
        assert_eq!(ready.len(), 2);
        assert!(sub.wait());
    }

    #[test]
    fn counts_up_to_the_auto_unsubscribe_limit() {
        let sub = Subscription::new(1, false, 0, 0);
        assert!(!sub.count_received());
        sub.max_msgs.store(2, Relaxed);
        assert!(sub.count_received());
    }
}
