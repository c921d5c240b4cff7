//! The parent's side of the door at which a child waits before exec: who is there, and whether it may go on.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::errno::Errno;
use nix::libc::SIGKILL;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::unistd::Pid;

use crate::sys::{self, GO, STOP};

/// A socket pair, and what tells its far end from all others.
#[derive(Debug)]
pub(super) struct Door {
    near: UnixStream,
    far_inode: u64,
}

/// Who came to the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knock {
    Child(u32),
    /// The fork, or what the child did before it came here, has failed.
    Nobody,
    TooLate,
}

impl Door {
    /// The door, and the child's side of it.
    pub(super) fn new() -> io::Result<(Door, OwnedFd)> {
        let (near, far) = UnixStream::pair()?;
        let far_inode = fstat(&far)?.st_ino;
        Ok((Door { near, far_inode }, far.into()))
    }

    /// Waits for the child, until the deadline.
    pub(super) fn wait(&self, deadline: Instant) -> io::Result<Knock> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.near.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(0) if deadline <= Instant::now() => return Ok(Knock::TooLate),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return self.hear(),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn hear(&self) -> io::Result<Knock> {
        let mut pid = [0; size_of::<u32>()];
        match (&self.near).read_exact(&mut pid) {
            Ok(()) => Ok(Knock::Child(u32::from_ne_bytes(pid))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Knock::Nobody),
            Err(error) => Err(error),
        }
    }

    pub(super) fn say(&self, go: bool) {
        // Nobody is there to hear it where the child was killed at the door. SIGPIPE is blocked in this thread.
        let _ = (&self.near).write_all(&[if go { GO } else { STOP }]);
    }

    /// Whoever is at the door, or comes to it, is refused; whoever waits for a knock is told that none will come.
    pub(super) fn shut(&self) {
        let _ = self.near.shutdown(Shutdown::Both);
    }

    /// Ends a child that did not come to the door in time. Which one it is, nobody has said: it is the one that
    /// `parent`, a thread of this process, has forked and that holds the door's far end. The thread waits for it, so
    /// its number is its own.
    pub(super) fn kill_absentee(&self, parent: Pid) {
        let listed = fs::read_to_string(format!("/proc/self/task/{parent}/children")).unwrap_or_default();
        let children = listed.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
        let absentee: Vec<u32> = children.filter(|pid| self.is_held_by(*pid)).collect();
        if let [pid] = absentee[..] {
            let _ = sys::kill(pid, SIGKILL);
        }
    }

    fn is_held_by(&self, pid: u32) -> bool {
        let name = format!("socket:[{}]", self.far_inode);
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
        targets.any(|target| target.as_os_str() == name.as_str())
    }
}
