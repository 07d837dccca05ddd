//! The limit on asynchronous publishes that wait for their acknowledgement.

use std::collections::VecDeque;
use std::sync::Mutex;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::bridge::{is_done, resolve};
use crate::connection::lock;

#[derive(Default)]
struct State {
    /// Publishes that wait for their acknowledgement.
    pending: usize,
    /// Slots given to publishers that haven't used them yet.
    granted: usize,
    /// Publishers that wait for a slot, in order.
    stalled: VecDeque<Py<PyAny>>,
    /// Wait until nothing is pending.
    watchers: Vec<Py<PyAny>>,
}

/// Counts the asynchronous publishes of one `JetStreamContext`.
#[pyclass(frozen, module = "nats._core")]
pub struct AckWindow {
    limit: usize,
    state: Mutex<State>,
}

impl AckWindow {
    /// A publish is on its way. `granted` says that its slot was waited for.
    pub fn open(&self, granted: bool) {
        let mut state = lock(&self.state);
        state.pending += 1;
        state.granted -= usize::from(granted);
    }

    /// A publish has been acknowledged, has failed or has been given up.
    pub fn close(&self, py: Python<'_>) -> PyResult<()> {
        let mut state = lock(&self.state);
        state.pending -= 1;
        let watchers = match state.pending {
            0 => std::mem::take(&mut state.watchers),
            _ => Vec::new(),
        };
        drop(state);
        self.grant(py)?;
        watchers.iter().try_for_each(|watcher| resolve(watcher.bind(py), py.None()))
    }

    /// Gives a free slot to the publisher that has waited longest.
    fn grant(&self, py: Python<'_>) -> PyResult<()> {
        loop {
            let mut state = lock(&self.state);
            if state.pending + state.granted >= self.limit {
                return Ok(());
            }
            let Some(stalled) = state.stalled.pop_front() else { return Ok(()) };
            drop(state);
            if !is_done(stalled.bind(py))? {
                lock(&self.state).granted += 1;
                return resolve(stalled.bind(py), py.None());
            }
        }
    }
}

#[pymethods]
impl AckWindow {
    /// `limit` publishes may be pending before publishers wait.
    #[new]
    fn new(limit: usize) -> Self {
        Self { limit, state: Mutex::default() }
    }

    /// Publishes that wait for their acknowledgement.
    #[getter]
    fn pending(&self) -> usize {
        lock(&self.state).pending
    }

    /// Whether a publisher has to wait for a slot.
    pub fn is_full(&self) -> bool {
        let state = lock(&self.state);
        state.pending + state.granted >= self.limit
    }

    /// Has `future` resolved when a slot is the caller's: it then publishes with it or
    /// returns it.
    fn wait_for_slot(&self, future: Py<PyAny>) {
        lock(&self.state).stalled.push_back(future);
    }

    /// Gives back a slot that was waited for and isn't needed.
    fn return_slot(&self, py: Python<'_>) -> PyResult<()> {
        lock(&self.state).granted -= 1;
        self.grant(py)
    }

    /// Has `future` resolved when nothing is pending.
    fn watch_completion(&self, future: Bound<'_, PyAny>) -> PyResult<()> {
        let mut state = lock(&self.state);
        if state.pending > 0 {
            state.watchers.push(future.unbind());
            return Ok(());
        }
        drop(state);
        let py = future.py();
        resolve(&future, py.None())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // A lock that is taken belongs to code that is using the futures: they stay.
        if let Ok(state) = self.state.try_lock() {
            state.stalled.iter().try_for_each(|future| visit.call(future))?;
            state.watchers.iter().try_for_each(|future| visit.call(future))?;
        }
        Ok(())
    }
}
