//! Python awaitables for Rust futures, on our own runtime. For rare operations only: each
//! costs two spawns and a trip through a blocking thread.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use pyo3::prelude::*;
use pyo3_async_runtimes::TaskLocals;
use pyo3_async_runtimes::generic::{self, ContextExt, JoinError, Runtime};
use tokio::task::JoinHandle;

use crate::connection::runtime;

/// The interpreter is shutting down: a result delivered now would find none.
static EXITING: AtomicBool = AtomicBool::new(false);

/// Drops results from now on.
pub fn stop_delivering() {
    EXITING.store(true, Ordering::Release);
}

tokio::task_local! {
    static LOCALS: RefCell<Option<TaskLocals>>;
}

/// The I/O thread's runtime, which unlike the bridge's own one is renewed after a fork.
struct IoRuntime;

struct Joined(tokio::task::JoinError);

impl JoinError for Joined {
    fn is_panic(&self) -> bool {
        self.0.is_panic()
    }

    fn into_panic(self) -> Box<dyn std::any::Any + Send + 'static> {
        self.0.into_panic()
    }
}

/// A spawned task, or nothing if there is no runtime to spawn it on.
struct Handle(Option<JoinHandle<()>>);

impl Future for Handle {
    type Output = Result<(), Joined>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Some(handle) => Pin::new(handle).poll(context).map_err(Joined),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Runtime for IoRuntime {
    type JoinError = Joined;
    type JoinHandle = Handle;

    fn spawn<F>(future: F) -> Handle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Handle(runtime::handle().ok().map(|handle| handle.spawn(future)))
    }

    fn spawn_blocking<F>(work: F) -> Handle
    where
        F: FnOnce() + Send + 'static,
    {
        let work = move || {
            if !EXITING.load(Ordering::Acquire) {
                work();
            }
        };
        Handle(runtime::handle().ok().map(|handle| handle.spawn_blocking(work)))
    }
}

impl ContextExt for IoRuntime {
    fn scope<F, R>(locals: TaskLocals, future: F) -> Pin<Box<dyn Future<Output = R> + Send>>
    where
        F: Future<Output = R> + Send + 'static,
    {
        Box::pin(LOCALS.scope(RefCell::new(Some(locals)), future))
    }

    fn get_task_locals() -> Option<TaskLocals> {
        LOCALS.try_with(|locals| locals.borrow().clone()).unwrap_or(None)
    }
}

/// Runs `future` on the I/O thread; cancelling the awaitable cancels it.
pub fn future_into_py<F, T>(py: Python<'_>, future: F) -> PyResult<Bound<'_, PyAny>>
where
    F: Future<Output = PyResult<T>> + Send + 'static,
    T: for<'py> IntoPyObject<'py> + Send + 'static,
{
    // Fails here and not in the spawned task, whose awaitable would never end.
    runtime::handle()?;
    generic::future_into_py::<IoRuntime, F, T>(py, future)
}
