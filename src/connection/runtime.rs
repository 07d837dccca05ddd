//! The I/O thread: one tokio runtime per process, made when the first client dials.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::runtime::Handle;

use super::lock;

/// Counts forks: what was made under an older number belongs to a parent process.
static GENERATION: AtomicU32 = AtomicU32::new(0);
static RUNTIME: Mutex<Option<(u32, Handle)>> = Mutex::new(None);

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
    let mut runtime = lock(&RUNTIME);
    let generation = generation();
    if let Some((made_in, handle)) = &*runtime
        && *made_in == generation
    {
        return Ok(handle.clone());
    }
    let io_runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = io_runtime.handle().clone();
    std::thread::Builder::new()
        .name("fastnats-io".to_owned())
        .spawn(move || io_runtime.block_on(std::future::pending::<()>()))?;
    // A handle inherited from the parent must not be dropped: its last reference would close
    // the epoll instance that the parent still uses.
    std::mem::forget(runtime.replace((generation, handle.clone())));
    Ok(handle)
}
