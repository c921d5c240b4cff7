//! The real systemd, in the sandbox: what the library promises, seen to hold.
//!
//! Run by `scripts/test`; outside of the sandbox every test here fails and says so.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use unitwait::{
    CgroupMode, Deadline, Error, JobId, KillWhom, Manager, OnExists, Outcome, Property, Scope, Slice, Stage,
    UnitJob, Value,
};

const LONG: Duration = Duration::from_secs(30);

fn in_sandbox() {
    assert!(
        std::env::var_os("UNITWAIT_SANDBOX").is_some(),
        "this test needs a real systemd: run it through `scripts/test`, or `scripts/sandbox -- cargo test`"
    );
}

fn manager() -> Manager {
    in_sandbox();
    Manager::system().expect("the sandbox's systemd answers")
}

/// A process that does nothing, killed and reaped at the end of its test.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Sleeper {
        Sleeper(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep starts"))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn name(stem: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}-{}-{}.scope", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Where systemd's own hierarchy has a process, read apart from the library.
fn group_of(pid: u32) -> String {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process lives");
    // A host with v1 hierarchies shows them to every process, mounted in the sandbox or not.
    let hierarchy = match std::env::var("UNITWAIT_SANDBOX_CGROUP").as_deref() {
        Ok("hybrid") => "name=systemd:",
        _ => "0::",
    };
    let line = groups.lines().find_map(|line| line.split_once(hierarchy));
    line.expect("systemd's hierarchy is there").1.to_string()
}

#[test]
fn a_thousand_scopes_hold_their_process_when_the_call_returns() {
    let manager = manager();
    let mut misplaced = 0;
    for _ in 0..1000 {
        let sleeper = Sleeper::new();
        let scope = Scope::new(name("thousand")).pid(sleeper.pid()).slice("thousand.slice").verify(false);
        let active = manager.create_scope(&scope, LONG).expect("created");
        if group_of(sleeper.pid()) != format!("/thousand.slice/{}", active.unit()) {
            misplaced += 1;
        }
        active.kill(KillWhom::All, 9, LONG).expect("killed");
    }
    assert_eq!(misplaced, 0);
}

#[test]
fn a_scope_says_where_it_is_and_which_run_it_is() {
    for manager in [
        manager(),
        Manager::private().unwrap(),
        Manager::at("unix:path=/run/dbus/system_bus_socket").unwrap(),
    ] {
        let sleeper = Sleeper::new();
        let unit = name("where");
        let active = manager.create_scope(&Scope::new(&unit).pid(sleeper.pid()), LONG).unwrap();
        assert_eq!(active.control_group(), group_of(sleeper.pid()));
        assert!(active.path().join("cgroup.procs").exists(), "{}", active.path().display());
        assert_eq!(active.outcome(), Outcome::Created);
        assert!(active.job().is_some() && active.stages().done + active.stages().accepted > Duration::ZERO);
        let told = manager.property(&unit, "InvocationID", LONG).unwrap().to_string();
        assert_eq!(active.invocation_id().unwrap().to_string(), told);
        assert_eq!(active.property("ActiveState", LONG).unwrap().as_str(), Some("active"));
        assert_eq!(active.properties(LONG).unwrap()["ControlGroup"].as_str(), Some(active.control_group()));
        active.stop(LONG).unwrap();
    }
}

#[test]
fn limits_are_in_the_kernels_files_or_told_to_be_missing() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let scope = Scope::new(name("limits"))
        .pid(sleeper.pid())
        .slice("limits.slice")
        .memory_max(64 << 20)
        .tasks_max(20)
        .cpu_quota(Duration::from_millis(500))
        .cpu_weight(200);
    let active = manager.create_scope(&scope, LONG).unwrap();
    let gaps: BTreeSet<&str> = active.limit_gaps().iter().map(|gap| gap.property.as_str()).collect();
    for (controller, property, file, text) in [
        ("memory", "MemoryMax", ["memory.max", "memory.limit_in_bytes"], "67108864"),
        ("pids", "TasksMax", ["pids.max", "pids.max"], "20"),
    ] {
        let directory = active.controller_path(controller);
        let held = directory.is_some_and(|at| {
            file.iter().any(|file| fs::read_to_string(at.join(file)).is_ok_and(|held| held.trim() == text))
        });
        assert_ne!(held, gaps.contains(property), "{property}: held {held}, gaps {gaps:?}");
    }
    if manager.layout().mode() == CgroupMode::Hybrid {
        assert!(gaps.is_empty(), "every one of these has a v1 controller: {:?}", active.limit_gaps());
    }
    active.stop(LONG).unwrap();
}

#[test]
fn a_required_limit_that_cannot_hold_is_an_error_and_leaves_no_unit() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let unit = name("required");
    // No layout of the sandbox has it: v1 knows no MemoryHigh, and its unified mode no memory controller.
    let has_memory = manager.layout().mode() == CgroupMode::Unified
        && manager.layout().controllers().iter().any(|name| name == "memory");
    assert!(
        !has_memory,
        "this host's unified hierarchy has the memory controller; give the test another limit"
    );
    let scope = Scope::new(&unit).pid(sleeper.pid()).memory_high(64 << 20).require_limits(true);
    match manager.create_scope(&scope, LONG) {
        Err(Error::Limit { gaps, released: true, .. }) => assert_eq!(gaps[0].property, "MemoryHigh"),
        other => panic!("{other:?}"),
    }
    assert_eq!(manager.property(&unit, "ActiveState", LONG).unwrap().as_str(), Some("inactive"));
}

#[test]
fn stop_waits_until_the_processes_are_gone() {
    let manager = manager();
    for _ in 0..20 {
        let sleeper = Sleeper::new();
        let active = manager.create_scope(&Scope::new(name("stop")).pid(sleeper.pid()), LONG).unwrap();
        active.stop(LONG).unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", sleeper.pid())).expect("not reaped yet");
        assert!(stat.contains(") Z "), "it lives: {stat}");
        let again = active.stop(LONG);
        assert!(matches!(again, Err(Error::NoSuchUnit { .. })), "{again:?}");
    }
}

#[test]
fn two_hundred_threads_share_one_manager() {
    let manager = manager();
    thread::scope(|scope| {
        for _ in 0..200 {
            let manager = manager.clone();
            scope.spawn(move || {
                let sleeper = Sleeper::new();
                let unit = Scope::new(name("threads")).pid(sleeper.pid()).slice("threads.slice");
                let active = manager.create_scope(&unit, Duration::from_secs(120)).expect("created");
                assert_eq!(active.control_group(), group_of(sleeper.pid()));
                active.stop(Duration::from_secs(120)).expect("stopped");
            });
        }
    });
    let stats = manager.stats().unwrap();
    assert_eq!((stats.requests, stats.queued, stats.in_flight, stats.settling), (0, 0, 0, 0), "{stats:?}");
}

#[test]
fn a_thousand_tickets_stay_below_the_buss_limit() {
    let manager = manager();
    let sleepers: Vec<Sleeper> = (0..1000).map(|_| Sleeper::new()).collect();
    let submit = |sleeper: &Sleeper| {
        let scope = Scope::new(name("ticket")).pid(sleeper.pid()).slice("tickets.slice");
        manager.submit(&scope, Duration::from_secs(120)).expect("submitted")
    };
    let tickets: Vec<_> = sleepers.iter().map(submit).collect();
    let scopes: Vec<_> = tickets.into_iter().map(|ticket| ticket.wait(Deadline::Default).unwrap()).collect();
    let stops: Vec<_> =
        scopes.iter().map(|scope| manager.submit(&UnitJob::stop(scope.unit()), LONG).unwrap()).collect();
    for stop in stops {
        crossbeam_channel::select! {
            recv(stop.receiver()) -> answer => { answer.unwrap().unwrap(); }
        }
    }
}

#[test]
fn a_name_that_is_taken_is_answered_at_once_and_as_the_policy_says() {
    let manager = manager();
    let (first, second) = (Sleeper::new(), Sleeper::new());
    let unit = name("taken");
    let old = manager.create_scope(&Scope::new(&unit).pid(first.pid()), LONG).unwrap();
    let again = Scope::new(&unit).pid(second.pid());
    match manager.create_scope(&again, LONG) {
        Err(Error::UnitExists { state, .. }) => assert_eq!(state.as_deref(), Some("active")),
        other => panic!("{other:?}"),
    }
    let join = again.clone().on_exists(OnExists::Join);
    assert!(matches!(manager.create_scope(&join, LONG), Err(Error::NotDelegated { .. })));
    let inside = Scope::new(&unit).pid(first.pid());
    let joined = manager.create_scope(&inside.clone().on_exists(OnExists::Join), LONG).unwrap();
    assert_eq!((joined.outcome(), joined.invocation_id()), (Outcome::Joined, old.invocation_id()));
    assert!(matches!(
        manager.create_scope(&inside.on_exists(OnExists::Replace), LONG),
        Err(Error::WouldKill { pid, .. }) if pid == first.pid()
    ));
    let new = manager.create_scope(&again.on_exists(OnExists::Replace), LONG).unwrap();
    assert_eq!(new.outcome(), Outcome::Replaced);
    assert_ne!(new.invocation_id(), old.invocation_id());
    // The old handle means the old run, and must not touch the new one.
    assert!(matches!(old.stop(LONG), Err(Error::Superseded { .. })));
    assert_eq!(new.property("ActiveState", LONG).unwrap().as_str(), Some("active"));
    new.stop(LONG).unwrap();
}

#[test]
fn a_process_joins_a_delegated_scope() {
    let manager = manager();
    let (first, second) = (Sleeper::new(), Sleeper::new());
    let unit = name("join");
    let active = manager.create_scope(&Scope::new(&unit).pid(first.pid()).delegate(true), LONG).unwrap();
    let join = Scope::new(&unit).pid(second.pid()).on_exists(OnExists::Join);
    let joined = manager.create_scope(&join, LONG).unwrap();
    assert_eq!(joined.outcome(), Outcome::Joined);
    assert_eq!(group_of(second.pid()), active.control_group());
    active.stop(LONG).unwrap();
}

#[test]
fn a_slice_is_created_and_accepted() {
    let manager = manager();
    let slice = Slice::new(format!("accept{}.slice", std::process::id())).tasks_max(50);
    let created = manager.create_slice(&slice, LONG).unwrap();
    assert_eq!(created.outcome(), Outcome::Created);
    assert!(created.path().exists());
    assert!(matches!(manager.create_slice(&slice, LONG), Err(Error::UnitExists { .. })));
    let accepted = manager.create_slice(&slice.on_exists(OnExists::Accept), LONG).unwrap();
    assert_eq!((accepted.outcome(), accepted.invocation_id()), (Outcome::Accepted, created.invocation_id()));
    created.stop(LONG).unwrap();
}

#[test]
fn each_refusal_has_its_own_variant_at_once() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let begun = Instant::now();
    assert!(matches!(manager.stop_unit("none.scope", LONG), Err(Error::NoSuchUnit { .. })));
    assert!(matches!(
        manager.kill_unit("none.scope", KillWhom::All, 15, LONG),
        Err(Error::NoSuchUnit { .. })
    ));
    assert!(matches!(manager.reset_failed("none.scope", LONG), Err(Error::NoSuchUnit { .. })));
    assert!(matches!(manager.cancel_job(JobId::new(u32::MAX), LONG), Err(Error::NoSuchJob { .. })));
    let unknown = Scope::new(name("unknown")).pid(sleeper.pid()).property(Property::new("NotInvented", 1u64));
    match manager.create_scope(&unknown, LONG) {
        Err(Error::UnknownProperty { property, .. }) => assert_eq!(property, "NotInvented"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        manager.property("dbus.service", "NotInvented", LONG),
        Err(Error::UnknownProperty { property, .. }) if property == "NotInvented"
    ));
    let mut ended = Command::new("true").spawn().unwrap();
    let dead = ended.id();
    ended.wait().unwrap();
    match manager.create_scope(&Scope::new(name("dead")).pid(dead), LONG) {
        Err(Error::NoSuchProcess { pid, .. }) => assert_eq!(pid, Some(dead)),
        other => panic!("{other:?}"),
    }
    assert!(begun.elapsed() < LONG, "refusals are not waited for");
}

#[test]
fn a_deadline_that_has_passed_sends_nothing() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let unit = name("past");
    let scope = Scope::new(&unit).pid(sleeper.pid());
    for past in [Deadline::from(Duration::ZERO), Deadline::from(Instant::now())] {
        let error = manager.create_scope(&scope, past).unwrap_err();
        assert!(error.is_timeout() && error.stage() <= Some(Stage::Queued), "{error:?}");
    }
    assert_eq!(manager.property(&unit, "ActiveState", LONG).unwrap().as_str(), Some("inactive"));
}

#[test]
fn a_stop_that_misses_its_deadline_says_so_and_lets_the_job_go_on() {
    let manager = manager();
    let mut stubborn = Command::new("sh")
        .args(["-c", "trap '' TERM; echo ready; while :; do sleep 600; done"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(stubborn.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let scope = Scope::new(name("stubborn")).pid(stubborn.id()).timeout_stop(Duration::from_secs(3));
    let active = manager.create_scope(&scope, LONG).unwrap();
    let begun = Instant::now();
    let error = active.stop(Duration::from_millis(300)).unwrap_err();
    assert!(begun.elapsed() < Duration::from_millis(1300), "{:?}", begun.elapsed());
    assert_eq!(error.stage(), Some(Stage::Job));
    assert!(error.is_timeout() && error.job().is_some(), "{error:?}");
    // A second caller joins the same job, and gets its result.
    let job = active.stop(LONG).expect("systemd kills it in the end");
    assert_eq!(Some(job.id), error.job());
    stubborn.wait().unwrap();
}

#[test]
fn bad_input_is_refused_and_nothing_is_left_in_systemd() {
    let manager = manager();
    let long = format!("{}.scope", "a".repeat(250));
    for bad in ["", "a/b.scope", "a\0.scope", "é.scope", "a.service", &long] {
        let error = manager.create_scope(&Scope::new(bad).pid(std::process::id()), LONG).unwrap_err();
        assert!(error.is_invalid_input(), "{bad:?}: {error:?}");
    }
    for pid in [0i64, -1, i64::MAX] {
        let error = manager.create_scope(&Scope::new("bad-pid.scope").pid(pid), LONG).unwrap_err();
        assert!(error.is_invalid_input(), "{error:?}");
    }
    let wrong =
        Scope::new("bad-type.scope").own_process().property(Property::new("TasksMax", Value::from("x")));
    assert!(manager.create_scope(&wrong, LONG).unwrap_err().is_invalid_input());
    assert!(manager.kill_unit("a.scope", KillWhom::All, 0, LONG).unwrap_err().is_invalid_input());
    assert!(manager.list_units(&["bad-*"], LONG).unwrap().is_empty());
}

#[test]
fn nobody_listens_or_no_rights_is_told_at_once() {
    in_sandbox();
    let begun = Instant::now();
    for address in ["unix:path=/nonexistent", "unix:path=/run/systemd/journal/socket"] {
        let error = Manager::at(address).unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    }
    assert!(Manager::at("nonsense").unwrap_err().is_invalid_input());
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// The threads and descriptors of this process, by name, without those of the test harness.
fn footprint() -> (usize, usize) {
    let threads = fs::read_dir("/proc/self/task").unwrap().filter(|task| {
        let name = task.as_ref().map(|task| fs::read_to_string(task.path().join("comm")).unwrap_or_default());
        name.is_ok_and(|name| name.starts_with("leak-check"))
    });
    let sockets = fs::read_dir("/proc/self/fd").unwrap().count();
    (threads.count(), sockets)
}

#[test]
fn a_manager_leaves_no_thread_behind() {
    in_sandbox();
    for _ in 0..50 {
        let opened = Manager::builder().thread_name("leak-check").open(LONG).unwrap();
        assert!(footprint().0 >= 1);
        drop(opened);
    }
    assert_eq!(footprint().0, 0);
}
