//! What becomes of a client whose event loop is closed.
//!
//! Nobody takes its messages any more, so its subscriptions end at once: a queue group would lose
//! what it gets. Publishing needs no loop and goes on for a while.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyWeakrefReference;

use super::driver::Driver;
use super::{Connection, status};
use crate::bridge::{Doorbell, calls};
use crate::connection::{Link, lock, runtime};
use crate::errors::WrongLoopError;
use crate::protocol::encode;

#[pymethods]
impl Connection {
    /// The loop is closed. Ends all subscriptions; what the I/O thread serves takes publishes for
    /// `seconds` more, then it is closed. Anything else is closed now; returns the transport that
    /// has gone with its loop.
    fn leave_loop(&self, seconds: f64) -> PyResult<Option<Py<PyAny>>> {
        // The child of a fork leaves the parent's loop alone.
        let Some(shared) = self.shared.get_unless_inherited() else { return Ok(None) };
        if self.status.load(Relaxed) == status::CLOSED {
            return Ok(None);
        }
        // No thread runs the loop any more: every publish is written where it is made.
        self.thread.store(0, Relaxed);
        self.kick_armed.store(false, Relaxed);
        if let Doorbell::Fd(ring) = &self.doorbell {
            ring.close();
        }
        let sids = shared.take_subscriptions();
        let Some(link) = self.link()?.filter(|_| self.is_connected()) else {
            self.status.store(status::CLOSED, Relaxed);
            let driver = std::mem::replace(&mut *lock(&self.driver), Driver::Closed);
            return Ok(driver.into_transport());
        };
        shared.outbox.append_in_service(|out| {
            sids.iter().for_each(|sid| encode::unsubscribe(out, *sid, 0));
        });
        let time = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
        *lock(&self.served_until) = Instant::now().checked_add(time);
        link.read_on_thread();
        link.write_now();
        let served = Arc::downgrade(&link);
        runtime::handle()?.spawn(async move {
            tokio::time::sleep(time).await;
            if let Some(link) = served.upgrade() {
                link.hang_up();
            }
        });
        Ok(None)
    }

    /// Fails in any loop but the client's own, and in the child of a fork.
    pub fn check_loop(&self, py: Python<'_>) -> PyResult<()> {
        self.check_process()?;
        if self.runs_here(py)? {
            return Ok(());
        }
        Err(WrongLoopError::new_err((self.is_loop_closed(py)?,)))
    }

    /// A weak reference to a timer that is to be cancelled when the connection is shut down.
    fn set_loop_timer(&self, timer: Py<PyWeakrefReference>) {
        *lock(&self.loop_timer) = Some(timer);
    }
}

impl Connection {
    pub(super) fn cancel_loop_timer(&self, py: Python<'_>) -> PyResult<()> {
        let timer = lock(&self.loop_timer).take();
        match timer.and_then(|timer| timer.bind(py).upgrade()) {
            Some(timer) => calls::call_method0(&timer, intern!(py, "cancel")).map(drop),
            None => Ok(()),
        }
    }

    /// Where the loop is closed: fails when the connection doesn't serve publishers any more.
    pub(super) fn check_served(&self, py: Python<'_>, link: &Link) -> PyResult<()> {
        let Some(until) = *lock(&self.served_until) else { return Ok(()) };
        if Instant::now() < until && !link.has_ended() {
            return Ok(());
        }
        self.status.store(status::CLOSED, Relaxed);
        Err(self.closed_error(py))
    }
}
