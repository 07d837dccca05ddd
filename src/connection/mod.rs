//! One connection: what is to be written, what was received, and the tokio driver between.
//!
//! Everything here runs on either thread and never takes the GIL. The asyncio driver uses
//! the same [`Outbox`] and [`Shared::dispatch`]; only the bytes travel another way.

pub mod backlog;
pub mod bell;
pub mod dispatch;
pub mod link;
pub mod outbox;
pub mod pinned;
pub mod runtime;
pub mod socket;
pub mod stats;
pub mod subscription;
pub mod sync;

#[cfg(all(test, fastnats_loom))]
mod loom_tests;

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

pub use backlog::Backlog;
pub use bell::{Bell, Ring};
pub use dispatch::{Event, LinkEnd, Mail, Shared};
pub use link::Link;
pub use outbox::{Outbox, Written};
pub use pinned::{Pinned, Run};
pub use stats::Stats;
pub use subscription::Subscription;

/// Locks `mutex`, also after a panic elsewhere: every critical section here leaves its data
/// whole, so poisoning would only turn one failure into many.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], but `None` where the lock is taken.
pub fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
