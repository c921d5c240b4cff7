//! Every order of events, driven by proptest: the design's invariants as properties of the router.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::error::{Asked, Operation};
use crate::job::JobMode;
use crate::systemd1::Verb;
use crate::unit::Value;

const OWNER: &str = ":1.0";

/// Where the test's callers get their answers; a caller is a number.
struct Caller(u64);

impl ReplyTo for Caller {
    fn reached(&self, _: Stage, _: Option<JobId>) {}
}

/// A manager that answers only when told to, in any order, and the router before it.
struct World {
    router: Router<Caller>,
    now: Instant,
    deadlines: BTreeMap<u64, Instant>,
    answers: BTreeMap<u64, Result<JobId, String>>,
    unanswered: Vec<u32>,
    jobs: Vec<JobId>,
    truly_done: Rc<RefCell<BTreeMap<u32, JobResult>>>,
    next_job: u32,
}

impl World {
    fn new(window: usize) -> World {
        let now = Instant::now();
        let mut router = Router::new(window);
        router.connected(now, false);
        let mut world = World {
            router,
            now,
            deadlines: BTreeMap::new(),
            answers: BTreeMap::new(),
            unanswered: Vec::new(),
            jobs: Vec::new(),
            truly_done: Rc::default(),
            next_job: 1,
        };
        world.drain();
        world.greet();
        world
    }

    fn greet(&mut self) {
        let serial = self.router.greeting.expect("the owner is asked for");
        let result = Ok(vec![Value::from(OWNER)]);
        self.incoming(Incoming::Reply(Reply { serial, sender: Some(BUS.into()), result }));
    }

    fn incoming(&mut self, message: Incoming) {
        self.router.incoming(self.now, message);
        self.drain();
    }

    fn submit(&mut self, caller: u64, wait: u64) {
        let deadline = self.now + Duration::from_millis(wait);
        self.deadlines.insert(caller, deadline);
        let call = Call::UnitJob { verb: Verb::Stop, unit: "a.scope".into(), mode: JobMode::Replace };
        let plan = Plan::Single { asked: Asked::new(Operation::Stop, Some("a.scope")), call };
        self.router.submit(self.now, RequestId(caller), plan, deadline, Caller(caller));
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.router.output() {
            match output {
                Output::Send { serial, call, wants_reply: true } if call.makes_job() => {
                    self.unanswered.push(serial)
                }
                Output::Send { .. } => {}
                Output::Inspect(..) => unreachable!("no plan here looks at the kernel"),
                Output::Deliver(Caller(caller), Answer { result, .. }) => {
                    let told = match result {
                        Ok(Success::Job(job)) => {
                            let truth = self.truly_done.borrow().get(&job.get()).cloned();
                            assert_eq!(truth, Some(JobResult::Done), "success without a done job");
                            Ok(job)
                        }
                        Ok(other) => unreachable!("{other:?}"),
                        Err(error) => Err(error.to_string()),
                    };
                    assert!(
                        self.answers.insert(caller, told).is_none(),
                        "caller {caller} was answered twice"
                    );
                }
            }
        }
        assert!(self.router.in_flight.len() <= self.router.window);
    }

    fn reply(&mut self, at: usize, job: JobId, sender: &str) {
        let Some(&serial) = self.unanswered.get(at) else { return };
        if sender == OWNER {
            self.unanswered.remove(at);
        }
        let path = Value::Path(format!("/org/freedesktop/systemd1/job/{job}"));
        self.incoming(Incoming::Reply(Reply { serial, sender: Some(sender.into()), result: Ok(vec![path]) }));
    }

    fn removed(&mut self, job: JobId, result: JobResult, sender: &str) {
        if sender == OWNER {
            self.truly_done.borrow_mut().entry(job.get()).or_insert_with(|| result.clone());
        }
        let (sender, unit) = (Some(sender.into()), "a.scope".into());
        self.incoming(Incoming::JobRemoved(JobRemoved { sender, job, unit, result }));
    }

    fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        self.router.tick(self.now);
        self.drain();
        for (caller, deadline) in &self.deadlines {
            assert!(*deadline > self.now || self.answers.contains_key(caller), "caller {caller} is overdue");
        }
    }
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Happening {
    Submit(u64),
    /// systemd answers one of its calls: with a new job, or the one it has already.
    Reply(usize, bool),
    Refuse(usize),
    /// A job ends; `true` where it ended well. It may be one whose reply is still to come.
    Removed(usize, bool),
    EarlyRemoved(bool),
    Forged(u32),
    ForgedReply(usize),
    ForgedOwner,
    Pass(u64),
    Abandon(u64),
    Reconnect,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..200u64).prop_map(Happening::Submit),
        4 => (0..4usize, any::<bool>()).prop_map(|(at, new)| Happening::Reply(at, new)),
        1 => (0..4usize).prop_map(Happening::Refuse),
        4 => (0..4usize, any::<bool>()).prop_map(|(at, well)| Happening::Removed(at, well)),
        2 => any::<bool>().prop_map(Happening::EarlyRemoved),
        2 => (0..20u32).prop_map(Happening::Forged),
        1 => (0..4usize).prop_map(Happening::ForgedReply),
        1 => Just(Happening::ForgedOwner),
        2 => (0..100u64).prop_map(Happening::Pass),
        1 => (0..40u64).prop_map(Happening::Abandon),
        1 => Just(Happening::Reconnect),
    ]
}

fn happen(world: &mut World, happening: Happening, callers: &mut u64) {
    match happening {
        Happening::Submit(wait) => {
            *callers += 1;
            world.submit(*callers, wait);
        }
        Happening::Reply(at, new) => {
            let job = match world.jobs.last() {
                Some(&job) if !new => job,
                _ => {
                    world.next_job += 1;
                    JobId::new(world.next_job)
                }
            };
            if at < world.unanswered.len() && !world.jobs.contains(&job) {
                world.jobs.push(job);
            }
            world.reply(at, job, OWNER);
        }
        Happening::Refuse(at) if at < world.unanswered.len() => {
            let serial = world.unanswered.remove(at);
            let error =
                BusError { name: "org.freedesktop.systemd1.NoSuchUnit".into(), message: String::new() };
            world.incoming(Incoming::Reply(Reply { serial, sender: Some(OWNER.into()), result: Err(error) }));
        }
        Happening::Removed(at, well) if at < world.jobs.len() => {
            let job = world.jobs.remove(at);
            world.removed(job, if well { JobResult::Done } else { JobResult::Failed }, OWNER);
        }
        Happening::EarlyRemoved(well) if !world.unanswered.is_empty() => {
            world.next_job += 1;
            let job = JobId::new(world.next_job);
            world.removed(job, if well { JobResult::Done } else { JobResult::Canceled }, OWNER);
            world.reply(0, job, OWNER);
        }
        Happening::Forged(job) => world.removed(JobId::new(job), JobResult::Done, ":1.666"),
        Happening::ForgedReply(at) => world.reply(at, JobId::new(1), ":1.666"),
        Happening::ForgedOwner => {
            let owner = Some(":1.666".into());
            world.incoming(Incoming::Owner { sender: Some(":1.666".into()), owner });
        }
        Happening::Pass(millis) => world.pass(millis),
        Happening::Abandon(caller) => {
            world.router.abandon(world.now, RequestId(caller));
            world.drain();
        }
        Happening::Reconnect => {
            let lost = || Error::Connect { address: String::new(), reason: String::new() };
            world.router.disconnected(world.now, lost);
            world.unanswered.clear();
            world.jobs.clear();
            world.drain();
            world.router.connected(world.now, false);
            world.drain();
            world.greet();
        }
        Happening::Refuse(_) | Happening::Removed(..) | Happening::EarlyRemoved(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: each caller is answered once and by its deadline, success is said
    /// only of a job that systemd itself said was done, the window holds, and in the end nothing is left.
    #[test]
    fn one_true_outcome_by_the_deadline_and_nothing_left(
        window in 1..4usize,
        happenings in prop::collection::vec(happening(), 1..80),
    ) {
        let mut world = World::new(window);
        let mut callers = 0;
        for what in happenings {
            happen(&mut world, what, &mut callers);
        }
        world.pass(1_000);
        prop_assert_eq!(world.answers.len() as u64, callers);
        world.pass(u64::try_from(SETTLE.as_millis()).unwrap() + 1);
        prop_assert!(world.router.requests.is_empty() && world.router.waiters.is_empty());
        prop_assert!(world.router.timers.is_empty() && world.router.line.is_empty());
        prop_assert!(world.router.in_flight.len() <= window);
    }
}

#[test]
fn a_caller_that_leaves_takes_nothing_from_one_that_shares_its_job() {
    let mut world = World::new(8);
    world.submit(1, 10);
    world.submit(2, 1_000);
    let job = JobId::new(7);
    world.reply(0, job, OWNER);
    world.reply(0, job, OWNER);
    world.pass(20);
    assert!(world.answers[&1].is_err());
    world.removed(job, JobResult::Done, OWNER);
    assert_eq!(world.answers[&2], Ok(job));
}

#[test]
fn a_job_that_goes_on_under_a_new_owner_of_the_name_is_still_waited_for() {
    let mut world = World::new(8);
    world.submit(1, 1_000);
    world.reply(0, JobId::new(7), OWNER);
    world.incoming(Incoming::Owner { sender: Some(BUS.into()), owner: None });
    world.incoming(Incoming::Owner { sender: Some(BUS.into()), owner: Some(":1.9".into()) });
    world.truly_done.borrow_mut().insert(7, JobResult::Done);
    world.removed(JobId::new(7), JobResult::Done, OWNER);
    assert!(world.answers.is_empty(), "the old owner is nobody now");
    world.removed(JobId::new(7), JobResult::Done, ":1.9");
    assert_eq!(world.answers[&1], Ok(JobId::new(7)));
}
