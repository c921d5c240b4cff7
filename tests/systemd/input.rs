//! Bad input: refused with a clear error, with nothing sent and nothing left in systemd.

use std::fs;
use std::process::Command;

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use unitwait::{Error, KillWhom, Manager, Property, Scope, Slice, UnitJob, Value};

use crate::support::elsewhere::{Elsewhere, given, test_name};
use crate::support::{LONG, Sleeper, asked, manager, name, state};

/// Runs what must be refused, and sees that no request has even reached the dbus thread.
fn refused_unsent<T: std::fmt::Debug>(manager: &Manager, ask: impl FnOnce() -> Result<T, Error>) -> Error {
    let before = asked(manager);
    let error = ask().unwrap_err();
    assert_eq!(asked(manager), before, "something was sent before {error:?}");
    error
}

#[test]
fn bad_input_is_refused_unsent_and_nothing_is_left_in_systemd() {
    let manager = manager();
    let long = format!("bad-{}.scope", "a".repeat(246));
    assert_eq!(long.len(), 256);
    for bad in
        ["", "bad-a/b.scope", "bad-\0.scope", "bad-é.scope", "bad-a.service", "bad-a", "bad-@.scope", &long]
    {
        let scope = Scope::new(bad).own_process();
        let error = refused_unsent(&manager, || manager.create_scope(&scope, LONG));
        assert!(error.is_invalid_input(), "{bad:?}: {error:?}");
        let slice = Slice::new(bad);
        let error = refused_unsent(&manager, || manager.create_slice(&slice, LONG));
        assert!(error.is_invalid_input(), "{bad:?}: {error:?}");
    }
    for bad in ["", "bad-a/b.scope", "bad-\0.scope", "bad-é.scope", &long] {
        let error = refused_unsent(&manager, || manager.submit(&UnitJob::stop(bad), LONG));
        assert!(error.is_invalid_input(), "{bad:?}: {error:?}");
    }
    for pid in [0i64, -1, i64::MAX] {
        let scope = Scope::new("bad-pid.scope").pid(pid);
        let error = refused_unsent(&manager, || manager.create_scope(&scope, LONG));
        assert!(error.is_invalid_input(), "{error:?}");
    }
    let wrong = Property::new("TasksMax", Value::from("x"));
    let scope = Scope::new("bad-type.scope").own_process().property(wrong);
    assert!(refused_unsent(&manager, || manager.create_scope(&scope, LONG)).is_invalid_input());
    let kill = || manager.kill_unit("a.scope", KillWhom::All, 0, LONG);
    assert!(refused_unsent(&manager, kill).is_invalid_input());
    assert!(manager.list_units(&["bad-*"], LONG).unwrap().is_empty());
}

/// The library does not know every property's type: of the others, systemd is the judge.
#[test]
fn a_wrong_type_that_only_systemd_knows_is_a_clear_error_and_leaves_no_unit() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let unit = name("bad-type");
    let scope = Scope::new(&unit).pid(sleeper.pid()).property(Property::new("LogLevelMax", "x"));
    let error = manager.create_scope(&scope, LONG).unwrap_err();
    assert!(matches!(error, Error::Dbus { .. } | Error::UnknownProperty { .. }), "{error:?}");
    assert_eq!(error.unit(), Some(unit.as_str()));
    assert!(manager.list_units(&[&unit], LONG).unwrap().is_empty());
    assert!(sleeper.lives());
}

#[test]
fn a_process_that_has_ended_is_refused_unsent_reaped_or_not() {
    let manager = manager();
    let mut ended = Command::new("true").spawn().unwrap();
    let pid = ended.id();
    let unreaped = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(Pid::from_raw(pid.try_into().unwrap())), unreaped).unwrap();
    let unit = name("ended");
    let scope = Scope::new(&unit).pid(pid);
    let check = || match refused_unsent(&manager, || manager.create_scope(&scope, LONG)) {
        Error::NoSuchProcess { pid: named, .. } => assert_eq!(named, Some(pid)),
        other => panic!("{other:?}"),
    };
    check();
    ended.wait().unwrap();
    check();
    assert_eq!(state(&manager, &unit), "inactive");
}

/// The sandbox's PID namespace hides the kernel's threads. So the flags of one stand in `/proc/PID/stat` of a
/// process here, in a mount namespace of this test's own, and all else is as it always is.
#[test]
fn a_kernel_thread_is_refused_unsent() {
    let Some(pid) = given("KTHREAD") else {
        let sleeper = Sleeper::new();
        let pid = sleeper.pid().to_string();
        // As kthreadd has it: PF_KTHREAD among the flags, its ninth field.
        let rewrite = r#"
            copy=$(mktemp)
            sed -E 's/^(.*\)( [^ ]+){6}) [0-9]+ /\1 2129984 /' "/proc/$1/stat" >"$copy"
            mount --bind "$copy" "/proc/$1/stat"
            rm "$copy""#;
        let elsewhere = Elsewhere::after(rewrite, &[&pid]);
        return elsewhere.give("KTHREAD", &pid).run(&test_name(a_kernel_thread_is_refused_unsent));
    };
    let manager = manager();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(stat.contains(" 2129984 "), "{stat}");
    let scope = Scope::new(name("kernel")).pid(pid.parse::<u32>().unwrap());
    match refused_unsent(&manager, || manager.create_scope(&scope, LONG)) {
        Error::InvalidInput { given, reason, .. } => {
            assert!(given == pid && reason.contains("kernel thread"), "{given}: {reason}");
        }
        other => panic!("{other:?}"),
    }
}
