//! One fetch: which requests it takes until there are messages, a refusal or no time left.

use std::time::{Duration, Instant};

use super::request::{PullRequest, Terms};
use super::status::Status;
use crate::jetstream::delivery::Position;
use crate::protocol::Frame;

/// A request ends that much before its fetch does, so that it swallows nothing afterwards.
const EXPIRY_MARGIN: Duration = Duration::from_micros(100);
/// With less time left than that there is no point in asking again.
const LEAST_EXPIRY: Duration = Duration::from_millis(5);
/// How long a request of a fetch without a timeout waits before it is renewed (ADR-37).
const RENEWAL: Duration = Duration::from_secs(30);
/// Requests that wait so long have heartbeats, asked for or not: a server that dies takes them
/// along without a word…
const LONG_EXPIRY: Duration = Duration::from_secs(10);
/// …at this interval.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long the answer to whether a consumer exists is waited for, before it is asked again.
const PATIENCE: Duration = Duration::from_secs(1);
/// After the last message that was there the server ends a request for several. Where another
/// request has brought the message, it doesn't: the fetch waits no longer than that for more.
const QUIET: Duration = Duration::from_millis(100);
/// Between two requests that have come to nothing, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What is to be done for a fetch.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a request with this token.
    Ask(u64, Terms),
    /// Wait for a change, no longer than until then.
    Wait(Option<Instant>),
    /// Nobody serves the consumer: look whether there may be somebody again, for no longer than
    /// that, and [`Fetch::expect`] it or not.
    LookUp(Duration),
    /// Return its messages.
    Finish,
    /// Raise what this status says.
    Refuse(Frame),
    /// Raise that there was no message in time; true if the server was heard of.
    TimeOut(bool),
}

#[derive(Debug)]
enum State {
    Asking {
        not_before: Instant,
    },
    Open(PullRequest),
    /// Nobody was there to take the request, says this frame: for now, or because there is no
    /// such consumer.
    Unserved(Frame),
    /// No further messages will come; with the reason, if that is one.
    Over(Option<Frame>),
    /// The subscription has ended.
    Stopped,
}

/// The state of one fetch.
#[derive(Debug)]
pub struct Fetch {
    batch: usize,
    messages: Vec<Frame>,
    deadline: Option<Instant>,
    /// As the caller has asked for it.
    heartbeat: Option<Duration>,
    /// It doesn't fit into the caller's timeout, which the server is to say.
    is_misfit: bool,
    state: State,
    /// The next request ends when there is nothing more, and only waits where that is possible.
    probing: bool,
    has_asked: bool,
    /// Messages have come since the last look.
    is_settling: bool,
    /// The last message that was there has come: when to go without the server's word.
    settled_at: Option<Instant>,
    /// The caller's heartbeats have come.
    heard: bool,
    /// Requests in a row that have come to nothing.
    failures: u32,
    /// How long requests wait where there is no timeout.
    renewal: Duration,
}

impl Fetch {
    /// `timeout` of `None` is for ever.
    pub fn new(
        batch: usize,
        timeout: Option<Duration>,
        heartbeat: Option<Duration>,
        now: Instant,
    ) -> Self {
        let is_misfit = heartbeat.zip(timeout).is_some_and(|(heartbeat, timeout)| {
            2 * heartbeat > timeout.saturating_sub(EXPIRY_MARGIN)
        });
        Self {
            batch,
            messages: Vec::new(),
            deadline: timeout.and_then(|timeout| now.checked_add(timeout)),
            heartbeat,
            is_misfit,
            state: State::Asking { not_before: now },
            probing: batch > 1,
            has_asked: false,
            is_settling: false,
            settled_at: None,
            heard: false,
            failures: 0,
            renewal: heartbeat.map_or(RENEWAL, |heartbeat| RENEWAL.max(2 * heartbeat)),
        }
    }

    /// Whether it takes another message.
    pub fn wants_messages(&self) -> bool {
        self.messages.len() < self.batch && !matches!(self.state, State::Over(_))
    }

    /// Whether there is something to do other than to wait for the server.
    pub fn is_due(&self) -> bool {
        !self.wants_messages()
            || !matches!(self.state, State::Open(_))
            || (self.is_settling && self.has_last_message())
    }

    pub fn take_messages(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.messages)
    }

    /// Whether a status that answers the request with this token is meant for this fetch.
    pub fn has_asked_with(&self, token: u64) -> bool {
        matches!(&self.state, State::Open(request) if request.token() == token)
    }

    pub fn on_message(&mut self, frame: Frame, now: Instant) {
        self.failures = 0;
        if let State::Open(request) = &mut self.state {
            request.hear(now);
        }
        if self.waits_for_one() && matches!(self.state, State::Open(_)) {
            // Here it is; there may be more.
            self.probing = true;
            self.ask(now);
        }
        self.is_settling = true;
        self.messages.push(frame);
    }

    /// Whether its request is for the first of several messages: one for all of them would be
    /// held back by the last, beyond what is there.
    fn waits_for_one(&self) -> bool {
        self.batch > 1 && !self.probing && self.deadline.is_some()
    }

    /// The server has said something about the open request, in this frame.
    pub fn on_status(&mut self, status: Status, frame: Frame, now: Instant) {
        let State::Open(request) = &mut self.state else { return };
        match status {
            Status::Heartbeat => {
                request.hear(now);
                self.failures = 0;
                self.heard |= self.heartbeat.is_some();
            }
            Status::NoMessages if self.probing && self.messages.is_empty() => {
                self.probing = false;
                self.ask(now);
            }
            Status::NoMessages | Status::Over => {
                if request.age(now) >= LONGEST_PAUSE.min(self.renewal / 2) {
                    self.failures = 0;
                }
                self.end_request(now);
                self.probing = false;
            }
            Status::Lost => self.end_request(now),
            Status::Busy => self.try_again(now),
            // What has come is enough, as for a request that has ended otherwise.
            Status::Unavailable if self.suffices() => self.state = State::Over(None),
            Status::Unavailable => self.state = State::Unserved(frame),
            // Our own choice: the consumer allows less.
            Status::ExpiryRefused if self.deadline.is_none() && self.renewal > LEAST_EXPIRY => {
                self.renewal /= 2;
                self.ask(now);
            }
            Status::ExpiryRefused | Status::Refused => {
                self.state = State::Over(Some(frame));
            }
        }
    }

    /// A new connection is in service; what was asked on another one is lost.
    pub fn on_new_connection(&mut self, now: Instant) {
        self.failures = 0;
        match self.state {
            State::Open(_) => self.end_request(now),
            State::Asking { .. } | State::Unserved(_) => self.ask(now),
            State::Over(_) | State::Stopped => {}
        }
    }

    /// What a look at a consumer that nobody serves has shown: whether somebody may serve it
    /// again.
    pub fn expect(&mut self, may_be_served: bool, now: Instant) {
        let State::Unserved(frame) = &self.state else { return };
        if may_be_served {
            self.try_again(now);
        } else {
            self.state = State::Over(Some(frame.clone()));
        }
    }

    /// The subscription has ended: what has arrived is still taken.
    pub fn stop(&mut self) {
        if !matches!(self.state, State::Over(_)) {
            self.state = State::Stopped;
        }
    }

    /// What to do now. `can_ask` says whether a server is there; `last_token` is that of the
    /// request before.
    pub fn poll(&mut self, now: Instant, can_ask: bool, last_token: &mut u64) -> Action {
        if std::mem::take(&mut self.is_settling) {
            self.settled_at = self.has_last_message().then(|| now + QUIET);
        }
        let is_stopped = matches!(self.state, State::Stopped);
        let is_late = self.deadline.map_or(is_stopped, |deadline| deadline <= now);
        let is_settled = self.settled_at.is_some_and(|settled| settled <= now);
        let suffices = !self.wants_messages() || is_stopped || is_late || is_settled;
        if suffices && !self.messages.is_empty() {
            return Action::Finish;
        }
        if let State::Over(reason) = &mut self.state {
            return reason.take().map_or(Action::TimeOut(self.heard), Action::Refuse);
        }
        if is_late {
            return Action::TimeOut(self.heard);
        }
        if matches!(&self.state, State::Open(request) if request.is_silent(now)) {
            self.end_request(now);
            return self.poll(now, can_ask, last_token);
        }
        let until = match &self.state {
            State::Open(request) => request.silent_at(),
            State::Asking { not_before } if can_ask && *not_before <= now => {
                if !self.has_asked || self.time_left(now).is_none_or(|left| left >= LEAST_EXPIRY) {
                    *last_token += 1;
                    let terms = self.terms(now);
                    self.has_asked = true;
                    self.settled_at = None;
                    self.state = State::Open(PullRequest::new(*last_token, terms, now));
                    return Action::Ask(*last_token, terms);
                }
                None
            }
            State::Asking { not_before } if can_ask => Some(*not_before),
            State::Unserved(_) if can_ask => {
                let left = self.time_left(now).unwrap_or(PATIENCE);
                return Action::LookUp(left.min(PATIENCE));
            }
            _ => None,
        };
        Action::Wait([until, self.settled_at, self.deadline].into_iter().flatten().min())
    }

    /// Whether nothing stands behind its messages, and that is where its request was to end.
    fn has_last_message(&self) -> bool {
        let last = self.messages.last().and_then(|frame| Position::parse(frame.reply()));
        self.probing && self.deadline.is_some() && last.is_some_and(|at| at.pending == 0)
    }

    fn time_left(&self, now: Instant) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    fn terms(&self, now: Instant) -> Terms {
        let batch = if self.waits_for_one() { 1 } else { self.batch - self.messages.len() };
        if self.probing && (!self.messages.is_empty() || self.deadline.is_none()) {
            // With an expiry the server would linger instead of answering at once; messages
            // that have been waiting here must not be held back by that.
            return Terms { batch, no_wait: true, ..Terms::default() };
        }
        let expires = match self.time_left(now) {
            Some(left) => left.saturating_sub(EXPIRY_MARGIN).max(Duration::from_nanos(1)),
            None => self.renewal,
        };
        let heartbeat = match self.heartbeat {
            // The server refuses one that doesn't fit in. With less time left it isn't the
            // caller's fault.
            Some(heartbeat) => (self.is_misfit || 2 * heartbeat <= expires).then_some(heartbeat),
            None => (expires >= LONG_EXPIRY).then_some(HEARTBEAT),
        };
        Terms { batch, expires: Some(expires), heartbeat, no_wait: self.probing }
    }

    fn ask(&mut self, now: Instant) {
        self.state = State::Asking { not_before: now };
    }

    /// Whether what has come is enough where the request ends without the rest. A fetch with a
    /// timeout returns what it has; one without waits for all of its batch, unless the request
    /// was only there to look for more.
    fn suffices(&self) -> bool {
        !self.messages.is_empty() && (self.probing || self.deadline.is_some())
    }

    /// The request has ended without all that was asked for.
    fn end_request(&mut self, now: Instant) {
        if self.suffices() {
            self.state = State::Over(None);
            return;
        }
        let pause = match self.failures {
            0 => Duration::ZERO,
            failures => pause_after(failures),
        };
        self.failures = self.failures.saturating_add(1);
        self.state = State::Asking { not_before: now + pause };
    }

    /// As `end_request`, where asking at once would come to nothing again.
    fn try_again(&mut self, now: Instant) {
        self.failures = self.failures.max(1);
        self.end_request(now);
    }
}

fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << (failures - 1).min(8)).min(LONGEST_PAUSE)
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
