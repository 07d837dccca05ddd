//! `Consumer`: who waits for the messages of a subscription, and how they are woken.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::bridge::{is_done, resolve};
use crate::client::Connection;
use crate::connection::{Subscription, lock};
use crate::inlet::Inlet;
use crate::jetstream::fetch::Pulls;
use crate::process::OwnProcess;
use crate::protocol::Frame;
use crate::request::DeadlineKey;

/// Somebody waiting for a message.
pub struct Waiter {
    pub future: Py<PyAny>,
    pub deadline: Option<DeadlineKey>,
}

/// State of the consuming side; touched under the GIL only.
pub struct Consumer {
    pub subscription: OwnProcess<Arc<Subscription>>,
    pub inlet: Mutex<Inlet>,
    pub waiters: Mutex<VecDeque<Waiter>>,
    /// The fetches of a pull subscription.
    pub pulls: Pulls,
    /// Wait until no message is queued or being handled.
    pub joiners: Mutex<Vec<Py<PyAny>>>,
    /// Takes the first message, as `subscribe(future=…)` asks for.
    pub future: Option<Py<PyAny>>,
}

impl Consumer {
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.future)?;
        // A lock that is taken belongs to code that is using the futures: they stay.
        if let Ok(waiters) = self.waiters.try_lock() {
            waiters.iter().try_for_each(|waiter| visit.call(&waiter.future))?;
        }
        if let Ok(joiners) = self.joiners.try_lock() {
            joiners.iter().try_for_each(|joiner| visit.call(joiner))?;
        }
        if let Ok(pulls) = self.pulls.try_lock() {
            pulls.waiters().try_for_each(|waiter| visit.call(&waiter.future))?;
        }
        Ok(())
    }

    pub fn take(&self) -> PyResult<Option<Frame>> {
        let subscription = self.subscription.get()?;
        Ok(lock(&self.inlet).take(subscription))
    }

    /// A message has arrived for somebody who waits.
    pub fn wake(&self, py: Python<'_>, connection: &Connection) -> PyResult<()> {
        if let Some(future) = &self.future {
            let fulfilled = self.fulfil(py, connection, future.bind(py));
            // Whatever has failed. Only frames that arrived meanwhile make this false; they'd be
            // for nobody.
            self.subscription.get()?.wait();
            return fulfilled;
        }
        self.deal(py, connection)?;
        self.wake_next(py, connection)
    }

    /// Gives `future` the first message; further ones are for nobody.
    fn fulfil(
        &self,
        py: Python<'_>,
        connection: &Connection,
        future: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        while let Some(frame) = self.take()? {
            self.finish(py)?;
            let message = connection.factory().make_lasting(py, frame, None)?;
            resolve(future, message)?;
        }
        Ok(())
    }

    /// Wakes the next waiter if there is a message for it, and asks to be told of the next
    /// message otherwise.
    pub fn wake_next(&self, py: Python<'_>, connection: &Connection) -> PyResult<()> {
        let subscription = self.subscription.get()?;
        loop {
            let mut waiters = lock(&self.waiters);
            if waiters.is_empty() || (subscription.pending_msgs() == 0 && subscription.wait()) {
                return Ok(());
            }
            let Some(waiter) = waiters.pop_front() else { return Ok(()) };
            drop(waiters);
            if self.release(py, connection, waiter)? {
                return Ok(());
            }
        }
    }

    /// Resolves a waiter; false if it had been cancelled or had timed out.
    pub fn release(
        &self,
        py: Python<'_>,
        connection: &Connection,
        waiter: Waiter,
    ) -> PyResult<bool> {
        if let Some(deadline) = &waiter.deadline {
            connection.remove_deadline(deadline);
        }
        let future = waiter.future.bind(py);
        if is_done(future)? {
            return Ok(false);
        }
        resolve(future, py.None())?;
        Ok(true)
    }

    /// Wakes everybody who waits, with or without a message.
    pub fn release_waiters(&self, py: Python<'_>, connection: &Connection) -> PyResult<()> {
        let waiters = std::mem::take(&mut *lock(&self.waiters));
        waiters.into_iter().try_for_each(|waiter| self.release(py, connection, waiter).map(drop))
    }

    /// A message has been dealt with.
    #[inline]
    pub fn finish(&self, py: Python<'_>) -> PyResult<()> {
        self.subscription.get()?.count_finished();
        self.release_joiners_if_done(py)
    }

    #[inline]
    pub fn release_joiners_if_done(&self, py: Python<'_>) -> PyResult<()> {
        let is_done = self.subscription.get()?.unfinished() == 0;
        if is_done { self.release_joiners(py) } else { Ok(()) }
    }

    pub fn release_joiners(&self, py: Python<'_>) -> PyResult<()> {
        let joiners = std::mem::take(&mut *lock(&self.joiners));
        joiners.iter().try_for_each(|joiner| resolve(joiner.bind(py), py.None()))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if let Some(subscription) = self.subscription.get_unless_inherited() {
            let inlet = self.inlet.get_mut().unwrap_or_else(PoisonError::into_inner);
            inlet.abandon(subscription);
        }
    }
}
