//! What the hostile tests share: the sandbox's systemd and its bus, processes to place, and the kernel's word
//! on them, read apart from the library.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use unitwait::{Builder, Manager, Stats};

pub const LONG: Duration = Duration::from_secs(60);

/// What scheduling may add to a deadline on a busy machine.
pub const MARGIN: Duration = Duration::from_secs(2);

pub fn in_sandbox() {
    assert!(
        std::env::var_os("UNITWAIT_SANDBOX").is_some(),
        "this needs a real systemd: run it through `scripts/test`, or in `scripts/sandbox`"
    );
}

/// The manager over the bus, and over its own socket.
pub fn both_ways() -> [(&'static str, Builder); 2] {
    in_sandbox();
    [("bus", Manager::builder().system()), ("private socket", Manager::builder().private())]
}

pub fn over_the_bus() -> Manager {
    in_sandbox();
    Manager::builder().system().open(LONG).expect("the sandbox's systemd answers")
}

/// A process that is killed and reaped at the end of its test.
pub struct Process(Child);

impl Process {
    pub fn idle() -> Process {
        Process(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep starts"))
    }

    /// One that ignores SIGTERM; it does so already when this returns.
    pub fn stubborn() -> Process {
        let script = "trap '' TERM; echo ready; exec sleep 600";
        let mut sh = Command::new("sh");
        let mut child =
            sh.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("sh starts");
        let mut ready = [0; 6];
        child.stdout.take().expect("piped").read_exact(&mut ready).expect("sh is ready");
        Process(child)
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Whether it still runs: not gone, and no zombie that waits to be reaped.
    pub fn runs(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        !matches!(stat.rsplit(") ").next().and_then(|rest| rest.chars().next()), None | Some('Z' | 'X'))
    }

    /// Where systemd's own hierarchy has it.
    pub fn group(&self) -> String {
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", self.pid())).expect("not reaped yet");
        // A host with v1 hierarchies shows them to every process, mounted in the sandbox or not.
        let hierarchy = match std::env::var("UNITWAIT_SANDBOX_CGROUP").as_deref() {
            Ok("hybrid") => "name=systemd:",
            _ => "0::",
        };
        let line = groups.lines().find_map(|line| line.split_once(hierarchy));
        line.expect("systemd's hierarchy is there").1.to_string()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn name(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}-{}-{}.scope", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs a program of the sandbox to its end.
pub fn run(program: impl AsRef<Path>, arguments: &[&str]) -> bool {
    let program = program.as_ref();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).status().expect("it starts").success()
}

pub fn control(verb: &str) {
    let ctl = std::env::var_os("UNITWAIT_SANDBOX_CTL").expect("this is the sandbox");
    assert!(run(Path::new(&ctl), &[verb]), "ctl {verb}");
}

/// PID 1 is stopped until this is dropped.
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

/// The bus dies as by a crash, and is started again; systemctl goes past it, over the manager's own socket.
pub fn kill_the_bus() {
    assert!(run("systemctl", &["kill", "--signal=KILL", "dbus.service"]));
}

pub fn start_the_bus() {
    // Or five deaths in ten seconds would be the unit's own start limit.
    run("systemctl", &["reset-failed", "dbus.service", "dbus.socket"]);
    assert!(run("systemctl", &["start", "dbus.socket", "dbus.service"]), "the bus starts");
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

/// Waits until something that must come is there.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LONG;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < until, "never came: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Nothing is left in any table; what was late has been settled.
pub fn settled(manager: &Manager) -> Stats {
    eventually("settled", || {
        let stats = manager.stats().expect("the thread answers");
        let left = (stats.requests, stats.queued, stats.in_flight, stats.settling);
        (left == (0, 0, 0, 0)).then_some(stats)
    })
}

/// Runs a call and sees that it came back by its deadline.
pub fn by_deadline<T>(deadline: Duration, call: impl FnOnce(Duration) -> T) -> T {
    let begun = Instant::now();
    let answer = call(deadline);
    let took = begun.elapsed();
    assert!(took <= deadline + MARGIN, "a deadline of {deadline:?} was kept after {took:?}");
    answer
}

/// This process's threads and descriptors.
pub fn footprint() -> (usize, usize) {
    let count = |directory| fs::read_dir(directory).expect("/proc is there").count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}
