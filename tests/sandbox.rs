//! The sandbox itself: it hands back the command's status, and leaves nothing behind, however it ends.
//!
//! Needs root, as the sandbox does, and runs outside of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than a sandbox takes to come up, or to be removed, on a machine that is busy with other things.
const LONG: Duration = Duration::from_secs(60);

/// Tells, from inside, the directory that everything of this sandbox is named after; and stays.
const STAY: &str = "awk '$5 == \"/run/unitwait-sandbox\" { print $4 }' /proc/self/mountinfo; exec sleep 600";

fn sandbox(arguments: &[&str]) -> Command {
    // Who runs the tests in the background has SIGINT ignored, and a shell cannot undo that for itself.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/sandbox"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn status(arguments: &[&str]) -> Option<i32> {
    sandbox(arguments).stderr(Stdio::null()).status().expect("the script starts").code()
}

/// A sandbox that is up, and what it is named after.
fn up() -> (Child, PathBuf) {
    let arguments = ["--", "sh", "-c", STAY];
    let mut script = sandbox(&arguments).stdout(Stdio::piped()).spawn().expect("the script starts");
    let mut state = String::new();
    let stdout = script.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut state).expect("it says where it is");
    let state = PathBuf::from(state.trim());
    assert!(state.file_name().is_some() && !traces(&state).is_empty(), "{state:?}");
    (script, state)
}

/// What is left of a sandbox: its directory, control groups, and processes.
fn traces(state: &Path) -> Vec<String> {
    let name = state.file_name().and_then(|name| name.to_str()).expect("a plain name");
    let mut traces: Vec<String> = state.exists().then(|| state.display().to_string()).into_iter().collect();
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("it is there");
    for mount in mounts.lines().filter(|line| line.contains(" - cgroup")) {
        let at = Path::new(mount.split(' ').nth(4).unwrap_or("/"));
        let groups = [at.to_path_buf(), at.join("unified")];
        traces.extend(
            groups.map(|at| at.join(name)).iter().filter(|at| at.exists()).map(|at| at.display().to_string()),
        );
    }
    for process in fs::read_dir("/proc").expect("it is there").flatten() {
        let groups = fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        if groups.contains(name) {
            traces.push(process.path().display().to_string());
        }
    }
    traces
}

fn nothing_is_left(of: &Path) {
    let end = Instant::now() + LONG;
    loop {
        let traces = traces(of);
        if traces.is_empty() {
            return;
        }
        assert!(Instant::now() < end, "left behind: {traces:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn it_ends_with_the_commands_own_status() {
    assert_eq!(status(&["--", "sh", "-c", "exit 7"]), Some(7));
    assert_eq!(status(&["--", "sh", "-c", "kill -KILL $$"]), Some(128 + 9));
    assert_eq!(status(&["--cgroup", "nonsense", "--", "true"]), Some(64));
    assert_eq!(status(&["--"]), Some(64));
    assert_eq!(status(&["--root", "/nonexistent", "--", "true"]), Some(69));
}

#[test]
fn it_leaves_nothing_behind_however_it_ends() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let (mut script, state) = up();
        kill(Pid::from_raw(script.id().try_into().expect("a PID is small")), signal).expect("it runs");
        script.wait().expect("it ends");
        nothing_is_left(&state);
    }
    let (mut script, state) = up();
    let inside = traces(&state).into_iter().filter_map(|trace| trace.strip_prefix("/proc/")?.parse().ok());
    for process in inside {
        let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
    }
    script.wait().expect("it ends with its systemd");
    nothing_is_left(&state);
}

#[test]
fn several_run_side_by_side_and_do_not_see_each_other() {
    let script = "systemd-run --quiet --scope --unit same sleep 600 & \
                  until systemctl --quiet is-active same.scope; do sleep 0.05; done; \
                  systemctl list-units --plain --no-legend 'same*' | wc -l";
    let arguments = ["--", "sh", "-c", script];
    let running: Vec<Child> =
        (0..3).map(|_| sandbox(&arguments).stdout(Stdio::piped()).spawn().expect("it starts")).collect();
    for script in running {
        let output = script.wait_with_output().expect("it ends");
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout).trim()), (Some(0), "1"));
    }
}
