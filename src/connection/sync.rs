//! Locks and atomics of what both threads touch.
//!
//! `make loom` puts loom's in their place, which run a test once for every way in which the
//! threads can interleave and for every value that a weakly ordered load may see.

#[cfg(not(all(test, fastnats_loom)))]
pub use std::sync::{Mutex, atomic};

#[cfg(not(all(test, fastnats_loom)))]
pub use super::{lock, try_lock};

#[cfg(all(test, fastnats_loom))]
pub use loom::sync::{Mutex, atomic};

#[cfg(all(test, fastnats_loom))]
pub fn lock<T>(mutex: &Mutex<T>) -> loom::sync::MutexGuard<'_, T> {
    mutex.lock().expect("a panic ends the model")
}

#[cfg(all(test, fastnats_loom))]
pub fn try_lock<T>(mutex: &Mutex<T>) -> Option<loom::sync::MutexGuard<'_, T>> {
    mutex.try_lock().ok()
}
