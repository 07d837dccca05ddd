//! What the two threads do to each other, in every interleaving.

use std::collections::VecDeque;
use std::sync::Arc;

use loom::thread;

use super::bell::{Bell, Ring};
use super::outbox::{Outbox, Written};
use super::subscription::Subscription;
use super::sync::atomic::{AtomicUsize, Ordering};
use super::sync::{Mutex, lock};
use crate::jetstream::push::Push;
use crate::protocol::{Frame, Parser, ServerOp};

/// An eventfd: rings add up until they are read.
#[derive(Clone)]
struct Fd(Arc<AtomicUsize>);

impl Ring for Fd {
    fn ring(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    fn silence(&self) {
        self.0.swap(0, Ordering::AcqRel);
    }
}

/// A client's mailbox and the loop that collects it.
struct Mailbox {
    fd: Fd,
    bell: Bell,
    mail: Mutex<usize>,
}

impl Mailbox {
    fn new() -> Arc<Self> {
        let fd = Fd(Arc::new(AtomicUsize::new(0)));
        Arc::new(Self { bell: Bell::new(Box::new(fd.clone())), fd, mail: Mutex::new(0) })
    }

    fn post(&self) {
        *lock(&self.mail) += 1;
        self.bell.ring();
    }

    fn collect(&self) -> usize {
        std::mem::take(&mut lock(&self.mail))
    }

    /// One turn of the loop: it comes only if the bell has rung.
    fn turn(&self) -> usize {
        if self.fd.0.load(Ordering::Acquire) == 0 {
            return 0;
        }
        self.bell.silence();
        self.collect()
    }
}

#[test]
fn whatever_is_posted_is_collected() {
    loom::model(|| {
        let mailbox = Mailbox::new();
        let posters = [0, 1].map(|_| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.post())
        });
        let mut collected = mailbox.turn();
        for poster in posters {
            poster.join().unwrap();
        }
        collected += mailbox.turn();
        assert_eq!(collected, 2, "mail is left and nobody rings for it");
    });
}

#[test]
fn the_loop_may_read_the_socket_while_the_io_thread_posts() {
    loom::model(|| {
        let mailbox = Mailbox::new();
        let poster = {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || mailbox.post())
        };
        mailbox.bell.hold();
        mailbox.post();
        mailbox.bell.release();
        let mut collected = mailbox.collect();
        poster.join().unwrap();
        collected += mailbox.turn();
        assert_eq!(collected, 2, "mail is left and nobody rings for it");
    });
}

fn frame(line: &str) -> Frame {
    let mut parser = Parser::new();
    parser.feed(line.as_bytes());
    match parser.next_op() {
        Ok(Some(ServerOp::Msg(frame))) => frame,
        other => panic!("no message: {other:?}"),
    }
}

fn message() -> Frame {
    frame("MSG a 1 1\r\nx\r\n")
}

fn flow_request() -> Frame {
    frame("HMSG a 1 flow 36 36\r\nNATS/1.0 100 FlowControl Request\r\n\r\n\r\n")
}

/// Takes what is queued, as the consuming thread does; how many, and the answers that are due.
fn consume(subscription: &Subscription) -> (usize, usize) {
    let mut ready = VecDeque::new();
    let mut answers = 0;
    subscription.take_into(&mut ready);
    for frame in &ready {
        subscription.count_taken(frame);
        answers += usize::from(subscription.flow_due().is_some());
        subscription.count_finished();
    }
    (ready.len(), answers)
}

#[test]
fn a_waiting_consumer_is_woken() {
    loom::model(|| {
        let subscription = Arc::new(Subscription::new(false, 0, 0, Arc::default()));
        let receiver = {
            let subscription = Arc::clone(&subscription);
            thread::spawn(move || {
                let first = subscription.offer(message(), || None).wake;
                let second = subscription.offer(message(), || None).wake;
                usize::from(first) + usize::from(second)
            })
        };
        let (early, _) = consume(&subscription);
        let waits = subscription.wait();
        let wakes = receiver.join().unwrap();
        assert!(early + wakes <= 2);
        if waits && early < 2 {
            assert_eq!(wakes, 1, "a message is there and nobody wakes its consumer");
        }
        let (late, _) = consume(&subscription);
        assert_eq!(
            (early + late, subscription.pending_msgs(), subscription.unfinished()),
            (2, 0, 0)
        );
    });
}

#[test]
fn pending_counts_never_turn_negative() {
    loom::model(|| {
        let subscription = Arc::new(Subscription::new(false, 0, 1000, Arc::default()));
        let receiver = {
            let subscription = Arc::clone(&subscription);
            thread::spawn(move || {
                subscription.offer(message(), || None);
                assert!(subscription.pending_msgs() <= 1);
            })
        };
        consume(&subscription);
        assert!(subscription.pending_msgs() <= 1);
        assert!((0..=1).contains(&subscription.pending_bytes()));
        assert!(subscription.unfinished() <= 1);
        receiver.join().unwrap();
    });
}

#[test]
fn a_flow_control_request_is_answered_once() {
    loom::model(|| {
        let subscription = Arc::new(Subscription::new(false, 0, 0, Arc::default()));
        subscription.push.set(Push::new(false, 1)).unwrap();
        subscription.offer(message(), || None);
        let receiver = {
            let subscription = Arc::clone(&subscription);
            thread::spawn(move || subscription.offer(flow_request(), || None).responses.len())
        };
        let (taken, answers) = consume(&subscription);
        assert_eq!(taken, 1);
        assert_eq!(answers + receiver.join().unwrap(), 1, "the server waits for the answer");
    });
}

#[test]
fn a_publisher_that_waits_for_room_is_released() {
    loom::model(|| {
        let outbox = Arc::new(Outbox::default());
        let epoch = outbox.attach();
        outbox.release(b"");
        outbox.append(|out| out.extend_from_slice(b"PUB a 0\r\n\r\n"));
        let writer = {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || {
                outbox.write(epoch, |bytes| Ok(bytes.len())).unwrap();
                outbox.take_room_notice(0)
            })
        };
        outbox.want_room();
        let at_once = outbox.take_room_notice(0);
        let later = writer.join().unwrap();
        assert!(at_once ^ later, "once, and not never");
    });
}

#[test]
fn urgent_output_is_counted_once() {
    loom::model(|| {
        let outbox = Arc::new(Outbox::default());
        outbox.attach();
        let other = {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || outbox.attach())
        };
        outbox.append_urgent(b"CONNECT {}\r\n");
        let epoch = other.join().unwrap();
        outbox.take(epoch, usize::MAX, <[u8]>::to_vec);
        assert_eq!(outbox.size(), 0, "nothing is pending");
    });
}

#[test]
fn the_size_of_the_output_never_turns_negative() {
    loom::model(|| {
        let outbox = Arc::new(Outbox::default());
        let epoch = outbox.attach();
        let writer = {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || {
                outbox.write(epoch, |bytes| Ok(bytes.len())).unwrap();
                assert!(outbox.size() < 1000, "{} bytes are said to be pending", outbox.size());
            })
        };
        outbox.append_urgent(b"CONNECT {}\r\n");
        writer.join().unwrap();
    });
}

#[test]
fn output_for_a_blocked_socket_is_written_by_the_writer_task() {
    loom::model(|| {
        let outbox = Arc::new(Outbox::default());
        let epoch = outbox.attach();
        outbox.release(b"");
        outbox.append(|out| out.extend_from_slice(b"PUB a 0\r\n\r\n"));
        let blocked = |_: &[u8]| Err(std::io::ErrorKind::WouldBlock.into());
        assert_eq!(outbox.write(epoch, blocked).unwrap(), Written::Blocked);
        let writer = {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || outbox.write(epoch, |bytes| Ok(bytes.len())).unwrap())
        };
        outbox.append(|out| out.extend_from_slice(b"PUB b 0\r\n\r\n"));
        let publisher = outbox.try_write(epoch, |bytes| Ok(bytes.len())).unwrap();
        assert_eq!(writer.join().unwrap(), Written::All);
        if matches!(publisher, Written::Blocked | Written::Busy) {
            // As it says, it has woken the writer task.
            outbox.write(epoch, |bytes| Ok(bytes.len())).unwrap();
        }
        assert_eq!(outbox.size(), 0, "output is left and nobody writes it");
    });
}

// `SubscriptionCore::rebind` against a message that is being offered.
#[test]
fn a_consumer_that_is_rebound_is_woken() {
    loom::model(|| {
        let subscription = Arc::new(Subscription::new(false, 0, 0, Arc::default()));
        subscription.push.set(Push::new(false, 1)).unwrap();
        assert!(subscription.wait(), "the consumer sleeps, and the server knows it as 1");
        let wakes = Arc::new(Mutex::new(Vec::new()));
        let receiver = {
            let (subscription, wakes) = (Arc::clone(&subscription), Arc::clone(&wakes));
            // Shared::dispatch
            thread::spawn(move || {
                if subscription.offer(message(), || None).wake {
                    lock(&wakes).push(subscription.key);
                }
            })
        };
        subscription.push.get().unwrap().restart(2);
        receiver.join().unwrap();
        // Connection::sort_mail
        let woken = lock(&wakes).contains(&subscription.key);
        assert_eq!(woken, subscription.pending_msgs() > 0, "a message, and its consumer sleeps");
    });
}
