//! The one door to the system calls that have no safe wrapper.
//!
//! All `unsafe` of the crate is here, each block with the reason why it is sound.

#![allow(unsafe_code, reason = "this is the one place for it")]

use std::os::fd::{BorrowedFd, RawFd};

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
