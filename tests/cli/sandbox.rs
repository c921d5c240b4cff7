//! What the tests of the command share: the real systemd they need, the command itself, and processes to place.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value as Json;

pub const NOBODY: u32 = 65534;

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

/// The command for others than root, to whom the place where it was built may be closed.
pub fn unitwait_as(uid: u32) -> Command {
    unitwait();
    static COPY: OnceLock<String> = OnceLock::new();
    let copy = COPY.get_or_init(|| {
        let copy = format!("/run/unitwait-{}", std::process::id());
        // By another process: a child that a test starts meanwhile would inherit the open file, and keep it busy.
        assert!(Command::new("cp").args([UNITWAIT, &copy]).status().unwrap().success());
        copy
    });
    let mut command = Command::new(copy);
    command.uid(uid).gid(uid);
    command
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

    /// One that only SIGKILL ends.
    pub fn stubborn() -> Sleeper {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo ready; exec sleep 600"]).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("sh starts");
        let mut ready = [0; 6];
        child.stdout.take().expect("it is piped").read_exact(&mut ready).expect("the signal is ignored now");
        Sleeper(child)
    }

    pub fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// Whether it runs; one that has ended and is not reaped does not.
    pub fn lives(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it is not reaped yet");
        !stat.contains(") Z ")
    }
}

/// A scope with one process in it, by `create`'s options.
pub fn living(stem: &str, options: &[&str]) -> (String, Sleeper) {
    let (unit, sleeper) = (name(stem), Sleeper::new());
    create(&unit, &sleeper, options);
    (unit, sleeper)
}

pub fn create(unit: &str, sleeper: &Sleeper, options: &[&str]) {
    let arguments = ["create", "--unit", unit, "--pid", &sleeper.pid()];
    let created = run(arguments.iter().chain(options));
    assert_eq!(created.status.code(), Some(0), "{created:?}");
}

/// The command, started with `-v` and at work: a line on its stderr has `told` in it. The rest of the lines is given too.
pub fn started(arguments: &[&str], told: &str) -> (Child, Lines) {
    let mut command = unitwait();
    command.arg("-v").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("unitwait starts");
    let mut lines = Lines::of(child.stderr.take().expect("it is piped"));
    assert!(lines.any(|line| line.contains(told)), "{arguments:?} ended before it said {told:?}");
    (child, lines)
}

/// The lines that a program writes, as they come; one that is not there long after it must be is a failure.
pub struct Lines(mpsc::Receiver<String>);

impl Lines {
    pub fn of(from: impl Read + Send + 'static) -> Lines {
        let (to, lines) = mpsc::channel();
        let mut from = BufReader::new(from).lines().map_while(Result::ok);
        thread::spawn(move || from.try_for_each(|line| to.send(line)));
        Lines(lines)
    }
}

impl Iterator for Lines {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        match self.0.recv_timeout(Duration::from_secs(60)) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("there is no further line"),
        }
    }
}

pub fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().try_into().expect("a PID")), signal).expect("it is there");
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
