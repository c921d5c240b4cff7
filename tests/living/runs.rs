//! Runs to try the verbs on, and the kernel's files, read and written apart from the library.

use std::fs;
use std::path::PathBuf;

use unitwait::{ActiveScope, Error, Manager, Scope};

use crate::support::{LONG, Sleeper, hybrid, name};

/// A delegated scope with one process.
pub fn living(manager: &Manager, stem: &str) -> (ActiveScope, Sleeper) {
    named(manager, &name(stem))
}

fn named(manager: &Manager, unit: &str) -> (ActiveScope, Sleeper) {
    let sleeper = Sleeper::new();
    let scope = Scope::new(unit).pid(sleeper.pid()).slice("living.slice").delegate(true);
    (manager.create_scope(&scope, LONG).expect("created"), sleeper)
}

/// A handle whose run is over.
pub fn dead(manager: &Manager, stem: &str) -> ActiveScope {
    let (active, _sleeper) = living(manager, stem);
    active.stop(LONG).expect("stopped");
    active
}

/// A handle whose run is over, and the later run of the same name, with its process.
pub fn superseded(manager: &Manager, stem: &str) -> (ActiveScope, ActiveScope, Sleeper) {
    let before = dead(manager, stem);
    let (later, sleeper) = named(manager, before.unit());
    assert_eq!(before.control_group(), later.control_group());
    assert_ne!(before.invocation_id(), later.invocation_id());
    (before, later, sleeper)
}

/// Sees that a verb of each kind of handle that means no living run fails, and leaves a later run alone.
pub fn refused_by_runs_that_are_over<T: std::fmt::Debug>(verb: impl Fn(&ActiveScope) -> Result<T, Error>) {
    let manager = crate::support::manager();
    let gone = verb(&dead(&manager, "dead"));
    assert!(matches!(gone, Err(Error::NoSuchUnit { .. })), "{gone:?}");
    let (before, later, sleeper) = superseded(&manager, "later");
    match verb(&before) {
        Err(Error::Superseded { invocation, .. }) => assert_eq!(Some(invocation), before.invocation_id()),
        other => panic!("{other:?}"),
    }
    assert!(sleeper.lives());
    assert_eq!(later.processes().expect("it lives"), [sleeper.pid()]);
    later.stop(LONG).expect("the later run is there still");
}

/// A control group's directory in cgroup v2.
pub fn unified(group: &str) -> PathBuf {
    PathBuf::from(if hybrid() { "/sys/fs/cgroup/unified" } else { "/sys/fs/cgroup" })
        .join(group.trim_start_matches('/'))
}

/// And in v1's `name=systemd`.
pub fn legacy(group: &str) -> PathBuf {
    assert!(hybrid());
    PathBuf::from("/sys/fs/cgroup/systemd").join(group.trim_start_matches('/'))
}

/// A control group's directories in all the hierarchies in which systemd keeps processes.
pub fn directories(group: &str) -> Vec<PathBuf> {
    let legacy = hybrid().then(|| legacy(group));
    [unified(group)].into_iter().chain(legacy).collect()
}

/// Nothing can be in one hierarchy and not in another where there is but one.
pub fn assert_one_hierarchy() {
    crate::support::in_sandbox();
    assert!(!PathBuf::from("/sys/fs/cgroup/systemd").exists());
}

/// Puts a process into one directory, past systemd.
pub fn put(pid: u32, directory: PathBuf) {
    fs::write(directory.join("cgroup.procs"), pid.to_string()).expect("moved");
}

/// The line of the group's `cgroup.events`.
pub fn event(group: &str, line: &str) -> bool {
    let events = fs::read_to_string(unified(group).join("cgroup.events")).expect("the group is there");
    events.lines().any(|found| found == line)
}
