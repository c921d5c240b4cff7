//! Signals as they come, and the children that have ended.

use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};

use super::failure::Failure;
use super::workload::{End, Workload};

/// Left alone: those that a fault raises in the thread itself, and those by which a terminal stops a whole group.
const NOT_TAKEN: [Signal; 10] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGABRT,
    Signal::SIGTRAP,
    Signal::SIGSYS,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

pub struct Signals(SignalFd);

/// What ended a wait.
pub enum Came {
    Nothing,
    Signal { number: i32, by_terminal: bool },
}

impl Signals {
    /// Has all signals wait in this process until they are read. Children inherit that, and undo it before exec.
    pub fn take() -> Result<Signals, Failure> {
        let mut taken = SigSet::all();
        for signal in NOT_TAKEN {
            taken.remove(signal);
        }
        taken.thread_set_mask().map_err(Failure::system("block signals"))?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        SignalFd::with_flags(&taken, flags).map(Signals).map_err(Failure::system("make a signalfd"))
    }

    /// The next signal, or nothing by the deadline; without one it sleeps until a signal comes.
    pub fn next(&mut self, until: Option<Instant>) -> Result<Came, Failure> {
        loop {
            let read = self.0.read_signal().map_err(Failure::system("read a signal"))?;
            if let Some(info) = read {
                let number = i32::try_from(info.ssi_signo).unwrap_or_default();
                return Ok(Came::Signal { number, by_terminal: info.ssi_code == libc::SI_KERNEL });
            }
            let timeout = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => PollTimeout::NONE,
                Some(left) if left.is_zero() => return Ok(Came::Nothing),
                // Rounded up: to wake a moment too early would be to wake twice.
                Some(left) => PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX),
            };
            match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Failure::system("wait for signals")(errno)),
            }
        }
    }
}

/// Collects every child that has ended, of which the workload's own handle collects its own; how that one ended, if it
/// has.
pub fn collect_orphans(mut workload: Option<&mut Workload>) -> Result<Option<End>, Failure> {
    let mut end = None;
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    loop {
        let ended = match waitid(Id::All, look) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(end),
            Ok(status) => status.pid(),
            Err(Errno::EINTR) => continue,
            // One that a real-time signal has ended, for which the crate `nix` has no word: whose it is it does not say.
            Err(Errno::EINVAL) => None,
            Err(errno) => return Err(Failure::system("look for children that have ended")(errno)),
        };
        if let Some(workload) =
            workload.as_mut().filter(|it| end.is_none() && ended.is_none_or(|pid| it.is(pid)))
        {
            end = workload.try_end()?;
            if end.is_some() {
                continue;
            }
        }
        match waitpid(ended, Some(WaitPidFlag::WNOHANG)) {
            Ok(_) | Err(Errno::EINTR | Errno::EINVAL | Errno::ECHILD) => {}
            Err(errno) => return Err(Failure::system("collect an orphan")(errno)),
        }
    }
}
