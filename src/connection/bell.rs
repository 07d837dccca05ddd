//! The doorbell that tells the loop's thread that mail is waiting.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, OwnedFd};
#[cfg(unix)]
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

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

/// An eventfd, watched by the loop with `add_reader`.
#[cfg(target_os = "linux")]
pub struct FdRing(OwnedFd);

#[cfg(target_os = "linux")]
impl FdRing {
    pub fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(target_os = "linux")]
impl Ring for FdRing {
    fn ring(&self) {
        // The only failure is a full counter, and then the loop is awake already.
        let _ = rustix::io::write(self.0.as_fd(), &1_u64.to_ne_bytes());
    }

    fn silence(&self) {
        let _ = rustix::io::read(self.0.as_fd(), &mut [0_u8; 8]);
    }
}

/// A socket pair, where there is no eventfd.
#[cfg(all(unix, not(target_os = "linux")))]
pub struct FdRing {
    reader: std::os::unix::net::UnixStream,
    writer: std::os::unix::net::UnixStream,
}

#[cfg(all(unix, not(target_os = "linux")))]
impl FdRing {
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = std::os::unix::net::UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        Ok(Self { reader, writer })
    }

    pub fn fd(&self) -> RawFd {
        self.reader.as_raw_fd()
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
impl Ring for FdRing {
    fn ring(&self) {
        use std::io::Write;
        let _ = (&self.writer).write(&[1]);
    }

    fn silence(&self) {
        use std::io::Read;
        let _ = (&self.reader).read(&mut [0_u8; 16]);
    }
}

#[cfg(unix)]
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
