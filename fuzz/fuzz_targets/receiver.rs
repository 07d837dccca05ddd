//! Any bytes for the whole receiving side: a plain subscription, one of replies and an ordered
//! push consumer. Nothing panics, the counters come to zero, an ordered consumer delivers in
//! order and what waits for a server that doesn't read stays bounded.

#![no_main]

use std::collections::VecDeque;
use std::sync::Arc;

use _core::connection::bell::Silent;
use _core::connection::link::deliver;
use _core::connection::{Bell, Mail, Shared, Subscription};
use _core::jetstream::delivery::Position;
use _core::jetstream::push::Push;
use _core::protocol::{Frame, Parser};
use libfuzzer_sys::fuzz_target;

const PLAIN: u64 = 1;
const REPLIES: u64 = 2;
const ORDERED: u64 = 3;

fn subscribe(shared: &Shared, sid: u64) -> Arc<Subscription> {
    let subscription = Arc::new(Subscription::new(sid == REPLIES, 8, 256));
    if sid == ORDERED {
        subscription.push.set(Push::new(true, sid)).expect("set once");
    }
    shared.add_subscription(sid, Arc::clone(&subscription));
    subscription
}

fn consume(subscription: &Subscription) -> VecDeque<Frame> {
    let mut ready = VecDeque::new();
    subscription.take_into(&mut ready);
    for frame in &ready {
        subscription.count_taken(frame);
        subscription.count_finished();
        subscription.flow_due();
    }
    assert_eq!((subscription.pending_msgs(), subscription.pending_bytes()), (0, 0));
    assert_eq!(subscription.unfinished(), 0);
    ready
}

fuzz_target!(|input: (&[u8], u8)| {
    let (data, step) = input;
    let shared = Shared::new(Bell::new(Box::new(Silent)));
    let epoch = shared.attach();
    let subscriptions = [PLAIN, REPLIES, ORDERED].map(|sid| subscribe(&shared, sid));
    let mut parser = Parser::new();
    let mut batch = Vec::new();
    let (mut stream_seq, mut consumer_seq) = (0, 0);
    for piece in data.chunks(usize::from(step) + 1) {
        parser.feed(piece);
        let outcome = deliver(epoch, &mut parser, &mut batch, &shared, || ());
        for subscription in &subscriptions {
            assert!(subscription.pending_msgs() <= 8 && subscription.pending_bytes() < 256);
        }
        consume(&subscriptions[0]);
        for frame in consume(&subscriptions[2]) {
            if let Some(position) = Position::parse(frame.reply()) {
                // Not one after the other: what was delivered before is swallowed.
                assert!(position.consumer_seq > consumer_seq && position.stream_seq > stream_seq);
                (stream_seq, consumer_seq) = (position.stream_seq, position.consumer_seq);
            }
        }
        let mut mail = Mail::default();
        shared.collect(&mut mail);
        mail.events.iter().for_each(|event| shared.backlog.settle(event));
        assert!(!shared.backlog.is_over());
        if outcome.is_err() {
            break;
        }
    }
    assert!(shared.outbox.size() < 4 * 64 * 1024 + data.len());
});
