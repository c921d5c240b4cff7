//! What the tests share: the sandbox that those against a real systemd need, processes to place, what the kernel says,
//! and the measure of a deadline.

#![allow(dead_code, reason = "each test target uses a part of it")]

pub mod elsewhere;

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use unitwait::{KillWhom, Manager, Stats};

/// A deadline that is never to be reached.
pub const LONG: Duration = Duration::from_secs(30);

/// What is answered at once is answered well before this, however busy the machine, and long before [`LONG`].
pub const AT_ONCE: Duration = Duration::from_secs(10);

pub fn in_sandbox() {
    assert!(
        std::env::var_os("UNITWAIT_SANDBOX").is_some(),
        "this test needs a real systemd: run it through `scripts/test`, or `scripts/sandbox -- cargo test`"
    );
}

pub fn manager() -> Manager {
    in_sandbox();
    Manager::system().expect("the sandbox's systemd answers")
}

/// What a busy machine may add to a deadline.
pub const MARGIN: Duration = Duration::from_secs(2);

/// Runs a program of the sandbox to its end.
pub fn run(program: impl AsRef<OsStr>, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).status().expect("it starts").success()
}

fn control(verb: &str) {
    let ctl = std::env::var_os("UNITWAIT_SANDBOX_CTL").expect("this is the sandbox");
    assert!(run(ctl, &[verb]), "ctl {verb}");
}

/// The sandbox's PID 1, stopped until this is dropped.
pub struct Silence(());

impl Silence {
    pub fn fall() -> Silence {
        control("stop");
        Silence(())
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        control("cont");
    }
}

/// A unit that starts and does not come up while this lives, so that a scope ordered after it waits for its job.
pub struct Hold(pub String);

impl Hold {
    pub fn new() -> Hold {
        let unit = name("hold").replace(".scope", ".service");
        let arguments = ["--no-block", "--quiet", "--property=Type=oneshot", "--unit", &unit, "sleep", "600"];
        assert!(run("systemd-run", &arguments), "systemd-run starts {unit}");
        Hold(unit)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        run("systemctl", &["kill", "--signal=KILL", &self.0]);
        run("systemctl", &["stop", &self.0]);
        run("systemctl", &["reset-failed", &self.0]);
    }
}

/// A process that does nothing, killed and reaped at the end of its test.
pub struct Sleeper(pub Child);

impl Sleeper {
    pub fn new() -> Sleeper {
        Sleeper(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep starts"))
    }

    /// One that only SIGKILL ends.
    pub fn stubborn() -> Sleeper {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; echo ready; exec sleep 600"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut ready = [0; 6];
        child.stdout.take().expect("it is piped").read_exact(&mut ready).expect("the signal is ignored now");
        Sleeper(child)
    }

    /// One of an ordinary user's.
    pub fn of_user(uid: u32) -> Sleeper {
        let mut command = Command::new("sleep");
        Sleeper(command.arg("600").stdin(Stdio::null()).uid(uid).gid(uid).spawn().expect("sleep starts"))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// As an argument.
    pub fn pid_text(&self) -> String {
        self.pid().to_string()
    }

    /// Whether it runs; one that has ended and is not reaped does not.
    pub fn lives(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it is not reaped yet");
        !stat.contains(") Z ")
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Raises a flag at the end of its scope, also where a failed test leaves it early: what loops until then ends.
pub struct Raise<'a>(pub &'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A scope's name that no other test has.
pub fn name(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}-{}-{}.scope", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn hybrid() -> bool {
    std::env::var("UNITWAIT_SANDBOX_CGROUP").is_ok_and(|layout| layout == "hybrid")
}

/// Where systemd's own hierarchy has a process, read apart from the library.
pub fn group_of(pid: u32) -> String {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process lives");
    group_in(&groups).to_string()
}

/// Where systemd's own hierarchy has the process whose `/proc/PID/cgroup` this is.
pub fn group_in(groups: &str) -> &str {
    // A host with v1 hierarchies shows them to every process, mounted in the sandbox or not.
    let hierarchy = if hybrid() { "name=systemd:" } else { "0::" };
    let line = groups.lines().find_map(|line| line.split_once(hierarchy));
    line.expect("systemd's hierarchy is there").1
}

/// Runs something that has a deadline, and sees that it kept it.
#[track_caller]
pub fn by<T>(deadline: Duration, what: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let out = what();
    let took = begun.elapsed();
    assert!(took <= deadline + MARGIN, "took {took:?} where {deadline:?} was the deadline");
    out
}

/// Runs a call that takes its deadline.
#[track_caller]
pub fn by_deadline<T>(deadline: Duration, call: impl FnOnce(Duration) -> T) -> T {
    by(deadline, || call(deadline))
}

/// A unit's `ActiveState`; a unit that is not loaded is `inactive`.
pub fn state(manager: &Manager, unit: &str) -> String {
    let state = manager.property(unit, "ActiveState", LONG).expect("the state can be read");
    state.as_str().expect("it is a text").to_string()
}

/// The counters of what was asked: strangers' jobs are heard too where another client has subscribed.
pub fn asked(manager: &Manager) -> Stats {
    let mut stats = manager.stats().unwrap();
    (stats.messages_received, stats.bytes_received) = (0, 0);
    stats
}

/// Waits, within reason, for what nothing tells of: systemd forgets units in its own time.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "{what}: still not so after {LONG:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Ends a unit for a test that no longer needs it.
pub fn clear_away(manager: &Manager, unit: &str) {
    let _ = manager.kill_unit(unit, KillWhom::All, 9, LONG);
    let _ = manager.stop_unit(unit, LONG);
    let _ = manager.reset_failed(unit, LONG);
}
