//! What the kernel tells of a control group as it happens: that its last process has ended, that it is frozen, that
//! the OOM killer was there. Waiting is poll(2) on the kernel's own files; nothing is read but when they tell.
//!
//! cgroup v2's `cgroup.events` and `memory.events` raise POLLPRI at each change (`cgroup-v2.rst` in the kernel's
//! documentation, which has inotify beside it: of its instances a user has but 128). v1 tells of OOM through an
//! eventfd (`memory.rst`), and of nothing else.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::stat::Mode;

use super::file;
use super::layout::CgroupLayout;
use super::subtree::Subtree;

/// When to look once more after the kernel has told of something. It puts off what happens within 10 ms of what it has
/// told last (`CGROUP_FILE_NOTIFY_MIN_INTV`), and where the group is removed before that, it never tells: seen with a
/// process that ended as soon as it was placed. One more look after that time leaves no change unseen.
const AFTERWARDS: Duration = Duration::from_millis(50);

/// How often to look at what the kernel does not tell of: the processes of a v1 group.
const TICK: Duration = Duration::from_millis(100);

/// Between looks at an OOM that was told of and whose kill is not counted yet. The kernel tells first and kills then,
/// and systemd removes the group, its counter with it, within milliseconds of the last process's end.
const OOM_TICK: Duration = Duration::from_millis(1);

/// For how long.
const OOM_WAIT: Duration = Duration::from_millis(100);

/// A watch over one control group and all below it. What it has seen it keeps after the group is gone.
///
/// It knows nothing new but by [`Vigil::wait`] or [`Vigil::look`].
#[derive(Debug)]
pub(crate) struct Vigil {
    subtree: Subtree,
    /// `cgroup.events`; `None` in v1, and once the group is gone.
    events: Option<File>,
    memory: Option<Memory>,
    empty: bool,
    frozen: Option<bool>,
    oom_kills: u64,
    next_look: Option<Instant>,
}

impl Vigil {
    /// Opens one over the control group's processes; `None` where the group is gone.
    pub(crate) fn open(layout: &CgroupLayout, control_group: &str) -> io::Result<Option<Vigil>> {
        Subtree::open(layout, control_group)?.map(|subtree| Vigil::over(subtree, None)).transpose()
    }

    /// Opens one that knows of OOM kills, too, where the group's memory is accounted for.
    pub(crate) fn open_with_oom(layout: &CgroupLayout, control_group: &str) -> io::Result<Option<Vigil>> {
        // The memory's group first: the one that is opened last vouches for it, being removed first.
        let legacy = layout.legacy_path("memory", control_group);
        let memory = legacy.map_or(Ok(None), |directory| Memory::legacy(&directory))?;
        let Some(subtree) = Subtree::open(layout, control_group)? else { return Ok(None) };
        let memory = match (memory, subtree.unified()) {
            (None, Some(directory)) => open(directory, "memory.events")?.map(|file| Memory::new(file, None)),
            (memory, _) => memory,
        };
        Vigil::over(subtree, memory).map(Some)
    }

    fn over(subtree: Subtree, memory: Option<Memory>) -> io::Result<Vigil> {
        let events = subtree.unified().map_or(Ok(None), |directory| open(directory, "cgroup.events"))?;
        let (empty, frozen, oom_kills, next_look) = (false, None, 0, None);
        let mut vigil = Vigil { subtree, events, memory, empty, frozen, oom_kills, next_look };
        vigil.take_in(true)?;
        Ok(vigil)
    }

    /// The group that is watched, held open.
    pub(crate) fn subtree(&self) -> &Subtree {
        &self.subtree
    }

    /// Whether the group has no process, or is gone.
    pub(crate) fn is_empty(&self) -> bool {
        self.empty
    }

    /// Whether all in the group is frozen; `None` where the kernel does not say, or the group is gone.
    pub(crate) fn is_frozen(&self) -> Option<bool> {
        self.frozen
    }

    /// How many processes of the group the kernel's OOM killer has killed, over all its time. In v1 those of a group
    /// below it are not counted.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.oom_kills
    }

    /// What to wait on; empty where nothing is left that tells.
    pub(crate) fn poll_fds(&self) -> Vec<PollFd<'_>> {
        let events = self.events.iter().map(|file| PollFd::new(file.as_fd(), PollFlags::POLLPRI));
        events.chain(self.memory.iter().map(Memory::poll_fd)).collect()
    }

    /// When to look though nothing was told.
    #[cfg(test)]
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.next_look
    }

    /// Takes in what is new. Does not block.
    pub(crate) fn look(&mut self) -> io::Result<()> {
        let mut fds = self.poll_fds();
        let told = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
        self.take_in(told)
    }

    /// Waits until something is new, the moment is reached, or one of the others has something to read, and takes in
    /// what is new. May return early.
    pub(crate) fn wait(&mut self, until: Instant, also: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut fds = self.poll_fds();
        let own = fds.len();
        fds.extend(also.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)));
        let next = self.next_look.map_or(until, |next| next.min(until));
        // Rounded up: to wake a moment too early would be to wake twice.
        let left = next.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
        match poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {
                let told = fds[..own].iter().any(|fd| fd.any().unwrap_or(true));
                self.take_in(told)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The counter of kills comes first: a group that is found empty here may be removed before anything else of it is
    /// read.
    fn take_in(&mut self, told: bool) -> io::Result<()> {
        let (now, before) = (Instant::now(), (self.oom_kills, self.frozen, self.empty));
        if let Some(memory) = &mut self.memory {
            // Its poll(2) returns at once when the group is gone.
            if memory.count(now)? {
                self.oom_kills = self.oom_kills.max(memory.kills);
            } else {
                self.memory = None;
            }
        }
        let text = self.events.as_ref().map_or(Ok(None), reread)?;
        let text = text.unwrap_or_else(|| {
            self.events = None;
            String::new()
        });
        let populated = value(&text, "populated") == Some(1);
        self.frozen = value(&text, "frozen").map(|frozen| frozen == 1);
        self.empty = !populated && self.subtree.is_empty()?;
        let told = told || before != (self.oom_kills, self.frozen, self.empty);
        let afterwards = if told { Some(now + AFTERWARDS) } else { self.next_look.filter(|at| *at > now) };
        let near = self.memory.as_ref().and_then(|memory| memory.near).map(|_| now + OOM_TICK);
        // While cgroup v2 has a process that one is waited for, and only then what v1 alone may have.
        let tick = (!populated && !self.empty).then(|| now + TICK);
        self.next_look = [afterwards, near, tick].into_iter().flatten().min();
        Ok(())
    }
}

/// Where the kernel counts OOM kills: `memory.events`, or v1's `memory.oom_control` and the bell that is rung at each
/// OOM.
#[derive(Debug)]
struct Memory {
    counters: File,
    bell: Option<EventFd>,
    ooms: u64,
    kills: u64,
    /// Until when a kill is looked for that an OOM was told of before.
    near: Option<Instant>,
}

impl Memory {
    fn new(counters: File, bell: Option<EventFd>) -> Memory {
        Memory { counters, bell, ooms: 0, kills: 0, near: None }
    }

    /// v1's bell is hung up by writing its number and the counters' into `cgroup.event_control`, which is root's: for
    /// others the end of a run is not worth less without it.
    fn legacy(directory: &Path) -> io::Result<Option<Memory>> {
        let there = |opened: io::Result<File>| match opened {
            Ok(file) => Ok(Some(file)),
            Err(error) if file::is_gone(&error) || error.kind() == io::ErrorKind::PermissionDenied => {
                Ok(None)
            }
            Err(error) => Err(error),
        };
        let counters = there(File::open(directory.join("memory.oom_control")))?;
        let control = there(File::options().write(true).open(directory.join("cgroup.event_control")))?;
        let (Some(counters), Some(mut control)) = (counters, control) else { return Ok(None) };
        let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let line = format!("{} {}", bell.as_fd().as_raw_fd(), counters.as_raw_fd());
        match control.write_all(line.as_bytes()) {
            Ok(()) => Ok(Some(Memory::new(counters, Some(bell)))),
            Err(error) if file::is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn poll_fd(&self) -> PollFd<'_> {
        match &self.bell {
            Some(bell) => PollFd::new(bell.as_fd(), PollFlags::POLLIN),
            None => PollFd::new(self.counters.as_fd(), PollFlags::POLLPRI),
        }
    }

    /// Reads the counters; `false` where the group is gone.
    fn count(&mut self, now: Instant) -> io::Result<bool> {
        let rung = self.bell.as_ref().is_some_and(|bell| bell.read().is_ok());
        let Some(text) = reread(&self.counters)? else { return Ok(false) };
        let (ooms, kills) = (value(&text, "oom").unwrap_or(0), value(&text, "oom_kill").unwrap_or(0));
        let is_over = self.near.is_some_and(|until| now >= until);
        if kills > self.kills || is_over {
            self.near = None;
        } else if rung || ooms > self.ooms {
            self.near = Some(now + OOM_WAIT);
        }
        (self.ooms, self.kills) = (ooms, kills);
        Ok(true)
    }
}

fn open(directory: BorrowedFd<'_>, name: &str) -> io::Result<Option<File>> {
    match openat(directory, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(file) => Ok(Some(file.into())),
        Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads a short file from its beginning, which also makes its poll(2) wait for the next change; `None` where the
/// group is gone.
fn reread(file: &File) -> io::Result<Option<String>> {
    let mut bytes = [0; 1024];
    match file.read_at(&mut bytes, 0) {
        Ok(count) => Ok(Some(String::from_utf8_lossy(&bytes[..count]).into_owned())),
        Err(error) if file::is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number on the line of this name.
fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::subtree::tests::Tree;
    use super::*;

    const EMPTY: &str = "populated 0\nfrozen 0\n";
    const BUSY: &str = "populated 1\nfrozen 0\n";

    fn unified(events: &str) -> Tree {
        let tree = Tree::unified();
        tree.write("x.scope/cgroup.procs", "");
        tree.write("x.scope/cgroup.events", events);
        tree
    }

    fn open(tree: &Tree) -> Vigil {
        Vigil::open_with_oom(&tree.layout, "/x.scope").unwrap().expect("it is there")
    }

    fn wait(vigil: &mut Vigil) {
        vigil.wait(Instant::now() + Duration::from_secs(60), &[]).unwrap();
    }

    #[test]
    fn what_happens_too_soon_for_the_kernel_to_tell_is_seen_by_one_more_look() {
        let tree = unified(BUSY);
        let mut vigil = open(&tree);
        assert!(!vigil.is_empty() && vigil.is_frozen() == Some(false));
        fs::write(tree.at.join("x.scope/cgroup.events"), "populated 1\nfrozen 1\n").unwrap();
        wait(&mut vigil);
        assert_eq!(vigil.is_frozen(), Some(true));
        fs::remove_dir_all(tree.at.join("x.scope")).unwrap();
        fs::write(tree.at.join("x.scope"), "").unwrap();
        wait(&mut vigil);
        // A plain file outlives its directory, as the kernel's own does not.
        assert_eq!(vigil.next_look(), None, "the kernel tells of all that comes later");
    }

    #[test]
    fn a_group_that_ended_is_no_more_waited_for() {
        assert!(open(&unified(EMPTY)).is_empty());
        let tree = Tree::unified();
        assert!(Vigil::open(&tree.layout, "/x.scope").unwrap().is_none());
    }

    #[test]
    fn v1_is_looked_at_again_and_again_for_it_tells_nothing() {
        let tree = Tree::legacy();
        tree.write("x.scope/sub/cgroup.procs", "7\n");
        tree.write("x.scope/cgroup.procs", "");
        let mut vigil = open(&tree);
        assert!(vigil.poll_fds().is_empty() && vigil.is_frozen().is_none());
        for _ in 0..3 {
            wait(&mut vigil);
            assert!(!vigil.is_empty() && vigil.next_look().is_some());
        }
        tree.write("x.scope/sub/cgroup.procs", "");
        wait(&mut vigil);
        assert!(vigil.is_empty());
    }

    #[test]
    fn kills_are_counted_and_kept_when_the_group_is_gone() {
        let tree = unified(BUSY);
        tree.write("x.scope/memory.events", "low 0\noom 0\noom_kill 0\noom_group_kill 9\n");
        let mut vigil = open(&tree);
        assert_eq!((vigil.oom_kills(), vigil.poll_fds().len()), (0, 2));
        tree.write("x.scope/memory.events", "low 0\noom 1\noom_kill 0\noom_group_kill 9\n");
        vigil.look().unwrap();
        let soon = vigil.next_look().expect("a kill is near");
        assert!(soon <= Instant::now() + OOM_TICK);
        tree.write("x.scope/memory.events", "low 0\noom 1\noom_kill 2\noom_group_kill 9\n");
        wait(&mut vigil);
        vigil.memory = None;
        vigil.look().unwrap();
        assert_eq!(vigil.oom_kills(), 2);
    }

    #[test]
    fn v1_is_given_a_bell_to_ring_at_an_oom() {
        let tree = Tree::legacy();
        tree.write("x.scope/cgroup.procs", "7\n");
        tree.write("memory/x.scope/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n");
        tree.write("memory/x.scope/cgroup.event_control", "");
        let mut vigil = open(&tree);
        let line = fs::read_to_string(tree.at.join("memory/x.scope/cgroup.event_control")).unwrap();
        assert_eq!(line.split(' ').filter_map(|number| number.parse::<i32>().ok()).count(), 2);
        vigil.memory.as_ref().and_then(|memory| memory.bell.as_ref()).unwrap().write(1).unwrap();
        vigil.look().unwrap();
        assert!(vigil.next_look().unwrap() <= Instant::now() + OOM_TICK);
        tree.write("memory/x.scope/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n");
        wait(&mut vigil);
        assert_eq!(vigil.oom_kills(), 1);
    }
}
