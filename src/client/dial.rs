//! Dialling: the I/O thread connects, the doorbell brings the outcome.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::Connection;
use crate::bridge::{reject, resolve};
use crate::connection::{Event, Link, lock, runtime};
use crate::errors;
use crate::process::OwnProcess;

/// A dial that is under way; given up when dropped.
pub struct Dialing {
    pub(super) future: Py<PyAny>,
    address: SocketAddr,
    /// Not in the mail: what is never collected would keep its socket.
    outcome: oneshot::Receiver<io::Result<Link>>,
    task: OwnProcess<AbortHandle>,
}

impl Drop for Dialing {
    fn drop(&mut self) {
        // That of an inherited one runs in the parent alone.
        if let Some(task) = self.task.get_unless_inherited() {
            task.abort();
        }
    }
}

/// The result of `Connection.dial`: closes its socket unless it is put into service.
#[pyclass(module = "nats._core")]
pub struct DialedLink(pub(super) Option<Arc<Link>>);

#[pymethods]
impl Connection {
    /// Dials a numeric address on the I/O thread. Returns a future, which raises what asyncio
    /// would raise. Whatever was being dialled before is given up.
    ///
    /// `scope_id` is the interface of a link-local IPv6 address, zero elsewhere.
    fn dial<'py>(
        &self,
        py: Python<'py>,
        host: &str,
        port: u16,
        scope_id: u32,
    ) -> PyResult<Bound<'py, PyAny>> {
        let shared = Arc::clone(self.shared.get()?);
        let ip: IpAddr = match host.split('%').next().unwrap_or_default().parse() {
            Ok(ip) => ip,
            Err(_) => return Err(PyValueError::new_err(format!("not an IP address: {host:?}"))),
        };
        let address = match ip {
            IpAddr::V4(ip) => SocketAddr::from((ip, port)),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope_id).into(),
        };
        let runtime = runtime::handle()?;
        let future = self.create_future(py)?;
        let (sender, outcome) = oneshot::channel();
        let task = runtime.spawn(async move {
            // A link that nobody waits for any more is dropped here.
            let _ = sender.send(Link::dial(address, Arc::clone(&shared)).await);
            shared.post(Event::Dialed);
        });
        let dialing = Dialing {
            future: future.clone().unbind(),
            address,
            outcome,
            task: OwnProcess::new(task.abort_handle()),
        };
        let before = lock(&self.dialing).replace(dialing);
        drop(before);
        Ok(future)
    }
}

impl Connection {
    /// Hands the outcome of the dial to whoever waits for it.
    pub(super) fn finish_dial(&self, py: Python<'_>) -> PyResult<()> {
        let mut slot = lock(&self.dialing);
        // Of a dial that was given up there is no outcome.
        let Some(Ok(outcome)) = slot.as_mut().map(|dialing| dialing.outcome.try_recv()) else {
            return Ok(());
        };
        let Some(dialing) = slot.take() else { return Ok(()) };
        drop(slot);
        let future = dialing.future.bind(py);
        match outcome {
            Ok(link) => resolve(future, DialedLink(Some(Arc::new(link)))),
            Err(error) => reject(future, errors::connect_error(&error, &dialing.address)),
        }
    }

    pub(super) fn give_up_dial(&self) {
        let dialing = lock(&self.dialing).take();
        drop(dialing);
    }
}
