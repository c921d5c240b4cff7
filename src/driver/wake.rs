//! The eventfd through which callers wake the dbus thread out of poll(2).

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::error::{Error, Result};

/// A bell: rung any number of times, it is heard at least once.
#[derive(Debug)]
pub(crate) struct Wake(EventFd);

impl Wake {
    pub(crate) fn new() -> Result<Wake> {
        // Close-on-exec, for the host program may execute another; non-blocking, for nobody waits here.
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let made = EventFd::from_value_and_flags(0, flags);
        made.map(Wake).map_err(|errno| Error::System { doing: "make an eventfd", source: errno.into() })
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
