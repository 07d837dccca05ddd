//! The fetches that wait at one pull subscription.

use std::time::{Duration, Instant};

use super::fetch::{Action, Fetch};
use super::status::Status;
use crate::protocol::Frame;

/// How long a consumer that is gone with a connection may only not be there yet: somebody makes it
/// anew.
const RECOVERY: Duration = Duration::from_secs(30);

/// A fetch, and what wakes its caller.
#[derive(Debug)]
struct Seat<W> {
    id: u64,
    fetch: Fetch,
    waiter: Option<W>,
}

/// Fetches, oldest first: messages go to the first that wants some.
#[derive(Debug)]
pub struct Desk<W> {
    seats: Vec<Seat<W>>,
    last_id: u64,
    last_token: u64,
    recovering_until: Option<Instant>,
}

impl<W> Default for Desk<W> {
    fn default() -> Self {
        Self { seats: Vec::new(), last_id: 0, last_token: 0, recovering_until: None }
    }
}

impl<W> Desk<W> {
    /// Takes a fetch in; the number is what it is known by.
    pub fn open(&mut self, fetch: Fetch) -> u64 {
        self.last_id += 1;
        self.seats.push(Seat { id: self.last_id, fetch, waiter: None });
        self.last_id
    }

    /// Lets go of a fetch: the messages that it has and that nobody has been given, and whoever
    /// waits for it.
    pub fn close(&mut self, id: u64) -> (Vec<Frame>, Option<W>) {
        match self.seats.iter().position(|seat| seat.id == id) {
            Some(at) => {
                let mut seat = self.seats.remove(at);
                (seat.fetch.take_messages(), seat.waiter)
            }
            None => (Vec::new(), None),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    pub fn wants_messages(&self) -> bool {
        self.seats.iter().any(|seat| seat.fetch.wants_messages())
    }

    /// Hands out what `next` yields as long as somebody wants messages.
    pub fn deal(&mut self, now: Instant, mut next: impl FnMut() -> Option<Frame>) {
        while let Some(first) = self.seats.iter().position(|seat| seat.fetch.wants_messages()) {
            let first = &mut self.seats[first].fetch;
            // All that it wants without looking for it again.
            while first.wants_messages() {
                let Some(frame) = next() else { return };
                match Status::of(&frame) {
                    None => first.on_message(frame, now),
                    Some(status) => {
                        self.tell(status, frame, now);
                        break;
                    }
                }
            }
        }
    }

    /// Passes a status on to the fetch whose request it answers, if that still waits. One that
    /// came to an inbox that requests share is for the oldest.
    fn tell(&mut self, status: Status, frame: Frame, now: Instant) {
        let mut fetches = self.seats.iter_mut().map(|seat| &mut seat.fetch);
        let fetch = match token_of(&frame) {
            Some(token) => fetches.find(|fetch| fetch.has_asked_with(token)),
            None => fetches.next(),
        };
        if let Some(fetch) = fetch {
            fetch.on_status(status, frame, now);
        }
    }

    /// What to do for a fetch, see [`Fetch::poll`].
    pub fn poll(&mut self, id: u64, now: Instant, can_ask: bool) -> Action {
        match self.seats.iter_mut().find(|seat| seat.id == id) {
            Some(seat) => seat.fetch.poll(now, can_ask, &mut self.last_token),
            None => Action::TimeOut(false),
        }
    }

    /// Tells a fetch what was looked up for it, see [`Fetch::expect`].
    pub fn expect(&mut self, id: u64, may_be_served: bool, now: Instant) {
        let is_recovering = self.recovering_until.is_some_and(|end| now < end);
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.id == id) {
            seat.fetch.expect(may_be_served || is_recovering, now);
        }
    }

    pub fn take_messages(&mut self, id: u64) -> Vec<Frame> {
        let seat = self.seats.iter_mut().find(|seat| seat.id == id);
        seat.map(|seat| seat.fetch.take_messages()).unwrap_or_default()
    }

    /// Somebody waits until there is something to do for this fetch.
    pub fn wait(&mut self, id: u64, waiter: W) {
        if let Some(seat) = self.seats.iter_mut().find(|seat| seat.id == id) {
            seat.waiter = Some(waiter);
        }
    }

    /// Those who wait for fetches that there is something to do for.
    pub fn take_due(&mut self) -> Vec<W> {
        let due = self.seats.iter_mut().filter(|seat| seat.fetch.is_due());
        due.filter_map(|seat| seat.waiter.take()).collect()
    }

    /// All who wait, whatever for.
    pub fn take_waiters(&mut self) -> Vec<W> {
        self.seats.iter_mut().filter_map(|seat| seat.waiter.take()).collect()
    }

    /// A new connection is in service.
    pub fn on_new_connection(&mut self, now: Instant) {
        self.recovering_until = Some(now + RECOVERY);
        self.seats.iter_mut().for_each(|seat| seat.fetch.on_new_connection(now));
    }

    /// The subscription has ended.
    pub fn stop(&mut self) {
        self.seats.iter_mut().for_each(|seat| seat.fetch.stop());
    }

    pub fn waiters(&self) -> impl Iterator<Item = &W> {
        self.seats.iter().filter_map(|seat| seat.waiter.as_ref())
    }
}

/// The token of the request that a status answers: the last one of the subject.
fn token_of(frame: &Frame) -> Option<u64> {
    let token = frame.subject().rsplit(|&byte| byte == b'.').next()?;
    std::str::from_utf8(token).ok()?.parse().ok()
}

#[cfg(test)]
#[path = "desk_tests.rs"]
pub(super) mod tests;
