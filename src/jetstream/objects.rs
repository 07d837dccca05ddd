//! Reading objects: chunks are put together and hashed as they come in (ADR-20).

use std::sync::Mutex;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sha2::{Digest, Sha256};

use super::delivery::Position;
use crate::connection::lock;
use crate::protocol::Frame;
use crate::subscription::SubscriptionCore;

#[derive(Default)]
struct Progress {
    hasher: Sha256,
    /// Hashed, but not yet handed out.
    chunks: Vec<Frame>,
    pulled: u64,
    /// The last chunk had none behind it.
    at_end: bool,
}

impl Progress {
    /// Whether all is there. A replica that lags behind can take an early chunk for the last
    /// one: the size has to be right, too. More than that is too much already.
    fn is_complete(&self, size: Option<u64>) -> bool {
        size.map_or(self.at_end, |size| self.pulled > size || (self.at_end && self.pulled == size))
    }
}

/// Collects the chunks of one object from a subscription of an ordered consumer.
#[pyclass(frozen, module = "nats._core")]
pub struct ObjectReader {
    core: Py<SubscriptionCore>,
    size: Option<u64>,
    progress: Mutex<Progress>,
}

#[pymethods]
impl ObjectReader {
    /// `size` is that of the object in bytes, if it is known.
    #[new]
    fn new(core: Py<SubscriptionCore>, size: Option<u64>) -> Self {
        Self { core, size, progress: Mutex::default() }
    }

    /// Takes chunks that are there, about `limit` bytes at most; returns how many bytes.
    fn pull(&self, py: Python<'_>, limit: usize) -> PyResult<usize> {
        self.check_process()?;
        let core = self.core.get();
        let before = lock(&self.progress).pulled;
        while !lock(&self.progress).is_complete(self.size) {
            let pulled = (lock(&self.progress).pulled - before) as usize;
            if pulled >= limit {
                break;
            }
            let Some(frame) = core.take_frame(py)? else { break };
            core.finish(py)?;
            let Some(position) = Position::parse(frame.reply()) else { continue };
            py.detach(|| {
                let mut progress = lock(&self.progress);
                progress.hasher.update(frame.payload());
                progress.pulled += frame.payload_len() as u64;
                progress.at_end = position.pending == 0;
                progress.chunks.push(frame);
            });
        }
        Ok((lock(&self.progress).pulled - before) as usize)
    }

    /// All bytes pulled since the last call.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.check_process()?;
        let chunks = std::mem::take(&mut lock(&self.progress).chunks);
        let size = chunks.iter().map(Frame::payload_len).sum();
        PyBytes::new_with(py, size, |mut bytes| {
            for chunk in &chunks {
                let (to, rest) = bytes.split_at_mut(chunk.payload_len());
                to.copy_from_slice(chunk.payload());
                bytes = rest;
            }
            Ok(())
        })
    }

    /// Nothing is missing any more, or there is too much.
    #[getter]
    fn is_complete(&self) -> PyResult<bool> {
        self.check_process()?;
        Ok(lock(&self.progress).is_complete(self.size))
    }

    /// SHA-256 of all bytes pulled so far.
    fn digest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.check_process()?;
        Ok(PyBytes::new(py, &lock(&self.progress).hasher.clone().finalize()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.core)
    }
}

impl ObjectReader {
    /// Another thread may have hashed, and held the lock, at the moment of a fork.
    fn check_process(&self) -> PyResult<()> {
        self.core.get().check_process()
    }
}
