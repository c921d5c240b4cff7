//! A process of its own for a test that counts what belongs to the whole process, or that ends it.

use std::fs;
use std::process::{Command, Output};

const MARK: &str = "UNITWAIT_FAULTS_ALONE";

/// Runs the test's body in a new process of this same binary, and fails as that does.
pub fn alone<F: FnOnce()>(body: F) {
    let name = test_name::<F>();
    if std::env::var(MARK).as_ref() == Ok(&name) {
        return body();
    }
    let output = run(&name, &[]);
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
    run(&test_name::<F>(), given)
}

fn run(name: &str, given: &[(&str, &str)]) -> Output {
    let binary = std::env::current_exe().expect("the test's own binary");
    Command::new(binary)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MARK, name)
        .envs(given.iter().copied())
        .output()
        .expect("the test's own binary runs")
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
