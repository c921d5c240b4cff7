//! The command on the real systemd, in the sandbox: its exit statuses, its objects, and what it leaves to CMD.
//!
//! Outside of the sandbox every test here fails and says so.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/failures.rs"]
mod failures;
#[path = "cli/living.rs"]
mod living;
#[path = "cli/sandbox.rs"]
mod sandbox;
#[path = "cli/shells.rs"]
mod shells;
mod support;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/wait.rs"]
mod wait;
#[path = "cli/watch.rs"]
mod watch;

use sandbox::{
    NOBODY, Silence, Sleeper, UNITWAIT, awake, group_in, hybrid, name, object, run, started, stderr, stdout,
    unitwait, unitwait_as,
};

#[test]
fn a_command_is_in_its_scope_from_its_first_instruction() {
    for _ in 0..20 {
        let unit = name("first");
        let short = unit.strip_suffix(".scope").unwrap();
        let output = run(["run", "--unit", short, "--slice", "clifirst", "cat", "/proc/self/cgroup"]);
        assert_eq!(group_in(stdout(&output)), format!("/clifirst.slice/{unit}"));
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    }
    let unnamed = run(["run", "cat", "/proc/self/cgroup"]);
    assert!(group_in(stdout(&unnamed)).ends_with(".scope"), "{unnamed:?}");
}

#[test]
fn a_command_ends_as_it_ends() {
    let code = run(["run", "--", "sh", "-c", "exit 7"]);
    assert_eq!((code.status.code(), stderr(&code)), (Some(7), ""));
    let killed = run(["run", "--", "sh", "-c", "kill -9 $$"]);
    assert_eq!(killed.status.signal(), Some(9));
}

#[test]
fn what_run_has_to_say_leaves_stdout_to_the_command() {
    let unit = name("aside");
    let json = run(["run", "--json", "--unit", &unit, "echo", "mine"]);
    assert_eq!((stdout(&json), object(&json.stderr)["unit"].as_str()), ("mine\n", Some(&*unit)));

    // Another name: systemd notices a moment later that a scope's last process has ended.
    let unit = name("aside");
    let told = run(["run", "-v", "--unit", &unit, "echo", "mine"]);
    assert_eq!(stdout(&told), "mine\n");
    let scope = format!("create scope {unit}: ");
    // Without the job; a systemd that places by number alone is called a second time. Whether it is connected by then, and has
    // told where it is before the job is over, is a race.
    let mut stages: Vec<&str> = Vec::new();
    for line in stderr(&told).lines().filter_map(|line| Some(line.split_once(&scope)?.1)) {
        let stage = line.split(',').next().unwrap_or_default();
        if !stages.contains(&stage) && !matches!(stage, "connect" | "half-way") {
            stages.push(stage);
        }
    }
    assert_eq!(stages, ["queued", "call", "job", "verify"], "{told:?}");
    let logged = unitwait().args(["run", "true"]).env("UNITWAIT_LOG", "debug").output().unwrap();
    assert!(stderr(&logged).contains(": verify, job "), "{logged:?}");
}

/// Open files, signal mask and dispositions (the harness ignores SIGPIPE), limits, environment, directory.
#[test]
fn a_command_finds_what_it_would_find_without_unitwait() {
    let look = "ls /proc/self/fd; cat /proc/self/limits; env; pwd";
    let seen = |before: &[&str], script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' HUP USR1; exec \"$@\"", "sh"]).args(before).args(["sh", "-c", script]);
        let output = command.env("MARK", "kept").current_dir("/").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        stdout(&output).to_string()
    };
    unitwait();
    let through = [UNITWAIT, "run", "-p", "TasksMax=50", "--"];
    let (found, expected) = (seen(&through, look), seen(&["env"], look));
    assert_eq!(found, expected);
    assert!(found.contains("MARK=kept"), "{found}");
    let signals = "grep -E '^Sig(Blk|Ign)' /proc/self/status";
    let (found, expected) = (seen(&through, signals), seen(&["env"], signals));
    assert_eq!(signal_sets(&found), signal_sets(&expected));
}

/// Without 32 and 33, which are the C library's own.
fn signal_sets(status: &str) -> Vec<u64> {
    let sets =
        status.lines().map(|line| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap());
    let sets: Vec<u64> = sets.map(|set| set & !(0b11 << 31)).collect();
    assert_eq!(sets.len(), 2, "{status}");
    sets
}

#[test]
fn limits_are_in_the_kernels_files_or_told_on_stderr() {
    let limits = ["-p", "MemoryMax=64M", "-p", "TasksMax=20", "-p", "CPUQuota=50%"];
    let look =
        "cd /sys/fs/cgroup; cat memory/$0/memory.limit_in_bytes pids/$0/pids.max cpu/$0/cpu.cfs_quota_us";
    let unit = name("limits");
    let arguments = ["run", "--unit", &unit, "--slice", "clilimits.slice"];
    let group = format!("clilimits.slice/{unit}");
    let output = run(arguments.into_iter().chain(limits).chain(["--", "sh", "-c", look, &group]));
    if hybrid() {
        assert_eq!((stdout(&output), stderr(&output)), ("67108864\n20\n50000\n", ""));
    } else {
        // The host binds its controllers to v1, so the unified sandbox has none of these to give.
        let missing = stderr(&output).lines().filter(|line| line.starts_with("unitwait: warning: ")).count();
        let there = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap();
        let kept = there.split(' ').filter(|name| ["memory", "pids", "cpu"].contains(&name.trim())).count();
        assert_eq!(missing + kept, 3, "{output:?}");
    }
    // No machine has that CPU, so that no kernel can hold the limit, whatever its controllers.
    let required = run(["run", "--json", "--require-limits", "-p", "AllowedCPUs=8000", "echo", "it ran"]);
    let error = &object(&required.stderr)["error"];
    assert_eq!((required.status.code(), error["kind"].as_str()), (Some(71), Some("limit")), "{error}");
    assert_eq!(stdout(&required), "");
}

#[test]
fn a_command_is_who_it_is_told_to_be() {
    unitwait();
    // The sandbox's /etc is a copy.
    let mut groups = OpenOptions::new().append(true).open("/etc/group").unwrap();
    writeln!(groups, "cli-test:x:54321:nobody").unwrap();
    let whole = run(["run", "--uid", "nobody", "--", "sh", "-c", "id -u; id -g; id -G"]);
    assert_eq!(stdout(&whole), "65534\n65534\n65534 54321\n", "{whole:?}");
    let mixed = run(["run", "--uid", "65534", "--gid", "daemon", "--", "sh", "-c", "id -u; id -g; id -G"]);
    assert_eq!(stdout(&mixed), "65534\n1\n1 54321\n", "{mixed:?}");
    let group = run(["run", "--gid", "54321", "--", "sh", "-c", "id -u; id -G; cat /proc/self/cgroup"]);
    assert!(stdout(&group).starts_with("0\n54321\n"), "{group:?}");
    assert!(group_in(stdout(&group)).ends_with(".scope"), "{group:?}");
    let unknown = run(["run", "--uid", "nobody-at-all", "true"]);
    assert_eq!(unknown.status.code(), Some(65), "{unknown:?}");
}

#[test]
fn other_bytes_than_text_reach_the_command_and_are_refused_elsewhere() {
    let raw = OsString::from_vec(vec![b'a', 0xff, 0xfe]);
    let mut command = unitwait();
    let echoed = command.args(["run", "--", "printf", "%s"]).arg(&raw).output().unwrap();
    assert_eq!((echoed.stdout.as_slice(), echoed.status.code()), (raw.as_bytes(), Some(0)));
    for before in [&["run", "--unit"][..], &["run", "-p"], &["run", "--uid"], &["stop"], &["list"]] {
        let refused = unitwait().args(before).arg(&raw).arg("--json").output().unwrap();
        let error = &object(&refused.stderr)["error"];
        assert_eq!(refused.status.code(), Some(64), "{before:?}: {refused:?}");
        assert!(error["message"].as_str().unwrap().contains("not UTF-8"), "{error}");
    }
}

/// The sandbox has a user manager only where it was booted with `--user`, as `scripts/test` does.
#[test]
fn the_users_own_manager_is_used_or_missed_with_advice() {
    let uid = std::env::var("UNITWAIT_SANDBOX_UID").map_or(NOBODY, |uid| uid.parse().unwrap());
    let runtime = std::env::var("UNITWAIT_SANDBOX_RUNTIME_DIR").unwrap_or_else(|_| "/nonexistent".into());
    let ask = |arguments: &[&str]| {
        let mut command = unitwait_as(uid);
        command.arg("--user").args(arguments).env("XDG_RUNTIME_DIR", &runtime);
        command.env_remove("DBUS_SESSION_BUS_ADDRESS").output().unwrap()
    };
    let (run, doctor) = (ask(&["run", "cat", "/proc/self/cgroup"]), ask(&["doctor"]));
    if uid == NOBODY {
        assert_eq!((run.status.code(), doctor.status.code()), (Some(69), Some(69)), "{run:?} {doctor:?}");
        assert!(stdout(&doctor).contains("XDG_RUNTIME_DIR"), "{doctor:?}");
    } else {
        assert_eq!(doctor.status.code(), Some(0), "{doctor:?}");
        let group = group_in(stdout(&run));
        assert!(group.contains(&format!("/user@{uid}.service/")) && group.ends_with(".scope"), "{run:?}");
    }
}

#[test]
fn a_scope_is_created_seen_signalled_and_stopped() {
    let (first, second, third) = (Sleeper::new(), Sleeper::new(), Sleeper::new());
    let unit = name("life");
    let created = run([
        "--json",
        "create",
        "--unit",
        &unit,
        "--slice",
        "clilife",
        "--delegate",
        "-p",
        "TasksMax=20",
        "--description",
        "a life",
        "--pid",
        &first.pid_text(),
        &second.pid_text(),
    ]);
    let scope = object(&created.stdout);
    assert_eq!(created.status.code(), Some(0), "{created:?}");
    assert_eq!((scope["unit"].as_str(), scope["outcome"].as_str()), (Some(&*unit), Some("created")));
    let group = format!("/clilife.slice/{unit}");
    assert_eq!(scope["control_group"], *group);
    for sleeper in [&first, &second] {
        assert_eq!(
            group_in(&fs::read_to_string(format!("/proc/{}/cgroup", sleeper.pid_text())).unwrap()),
            group
        );
    }

    let joined =
        run(["--json", "create", "--unit", &unit, "--on-exists", "join", "--pid", &third.pid_text()]);
    assert_eq!(object(&joined.stdout)["outcome"], "joined", "{joined:?}");

    let status = &object(&run(["status", "--json", &unit]).stdout)["units"][0];
    assert_eq!((&status["active_state"], &status["description"]), (&"active".into(), &"a life".into()));
    assert_eq!(
        (&status["invocation_id"], &status["limits"]["TasksMax"]),
        (&scope["invocation_id"], &20.into())
    );
    assert_eq!(status["pids"].as_array().unwrap().len(), 3, "{status}");
    let text = run(["status", &unit]);
    assert!(
        stdout(&text).contains(&third.pid_text()) && stdout(&text).contains("active (running)"),
        "{text:?}"
    );
    let list = object(&run(["list", "--json", "cli-life-*"]).stdout);
    let line = &list["units"][0];
    assert_eq!((line["unit"].as_str(), line["sub_state"].as_str()), (Some(&*unit), Some("running")));
}

#[test]
fn an_audit_tells_a_difference_with_status_1() {
    let (sleeper, unit) = (Sleeper::new(), name("audit"));
    let created = run(["create", "--unit", &unit, "--slice", "cliaudit", "--pid", &sleeper.pid_text()]);
    assert_eq!(created.status.code(), Some(0), "{created:?}");
    // Controllers that this host has not may be named; nothing else may.
    let others = |audit: &serde_json::Value| {
        let findings = audit["units"][0]["findings"].as_array().unwrap().clone();
        findings.into_iter().filter(|finding| finding["kind"] != "not_held").count()
    };
    let clean = run(["audit", "--json", &unit]);
    assert_eq!(others(&object(&clean.stdout)), 0, "{clean:?}");
    assert_eq!(clean.status.code() == Some(0), stdout(&run(["audit", &unit])).contains("as systemd says"));
    if hybrid() {
        assert_eq!(clean.status.code(), Some(0), "{clean:?}");
        let file = format!("/sys/fs/cgroup/pids/cliaudit.slice/{unit}/pids.max");
        fs::write(file, "7").unwrap();
        let differs = run(["audit", &unit]);
        assert_eq!(differs.status.code(), Some(1), "{differs:?}");
        assert!(
            stdout(&differs).contains("TasksMax") && stdout(&differs).contains("daemon-reload"),
            "{differs:?}"
        );
    }
}

#[test]
fn stop_and_kill_do_what_can_be_done_and_tell_what_cannot() {
    let mut sleeper = Sleeper::new();
    let unit = name("kill");
    assert!(run(["create", "--unit", &unit, "--pid", &sleeper.pid_text()]).status.success());
    let killed = run(["--json", "kill", "--signal", "USR1", "--whom", "all", &unit]);
    assert_eq!(object(&killed.stdout)["units"][0]["signal"], Signal::SIGUSR1 as i32, "{killed:?}");
    assert_eq!(sleeper.0.wait().unwrap().signal(), Some(Signal::SIGUSR1 as i32));

    let (one, two) = (Sleeper::new(), Sleeper::new());
    let (first, second) = (name("stop"), name("stop"));
    for (unit, sleeper) in [(&first, &one), (&second, &two)] {
        assert!(run(["create", "--unit", unit, "--pid", &sleeper.pid_text()]).status.success());
    }
    let partly = run(["--json", "stop", &first, "cli-none", &second, "cli-none-either"]);
    assert_eq!(partly.status.code(), Some(71), "{partly:?}");
    let stopped = object(&partly.stdout);
    let units: Vec<_> =
        stopped["units"].as_array().unwrap().iter().map(|line| line["unit"].clone()).collect();
    assert_eq!(units, [&*first, &*second]);
    let failed = object(&partly.stderr);
    assert_eq!(
        (&failed["error"]["unit"], failed["errors"].as_array().map(Vec::len)),
        (&"cli-none.scope".into(), Some(2))
    );
    for sleeper in [&one, &two] {
        let stat = fs::read_to_string(format!("/proc/{}/stat", sleeper.pid_text())).expect("not reaped yet");
        assert!(stat.contains(") Z "), "stopped, and it lives: {stat}");
    }
}

#[test]
fn a_taken_name_is_replaced_on_request() {
    let (old, new) = (Sleeper::new(), Sleeper::new());
    let unit = name("replace");
    assert!(run(["create", "--unit", &unit, "--pid", &old.pid_text()]).status.success());
    let replaced =
        run(["create", "--json", "--unit", &unit, "--on-exists", "replace", "--pid", &new.pid_text()]);
    assert_eq!(object(&replaced.stdout)["outcome"], "replaced", "{replaced:?}");
    assert!(run(["stop", &unit]).status.success());
}

#[test]
fn a_silent_manager_costs_the_deadline_and_no_more() {
    let sleeper = Sleeper::new();
    let unit = name("silent");
    let silence = Silence::fall();
    let begun = Instant::now();
    let late = run(["--json", "create", "--timeout", "300ms", "--unit", &unit, "--pid", &sleeper.pid_text()]);
    let waited = begun.elapsed();
    drop(silence);
    let error = &object(&late.stderr)["error"];
    assert_eq!((late.status.code(), error["kind"].as_str()), (Some(75), Some("timeout")), "{error}");
    assert_eq!(error["stage"], "call");
    assert!((Duration::from_millis(300)..Duration::from_secs(2)).contains(&waited), "{waited:?}");
    assert_eq!(run(["status", &unit]).status.code(), Some(71));
}

#[test]
fn ctrl_c_ends_the_wait_at_once_and_by_the_signal() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let unit = name("interrupt");
        let silence = Silence::fall();
        // The stage says that the call is out and nobody answers it: no sleep is needed to know that it waits.
        let (mut waiting, _) = started(&["run", "--unit", &unit, "sleep", "600"], "open the manager: call");
        let begun = Instant::now();
        sandbox::signal(&waiting, signal);
        let status = waiting.wait().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(status.signal(), Some(signal as i32));
        drop(silence);
        assert_eq!(run(["status", &unit]).status.code(), Some(71), "nothing is left");
    }
}

#[test]
fn a_run_that_is_interrupted_in_the_midst_leaves_no_scope() {
    // For a systemd that is silent, the program does not wait.
    let _talkative = awake();
    for stage in ["queued", "call", "job", "verify"].repeat(20) {
        let unit = name("midst");
        let reached = format!("create scope {unit}: {stage}");
        let (mut making, _) = started(&["run", "--unit", &unit, "sleep", "600"], &reached);
        sandbox::signal(&making, Signal::SIGINT);
        assert_eq!(making.wait().unwrap().signal(), Some(Signal::SIGINT as i32));
    }
    let begun = Instant::now();
    loop {
        let left = object(&run(["--json", "list", "cli-midst-*"]).stdout);
        if left["units"].as_array().unwrap().is_empty() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{left}");
    }
}

#[test]
fn a_reader_that_has_left_is_no_reason_to_panic() {
    for arguments in [&["list"][..], &["doctor"], &["--help"], &["doctor", "--json"]] {
        let (reader, writer) = UnixStream::pair().unwrap();
        drop(reader);
        let output =
            unitwait().args(arguments).stdout(OwnedFd::from(writer)).stderr(Stdio::piped()).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{arguments:?}");
    }
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(unitwait().arg("list").stdout(full).output().unwrap().status.code(), Some(70));
}

#[test]
fn doctor_says_what_is_here_and_what_to_do() {
    let here = run(["doctor", "--json"]);
    let report = object(&here.stdout);
    assert_eq!((here.status.code(), &report["usable"]), (Some(0), &true.into()), "{report}");
    assert!(!report["systemd"].as_str().unwrap().is_empty());
    let nowhere = run(["--address", "unix:path=/nonexistent", "doctor"]);
    assert_eq!(nowhere.status.code(), Some(69));
    assert!(stdout(&nowhere).contains("/nonexistent") && stdout(&nowhere).contains("`--system` answers"));
    let report = object(&run(["--json", "--address", "unix:path=/nonexistent", "doctor"]).stdout);
    assert_eq!(report["usable"], false);
    for finding in report["findings"].as_array().unwrap() {
        let advised = !finding["advice"].as_str().unwrap().is_empty();
        assert_eq!(finding["verdict"] != "ok", advised, "what is wrong has advice, and only that: {finding}");
    }
}

#[test]
fn help_and_version_are_successes_and_name_every_status() {
    let help = run(["--help"]);
    for status in ["64", "65", "69", "70", "71", "73", "75", "77", "126", "127"] {
        let told = stdout(&help).lines().any(|line| line.trim_start().starts_with(&format!("{status}  ")));
        assert!(told, "{status} is not in --help");
    }
    assert_eq!((help.status.code(), run(["--version"]).status.code()), (Some(0), Some(0)));
}

#[test]
fn the_readmes_commands_work() {
    unitwait();
    let readme = include_str!("../README.md");
    let section = readme.split_once("## At a shell").expect("the section is there").1;
    let block = section
        .split("```")
        .nth(1)
        .and_then(|block| block.strip_prefix("shell\n"))
        .expect("a block of commands");
    let directory = std::path::Path::new(UNITWAIT).parent().unwrap().display();
    let path = format!("{directory}:{}", std::env::var("PATH").unwrap());
    let output = Command::new("sh").args(["-e", "-c", block]).env("PATH", path).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
