use std::sync::Arc;

use crate::cgroup::{Process, Sights};
use crate::driver::router::world::{Caller, site};
use crate::driver::router::*;
use crate::driver::{Create, NewUnit, Site};
use crate::job::JobResult;
use crate::systemd1::{BUS, BusError, Incoming, JobRemoved, Reply};
use crate::unit::Value;

/// A creation of one process that is not this one, which is named by its pidfd where the manager takes that.
fn creation(unit: &str, site: &Arc<Site>) -> Box<dyn Plan> {
    let process = Process { pid: std::process::id() + 1, started: 1 };
    let new = NewUnit { processes: [process].into(), ..NewUnit::scope(unit) };
    Box::new(Create::new(new.into(), Sights::default(), site.clone()))
}

/// A router whose manager is there.
fn on_a_bus(now: Instant) -> Router<Caller> {
    let mut router = Router::new("test:", 96);
    router.connected(now, false);
    let asked: Vec<u32> = std::iter::from_fn(|| router.output())
        .filter_map(|output| match output {
            Output::Send { serial, wants_reply: true, .. } => Some(serial),
            _ => None,
        })
        .collect();
    for serial in asked {
        let (sender, result) = (Some(BUS.into()), Ok(vec![Value::from(":1.0")]));
        router.incoming(now, Incoming::Reply(Reply { serial, sender, result }));
    }
    router
}

#[test]
fn a_refusal_that_never_comes_holds_up_no_creation_for_long() {
    let mut now = Instant::now();
    let (mut router, site) = (on_a_bus(now), site());
    let submit = |router: &mut Router<Caller>, number: u64| {
        let plan = creation(&format!("n{number}.scope"), &site);
        router.submit(now, RequestId(number), plan, now + SETTLE, Caller(number));
    };
    let next = |router: &mut Router<Caller>| match router.output() {
        Some(Output::Send { serial, call: Call::StartTransient { unit, .. }, .. }) => Some((serial, unit)),
        Some(_) => panic!("not what was asked for"),
        None => None,
    };
    (1..=2).for_each(|number| submit(&mut router, number));
    let (serial, _) = next(&mut router).expect("there is room");
    assert!(next(&mut router).is_some());
    let (sender, result) = (Some(":1.0".into()), Err(BusError::no_pidfds(String::new())));
    router.incoming(now, Incoming::Reply(Reply { serial, sender, result }));
    assert_eq!(next(&mut router).map(|(_, unit)| unit).as_deref(), Some("n1.scope"));
    submit(&mut router, 3);
    assert_eq!(next(&mut router), None, "the second is to go before it");
    now = router.deadline().expect("it is waited for");
    router.tick(now);
    assert_eq!(next(&mut router).map(|(_, unit)| unit).as_deref(), Some("n3.scope"));
}

/// The first so many are handed over before the first answer, which says that pidfds are unknown here, and as many after
/// it; there is room for all of them to go out at once, or not.
#[test]
fn creations_are_carried_out_in_the_order_in_which_they_were_asked_for() {
    for half in [1, 20, 3 * Lane::Creation.most() as u64 + 7] {
        are_in_order(half);
    }
}

fn are_in_order(half: u64) {
    let now = Instant::now();
    let mut router = on_a_bus(now);
    let site = site();
    let sender = || Some(":1.0".to_string());
    let submit = |router: &mut Router<Caller>, number: u64| {
        let plan = creation(&format!("n{number}.scope"), &site);
        router.submit(now, RequestId(number), plan, now + SETTLE, Caller(number));
    };
    (1..=half).for_each(|number| submit(&mut router, number));
    let mut carried_out = Vec::new();
    let mut handed_over = half;
    while let Some(output) = router.output() {
        let Output::Send { serial, call: Call::StartTransient { unit, members, .. }, .. } = output else {
            continue;
        };
        let refusal = || BusError::no_pidfds("for the test".into());
        let job = carried_out.len() as u32 + 1;
        let path = Value::Path(JobId::new(job).object_path());
        let result = if members.by_pidfd { Err(refusal()) } else { Ok(vec![path]) };
        let is_made = result.is_ok();
        router.incoming(now, Incoming::Reply(Reply { serial, sender: sender(), result }));
        if handed_over == half {
            (half + 1..=2 * half).for_each(|number| submit(&mut router, number));
            handed_over = 2 * half;
        }
        if is_made {
            carried_out.push(unit.clone());
            let (job, result) = (JobId::new(job), JobResult::Done);
            router.incoming(now, Incoming::JobRemoved(JobRemoved { sender: sender(), job, unit, result }));
        }
    }
    let asked: Vec<String> = (1..=2 * half).map(|number| format!("n{number}.scope")).collect();
    assert_eq!(carried_out, asked);
}

#[test]
fn a_later_call_of_a_creation_that_the_bus_has_no_room_for_waits_in_line() {
    let now = Instant::now();
    let (mut router, site) = (on_a_bus(now), site());
    for number in 1..=2 {
        let plan = creation(&format!("n{number}.scope"), &site);
        router.submit(now, RequestId(number), plan, now + SETTLE, Caller(number));
    }
    let next = |router: &mut Router<Caller>| {
        std::iter::from_fn(|| router.output()).find_map(|output| match output {
            Output::Send { serial, wants_reply: true, call } => Some((serial, call)),
            Output::Deliver(_, answer) => panic!("it is over: {:?}", answer.result.err()),
            _ => None,
        })
    };
    let answer = |router: &mut Router<Caller>, serial, sender: &str, name: &str| {
        let result = Err(BusError { name: name.into(), message: String::new() });
        router.incoming(now, Incoming::Reply(Reply { serial, sender: Some(sender.into()), result }));
    };
    let (first, _) = next(&mut router).expect("there is room");
    let (second, _) = next(&mut router).expect("there is room");
    answer(&mut router, first, ":1.0", "org.freedesktop.systemd1.UnitExists");
    let (look, call) = next(&mut router).expect("what is there is looked at");
    assert!(matches!(call, Call::Get { .. }), "{call:?}");
    answer(&mut router, look, BUS, crate::systemd1::LIMITS_EXCEEDED);
    assert!(next(&mut router).is_none(), "there is no room yet");
    answer(&mut router, second, ":1.0", crate::systemd1::ACCESS_DENIED);
    let (_, call) = std::iter::from_fn(|| router.output())
        .find_map(|output| match output {
            Output::Send { serial, call, .. } => Some((serial, call)),
            _ => None,
        })
        .expect("there is room again");
    assert!(matches!(call, Call::Get { .. }), "{call:?}");
}
