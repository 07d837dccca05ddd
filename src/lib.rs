//! Native core of fastnats: the module `nats._core`. Registration only.

#[cfg(panic = "abort")]
compile_error!("panics are contained at the edges: build with panic = \"unwind\"");

#[cfg(feature = "python")]
mod bridge;
#[cfg(feature = "python")]
mod client;
pub mod connection;
#[cfg(feature = "python")]
mod consumer;
#[cfg(feature = "python")]
mod errors;
#[cfg(feature = "python")]
mod inlet;
pub mod jetstream;
#[cfg(feature = "python")]
mod message;
#[cfg(feature = "python")]
mod process;
pub mod protocol;
#[cfg(feature = "python")]
mod request;
#[cfg(feature = "python")]
mod signing;
#[cfg(feature = "python")]
mod subscription;
#[cfg(feature = "python")]
mod websocket;
#[cfg(feature = "python")]
mod wire_parser;

#[cfg(feature = "python")]
// Not tested without a GIL.
#[pyo3::pymodule(gil_used = true)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::client::{Connection, DialedLink};
    #[pymodule_export]
    use crate::jetstream::entries::{EntryFeed, EntryShape};
    #[pymodule_export]
    use crate::jetstream::fetch::PullFetch;
    #[pymodule_export]
    use crate::jetstream::initial::InitialValues;
    #[pymodule_export]
    use crate::jetstream::objects::ObjectReader;
    #[pymodule_export]
    use crate::jetstream::window::AckWindow;
    #[pymodule_export]
    use crate::message::Message;
    #[pymodule_export]
    use crate::signing::{public_nkey, sign_with_nkey};
    #[pymodule_export]
    use crate::subscription::SubscriptionCore;
    #[pymodule_export]
    use crate::websocket::WebSocketCodec;
    #[pymodule_export]
    use crate::wire_parser::WireParser;

    /// Raises `BadSubjectError` unless the subject can be published to.
    #[pyfunction]
    fn check_publish_subject(subject: &str) -> PyResult<()> {
        Ok(crate::protocol::subject::check_publish(subject)?)
    }

    /// Raises `BadSubjectError` unless the subject can be subscribed to.
    #[pyfunction]
    fn check_subscribe_subject(subject: &str) -> PyResult<()> {
        Ok(crate::protocol::subject::check_subscribe(subject)?)
    }

    /// Raises `BadSubjectError` unless the name can be that of a queue group.
    #[pyfunction]
    fn check_queue(queue: &str) -> PyResult<()> {
        Ok(crate::protocol::subject::check_queue(queue)?)
    }

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::bridge::claim_interpreter()?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("BUILD", if cfg!(debug_assertions) { "debug" } else { "release" })?;
        let py = module.py();
        let after_fork = pyo3::wrap_pyfunction!(after_fork_in_child, module)?;
        let arguments = pyo3::types::PyDict::new(py);
        arguments.set_item("after_in_child", after_fork)?;
        let os = py.import("os")?;
        if os.hasattr("register_at_fork")? {
            crate::bridge::calls::call_with(&os.getattr("register_at_fork")?, &arguments)?;
        }
        Ok(())
    }

    #[pyfunction]
    fn after_fork_in_child() {
        crate::connection::runtime::after_fork_in_child();
    }
}
