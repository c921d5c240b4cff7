//! A process of its own for a test that counts what belongs to the whole process, or that ends it.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

const MARK: &str = "UNITWAIT_FAULTS_ALONE";

/// An ordinary user's, and no other's.
const NOBODY: u32 = 65534;

/// Runs the test's body in a new process of this same binary, and fails as that does.
pub fn alone<F: FnOnce()>(body: F) {
    in_new_process(body, false);
}

/// The same, with an ordinary user's rights where this process has root's.
pub fn alone_as_ordinary_user<F: FnOnce()>(body: F) {
    in_new_process(body, nix::unistd::geteuid().is_root());
}

fn in_new_process<F: FnOnce()>(body: F, as_nobody: bool) {
    let name = test_name::<F>();
    if std::env::var(MARK).as_ref() == Ok(&name) {
        return body();
    }
    let mut command = command(&name, &[]);
    if as_nobody {
        // The groups are dropped by the standard library, as root's alone may.
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
    }
    let output = command.output().expect("the test's own binary runs");
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("1 passed"), "{}:\n{told}\n{errors}", output.status);
}

/// In the new process, what it was given; in the first, `None`.
pub fn given<F>(_: &F, variable: &str) -> Option<String> {
    std::env::var(MARK).ok().filter(|name| *name == test_name::<F>())?;
    std::env::var(variable).ok()
}

/// Runs the test that has this closure in a new process, with something given to it.
pub fn rerun<F>(_: &F, given: &[(&str, &str)]) -> Output {
    command(&test_name::<F>(), given).output().expect("the test's own binary runs")
}

fn command(name: &str, given: &[(&str, &str)]) -> Command {
    // Through the link, for an ordinary user may not walk down to the binary.
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(MARK, name);
    command.envs(given.iter().copied());
    command
}

/// A closure's type names the function it stands in: `faults::module::test::{{closure}}`.
fn test_name<F>() -> String {
    let path = std::any::type_name::<F>();
    let path = path.split_once("::").map_or(path, |(_, inside)| inside);
    path.split("::{{closure}}").next().unwrap_or(path).to_string()
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
