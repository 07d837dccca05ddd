//! Reading objects: chunks are put together and hashed as they come in (ADR-20).

use std::sync::Mutex;

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
    is_complete: bool,
}

/// Collects the chunks of one object from a subscription of an ordered consumer.
#[pyclass(frozen, module = "nats._core")]
pub struct ObjectReader {
    core: Py<SubscriptionCore>,
    progress: Mutex<Progress>,
}

#[pymethods]
impl ObjectReader {
    #[new]
    fn new(core: Py<SubscriptionCore>) -> Self {
        Self { core, progress: Mutex::default() }
    }

    /// Takes chunks that are there, about `limit` bytes at most; returns how many bytes.
    fn pull(&self, py: Python<'_>, limit: usize) -> PyResult<usize> {
        let core = self.core.get();
        let mut pulled = 0;
        let mut fresh = Vec::new();
        let mut is_complete = self.is_complete();
        while pulled < limit && !is_complete {
            let Some(frame) = core.take_frame(py)? else { break };
            core.finish(py)?;
            let Some(position) = Position::parse(frame.reply()) else { continue };
            is_complete = position.pending == 0;
            pulled += frame.payload_len();
            fresh.push(frame);
        }
        py.detach(|| {
            let mut progress = lock(&self.progress);
            for frame in &fresh {
                progress.hasher.update(frame.payload());
            }
            progress.is_complete = is_complete;
            progress.chunks.append(&mut fresh);
        });
        Ok(pulled)
    }

    /// All bytes pulled since the last call.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
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

    /// The consumer has nothing behind the chunks pulled so far.
    #[getter]
    fn is_complete(&self) -> bool {
        lock(&self.progress).is_complete
    }

    /// SHA-256 of all bytes pulled so far.
    fn digest<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &lock(&self.progress).hasher.clone().finalize())
    }
}
