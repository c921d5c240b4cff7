//! The one door to the system calls that have no safe wrapper.
//!
//! All `unsafe` of the crate is here, each block with the reason why it is sound.

#![allow(unsafe_code, reason = "this is the one place for it")]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;

/// Lends out a descriptor that its owner keeps to itself as a number.
pub(crate) fn borrow<T>(_owner: &T, fd: RawFd) -> BorrowedFd<'_> {
    // SAFETY: the one caller names the number by which the owner itself, borrowed for as long, holds its socket.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Has these called around every `fork(3)` from now on: before it, and after it in the parent and in the child. In the
/// child they may do nothing but what a signal handler may (`pthread_atfork(3)`).
pub(crate) fn at_fork(before: extern "C" fn(), in_parent: extern "C" fn(), in_child: extern "C" fn()) {
    // SAFETY: the three are functions of this library, which the C library forgets again if it is unloaded. Without
    // memory to note them, forks are told by the process's number alone.
    let _ = unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

/// A descriptor that means the process which has this number now, and never a later one. Close-on-exec
/// (`pidfd_open(2)`, Linux 5.3).
pub(crate) fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes two numbers, and gives a new descriptor that nobody else owns.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0);
        let fd = RawFd::try_from(check(fd)?).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

fn check(answer: libc::c_long) -> io::Result<libc::c_long> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}
