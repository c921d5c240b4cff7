//! A unit's control group and all below it, held open: what is read or done through it is that group's, and never
//! that of a later one with its path.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::libc::SIGKILL;
use nix::sys::stat::{Mode, fstat};

use super::file;
use super::inspect::group_of;
use super::layout::{CgroupLayout, CgroupMode};
use super::path::group_in;
use super::process::Process;
use crate::sys;

/// The group's directory in each hierarchy in which systemd keeps the unit's processes. In hybrid mode a process may
/// be in one of the two and not in the other: systemd itself then sees those in cgroup v2 alone, neither kills the
/// others nor waits for them, and leaves them behind in v1's group for the next run of the name to inherit. Here, all
/// that either has are the group's.
#[derive(Debug)]
pub(crate) struct Subtree {
    control_group: String,
    mode: CgroupMode,
    unified: Option<OwnedFd>,
    named: Option<OwnedFd>,
}

impl Subtree {
    /// Opens it; `None` where it is gone from every hierarchy.
    pub(crate) fn open(layout: &CgroupLayout, control_group: &str) -> io::Result<Option<Subtree>> {
        let (mut unified, mut named) = (None, None);
        // cgroup v2 last: its group goes with the run, so one that is the run's by its number, and was still there
        // after the other was opened, vouches for both.
        for ((hierarchy, path), (_, root)) in
            layout.kept(control_group).into_iter().zip(layout.kept("/")).rev()
        {
            let directory = match open(&path, directory_flags(), Mode::empty()) {
                Ok(directory) => Some(directory),
                // Only a hierarchy that is there can tell that a group is not.
                Err(Errno::ENOENT) if root.join("cgroup.procs").exists() => None,
                Err(error) => return Err(error.into()),
            };
            *(if hierarchy.is_empty() { &mut unified } else { &mut named }) = directory;
        }
        let (control_group, mode) = (control_group.into(), layout.mode());
        let there = unified.is_some() || named.is_some();
        Ok(there.then_some(Subtree { control_group, mode, unified, named }))
    }

    /// The number of the group's directory, which the kernel gives to no other group as long as it runs (`cgroup_id()`
    /// in the kernel). `None` where the run's own directory is gone.
    pub(crate) fn id(&self) -> Option<u64> {
        let directory = if self.mode == CgroupMode::Legacy { &self.named } else { &self.unified };
        fstat(directory.as_ref()?).ok().map(|stat| stat.st_ino)
    }

    /// Whether it is there in every hierarchy in which systemd keeps the unit's processes.
    pub(crate) fn is_complete(&self) -> bool {
        let (unified, named) = (self.unified.is_some(), self.named.is_some());
        match self.mode {
            CgroupMode::Unified => unified,
            CgroupMode::Hybrid => unified && named,
            CgroupMode::Legacy => named,
        }
    }

    /// The directory in cgroup v2.
    pub(super) fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }

    /// The processes in the group and below it, in order. Those that this process's PID namespace does not show have
    /// no number here, and are left out.
    pub(crate) fn pids(&self) -> io::Result<Vec<u32>> {
        let mut pids = Vec::new();
        for directory in self.unified.iter().chain(&self.named) {
            walk(directory.as_fd(), |text| {
                pids.extend(numbers(text));
                false
            })?;
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Whether neither the group nor one below it has a process. A process that has ended counts no more, collected
    /// or not.
    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        Ok(!self.is_populated()? && !self.has_named()?)
    }

    /// Whether cgroup v2 has a process in it.
    fn is_populated(&self) -> io::Result<bool> {
        let Some(directory) = &self.unified else { return Ok(false) };
        match read(directory.as_fd(), Path::new("cgroup.events")) {
            Ok(events) => Ok(events.lines().any(|line| line == "populated 1")),
            // The root has no such file, and a group that is gone has no files at all.
            Err(error) if file::is_gone(&error) => has_processes(directory.as_fd()),
            Err(error) => Err(error),
        }
    }

    /// Whether v1's `name=systemd` has a process in it.
    pub(super) fn has_named(&self) -> io::Result<bool> {
        self.named.as_ref().map_or(Ok(false), |directory| has_processes(directory.as_fd()))
    }

    /// Has the kernel kill all that cgroup v2 has in it, at one stroke, forks under way included (`cgroup.kill`, Linux
    /// 5.14). `false` where it cannot, or this process may not.
    pub(crate) fn kill(&self) -> io::Result<bool> {
        let Some(directory) = &self.unified else { return Ok(false) };
        let opened = openat(directory, "cgroup.kill", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
        match opened.map_err(io::Error::from).and_then(|file| File::from(file).write_all(b"1")) {
            Ok(()) => Ok(true),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::ENODEV) => Ok(true),
                Some(Errno::ENOENT | Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::EOPNOTSUPP) => {
                    Ok(false)
                }
                _ => Err(error),
            },
        }
    }

    /// Kills, in hybrid mode, each process that v1 has in the group and cgroup v2 has elsewhere. A later run's are in
    /// both, and are none of them.
    pub(crate) fn kill_strays(&self) -> io::Result<()> {
        let Some(named) = self.named.as_ref().filter(|_| self.mode == CgroupMode::Hybrid) else {
            return Ok(());
        };
        let mut refused = Ok(());
        walk(named.as_fd(), |text| {
            for pid in numbers(text) {
                // Opened before it is looked at: what is killed is what was looked at, whoever has its number then.
                let pidfd = sys::pidfd_open(pid);
                if !self.is_stray(pid) {
                    continue;
                }
                let killed = match pidfd {
                    Ok(pidfd) => sys::pidfd_send_signal(pidfd.as_fd(), SIGKILL),
                    Err(_) => sys::kill(pid, SIGKILL),
                };
                if let Err(error) = killed {
                    if !file::is_gone(&error) {
                        refused = Err(error);
                    }
                }
            }
            false
        })?;
        refused
    }

    fn is_stray(&self, pid: u32) -> bool {
        let Ok(process) = Process::look_up(pid) else { return false };
        let Some(thread) = process.living_thread() else { return false };
        let Ok(groups) = file::read(&thread.join("cgroup")) else { return false };
        let elsewhere = group_of(&groups, "").is_some_and(|at| group_in(at, &self.control_group).is_none());
        elsewhere && process.still_has(&thread)
    }
}

fn directory_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC
}

/// The numbers in a `cgroup.procs`; `0` stands for a process of another PID namespace.
fn numbers(procs: &str) -> impl Iterator<Item = u32> {
    procs.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0)
}

fn has_processes(directory: BorrowedFd<'_>) -> io::Result<bool> {
    let mut any = false;
    walk(directory, |text| {
        any = !text.is_empty();
        any
    })?;
    Ok(any)
}

/// Shows the `cgroup.procs` of a group and of all below it, until one is enough. One descriptor at a time is open,
/// however deep a delegated group was made.
fn walk(top: BorrowedFd<'_>, mut enough: impl FnMut(&str) -> bool) -> io::Result<()> {
    let mut groups = vec![PathBuf::from(".")];
    while let Some(group) = groups.pop() {
        match read(top, &group.join("cgroup.procs")) {
            Ok(text) if enough(&text) => return Ok(()),
            Ok(_) => {}
            Err(error) if file::is_gone(&error) => {}
            // The processes of a threaded group are shown in the group that it belongs to.
            Err(error) if error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32) => {}
            Err(error) => return Err(error),
        }
        let mut directory = match Dir::openat(top, &group, directory_flags(), Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::ENOENT | Errno::ENODEV) => continue,
            Err(error) => return Err(error.into()),
        };
        for entry in directory.iter().flatten().filter(|entry| entry.file_type() == Some(Type::Directory)) {
            use std::os::unix::ffi::OsStrExt;
            let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                groups.push(group.join(name));
            }
        }
    }
    Ok(())
}

/// Reads a file of the kernel below a directory, to its end: a list of processes comes in many pieces.
pub(super) fn read(directory: BorrowedFd<'_>, name: &Path) -> io::Result<String> {
    let file = openat(directory, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut text = String::new();
    File::from(file).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Hierarchies in a directory of their own.
    pub(in super::super) struct Tree {
        pub(in super::super) at: PathBuf,
        pub(in super::super) layout: CgroupLayout,
    }

    impl Tree {
        pub(in super::super) fn unified() -> Tree {
            Tree::new(|at| format!("30 20 0:26 / {at} rw - cgroup2 cgroup2 rw\n"))
        }

        pub(in super::super) fn legacy() -> Tree {
            Tree::new(|at| {
                format!(
                    "31 20 0:27 / {at} rw - cgroup c rw,name=systemd\n\
                     32 31 0:28 / {at}/memory rw - cgroup c rw,memory\n"
                )
            })
        }

        fn new(mounts: impl Fn(&str) -> String) -> Tree {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let at = std::env::temp_dir().join(format!("unitwait-tree-{}-{number}", std::process::id()));
            let layout = CgroupLayout::parse(&mounts(at.to_str().unwrap())).unwrap();
            let tree = Tree { at, layout };
            tree.write("cgroup.procs", "1\n");
            tree
        }

        pub(in super::super) fn write(&self, path: &str, text: &str) {
            let path = self.at.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        pub(in super::super) fn open(&self) -> Subtree {
            Subtree::open(&self.layout, "/x.scope").unwrap().expect("it is there")
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.at);
        }
    }

    #[test]
    fn the_processes_of_a_group_are_those_below_it_too_each_once() {
        let tree = Tree::unified();
        tree.write("x.scope/cgroup.procs", "30\n4\n");
        tree.write("x.scope/a/b/cgroup.procs", "0\n5\n4\n");
        tree.write("x.scope/c/d/cgroup.events", "a group that is going has files no more");
        tree.write("y.scope/cgroup.procs", "99\n");
        assert_eq!(tree.open().pids().unwrap(), [4, 5, 30]);
        let many: String = (1..=3000).map(|pid| format!("{pid}\n")).collect();
        tree.write("x.scope/cgroup.procs", &many);
        assert_eq!(tree.open().pids().unwrap().len(), 3000);
    }

    #[test]
    fn a_group_is_empty_by_what_the_kernel_says_of_all_below_it() {
        for (tree, populated) in [(Tree::unified(), "cgroup.events"), (Tree::legacy(), "sub/cgroup.procs")] {
            tree.write("x.scope/cgroup.procs", "");
            tree.write(&format!("x.scope/{populated}"), "populated 1\nfrozen 0\n");
            assert!(!tree.open().is_empty().unwrap());
            let emptied = if populated.ends_with("events") { "populated 0\nfrozen 0\n" } else { "" };
            tree.write(&format!("x.scope/{populated}"), emptied);
            assert!(tree.open().is_empty().unwrap());
        }
    }

    #[test]
    fn a_group_that_is_gone_is_told_from_a_hierarchy_that_is() {
        let tree = Tree::unified();
        assert!(Subtree::open(&tree.layout, "/x.scope").unwrap().is_none());
        tree.write("x.scope/cgroup.procs", "7\n");
        let (held, later) = (tree.open(), tree.at.join("later"));
        fs::rename(tree.at.join("x.scope"), &later).unwrap();
        tree.write("x.scope/cgroup.procs", "8\n");
        assert_eq!((held.pids().unwrap(), tree.open().pids().unwrap()), (vec![7], vec![8]));
        assert_ne!(held.id(), tree.open().id());
        fs::remove_dir_all(&later).unwrap();
        assert!(held.is_empty().unwrap() && held.pids().unwrap().is_empty() && !held.kill().unwrap());
        fs::remove_file(tree.at.join("cgroup.procs")).unwrap();
        fs::remove_dir_all(tree.at.join("x.scope")).unwrap();
        assert!(Subtree::open(&tree.layout, "/x.scope").is_err());
    }

    #[test]
    fn the_kernel_is_asked_to_kill_where_it_can() {
        let tree = Tree::unified();
        tree.write("x.scope/cgroup.procs", "");
        assert!(!tree.open().kill().unwrap(), "an old kernel has no such file");
        tree.write("x.scope/cgroup.kill", "");
        assert!(tree.open().kill().unwrap());
        assert_eq!(fs::read_to_string(tree.at.join("x.scope/cgroup.kill")).unwrap(), "1");
        assert!(!Tree::legacy_with_group().open().kill().unwrap());
    }

    impl Tree {
        fn legacy_with_group() -> Tree {
            let tree = Tree::legacy();
            tree.write("x.scope/cgroup.procs", "");
            tree
        }
    }
}
