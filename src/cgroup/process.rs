//! A process as the caller named it: its start time tells it from a later one with the same number.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::file;
use crate::sys;

/// A process, and when it started in clock ticks since boot (`proc(5)`, field 22 of `/proc/PID/stat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub pid: u32,
    pub started: u64,
}

/// Why a process cannot be placed in a unit.
#[derive(Debug)]
pub(crate) enum Unplaceable {
    Gone,
    Zombie,
    KernelThread,
    Unreadable(io::Error),
}

/// From the kernel's `include/linux/sched.h`; both have had these values since 2.6.
const PF_KTHREAD: u64 = 0x0020_0000;
const PF_EXITING: u64 = 0x4;

impl Process {
    /// Looks a process up by its number. One whose first thread has ended before others can be placed: the
    /// kernel moves the threads that live.
    pub(crate) fn look_up(pid: u32) -> Result<Process, Unplaceable> {
        let stat = read(&directory(pid).join("stat"))?;
        if stat.flags & PF_KTHREAD != 0 {
            return Err(Unplaceable::KernelThread);
        }
        if stat.ended && stat.threads <= 1 {
            return Err(Unplaceable::Zombie);
        }
        Ok(Process { pid, started: stat.started })
    }

    /// A descriptor that means this very process; `None` where there is none to be had, and an error where the process
    /// has ended and left its number to nobody or to another. The number is looked at while the descriptor is open: if
    /// it is still this process's, it was all the while.
    pub(crate) fn pidfd(self) -> Result<Option<OwnedFd>, Unplaceable> {
        let pidfd = sys::pidfd_open(self.pid).ok();
        match read(&directory(self.pid).join("stat")) {
            Ok(stat) if stat.started == self.started => Ok(pidfd),
            Err(Unplaceable::Unreadable(_)) => Ok(None),
            Ok(_) | Err(_) => Err(Unplaceable::Gone),
        }
    }

    /// The `/proc` directory of a thread whose control group is the process's: of the first thread, or, where
    /// that one has ended before the others, of one that lives. `None` where the process has ended, is about
    /// to, or has left its number to another. What cannot be read counts as alive: doubt is no proof of an
    /// end.
    pub(super) fn living_thread(self) -> Option<PathBuf> {
        let whole = directory(self.pid);
        let stat = match read(&whole.join("stat")) {
            Ok(stat) => stat,
            Err(Unplaceable::Unreadable(_)) => return Some(whole),
            Err(_) => return None,
        };
        if stat.started != self.started {
            return None;
        }
        if stat.lives() {
            return Some(whole);
        }
        if stat.threads <= 1 {
            return None;
        }
        let threads = fs::read_dir(whole.join("task")).ok()?;
        threads.flatten().map(|thread| thread.path()).find(|thread| thread_lives(thread))
    }

    /// Whether this thread, as [`Process::living_thread`] named it, still lives. That the number is still this
    /// process's is seen last: it then was all the while, for a number that was given away never comes back.
    pub(super) fn still_has(self, thread: &Path) -> bool {
        thread_lives(thread) && self.has_its_number()
    }

    /// Whether the number is still this process's, which then had it at every time before.
    pub(crate) fn has_its_number(self) -> bool {
        match read(&directory(self.pid).join("stat")) {
            Ok(stat) => stat.started == self.started,
            Err(error) => matches!(error, Unplaceable::Unreadable(_)),
        }
    }

    pub(super) fn lives(self) -> bool {
        self.living_thread().is_some()
    }
}

pub(super) fn directory(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

fn thread_lives(thread: &Path) -> bool {
    match read(&thread.join("stat")) {
        Ok(stat) => stat.lives(),
        Err(error) => matches!(error, Unplaceable::Unreadable(_)),
    }
}

/// What is of use in a `stat` file of `/proc`.
#[derive(Debug, PartialEq)]
struct Stat {
    ended: bool,
    flags: u64,
    threads: u64,
    started: u64,
}

impl Stat {
    /// A thread on its way out is moved to no group any more, and is shown in `/` of each v1 hierarchy. The
    /// kernel never takes the flag back.
    fn lives(&self) -> bool {
        !self.ended && self.flags & PF_EXITING == 0
    }
}

fn read(path: &Path) -> Result<Stat, Unplaceable> {
    let text = file::read(path).map_err(|error| {
        if file::is_gone(&error) { Unplaceable::Gone } else { Unplaceable::Unreadable(error) }
    })?;
    parse(&text).ok_or_else(|| {
        Unplaceable::Unreadable(io::Error::new(io::ErrorKind::InvalidData, "garbled /proc/PID/stat"))
    })
}

fn parse(stat: &str) -> Option<Stat> {
    // A process may call itself anything, `) S 1` included: only the last parenthesis ends its name.
    let rest = &stat[stat.bytes().rposition(|byte| byte == b')')? + 1..];
    // As proc(5) counts them: these are the fields 3, 9, 20 and 22.
    let mut fields = rest.split_ascii_whitespace();
    let ended = matches!(fields.next()?, "Z" | "X" | "x");
    let mut number = |after: usize| fields.nth(after)?.parse::<u64>().ok();
    Some(Stat { ended, flags: number(5)?, threads: number(10)?, started: number(1)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_hides_nothing() {
        for name in ["cat", "a) Z 1 (\n b", ") R 1 1 1 1 1 2097152 ", "((("] {
            let text = format!("7 ({name}) S 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 3 0 4242 1 1");
            let stat = Stat { ended: false, flags: PF_EXITING, threads: 3, started: 4242 };
            assert_eq!(parse(&text), Some(stat), "{name}");
        }
        assert_eq!(parse("nonsense"), None);
        assert_eq!(parse("5 (cut short) S 1 1"), None);
    }

    #[test]
    fn this_process_lives_and_a_reused_number_does_not() {
        let me = Process::look_up(std::process::id()).unwrap();
        let thread = me.living_thread().unwrap();
        assert!(me.still_has(&thread));
        let other = Process { started: me.started + 1, ..me };
        assert!(!other.lives() && !other.still_has(&thread));
        assert!(matches!(Process::look_up(2), Err(Unplaceable::KernelThread | Unplaceable::Gone)));
    }

    #[test]
    fn an_ended_child_is_a_zombie_until_it_is_collected() {
        use nix::sys::wait::{Id, WaitPidFlag, waitid};
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let started = Process::look_up(child.id()).ok();
        let id = Id::Pid(nix::unistd::Pid::from_raw(child.id().try_into().unwrap()));
        waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        assert!(matches!(Process::look_up(child.id()), Err(Unplaceable::Zombie)));
        assert!(started.is_none_or(|child| !child.lives()));
        child.wait().unwrap();
        assert!(matches!(Process::look_up(child.id()), Err(Unplaceable::Gone)));
    }
}
