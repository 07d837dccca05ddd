use super::*;
use crate::jetstream::pull::Terms;
use crate::protocol::{Parser, ServerOp};

fn parsed(wire: &str) -> Frame {
    let mut parser = Parser::new();
    parser.feed(wire.as_bytes());
    match parser.next_op() {
        Ok(Some(ServerOp::Msg(frame))) => frame,
        other => panic!("no message: {other:?}"),
    }
}

/// A message of the stream, as a consumer delivers it, with more behind it.
pub fn message(payload: &str) -> Frame {
    delivered(payload, 5)
}

/// The last message that there is.
pub fn last_message(payload: &str) -> Frame {
    delivered(payload, 0)
}

fn delivered(payload: &str, pending: usize) -> Frame {
    let reply = format!("$JS.ACK.S.C.1.7.3.1700000000000000001.{pending}");
    parsed(&format!("MSG s.a 1 {reply} {}\r\n{payload}\r\n", payload.len()))
}

/// What the server says about the request with this token.
pub fn status(token: u64, text: &str) -> Frame {
    status_at(&format!("_INBOX.x.{token}"), text)
}

fn status_at(subject: &str, text: &str) -> Frame {
    let block = format!("NATS/1.0 {text}\r\n\r\n");
    let size = block.len();
    parsed(&format!("HMSG {subject} 1 {size} {size}\r\n{block}\r\n"))
}

const TIMEOUT: Duration = Duration::from_secs(5);

struct Table {
    desk: Desk<u64>,
    now: Instant,
}

impl Table {
    fn new() -> Self {
        Self { desk: Desk::default(), now: Instant::now() }
    }

    /// A fetch whose request is on its way, and the token of that.
    fn sit_down(&mut self, batch: usize) -> (u64, u64) {
        let id = self.desk.open(Fetch::new(batch, Some(TIMEOUT), None, self.now));
        let Action::Ask(token, _) = self.desk.poll(id, self.now, true) else {
            panic!("no request")
        };
        self.desk.wait(id, id);
        (id, token)
    }

    /// Deals these frames; who is woken, and how many frames are left.
    fn deal(&mut self, frames: Vec<Frame>) -> (Vec<u64>, usize) {
        let mut frames = frames.into_iter();
        self.desk.deal(self.now, || frames.next());
        (self.desk.take_due(), frames.len())
    }
}

#[test]
fn messages_go_to_the_oldest_and_no_further_than_needed() {
    let mut table = Table::new();
    let (first, _) = table.sit_down(2);
    let (second, _) = table.sit_down(1);
    assert_eq!(table.deal(vec![message("a")]), (vec![], 0), "there may be more");
    let more = vec![message("b"), message("c"), message("d")];
    assert_eq!(table.deal(more), (vec![first, second], 1));
    assert_eq!(table.desk.take_messages(first), [message("a"), message("b")]);
    assert_eq!(table.desk.close(second), (vec![message("c")], None));
}

#[test]
fn a_status_is_for_the_request_it_answers() {
    let mut table = Table::new();
    let (_, first_token) = table.sit_down(1);
    let (second, second_token) = table.sit_down(1);
    assert_ne!(first_token, second_token);
    assert_eq!(table.deal(vec![status(second_token, "409 Consumer Deleted")]), (vec![second], 0));
    let Action::Refuse(reason) = table.desk.poll(second, table.now, true) else {
        panic!("not refused")
    };
    assert_eq!(reason, status(second_token, "409 Consumer Deleted"));
}

#[test]
fn late_statuses_concern_nobody() {
    let mut table = Table::new();
    let (first, old) = table.sit_down(5);
    table.desk.close(first);
    let (_, token) = table.sit_down(5);
    let late = ["404 No Messages", "408 Request Timeout", "409 Consumer Deleted", "503"];
    let late = late.iter().map(|text| status(old, text)).collect();
    assert_eq!(table.deal(late), (vec![], 0));
    assert_eq!(table.deal(vec![message("a"), status(token, "404 No Messages")]).0.len(), 1);
}

#[test]
fn without_fetches_messages_stay_where_they_are() {
    let mut table = Table::new();
    assert_eq!(table.deal(vec![message("a"), status(0, "404 No Messages")]), (vec![], 2));
    let (id, _) = table.sit_down(1);
    table.desk.close(id);
    assert!(table.desk.is_empty() && !table.desk.wants_messages());
    assert_eq!(table.deal(vec![message("a")]), (vec![], 1));
}

#[test]
fn what_a_fetch_gives_up_comes_back() {
    let mut table = Table::new();
    let (id, _) = table.sit_down(5);
    table.deal(vec![message("a"), message("b")]);
    assert_eq!(table.desk.close(id), (vec![message("a"), message("b")], Some(id)));
    assert_eq!(table.desk.close(id), (vec![], None));
}

#[test]
fn statuses_without_a_token_are_for_the_oldest() {
    let mut table = Table::new();
    let (first, _) = table.sit_down(1);
    table.sit_down(1);
    let shared = status_at("_INBOX.abcdefghijklmnopqrstuv", "423 Nats-Wrong-Pin-Id");
    assert_eq!(table.deal(vec![shared]), (vec![first], 0));
}

#[test]
fn everybody_asks_again_on_a_new_connection() {
    let mut table = Table::new();
    let (first, old) = table.sit_down(1);
    let (second, _) = table.sit_down(1);
    table.desk.on_new_connection(table.now);
    assert_eq!(table.desk.take_due(), [first, second]);
    let Action::Ask(token, terms) = table.desk.poll(first, table.now, true) else {
        panic!("no request")
    };
    assert!(token > old);
    assert_eq!(terms, Terms { batch: 1, ..terms });
}

#[test]
fn everybody_hears_of_the_end() {
    let mut table = Table::new();
    let (first, _) = table.sit_down(1);
    table.desk.stop();
    assert_eq!(table.desk.take_due(), [first]);
    let deadline = table.now + TIMEOUT;
    assert_eq!(table.desk.poll(first, table.now, true), Action::Wait(Some(deadline)));
    assert_eq!(table.desk.poll(first, deadline, true), Action::TimeOut(false));
}

#[test]
fn consumers_may_be_made_anew_after_a_new_connection() {
    let mut table = Table::new();
    // Whoever asks later has no less patience than who has asked before.
    table.desk.on_new_connection(table.now);
    let (id, token) = table.sit_down(1);
    table.deal(vec![status(token, "503")]);
    assert!(matches!(table.desk.poll(id, table.now, true), Action::LookUp(_)));
    table.desk.expect(id, false, table.now);
    assert!(matches!(table.desk.poll(id, table.now, true), Action::Wait(_)));
    table.desk.close(id);
    table.now += RECOVERY;
    let (id, token) = table.sit_down(1);
    table.deal(vec![status(token, "503")]);
    table.desk.expect(id, false, table.now);
    assert!(matches!(table.desk.poll(id, table.now, true), Action::Refuse(_)));
}
