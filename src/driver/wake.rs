//! The eventfd through which callers wake the dbus thread out of poll(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// A bell: rung any number of times, it is heard at least once.
#[derive(Debug)]
pub(crate) struct Wake(EventFd);

impl Wake {
    pub(crate) fn new() -> io::Result<Wake> {
        // Close-on-exec, for the host program may execute another; non-blocking, for nobody waits here.
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Wake(EventFd::from_value_and_flags(0, flags)?))
    }

    /// Rings. Fails only where the counter is full, and then the bell is ringing already.
    pub(crate) fn ring(&self) {
        let _ = self.0.write(1);
    }

    /// Stops the ringing.
    pub(crate) fn clear(&self) {
        let _ = self.0.read();
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
