//! A systemd, a bus and callers that exist only as values, for tests that drive the router through any order of
//! events. It checks each answer, as it is given, against what this systemd knows to be true.

mod judge;
mod systemd;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use self::systemd::{Systemd, invocation};
use super::link::Link;
use super::*;
use crate::cgroup::{CgroupLayout, Inspection, Place, Process, Sights};
use crate::driver::create::{Create, NewUnit, Site};
use crate::driver::placing::PidfdsUnknown;
use crate::driver::plan::Single;
use crate::driver::wait::Wait;
use crate::error::{Asked, Operation};
use crate::job::{JobMode, JobResult};
use crate::systemd1::{self, BUS, BusError, Call, Incoming, Reply, UnitChange, UnitNews, Verb};
use crate::unit::{OnExists, Value};

/// How long the most patient caller waits, in milliseconds.
pub(super) const PATIENCE: u64 = 200_000;

pub(super) const STRANGER: &str = ":1.666";

/// Where a caller gets its answer; a caller is a number.
pub(super) struct Caller(pub u64);

impl ReplyTo for Caller {
    fn reached(&self, _: Stage, _: Option<JobId>) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Create,
    Replace,
    Stop,
    Read,
    Wait,
    Start,
}

/// How a message to the router fares on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Sound,
    Twice,
    Lost,
    /// A reply that is held back, until [`World::release`]; meanwhile its job may end.
    Held,
    /// Of another form than it should have.
    Garbled,
    /// Refused by the manager, or by the bus for want of room.
    Denied,
    NoRoom,
}

#[derive(Debug)]
struct Asker {
    unit: String,
    ask: Ask,
    /// The run that it waits for.
    run: u64,
    deadline: Instant,
    /// Its own end came, or it left before.
    overdue: bool,
}

/// What is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Bus,
    /// One that says later who owns the manager's name.
    SlowBus,
    Systemd,
}

pub(super) struct World {
    pub router: Router<Caller>,
    pub now: Instant,
    pub window: usize,
    systemd: Systemd,
    askers: BTreeMap<u64, Asker>,
    /// Callers without an answer.
    open: BTreeSet<u64>,
    answers: BTreeMap<u64, Result<(), Error>>,
    /// Calls that systemd has not handled.
    calls: Vec<(u32, Call)>,
    held: Vec<Reply>,
    /// Which caller a call is of, and the callers of whose calls one was carried out that changes something.
    callers_of: BTreeMap<u32, u64>,
    changed: BTreeSet<u64>,
    /// How often something else than the truth was answered: only then may a request fail of it.
    lies: u32,
    /// Whether there is no bus between, or one that takes its time to say who owns the manager's name.
    peer: Peer,
    /// The question about that, where it is yet to be answered.
    greeting: Option<u32>,
    connection: u32,
    /// The last call of each caller, and the calls whose answers arrived.
    last_calls: BTreeMap<u64, u32>,
    answered: BTreeSet<u32>,
    owner: Option<String>,
    owners: u32,
    subscribed: bool,
    /// What this client listens to.
    rules: BTreeSet<String>,
    /// The references that were asked for, each with its unit.
    asked_for: BTreeMap<u32, String>,
    /// How often a connection or a manager was lost: only then may a request be lost.
    losses: u32,
}

impl World {
    pub(super) fn new(window: usize) -> World {
        World::with(window, Peer::Bus)
    }

    pub(super) fn with(window: usize, peer: Peer) -> World {
        let direct = peer == Peer::Systemd;
        let mut world = World {
            router: Router::new("test:", window),
            now: Instant::now(),
            window,
            systemd: Systemd::default(),
            askers: BTreeMap::new(),
            open: BTreeSet::new(),
            answers: BTreeMap::new(),
            calls: Vec::new(),
            held: Vec::new(),
            callers_of: BTreeMap::new(),
            changed: BTreeSet::new(),
            lies: 0,
            peer,
            greeting: None,
            connection: 0,
            last_calls: BTreeMap::new(),
            answered: BTreeSet::new(),
            owner: Some(":1.0".into()),
            owners: 0,
            subscribed: false,
            rules: BTreeSet::new(),
            asked_for: BTreeMap::new(),
            losses: 0,
        };
        world.router.hear_units();
        world.router.connected(world.now, direct);
        world.drain();
        if direct {
            // As every handle begins: only by an answer is it known that the peer lets this client in.
            world.submit(Ask::Read, "u0.scope", 1_000);
            world.handle(0);
        }
        world
    }

    fn is_direct(&self) -> bool {
        self.peer == Peer::Systemd
    }

    /// What the bus writes as the sender of the manager's messages.
    fn sender(&self) -> Option<String> {
        self.owner.clone().filter(|_| !self.is_direct())
    }

    /// The bus says who owns the manager's name, before it says or passes on anything else.
    pub(super) fn greet(&mut self) {
        let Some(serial) = self.greeting.take() else { return };
        let error = |name: &str| BusError { name: name.into(), message: String::new() };
        let owner = self.owner.clone().map(|owner| vec![Value::from(owner)]);
        self.reply(serial, Some(BUS.into()), owner.ok_or(error(systemd1::NAME_HAS_NO_OWNER)));
        if self.owner.is_none() {
            for (serial, _) in std::mem::take(&mut self.calls) {
                self.reply(serial, Some(BUS.into()), Err(error(systemd1::SERVICE_UNKNOWN)));
            }
        }
    }

    pub(super) fn submit(&mut self, ask: Ask, unit: &str, wait: u64) -> u64 {
        let caller = self.askers.len() as u64 + 1;
        let deadline = self.now + Duration::from_millis(wait);
        let run = self.systemd.active.get(unit).copied().unwrap_or_default();
        let asker = Asker { unit: unit.into(), ask, run, deadline, overdue: wait == 0 };
        self.askers.insert(caller, asker);
        self.open.insert(caller);
        self.router.submit(self.now, RequestId(caller), plan(ask, unit, run), deadline, Caller(caller));
        self.drain();
        caller
    }

    pub(super) fn abandon(&mut self, caller: u64) {
        if let Some(asker) = self.askers.get_mut(&caller) {
            asker.overdue = true;
            self.router.abandon(self.now, RequestId(caller));
            self.drain();
        }
    }

    pub(super) fn answer(&self, caller: u64) -> Option<&Result<(), Error>> {
        self.answers.get(&caller)
    }

    pub(super) fn is_timed_out(&self, caller: u64) -> bool {
        self.answer(caller).is_some_and(|answer| answer.as_ref().is_err_and(Error::is_timeout))
    }

    pub(super) fn callers(&self) -> u64 {
        self.askers.len() as u64
    }

    pub(super) fn jobs(&self) -> usize {
        self.systemd.jobs.len()
    }

    /// How many references this client has, to all units.
    pub(super) fn references(&self) -> u32 {
        self.systemd.references.values().sum()
    }

    pub(super) fn hears_of_jobs(&self) -> bool {
        self.rules.contains(systemd1::JOB_RULE)
    }

    pub(super) fn is_active(&self, unit: &str) -> bool {
        self.systemd.active.contains_key(unit)
    }

    fn reply(&mut self, serial: u32, sender: Option<String>, result: Result<Vec<Value>, BusError>) {
        self.incoming(Incoming::Reply(Reply { serial, sender, result }));
    }

    pub(super) fn incoming(&mut self, message: Incoming) {
        self.router.incoming(self.now, message);
        self.drain();
    }

    /// A stranger says anything: that a job is done, that a call is answered, that the name is its own.
    pub(super) fn forge(&mut self, what: usize, number: u32) {
        if self.is_direct() {
            // There is nobody else at the other end.
            return;
        }
        let sender = Some(STRANGER.to_string());
        match what % 4 {
            3 => {
                let change = UnitChange { active_state: Some("inactive".into()), ..UnitChange::default() };
                let unit = unit(u8::try_from(number % 6).unwrap_or_default());
                let news = UnitNews::Changed(systemd1::unit_path(&unit), change);
                self.incoming(Incoming::Unit { sender, news });
            }
            0 => self.removed(JobId::new(number), "u1.scope", JobResult::Done, sender),
            1 => {
                let serial = self.calls.first().map_or(number, |(serial, _)| *serial);
                let job = Value::Path(JobId::new(number).object_path());
                self.reply(serial, sender, Ok(vec![job]));
            }
            _ => self.incoming(Incoming::Owner { sender: sender.clone(), owner: sender }),
        }
    }

    /// The manager gives up its name (reexecutes, crashes), or comes back under a new one.
    pub(super) fn change_owner(&mut self) {
        if self.is_direct() {
            return self.disconnect();
        }
        self.greet();
        if self.owner.take().is_none() {
            self.owners += 1;
            self.owner = Some(format!(":1.{}", self.owners));
        } else {
            self.losses += 1;
        }
        if !self.router.link.is_up() {
            return;
        }
        self.incoming(Incoming::Owner { sender: Some(BUS.into()), owner: self.owner.clone() });
        if self.owner.is_none() {
            let held = std::mem::take(&mut self.held).into_iter().map(|reply| reply.serial);
            let calls = std::mem::take(&mut self.calls).into_iter().map(|(serial, _)| serial);
            for serial in calls.chain(held).collect::<Vec<_>>() {
                let error = BusError { name: systemd1::NO_REPLY.into(), message: String::new() };
                self.reply(serial, Some(BUS.into()), Err(error));
            }
        }
    }

    pub(super) fn disconnect(&mut self) {
        if matches!(self.router.link, Link::Down | Link::Connecting) {
            return;
        }
        self.losses += 1;
        self.end_connection();
        self.router.disconnected(self.now, "lost");
        self.drain();
    }

    fn end_connection(&mut self) {
        self.subscribed = false;
        self.greeting = None;
        self.rules.clear();
        self.systemd.references.clear();
        self.calls.clear();
        self.held.clear();
    }

    fn let_go(&mut self) {
        assert!(self.is_direct() && self.open.is_empty(), "somebody needs the connection");
        self.end_connection();
    }

    /// Time passes, and the driver is late to see it: something else comes first.
    pub(super) fn oversleep(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        for (caller, asker) in &mut self.askers {
            asker.overdue |= self.open.contains(caller) && asker.deadline <= self.now;
        }
    }

    /// The router may connect, where it wants to.
    pub(super) fn connect(&mut self, well: bool) {
        if !self.router.begin_connecting(self.now) {
            return;
        }
        if well {
            self.connection += 1;
            self.router.connected(self.now, self.is_direct());
        } else {
            self.losses += 1;
            self.router.connect_failed(self.now, &Refusal::new("refused"));
        }
        self.drain();
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
        let due: Vec<u64> =
            self.open.iter().copied().filter(|caller| self.askers[caller].deadline <= self.now).collect();
        for caller in &due {
            self.askers.entry(*caller).and_modify(|asker| asker.overdue = true);
        }
        self.router.tick(self.now);
        self.drain();
        for caller in due {
            assert!(!self.open.contains(&caller), "caller {caller} is overdue");
        }
        let due = self.router.deadline();
        assert!(
            due.is_none_or(|at| at > self.now || self.router.link == Link::Down),
            "it would wake for nothing"
        );
    }

    fn drain(&mut self) {
        while let Some(output) = self.router.output() {
            match output {
                Output::Send { serial, call, .. } => self.sent(serial, call),
                Output::Inspect(id, inspection) => {
                    let findings = self.look(&inspection);
                    self.router.inspected(self.now, id, findings);
                }
                Output::Deliver(Caller(caller), Answer { result, .. }) => self.judge(caller, result),
                Output::HangUp => self.disconnect(),
                Output::LetGo => self.let_go(),
            }
        }
        assert!(self.router.in_flight.len() <= self.window, "the window is passed");
        self.judge_those_who_wait();
    }

    fn sent(&mut self, serial: u32, call: Call) {
        match self.router.in_flight.get(&serial).map(|call| call.purpose) {
            Some(Purpose::Request(RequestId(caller), _)) => {
                self.last_calls.insert(caller, serial);
                self.callers_of.insert(serial, caller)
            }
            _ => self.callers_of.remove(&serial),
        };
        self.judge_reference(serial, &call);
        assert!(self.is_direct() || !call.makes_job() || self.hears_of_jobs(), "a job's end may go unheard");
        match call {
            Call::Hello | Call::Ping => {}
            Call::AddMatch(rule) => assert!(self.rules.insert(rule.into_owned()), "it listens twice"),
            Call::RemoveMatch(rule) => {
                assert!(self.rules.remove(&*rule), "it gives up what it has not");
                assert!(rule != systemd1::JOB_RULE || self.open.is_empty(), "somebody needs the rule");
            }
            Call::GetNameOwner => {
                self.greeting = Some(serial);
                if self.peer == Peer::Bus {
                    self.greet();
                }
            }
            Call::Subscribe => self.subscribed = true,
            Call::Unsubscribe => {
                assert!(self.subscribed || self.losses > 0, "it gives up what it has not");
                self.subscribed = false;
            }
            Call::CancelJob(job) => {
                let at = self.systemd.jobs.keys().position(|known| *known == job);
                assert!(at.is_none_or(|_| self.systemd.jobs[&job].starts), "a stop was cancelled");
                let is_waited_for =
                    |id: &RequestId| self.router.requests.get(id).is_some_and(|entry| entry.reply.is_some());
                let somebody = self.router.jobs.waiters(job).iter().any(is_waited_for);
                assert!(!somebody, "a job is cancelled for which somebody waits");
                if let Some(at) = at {
                    self.end_job(at, false);
                }
            }
            call if self.owner.is_none() && self.greeting.is_none() => {
                drop(call);
                let none = BusError { name: systemd1::SERVICE_UNKNOWN.into(), message: String::new() };
                self.reply(serial, Some(BUS.into()), Err(none));
            }
            call => self.calls.push((serial, call)),
        }
    }

    fn look(&self, inspection: &Inspection) -> Findings {
        let (Place::Exact(unit) | Place::Below { unit, .. }) = &inspection.place;
        Findings {
            control_group: Some(unit.clone()),
            invocation: self.systemd.active.get(unit).map(|run| invocation(*run)),
            empty: self.systemd.active.contains_key(unit),
            ..Findings::default()
        }
    }
}

/// One of few units; those named `d` are for processes that have ended before the unit is there.
pub(super) fn unit(number: u8) -> String {
    format!("{}{number}.scope", if number < 4 { 'u' } else { 'd' })
}

pub(super) fn site() -> Arc<Site> {
    let mounts = "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
    let layout = Arc::new(CgroupLayout::parse(mounts).expect("a hierarchy is mounted"));
    Arc::new(Site {
        root: Arc::new(OnceLock::from("/".to_string())),
        links: None,
        layout,
        pidfds_unknown: PidfdsUnknown::default(),
    })
}

fn plan(ask: Ask, unit: &str, run: u64) -> Box<dyn Plan> {
    let single = |operation, call| -> Box<dyn Plan> {
        Box::new(Single { asked: Asked::new(operation, Some(unit)), call })
    };
    match ask {
        Ask::Start => {
            let (verb, unit) = (Verb::Start, unit.to_string());
            single(Operation::Start, Call::UnitJob { verb, unit, mode: JobMode::Replace })
        }
        Ask::Stop => {
            let (verb, unit) = (Verb::Stop, unit.to_string());
            single(Operation::Stop, Call::UnitJob { verb, unit, mode: JobMode::Replace })
        }
        Ask::Wait => {
            let run = systemd1::unit_path(&invocation(run));
            Box::new(Wait::new(Asked::new(Operation::Wait, Some(unit)), unit, run))
        }
        Ask::Read => {
            let (path, interface) = ("/".into(), String::new());
            single(Operation::Get, Call::GetAll { path, interface })
        }
        Ask::Create | Ask::Replace => {
            let dying = unit.starts_with('d');
            let new = NewUnit {
                processes: dying.then_some(Process { pid: 7, started: 1 }).into_iter().collect(),
                on_exists: if ask == Ask::Replace { OnExists::Replace } else { OnExists::Fail },
                ..NewUnit::scope(unit)
            };
            Box::new(Create::new(Arc::new(new), Sights::default(), site()))
        }
    }
}
