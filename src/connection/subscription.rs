//! The receiving half of a subscription: a bounded queue and its counters.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, PoisonError};

use super::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering, Ordering::Relaxed, fence};
use super::sync::{Mutex, lock};
use super::{Pinned, Run};
use crate::jetstream::push::{Notice, Push, Verdict};
use crate::protocol::Frame;

/// What became of messages offered to a subscription.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The consumer waits for them.
    pub wake: bool,
    /// The subscription has received all that it wants.
    pub complete: bool,
    /// Over a pending limit: the frames come back for the report.
    pub dropped: Vec<Frame>,
    /// What a push consumer has to be told.
    pub notices: Vec<Notice>,
    /// Subjects of flow control that are to be answered with an empty message.
    pub responses: Vec<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    /// The consumer found the queue empty and wants to be woken.
    waiting: bool,
}

/// Subjects and headers don't count for the limit of pending bytes, which is the reference's.
/// Together they may come to so many times that limit, and to so many bytes in any case.
const OVERHEAD_FACTOR: i64 = 4;
const MIN_OVERHEAD_LIMIT: i64 = 16 * 1024 * 1024;

/// Messages, their payload bytes and the bytes of their other parts, counted from the start.
///
/// Only one side ever adds, so a plain store does where an atomic addition would have the two
/// threads fight for the cache line at every message.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Count {
    msgs: AtomicUsize,
    bytes: AtomicI64,
    overhead: AtomicI64,
}

impl Count {
    fn subtract(&self, msgs: usize, bytes: i64, overhead: i64) {
        self.add(0usize.wrapping_sub(msgs), -bytes, -overhead);
    }

    fn add(&self, msgs: usize, bytes: i64, overhead: i64) {
        self.msgs.store(self.msgs.load(Relaxed).wrapping_add(msgs), Relaxed);
        self.bytes.store(self.bytes.load(Relaxed).wrapping_add(bytes), Relaxed);
        self.overhead.store(self.overhead.load(Relaxed).wrapping_add(overhead), Relaxed);
    }
}

/// Shared by the thread that receives and the one that consumes.
#[derive(Debug)]
pub struct Subscription {
    /// Names it in the mail for as long as it lives: its sid may change meanwhile.
    pub key: u64,
    /// Its messages answer requests instead of being queued.
    pub is_request_mux: bool,
    /// It delivers for a push consumer.
    pub push: OnceLock<Push>,
    /// What is being queued; locked by the receiving side alone.
    incoming: Mutex<VecDeque<Frame>>,
    queue: Mutex<Queue>,
    /// The client's read buffers that messages in queues keep alive.
    pub pinned: Arc<Pinned>,
    /// Messages received since SUB, dropped ones included.
    pub received: AtomicU64,
    /// Auto-unsubscribe after so many; zero for never.
    pub max_msgs: AtomicU64,
    /// Limits of what is pending; zero or less for none.
    pub msgs_limit: AtomicI64,
    pub bytes_limit: AtomicI64,
    /// Written by the receiving thread, under the queue's lock.
    queued: Count,
    /// Written by the consuming thread: handed to the consumer.
    taken: Count,
    /// Written by the consuming thread: messages dealt with.
    finished: AtomicUsize,
}

impl Subscription {
    pub fn new(
        is_request_mux: bool,
        msgs_limit: i64,
        bytes_limit: i64,
        pinned: Arc<Pinned>,
    ) -> Self {
        static NEXT_KEY: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        Self {
            key: NEXT_KEY.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            is_request_mux,
            push: OnceLock::new(),
            incoming: Mutex::default(),
            queue: Mutex::default(),
            pinned,
            received: AtomicU64::new(0),
            max_msgs: AtomicU64::new(0),
            msgs_limit: AtomicI64::new(msgs_limit),
            bytes_limit: AtomicI64::new(bytes_limit),
            queued: Count::default(),
            taken: Count::default(),
            finished: AtomicUsize::new(0),
        }
    }

    /// Messages not yet handed to the consumer.
    pub fn pending_msgs(&self) -> usize {
        // Taken first: read the other way round, the difference could turn negative.
        let taken = self.taken.msgs.load(Relaxed);
        self.queued.msgs.load(Relaxed).wrapping_sub(taken)
    }

    /// Payload bytes of the messages not yet handed to the consumer.
    pub fn pending_bytes(&self) -> i64 {
        let taken = self.taken.bytes.load(Relaxed);
        self.queued.bytes.load(Relaxed).wrapping_sub(taken)
    }

    /// What the pending messages come to besides their payloads.
    fn pending_overhead(&self) -> i64 {
        let taken = self.taken.overhead.load(Relaxed);
        self.queued.overhead.load(Relaxed).wrapping_sub(taken)
    }

    /// Messages queued or being handled: a drain ends when there are none.
    pub fn unfinished(&self) -> usize {
        let finished = self.finished.load(Relaxed);
        self.queued.msgs.load(Relaxed).wrapping_sub(finished)
    }

    /// Counts a received message; true if it was the last that the subscription wants.
    pub fn count_received(&self) -> bool {
        let received = self.received.fetch_add(1, Relaxed) + 1;
        let max_msgs = self.max_msgs.load(Relaxed);
        max_msgs > 0 && received >= max_msgs
    }

    /// Queues a message and those that `next` yields, up to the last one wanted, except what is
    /// over a pending limit.
    pub fn offer(&self, first: Frame, mut next: impl FnMut() -> Option<Frame>) -> Delivery {
        let msgs_limit = self.msgs_limit.load(Relaxed);
        let bytes_limit = self.bytes_limit.load(Relaxed);
        let mut delivery = Delivery::default();
        // Not straight into the queue: the consumer would wait for its lock, holding the GIL.
        let mut incoming = lock(&self.incoming);
        let (mut msgs, mut bytes, mut overhead) = (0, 0, 0);
        let (pending_msgs, pending_bytes) = (self.pending_msgs() as i64, self.pending_bytes());
        let mut run = Run::default();
        let overhead_limit = match bytes_limit {
            1.. => {
                bytes_limit.saturating_mul(OVERHEAD_FACTOR).max(MIN_OVERHEAD_LIMIT)
                    - self.pending_overhead()
            }
            _ => i64::MAX,
        };
        let mut frame = Some(first);
        let push = self.push.get();
        while let Some(offered) = frame {
            delivery.complete = self.count_received();
            let size = offered.payload_len() as i64;
            let verdict = match push {
                Some(push) => self.inspect(push, &offered, msgs as usize),
                None => Verdict::Deliver,
            };
            if verdict != Verdict::Deliver {
                match verdict {
                    Verdict::Report(notice) => delivery.notices.push(notice),
                    Verdict::Respond(reply) => delivery.responses.push(reply),
                    Verdict::Deliver | Verdict::Swallow => {}
                }
            } else if (bytes_limit > 0 && pending_bytes + bytes + size >= bytes_limit)
                || (msgs_limit > 0 && pending_msgs + msgs >= msgs_limit)
                || overhead >= overhead_limit
            {
                delivery.dropped.push(offered);
            } else {
                msgs += 1;
                bytes += size;
                overhead += offered.len() as i64 - size;
                incoming.push_back(self.pin(offered, &mut run));
            }
            frame = if delivery.complete { None } else { next() };
        }
        self.pinned.add(run.end());
        let mut queue = lock(&self.queue);
        if queue.frames.is_empty() {
            std::mem::swap(&mut queue.frames, &mut incoming);
        } else {
            queue.frames.append(&mut incoming);
        }
        self.queued.add(msgs as usize, bytes, overhead);
        // The consumer may have taken the last message while its request was being noted.
        delivery.responses.extend(self.flow_due());
        delivery.wake = msgs > 0 && std::mem::take(&mut queue.waiting);
        delivery
    }

    /// Counts a message that is about to be queued; a small one rather leaves its read buffer
    /// where that would be too many.
    fn pin(&self, mut frame: Frame, run: &mut Run) -> Frame {
        if !run.is_of(frame.buffer()) && self.pinned.is_over() {
            frame.compact();
        }
        self.pinned.add(run.push(&frame));
        frame
    }

    fn inspect(&self, push: &Push, frame: &Frame, new: usize) -> Verdict {
        let queued = self.queued.msgs.load(Relaxed).wrapping_add(new);
        push.inspect(frame, queued, self.taken.msgs.load(Relaxed))
    }

    /// The subject at which a flow control request is to be answered now.
    pub fn flow_due(&self) -> Option<Vec<u8>> {
        let push = self.push.get()?;
        // Between noting the request and looking at what is taken, and the other way round on
        // the other thread: one of the two has to see both.
        fence(Ordering::SeqCst);
        push.flow_due(self.taken.msgs.load(Relaxed))
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
        let size = frame.payload_len() as i64;
        self.taken.add(1, size, frame.len() as i64 - size);
    }

    /// A message that was taken and dealt with is to be taken again.
    pub fn count_given_back(&self, frame: &Frame) {
        self.count_put_back(frame);
        self.finished.store(self.finished.load(Relaxed).wrapping_sub(1), Relaxed);
    }

    /// A message that was taken, and no more, is to be taken again.
    pub fn count_put_back(&self, frame: &Frame) {
        let size = frame.payload_len() as i64;
        self.taken.subtract(1, size, frame.len() as i64 - size);
    }

    /// The consumer has dealt with a message.
    pub fn count_finished(&self) {
        self.finished.store(self.finished.load(Relaxed).wrapping_add(1), Relaxed);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let queue = self.queue.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut run = Run::default();
        queue.frames.iter().for_each(|frame| self.pinned.remove(run.push(frame)));
        self.pinned.remove(run.end());
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

    fn offer(sub: &Subscription, payload: &str) -> Delivery {
        sub.offer(frame(payload), || None)
    }

    #[test]
    fn drops_over_the_message_limit() {
        let sub = Subscription::new(false, 2, 0, Arc::default());
        let mut more = vec![frame("z"), frame("x")];
        let delivery = sub.offer(frame("x"), || more.pop());
        assert_eq!(delivery.dropped, [frame("z")]);
        assert_eq!(sub.pending_msgs(), 2);
        assert_eq!(sub.pending_bytes(), 2);
        assert_eq!(sub.received.load(Relaxed), 3);
    }

    #[test]
    fn drops_when_the_byte_limit_would_be_reached() {
        let sub = Subscription::new(false, 0, 4, Arc::default());
        assert_eq!(offer(&sub, "abc"), Delivery::default());
        assert_eq!(offer(&sub, "d").dropped.len(), 1);
        assert_eq!(offer(&sub, ""), Delivery::default());
        assert_eq!(sub.pending_msgs(), 2);
    }

    #[test]
    fn drops_what_has_far_too_much_besides_its_payload() {
        let sub = Subscription::new(false, 0, 100, Arc::default());
        let half = MIN_OVERHEAD_LIMIT as usize / 2;
        let headers = "x".repeat(half);
        let long = || {
            let mut parser = Parser::new();
            parser.feed(format!("HMSG a 1 {half} {half}\r\n{headers}\r\n").as_bytes());
            match parser.next_op() {
                Ok(Some(ServerOp::Msg(frame))) => frame,
                other => panic!("no message: {other:?}"),
            }
        };
        assert_eq!(sub.offer(long(), || None), Delivery::default());
        assert_eq!(sub.offer(long(), || None), Delivery::default());
        assert_eq!(sub.offer(long(), || None).dropped.len(), 1);
        sub.count_taken(&long());
        assert_eq!(sub.offer(long(), || None), Delivery::default());
    }

    #[test]
    fn messages_far_apart_leave_their_read_buffers() {
        let pinned = Arc::new(Pinned::default());
        let subs = [0; 4].map(|_| Subscription::new(false, 0, 0, Arc::clone(&pinned)));
        let mut parser = Parser::new();
        let filler = format!("MSG b 2 65000\r\n{}\r\n", "x".repeat(65_000));
        let mut receive = || {
            let mut found = None;
            parser.feed(format!("{filler}MSG a 1 1\r\nx\r\n").as_bytes());
            while let Some(ServerOp::Msg(frame)) = parser.next_op().unwrap() {
                found = Some(frame).filter(|frame| frame.sid() == 1);
            }
            found.unwrap()
        };
        for _ in 0..100 {
            subs.iter().for_each(|sub| assert_eq!(sub.offer(receive(), || None).dropped, []));
        }
        let mut ready = VecDeque::new();
        let mut kept = 0;
        for sub in &subs {
            sub.take_into(&mut ready);
            kept += ready.iter().filter(|frame| frame.buffer() != Frame::OWN).count();
            std::mem::swap(&mut lock(&sub.queue).frames, &mut ready);
        }
        assert!((1..100).contains(&kept), "{kept} of 400 read buffers are kept");
        assert!(pinned.is_over());
        drop(subs);
        assert!(!pinned.is_over(), "what nobody takes any more keeps no buffer");
    }

    #[test]
    fn wakes_a_waiting_consumer_once() {
        let sub = Subscription::new(false, 0, 0, Arc::default());
        assert!(sub.wait());
        assert!(offer(&sub, "a").wake);
        assert!(!offer(&sub, "b").wake);
        assert!(!sub.wait(), "two messages are there");
        let mut ready = VecDeque::new();
        sub.take_into(&mut ready);
        assert_eq!(ready.len(), 2);
        assert!(sub.wait());
    }

    #[test]
    fn a_message_is_pending_until_taken_and_unfinished_until_handled() {
        let sub = Subscription::new(false, 0, 0, Arc::default());
        offer(&sub, "abc");
        sub.count_taken(&frame("abc"));
        assert_eq!((sub.pending_msgs(), sub.pending_bytes(), sub.unfinished()), (0, 0, 1));
        sub.count_finished();
        assert_eq!(sub.unfinished(), 0);
    }

    #[test]
    fn a_message_given_back_is_pending_again() {
        let sub = Subscription::new(false, 0, 0, Arc::default());
        offer(&sub, "abc");
        sub.count_taken(&frame("abc"));
        sub.count_finished();
        sub.count_given_back(&frame("abc"));
        assert_eq!((sub.pending_msgs(), sub.pending_bytes(), sub.unfinished()), (1, 3, 1));
    }

    #[test]
    fn takes_no_more_than_the_auto_unsubscribe_limit() {
        let sub = Subscription::new(false, 0, 0, Arc::default());
        sub.max_msgs.store(2, Relaxed);
        let mut more = vec![frame("late"), frame("b")];
        assert!(sub.offer(frame("a"), || more.pop()).complete);
        assert_eq!((sub.pending_msgs(), more.len()), (2, 1));
    }
}
