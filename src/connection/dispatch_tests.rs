use super::*;
use crate::connection::backlog::{MAX_DROP_REPORTS, MAX_REPLIES, MAX_REPLY_BYTES};
use crate::connection::bell::Silent;
use crate::jetstream::push::Push;
use crate::protocol::Parser;

fn shared() -> Shared {
    Shared::new(Bell::new(Box::new(Silent)))
}

fn subscribe(shared: &Shared, sid: u64, is_request_mux: bool, limit: i64) -> Arc<Subscription> {
    let subscription = Arc::new(Subscription::new(is_request_mux, limit, 0, Arc::default()));
    shared.add_subscription(sid, Arc::clone(&subscription));
    subscription
}

fn receive(shared: &Shared, input: &str) -> bool {
    receive_on(shared, shared.epoch.load(Relaxed), input)
}

fn receive_on(shared: &Shared, epoch: u64, input: &str) -> bool {
    let mut parser = Parser::new();
    parser.feed(input.as_bytes());
    let mut batch = Vec::new();
    while let Some(op) = parser.next_op().unwrap() {
        batch.push(op);
    }
    shared.dispatch(epoch, &mut batch)
}

fn collect(shared: &Shared) -> Mail {
    let mut mail = Mail::default();
    shared.collect(&mut mail);
    mail
}

fn output(shared: &Shared, epoch: u64) -> Vec<u8> {
    shared.outbox.take(epoch, usize::MAX, <[u8]>::to_vec).unwrap()
}

#[test]
fn messages_wait_in_their_subscription() {
    let shared = shared();
    let one = subscribe(&shared, 1, false, 0);
    let two = subscribe(&shared, 2, false, 0);
    assert!(two.wait());
    receive(&shared, "MSG a 1 1\r\nx\r\nMSG b 2 1\r\ny\r\nMSG b 2 1\r\nz\r\nMSG c 3 1\r\n?\r\n");
    assert_eq!(one.pending_msgs(), 1);
    assert_eq!(two.pending_msgs(), 2);
    let mail = collect(&shared);
    assert_eq!(mail.wakes, [two.key], "only the waiting consumer is woken, once");
    assert!(mail.events.is_empty());
    assert_eq!(shared.stats.in_msgs.load(Relaxed), 4, "strays count as received");
}

#[test]
fn a_wake_up_outlasts_a_change_of_the_sid() {
    let shared = shared();
    let subscription = subscribe(&shared, 1, false, 0);
    assert!(subscription.wait());
    receive(&shared, "MSG a 1 1\r\nx\r\n");
    shared.add_subscription(2, Arc::clone(&subscription));
    shared.remove_subscription(1);
    assert_eq!(collect(&shared).wakes, [subscription.key]);
    receive(&shared, "MSG a 2 1\r\ny\r\n");
    assert_eq!(subscription.pending_msgs(), 2);
}

#[test]
fn a_ping_is_answered_ahead_of_pending_output() {
    let shared = shared();
    let epoch = shared.attach();
    shared.outbox.release(b"");
    shared.outbox.append(|out| out.extend_from_slice(b"PUB a 0\r\n\r\n"));
    assert!(receive(&shared, "PING\r\n"));
    assert_eq!(output(&shared, epoch), b"PONG\r\nPUB a 0\r\n\r\n");
}

#[test]
fn completed_subscriptions_receive_no_more() {
    let shared = shared();
    let subscription = subscribe(&shared, 1, false, 0);
    subscription.max_msgs.store(2, Relaxed);
    receive(&shared, "MSG a 1 0\r\n\r\nMSG a 1 0\r\n\r\nMSG a 1 0\r\n\r\n");
    assert_eq!(subscription.pending_msgs(), 2);
    assert!(matches!(collect(&shared).events.make_contiguous(), [Event::Complete(1)]));
}

#[test]
fn replies_are_mailed() {
    let shared = shared();
    subscribe(&shared, 1, true, 0);
    receive(&shared, "MSG _INBOX.x.1 1 2\r\nhi\r\n");
    assert_eq!(collect(&shared).replies.len(), 1);
}

#[test]
fn replies_that_nobody_collects_are_bounded_in_number() {
    let shared = shared();
    let subscription = subscribe(&shared, 1, true, 0);
    let sent = (MAX_REPLIES / 1000 + 1) * 1000;
    for _ in 0..sent / 1000 {
        receive(&shared, &"MSG r 1 0\r\n\r\n".repeat(1000));
    }
    assert_eq!(subscription.received.load(Relaxed), sent as u64);
    let mail = collect(&shared);
    assert_eq!(mail.replies.len(), MAX_REPLIES);
    assert_eq!(mail.events.len(), sent - MAX_REPLIES, "the others are reported as dropped");
    receive(&shared, "MSG r 1 0\r\n\r\n");
    assert_eq!(collect(&shared).replies.len(), 1, "collected ones make room");
}

#[test]
fn replies_that_nobody_collects_are_bounded_in_bytes() {
    const PAYLOAD: usize = 4 * 1024 * 1024;
    let shared = shared();
    subscribe(&shared, 1, true, 0);
    let reply = format!("MSG r 1 {PAYLOAD}\r\n{}\r\n", "x".repeat(PAYLOAD));
    for _ in 0..MAX_REPLY_BYTES / PAYLOAD + 3 {
        receive(&shared, &reply);
    }
    let mail = collect(&shared);
    assert_eq!(mail.replies.len(), MAX_REPLY_BYTES / PAYLOAD);
    assert_eq!(mail.events.len(), 3);
    receive(&shared, &reply);
    assert_eq!(collect(&shared).replies.len(), 1, "collected ones make room");
}

#[test]
fn drop_reports_are_bounded() {
    let shared = shared();
    let subscription = subscribe(&shared, 1, false, 1);
    for _ in 0..12 {
        receive(&shared, &"MSG a 1 0\r\n\r\n".repeat(1000));
    }
    assert_eq!(subscription.received.load(Relaxed), 12_000);
    let mail = collect(&shared);
    assert_eq!(mail.events.len(), MAX_DROP_REPORTS);
    receive(&shared, "MSG a 1 0\r\n\r\n");
    assert_eq!(collect(&shared).events.len(), 0, "collected and not yet handled");
    mail.events.iter().for_each(|event| shared.backlog.settle(event));
    receive(&shared, "MSG a 1 0\r\n\r\n");
    assert_eq!(collect(&shared).events.len(), 1);
}

#[test]
fn a_drop_report_keeps_neither_payload_nor_headers() {
    let shared = shared();
    subscribe(&shared, 1, false, 1);
    receive(&shared, "MSG a 1 0\r\n\r\nHMSG a.b 1 re.ply 12 15\r\nNATS/1.0\r\n\r\nxyz\r\n");
    let mail = collect(&shared);
    let Some(Event::Dropped(report)) = mail.events.front() else { panic!("{:?}", mail.events) };
    assert_eq!((report.sid(), report.subject(), report.reply()), (1, &b"a.b"[..], &b"re.ply"[..]));
    assert_eq!((report.headers(), report.payload()), (&b""[..], &b""[..]));
}

#[test]
fn events_that_nobody_handles_end_the_connection() {
    for line in ["PONG\r\n", "-ERR 'x'\r\n", "INFO {}\r\n"] {
        let shared = shared();
        receive(&shared, line);
        assert!(!shared.backlog.is_over());
        receive(&shared, &line.repeat(70_000));
        assert!(shared.backlog.is_over());
        collect(&shared).events.iter().for_each(|event| shared.backlog.settle(event));
        assert!(!shared.backlog.is_over());
    }
}

#[test]
fn a_run_of_ok_is_one_event() {
    let shared = shared();
    for _ in 0..100 {
        receive(&shared, &"+OK\r\n".repeat(1000));
    }
    assert!(!shared.backlog.is_over());
    assert_eq!(collect(&shared).events.len(), 1);
}

#[test]
fn demands_are_answered_as_far_as_the_server_reads() {
    let shared = shared();
    let epoch = shared.attach();
    shared.outbox.release(b"");
    for _ in 0..100 {
        receive(&shared, &"PING\r\n".repeat(1000));
    }
    assert!(shared.outbox.size() < 70_000);
    assert!(output(&shared, epoch).starts_with(b"PONG\r\nPONG\r\n"));
    assert!(receive(&shared, "PING\r\n"));
    assert_eq!(output(&shared, epoch), b"PONG\r\n");
}

#[test]
fn flow_control_is_answered_as_far_as_the_server_reads() {
    let shared = shared();
    let epoch = shared.attach();
    shared.outbox.release(b"");
    let subscription = subscribe(&shared, 1, false, 0);
    subscription.push.set(Push::new(false, 1)).unwrap();
    let request = "HMSG a 1 flow 36 36\r\nNATS/1.0 100 FlowControl Request\r\n\r\n\r\n";
    for _ in 0..100 {
        receive(&shared, &request.repeat(1000));
    }
    assert!(shared.outbox.size() < 70_000 * 4);
    assert!(output(&shared, epoch).starts_with(b"PUB flow 0\r\n\r\n"));
    assert!(receive(&shared, request));
    assert_eq!(output(&shared, epoch), b"PUB flow 0\r\n\r\n");
}

#[test]
fn events_keep_their_order() {
    let shared = shared();
    receive(&shared, "INFO {}\r\n-ERR 'x'\r\n");
    receive(&shared, "PONG\r\n+OK\r\n");
    let mut mail = collect(&shared);
    assert!(matches!(
        mail.events.make_contiguous(),
        [Event::Info(_), Event::Err(_), Event::Pong, Event::Ok]
    ));
}

#[test]
fn a_new_connection_hears_nothing_of_the_old_one() {
    const ALL: &str = "INFO {}\r\nPONG\r\n+OK\r\n-ERR 'Stale Connection'\r\n";
    let shared = shared();
    let subscription = subscribe(&shared, 1, false, 1);
    let old = shared.attach();
    receive_on(&shared, old, ALL);
    receive_on(&shared, old, "MSG a 1 1\r\nx\r\nMSG a 1 1\r\ny\r\n");
    shared.post(Event::Ended(old, LinkEnd::Eof));
    let new = shared.attach();
    receive_on(&shared, old, ALL);
    receive_on(&shared, old, "MSG a 1 1\r\nz\r\n");
    let events = Vec::from(collect(&shared).events);
    assert!(
        matches!(events[..], [Event::Dropped(_), Event::Ended(..), Event::Dropped(_)]),
        "what is known of messages, and the end, stay: {events:?}"
    );
    assert_eq!(subscription.pending_msgs(), 1);
    receive_on(&shared, new, ALL);
    assert_eq!(collect(&shared).events.len(), 4);
}

#[test]
fn events_of_an_old_connection_leave_the_backlog() {
    let shared = shared();
    for _ in 0..100 {
        let old = shared.attach();
        receive_on(&shared, old, &"PONG\r\n".repeat(1000));
        shared.attach();
        receive_on(&shared, old, &"PONG\r\n".repeat(1000));
    }
    assert!(!shared.backlog.is_over());
}
