use super::*;
use crate::protocol::{Parser, ServerOp};

fn frame(wire: &str) -> Frame {
    let mut parser = Parser::new();
    parser.feed(wire.as_bytes());
    match parser.next_op() {
        Ok(Some(ServerOp::Msg(frame))) => frame,
        other => panic!("no message: {other:?}"),
    }
}

fn message(stream_seq: u64, consumer_seq: u64) -> Frame {
    frame(&format!("MSG a 1 $JS.ACK.S.C.1.{stream_seq}.{consumer_seq}.1.0 1\r\nx\r\n"))
}

fn control(reply: &str, block: &str) -> Frame {
    let block = format!("NATS/1.0 100 {block}\r\n\r\n");
    frame(&format!("HMSG a 1 {reply} {0} {0}\r\n{block}\r\n", block.len()))
}

fn heartbeat(last_consumer: u64) -> Frame {
    control("", &format!("Idle Heartbeat\r\nNats-Last-Consumer: {last_consumer}"))
}

#[test]
fn a_gap_is_reported_once_and_nothing_delivered_behind_it() {
    let push = Push::new(true, 1);
    assert_eq!(push.inspect(&message(1, 1), 0, 0), Verdict::Deliver);
    assert_eq!(push.inspect(&message(5, 3), 1, 0), Verdict::Report(Notice::Gap));
    assert_eq!(push.inspect(&message(6, 4), 1, 0), Verdict::Swallow);
    assert_eq!(push.stream_seq(), 1);
    push.restart(1);
    assert_eq!(push.inspect(&message(1, 1), 1, 0), Verdict::Swallow, "delivered before");
    assert_eq!(push.inspect(&message(2, 2), 1, 0), Verdict::Deliver);
    assert_eq!(push.stream_seq(), 2);
    push.restart(1);
    push.forget_stream();
    assert_eq!(push.inspect(&message(1, 1), 1, 0), Verdict::Deliver, "of another stream");
}

#[test]
fn heartbeats_tell_of_what_is_missing() {
    let ordered = Push::new(true, 1);
    assert_eq!(ordered.inspect(&heartbeat(0), 0, 0), Verdict::Swallow, "nothing was sent");
    ordered.inspect(&message(1, 1), 0, 0);
    assert_eq!(ordered.inspect(&heartbeat(1), 1, 0), Verdict::Swallow);
    assert_eq!(ordered.inspect(&heartbeat(2), 1, 0), Verdict::Report(Notice::Gap));
    let first = Push::new(true, 1);
    assert_eq!(first.inspect(&heartbeat(3), 0, 0), Verdict::Report(Notice::Gap), "all are lost");

    let push = Push::new(false, 1);
    push.inspect(&message(7, 4), 0, 0);
    let notice = Notice::Mismatch { stream_seq: 7, consumer_seq: 4, last_consumer_seq: Some(6) };
    assert_eq!(push.inspect(&heartbeat(6), 1, 1), Verdict::Report(notice));
}

#[test]
fn flow_control_is_answered_when_its_messages_are_taken() {
    let push = Push::new(false, 1);
    let request = control("$JS.FC.1", "FlowControl Request");
    assert_eq!(push.inspect(&request, 3, 3), Verdict::Respond(b"$JS.FC.1".to_vec()));
    assert_eq!(push.inspect(&request, 5, 3), Verdict::Swallow);
    assert_eq!(push.flow_due(4), None);
    assert_eq!(push.flow_due(5), Some(b"$JS.FC.1".to_vec()));
    assert_eq!(push.flow_due(6), None, "answered already");
}

#[test]
fn a_stalled_consumer_is_released_at_once() {
    let push = Push::new(false, 1);
    let stalled = control("", "Idle Heartbeat\r\nNats-Consumer-Stalled: $JS.FC.2");
    assert_eq!(push.inspect(&stalled, 5, 0), Verdict::Respond(b"$JS.FC.2".to_vec()));
}

#[test]
fn messages_with_content_are_no_control_messages() {
    let push = Push::new(false, 1);
    let block = "NATS/1.0 100 Idle Heartbeat\r\n\r\n";
    let length = block.len();
    let with_content = frame(&format!("HMSG a 1 {length} {}\r\n{block}x\r\n", length + 1));
    assert_eq!(push.inspect(&with_content, 0, 0), Verdict::Deliver);
}

#[test]
fn activity_is_seen_once() {
    let push = Push::new(false, 1);
    assert!(push.take_active());
    assert!(!push.take_active());
    push.inspect(&heartbeat(0), 0, 0);
    assert!(push.take_active());
}

#[test]
fn what_a_consumer_that_was_given_up_still_sends_is_ignored() {
    let push = Push::new(true, 2);
    assert_eq!(push.inspect(&message(9, 9), 0, 0), Verdict::Swallow, "under the sid 1");
    assert!(push.take_active());
    push.inspect(&heartbeat(9), 0, 0);
    assert!(!push.take_active());
    push.restart(1);
    assert_eq!(push.inspect(&message(1, 1), 0, 0), Verdict::Deliver);
}

#[test]
fn a_broken_consumer_does_not_count_as_active() {
    let push = Push::new(true, 1);
    push.inspect(&message(5, 2), 0, 0);
    push.take_active();
    push.inspect(&message(6, 3), 0, 0);
    push.inspect(&heartbeat(3), 0, 0);
    assert!(!push.take_active());
}
