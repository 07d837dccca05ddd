//! Calls of Python code that a thread may never come back from.
//!
//! Before 3.14, CPython ends a daemon thread that wants the GIL back once the interpreter has
//! begun to finalize: with `pthread_exit`, which glibc turns into an unwinding of the stack that
//! aborts the process in a Rust frame. The frames here are the innermost ones that it meets, and hold such a
//! thread for ever instead, which is what CPython does itself since 3.14. So Python code is called
//! through this module and nothing else (`clippy.toml` names what must not be used).

use std::hint::black_box;
use std::mem;
use std::time::Duration;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

/// Holds a thread whose stack is being unwound.
struct Hold;

impl Drop for Hold {
    fn drop(&mut self) {
        loop {
            std::thread::sleep(Duration::MAX);
        }
    }
}

/// Runs a call of a function from [`unwinding!`], and nothing else: a panic would be held as well.
#[inline]
fn guarded<R>(call: impl FnOnce() -> R) -> R {
    let hold = Hold;
    let result = call();
    mem::forget(hold);
    result
}

/// A function of Python's C API as one that unwinds. They are declared as functions that don't,
/// and what is known of the address would be used: it is hidden.
macro_rules! unwinding {
    ($function:path, fn($($argument:ty),*) $(-> $result:ty)?) => {{
        let function: unsafe extern "C" fn($($argument),*) $(-> $result)? = $function;
        // SAFETY: of the same signature; "C-unwind" only says that a call may unwind as well.
        #[allow(unsafe_code)]
        let function = unsafe {
            mem::transmute::<
                unsafe extern "C" fn($($argument),*) $(-> $result)?,
                unsafe extern "C-unwind" fn($($argument),*) $(-> $result)?,
            >(function)
        };
        black_box(function)
    }};
}

/// Positional arguments: a tuple.
pub trait Arguments<'py>:
    IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>
{
}

impl<'py, T> Arguments<'py> for T where
    T: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>
{
}

/// `callable()`
pub fn call0<'py>(callable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let call = unwinding!(ffi::PyObject_CallNoArgs, fn(*mut PyObject) -> *mut PyObject);
    // SAFETY: the callable is a valid object. The result is a new reference, or null with an
    // exception set.
    #[allow(unsafe_code)]
    unsafe {
        let result = guarded(|| call(callable.as_ptr()));
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// `callable(*arguments)`
pub fn call1<'py>(
    callable: &Bound<'py, PyAny>,
    arguments: impl Arguments<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    call(callable, arguments.into_pyobject(callable.py())?, None)
}

/// `callable(**keywords)`
pub fn call_with<'py>(
    callable: &Bound<'py, PyAny>,
    keywords: &Bound<'py, PyDict>,
) -> PyResult<Bound<'py, PyAny>> {
    call(callable, PyTuple::empty(callable.py()), Some(keywords))
}

/// `object.name()`
pub fn call_method0<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    type CallMethod =
        unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, ...) -> *mut PyObject;
    // SAFETY: of the same signature, see `unwinding!`, which knows of no variable arguments. Both
    // are valid objects, and null ends the arguments. The result is a new reference, or null with
    // an exception set.
    #[allow(unsafe_code)]
    unsafe {
        let call = mem::transmute::<*const (), CallMethod>(ffi::PyObject_CallMethodObjArgs as _);
        let call = black_box(call);
        let end = std::ptr::null_mut::<PyObject>();
        let result = guarded(|| call(object.as_ptr(), name.as_ptr(), end));
        Bound::from_owned_ptr_or_err(object.py(), result)
    }
}

/// `object.name(*arguments)`
pub fn call_method1<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    arguments: impl Arguments<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    call1(&attribute(object, name)?, arguments)
}

/// `object.name`
pub fn attribute<'py>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    let get = unwinding!(ffi::PyObject_GetAttr, fn(*mut PyObject, *mut PyObject) -> *mut PyObject);
    // SAFETY: both are valid objects. The result is a new reference, or null with an exception set.
    #[allow(unsafe_code)]
    unsafe {
        let result = guarded(|| get(object.as_ptr(), name.as_ptr()));
        Bound::from_owned_ptr_or_err(object.py(), result)
    }
}

/// Lets go of an object, whose finalizer may be Python code.
pub fn release(object: Bound<'_, PyAny>) {
    let release = unwinding!(ffi::Py_DecRef, fn(*mut PyObject));
    // SAFETY: the reference is ours, and given up here.
    #[allow(unsafe_code)]
    guarded(|| unsafe { release(object.into_ptr()) });
}

/// Reports an exception that nobody can be told of, as `sys.unraisablehook` does.
pub fn report(error: PyErr, context: &Bound<'_, PyAny>) {
    let report = unwinding!(ffi::PyErr_WriteUnraisable, fn(*mut PyObject));
    error.restore(context.py());
    // SAFETY: the context is a valid object, and an exception is set.
    #[allow(unsafe_code)]
    guarded(|| unsafe { report(context.as_ptr()) });
}

/// Runs the handlers of signals that have come, whose exception it returns: where it can still be
/// undone what Python code doesn't get to know of if they run right after the return to it.
pub fn check_signals(py: Python<'_>) -> PyResult<()> {
    let check = unwinding!(ffi::PyErr_CheckSignals, fn() -> std::ffi::c_int);
    // SAFETY: the GIL is held. An exception is set unless the outcome is zero.
    #[allow(unsafe_code)]
    match guarded(|| unsafe { check() }) {
        0 => Ok(()),
        _ => Err(PyErr::fetch(py)),
    }
}

/// How far a coroutine got in [`send`].
pub enum Sent<'py> {
    Returned,
    Yielded(Bound<'py, PyAny>),
}

/// `coroutine.send(None)`, where returning isn't an exception. What is returned is dropped.
pub fn send<'py>(coroutine: &Bound<'py, PyAny>) -> PyResult<Sent<'py>> {
    let send = unwinding!(
        ffi::PyIter_Send,
        fn(*mut PyObject, *mut PyObject, *mut *mut PyObject) -> ffi::PySendResult
    );
    let py = coroutine.py();
    let mut value = std::ptr::null_mut();
    // SAFETY: the object and None are valid for the call. What comes back in `value` is a new
    // reference unless the outcome is an error, which leaves an exception set.
    #[allow(unsafe_code)]
    unsafe {
        match guarded(|| send(coroutine.as_ptr(), ffi::Py_None(), &raw mut value)) {
            ffi::PySendResult::PYGEN_RETURN => {
                release(Bound::from_owned_ptr(py, value));
                Ok(Sent::Returned)
            }
            ffi::PySendResult::PYGEN_NEXT => Ok(Sent::Yielded(Bound::from_owned_ptr(py, value))),
            ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
        }
    }
}

/// `class.__new__(class)` for a class whose instances can be made this way.
pub fn allocate<'py>(
    class: &Bound<'py, PyType>,
    no_arguments: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyAny>> {
    type New = unsafe extern "C-unwind" fn(
        *mut ffi::PyTypeObject,
        *mut PyObject,
        *mut PyObject,
    ) -> *mut PyObject;
    // SAFETY: the class is a heap type, which PyType_GetSlot answers for, and Py_tp_new of a class
    // that can be instantiated is a `newfunc`, here as one that unwinds. It returns a new
    // reference, or null with an exception set.
    #[allow(unsafe_code)]
    unsafe {
        let slot = ffi::PyType_GetSlot(class.as_type_ptr(), ffi::Py_tp_new);
        let new = mem::transmute::<*mut std::ffi::c_void, New>(slot);
        let object =
            guarded(|| new(class.as_type_ptr(), no_arguments.as_ptr(), std::ptr::null_mut()));
        Bound::from_owned_ptr_or_err(class.py(), object)
    }
}

fn call<'py>(
    callable: &Bound<'py, PyAny>,
    arguments: Bound<'py, PyTuple>,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let call = unwinding!(
        ffi::PyObject_Call,
        fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject
    );
    let py = callable.py();
    let keywords = keywords.map_or(std::ptr::null_mut(), Bound::as_ptr);
    // SAFETY: these are valid objects, or null where there are no keywords. The result is a new
    // reference, or null with an exception set.
    #[allow(unsafe_code)]
    let result = unsafe {
        let result = guarded(|| call(callable.as_ptr(), arguments.as_ptr(), keywords));
        Bound::from_owned_ptr_or_err(py, result)
    };
    // With the last reference to an argument, maybe.
    release(arguments.into_any());
    result
}
