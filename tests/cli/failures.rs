//! Each way to fail has its exit status, a line for people and an object for programs.

use std::process::Command;

use crate::sandbox::{NOBODY, Sleeper, name, object, run, stderr, stdout, unitwait_as};

/// Each as a line for people and as an object for programs, with the same status.
#[test]
fn each_failure_has_its_exit_status_and_its_kind() {
    let sleeper = Sleeper::new();
    let (taken, plain) = (name("taken"), sleeper.pid_text());
    assert!(run(["create", "--unit", &taken, "--pid", &plain]).status.success());
    let mut ended = Command::new("true").spawn().unwrap();
    let dead = ended.id().to_string();
    ended.wait().unwrap();
    let long = format!("{}.scope", "a".repeat(250));
    let cases: &[(&[&str], i32, &str)] = &[
        (&["run"], 64, "usage"),
        (&["run", "--bogus", "true"], 64, "usage"),
        (&["frobnicate"], 64, "usage"),
        (&["create", "--unit", "cli-bad"], 64, "usage"),
        (&["create", "--pid", "one"], 64, "usage"),
        (&["--user", "list", "--private"], 64, "usage"),
        (&["--timeout", "soon", "list"], 64, "usage"),
        (&["kill", "--signal", "NONE", "x"], 64, "usage"),
        (&["kill", "--until-gone", "--signal", "TERM", &taken], 64, "usage"),
        (&["kill", "--all", "--kill-whom", "main", &taken], 64, "usage"),
        (&["set", &taken], 64, "usage"),
        (&["attach", &taken], 64, "usage"),
        (&["wait"], 64, "usage"),
        (&["completions", "csh"], 64, "usage"),
        (&["run", "--unit", "", "true"], 65, "invalid_input"),
        (&["run", "--unit", &long, "true"], 65, "invalid_input"),
        (&["run", "--unit", "cli-bad/x", "true"], 65, "invalid_input"),
        (&["run", "--unit", "cli-bäd", "true"], 65, "invalid_input"),
        (&["run", "--unit", "cli-bad.service", "true"], 65, "invalid_input"),
        (&["run", "--unit", "cli-bad.socks", "true"], 65, "invalid_input"),
        (&["run", "--slice", "cli-bad-.slice", "true"], 65, "invalid_input"),
        (&["run", "--unit", "cli-bad", "-p", "MemoryMax=lots", "true"], 65, "invalid_input"),
        (&["run", "--unit", "cli-bad", "-p", "MemoryMax", "true"], 65, "invalid_input"),
        (&["create", "--unit", "cli-bad", "--pid", "0"], 65, "invalid_input"),
        (&["create", "--unit", "cli-bad", "--pid", "-5"], 65, "invalid_input"),
        (&["create", "--unit", "cli-bad", "--pid", "9999999999"], 65, "invalid_input"),
        (&["create", "--unit", "cli-bad", "--pid", &plain, &dead], 65, "no_such_process"),
        (&["kill", "--signal", "99", &taken], 65, "invalid_input"),
        (&["kill", "--until-gone", "cli-bad.service"], 65, "invalid_input"),
        (&["set", &taken, "-p", "MemoryMax=lots"], 65, "invalid_input"),
        (&["set", &taken, "-p", "IOWeight:t=0"], 65, "invalid_input"),
        (&["set", &taken, "-p", "Nonsense:s=x"], 65, "unknown_property"),
        (&["attach", &taken, "--pid", "0"], 65, "invalid_input"),
        (&["attach", &taken, "--pid", "-5"], 65, "invalid_input"),
        (&["attach", &taken, "--pid", &dead], 65, "no_such_process"),
        (&["attach", &taken, "--pid", &plain, "--subgroup", "../x"], 65, "invalid_input"),
        (&["attach", "system.slice", "--pid", &plain], 65, "invalid_input"),
        (&["freeze", "no/name"], 65, "invalid_input"),
        (&["wait", "cli-bad.service"], 65, "invalid_input"),
        (&["watch", "a["], 65, "invalid_input"),
        (&["--address", "nonsense", "list"], 65, "invalid_input"),
        (&["--address", "unix:path=/nonexistent", "list"], 69, "connect"),
        (&["--address", "unix:path=/nonexistent", "run", "true"], 69, "connect"),
        (&["--address", "unix:path=/nonexistent", "watch"], 69, "connect"),
        (&["man", "/proc/none"], 70, "system"),
        (&["stop", "cli-none"], 71, "no_such_unit"),
        (&["kill", "cli-none"], 71, "no_such_unit"),
        (&["status", "cli-none"], 71, "no_such_unit"),
        (&["audit", "cli-none"], 71, "no_such_unit"),
        (&["set", "cli-none", "-p", "TasksMax=5"], 71, "no_such_unit"),
        (&["attach", "cli-none", "--pid", &plain], 71, "no_such_unit"),
        (&["attach", &taken, "--pid", &plain], 71, "not_delegated"),
        (&["freeze", "cli-none"], 71, "no_such_unit"),
        (&["thaw", "cli-none"], 71, "no_such_unit"),
        (&["kill", "--until-gone", "cli-none"], 71, "no_such_unit"),
        (&["wait", "cli-none"], 71, "no_such_unit"),
        (&["create", "--unit", &taken, "--pid", &plain], 73, "unit_exists"),
        (&["run", "--unit", &taken, "true"], 73, "unit_exists"),
        (&["run", "--unit", &taken, "--on-exists", "join", "true"], 73, "not_delegated"),
        (&["run", "--timeout", "0", "true"], 75, "timeout"),
        (&["stop", &taken, "--timeout", "0"], 75, "timeout"),
        (&["wait", &taken, "--timeout", "300ms"], 75, "timeout"),
        (&["watch", "--timeout", "0"], 75, "timeout"),
        (&["run", "/"], 126, "command_not_executable"),
        (&["run", "/etc/passwd"], 126, "command_not_executable"),
        (&["run", "cli-no-such-command"], 127, "command_not_found"),
        (&["run", ""], 127, "command_not_found"),
    ];
    for (arguments, status, kind) in cases {
        let text = run(*arguments);
        assert_eq!(text.status.code(), Some(*status), "{arguments:?}: {text:?}");
        assert!(!stderr(&text).is_empty() && stdout(&text).is_empty(), "{arguments:?}: {text:?}");
        let json = run(["--json"].iter().chain(*arguments));
        assert_eq!(json.status.code(), Some(*status), "{arguments:?}: {json:?}");
        let error = &object(&json.stderr)["error"];
        assert_eq!((error["kind"].as_str(), error["status"].as_i64()), (Some(*kind), Some((*status).into())));
        assert!(
            !error["message"].as_str().unwrap().is_empty() && !error["hint"].as_str().unwrap().is_empty()
        );
    }
    let left = object(&run(["--json", "list", "cli-bad*", "a*"]).stdout);
    assert_eq!(left["units"].as_array().unwrap().len(), 0, "{left}");
    assert!(run(["stop", &taken]).status.success());
}

#[test]
fn who_may_not_is_told_so_with_77() {
    let refused = unitwait_as(NOBODY).args(["--json", "run", "true"]).output().unwrap();
    let error = &object(&refused.stderr)["error"];
    assert_eq!((refused.status.code(), error["kind"].as_str()), (Some(77), Some("access_denied")), "{error}");
    assert!(error["dbus_name"].as_str().unwrap().starts_with("org.freedesktop.DBus.Error."), "{error}");
}
