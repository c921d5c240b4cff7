//! The audit on the real systemd: what others do to a unit behind systemd's back is named, and what unitwait set
//! stays.
//!
//! Run by `scripts/test`; outside of the sandbox every test here fails and says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use unitwait::{ActiveScope, AuditFinding, CgroupMode, GapReason, Manager, Scope};

mod support;

use support::{LONG, Sleeper, eventually, manager, name};

fn limited(manager: &Manager, sleeper: &Sleeper) -> ActiveScope {
    let scope = Scope::new(name("audit")).pid(sleeper.pid()).slice("audit.slice");
    manager.create_scope(&scope.memory_max(64 << 20).tasks_max(50), LONG).unwrap()
}

fn findings(active: &ActiveScope) -> Vec<AuditFinding> {
    active.audit(LONG).unwrap().findings
}

/// A reload undoes what another test has just written past systemd, so they take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn daemon_reload() {
    assert!(Command::new("systemctl").arg("daemon-reload").status().unwrap().success());
}

/// The major number.
fn version(manager: &Manager) -> u32 {
    let digits = |c: char| !c.is_ascii_digit();
    manager.version().split(digits).find_map(|number| number.parse().ok()).expect("it has a number")
}

/// The file of a limit; `None` where no controller enforces it for the unit.
fn limit_file(active: &ActiveScope, controller: &str, names: &[&str]) -> Option<PathBuf> {
    let directory = active.controller_path(controller)?;
    names.iter().map(|name| directory.join(name)).find(|file| file.exists())
}

fn put(pid: u32, group: &Path) {
    fs::write(group.join("cgroup.procs"), pid.to_string()).unwrap();
}

#[test]
fn a_limit_written_past_systemd_is_named_and_the_next_reload_undoes_it() {
    let _alone = alone();
    let manager = manager();
    let sleeper = Sleeper::new();
    let active = limited(&manager, &sleeper);
    let memory = limit_file(&active, "memory", &["memory.max", "memory.limit_in_bytes"]);
    let tasks = limit_file(&active, "pids", &["pids.max"]);
    if manager.layout().mode() == CgroupMode::Hybrid {
        assert!(memory.is_some() && tasks.is_some(), "every one of these has a v1 controller");
    }
    for (property, file, by_hand) in [("MemoryMax", memory, "33554432"), ("TasksMax", tasks, "7")] {
        let Some(file) = file else {
            // No controller of the unified layout enforces it here, and that is named just as well.
            let missing = findings(&active);
            let named = |finding: &AuditFinding| {
                matches!(finding, AuditFinding::NotHeld(gap)
                if gap.property == property && matches!(gap.reason, GapReason::NoController(_) | GapReason::NotEnabled))
            };
            assert!(missing.iter().any(named), "{property}: {missing:?}");
            continue;
        };
        let before = fs::read_to_string(&file).unwrap();
        assert!(findings(&active).iter().all(|finding| !finding.to_string().contains(property)));
        fs::write(&file, by_hand).unwrap();
        let seen = findings(&active);
        let named = |finding: &AuditFinding| {
            matches!(finding, AuditFinding::Overwritten(gap)
            if gap.property == property && gap.found.as_deref() == Some(by_hand))
        };
        assert!(seen.iter().any(named), "{seen:?}");
        daemon_reload();
        if manager.layout().mode() == CgroupMode::Hybrid && version(&manager) >= 257 {
            // With cgroup v1 it stays there, and goes on being named.
            assert!(findings(&active).iter().any(named));
            fs::write(&file, before).unwrap();
            continue;
        }
        // Newer systemds write the files once they have answered.
        eventually("the reload undoes what was written by hand", || {
            fs::read_to_string(&file).unwrap() == before
        });
        assert!(findings(&active).iter().all(|finding| !finding.to_string().contains(property)));
    }
    active.stop(LONG).unwrap();
}

#[test]
fn a_limit_set_through_unitwait_survives_the_reload_and_the_audit_is_silent() {
    let _alone = alone();
    let manager = manager();
    let sleeper = Sleeper::new();
    let active = limited(&manager, &sleeper);
    let before = findings(&active);
    daemon_reload();
    assert_eq!(findings(&active), before);
    if manager.layout().mode() == CgroupMode::Hybrid {
        assert_eq!(before, []);
    }
    active.stop(LONG).unwrap();
}

#[test]
fn a_limit_that_was_set_anew_is_told_from_one_that_was_written_past_systemd() {
    let _alone = alone();
    let manager = manager();
    let sleeper = Sleeper::new();
    let active = limited(&manager, &sleeper);
    if limit_file(&active, "pids", &["pids.max"]).is_some() {
        let set = ["set-property", "--runtime", active.unit(), "TasksMax=30"];
        assert!(Command::new("systemctl").args(set).status().unwrap().success());
        let seen = findings(&active);
        let changed = |finding: &AuditFinding| {
            matches!(finding, AuditFinding::Changed(gap)
            if gap.property == "TasksMax" && gap.asked == "50" && gap.found.as_deref() == Some("30"))
        };
        assert!(seen.iter().any(changed), "{seen:?}");
        let by_name = manager.audit(active.unit(), LONG).unwrap().findings;
        assert!(!by_name.iter().any(changed), "who asks by name has asked for nothing: {by_name:?}");
    } else {
        assert_eq!(manager.layout().mode(), CgroupMode::Unified, "v1 has the pids controller here");
    }
    active.stop(LONG).unwrap();
}

#[test]
fn a_process_moved_away_by_hand_is_named_with_where_it_is() {
    let _alone = alone();
    let manager = manager();
    let (moved, stays) = (Sleeper::new(), Sleeper::new());
    let scope = Scope::new(name("audit-moved")).pids([moved.pid(), stays.pid()]).slice("audit.slice");
    let active = manager.create_scope(&scope.tasks_max(50), LONG).unwrap();
    let strays = || -> Vec<(u32, String, String)> {
        let misplaced = findings(&active).into_iter().filter_map(|finding| match finding {
            AuditFinding::Misplaced(process) => Some((process.pid, process.hierarchy, process.found)),
            _ => None,
        });
        misplaced.collect()
    };
    assert_eq!(strays(), []);
    let elsewhere = manager.layout().path("/elsewhere");
    fs::create_dir_all(&elsewhere).unwrap();
    put(moved.pid(), &elsewhere);
    let hierarchy = if manager.layout().mode() == CgroupMode::Unified { "unified" } else { "name=systemd" };
    assert_eq!(strays(), [(moved.pid(), hierarchy.into(), "/elsewhere".into())]);
    put(moved.pid(), &active.path().expect("it is known"));
    assert_eq!(strays(), []);
    if manager.layout().mode() == CgroupMode::Hybrid {
        // Its limit binds a process only where that is in the limit's own hierarchy.
        let root = active.controller_path("pids").unwrap();
        put(stays.pid(), root.parent().unwrap().parent().unwrap());
        assert_eq!(strays(), [(stays.pid(), "pids".into(), "/".into())]);
        put(stays.pid(), &root);
        assert_eq!(strays(), []);
        // systemd goes by cgroup v2 here, by which it would neither kill this one nor wait for it.
        let beside = Path::new("/sys/fs/cgroup/unified/elsewhere");
        fs::create_dir_all(beside).unwrap();
        put(stays.pid(), beside);
        assert_eq!(strays(), [(stays.pid(), "unified".into(), "/elsewhere".into())]);
    }
    active.stop(LONG).unwrap();
}

#[test]
fn a_run_that_is_over_or_replaced_is_told() {
    let _alone = alone();
    let manager = manager();
    let (first, second) = (Sleeper::new(), Sleeper::new());
    let unit = name("audit-run");
    let old = manager.create_scope(&Scope::new(&unit).pid(first.pid()), LONG).unwrap();
    old.stop(LONG).unwrap();
    assert_eq!(findings(&old), [AuditFinding::Gone]);
    let new = manager.create_scope(&Scope::new(&unit).pid(second.pid()), LONG).unwrap();
    assert_eq!(findings(&old), [AuditFinding::Replaced]);
    assert!(
        !findings(&new).iter().any(|finding| matches!(finding, AuditFinding::Gone | AuditFinding::Replaced))
    );
    new.stop(LONG).unwrap();
    let error = manager.audit(&unit, LONG).unwrap_err();
    assert!(matches!(error, unitwait::Error::NoSuchUnit { .. }), "{error}");
}
