//! What a stream had when a consumer was asked for, and the proof that all of it has come.
//!
//! The server's `num_pending` isn't one: while a message is replaced by another of its subject it
//! is zero for a moment. What is asked for here has been counted before anything was delivered,
//! so as many deliveries up to that sequence are all there was. What was replaced meanwhile comes
//! later, at the sequence of its replacement; then the subjects that are there say what is missing.

use std::collections::HashMap;

/// Number of messages by subject.
type Counts = HashMap<Box<[u8]>, u64>;

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// What was counted is still coming.
    Counting,
    /// No more of it comes, and it isn't all: the stream's subjects have to be looked at.
    InDoubt,
    /// So many messages of these subjects, up to that sequence or behind it, are still to come.
    Missing(Counts, u64),
    Complete,
}

#[derive(Debug)]
pub struct Initial {
    /// The last sequence of the stream when it was counted.
    last_seq: u64,
    /// What was there then: messages, or their subjects where only the latest are delivered.
    expected: u64,
    every_revision: bool,
    /// Deliveries that count towards `expected`.
    counted: u64,
    delivered: Counts,
    state: State,
}

impl Initial {
    pub fn new(last_seq: u64, expected: u64, every_revision: bool) -> Self {
        let state = if expected == 0 { State::Complete } else { State::Counting };
        Self { last_seq, expected, every_revision, counted: 0, delivered: Counts::new(), state }
    }

    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    pub fn is_in_doubt(&self) -> bool {
        self.state == State::InDoubt
    }

    /// A message has been delivered, behind which the server counts `pending` others.
    pub fn note(&mut self, subject: &[u8], seq: u64, pending: u64) {
        if self.is_complete() {
            return;
        }
        let is_new = match self.delivered.get_mut(subject) {
            Some(count) => {
                *count += 1;
                false
            }
            None => self.delivered.insert(subject.into(), 1).is_none(),
        };
        let is_counted = seq <= self.last_seq;
        self.counted += u64::from(is_counted && (is_new || self.every_revision));
        if is_counted && self.counted == self.expected {
            return self.complete();
        }
        match &mut self.state {
            State::Missing(missing, looked_at) => {
                let is_behind = seq > *looked_at;
                if let Some(count) = missing.get_mut(subject) {
                    *count -= 1;
                    if *count == 0 {
                        missing.remove(subject);
                    }
                }
                if missing.is_empty() {
                    self.complete();
                } else if is_behind {
                    // What is still missing has been removed since, or replaced once more.
                    self.state = State::InDoubt;
                }
            }
            State::Counting if pending == 0 || !is_counted => self.state = State::InDoubt,
            _ => {}
        }
    }

    /// A message has been delivered that isn't counted, behind which the server counts `pending`
    /// others.
    pub fn pass_over(&mut self, pending: u64) {
        if pending == 0 && self.state == State::Counting {
            self.state = State::InDoubt;
        }
    }

    /// The stream, whose last sequence is `last_seq`, has these subjects, with so many messages
    /// each.
    pub fn expect<'a>(&mut self, subjects: impl Iterator<Item = (&'a str, u64)>, last_seq: u64) {
        if self.is_complete() {
            return;
        }
        let mut missing = Counts::new();
        for (subject, messages) in subjects {
            let wanted = if self.every_revision { messages } else { messages.min(1) };
            let delivered = self.delivered.get(subject.as_bytes()).copied().unwrap_or_default();
            if wanted > delivered {
                missing.insert(subject.as_bytes().into(), wanted - delivered);
            }
        }
        if missing.is_empty() {
            self.complete();
        } else {
            self.state = State::Missing(missing, last_seq);
        }
    }

    fn complete(&mut self) {
        self.state = State::Complete;
        self.delivered = Counts::new();
    }
}

#[cfg(feature = "python")]
mod object {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use pyo3::prelude::*;
    use pyo3::types::{PyDict, PyString};

    use super::Initial;
    use crate::connection::lock;

    /// `Initial` as Python and the feeds of entries share it.
    #[pyclass(frozen, module = "nats._core")]
    pub struct InitialValues {
        initial: Mutex<Initial>,
        /// The same as in `initial`, for the messages after that.
        complete: AtomicBool,
    }

    impl InitialValues {
        pub fn note_message(&self, subject: &[u8], seq: u64, pending: u64) {
            if self.is_complete() {
                return;
            }
            let mut initial = lock(&self.initial);
            initial.note(subject, seq, pending);
            self.complete.store(initial.is_complete(), Relaxed);
        }

        pub fn pass_over(&self, pending: u64) {
            lock(&self.initial).pass_over(pending);
        }
    }

    #[pymethods]
    impl InitialValues {
        /// `expected` is the number of messages up to `last_seq`, or that of their subjects unless
        /// `every_revision` is delivered.
        #[new]
        fn new(last_seq: u64, expected: u64, every_revision: bool) -> Self {
            let initial = Initial::new(last_seq, expected, every_revision);
            Self { complete: AtomicBool::new(initial.is_complete()), initial: Mutex::new(initial) }
        }

        /// A message has been delivered, behind which the server counts `pending` others.
        fn note(&self, subject: &Bound<'_, PyString>, seq: u64, pending: u64) -> PyResult<()> {
            self.note_message(subject.to_str()?.as_bytes(), seq, pending);
            Ok(())
        }

        /// The stream, whose last sequence is `last_seq`, has these subjects, with so many messages
        /// each.
        fn expect(&self, subjects: &Bound<'_, PyDict>, last_seq: u64) -> PyResult<()> {
            let subjects: Vec<(String, u64)> = subjects
                .iter()
                .map(|(subject, messages)| Ok((subject.extract()?, messages.extract()?)))
                .collect::<PyResult<_>>()?;
            let mut initial = lock(&self.initial);
            let subjects = subjects.iter().map(|(subject, count)| (subject.as_str(), *count));
            initial.expect(subjects, last_seq);
            self.complete.store(initial.is_complete(), Relaxed);
            Ok(())
        }

        /// Whether all that was there has been delivered.
        #[getter]
        pub fn is_complete(&self) -> bool {
            self.complete.load(Relaxed)
        }

        /// Whether only the stream's subjects can tell what is still to come: see `expect`.
        #[getter]
        pub fn is_in_doubt(&self) -> bool {
            !self.is_complete() && lock(&self.initial).is_in_doubt()
        }
    }
}

#[cfg(feature = "python")]
pub use object::InitialValues;

#[cfg(test)]
mod tests {
    use super::Initial;

    fn note(initial: &mut Initial, subjects: &str, seqs: std::ops::RangeInclusive<u64>) {
        for (subject, seq) in subjects.split(' ').zip(seqs) {
            initial.note(subject.as_bytes(), seq, 9);
        }
    }

    #[test]
    fn nothing_there_is_complete() {
        assert!(Initial::new(7, 0, false).is_complete());
    }

    #[test]
    fn as_many_subjects_as_were_counted_are_all() {
        let mut initial = Initial::new(9, 3, false);
        note(&mut initial, "a b a", 1..=3);
        assert!(!initial.is_complete() && !initial.is_in_doubt());
        note(&mut initial, "c", 9..=9);
        assert!(initial.is_complete());
    }

    #[test]
    fn every_revision_counts_where_all_are_delivered() {
        let mut initial = Initial::new(9, 3, true);
        note(&mut initial, "a a", 1..=2);
        assert!(!initial.is_complete());
        note(&mut initial, "a", 3..=3);
        assert!(initial.is_complete());
    }

    #[test]
    fn nothing_pending_proves_nothing() {
        let mut initial = Initial::new(9, 3, false);
        initial.note(b"a", 1, 0);
        assert!(initial.is_in_doubt());
        initial.expect([("a", 1), ("b", 4), ("c", 1)].into_iter(), 13);
        assert!(!initial.is_in_doubt() && !initial.is_complete());
        note(&mut initial, "a x b", 10..=12);
        assert!(!initial.is_complete());
        note(&mut initial, "c", 13..=13);
        assert!(initial.is_complete());
    }

    #[test]
    fn what_is_passed_over_may_have_been_the_last() {
        let mut initial = Initial::new(9, 2, false);
        initial.note(b"a", 1, 3);
        initial.pass_over(1);
        assert!(!initial.is_in_doubt());
        initial.pass_over(0);
        assert!(initial.is_in_doubt());
        initial.expect([("a", 1)].into_iter(), 9);
        initial.pass_over(0);
        assert!(initial.is_complete());
    }

    #[test]
    fn a_new_subject_is_not_taken_for_one_that_was_replaced() {
        let mut initial = Initial::new(2, 2, false);
        note(&mut initial, "a", 1..=1);
        note(&mut initial, "new", 3..=3);
        assert!(initial.is_in_doubt());
        initial.expect([("a", 1), ("new", 1), ("b", 1)].into_iter(), 4);
        assert!(!initial.is_complete());
        note(&mut initial, "b", 4..=4);
        assert!(initial.is_complete());
    }

    #[test]
    fn what_has_gone_is_not_waited_for() {
        let mut initial = Initial::new(3, 3, true);
        initial.note(b"a", 3, 0);
        initial.expect([("a", 1)].into_iter(), 3);
        assert!(initial.is_complete());
    }

    #[test]
    fn what_goes_after_the_look_is_looked_for_again() {
        let mut initial = Initial::new(3, 3, false);
        initial.note(b"a", 3, 0);
        initial.expect([("a", 1), ("b", 1), ("c", 1)].into_iter(), 6);
        initial.note(b"c", 6, 0);
        assert!(!initial.is_in_doubt(), "the other one may be on its way");
        initial.note(b"a", 7, 0);
        assert!(initial.is_in_doubt(), "it should have come");
        initial.expect([("a", 1), ("c", 1)].into_iter(), 7);
        assert!(initial.is_complete());
    }
}
