//! The doorbell that tells the loop's thread that mail is waiting.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, OwnedFd};
use std::os::fd::{AsRawFd, RawFd};
#[cfg(all(unix, not(target_os = "linux")))]
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use super::lock;
use super::sync::atomic::{AtomicBool, Ordering};

/// Carries one ring to the loop's thread.
pub trait Ring: Send + Sync {
    fn ring(&self);
    /// Called on the loop's thread before it collects the mail.
    fn silence(&self);
}

/// Rings on the empty to non-empty edge only: further rings until [`Bell::silence`] are free.
pub struct Bell {
    rung: AtomicBool,
    ring: Box<dyn Ring>,
}

impl Bell {
    pub fn new(ring: Box<dyn Ring>) -> Self {
        Self { rung: AtomicBool::new(false), ring }
    }

    /// Call after the mail is in place.
    pub fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.ring.ring();
        }
    }

    /// Makes rings free until [`Bell::release`]: for posting and collecting on the loop's thread.
    pub fn hold(&self) {
        self.rung.store(true, Ordering::Release);
    }

    /// Ends [`Bell::hold`]; call before collecting the mail.
    pub fn release(&self) {
        self.rung.store(false, Ordering::Release);
    }

    /// Call before collecting the mail: what is posted afterwards rings anew.
    pub fn silence(&self) {
        self.ring.silence();
        self.rung.store(false, Ordering::Release);
    }
}

/// A bell for a driver whose bytes arrive on the loop's thread already.
pub struct Silent;

impl Ring for Silent {
    fn ring(&self) {}
    fn silence(&self) {}
}

/// An eventfd, watched by the loop with `add_reader`. It can be closed while the I/O thread
/// still holds it; rings go nowhere then, and never into a descriptor that came after it.
#[cfg(target_os = "linux")]
pub struct FdRing(Mutex<Option<OwnedFd>>);

#[cfg(target_os = "linux")]
impl FdRing {
    pub fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Mutex::new(Some(fd))))
    }

    /// `None` once closed.
    pub fn fd(&self) -> Option<RawFd> {
        lock(&self.0).as_ref().map(AsRawFd::as_raw_fd)
    }

    pub fn close(&self) {
        lock(&self.0).take();
    }
}

#[cfg(target_os = "linux")]
impl Ring for FdRing {
    fn ring(&self) {
        if let Some(fd) = &*lock(&self.0) {
            // The only failure is a full counter, and then the loop is awake already.
            let _ = rustix::io::write(fd.as_fd(), &1_u64.to_ne_bytes());
        }
    }

    fn silence(&self) {
        if let Some(fd) = &*lock(&self.0) {
            let _ = rustix::io::read(fd.as_fd(), &mut [0_u8; 8]);
        }
    }
}

/// A socket pair (reader, writer), where there is no eventfd.
#[cfg(all(unix, not(target_os = "linux")))]
pub struct FdRing(Mutex<Option<(UnixStream, UnixStream)>>);

#[cfg(all(unix, not(target_os = "linux")))]
impl FdRing {
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Self(Mutex::new(Some((reader, writer)))))
    }

    /// `None` once closed.
    pub fn fd(&self) -> Option<RawFd> {
        lock(&self.0).as_ref().map(|(reader, _)| reader.as_raw_fd())
    }

    pub fn close(&self) {
        lock(&self.0).take();
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
impl Ring for FdRing {
    fn ring(&self) {
        use std::io::Write;
        if let Some((_, writer)) = &mut *lock(&self.0) {
            let _ = writer.write(&[1]);
        }
    }

    fn silence(&self) {
        use std::io::Read;
        if let Some((reader, _)) = &mut *lock(&self.0) {
            let _ = reader.read(&mut [0_u8; 16]);
        }
    }
}

impl<R: Ring + ?Sized> Ring for std::sync::Arc<R> {
    fn ring(&self) {
        (**self).ring();
    }

    fn silence(&self) {
        (**self).silence();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Ring for Counter {
        fn ring(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn silence(&self) {}
    }

    #[test]
    fn rings_once_until_silenced() {
        let counter = Arc::new(Counter::default());
        let bell = Bell::new(Box::new(Arc::clone(&counter)));
        bell.ring();
        bell.ring();
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        bell.silence();
        bell.ring();
        assert_eq!(counter.0.load(Ordering::Relaxed), 2);
    }
}
