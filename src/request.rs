//! Requests that wait for their reply, and deadlines without a timer each.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

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
}

/// A request on its way.
pub struct Pending {
    pub future: Py<PyAny>,
    pub deadline: Option<DeadlineKey>,
}

/// Requests by token, the last token of their reply subject.
#[derive(Default)]
pub struct Requests {
    /// The subject of the shared inbox up to the token, dot included.
    pub prefix: String,
    entries: HashMap<u64, Pending>,
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

    /// The request that a message to the shared inbox answers.
    pub fn take_by_subject(&mut self, subject: &[u8]) -> Option<Pending> {
        let token = subject.strip_prefix(self.prefix.as_bytes())?;
        self.take(std::str::from_utf8(token).ok()?.parse().ok()?)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }
}
