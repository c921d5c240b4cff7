//! The one door to the system calls that have no safe wrapper: forks, pidfds, and what a child does before exec.
//!
//! All `unsafe` of the crate is here, each block with the reason why it is sound.

#![allow(unsafe_code, reason = "this is the one place for it")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;

/// What a held child is told; anything else, the end of the line included, means that it must not execute.
pub(crate) const GO: u8 = b'g';
pub(crate) const STOP: u8 = b's';

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

/// A second descriptor of what one is open on, close-on-exec (`fcntl(2)`, `F_DUPFD_CLOEXEC`).
#[cfg(feature = "capi")]
pub(crate) fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes two numbers, of which one that is no open descriptor is refused, and gives a new descriptor that
    // nobody else owns.
    unsafe {
        let duplicate = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0);
        check(duplicate.into())?;
        Ok(OwnedFd::from_raw_fd(duplicate))
    }
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

/// Sends a signal to the process that a pidfd means (`pidfd_send_signal(2)`, Linux 5.1).
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let (fd, nothing) = (libc::c_long::from(pidfd.as_raw_fd()), std::ptr::null::<libc::siginfo_t>());
    // SAFETY: the descriptor is open while it is borrowed, and the kernel takes no siginfo for "as kill(2) does".
    let sent = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::c_long::from(signal), nothing, 0 as libc::c_long)
    };
    check(sent).map(drop)
}

/// Sends a signal to the process that has this number (`kill(2)`): the caller must know whose it is.
pub(crate) fn kill(pid: u32, signal: i32) -> io::Result<()> {
    // Not a group, and not everybody.
    let pid = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: takes two numbers.
    check(unsafe { libc::kill(pid, signal) }.into()).map(drop)
}

/// Whether a connected local socket's peer is in a PID namespace that this process cannot see into, so that the numbers
/// of processes here mean others there, or none (`unix(7)`, `SO_PEERCRED`). Not so where that cannot be known.
pub(crate) fn peer_counts_otherwise(socket: BorrowedFd<'_>) -> bool {
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut size = size_of::<libc::ucred>() as libc::socklen_t;
    let (fd, place) = (socket.as_raw_fd(), (&raw mut peer).cast());
    // SAFETY: the kernel writes no more than `size` bytes to the place given, which has as many.
    let told = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, place, &raw mut size) };
    // A socket that is not local has no peer's user either.
    told == 0 && peer.pid == 0 && peer.uid != libc::uid_t::MAX
}

/// Refuses where SIGCHLD is ignored: the kernel then collects children itself, and nobody learns how they ended.
pub(crate) fn check_children_are_kept() -> io::Result<()> {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the kernel fills in the whole of it where it returns 0, it is read only then, and nothing is changed.
    let handler = unsafe {
        check(libc::sigaction(libc::SIGCHLD, std::ptr::null(), action.as_mut_ptr()).into())?;
        action.assume_init().sa_sigaction
    };
    if handler == libc::SIG_IGN {
        return Err(io::Error::from_raw_os_error(libc::ECHILD));
    }
    Ok(())
}

/// Has the command's child, last of all before exec, say its number at the door (a connected socket), as a `u32`, and
/// wait there for [`GO`]. A held child ends with its parent, and on any other answer.
pub(crate) fn hold_before_exec(command: &mut Command, door: OwnedFd) {
    let parent = std::process::id();
    // Made here, for nothing may be allocated in the child.
    let mut ends = Vec::with_capacity(MOST_PIPE_ENDS);
    // SAFETY: what runs between fork and exec calls nothing but async-signal-safe functions, takes no lock, and
    // allocates nothing: `ends` is never filled beyond its capacity, and errors are made of bare numbers.
    unsafe { command.pre_exec(move || hold(door.as_raw_fd(), parent, &mut ends)) };
}

fn hold(door: RawFd, parent: u32, ends: &mut Vec<PipeEnd>) -> io::Result<()> {
    let wished_for = death_signal()?;
    set_death_signal(libc::SIGKILL)?;
    // SAFETY: takes nothing and cannot fail.
    if u32::try_from(unsafe { libc::getppid() }) != Ok(parent) {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    let_go_of_pipes(door, ends);
    say(door, &std::process::id().to_ne_bytes())?;
    if hear(door)? != GO {
        return Err(io::Error::from_raw_os_error(libc::ECANCELED));
    }
    set_death_signal(wished_for)
}

/// The signal that is to come when the parent ends, 0 for none: `Command`'s user may have asked for one.
fn death_signal() -> io::Result<libc::c_int> {
    let mut signal: libc::c_int = 0;
    // SAFETY: the kernel writes one `int` to the place given.
    check(unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) }.into())?;
    Ok(signal)
}

fn set_death_signal(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: takes a number; the kernel reads it as `unsigned long`.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong) }.into()).map(drop)
}

fn say(door: RawFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: no more is read than the slice holds. The socket is empty, so the few bytes go out whole.
    let send = || unsafe { libc::send(door, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    uninterrupted(send).map(drop)
}

fn hear(door: RawFd) -> io::Result<u8> {
    let mut byte = 0u8;
    // SAFETY: one byte at the most is written to a place that holds one.
    let count = uninterrupted(|| unsafe { libc::recv(door, (&raw mut byte).cast(), 1, 0) })?;
    if count == 1 { Ok(byte) } else { Err(io::Error::from_raw_os_error(libc::EPIPE)) }
}

/// How many ends of pipes are looked at, and how far above the door's own number: new descriptors get the lowest
/// free numbers, so what was opened when the door was has a number near it.
const MOST_PIPE_ENDS: usize = 512;
const NEARBY: RawFd = 256;

/// An end of a pipe that would be closed by exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PipeEnd {
    pipe: (libc::dev_t, libc::ino_t),
    writes: bool,
    fd: RawFd,
}

/// Closes, a little before exec would, the pipes of which this process has both ends.
///
/// `Command::spawn` learns of exec by the end of a pipe that closes there. A child forked by another thread at the
/// wrong moment has a copy of both ends, and one that is held for long would hold up that thread's spawn for as long,
/// past any deadline. Of its own such pipe a child has the writing end alone, and keeps it.
fn let_go_of_pipes(door: RawFd, ends: &mut Vec<PipeEnd>) {
    ends.clear();
    let (first, last) = (libc::STDERR_FILENO + 1, door.saturating_add(NEARBY));
    // The highest numbers first: what was opened beside the door matters most, where there are more than there is room for.
    for end in (first..last).rev().filter_map(pipe_end) {
        if ends.len() < ends.capacity() {
            ends.push(end);
        }
    }
    ends.sort_unstable();
    for pipe in ends.chunk_by(|one, other| one.pipe == other.pipe) {
        // Sorted: reading ends come before writing ends.
        if pipe.first().is_some_and(|end| !end.writes) && pipe.last().is_some_and(|end| end.writes) {
            for end in pipe {
                // SAFETY: exec would close it, nothing runs in this process before that but the rest of `hold`, which
                // uses only the door, and the door is no pipe.
                unsafe { libc::close(end.fd) };
            }
        }
    }
}

fn pipe_end(fd: RawFd) -> Option<PipeEnd> {
    // SAFETY: both calls take numbers alone; one that names no open descriptor is refused.
    let (kept, mode) = unsafe { (libc::fcntl(fd, libc::F_GETFD), libc::fcntl(fd, libc::F_GETFL)) };
    if kept < 0 || kept & libc::FD_CLOEXEC == 0 || mode < 0 {
        return None;
    }
    let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the kernel fills in the whole of it where it returns 0, and it is read only then.
    let stat = unsafe {
        if libc::fstat(fd, stat.as_mut_ptr()) != 0 {
            return None;
        }
        stat.assume_init()
    };
    let is_pipe = stat.st_mode & libc::S_IFMT == libc::S_IFIFO;
    let writes = match mode & libc::O_ACCMODE {
        libc::O_RDONLY => false,
        libc::O_WRONLY => true,
        _ => return None,
    };
    is_pipe.then_some(PipeEnd { pipe: (stat.st_dev, stat.st_ino), writes, fd })
}

fn uninterrupted(mut call: impl FnMut() -> libc::ssize_t) -> io::Result<libc::ssize_t> {
    loop {
        let count = call();
        if count >= 0 {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(error);
        }
    }
}

fn check(answer: libc::c_long) -> io::Result<libc::c_long> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_pidfd_means_one_process_and_no_later_one() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pidfd = pidfd_open(child.id()).unwrap();
        pidfd_send_signal(pidfd.as_fd(), libc::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGTERM));
        let gone = |error: io::Error| error.raw_os_error() == Some(libc::ESRCH);
        assert!(pidfd_send_signal(pidfd.as_fd(), libc::SIGTERM).is_err_and(gone));
        assert!(pidfd_open(child.id()).is_err_and(gone));
    }

    #[test]
    fn no_signal_goes_to_a_group_or_to_everybody() {
        for nobody in [0, u32::MAX, u32::MAX - 1] {
            assert!(kill(nobody, 0).is_err_and(|error| error.kind() == io::ErrorKind::InvalidInput));
        }
        kill(std::process::id(), 0).unwrap();
    }
}
