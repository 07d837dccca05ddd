//! Where the two threads meet: making messages from frames, resolving futures, the doorbell.
//!
//! The only module with `unsafe` code, its submodule included.

pub mod calls;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use pyo3::exceptions::{PyImportError, PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType, PyWeakrefReference};
use pyo3::{ffi, intern};

use crate::client::Connection;
use crate::connection::bell::{FdRing, Ring};
use crate::message::{Message, header_dict, wire_text};
use crate::protocol::Frame;

/// Makes the objects that handlers see.
pub struct MessageFactory {
    /// `Client.msg_class`, or the client's `_build_message` if that has been replaced.
    class: Py<PyAny>,
    client: Py<PyAny>,
    /// `class` is a `Msg` with the constructor it was born with: fill it without calling that.
    native: bool,
    no_arguments: Py<PyTuple>,
}

impl MessageFactory {
    pub fn new(
        py: Python<'_>,
        class: Py<PyAny>,
        client: Py<PyAny>,
        native: bool,
    ) -> PyResult<Self> {
        if native {
            let class = class.bind(py).cast::<PyType>()?;
            if !class.is_subclass_of::<Message>()? {
                return Err(PyRuntimeError::new_err("a native message class derives from Message"));
            }
        }
        Ok(Self { class, client, native, no_arguments: PyTuple::empty(py).unbind() })
    }

    pub fn traverse(&self, visit: &pyo3::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.class)?;
        visit.call(&self.client)
    }

    /// A message that the application may keep for long.
    pub fn make_lasting<'py>(
        &self,
        py: Python<'py>,
        frame: Frame,
        subject: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.fill(py, frame, subject, true)
    }

    /// `subject` is the subject's text, where the caller has it already.
    pub fn make<'py>(
        &self,
        py: Python<'py>,
        frame: Frame,
        subject: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.fill(py, frame, subject, false)
    }

    fn fill<'py>(
        &self,
        py: Python<'py>,
        frame: Frame,
        subject: Option<Py<PyAny>>,
        lasts: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        if !self.native {
            return self.call(py, &frame);
        }
        let class = self.class.bind(py).cast::<PyType>()?;
        let object = calls::allocate(class, self.no_arguments.bind(py))?;
        // A class may have got a `__new__` of its own since, which returns what it likes.
        if object.get_type_ptr().cast() != self.class.as_ptr() {
            return Err(PyTypeError::new_err("a message class makes messages of its own kind"));
        }
        // SAFETY: the object is exactly of the class, which derives from Message: see `new`.
        #[allow(unsafe_code)]
        let message = unsafe { object.cast_unchecked::<Message>() };
        let mut filled = message.try_borrow_mut()?;
        filled.receive(frame, subject, self.client.clone_ref(py));
        if lasts {
            filled.outlive(py);
        }
        drop(filled);
        Ok(object)
    }

    /// Constructs a message the way a user would.
    fn call<'py>(&self, py: Python<'py>, frame: &Frame) -> PyResult<Bound<'py, PyAny>> {
        let arguments = PyDict::new(py);
        arguments.set_item(intern!(py, "subject"), wire_text(py, frame.subject()))?;
        arguments.set_item(intern!(py, "reply"), wire_text(py, frame.reply()))?;
        arguments.set_item(intern!(py, "data"), frame.payload())?;
        arguments.set_item(intern!(py, "headers"), header_dict(py, frame.headers())?)?;
        arguments.set_item(intern!(py, "_client"), &self.client)?;
        arguments.set_item(intern!(py, "_sid"), frame.sid())?;
        calls::call_with(self.class.bind(py), &arguments)
    }
}

/// How far a coroutine got without waiting.
pub enum Started<'py> {
    Done,
    /// It waits for this, as a task would be told.
    Suspended(Bound<'py, PyAny>),
    /// Some other awaitable: nothing has been done with it.
    NotACoroutine,
}

/// Runs a coroutine object up to its first suspension, as `send(None)` does.
pub fn start_coroutine<'py>(awaitable: &Bound<'py, PyAny>) -> PyResult<Started<'py>> {
    static COROUTINE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = awaitable.py();
    let coroutine = COROUTINE.import(py, "types", "CoroutineType")?;
    if !awaitable.get_type().is(coroutine) {
        return Ok(Started::NotACoroutine);
    }
    Ok(match calls::send(awaitable)? {
        calls::Sent::Returned => Started::Done,
        calls::Sent::Yielded(value) => Started::Suspended(value),
    })
}

/// Whether anybody but the caller holds the object.
pub fn is_shared(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object is valid, and the GIL that `Bound` stands for is held.
    #[allow(unsafe_code)]
    let references = unsafe { ffi::Py_REFCNT(object.as_ptr()) };
    references > 1
}

/// Makes this interpreter the one of the process that may use the module: what is kept over calls,
/// classes and interned strings among it, belongs to one.
///
/// Raises `ImportError` in every other one.
pub fn claim_interpreter() -> PyResult<()> {
    static OWNER: AtomicI64 = AtomicI64::new(-1);
    // SAFETY: the thread is attached to an interpreter, which both functions only look at.
    #[allow(unsafe_code)]
    let id = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    match OWNER.compare_exchange(-1, id, Ordering::Relaxed, Ordering::Relaxed) {
        Err(owner) if owner != id => Err(PyImportError::new_err(
            "nats: another interpreter of this process uses the module already, and it works in \
             one per process only; with mod_wsgi, set WSGIApplicationGroup %{GLOBAL}",
        )),
        _ => Ok(()),
    }
}

/// Sets the result of an `asyncio.Future` unless it is done, e.g. cancelled.
pub fn resolve<'py>(future: &Bound<'py, PyAny>, value: impl IntoPyObject<'py>) -> PyResult<()> {
    let py = future.py();
    if !is_done(future)? {
        calls::call_method1(future, intern!(py, "set_result"), (value,))?;
    }
    Ok(())
}

/// Fails an `asyncio.Future` unless it is done.
pub fn reject(future: &Bound<'_, PyAny>, error: PyErr) -> PyResult<()> {
    let py = future.py();
    if !is_done(future)? {
        calls::call_method1(future, intern!(py, "set_exception"), (error.into_value(py),))?;
    }
    Ok(())
}

pub fn is_done(future: &Bound<'_, PyAny>) -> PyResult<bool> {
    calls::call_method0(future, intern!(future.py(), "done"))?.is_truthy()
}

/// The doorbell of a client: an fd where the loop can watch one, else a call to the loop.
pub enum Doorbell {
    Fd(Arc<FdRing>),
    /// Loops without `add_reader`, such as Windows' Proactor.
    Call,
    /// The asyncio driver: bytes arrive on the loop's thread.
    None,
}

/// Rings with `loop.call_soon_threadsafe`, from a thread that may wait for the GIL.
pub struct CallRing {
    /// A weak reference to the connection. The garbage collector doesn't see what the I/O thread
    /// holds: anything else would keep the client for ever.
    pub target: Arc<OnceLock<Py<PyWeakrefReference>>>,
}

impl Ring for CallRing {
    fn ring(&self) {
        let Ok(runtime) = crate::connection::runtime::handle() else { return };
        let target = Arc::clone(&self.target);
        runtime.spawn_blocking(move || {
            // Not at all where the interpreter is on its way out.
            Python::try_attach(|py| {
                let target = target.get().and_then(|target| target.bind(py).upgrade());
                if let Some(Ok(connection)) = target.map(Bound::cast_into::<Connection>) {
                    // The only failure is a closed loop, and then nobody listens.
                    let _ = Connection::drain_soon(&connection);
                }
            });
        });
    }

    fn silence(&self) {}
}

/// An awaitable that gives every other task of the loop one turn.
#[pyclass(frozen, module = "nats._core")]
pub struct YieldOnce;

#[pyclass(module = "nats._core")]
struct YieldOnceIterator {
    yielded: bool,
}

#[pymethods]
impl YieldOnce {
    fn __await__(&self) -> YieldOnceIterator {
        YieldOnceIterator { yielded: false }
    }
}

#[pymethods]
impl YieldOnceIterator {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    /// A bare `yield`, which is `None`: asyncio runs the task again in the next turn.
    fn __next__(&mut self, py: Python<'_>) -> Option<Py<PyAny>> {
        (!std::mem::replace(&mut self.yielded, true)).then(|| py.None())
    }
}
