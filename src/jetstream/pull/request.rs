//! One pull request: what is asked for, and whether it still lives at the server.

use std::time::{Duration, Instant};

/// Heartbeats that may be missing before a request counts as lost.
const MISSED_HEARTBEATS: u32 = 2;
/// But not before it has been silent for so long: here or at the server, something may be busy.
const LEAST_SILENCE: Duration = Duration::from_secs(1);

/// One that doesn't wait at the server is answered at once; this is in the place of heartbeats.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// What is asked of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub batch: usize,
    /// How long the request waits at the server; for ever, or not at all, without.
    pub expires: Option<Duration>,
    /// Interval of signs of life while there is nothing to send.
    pub heartbeat: Option<Duration>,
    /// End when there are no more messages instead of waiting for the whole batch.
    pub no_wait: bool,
}

impl Terms {
    pub fn to_json(self) -> String {
        let mut json = format!("{{\"batch\": {}", self.batch);
        for (name, duration) in [("expires", self.expires), ("idle_heartbeat", self.heartbeat)] {
            if let Some(duration) = duration {
                json.push_str(&format!(", \"{name}\": {}", duration.as_nanos()));
            }
        }
        json.push_str(if self.no_wait { ", \"no_wait\": true}" } else { "}" });
        json
    }
}

/// A request that has been sent and hasn't ended, as far as is known.
#[derive(Debug)]
pub struct PullRequest {
    /// The last token of its reply subject.
    token: u64,
    /// Something is heard of it that often.
    interval: Option<Duration>,
    asked: Instant,
    /// When it was sent, or heard of last.
    heard: Instant,
}

impl PullRequest {
    pub fn new(token: u64, terms: Terms, now: Instant) -> Self {
        let answer = (terms.no_wait && terms.expires.is_none()).then_some(ANSWER_TIME);
        Self { token, interval: terms.heartbeat.or(answer), asked: now, heard: now }
    }

    pub fn token(&self) -> u64 {
        self.token
    }

    /// The server has shown that it serves the request.
    pub fn hear(&mut self, now: Instant) {
        self.heard = now;
    }

    pub fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.asked)
    }

    /// When it counts as lost unless something is heard before.
    pub fn silent_at(&self) -> Option<Instant> {
        let silence = self.interval?.saturating_mul(MISSED_HEARTBEATS).max(LEAST_SILENCE);
        self.heard.checked_add(silence)
    }

    pub fn is_silent(&self, now: Instant) -> bool {
        self.silent_at().is_some_and(|silent| silent <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent() {
        let terms = Terms { batch: 1, ..Terms::default() };
        assert_eq!(terms.to_json(), r#"{"batch": 1}"#);
        let terms = Terms {
            batch: 20,
            expires: Some(Duration::from_nanos(4_099_900_000)),
            heartbeat: Some(Duration::from_millis(500)),
            no_wait: true,
        };
        assert_eq!(
            terms.to_json(),
            r#"{"batch": 20, "expires": 4099900000, "idle_heartbeat": 500000000, "no_wait": true}"#
        );
    }

    #[test]
    fn two_missing_heartbeats_mean_silence() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let terms = Terms { batch: 1, heartbeat: Some(second), ..Terms::default() };
        let mut request = PullRequest::new(7, terms, start);
        assert!(!request.is_silent(start + second));
        assert!(request.is_silent(start + 2 * second));
        request.hear(start + second);
        assert_eq!(request.silent_at(), Some(start + 3 * second));
        let deaf = PullRequest::new(7, Terms { batch: 1, ..Terms::default() }, start);
        assert_eq!(deaf.silent_at(), None);
        let quick = Terms { batch: 1, no_wait: true, ..Terms::default() };
        assert_eq!(PullRequest::new(7, quick, start).silent_at(), Some(start + 2 * ANSWER_TIME));
    }
}
