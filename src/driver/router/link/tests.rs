//! A connection's beginning: before anybody asked for it, before the bus has said who the manager is, and before a peer
//! has said anything.

use std::time::{Duration, Instant};

use super::*;
use crate::driver::plan::Single;
use crate::driver::router::rest::REST_AFTER;
use crate::driver::router::world::{Ask, Caller, Peer, STRANGER, World};
use crate::driver::router::{Answer, RequestId};
use crate::error::{Asked, Operation};
use crate::systemd1::Incoming;
use crate::unit::Value;

const MANAGER: &str = ":1.0";

/// How long each request here waits.
const PATIENT: Duration = Duration::from_secs(5);

fn ask(router: &mut Router<Caller>, now: Instant, number: u64, call: Call) {
    let plan = Box::new(Single { asked: Asked::new(Operation::Get, None), call });
    router.submit(now, RequestId(number), plan, now + PATIENT, Caller(number));
}

fn read() -> Call {
    Call::GetAll { path: "/".into(), interface: String::new() }
}

/// What was sent, each call with its serial.
fn sent(router: &mut Router<Caller>) -> Vec<(u32, Call)> {
    let outputs = std::iter::from_fn(|| router.output());
    outputs
        .filter_map(|output| match output {
            Output::Send { serial, call, .. } => Some((serial, call)),
            _ => None,
        })
        .collect()
}

fn serial_of(sent: &[(u32, Call)], which: impl Fn(&Call) -> bool) -> Option<u32> {
    sent.iter().find(|(_, call)| which(call)).map(|(serial, _)| *serial)
}

fn reply(router: &mut Router<Caller>, serial: u32, sender: &str, result: Result<Vec<Value>, BusError>) {
    let reply = Reply { serial, sender: Some(sender.into()), result };
    router.incoming(Instant::now(), Incoming::Reply(reply));
}

#[test]
fn what_only_reads_goes_out_with_the_greeting_and_counts_from_the_manager_alone() {
    let (mut router, now) = (Router::new("test:", 8), Instant::now());
    ask(&mut router, now, 1, read());
    ask(
        &mut router,
        now,
        2,
        Call::Kill { unit: "u1.scope".into(), whom: crate::unit::KillWhom::All, signal: 9 },
    );
    router.connected(now, false);
    let first = sent(&mut router);
    let is_read = |call: &Call| matches!(call, Call::GetAll { .. });
    let asked = serial_of(&first, is_read).expect("it is asked ahead");
    assert_eq!(serial_of(&first, |call| matches!(call, Call::Kill { .. })), None, "whom does it go to?");
    let owner = serial_of(&first, |call| matches!(call, Call::GetNameOwner)).expect("it is asked for");
    let good = || Ok(vec![Value::from(7u32)]);
    reply(&mut router, asked, MANAGER, good());
    assert!(router.output().is_none(), "nobody knows whose that is");
    reply(&mut router, owner, BUS, Ok(vec![Value::from(MANAGER)]));
    assert!(serial_of(&sent(&mut router), |call| matches!(call, Call::Kill { .. })).is_some());
    reply(&mut router, asked, STRANGER, good());
    assert!(router.output().is_none(), "that is a stranger's");
    reply(&mut router, asked, MANAGER, good());
    assert!(matches!(router.output(), Some(Output::Deliver(Caller(1), Answer { result: Ok(_), .. }))));
}

#[test]
fn a_bus_that_refuses_the_greeting_is_told_of_as_such_whatever_was_asked_ahead() {
    let (mut router, now) = (Router::new("test:", 8), Instant::now());
    ask(&mut router, now, 1, read());
    router.connected(now, false);
    let first = sent(&mut router);
    for (serial, _) in &first {
        let error = BusError { name: systemd1::LIMITS_EXCEEDED.into(), message: "full".into() };
        reply(&mut router, *serial, BUS, Err(error));
    }
    assert!(matches!(router.output(), Some(Output::HangUp)));
    assert!(router.output().is_none());
    router.disconnected(now, "closed");
    assert!(router.output().is_none(), "there may be room in a moment");
    router.tick(now + Duration::from_secs(1));
    assert!(router.begin_connecting(now + Duration::from_secs(1)));
    router.connected(now + Duration::from_secs(1), false);
    assert!(serial_of(&sent(&mut router), |call| matches!(call, Call::GetNameOwner)).is_some());
}

#[test]
fn a_silent_bus_is_not_given_up_for_what_was_asked_ahead_of_it() {
    let mut world = World::with(1, Peer::SlowBus);
    let (hasty, patient) =
        (world.submit(Ask::Read, "u1.scope", 10), world.submit(Ask::Read, "u2.scope", 1_000));
    world.pass(20);
    assert!(world.answer(hasty).is_some() && world.answer(patient).is_none());
    // The answer to the first, which nobody waits for, makes room for the second.
    world.handle(0);
    world.handle(0);
    assert!(matches!(world.answer(patient), Some(Ok(()))), "{:?}", world.answer(patient));
    world.settle();
}

#[test]
fn a_bus_that_stays_silent_is_not_yet_a_call_that_is_not_answered() {
    let mut world = World::with(8, Peer::SlowBus);
    let asker = world.submit(Ask::Read, "u1.scope", 10);
    world.pass(20);
    let stage = match world.answer(asker) {
        Some(Err(Error::Timeout { stage, .. })) => Some(*stage),
        _ => None,
    };
    assert_eq!(stage, Some(Stage::Connect));
    world.settle();
}

#[test]
fn a_connection_that_nobody_has_asked_for_yet_serves_who_does_and_fails_nobody() {
    for (well, asked_first) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut router: Router<Caller> = Router::new("test:", 8);
        let now = Instant::now();
        router.is_being_connected();
        assert!(!router.begin_connecting(now), "it is under way");
        let ask = |router: &mut Router<Caller>| ask(router, now, 1, read());
        let end = |router: &mut Router<Caller>| match well {
            true => router.connected(now, true),
            false => router.connect_failed(now, &Refusal::new("refused")),
        };
        if asked_first {
            ask(&mut router);
            end(&mut router);
        } else {
            end(&mut router);
            ask(&mut router);
        }
        let output = router.output();
        let is_right = match (well, asked_first) {
            (true, _) => matches!(output, Some(Output::Send { call: Call::GetAll { .. }, .. })),
            (false, true) => {
                matches!(output, Some(Output::Deliver(_, Answer { result: Err(Error::Connect { .. }), .. })))
            }
            (false, false) => output.is_none() && router.begin_connecting(now),
        };
        assert!(is_right, "well {well}, asked first {asked_first}");
    }
}

#[test]
fn a_direct_peer_that_lets_a_call_lie_is_nudged_until_it_answers() {
    let mut router: Router<Caller> = Router::new("test:", 8);
    let mut now = Instant::now();
    router.connected(now, true);
    let deadline = now + PATIENT;
    ask(&mut router, now, 1, read());
    let pings = |router: &mut Router<Caller>| {
        sent(router).iter().filter(|(_, call)| matches!(call, Call::Ping)).count()
    };
    assert_eq!(pings(&mut router), 0);
    for _ in 0..3 {
        assert_eq!(router.deadline(), Some(deadline), "what was sent has yet to go out");
        router.all_is_out(now);
        now = router.deadline().expect("it is due");
        router.tick(now);
        assert_eq!(pings(&mut router), 1);
    }
    let result = Ok(vec![Value::from("here")]);
    router.incoming(now, Incoming::Reply(Reply { serial: 1, sender: None, result }));
    assert_eq!(router.deadline(), Some(now + REST_AFTER), "it has answered");
}
