//! Processes kept in sight: their `/proc/PID/cgroup`, opened before they are placed and read afterwards.
//!
//! What is read from such a file is told of the process that had the number when it was opened, and of no later one; after
//! that process's end it is told nothing. So no second look is needed at whose the number is, and the look at the
//! end, which a caller waits for, is one read.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{file, process};

/// How many processes this program keeps in sight at the most: descriptors are the host program's too.
const MOST: usize = 32;

static IN_SIGHT: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
struct Sight {
    pid: u32,
    groups: File,
}

impl Sight {
    fn open(pid: u32) -> Option<Sight> {
        let has_room = |open| (open < MOST).then_some(open + 1);
        IN_SIGHT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, has_room).ok()?;
        let opened = File::open(process::directory(pid).join("cgroup"));
        if opened.is_err() {
            IN_SIGHT.fetch_sub(1, Ordering::Relaxed);
        }
        Some(Sight { pid, groups: opened.ok()? })
    }
}

impl Drop for Sight {
    fn drop(&mut self) {
        IN_SIGHT.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Those of a request's processes that are kept in sight; any may be missing, and is then looked at by its number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sights(Option<Arc<[Sight]>>);

impl Sights {
    /// To be opened before the processes are looked up: where a number is given away in between, nothing is seen.
    pub(crate) fn open(pids: impl Iterator<Item = u32>) -> Sights {
        // Nothing is held for nothing: thousands may wait in line.
        let sights: Vec<Sight> = pids.map_while(Sight::open).collect();
        Sights((!sights.is_empty()).then(|| sights.into()))
    }

    /// The process's groups, as the kernel tells them; `None` for one that is not in sight.
    pub(super) fn groups_of(&self, pid: u32) -> Option<io::Result<String>> {
        let sight = self.0.as_ref()?.iter().find(|sight| sight.pid == pid)?;
        Some(file::read_again(&sight.groups))
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_is_in_sight_is_told_of_for_as_long_as_it_is_there_and_of_nobody_else() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let (pid, own) = (child.id(), std::process::id());
        let sights = Sights::open([pid].into_iter());
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        for _ in 0..2 {
            assert_eq!(sights.groups_of(pid).unwrap().unwrap(), groups);
        }
        assert!(sights.groups_of(own).is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(file::is_gone(&sights.groups_of(pid).unwrap().unwrap_err()));
    }

    #[test]
    fn no_more_descriptors_are_taken_than_may_be_and_all_are_given_back() {
        let many = || Sights::open(std::iter::repeat_n(std::process::id(), 2 * MOST));
        // Other tests keep processes in sight, too.
        assert!(many().0.is_none_or(|sights| sights.len() <= MOST));
        for _ in 0..3 * MOST {
            drop(many());
        }
        assert!(many().0.is_some());
    }
}
