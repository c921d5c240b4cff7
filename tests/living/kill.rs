//! A whole subtree is killed, whatever it does against it, and nothing is left: by the kernel's word.

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use unitwait::{ActiveScope, CgroupMode, Error, Manager, Scope, Slice};

use super::runs::{
    assert_one_hierarchy, directories, event, legacy, living, put, refused_by_runs_that_are_over, unified,
};
use crate::support::elsewhere::{Elsewhere, given, test_name};
use crate::support::{LONG, Sleeper, eventually, hybrid, manager, name};

/// Two hundred and more processes that fork without end once they are told to: most wait for each child, some are
/// always gone already, replaced by their own child. None heeds SIGTERM.
struct Bomb {
    child: Child,
    mark: String,
}

const BOMB: &str = r#"
trap '' TERM
read go
hop() { hop & }
n=0
while [ $n -lt 190 ]; do (while :; do sleep 0.2 & wait; done) & n=$((n + 1)); done
while [ $n -lt 200 ]; do (hop) & n=$((n + 1)); done
setsid sh -c 'while :; do (:) & wait; done' &
wait
"#;

impl Bomb {
    fn new() -> Bomb {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("BOMB=n{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let (variable, value) = mark.split_once('=').expect("it has one");
        let mut command = Command::new("sh");
        command.args(["-c", BOMB]).env(variable, value).stdin(Stdio::piped()).stdout(Stdio::null());
        Bomb { child: command.spawn().expect("sh starts"), mark }
    }

    fn set_off(&mut self, active: &ActiveScope) {
        self.child.stdin.take().expect("piped").write_all(b"go\n").expect("it listens");
        eventually("two hundred processes", || active.processes().expect("listed").len() >= 200);
    }

    /// How many of its processes run, wherever they are.
    fn processes(&self) -> usize {
        let processes = fs::read_dir("/proc").expect("it is there").flatten();
        let environments = processes.filter_map(|process| fs::read(process.path().join("environ")).ok());
        let mark = [self.mark.as_bytes(), b"\0"].concat();
        environments.filter(|all| all.windows(mark.len()).any(|found| found == mark)).count()
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn scope_of(manager: &Manager, bomb: &Bomb) -> ActiveScope {
    let scope = Scope::new(name("bomb")).pid(bomb.child.id()).slice("living.slice").delegate(true);
    manager.create_scope(&scope, LONG).expect("created")
}

/// Nothing is there by the kernel's own files, in any hierarchy.
fn assert_empty(active: &ActiveScope) {
    for directory in directories(active.control_group()) {
        let left = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        assert_eq!(left, "", "{}", directory.display());
    }
    assert_eq!(active.processes().unwrap(), [0; 0]);
}

#[test]
fn a_fork_bomb_of_two_hundred_processes_is_gone_within_its_deadline() {
    let manager = manager();
    for _ in 0..3 {
        let mut bomb = Bomb::new();
        let active = scope_of(&manager, &bomb);
        bomb.set_off(&active);
        active.kill_all(LONG).unwrap();
        assert_eq!(bomb.processes(), 0);
        assert_empty(&active);
    }
}

#[test]
fn where_the_kernel_cannot_kill_a_group_systemd_is_asked_until_nothing_is_left() {
    const READ_ONLY: &str = "UNITWAIT_TEST_READ_ONLY";
    if given(READ_ONLY).is_none() {
        manager();
        let here = unified("/");
        let mount = here.to_str().expect("ASCII").trim_end_matches('/');
        let script = "mount -o remount,bind,ro \"$1\"";
        return Elsewhere::after(script, &[mount]).give(READ_ONLY, "yes").run(&test_name(|| ()));
    }
    let manager = manager();
    let mut bomb = Bomb::new();
    let active = scope_of(&manager, &bomb);
    let denied = fs::write(unified(active.control_group()).join("cgroup.kill"), "1");
    assert!(denied.is_err(), "the mount is read-only here");
    bomb.set_off(&active);
    let before = manager.stats().unwrap();
    active.kill_all(LONG).unwrap();
    assert_ne!(manager.stats().unwrap().succeeded, before.succeeded, "systemd was asked");
    assert_eq!(bomb.processes(), 0);
    assert_empty(&active);
}

#[test]
fn where_cgroup_v1_is_all_there_is_a_bomb_is_gone_too_and_the_end_of_a_unit_is_seen() {
    const ALONE: &str = "UNITWAIT_TEST_V1_ALONE";
    if !hybrid() {
        return assert_one_hierarchy();
    }
    if given(ALONE).is_none() {
        let after = Elsewhere::after("umount /sys/fs/cgroup/unified", &[]);
        return after.give(ALONE, "yes").run(&test_name(|| ()));
    }
    let manager = manager();
    assert_eq!(manager.layout().mode(), CgroupMode::Legacy);
    let mut bomb = Bomb::new();
    let active = scope_of(&manager, &bomb);
    bomb.set_off(&active);
    let busy = active.wait_empty(Duration::from_millis(300));
    assert!(busy.is_err_and(|error| error.is_timeout()));
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| active.wait_empty(LONG));
        active.kill_all(LONG).unwrap();
        waiting.join().unwrap().unwrap();
    });
    assert_eq!((bomb.processes(), active.processes().unwrap()), (0, vec![]));
    refused_by_runs_that_are_over(|active| active.kill_all(LONG));
}

#[test]
fn groups_below_are_killed_too_and_those_beside_are_not() {
    let manager = manager();
    let (active, first) = living(&manager, "deep");
    let (beside, other) = living(&manager, "beside");
    let deep = [Sleeper::stubborn(), Sleeper::stubborn()];
    for (below, sleeper) in ["a", "a/b/c"].iter().zip(&deep) {
        for directory in directories(active.control_group()) {
            fs::create_dir_all(directory.join(below)).unwrap();
        }
        active.attach_to(below, [sleeper.pid()], LONG).unwrap();
    }
    active.kill_all(LONG).unwrap();
    assert!(!first.lives() && deep.iter().all(|sleeper| !sleeper.lives()));
    assert!(other.lives());
    beside.stop(LONG).unwrap();
}

#[test]
fn a_slice_is_killed_with_all_its_units() {
    let manager = manager();
    let slice = format!("killed{}.slice", std::process::id());
    let active = manager.create_slice(&Slice::new(&slice), LONG).unwrap();
    let sleepers: Vec<Sleeper> = (0..5).map(|_| Sleeper::stubborn()).collect();
    for sleeper in &sleepers {
        manager.create_scope(&Scope::new(name("doomed")).pid(sleeper.pid()).slice(&slice), LONG).unwrap();
    }
    assert_eq!(active.processes().unwrap().len(), 5);
    active.kill_all(LONG).unwrap();
    assert!(sleepers.iter().all(|sleeper| !sleeper.lives()));
    // Nothing is in it, and it is there still: to kill all of nothing is done at once.
    active.kill_all(LONG).unwrap();
    active.stop(LONG).unwrap();
}

#[test]
fn a_frozen_scope_is_killed_as_it_is() {
    let manager = manager();
    let (active, sleeper) = living(&manager, "cold-kill");
    if hybrid() {
        // systemd cannot freeze it here, and the kernel can.
        fs::write(unified(active.control_group()).join("cgroup.freeze"), "1").unwrap();
        eventually("frozen", || event(active.control_group(), "frozen 1"));
    } else {
        active.freeze(LONG).unwrap();
    }
    active.kill_all(LONG).unwrap();
    assert!(!sleeper.lives());
    assert_empty(&active);
}

#[test]
fn what_only_one_hierarchy_has_in_the_unit_is_killed_too() {
    if !hybrid() {
        return assert_one_hierarchy();
    }
    let manager = manager();
    let (active, first) = living(&manager, "astray");
    let (old, new) = ([Sleeper::new(), Sleeper::new()], Sleeper::new());
    fs::create_dir(legacy(active.control_group()).join("sub")).unwrap();
    put(old[0].pid(), legacy(active.control_group()));
    put(old[1].pid(), legacy(active.control_group()).join("sub"));
    put(new.pid(), unified(active.control_group()));
    assert_eq!(active.processes().unwrap().len(), 4);
    active.kill_all(LONG).unwrap();
    for sleeper in [&first, &old[0], &old[1], &new] {
        assert!(!sleeper.lives());
    }
    assert_empty(&active);
}

#[test]
fn a_run_that_is_over_kills_nobody_and_none_of_a_later_run_of_its_name() {
    refused_by_runs_that_are_over(|active| active.kill_all(LONG));
}

/// Kills through a handle again and again until its run is over.
fn kill_on(active: &ActiveScope) {
    loop {
        match active.kill_all(LONG) {
            Ok(()) => {}
            Err(Error::NoSuchUnit { .. } | Error::Superseded { .. }) => return,
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn no_later_run_is_ever_hit_however_soon_it_takes_the_name() {
    let manager = manager();
    let unit = name("relay");
    let create = |sleeper: &Sleeper| {
        let scope = Scope::new(&unit).pid(sleeper.pid()).slice("living.slice");
        loop {
            match manager.create_scope(&scope, LONG) {
                Ok(made) => return made,
                Err(Error::UnitExists { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
    };
    let mut sleeper = Sleeper::new();
    let mut active = create(&sleeper);
    for _ in 0..50 {
        let next = Sleeper::new();
        let later = std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| kill_on(&active));
            }
            create(&next)
        });
        assert!(!sleeper.lives() && next.lives(), "a later run was hit");
        (sleeper, active) = (next, later);
    }
    active.kill_all(LONG).unwrap();
}

#[test]
fn a_deadline_that_has_passed_kills_nobody() {
    let manager = manager();
    let (active, sleeper) = living(&manager, "late-kill");
    assert!(active.kill_all(Duration::ZERO).is_err_and(|error| error.is_timeout()));
    assert!(sleeper.lives());
    active.stop(LONG).unwrap();
}
