//! A process of its own for a test that is an ordinary user's, needs mounts of its own, or counts what belongs to
//! the whole process.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::process::Command;

pub const NOBODY: u32 = 65534;

const MARK: &str = "UNITWAIT_TEST_ELSEWHERE";

/// A new process of this same binary, in which one test runs.
pub struct Elsewhere(Command);

impl Elsewhere {
    pub fn same() -> Elsewhere {
        // Through the link, for an ordinary user may not walk down to the binary.
        Elsewhere(Command::new("/proc/self/exe"))
    }

    /// As the ordinary user whose manager the sandbox runs, with that user's rights and runtime directory.
    pub fn as_user() -> Elsewhere {
        let from_sandbox = |variable: &str| {
            std::env::var(variable).unwrap_or_else(|_| {
                panic!("this test needs an ordinary user's manager: `scripts/sandbox --user -- cargo test`")
            })
        };
        let uid = from_sandbox("UNITWAIT_SANDBOX_UID").parse().expect("a number");
        Elsewhere::of(uid).give("XDG_RUNTIME_DIR", from_sandbox("UNITWAIT_SANDBOX_RUNTIME_DIR"))
    }

    /// With the rights of an ordinary user's that is no other's.
    pub fn as_nobody() -> Elsewhere {
        Elsewhere::of(NOBODY)
    }

    fn of(uid: u32) -> Elsewhere {
        let mut process = Elsewhere::same();
        // The user's supplementary groups are dropped by the standard library, as root's alone may.
        process.0.uid(uid).gid(uid).current_dir("/");
        process
    }

    /// After a shell command, in which `$1` and so on are `arguments`, and in a mount namespace of its own.
    pub fn after(script: &str, arguments: &[&str]) -> Elsewhere {
        let script = format!("exe=$1 count=$2; shift 2; {script}\nshift $count; exec \"$exe\" \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec", &script, "sh"]);
        command.arg(std::env::current_exe().expect("this binary has a path"));
        command.arg(arguments.len().to_string()).args(arguments);
        Elsewhere(command)
    }

    /// Gives the test there something to find with [`given`].
    pub fn give(mut self, variable: &str, value: impl AsRef<OsStr>) -> Elsewhere {
        self.0.env(variable, value);
        self
    }

    /// What runs the test there.
    pub fn command(mut self, test: &str) -> Command {
        self.0.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(MARK, test);
        self.0
    }

    /// Runs the body there, of which the test that it stands in consists.
    pub fn run_body<F: FnOnce()>(self, body: F) {
        if given("").is_some() { body() } else { self.run(&test_name(&body)) }
    }

    /// Runs the test there, and fails as it does.
    pub fn run(self, test: &str) {
        let output = self.command(test).output().expect("this binary runs again");
        let told = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let passed = output.status.success() && told.contains("1 passed");
        assert!(passed, "{test}, in a process of its own, {}:\n{told}\n{errors}", output.status);
    }
}

/// Runs a test's body in a process of its own.
pub fn alone<F: FnOnce()>(body: F) {
    Elsewhere::same().run_body(body);
}

/// What the test was given, where this is its new process; `None` in the first one.
pub fn given(variable: &str) -> Option<String> {
    std::env::var_os(MARK)?;
    Some(std::env::var(variable).unwrap_or_default())
}

/// The name by which the harness knows the test in which `here`, a closure or function, stands.
pub fn test_name<F>(_here: F) -> String {
    let path = std::any::type_name::<F>();
    let path = path.split_once("::").map_or(path, |(_, inside)| inside);
    path.split("::{{closure}}").next().unwrap_or(path).to_string()
}
