//! Both ways of moving bytes: the tokio link and an asyncio transport.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::Connection;
use super::control::report_unless_fatal;
use super::dial::DialedLink;
use crate::bridge::{Doorbell, calls};
use crate::connection::link::Reading;
use crate::connection::{Event, Link, LinkEnd, link, lock};
use crate::errors;
use crate::protocol::{Parser, ServerOp};

/// Bytes that a transport is given at once. More in one piece is copied while it waits, and lost
/// with the connection; the rest stays pending.
const PIECE: usize = 256 * 1024;
/// Traffic is light when so many rings of the doorbell in a row…
const CALM_RINGS: u32 = 4;
/// …have each brought no more than so many operations.
const CALM_OPS: u32 = 8;

/// The asyncio driver's half of what a [`Link`] is for tokio.
#[derive(Default)]
pub struct Wire {
    transport: Option<Py<PyAny>>,
    epoch: u64,
    parser: Parser,
    batch: Vec<ServerOp>,
    /// The transport has asked for no more for now.
    paused: bool,
    /// The end of the connection has been reported: what still comes is ignored.
    ended: bool,
}

impl Wire {
    fn takes_output(&self) -> bool {
        !self.paused && !self.ended
    }

    fn serves(&self, epoch: u64) -> bool {
        self.epoch == epoch && self.transport.is_some() && !self.ended
    }
}

pub enum Driver {
    Tokio(Option<Arc<Link>>),
    Asyncio(Box<Wire>),
    Closed,
}

impl Driver {
    pub fn tokio() -> Self {
        Self::Tokio(None)
    }

    pub fn asyncio() -> Self {
        Self::Asyncio(Box::default())
    }

    pub fn into_transport(self) -> Option<Py<PyAny>> {
        match self {
            Self::Asyncio(wire) => wire.transport,
            Self::Tokio(_) | Self::Closed => None,
        }
    }

    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Asyncio(wire) => visit.call(&wire.transport),
            Self::Tokio(_) | Self::Closed => Ok(()),
        }
    }
}

#[pymethods]
impl Connection {
    /// Puts a dialled link into service; returns its epoch.
    fn use_link(slf: &Bound<'_, Self>, link: &Bound<'_, DialedLink>) -> PyResult<u64> {
        let this = slf.get();
        this.check_process()?;
        let Some(link) = link.borrow_mut().0.take() else {
            return Err(PyRuntimeError::new_err("the link is in use already"));
        };
        let epoch = link.epoch();
        match &mut *lock(&this.driver) {
            Driver::Tokio(current) => *current = Some(Arc::clone(&link)),
            Driver::Closed => return Err(this.closed_error(slf.py())),
            driver @ Driver::Asyncio(_) if !matches!(this.doorbell, Doorbell::None) => {
                *driver = Driver::Tokio(Some(Arc::clone(&link)));
            }
            Driver::Asyncio(_) => return Err(PyRuntimeError::new_err("no link expected")),
        }
        this.uses_transport.store(false, Relaxed);
        if matches!(this.doorbell, Doorbell::Fd(_)) {
            this.watch(slf, &link)?;
        } else {
            link.read_on_thread();
        }
        Ok(epoch)
    }

    /// Puts an asyncio transport into service; returns its epoch. Any client may use one: TLS
    /// needs it.
    fn use_transport(&self, py: Python<'_>, transport: Py<PyAny>) -> PyResult<u64> {
        let epoch = self.shared.get()?.attach();
        match &mut *lock(&self.driver) {
            Driver::Closed => return Err(self.closed_error(py)),
            Driver::Tokio(Some(_)) => return Err(PyRuntimeError::new_err("a link is in use")),
            driver => {
                let wire = Wire { transport: Some(transport), epoch, ..Wire::default() };
                *driver = Driver::Asyncio(Box::new(wire));
            }
        }
        self.uses_transport.store(true, Relaxed);
        Ok(epoch)
    }

    /// Takes the connection out of service without a report; its socket is closed.
    pub(super) fn drop_link(&self, py: Python<'_>) -> PyResult<()> {
        self.give_up_dial();
        let mut dropped = None;
        let transport = match &mut *lock(&self.driver) {
            Driver::Tokio(link) => {
                dropped = link.take();
                None
            }
            Driver::Asyncio(wire) => wire.transport.take(),
            Driver::Closed => None,
        };
        // After a fork the I/O thread may have left its locks taken.
        if let Some(shared) = self.shared.get_unless_inherited() {
            shared.attach();
        }
        self.forget_pongs(py.get_type::<errors::TimeoutError>().as_any())?;
        if let Some(link) = dropped {
            self.unwatch(py, &link)?;
        }
        if let Some(transport) = transport
            && self.in_own_process()
        {
            calls::call_method0(transport.bind(py), intern!(py, "close"))?;
        }
        Ok(())
    }

    /// Handshake commands: written now, ahead of pending output.
    fn send_urgent(slf: &Bound<'_, Self>, commands: &[u8]) -> PyResult<()> {
        slf.get().shared.get()?.outbox.append_urgent(commands);
        Self::write_out(slf)
    }

    /// The connection is being given up: what is pending is left to the next one.
    fn hold(&self) -> PyResult<()> {
        self.shared.get()?.outbox.hold();
        Ok(())
    }

    /// Ends the handshake: `replay` is written, and pending publishes flow from now on.
    fn release(slf: &Bound<'_, Self>, replay: &[u8]) -> PyResult<()> {
        slf.get().shared.get()?.outbox.release(replay);
        Self::write_out(slf)?;
        slf.get().renew_pulls(slf.py())
    }

    /// Reads the socket: called by the loop while it watches it.
    fn read(slf: &Bound<'_, Self>) -> PyResult<()> {
        let this = slf.get();
        let bell = &this.shared.get()?.bell;
        let Some(link) = this.link()? else { return Ok(()) };
        bell.hold();
        let reading = link.read_on_loop();
        bell.release();
        let unwatched = match reading {
            Reading::Stop => this.unwatch(slf.py(), &link),
            Reading::Continue => Ok(()),
        };
        // What has been read is handed on whatever becomes of the rest.
        this.sort_mail(slf).and(unwatched)
    }

    /// Bytes that the asyncio transport of `epoch` has received.
    fn feed(slf: &Bound<'_, Self>, epoch: u64, data: &[u8]) -> PyResult<()> {
        let this = slf.get();
        let py = slf.py();
        let shared = this.shared.get()?;
        let (transport, mut parser, mut batch) = match &mut *lock(&this.driver) {
            Driver::Asyncio(wire) if !wire.ended && wire.epoch == epoch => {
                let Some(transport) = &wire.transport else { return Ok(()) };
                let transport = transport.clone_ref(py);
                (transport, std::mem::take(&mut wire.parser), std::mem::take(&mut wire.batch))
            }
            _ => return Ok(()),
        };
        let mut answer = false;
        shared.bell.hold();
        let outcome = link::contain(|| {
            parser.feed(data);
            link::deliver(epoch, &mut parser, &mut batch, shared, || answer = true)
                .map_err(LinkEnd::Protocol)
        });
        if let Driver::Asyncio(wire) = &mut *lock(&this.driver)
            && wire.epoch == epoch
        {
            wire.parser = parser;
            wire.batch = batch;
            wire.ended = outcome.is_err();
        }
        let broken = outcome.map_err(|end| shared.post(Event::Ended(epoch, end))).is_err();
        shared.bell.release();
        let aborted = if broken {
            calls::call_method0(transport.bind(py), intern!(py, "abort")).map(drop)
        } else {
            Ok(())
        };
        let answered = if answer { Self::write_out(slf) } else { Ok(()) };
        // What has been read is handed on whatever becomes of the rest. A transport takes an error
        // for the end of the connection.
        let outcome = Self::drain(slf).and(aborted).and(answered);
        report_unless_fatal(outcome, slf)
    }

    /// The asyncio transport of `epoch` is gone; without an `errno`, by the server's EOF.
    fn lost(slf: &Bound<'_, Self>, epoch: u64, errno: Option<i32>) -> PyResult<()> {
        let end = match errno {
            Some(errno) => LinkEnd::Io(std::io::Error::from_raw_os_error(errno)),
            None => LinkEnd::Eof,
        };
        let this = slf.get();
        let shared = this.shared.get()?;
        match &mut *lock(&this.driver) {
            Driver::Asyncio(wire) if wire.serves(epoch) => wire.ended = true,
            _ => return Ok(()),
        }
        shared.post(Event::Ended(epoch, end));
        Self::drain(slf)
    }

    /// Flow control of the asyncio transport.
    fn set_writable(slf: &Bound<'_, Self>, writable: bool) -> PyResult<()> {
        let this = slf.get();
        if let Driver::Asyncio(wire) = &mut *lock(&this.driver) {
            wire.paused = !writable;
        }
        if writable {
            Self::write_out(slf)?;
            Self::drain(slf)?;
        }
        Ok(())
    }
}

impl Connection {
    fn watch(&self, slf: &Bound<'_, Self>, link: &Link) -> PyResult<()> {
        let py = slf.py();
        let read = slf.getattr(intern!(py, "read"))?;
        let event_loop = self.event_loop.event_loop.bind(py);
        calls::call_method1(event_loop, intern!(py, "add_reader"), (link.fd(), read))?;
        Ok(())
    }

    fn unwatch(&self, py: Python<'_>, link: &Link) -> PyResult<()> {
        if self.in_own_process() && matches!(self.doorbell, Doorbell::Fd(_)) {
            let event_loop = self.event_loop.event_loop.bind(py);
            calls::call_method1(event_loop, intern!(py, "remove_reader"), (link.fd(),))?;
        }
        Ok(())
    }

    /// The link, if the tokio driver has one.
    pub(super) fn link(&self) -> PyResult<Option<Arc<Link>>> {
        self.check_process()?;
        Ok(match &*lock(&self.driver) {
            Driver::Tokio(Some(link)) => Some(Arc::clone(link)),
            _ => None,
        })
    }

    /// A publisher keeps the loop from turning: has the I/O thread read meanwhile.
    pub(super) fn read_beside(&self) -> PyResult<()> {
        if let Some(link) = self.link()?
            && !link.is_read_on_thread()
        {
            link.read_on_thread();
        }
        Ok(())
    }

    /// Takes reading back from the I/O thread once traffic is light again.
    pub(super) fn take_back_reading(&self, slf: &Bound<'_, Self>) -> PyResult<()> {
        let Some(link) = self.link()?.filter(|link| link.is_read_on_thread()) else {
            return Ok(());
        };
        if matches!(self.doorbell, Doorbell::Call) {
            return Ok(());
        }
        if link.take_parsed() > CALM_OPS {
            self.calm_rings.store(0, Relaxed);
            return Ok(());
        }
        if self.calm_rings.fetch_add(1, Relaxed) + 1 < CALM_RINGS {
            return Ok(());
        }
        self.calm_rings.store(0, Relaxed);
        if link.take_back() { self.watch(slf, &link) } else { Ok(()) }
    }

    /// Has pending output written: as far as the socket takes it without blocking, or by the loop
    /// where an asyncio transport carries it.
    ///
    /// A transport belongs to the thread that runs the loop. It also takes what a signal handler
    /// raises while it writes for the end of the connection, so that it is written to in a call by
    /// the loop alone, where the program is not in the middle of anything.
    pub fn write_out(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        if let Some(link) = this.link()? {
            link.write_now();
            return this.check_served(py, &link);
        }
        if !this.runs_here(py)? {
            return Self::arm_kick(slf, &this.event_loop.call_soon_threadsafe);
        }
        // Even if that is due: a loop whose run has ended by an exception may have lost the call.
        this.kick_armed.store(false, Relaxed);
        Self::arm_kick(slf, &this.event_loop.call_soon)
    }

    /// Writes what is pending to the asyncio transport, if there is one, as long as it asks for
    /// more.
    pub(super) fn write_to_transport(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let this = slf.get();
        let shared = this.shared.get()?;
        while let Some((transport, epoch)) = this.open_transport(py)
            && let Some(piece) = shared.outbox.take(epoch, PIECE, |piece| PyBytes::new(py, piece))
        {
            let transport = transport.bind(py);
            let written = calls::call_method1(transport, intern!(py, "write"), (piece,));
            if let Err(error) = written {
                return this.fail_transport(slf, transport, epoch, error);
            }
        }
        if shared.outbox.take_room_notice(shared.room_limit.load(Relaxed)) {
            this.release_publishers(py)?;
        }
        Ok(())
    }

    /// The transport that takes output now, and its epoch. What is published after the end waits
    /// for the next connection.
    fn open_transport(&self, py: Python<'_>) -> Option<(Py<PyAny>, u64)> {
        match &*lock(&self.driver) {
            Driver::Asyncio(wire) if wire.takes_output() => {
                Some((wire.transport.as_ref()?.clone_ref(py), wire.epoch))
            }
            _ => None,
        }
    }

    /// Whether a transport would take output now.
    pub(super) fn is_writable(&self) -> bool {
        matches!(&*lock(&self.driver), Driver::Asyncio(wire) if wire.takes_output())
    }

    /// Writing has raised `error`: how much has been written is not known, so that nothing can
    /// follow. Returns the error.
    fn fail_transport(
        &self,
        slf: &Bound<'_, Self>,
        transport: &Bound<'_, PyAny>,
        epoch: u64,
        error: PyErr,
    ) -> PyResult<()> {
        match &mut *lock(&self.driver) {
            Driver::Asyncio(wire) if wire.serves(epoch) => wire.ended = true,
            _ => return Err(error),
        }
        let text = format!("writing was interrupted: {error}");
        let end = LinkEnd::Io(std::io::Error::other(text));
        self.shared.get()?.post(Event::Ended(epoch, end));
        let aborted = calls::call_method0(transport, intern!(slf.py(), "abort"));
        Self::drain(slf).and(aborted.map(drop)).and(Err(error))
    }
}
