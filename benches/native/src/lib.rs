//! What the two binaries share.

pub mod args;
pub mod usage;

/// Prints one JSON value on a line of its own and flushes, because the readers wait for it.
pub fn emit(value: &serde_json::Value) {
    use std::io::Write;

    let mut out = std::io::stdout().lock();
    // A closed pipe means that the reader is gone: there is nobody left to tell.
    let _ = writeln!(out, "{value}").and_then(|()| out.flush());
}

pub type Error = Box<dyn std::error::Error + Send + Sync>;
