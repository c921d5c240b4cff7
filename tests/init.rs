//! The example `init`, as it is run: beside other processes, and as process 1 of a PID namespace, with the real systemd
//! in the sandbox.
//!
//! Run by `scripts/test`, which builds the example first; outside of the sandbox every test here fails and says so.

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::libc::{SIGKILL, SIGTERM, SIGUSR1};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{LONG, by, eventually, group_in, hybrid, in_sandbox, manager, name};
use unitwait::Manager;

/// Where the example is built: beside the directory of this test's own program.
fn program() -> PathBuf {
    let own = std::env::current_exe().expect("it has a path");
    let beside = own.parent().and_then(Path::parent).expect("target/debug/deps").join("examples/init");
    assert!(beside.exists(), "{} is not there: cargo build --example init", beside.display());
    beside
}

/// An init of one unit that is this test's.
struct Run {
    child: Child,
    unit: String,
}

impl Run {
    fn of(mut command: Command, options: &[&str], script: &str) -> Run {
        in_sandbox();
        let unit = name("init");
        command.args(options).args(["--name", &unit, "--", "sh", "-c", script]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Run { child: command.spawn().expect("it starts"), unit }
    }

    fn new(options: &[&str], script: &str) -> Run {
        Run::of(Command::new(program()), options, script)
    }

    /// As process 1 of a PID namespace with a /proc of its own; systemd stays outside. `unshare` is its parent.
    fn as_first(prepare: &str, options: &[&str], script: &str) -> Run {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--mount", "--fork", "--mount-proc", "--kill-child", "sh", "-c"]);
        command.arg(format!("{prepare} exec \"$0\" \"$@\"")).arg(program());
        Run::of(command, options, script)
    }

    fn signal(&self, signal: i32) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a number"));
        kill(pid, Signal::try_from(signal).expect("a signal")).expect("it lives");
    }

    /// Waits for a line of its output; the rest stays where it is.
    fn line(&mut self) -> String {
        let out = self.child.stdout.as_mut().expect("it is piped");
        let (mut line, mut byte) = (Vec::new(), [0]);
        while out.read(&mut byte).expect("it can be read") == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        String::from_utf8(line).expect("it is text")
    }

    /// Its exit status, and all that it has said, when it has left nothing behind.
    #[track_caller]
    fn end(self) -> (Option<i32>, String) {
        let Run { child, unit } = self;
        let output = by(LONG, || child.wait_with_output().expect("it ends"));
        assert_eq!(manager().list_units(&[&unit], LONG).expect("listed"), [], "{unit} stayed behind");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said.into_owned())
    }
}

fn status_of(script: &str, options: &[&str]) -> Option<i32> {
    Run::new(options, script).end().0
}

/// The only process of a unit.
fn process_of(manager: &Manager, unit: &str) -> u32 {
    let mut processes = Vec::new();
    eventually("the command is in its scope", || {
        let scope = manager.adopt_scope(unit, LONG);
        processes = scope.and_then(|scope| scope.processes()).unwrap_or_default();
        processes.len() == 1
    });
    processes[0]
}

#[test]
fn the_commands_exit_status_is_the_inits_own() {
    assert_eq!(status_of("exit 0", &[]), Some(0));
    assert_eq!(status_of("exit 42", &[]), Some(42));
    assert_eq!(status_of("kill -USR1 $$", &[]), Some(128 + SIGUSR1));
}

#[test]
fn the_command_is_in_its_scope_with_its_limits_and_no_signal_blocked() {
    let script = "cat /proc/self/cgroup; grep SigBlk /proc/self/status";
    let options = ["--slice", "inits.slice", "--tasks", "50", "--memory", "64M"];
    let run = Run::new(&options, script);
    let group = format!("/inits.slice/{}", run.unit);
    let (status, said) = run.end();
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(group_in(&said), group);
    assert!(said.contains("SigBlk:\t0000000000000000"), "{said}");
    // A limit is in force, or it is said that it is not.
    let limited = said.contains(&format!(":pids:{group}"));
    assert_eq!(said.contains("not in force"), !hybrid() && !limited, "{said}");
}

#[test]
fn what_cannot_be_is_told_by_sysexits() {
    in_sandbox();
    let status = |arguments: &[&str]| Command::new(program()).args(arguments).output().unwrap().status.code();
    assert_eq!(status(&[]), Some(64));
    assert_eq!(status(&["true"]), Some(64));
    assert_eq!(status(&["--tasks", "many", "--", "true"]), Some(64));
    assert_eq!(status(&["--name", "no-scope", "--", "true"]), Some(64));
    assert_eq!(status(&["--help"]), Some(0));
    // And is not tried again.
    assert_eq!(status(&["--restart", "always", "--", "/nonexistent"]), Some(127));
    assert_eq!(status(&["--restart", "always", "--", "/etc/passwd"]), Some(126));
}

#[test]
fn without_a_manager_it_says_so_and_runs_nothing() {
    let (status, said) = Run::as_first("mount -t tmpfs none /run;", &[], "echo ran").end();
    assert_eq!(status, Some(69), "{said}");
    assert!(!said.contains("ran\n") && said.contains("/run/systemd/private"), "{said}");
}

#[test]
fn signals_reach_the_command_and_a_second_sigterm_ends_all() {
    let mut run =
        Run::new(&[], "trap 'echo usr1' USR1; trap '' TERM; echo ready; sleep 600 & while :; do wait; done");
    assert_eq!(run.line(), "ready");
    run.signal(SIGUSR1);
    assert_eq!(run.line(), "usr1");
    run.signal(SIGTERM);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(run.child.try_wait().expect("asked").is_none(), "the command ignores the first one");
    run.signal(SIGTERM);
    assert_eq!(run.end().0, Some(128 + SIGKILL));
}

#[test]
fn a_sigterm_that_is_not_obeyed_in_time_ends_all() {
    let mut run = Run::new(&["--timeout-ms", "700"], "trap '' TERM; echo ready; while :; do sleep 1; done");
    assert_eq!(run.line(), "ready");
    run.signal(SIGTERM);
    assert_eq!(run.end().0, Some(128 + SIGKILL));
}

#[test]
fn what_the_command_leaves_behind_ends_with_it() {
    let mut run = Run::new(&[], "(trap '' TERM HUP; exec setsid sleep 600) & echo $!; exit 3");
    let left: u32 = run.line().parse().expect("a number");
    // It has no copy of the pipe's end any more: it is gone.
    assert_eq!(run.end().0, Some(3));
    assert!(!Path::new(&format!("/proc/{left}")).exists(), "{left} is not there, not even to be collected");
}

/// A script that leaves twenty orphans that end at once, one of them by a real-time signal, and then says how many
/// zombies there are.
const ORPHANS: &str = "for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 0.1 & sleep 0.1 &) ; done
    (sh -c 'kill -40 $$' & ) ; sleep 1
    cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z '; exit 7";

#[test]
fn orphans_are_collected_beside_other_processes() {
    let mut run = Run::new(&[], "echo $PPID; (sh -c 'kill -40 $$' & sleep 0.2 & sleep 0.3 &); sleep 600");
    let init = run.line();
    let zombies = || {
        let children = fs::read_to_string(format!("/proc/{init}/task/{init}/children")).expect("it lives");
        children.split_ascii_whitespace().count() != 1
    };
    // Its one child left is the command.
    eventually("the orphans are collected", || !zombies());
    run.signal(SIGTERM);
    assert_eq!(run.end().0, Some(128 + SIGTERM));
}

#[test]
fn as_process_1_it_collects_every_orphan_and_ends_with_the_commands_status() {
    for prepare in ["", "mount -t tmpfs none /run/systemd;"] {
        let (status, said) = Run::as_first(prepare, &[], ORPHANS).end();
        assert_eq!((status, said.as_str()), (Some(7), "0\n"), "{prepare}");
    }
}

#[test]
fn in_a_pid_namespace_the_command_is_placed_and_never_a_stranger() {
    let manager = manager();
    // In the namespace the first numbers are the init's and its children's; here, systemd's and its daemons'.
    let groups = || -> Vec<String> {
        (1..30).map(|pid| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default()).collect()
    };
    let before = groups();
    let mut run =
        Run::as_first("", &["--tasks", "50"], "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done");
    assert_eq!(run.line(), "ready");
    let scope = manager.adopt_scope(&run.unit, LONG).expect("it is there");
    assert!(!scope.processes().expect("listed").is_empty());
    for (then, now) in before.iter().zip(groups()) {
        assert!(then.is_empty() || now.is_empty() || *then == now, "{then} became {now}");
    }
    // Process 1 takes signals as any other does: `unshare` has one child, which is it.
    let unshare = run.child.id();
    let first = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).expect("it lives");
    let first = Pid::from_raw(first.trim().parse().expect("one number"));
    kill(first, Signal::SIGTERM).expect("it lives");
    assert_eq!(run.end().0, Some(9));
}

#[test]
fn as_process_1_a_second_sigterm_ends_all_that_is_in_the_scope() {
    let manager = manager();
    let run = Run::as_first("", &[], "trap '' TERM; exec sleep 600");
    let sleeper = process_of(&manager, &run.unit);
    let unshare = run.child.id();
    let first = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).expect("it lives");
    let first = Pid::from_raw(first.trim().parse().expect("one number"));
    eventually("the command has begun", || {
        fs::read_to_string(format!("/proc/{sleeper}/comm")).is_ok_and(|comm| comm == "sleep\n")
    });
    kill(first, Signal::SIGTERM).expect("it lives");
    std::thread::sleep(std::time::Duration::from_millis(200));
    kill(first, Signal::SIGTERM).expect("it lives");
    assert_eq!(run.end().0, Some(128 + SIGKILL));
}

#[test]
fn with_another_namespaces_proc_it_refuses() {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child"]).arg(program());
    let (status, said) = Run::of(command, &[], "echo ran").end();
    assert_eq!(status, Some(69), "{said}");
    assert!(said.contains("another PID namespace") && !said.contains("ran\n"), "{said}");
}

#[test]
fn it_restarts_as_it_is_told() {
    let file = std::env::temp_dir().join(name("restarts"));
    let counting = |status: &str| {
        format!("echo >> {0}; [ $(wc -l < {0}) -lt 3 ] || exit 0; exit {status}", file.display())
    };
    let runs = || {
        let lines = fs::read_to_string(&file).expect("it was written").lines().count();
        fs::remove_file(&file).expect("it is there");
        lines
    };
    let soon = ["--restart-delay-ms", "10", "--restart"];
    assert_eq!(status_of(&counting("5"), &[&soon[..], &["no"]].concat()), Some(5));
    assert_eq!(runs(), 1);
    assert_eq!(status_of(&counting("5"), &[&soon[..], &["on-failure"]].concat()), Some(0));
    assert_eq!(runs(), 3);
    assert_eq!(status_of(&counting("0"), &[&soon[..], &["on-failure"]].concat()), Some(0));
    assert_eq!(runs(), 1);
    // In a namespace of its own as well.
    let run = Run::as_first("", &[&soon[..], &["on-failure"]].concat(), &counting("5"));
    assert_eq!((run.end().0, runs()), (Some(0), 3));
}

#[test]
fn always_goes_on_until_sigterm_also_between_two_runs() {
    let mut run = Run::new(&["--restart", "always", "--restart-delay-ms", "10"], "echo $$; sleep 0.1");
    assert_ne!(run.line(), run.line());
    run.signal(SIGTERM);
    assert!(run.end().0.is_some());
    let mut run = Run::new(&["--restart", "always", "--restart-delay-ms", "600000"], "echo once; exit 6");
    assert_eq!(run.line(), "once");
    eventually("the first run is over", || {
        manager().list_units(&[&run.unit], LONG).expect("listed").is_empty()
    });
    run.signal(SIGTERM);
    assert_eq!(run.end().0, Some(6));
}
