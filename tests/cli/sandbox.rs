//! What the tests of the command share: the real systemd they need, the command itself, and processes to place.

use std::ffi::OsStr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value as Json;

pub const UNITWAIT: &str = env!("CARGO_BIN_EXE_unitwait");

pub fn unitwait() -> Command {
    assert!(
        std::env::var_os("UNITWAIT_SANDBOX").is_some(),
        "this test needs a real systemd: run it through `scripts/test`, or `scripts/sandbox -- cargo test`"
    );
    Command::new(UNITWAIT)
}

pub fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    unitwait().args(arguments).output().expect("unitwait starts")
}

pub fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("text")
}

pub fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("text")
}

/// What a program reads: exactly one object.
pub fn object(bytes: &[u8]) -> Json {
    let object = serde_json::from_slice(bytes);
    object.unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(bytes)))
}

pub fn hybrid() -> bool {
    std::env::var("UNITWAIT_SANDBOX_CGROUP").is_ok_and(|layout| layout == "hybrid")
}

/// Where systemd's own hierarchy has the process whose `/proc/PID/cgroup` this is.
pub fn group_in(groups: &str) -> &str {
    let hierarchy = if hybrid() { "name=systemd:" } else { "0::" };
    let line = groups.lines().find_map(|line| line.split_once(hierarchy));
    line.expect("systemd's hierarchy is there").1
}

pub fn name(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("cli-{stem}-{}-{}.scope", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A process that does nothing, killed and reaped at the end of its test.
pub struct Sleeper(pub Child);

impl Sleeper {
    pub fn new() -> Sleeper {
        Sleeper(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep starts"))
    }

    pub fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The sandbox's PID 1, stopped until this is dropped. One test at a time; one that needs it awake takes the lock.
pub struct Silence {
    _alone: MutexGuard<'static, ()>,
}

pub static SILENT: Mutex<()> = Mutex::new(());

impl Silence {
    pub fn fall() -> Silence {
        let silence = Silence { _alone: SILENT.lock().unwrap_or_else(PoisonError::into_inner) };
        control("stop");
        silence
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        control("cont");
    }
}

fn control(verb: &str) {
    let ctl = std::env::var_os("UNITWAIT_SANDBOX_CTL").expect("this is the sandbox");
    assert!(Command::new(ctl).arg(verb).status().expect("ctl starts").success(), "{verb}");
}
