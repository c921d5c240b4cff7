//! A process as the caller named it: its start time tells it from a later one with the same number.

use std::{fs, io};

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

const PF_KTHREAD: u64 = 0x0020_0000;

impl Process {
    /// Looks a process up by its number.
    pub(crate) fn look_up(pid: u32) -> Result<Process, Unplaceable> {
        let stat = fs::read(format!("/proc/{pid}/stat")).map_err(|error| match error.raw_os_error() {
            Some(nix::libc::ENOENT | nix::libc::ESRCH) => Unplaceable::Gone,
            _ => Unplaceable::Unreadable(error),
        })?;
        parse(pid, &String::from_utf8_lossy(&stat))
    }

    /// Whether it still runs: not ended, not a zombie, its number not another's.
    pub(crate) fn lives(self) -> bool {
        Process::look_up(self.pid).is_ok_and(|now| now.started == self.started)
    }
}

fn parse(pid: u32, stat: &str) -> Result<Process, Unplaceable> {
    let garbled =
        || Unplaceable::Unreadable(io::Error::new(io::ErrorKind::InvalidData, "garbled /proc/PID/stat"));
    // A process may call itself anything, `) S 1` included: only the last parenthesis ends its name.
    let (_, rest) = stat.rsplit_once(')').ok_or_else(garbled)?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).ok_or_else(garbled);
    if matches!(fields.first(), Some(&("Z" | "X"))) {
        return Err(Unplaceable::Zombie);
    }
    if number(6)? & PF_KTHREAD != 0 {
        return Err(Unplaceable::KernelThread);
    }
    Ok(Process { pid, started: number(19)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(name: &str, state: &str, flags: u64) -> String {
        format!("7 ({name}) {state} 1 7 7 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 4242 1 1")
    }

    #[test]
    fn a_hostile_name_hides_nothing() {
        let found = parse(7, &stat("a) Z 1 (\n b", "S", 0)).unwrap();
        assert_eq!(found, Process { pid: 7, started: 4242 });
        assert!(matches!(parse(7, &stat("a", "Z", 0)), Err(Unplaceable::Zombie)));
        assert!(matches!(parse(2, &stat("kthreadd", "S", PF_KTHREAD | 1)), Err(Unplaceable::KernelThread)));
        assert!(matches!(parse(2, "nonsense"), Err(Unplaceable::Unreadable(_))));
    }

    #[test]
    fn this_process_lives_and_a_reused_number_does_not() {
        let me = Process::look_up(std::process::id()).unwrap();
        assert!(me.lives());
        assert!(!Process { started: me.started + 1, ..me }.lives());
    }
}
