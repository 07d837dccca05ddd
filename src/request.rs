//! Requests that wait for their reply, and deadlines without a timer each.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::connection::dispatch::SidMap;
use crate::jetstream::entries::EntryShape;
use crate::jetstream::window::AckWindow;

/// When something expires, and a number to tell apart what expires together.
pub type DeadlineKey = (Instant, u64);

/// What to fail when its time has come.
pub enum Expiring {
    Request(u64),
    Future(Py<PyAny>),
}

/// Deadlines of a client. One timer of the loop, set to the earliest, serves them all.
#[derive(Default)]
pub struct Deadlines {
    entries: BTreeMap<DeadlineKey, Expiring>,
    next: u64,
    /// What the loop's timer is set to.
    pub armed: Option<Instant>,
}

impl Deadlines {
    /// Adds a deadline `timeout` seconds from now; zero, negative and NaN are now.
    pub fn add(&mut self, timeout: f64, expiring: Expiring) -> DeadlineKey {
        const LONGEST: f64 = 1e9;
        let timeout = if timeout.is_nan() { 0.0 } else { timeout.clamp(0.0, LONGEST) };
        let timeout = Duration::from_secs_f64(timeout);
        self.next += 1;
        let key = (Instant::now() + timeout, self.next);
        self.entries.insert(key, expiring);
        key
    }

    pub fn remove(&mut self, key: &DeadlineKey) {
        self.entries.remove(key);
    }

    /// Takes out everything due at `now`.
    pub fn expired(&mut self, now: Instant) -> Vec<Expiring> {
        let later = self.entries.split_off(&(now, u64::MAX));
        std::mem::replace(&mut self.entries, later).into_values().collect()
    }

    /// The delay to set a timer to, if none is set that is early enough.
    pub fn arm(&mut self) -> Option<Duration> {
        let earliest = self.entries.first_key_value()?.0.0;
        if self.armed.is_some_and(|armed| armed <= earliest) {
            return None;
        }
        self.armed = Some(earliest);
        Some(earliest.saturating_duration_since(Instant::now()))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.entries.values().try_for_each(|expiring| match expiring {
            Expiring::Future(future) => visit.call(future),
            Expiring::Request(_) => Ok(()),
        })
    }
}

/// What becomes of the reply to a request.
pub enum ReplyKind {
    /// It is the result.
    Message,
    /// The `PubAck` in it is the result.
    Ack,
    /// As `Ack`; the publish leaves its window.
    AsyncAck(Py<AckWindow>),
    /// The entry of a key-value bucket in it is the result, where there is one.
    Entry(Py<EntryShape>),
    /// It comes another way than by the shared inbox.
    Elsewhere,
}

/// A request on its way.
pub struct Pending {
    /// As the caller gave it: a reference costs less than a copy.
    pub subject: Py<PyAny>,
    pub future: Py<PyAny>,
    pub deadline: Option<DeadlineKey>,
    pub kind: ReplyKind,
}

/// Requests by token, the last token of their reply subject.
#[derive(Default)]
pub struct Requests {
    /// The subject of the shared inbox up to the token, dot included.
    pub prefix: String,
    entries: SidMap<Pending>,
    next: u64,
}

impl Requests {
    pub fn add(&mut self, pending: impl FnOnce(u64) -> Pending) -> (u64, String) {
        self.next += 1;
        let token = self.next;
        self.entries.insert(token, pending(token));
        let mut inbox = String::with_capacity(self.prefix.len() + 16);
        inbox.push_str(&self.prefix);
        inbox.push_str(itoa::Buffer::new().format(token));
        (token, inbox)
    }

    pub fn take(&mut self, token: u64) -> Option<Pending> {
        self.entries.remove(&token)
    }

    /// Takes out the asynchronous publishes except those with the tokens `but`.
    pub fn take_async_publishes(&mut self, but: &HashSet<u64>) -> Vec<Pending> {
        self.take_publishes(|token, _| !but.contains(&token))
    }

    /// Takes out the asynchronous publishes up to `newest` whose window is `of` interest.
    pub fn take_overdue(
        &mut self,
        newest: u64,
        of: impl Fn(&Py<AckWindow>) -> bool,
    ) -> Vec<Pending> {
        self.take_publishes(|token, window| token <= newest && of(window))
    }

    fn take_publishes(&mut self, wanted: impl Fn(u64, &Py<AckWindow>) -> bool) -> Vec<Pending> {
        self.take_where(|token, pending| match &pending.kind {
            ReplyKind::AsyncAck(window) => wanted(token, window),
            _ => false,
        })
    }

    /// Takes out requests in the order in which they were made.
    pub fn take_where(&mut self, is_wanted: impl Fn(u64, &Pending) -> bool) -> Vec<Pending> {
        let is_wanted = |token: &u64, pending: &mut Pending| is_wanted(*token, pending);
        let mut taken: Vec<_> = self.entries.extract_if(is_wanted).collect();
        taken.sort_unstable_by_key(|(token, _)| *token);
        taken.into_iter().map(|(_, pending)| pending).collect()
    }

    /// The token given last.
    pub fn newest(&self) -> u64 {
        self.next
    }

    /// The request that a message to the shared inbox answers.
    pub fn take_by_subject(&mut self, subject: &[u8]) -> Option<Pending> {
        self.take(self.token(subject)?)
    }

    /// The token in a reply subject.
    pub fn token(&self, subject: &[u8]) -> Option<u64> {
        let token = subject.strip_prefix(self.prefix.as_bytes())?;
        std::str::from_utf8(token).ok()?.parse().ok()
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.entries.values().try_for_each(|pending| {
            visit.call(&pending.subject)?;
            visit.call(&pending.future)?;
            match &pending.kind {
                ReplyKind::AsyncAck(window) => visit.call(window),
                ReplyKind::Entry(shape) => visit.call(shape),
                ReplyKind::Message | ReplyKind::Ack | ReplyKind::Elsewhere => Ok(()),
            }
        })
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }
}
