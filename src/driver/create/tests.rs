use std::sync::OnceLock;
use std::time::Instant;

use super::*;
use crate::cgroup::{CgroupLayout, Process};
use crate::driver::PidfdsUnknown;
use crate::error::Operation;
use crate::systemd1::BusError;
use crate::unit::{OnExists, Properties, Value};

const RUN: &str = "0123456789abcdef0123456789abcdef";

impl NewUnit {
    /// A scope without a process.
    pub(in crate::driver) fn scope(name: &str) -> NewUnit {
        NewUnit {
            asked: Asked::new(Operation::CreateScope, Some(name)),
            slice: None,
            spread: None,
            processes: Box::default(),
            seen: Instant::now(),
            properties: Arc::default(),
            on_exists: OnExists::Fail,
            verify: true,
            require_limits: false,
        }
    }
}

fn one_process() -> NewUnit {
    NewUnit { processes: [Process { pid: 7, started: 1 }].into(), ..NewUnit::scope("x.scope") }
}

/// A creation whose call was sent.
fn creating(unit: NewUnit) -> Create {
    creating_below(OnceLock::from("/".to_string()), unit)
}

fn creating_below(root: OnceLock<String>, unit: NewUnit) -> Create {
    let layout = CgroupLayout::parse("30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw");
    let layout = layout.expect("a hierarchy is mounted").into();
    let site = Site { root: root.into(), links: None, layout, pidfds_unknown: PidfdsUnknown::default() };
    let mut create = Create::new(unit.into(), Sights::default(), site.into());
    assert!(matches!(create.start(), Step::Create));
    assert!(matches!(create.creation(), Some(Call::StartTransient { .. })));
    create
}

/// The same up to the look at the kernel after its job.
fn created_of(unit: NewUnit) -> Create {
    let mut create = creating(unit);
    assert!(matches!(create.advance(Event::Job(JobId::new(1), JobResult::Done)), Step::Inspect(_)));
    create
}

fn created() -> Create {
    created_of(one_process())
}

fn seen(present: &[u32], empty: bool) -> Event {
    let control_group = Some("/x.scope".into());
    Event::Inspected(Findings {
        present: present.to_vec(),
        empty,
        control_group,
        invocation: Some(RUN.into()),
        ..Findings::default()
    })
}

fn answered() -> Event {
    let bytes = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef].repeat(2);
    Event::Answer(vec![Value::Variant(Box::new(Value::bytes(bytes)))])
}

fn run_left(step: Step) -> Option<InvocationId> {
    match step {
        Step::Finish(Ok(Success::Created(created))) => created.invocation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_scope_that_no_process_reached_is_stopped_again_for_systemd_would_keep_it() {
    let mut create = created();
    assert!(matches!(create.advance(seen(&[], true)), Step::Call(Call::Get { .. })));
    assert!(matches!(create.advance(answered()), Step::Inspect(_)));
    let step = create.advance(seen(&[], true));
    let run = RUN.parse::<InvocationId>().expect("an ID").object_path();
    assert!(matches!(step, Step::Call(Call::RunJob { verb: Verb::Stop, path, .. }) if path == run));
    assert_eq!(run_left(create.advance(Event::Job(JobId::new(2), JobResult::Done))), None);
}

#[test]
fn a_manager_that_has_not_told_where_it_is_is_asked_before_the_first_look() {
    let done = || {
        let mut create = creating_below(OnceLock::new(), one_process());
        let step = create.advance(Event::Job(JobId::new(1), JobResult::Done));
        assert!(matches!(step, Step::Call(call) if call == Call::of_manager("ControlGroup")));
        assert!(create.is_past_its_job());
        create
    };
    let text = |root: &str| Event::Answer(vec![Value::Variant(Box::new(Value::from(root)))]);
    let mut told = done();
    match told.advance(text("/here")) {
        Step::Inspect(inspection) => {
            let below = Place::Below { root: "/here".into(), unit: "x.scope".into() };
            assert_eq!(inspection.place, below);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(run_left(told.advance(seen(&[7], false))).map(|run| run.to_string()), Some(RUN.into()));
    let name = "org.freedesktop.DBus.Error.AccessDenied".to_string();
    match done().advance(Event::Refused(BusError { name, message: "no".into() })) {
        Step::Finish(Err(Error::Dbus { message, .. })) => {
            assert!(message.starts_with("the unit is there"), "{message}")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_late_unit_is_cleared_away_only_if_no_process_reached_it() {
    let late = || {
        let mut create = created();
        (create.state, create.require_limits) = (State::Creating, true);
        create.be_late();
        assert!(matches!(create.settle(JobId::new(1), &JobResult::Done), Some(Step::Inspect(_))));
        create
    };
    let mut empty = late();
    empty.advance(seen(&[], true));
    empty.advance(answered());
    assert!(matches!(empty.advance(seen(&[], true)), Step::Call(Call::RunJob { verb: Verb::Stop, .. })));
    assert!(!late().require_limits);
    assert!(run_left(late().advance(seen(&[7], false))).is_some());
    assert!(created().settle(JobId::new(2), &JobResult::Done).is_none(), "it was not creating");
}

#[test]
fn a_run_in_which_any_process_is_seen_is_never_stopped() {
    assert_eq!(run_left(created().advance(seen(&[7], false))).map(|run| run.to_string()), Some(RUN.into()));
    assert_eq!(run_left(created().advance(seen(&[], false))), None);
    let mut begun_by_another = created();
    begun_by_another.advance(seen(&[], true));
    begun_by_another.advance(answered());
    assert_eq!(run_left(begun_by_another.advance(seen(&[], false))), None);
}

#[test]
fn what_is_left_out_costs_no_attempt_and_is_no_limit_that_could_be_missing() {
    let later = (0..9).map(|n| Property::new(format!("MemoryLater{n}"), 1u64).optional());
    let properties: Vec<Property> = [Property::new("TasksMax", 1u64)].into_iter().chain(later).collect();
    let mut create = creating(NewUnit { properties: Properties::from(properties).into(), ..one_process() });
    for n in 0..9 {
        let message = format!("Cannot set property MemoryLater{n}, or unknown property.");
        let name = "org.freedesktop.DBus.Error.PropertyReadOnly".into();
        let step = create.advance(Event::Refused(BusError { name, message }));
        assert!(matches!(step, Step::Create));
        let call = create.creation();
        assert!(matches!(call, Some(Call::StartTransient { properties, .. }) if properties.len() == 9 - n));
    }
    assert_eq!(create.attempts, 1);
    match create.advance(Event::Job(JobId::new(1), JobResult::Done)) {
        Step::Inspect(inspection) => assert_eq!(inspection.limits.len(), 1),
        other => panic!("{other:?}"),
    }
    match create.advance(seen(&[7], false)) {
        Step::Finish(Ok(Success::Created(created))) => assert_eq!(created.left_out.len(), 9),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_groups_number_is_kept_only_if_it_was_the_same_before_and_after_the_run_was_named() {
    let numbered = |group, present: &[u32]| {
        let present = present.to_vec();
        let findings = Findings { present, group: Some(group), invocation: None, ..Findings::default() };
        Event::Inspected(findings)
    };
    let kept = |before, after, present| {
        let mut create = created_of(NewUnit::scope("x.scope"));
        create.advance(numbered(before, present));
        create.advance(answered());
        match create.advance(numbered(after, present)) {
            Step::Finish(Ok(Success::Created(created))) => created.findings.group,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(kept(7, 7, &[]), Some(7));
    assert_eq!(kept(7, 8, &[]), None);
    assert_eq!(kept(7, 8, &[7]), Some(8), "a process of the run's own was seen in it");
}
