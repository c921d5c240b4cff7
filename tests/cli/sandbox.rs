//! What the tests of the command share: the real systemd they need, the command itself, and processes to place.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value as Json;

use crate::support;
pub use crate::support::elsewhere::NOBODY;
pub use crate::support::{Sleeper, group_in, hybrid};

pub const UNITWAIT: &str = env!("CARGO_BIN_EXE_unitwait");

pub fn unitwait() -> Command {
    support::in_sandbox();
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

pub fn name(stem: &str) -> String {
    support::name(&format!("cli-{stem}"))
}

/// A scope with one process in it, by `create`'s options.
pub fn living(stem: &str, options: &[&str]) -> (String, Sleeper) {
    let (unit, sleeper) = (name(stem), Sleeper::new());
    create(&unit, &sleeper, options);
    (unit, sleeper)
}

pub fn create(unit: &str, sleeper: &Sleeper, options: &[&str]) {
    let arguments = ["create", "--unit", unit, "--pid", &sleeper.pid_text()];
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

/// The sandbox's PID 1, stopped until this is dropped. One test at a time; one that needs it awake takes the lock.
pub struct Silence {
    /// Ended before the turn is.
    _silence: support::Silence,
    _alone: MutexGuard<'static, ()>,
}

static SILENT: Mutex<()> = Mutex::new(());

/// PID 1 stays awake until this is dropped.
pub fn awake() -> MutexGuard<'static, ()> {
    SILENT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Silence {
    pub fn fall() -> Silence {
        let alone = awake();
        Silence { _silence: support::Silence::fall(), _alone: alone }
    }
}
