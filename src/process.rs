//! What belongs to one process.

use pyo3::prelude::*;

use crate::connection::runtime;
use crate::errors;

/// State that threads of one process share. The child of a fork, which they are missing from,
/// can't get at it: it might wait for ever for a lock that one of them has held.
pub struct OwnProcess<T> {
    state: T,
    generation: u32,
}

impl<T> OwnProcess<T> {
    pub fn new(state: T) -> Self {
        Self { state, generation: runtime::generation() }
    }

    pub fn is_inherited(&self) -> bool {
        self.generation != runtime::generation()
    }

    /// Raises `Error` in a child.
    pub fn get(&self) -> PyResult<&T> {
        self.get_unless_inherited().ok_or_else(errors::forked)
    }

    pub fn get_unless_inherited(&self) -> Option<&T> {
        (!self.is_inherited()).then_some(&self.state)
    }
}
