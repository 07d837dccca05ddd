//! Message and byte counters of a client, kept over reconnects.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes count payloads only, as the reference does.
#[derive(Debug, Default)]
pub struct Stats {
    pub in_msgs: AtomicU64,
    pub in_bytes: AtomicU64,
    pub out_msgs: AtomicU64,
    pub out_bytes: AtomicU64,
}

impl Stats {
    pub fn count_in(&self, msgs: u64, bytes: u64) {
        self.in_msgs.fetch_add(msgs, Relaxed);
        self.in_bytes.fetch_add(bytes, Relaxed);
    }

    pub fn count_out(&self, bytes: usize) {
        self.out_msgs.fetch_add(1, Relaxed);
        self.out_bytes.fetch_add(bytes as u64, Relaxed);
    }
}
