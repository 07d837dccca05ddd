//! The I/O thread: one tokio runtime per process, made when the first client dials.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::runtime::Handle;

/// Counts forks: what was made under an older number belongs to a parent process.
static GENERATION: AtomicU32 = AtomicU32::new(0);
static FIRST: Process = Process::new();

/// One process's place for its runtime. No lock is shared with the parent, and its handle is kept:
/// its last reference would close the epoll instance that the parent still uses.
struct Process {
    runtime: OnceLock<Handle>,
    child: OnceLock<Box<Process>>,
}

impl Process {
    const fn new() -> Self {
        Self { runtime: OnceLock::new(), child: OnceLock::new() }
    }

    fn current() -> &'static Self {
        (0..generation())
            .fold(&FIRST, |process, _| process.child.get_or_init(|| Box::new(Self::new())))
    }
}

/// The number of forks between the first process and this one.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// To be called in the child of a fork: threads don't survive it, so neither does the runtime.
pub fn after_fork_in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// The runtime of this process.
///
/// It is never shut down. Its thread doesn't touch Python, so an interpreter that exits
/// simply leaves it behind.
pub fn handle() -> io::Result<Handle> {
    let place = &Process::current().runtime;
    if let Some(handle) = place.get() {
        return Ok(handle.clone());
    }
    let io_runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = io_runtime.handle().clone();
    std::thread::Builder::new()
        .name("fastnats-io".to_owned())
        .spawn(move || io_runtime.block_on(std::future::pending::<()>()))?;
    // Of two threads that dial first at the same time, one has made an idle runtime.
    Ok(place.get_or_init(|| handle).clone())
}
