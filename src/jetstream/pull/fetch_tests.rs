use proptest::prelude::*;

use super::*;
use crate::jetstream::pull::desk::tests::{last_message, message, status};

const TIMEOUT: Duration = Duration::from_secs(4);
const MILLISECOND: Duration = Duration::from_millis(1);

/// A fetch and the time it believes in.
struct Run {
    fetch: Fetch,
    now: Instant,
    last_token: u64,
}

impl Run {
    fn new(batch: usize, timeout: Option<Duration>, heartbeat: Option<Duration>) -> Self {
        let now = Instant::now();
        Self { fetch: Fetch::new(batch, timeout, heartbeat, now), now, last_token: 0 }
    }

    fn poll(&mut self) -> Action {
        self.fetch.poll(self.now, true, &mut self.last_token)
    }

    /// What it asks for, which it has to now.
    fn asks(&mut self) -> Terms {
        match self.poll() {
            Action::Ask(token, terms) => {
                assert_eq!(token, self.last_token);
                terms
            }
            other => panic!("asks for nothing: {other:?}"),
        }
    }

    fn says(&mut self, text: &str) {
        let frame = status(self.last_token, text);
        let kind = Status::of(&frame).unwrap();
        self.fetch.on_status(kind, frame, self.now);
    }

    fn gets(&mut self, payloads: &[&str]) {
        for payload in payloads {
            self.fetch.on_message(message(payload), self.now);
        }
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn is_refused(&mut self) -> bool {
        matches!(self.poll(), Action::Refuse(_))
    }
}

fn lasting(batch: usize, expires: Duration) -> Terms {
    Terms { batch, expires: Some(expires), ..Terms::default() }
}

#[test]
fn one_message() {
    let mut run = Run::new(1, Some(TIMEOUT), None);
    assert_eq!(run.asks(), lasting(1, TIMEOUT - EXPIRY_MARGIN));
    assert_eq!(run.poll(), Action::Wait(Some(run.now + TIMEOUT)));
    assert!(!run.fetch.is_due());
    run.gets(&["a"]);
    assert!(run.fetch.is_due());
    assert_eq!(run.poll(), Action::Finish);
    assert_eq!(run.fetch.take_messages(), [message("a")]);
}

#[test]
fn several_return_with_what_there_is() {
    let mut run = Run::new(5, Some(TIMEOUT), None);
    assert_eq!(run.asks(), Terms { no_wait: true, ..lasting(5, TIMEOUT - EXPIRY_MARGIN) });
    run.gets(&["a", "b"]);
    assert!(!run.fetch.is_due());
    run.says("404 No Messages");
    assert_eq!(run.poll(), Action::Finish);
}

#[test]
fn the_server_says_nothing_after_the_last_message() {
    let mut run = Run::new(5, Some(TIMEOUT), None);
    run.asks();
    run.gets(&["a"]);
    assert!(!run.fetch.is_due(), "there are more");
    run.fetch.on_message(last_message("b"), run.now);
    assert!(run.fetch.is_due());
    assert_eq!(run.poll(), Action::Wait(Some(run.now + QUIET)));
    assert!(!run.fetch.is_due());
    assert_eq!(run.after(QUIET).poll(), Action::Finish);
}

#[test]
fn what_was_left_over_is_not_held_back() {
    let mut run = Run::new(5, Some(TIMEOUT), Some(MILLISECOND));
    run.gets(&["a"]);
    run.fetch.on_message(last_message("b"), run.now);
    assert_eq!(run.asks(), Terms { batch: 3, no_wait: true, ..Terms::default() });
    assert_eq!(run.poll(), Action::Wait(Some(run.now + TIMEOUT)), "an answer comes at once");
    run.says("404 No Messages");
    assert_eq!(run.poll(), Action::Finish);
}

#[test]
fn what_is_answered_at_once_may_be_lost() {
    for messages in [&[][..], &["a"]] {
        let mut run = Run::new(5, None, None);
        run.gets(messages);
        let terms = run.asks();
        let Action::Wait(Some(until)) = run.poll() else { panic!("waits for ever") };
        run.now = until;
        if messages.is_empty() {
            assert_eq!(run.asks(), terms);
        } else {
            assert_eq!(run.poll(), Action::Finish);
        }
    }
}

#[test]
fn enough_was_left_over() {
    let mut run = Run::new(2, None, None);
    run.gets(&["a", "b"]);
    assert_eq!(run.poll(), Action::Finish);
    assert_eq!(run.last_token, 0, "nothing is asked for");
}

#[test]
fn time_runs_out() {
    for batch in [1, 5] {
        let mut run = Run::new(batch, Some(TIMEOUT), None);
        run.asks();
        assert_eq!(run.after(TIMEOUT).poll(), Action::TimeOut(false));
        run.gets(&["a"]);
        assert_eq!(run.poll(), Action::Finish, "it came just then");
    }
}

#[test]
fn an_expiry_close_to_the_end_is_the_end() {
    let mut run = Run::new(1, Some(TIMEOUT), None);
    run.asks();
    run.after(TIMEOUT - MILLISECOND).says("408 Request Timeout");
    assert_eq!(run.poll(), Action::Wait(Some(run.now + MILLISECOND)));
    assert_eq!(run.after(MILLISECOND).poll(), Action::TimeOut(false));
}

#[test]
fn others_wait_before_it() {
    let mut run = Run::new(5, Some(TIMEOUT), None);
    run.asks();
    run.after(MILLISECOND).says("408 Requests Pending");
    assert_eq!(run.asks(), lasting(1, TIMEOUT - MILLISECOND - EXPIRY_MARGIN));
    run.gets(&["a"]);
    assert!(run.fetch.is_due());
    assert_eq!(run.asks(), Terms { batch: 4, no_wait: true, ..Terms::default() });
    run.gets(&["b"]);
    run.says("404 No Messages");
    assert_eq!(run.poll(), Action::Finish);
}

#[test]
fn without_a_timeout_it_waits_for_all() {
    let mut run = Run::new(3, None, None);
    assert_eq!(run.asks(), Terms { batch: 3, no_wait: true, ..Terms::default() });
    run.says("404 No Messages");
    let terms = Terms { heartbeat: Some(HEARTBEAT), ..lasting(3, RENEWAL) };
    assert_eq!(run.asks(), terms);
    run.gets(&["a"]);
    run.after(RENEWAL).says("408 Request Timeout");
    assert_eq!(run.asks(), Terms { batch: 2, ..terms });
    run.fetch.on_new_connection(run.now);
    assert_eq!(run.asks(), Terms { batch: 2, ..terms });
    run.gets(&["b", "c"]);
    assert_eq!(run.poll(), Action::Finish);
}

#[test]
fn a_consumer_may_not_allow_our_expiry() {
    let mut run = Run::new(1, None, None);
    run.asks();
    for divisor in [2, 4] {
        run.says("409 Exceeded MaxRequestExpires of 8s");
        let terms = run.asks();
        assert_eq!(terms.expires, Some(RENEWAL / divisor));
        assert_eq!(terms.heartbeat.is_some(), divisor == 2);
    }
    // Renewed without a pause, time after time.
    for _ in 0..3 {
        run.after(RENEWAL / 4).says("408 Request Timeout");
        assert_eq!(run.asks().expires, Some(RENEWAL / 4));
    }
    // The caller's own is another matter.
    let mut run = Run::new(1, Some(TIMEOUT), None);
    run.asks();
    run.says("409 Exceeded MaxRequestExpires of 1s");
    assert!(run.is_refused());
}

#[test]
fn refusals() {
    for text in ["409 Consumer Deleted", "400 Bad Request", "423 Nats-Wrong-Pin-Id"] {
        for batch in [1, 5] {
            let mut run = Run::new(batch, Some(TIMEOUT), None);
            run.asks();
            run.says(text);
            assert!(run.fetch.is_due() && !run.fetch.wants_messages());
            assert_eq!(run.poll(), Action::Refuse(status(1, text)));
        }
        let mut run = Run::new(5, Some(TIMEOUT), None);
        run.asks();
        run.gets(&["a"]);
        run.says(text);
        assert_eq!(run.poll(), Action::Finish, "messages come first");
    }
}

#[test]
fn a_lost_request_is_asked_again() {
    for batch in [1, 5] {
        for text in ["409 Leadership Change", "409 Server Shutdown"] {
            let mut run = Run::new(batch, Some(TIMEOUT), None);
            let terms = run.asks();
            run.after(MILLISECOND).says(text);
            let expires = Some(TIMEOUT - MILLISECOND - EXPIRY_MARGIN);
            assert_eq!(run.asks(), Terms { expires, ..terms });
        }
    }
}

#[test]
fn missing_heartbeats() {
    let mut run = Run::new(1, Some(TIMEOUT), Some(1000 * MILLISECOND));
    assert_eq!(run.asks().heartbeat, Some(1000 * MILLISECOND));
    run.after(1000 * MILLISECOND).says("100 Idle Heartbeat");
    assert_eq!(run.poll(), Action::Wait(Some(run.now + 2000 * MILLISECOND)));
    assert_eq!(run.after(2000 * MILLISECOND).asks().heartbeat, None, "it doesn't fit in any more");
    assert_eq!(run.after(1000 * MILLISECOND).poll(), Action::TimeOut(true));
}

#[test]
fn heartbeats_that_do_not_fit_in() {
    let heartbeat = Some(TIMEOUT / 2);
    assert_eq!(Run::new(1, Some(TIMEOUT), heartbeat).asks().heartbeat, heartbeat, "nor could they");
    let heartbeat = Some(TIMEOUT / 4);
    let mut run = Run::new(1, Some(TIMEOUT), heartbeat);
    run.after(3 * TIMEOUT / 4).fetch.on_new_connection(Instant::now());
    assert_eq!(run.asks().heartbeat, None, "there was time enough for them at first");
}

#[test]
fn long_requests_have_heartbeats_of_their_own() {
    let mut run = Run::new(1, Some(LONG_EXPIRY + EXPIRY_MARGIN), None);
    assert_eq!(run.asks().heartbeat, Some(HEARTBEAT));
    run.after(HEARTBEAT).says("100 Idle Heartbeat");
    assert_eq!(run.after(HEARTBEAT + EXPIRY_MARGIN).poll(), Action::TimeOut(false));
    assert_eq!(Run::new(1, Some(LONG_EXPIRY), None).asks().heartbeat, None);
}

#[test]
fn nobody_serves_the_consumer_for_a_while() {
    for batch in [1, 5] {
        let mut run = Run::new(batch, None, None);
        let terms = run.asks();
        let mut pauses = Vec::new();
        for _ in 0..7 {
            run.says("503");
            assert!(run.fetch.is_due());
            assert_eq!(run.poll(), Action::LookUp(PATIENCE));
            assert_eq!(run.poll(), Action::LookUp(PATIENCE), "it hasn't been told");
            run.fetch.expect(true, run.now);
            let Action::Wait(Some(until)) = run.poll() else { panic!("no pause") };
            pauses.push(until - run.now);
            run.now = until;
            assert_eq!(run.asks(), terms);
        }
        assert_eq!(pauses[0], FIRST_PAUSE);
        assert_eq!(pauses[1], 2 * FIRST_PAUSE);
        assert_eq!(pauses[6], LONGEST_PAUSE);
        run.says("503");
        run.fetch.expect(false, run.now);
        assert!(run.is_refused(), "it is gone for good");
    }
}

#[test]
fn nobody_serves_the_consumer_until_the_end() {
    let mut run = Run::new(1, Some(TIMEOUT), None);
    run.asks();
    run.after(TIMEOUT - MILLISECOND).says("503");
    assert_eq!(run.poll(), Action::LookUp(MILLISECOND));
    run.fetch.expect(true, run.now);
    assert_eq!(run.after(MILLISECOND).poll(), Action::TimeOut(false));
}

#[test]
fn what_changes_while_the_consumer_is_looked_up() {
    let unserved = || {
        let mut run = Run::new(1, Some(TIMEOUT), None);
        run.asks();
        run.says("503");
        run
    };
    let mut run = unserved();
    assert!(matches!(run.fetch.poll(run.now, false, &mut 1), Action::Wait(_)), "nobody to ask");
    run.fetch.on_new_connection(run.now);
    run.fetch.expect(false, run.now);
    run.asks();
    let mut run = unserved();
    run.gets(&["late"]);
    run.fetch.expect(false, run.now);
    assert_eq!(run.poll(), Action::Finish);
    let mut run = unserved();
    run.fetch.stop();
    run.fetch.expect(true, run.now);
    assert_eq!(run.poll(), Action::Wait(Some(run.now + TIMEOUT)));
}

#[test]
fn messages_suffice_where_nobody_serves_the_rest() {
    let mut run = Run::new(5, Some(TIMEOUT), None);
    run.asks();
    run.gets(&["a"]);
    run.says("503");
    assert_eq!(run.poll(), Action::Finish);
}

#[test]
fn too_many_wait() {
    let mut run = Run::new(1, Some(TIMEOUT), None);
    run.asks();
    run.says("409 Exceeded MaxWaiting");
    assert_eq!(run.poll(), Action::Wait(Some(run.now + FIRST_PAUSE)));
    run.after(FIRST_PAUSE).asks();
}

#[test]
fn nothing_is_asked_while_there_is_no_server() {
    let mut run = Run::new(1, Some(TIMEOUT), None);
    let poll = |run: &mut Run| run.fetch.poll(run.now, false, &mut run.last_token);
    assert_eq!(poll(&mut run), Action::Wait(Some(run.now + TIMEOUT)));
    run.after(MILLISECOND);
    run.fetch.on_new_connection(run.now);
    assert!(run.fetch.is_due());
    assert_eq!(run.asks(), lasting(1, TIMEOUT - MILLISECOND - EXPIRY_MARGIN));
}

#[test]
fn the_subscription_ends() {
    let mut run = Run::new(5, Some(TIMEOUT), None);
    run.asks();
    run.fetch.stop();
    assert_eq!(run.poll(), Action::Wait(Some(run.now + TIMEOUT)));
    run.gets(&["a"]);
    assert_eq!(run.poll(), Action::Finish);
    let mut run = Run::new(1, None, None);
    run.asks();
    run.fetch.stop();
    assert_eq!(run.poll(), Action::TimeOut(false));
}

#[derive(Clone, Debug)]
enum Step {
    Message,
    Status(&'static str),
    NewConnection,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let texts = prop::sample::select(vec![
        "100 Idle Heartbeat",
        "404 No Messages",
        "408 Request Timeout",
        "409 Batch Completed",
        "409 Leadership Change",
        "409 Exceeded MaxWaiting",
        "409 Exceeded MaxRequestExpires of 1s",
        "409 Consumer Deleted",
        "503",
    ]);
    let step = prop_oneof![
        Just(Step::Message),
        texts.prop_map(Step::Status),
        Just(Step::NewConnection),
        (0..3000u64).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..40)
}

proptest! {
    /// Whatever comes, a fetch loses no message, takes no more than it wants, never waits
    /// beyond its deadline, and asks for no more than it lacks.
    #[test]
    fn whatever_comes(
        batch in 1..4usize,
        timeout in prop::option::of(1..5000u64),
        heartbeat in prop::option::of(1..2000u64),
        steps in steps(),
    ) {
        let duration = |millis: Option<u64>| millis.map(Duration::from_millis);
        let mut run = Run::new(batch, duration(timeout), duration(heartbeat));
        let end = duration(timeout).map(|timeout| run.now + timeout);
        let mut given = 0;
        let mut steps = steps.into_iter();
        loop {
            match run.poll() {
                Action::Ask(_, terms) => {
                    prop_assert!((1..=batch - given).contains(&terms.batch));
                    prop_assert!(end.is_none_or(|end| run.now < end));
                    if let (Some(end), Some(expires)) = (end, terms.expires) {
                        prop_assert!(run.now + expires < end);
                    }
                }
                Action::Wait(until) => {
                    prop_assert!(end.is_none_or(|end| until.is_some_and(|until| until <= end)));
                    prop_assert!(until.is_none_or(|until| until > run.now));
                }
                Action::Finish => {
                    prop_assert!(given > 0);
                    prop_assert_eq!(run.fetch.take_messages().len(), given);
                    break;
                }
                Action::LookUp(patience) => {
                    prop_assert!(end.is_none_or(|end| run.now + patience <= end));
                    run.fetch.expect(run.last_token.is_multiple_of(2), run.now);
                    continue;
                }
                Action::Refuse(_) | Action::TimeOut(_) => {
                    prop_assert_eq!(given, 0);
                    break;
                }
            }
            match steps.next() {
                Some(Step::Message) if run.fetch.wants_messages() => {
                    run.gets(&["x"]);
                    given += 1;
                }
                Some(Step::Message) => {}
                Some(Step::Status(text)) => run.says(text),
                Some(Step::NewConnection) => run.fetch.on_new_connection(run.now),
                Some(Step::Pass(millis)) => run.now += Duration::from_millis(millis),
                None => break,
            }
        }
    }
}
