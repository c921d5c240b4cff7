//! A process of its own for a test that counts what belongs to the whole process, and the counting.

use std::fs;

use crate::support::elsewhere::Elsewhere;
pub use crate::support::elsewhere::alone;

/// As [`alone`], with an ordinary user's rights where this process has root's.
pub fn alone_as_ordinary_user<F: FnOnce()>(body: F) {
    let elsewhere = if nix::unistd::geteuid().is_root() { Elsewhere::as_nobody() } else { Elsewhere::same() };
    elsewhere.run_body(body);
}

/// What a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    pub descriptors: usize,
    pub threads: usize,
    pub resident: usize,
}

impl Holdings {
    pub fn now() -> Holdings {
        let entries = |at: &str| fs::read_dir(at).expect("/proc is there").count();
        let pages = fs::read_to_string("/proc/self/statm").expect("/proc is there");
        let resident = pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
        Holdings {
            descriptors: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
            resident: resident.expect("statm has numbers") * 4096,
        }
    }

    /// Fails where more is held now: no descriptor, no thread, and of memory only what an allocator keeps.
    pub fn assert_no_more(self, memory: usize) {
        // A thread that was told to end is there for a moment more, and so is what it holds.
        let end = std::time::Instant::now() + crate::world::MARGIN;
        let mut now = Holdings::now();
        let more = |now: &Holdings| now.threads > self.threads || now.descriptors > self.descriptors;
        while more(&now) && std::time::Instant::now() < end {
            std::thread::yield_now();
            now = Holdings::now();
        }
        assert!(!more(&now), "{self:?}, then {now:?}");
        assert!(now.resident <= self.resident + memory, "{self:?}, then {now:?}");
    }
}

/// The names of this process's threads, cut as the kernel cuts them.
pub fn thread_names() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is there").filter_map(Result::ok);
    // A thread may have ended since.
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim_end().to_string()).collect()
}
