//! Every order of events, driven by proptest: the design's invariants as properties of the router.

use proptest::prelude::*;

use super::link::PATIENCE;
use super::rest::REST_AFTER;
use super::world::{self, Ask, Peer, Way, World};
use super::*;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Happening {
    /// A caller asks, with so many milliseconds to wait, about one of few units.
    Submit(Ask, u8, u64),
    Handle(usize),
    EndJob(usize, bool),
    Forge(usize, u32),
    ChangeOwner,
    Disconnect,
    Connect(bool),
    Pass(u64),
    Abandon(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let ask =
        prop_oneof![3 => Just(Ask::Create), 2 => Just(Ask::Stop), 1 => Just(Ask::Read), 1 => Just(Ask::Wait)];
    prop_oneof![
        6 => (ask, 0..6u8, 0..200u64).prop_map(|(ask, unit, wait)| Happening::Submit(ask, unit, wait)),
        8 => (0..8usize).prop_map(Happening::Handle),
        6 => (0..8usize, prop::bool::weighted(0.8)).prop_map(|(at, well)| Happening::EndJob(at, well)),
        2 => (0..4usize, 0..20u32).prop_map(|(what, job)| Happening::Forge(what, job)),
        1 => Just(Happening::ChangeOwner),
        1 => Just(Happening::Disconnect),
        3 => prop::bool::weighted(0.7).prop_map(Happening::Connect),
        3 => (0..60u64).prop_map(Happening::Pass),
        1 => (0..40u64).prop_map(Happening::Abandon),
    ]
}

fn happen(world: &mut World, happening: Happening) {
    match happening {
        Happening::Submit(ask, unit, wait) => {
            world.submit(ask, &world::unit(unit), wait);
        }
        Happening::Handle(at) => {
            world.handle(at);
        }
        Happening::EndJob(at, well) => world.end_job(at, well),
        Happening::Forge(what, job) => world.forge(what, job),
        Happening::ChangeOwner => world.change_owner(),
        Happening::Disconnect => world.disconnect(),
        Happening::Connect(well) => world.connect(well),
        Happening::Pass(millis) => world.pass(millis),
        Happening::Abandon(caller) => world.abandon(caller),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: each caller is answered once and by its deadline, truly (the world
    /// knows), the window holds, no stop is cancelled, and in the end nothing is left.
    #[test]
    fn one_true_outcome_by_the_deadline_and_nothing_left(
        window in 1..4usize,
        happenings in prop::collection::vec(happening(), 1..120),
    ) {
        let mut world = World::new(window);
        for what in happenings {
            happen(&mut world, what);
        }
        world.settle();
    }
}

/// A unit that is there, as a creation of it left it.
fn with_unit(world: &mut World, unit: &str) {
    let creator = world.submit(Ask::Create, unit, 1_000);
    world.handle(0);
    world.end_job(0, true);
    assert!(matches!(world.answer(creator), Some(Ok(()))));
}

#[test]
fn a_caller_that_leaves_takes_nothing_from_one_that_shares_its_job() {
    let mut world = World::new(8);
    with_unit(&mut world, "u1.scope");
    let (hasty, patient) =
        (world.submit(Ask::Stop, "u1.scope", 10), world.submit(Ask::Stop, "u1.scope", 1_000));
    assert_eq!(world.handle(0), world.handle(0), "one job answers both");
    world.pass(20);
    assert!(world.is_timed_out(hasty));
    world.end_job(0, true);
    assert!(matches!(world.answer(patient), Some(Ok(()))));
}

#[test]
fn one_early_result_answers_every_call_that_made_its_job() {
    let mut world = World::new(8);
    with_unit(&mut world, "u1.scope");
    let first = world.submit(Ask::Stop, "u1.scope", 1_000);
    let second = world.submit(Ask::Stop, "u1.scope", 1_000);
    world.handle_by(0, Way::Held);
    world.handle_by(0, Way::Held);
    world.end_job(0, true);
    world.release(0);
    world.release(0);
    assert!(matches!((world.answer(first), world.answer(second)), (Some(Ok(())), Some(Ok(())))));
}

#[test]
fn a_late_creations_job_is_cancelled_so_that_its_name_is_free_again() {
    let mut world = World::new(8);
    let late = world.submit(Ask::Create, "u1.scope", 10);
    world.pass(20);
    assert!(world.is_timed_out(late));
    world.handle(0);
    assert!(!world.is_active("u1.scope"));
    with_unit(&mut world, "u1.scope");
    world.settle();
}

#[test]
fn a_creation_that_comes_too_late_stands_unless_no_process_reached_it() {
    for (unit, stands) in [("u1.scope", true), ("d1.scope", false)] {
        let mut world = World::new(8);
        let late = world.submit(Ask::Create, unit, 10);
        world.handle_by(0, Way::Held);
        world.pass(20);
        assert!(world.is_timed_out(late));
        world.end_job(0, true);
        world.release(0);
        assert_eq!(world.router.stats().late, 1);
        world.rest();
        assert_eq!(world.is_active(unit), stands);
        world.settle();
    }
}

#[test]
fn a_job_that_goes_on_under_a_new_owner_of_the_name_is_still_waited_for() {
    let mut world = World::new(8);
    with_unit(&mut world, "u1.scope");
    let caller = world.submit(Ask::Stop, "u1.scope", 1_000);
    let job = world.handle(0).expect("a job is made");
    world.change_owner();
    world.change_owner();
    world.removed(job, "u1.scope", crate::job::JobResult::Done, Some(":1.0".into()));
    assert!(world.answer(caller).is_none(), "the old owner is nobody now");
    world.end_job(0, true);
    assert!(matches!(world.answer(caller), Some(Ok(()))));
}

#[test]
fn a_job_whose_end_nobody_heard_is_learnt_of_after_a_reconnect() {
    let mut world = World::new(8);
    with_unit(&mut world, "u1.scope");
    let stop = world.submit(Ask::Stop, "u1.scope", 1_000);
    let create = world.submit(Ask::Create, "u2.scope", 1_000);
    let running = world.submit(Ask::Create, "u3.scope", 1_000);
    world.handle_first(3);
    world.disconnect();
    world.end_job(0, true);
    world.end_job(0, true);
    world.connect(true);
    world.handle_first(8);
    assert!(matches!(world.answer(stop), Some(Ok(()))), "{:?}", world.answer(stop));
    assert!(matches!(world.answer(create), Some(Ok(()))), "{:?}", world.answer(create));
    assert!(world.answer(running).is_none(), "its job is still there");
    world.end_job(0, true);
    assert!(matches!(world.answer(running), Some(Ok(()))));
    world.settle();
}

#[test]
fn a_hundred_waiters_of_one_run_have_one_reference_whoever_of_them_leaves_first() {
    let mut world = World::new(96);
    with_unit(&mut world, "u1.scope");
    // The first to have asked has left when its answer comes, and others come in between and after.
    let hasty = world.submit(Ask::Wait, "u1.scope", 10);
    let mut waiters: Vec<u64> = (0..50).map(|_| world.submit(Ask::Wait, "u1.scope", 1_000)).collect();
    world.pass(20);
    assert!(world.is_timed_out(hasty));
    world.handle(0);
    waiters.extend((50..100).map(|_| world.submit(Ask::Wait, "u1.scope", 1_000)));
    world.handle_first(200);
    assert_eq!(world.references(), 1);
    for waiter in waiters.drain(..30) {
        world.abandon(waiter);
    }
    world.handle_first(200);
    assert_eq!(world.references(), 1, "others wait on");
    world.exit("u1.scope");
    world.handle_first(200);
    assert!(waiters.iter().all(|waiter| matches!(world.answer(*waiter), Some(Ok(())))));
    assert_eq!(world.references(), 0);
    world.settle();
}

#[test]
fn a_reference_that_is_refused_is_refused_to_all_who_wait_for_it_and_they_hear_all_the_same() {
    let mut world = World::new(96);
    with_unit(&mut world, "u1.scope");
    let waiters = [(); 3].map(|()| world.submit(Ask::Wait, "u1.scope", 1_000));
    world.handle_by(0, Way::Denied);
    world.handle_first(10);
    assert_eq!(world.references(), 0);
    world.exit("u1.scope");
    world.handle_first(10);
    assert!(waiters.iter().all(|waiter| matches!(world.answer(*waiter), Some(Ok(())))));
    world.settle();
}

#[test]
fn a_reference_that_was_asked_for_in_vain_holds_up_nobody_else() {
    let mut world = World::new(8);
    with_unit(&mut world, "u1.scope");
    let (hasty, patient) =
        (world.submit(Ask::Wait, "u1.scope", 10), world.submit(Ask::Wait, "u1.scope", 30_000));
    world.handle_by(0, Way::Lost);
    world.pass(20);
    assert!(world.is_timed_out(hasty));
    world.handle_first(20);
    world.exit("u1.scope");
    world.handle_first(20);
    assert!(matches!(world.answer(patient), Some(Ok(()))), "{:?}", world.answer(patient));
    world.settle();
}

#[test]
fn a_reference_of_a_manager_that_began_anew_is_shared_with_nobody() {
    let mut world = World::new(96);
    with_unit(&mut world, "u1.scope");
    let before = world.submit(Ask::Wait, "u1.scope", 1_000);
    world.handle_first(2);
    world.begin_anew();
    // The look at the first run is not answered yet, when the name has another.
    let creator = world.submit(Ask::Create, "u1.scope", 1_000);
    world.handle(1);
    world.end_job(0, true);
    assert!(matches!(world.answer(creator), Some(Ok(()))));
    let after = world.submit(Ask::Wait, "u1.scope", 1_000);
    assert_eq!(world.references(), 0);
    world.handle_first(10);
    assert!(matches!(world.answer(before), Some(Ok(()))));
    assert_eq!(world.references(), 1, "its own");
    world.exit("u1.scope");
    world.handle_first(10);
    assert!(matches!(world.answer(after), Some(Ok(()))));
    world.settle();
}

/// Long enough for the driver to rest.
const LONG: u64 = REST_AFTER.as_millis() as u64;

#[test]
fn strangers_jobs_are_not_heard_of_while_nothing_is_asked_and_ones_own_are_from_the_next_call_on() {
    let mut world = World::new(8);
    with_unit(&mut world, "u1.scope");
    assert!(world.hears_of_jobs());
    world.pass(LONG - 1);
    assert!(world.hears_of_jobs(), "something may be asked soon");
    world.pass(1);
    assert!(!world.hears_of_jobs());
    assert_eq!(world.router.deadline(), None, "once is enough");
    world.submit(Ask::Read, "u1.scope", 1_000);
    world.handle(0);
    assert!(!world.hears_of_jobs(), "a read makes no job");
    with_unit(&mut world, "u2.scope");
    assert!(world.hears_of_jobs());
    world.settle();
}

#[test]
fn a_request_at_the_moment_of_rest_is_served_whichever_of_the_two_is_first() {
    for peer in [Peer::Bus, Peer::Systemd] {
        for is_first in [false, true] {
            let mut world = World::with(8, peer);
            with_unit(&mut world, "u1.scope");
            if is_first {
                world.oversleep(LONG);
            } else {
                world.pass(LONG);
                world.connect(true);
            }
            let stop = world.submit(Ask::Stop, "u1.scope", 1_000);
            world.connect(true);
            world.pass(1);
            world.rest();
            assert!(matches!(world.answer(stop), Some(Ok(()))), "{:?}", world.answer(stop));
            world.settle();
        }
    }
}

#[test]
fn who_waits_or_watches_is_not_idle_and_its_connection_is_kept() {
    for peer in [Peer::Bus, Peer::Systemd] {
        let mut world = World::with(8, peer);
        with_unit(&mut world, "u1.scope");
        let waiter = world.submit(Ask::Wait, "u1.scope", 3 * LONG);
        world.handle_first(10);
        world.pass(2 * LONG);
        assert!(world.router.link.is_up());
        world.exit("u1.scope");
        world.handle_first(10);
        assert!(matches!(world.answer(waiter), Some(Ok(()))));
        let (id, heard) = (WatchId(1), Told::default());
        world.router.watch(id, Box::new(heard.clone()));
        world.pass(2 * LONG);
        assert!(world.router.link.is_up());
        world.router.unwatch(id);
        world.pass(1);
        world.pass(LONG);
        assert_eq!(world.router.link.is_up(), peer == Peer::Bus);
        // A watcher that comes then has missed nothing.
        world.router.watch(id, Box::new(heard.clone()));
        world.connect(true);
        world.submit(Ask::Read, "u1.scope", 1_000);
        world.handle(0);
        assert_eq!(*heard.0.lock().expect("no panic"), []);
        world.router.unwatch(id);
        world.settle();
    }
}

/// A watcher of everything, and what it was told.
#[derive(Clone, Default)]
struct Told(std::sync::Arc<std::sync::Mutex<Vec<UnitEvent>>>);

impl Watcher for Told {
    fn wants(&self, _: &str) -> bool {
        true
    }

    fn tell(&self, event: UnitEvent) -> bool {
        self.0.lock().expect("no panic").push(event);
        true
    }
}

#[test]
fn calls_that_are_never_answered_take_up_the_window_for_a_while_and_not_for_ever() {
    let mut world = World::new(2);
    world.submit(Ask::Stop, "u1.scope", 10);
    world.submit(Ask::Read, "u2.scope", 10);
    let settled = u64::try_from(SETTLE.as_millis()).unwrap() + 20;
    let patient = world.submit(Ask::Read, "u3.scope", 2 * settled);
    world.pass(20);
    assert!(!world.router.begin_connecting(world.now), "the answers may still come");
    world.pass(settled);
    world.connect(true);
    world.handle(0);
    assert!(matches!(world.answer(patient), Some(Ok(()))), "{:?}", world.answer(patient));
}

#[test]
fn jobs_that_take_long_hold_up_no_creation_and_no_read() {
    let mut world = World::new(64);
    for number in 0..200 {
        let unit = format!("s{number}.scope");
        with_unit(&mut world, &unit);
    }
    for number in 0..200 {
        world.submit(Ask::Stop, &format!("s{number}.scope"), 1_000);
        world.handle(0);
    }
    assert_eq!(world.router.jobs.under_way(Lane::Job), Lane::Job.most());
    let (create, read) =
        (world.submit(Ask::Create, "new.scope", 100), world.submit(Ask::Read, "new.scope", 100));
    world.handle(0);
    world.handle(0);
    world.end_job(world.jobs() - 1, true);
    assert!(matches!(world.answer(create), Some(Ok(()))), "{:?}", world.answer(create));
    assert!(matches!(world.answer(read), Some(Ok(()))));
}

#[test]
fn a_manager_that_was_there_is_waited_for_and_not_for_ever() {
    let mut world = World::new(8);
    let patience = u64::try_from(PATIENCE.as_millis()).unwrap();
    world.disconnect();
    let short = world.submit(Ask::Read, "u1.scope", 50);
    let caller = world.submit(Ask::Read, "u1.scope", 2 * patience);
    world.connect(false);
    world.pass(100);
    assert!(world.is_timed_out(short));
    world.connect(true);
    world.handle(0);
    assert!(matches!(world.answer(caller), Some(Ok(()))));

    world.disconnect();
    let caller = world.submit(Ask::Read, "u1.scope", 3 * patience);
    for _ in 0..patience {
        world.connect(false);
        world.pass(2);
    }
    assert!(matches!(world.answer(caller), Some(Err(Error::Connect { .. }))), "{:?}", world.answer(caller));
    let at_once = world.submit(Ask::Read, "u1.scope", 3 * patience);
    world.connect(false);
    assert!(matches!(world.answer(at_once), Some(Err(Error::Connect { .. }))));
}

#[test]
fn nothing_is_left_of_ten_thousand_callers_that_gave_up() {
    let mut world = World::new(96);
    for number in 0..10_000 {
        world.submit(Ask::Create, &format!("n{number}.scope"), 1 + number % 7);
        world.pass(1);
    }
    world.pass(10);
    assert!(world.router.requests.len() <= 96, "only those whose calls went out are settled");
    let next = world.submit(Ask::Create, "next.scope", 1_000);
    world.handle_first(200);
    world.end_job(0, true);
    assert!(matches!(world.answer(next), Some(Ok(()))), "{:?}", world.answer(next));
    assert_eq!(world.callers(), 10_001);
    world.settle();
}

#[test]
fn a_flood_of_strangers_jobs_loses_no_result() {
    let mut world = World::new(8);
    with_unit(&mut world, "u1.scope");
    let caller = world.submit(Ask::Stop, "u1.scope", 1_000);
    for number in 0..100_000 {
        let owner = Some(":1.0".into());
        world.removed(JobId::new(1_000 + number), "x.scope", crate::job::JobResult::Done, owner);
    }
    world.handle(0);
    world.end_job(0, true);
    assert!(matches!(world.answer(caller), Some(Ok(()))));
}

#[test]
fn a_direct_peer_that_closes_at_once_is_not_run_after() {
    let mut world = World::with(8, Peer::Systemd);
    world.disconnect();
    world.submit(Ask::Read, "u1.scope", 4_000);
    let before = world.router.stats().connections;
    for _ in 0..2_000 {
        world.connect(true);
        world.disconnect();
        world.pass(1);
    }
    let tries = world.router.stats().connections - before;
    assert!((3..20).contains(&tries), "{tries} in two seconds");
}
