//! A systemd, a bus and callers that exist only as values, for tests that drive the router through any order of
//! events. It checks each answer, as it is given, against what this systemd knows to be true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::link::Link;
use super::*;
use crate::cgroup::{CgroupLayout, Inspection, Place, Process};
use crate::driver::create::Create;
use crate::driver::placing::PidfdsUnknown;
use crate::driver::wait::Wait;
use crate::error::{Asked, Operation};
use crate::job::{JobMode, JobResult};
use crate::systemd1::{self, BUS, BusError, Call, Incoming, JobRemoved, Reply, UnitChange, UnitNews, Verb};
use crate::unit::{OnExists, Value};

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

#[derive(Clone, Debug)]
struct Job {
    unit: String,
    starts: bool,
    /// The connection over which it was last asked for: that one hears of its end unasked.
    connection: u32,
}

/// What a manager knows.
#[derive(Debug, Default)]
struct Systemd {
    /// The units that are active, each with the number of its run.
    active: BTreeMap<String, u64>,
    runs: u64,
    jobs: BTreeMap<JobId, Job>,
    /// How jobs ended, each with its unit: a manager that begins anew counts anew.
    ended: Vec<(JobId, String, JobResult)>,
    /// The states that were read of units.
    read: BTreeSet<(String, &'static str)>,
    /// Whether it was said of a run that it is over.
    run_was_over: bool,
    /// Jobs whose end went out to this client while it could hear it.
    heard: BTreeSet<(JobId, String)>,
    /// How many references to a run this client has.
    references: BTreeMap<u64, u32>,
    /// The runs whose end was told to this client.
    told: BTreeSet<u64>,
    last_job: u32,
    knows_no_pidfds: bool,
}

impl Systemd {
    fn job_for(&mut self, unit: &str, starts: bool, connection: u32) -> JobId {
        let mut known = self.jobs.iter_mut().filter(|(_, job)| job.unit == unit && job.starts == starts);
        if let Some((&id, job)) = known.next() {
            job.connection = connection;
            return id;
        }
        self.last_job += 1;
        let id = JobId::new(self.last_job);
        self.jobs.insert(id, Job { unit: unit.into(), starts, connection });
        id
    }

    fn state(&self, unit: &str) -> &'static str {
        if self.active.contains_key(unit) { "active" } else { "inactive" }
    }
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
    /// Whether there is no bus between.
    direct: bool,
    connection: u32,
    /// The last call of each caller, and the calls whose answers arrived.
    last_calls: BTreeMap<u64, u32>,
    answered: BTreeSet<u32>,
    owner: Option<String>,
    owners: u32,
    subscribed: bool,
    /// What this client listens to.
    rules: BTreeSet<String>,
    /// How often a connection or a manager was lost: only then may a request be lost.
    losses: u32,
}

impl World {
    pub(super) fn new(window: usize) -> World {
        World::with(window, false)
    }

    pub(super) fn with(window: usize, direct: bool) -> World {
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
            direct,
            connection: 0,
            last_calls: BTreeMap::new(),
            answered: BTreeSet::new(),
            owner: Some(":1.0".into()),
            owners: 0,
            subscribed: false,
            rules: BTreeSet::new(),
            losses: 0,
        };
        world.router.connected(world.now, direct);
        world.drain();
        if direct {
            // As every handle begins: only by an answer is it known that the peer lets this client in.
            world.submit(Ask::Read, "u0.scope", 1_000);
            world.handle(0);
        }
        world
    }

    /// What the bus writes as the sender of the manager's messages.
    fn sender(&self) -> Option<String> {
        self.owner.clone().filter(|_| !self.direct)
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

    pub(super) fn callers(&self) -> u64 {
        self.askers.len() as u64
    }

    pub(super) fn jobs(&self) -> usize {
        self.systemd.jobs.len()
    }

    pub(super) fn is_active(&self, unit: &str) -> bool {
        self.systemd.active.contains_key(unit)
    }

    /// Systemd handles one of the calls it was sent, in any order.
    pub(super) fn handle(&mut self, at: usize) -> Option<JobId> {
        self.handle_by(at, Way::Sound)
    }

    pub(super) fn handle_by(&mut self, at: usize, way: Way) -> Option<JobId> {
        if self.owner.is_none() || self.calls.is_empty() {
            return None;
        }
        let (serial, call) = self.calls.remove(at % self.calls.len());
        let error = |name: &str| Err(BusError { name: name.into(), message: String::new() });
        let (mut sender, mut job) = (self.sender(), None);
        // There is no bus to refuse anything.
        let way = if self.direct && way == Way::NoRoom { Way::Denied } else { way };
        let result = match way {
            Way::Denied => error("org.freedesktop.DBus.Error.AccessDenied"),
            Way::NoRoom => {
                sender = Some(BUS.into());
                error(systemd1::LIMITS_EXCEEDED)
            }
            _ => {
                let result;
                (result, job) = self.carry_out(&call);
                if result.is_ok() && !call.may_be_repeated() {
                    self.changed.extend(self.callers_of.get(&serial));
                }
                result
            }
        };
        let result = if way == Way::Garbled { Ok(vec![Value::from(7u32)]) } else { result };
        self.lies += u32::from(matches!(way, Way::Denied | Way::Garbled | Way::NoRoom));
        let reply = Reply { serial, sender, result };
        if !matches!(way, Way::Lost | Way::Held | Way::NoRoom) {
            self.answered.insert(serial);
        }
        match way {
            Way::Lost => {}
            Way::Held => self.held.push(reply),
            Way::Twice => {
                self.incoming(Incoming::Reply(reply.clone()));
                self.incoming(Incoming::Reply(reply));
            }
            _ => self.incoming(Incoming::Reply(reply)),
        }
        job
    }

    /// A reply that was held back arrives.
    pub(super) fn release(&mut self, at: usize) {
        if !self.held.is_empty() {
            let reply = self.held.remove(at % self.held.len());
            self.answered.insert(reply.serial);
            self.incoming(Incoming::Reply(reply));
        }
    }

    pub(super) fn handle_first(&mut self, calls: usize) {
        for _ in 0..calls {
            self.handle(0);
        }
    }

    fn carry_out(&mut self, call: &Call) -> (Result<Vec<Value>, BusError>, Option<JobId>) {
        let refuse = |name: &str| {
            let name = format!("org.freedesktop.{name}");
            (Err(BusError { name, message: String::new() }), None)
        };
        let made =
            |job: JobId| (Ok(vec![Value::Path(format!("/org/freedesktop/systemd1/job/{job}"))]), Some(job));
        match call {
            Call::StartTransient { members, .. } if members.by_pidfd && self.systemd.knows_no_pidfds => {
                self.systemd.knows_no_pidfds = false;
                let name = "org.freedesktop.DBus.Error.PropertyReadOnly".into();
                (Err(BusError { name, message: "Cannot set property PIDFDs".into() }), None)
            }
            Call::StartTransient { unit, members, .. } => {
                // It forgets and learns again, so that both answers come in every state.
                self.systemd.knows_no_pidfds |= members.by_pidfd;
                let taken = self.systemd.active.contains_key(unit)
                    || self.systemd.jobs.values().any(|job| job.unit == *unit);
                if taken {
                    refuse("systemd1.UnitExists")
                } else {
                    made(self.systemd.job_for(unit, true, self.connection))
                }
            }
            Call::UnitJob { verb: Verb::Start, unit, .. } => {
                let is_known = self.systemd.state(unit) == "active"
                    || self.systemd.jobs.values().any(|job| job.unit == *unit && job.starts);
                if is_known {
                    made(self.systemd.job_for(unit, true, self.connection))
                } else {
                    refuse("systemd1.NoSuchUnit")
                }
            }
            Call::UnitJob { unit, .. } if self.systemd.state(unit) == "active" => {
                made(self.systemd.job_for(unit, false, self.connection))
            }
            Call::UnitJob { .. } => refuse("systemd1.NoSuchUnit"),
            Call::RunJob { path, .. } => match self.unit_at(path) {
                Some(unit) => made(self.systemd.job_for(&unit, false, self.connection)),
                None => refuse("systemd1.NoUnitForInvocationID"),
            },
            Call::RunRef { .. } if self.direct => refuse("DBus.Error.InvalidArgs"),
            Call::RunRef { path } => match self.run_at(path) {
                Some(run) => {
                    *self.systemd.references.entry(run).or_default() += 1;
                    (Ok(Vec::new()), None)
                }
                None => refuse("systemd1.NoUnitForInvocationID"),
            },
            Call::RunUnref { path } => {
                if let Some(run) = self.run_at(path) {
                    let left = self.systemd.references.get_mut(&run).map(|count| {
                        *count = count.saturating_sub(1);
                        *count
                    });
                    assert!(
                        left.is_some() || self.losses > 0 || self.direct,
                        "a reference is given back that was never had"
                    );
                }
                (Ok(Vec::new()), None)
            }
            Call::GetAll { path, .. } if path.contains("/job/") => {
                match self.systemd.jobs.iter().find(|(job, _)| job.object_path() == *path) {
                    Some((_, job)) => (Ok(vec![job_properties(job)]), None),
                    None => refuse("DBus.Error.UnknownObject"),
                }
            }
            Call::GetAll { path, .. } if path != "/" => match self.run_at(path) {
                Some(_) => (Ok(vec![state_of("active")]), None),
                None => refuse("systemd1.NoUnitForInvocationID"),
            },
            Call::Get { path, name, .. } => {
                let Some(unit) = self.unit_at(path) else {
                    self.systemd.run_was_over = true;
                    return refuse("systemd1.NoUnitForInvocationID");
                };
                let unit = unit.as_str();
                let run = self.systemd.active.get(unit);
                if name == "ActiveState" {
                    self.systemd.read.insert((unit.into(), self.systemd.state(unit)));
                }
                let value = match name.as_str() {
                    "ActiveState" => Value::from(self.systemd.state(unit)),
                    "ControlGroup" => Value::from(if run.is_some() { unit } else { "" }),
                    _ => Value::bytes(u128::from(*run.unwrap_or(&0)).to_be_bytes()),
                };
                (Ok(vec![Value::Variant(Box::new(value))]), None)
            }
            _ => (Ok(vec![variant("")]), None),
        }
    }

    /// The unit whose own path it is, or whose run's.
    fn unit_at(&self, path: &str) -> Option<String> {
        let run = |(_, run): &(&String, &u64)| systemd1::unit_path(&invocation(**run)) == path;
        let by_run = self.systemd.active.iter().find(run).map(|(unit, _)| unit.clone());
        let by_name = || self.askers.values().find(|asker| systemd1::unit_path(&asker.unit) == path);
        by_run.or_else(|| by_name().map(|asker| asker.unit.clone()))
    }

    /// The run whose own path it is, while it goes on.
    fn run_at(&self, path: &str) -> Option<u64> {
        self.systemd.active.values().copied().find(|run| systemd1::unit_path(&invocation(*run)) == path)
    }

    fn reply(&mut self, serial: u32, sender: Option<String>, result: Result<Vec<Value>, BusError>) {
        self.incoming(Incoming::Reply(Reply { serial, sender, result }));
    }

    pub(super) fn incoming(&mut self, message: Incoming) {
        self.router.incoming(self.now, message);
        self.drain();
    }

    /// One of the jobs under way ends; this client hears of it if it can.
    pub(super) fn end_job(&mut self, at: usize, well: bool) {
        self.end_job_by(at, well, Way::Sound);
    }

    pub(super) fn end_job_by(&mut self, at: usize, well: bool, way: Way) {
        let jobs: Vec<JobId> = self.systemd.jobs.keys().copied().collect();
        if self.owner.is_none() || jobs.is_empty() {
            return;
        }
        let id = jobs[at % jobs.len()];
        let Some(job) = self.systemd.jobs.remove(&id) else { return };
        let result = if well { JobResult::Done } else { JobResult::Failed };
        self.systemd.ended.push((id, job.unit.clone(), result.clone()));
        let is_active = self.systemd.active.contains_key(&job.unit);
        if well && job.starts && is_active {
            // Nothing is to be done.
        } else if well && job.starts {
            self.systemd.runs += 1;
            self.systemd.active.insert(job.unit.clone(), self.systemd.runs);
        } else if well {
            self.end_run(&job.unit);
        }
        let hears = job.connection == self.connection || self.subscribed || self.direct;
        let is_awaited = self.router.link.is_up() && !self.router.jobs.waiters(id).is_empty();
        assert!(hears || !is_awaited, "it waits for job {id}, of which it would not hear");
        if self.router.link.is_up() && way != Way::Lost && hears {
            self.systemd.heard.insert((id, job.unit.clone()));
            if way == Way::Twice {
                self.removed(id, &job.unit, result.clone(), self.sender());
            }
            self.removed(id, &job.unit, result, self.sender());
        }
    }

    /// A unit goes down; this client is told if it has a reference, or subscribes, and listens.
    fn end_run(&mut self, unit: &str) {
        let Some(run) = self.systemd.active.remove(unit) else { return };
        let references = self.systemd.references.remove(&run).unwrap_or_default();
        let path = systemd1::unit_path(unit);
        let listens =
            self.rules.contains(systemd1::UNIT_RULES[0]) || self.rules.contains(&systemd1::unit_rule(&path));
        let is_told = self.direct || (listens && (references > 0 || self.subscribed));
        if self.router.link.is_up() && is_told {
            self.systemd.told.insert(run);
            let change = UnitChange { active_state: Some("inactive".into()), ..UnitChange::default() };
            let news = UnitNews::Changed(path, change);
            self.incoming(Incoming::Unit { sender: self.sender(), news });
        }
    }

    /// The processes of a unit end by themselves.
    pub(super) fn exit(&mut self, unit: &str) {
        if self.owner.is_some() && !self.systemd.jobs.values().any(|job| job.unit == unit) {
            self.end_run(unit);
        }
    }

    pub(super) fn removed(&mut self, job: JobId, unit: &str, result: JobResult, sender: Option<String>) {
        self.incoming(Incoming::JobRemoved(JobRemoved { sender, job, unit: unit.into(), result }));
    }

    /// A stranger says anything: that a job is done, that a call is answered, that the name is its own.
    pub(super) fn forge(&mut self, what: usize, number: u32) {
        if self.direct {
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
        if self.direct {
            return self.disconnect();
        }
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

    /// Another manager takes the place of this one, and knows nothing of its units and jobs.
    pub(super) fn begin_anew(&mut self) {
        if self.owner.is_some() {
            self.change_owner();
        }
        let before = std::mem::take(&mut self.systemd);
        self.systemd = Systemd {
            runs: before.runs,
            ended: before.ended,
            told: before.told,
            read: before.read,
            run_was_over: before.run_was_over,
            ..Systemd::default()
        };
        // It has no memory of who subscribed to the other.
        self.subscribed = false;
        if self.owner.is_none() {
            self.change_owner();
        }
    }

    pub(super) fn disconnect(&mut self) {
        if matches!(self.router.link, Link::Down | Link::Connecting) {
            return;
        }
        self.losses += 1;
        self.subscribed = false;
        self.rules.clear();
        self.systemd.references.clear();
        self.calls.clear();
        self.held.clear();
        self.router.disconnected(self.now, "lost");
        self.drain();
    }

    /// The router may connect, where it wants to.
    pub(super) fn connect(&mut self, well: bool) {
        if !self.router.begin_connecting(self.now) {
            return;
        }
        if well {
            self.connection += 1;
            self.router.connected(self.now, self.direct);
        } else {
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
            }
        }
        assert!(self.router.in_flight.len() <= self.window, "the window is passed");
    }

    fn sent(&mut self, serial: u32, call: Call) {
        match self.router.in_flight.get(&serial).map(|call| call.purpose) {
            Some(Purpose::Request(RequestId(caller), _)) => {
                self.last_calls.insert(caller, serial);
                self.callers_of.insert(serial, caller)
            }
            _ => self.callers_of.remove(&serial),
        };
        match call {
            Call::Hello | Call::Ping => {}
            Call::AddMatch(rule) => assert!(self.rules.insert(rule.into_owned()), "it listens twice"),
            Call::RemoveMatch(rule) => assert!(self.rules.remove(&*rule), "it gives up what it has not"),
            Call::GetNameOwner => {
                let none = BusError { name: systemd1::NAME_HAS_NO_OWNER.into(), message: String::new() };
                let result = self.owner.clone().map(|owner| vec![Value::from(owner)]).ok_or(none);
                self.reply(serial, Some(BUS.into()), result);
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
            call if self.owner.is_none() => {
                drop(call);
                let none = BusError { name: systemd1::SERVICE_UNKNOWN.into(), message: String::new() };
                self.reply(serial, Some(BUS.into()), Err(none));
            }
            call => self.calls.push((serial, call)),
        }
    }

    fn look(&self, inspection: &Inspection) -> Findings {
        let Place::Exact(unit) = &inspection.place else { unreachable!("every place here is exact") };
        Findings {
            control_group: Some(unit.clone()),
            invocation: self.systemd.active.get(unit).map(|run| invocation(*run)),
            empty: self.systemd.active.contains_key(unit),
            ..Findings::default()
        }
    }

    /// Each caller gets one answer, and a true one.
    fn judge(&mut self, caller: u64, result: Result<Success, Error>) {
        let asker = &self.askers[&caller];
        let untouched = match &result {
            Err(Error::Connect { .. }) => true,
            Err(error) => matches!(error.stage(), Some(Stage::Connect | Stage::Queued)),
            Ok(_) => false,
        };
        assert!(!(untouched && self.changed.contains(&caller)), "something was changed, and yet: {result:?}");
        let ended = |job: &JobId, result: Option<&JobResult>| {
            let of_unit = |it: &&(JobId, String, JobResult)| it.0 == *job && it.1 == asker.unit;
            self.systemd.ended.iter().filter(of_unit).any(|it| result.is_none_or(|result| it.2 == *result))
        };
        let is_heard = |job: JobId| self.systemd.heard.contains(&(job, asker.unit.clone()));
        // Where the end of a job was not heard, the unit's own state is all that can be known of it.
        let done = |job: &JobId| {
            let unheard = !is_heard(*job) && (ended(job, None) || self.losses > 0);
            let wanted = if asker.ask == Ask::Stop { "inactive" } else { "active" };
            let as_wanted = self.systemd.read.contains(&(asker.unit.clone(), wanted))
                || (asker.ask == Ask::Stop && self.systemd.run_was_over);
            ended(job, Some(&JobResult::Done)) || (unheard && as_wanted)
        };
        match &result {
            Ok(Success::Job(job)) => {
                assert!(done(job), "a false success: {asker:?}, {result:?}, {:?}", self.systemd)
            }
            Ok(Success::Created(created)) => {
                assert!(
                    created.job.as_ref().is_some_and(done),
                    "a false success: {asker:?}, {result:?}, {:?}",
                    self.systemd
                );
            }
            Ok(Success::Answer(_)) => assert_eq!(asker.ask, Ask::Read),
            Ok(Success::Ended(_)) => {
                assert!(!self.systemd.active.values().any(|run| *run == asker.run), "it goes on");
            }
            Err(Error::JobFailed { job, result, .. }) => {
                assert!(ended(job, Some(result)), "it did not end so")
            }
            Err(Error::Timeout { job, stage, .. }) => {
                assert!(asker.overdue, "caller {caller} was told of a deadline that has not come");
                assert!(
                    *stage != Stage::Job || !job.is_some_and(is_heard),
                    "caller {caller} waited for a job that was over"
                );
                let is_answered =
                    self.last_calls.get(&caller).is_some_and(|call| self.answered.contains(call));
                assert!(
                    *stage != Stage::Call || !is_answered,
                    "caller {caller} waited for an answer that was there"
                );
                let is_told = self.systemd.told.contains(&asker.run);
                assert!(!is_told || *stage != Stage::Wait, "caller {caller} waited for a run that was over");
            }
            Err(Error::Disconnected { .. } | Error::Connect { .. }) => {
                assert!(self.losses > 0, "nothing was lost, and yet: {result:?}");
            }
            Err(Error::UnitExists { .. }) => assert!(matches!(asker.ask, Ask::Create | Ask::Replace)),
            Err(Error::NoSuchUnit { .. }) => assert!(matches!(asker.ask, Ask::Stop | Ask::Start)),
            Err(Error::AccessDenied { .. } | Error::Dbus { .. } | Error::Protocol { .. }) => {
                assert!(self.lies > 0, "nothing was refused, and yet: {result:?}");
            }
            Ok(Success::Changed(_)) | Err(_) => panic!("{result:?}"),
        }
        self.open.remove(&caller);
        let before = self.answers.insert(caller, result.map(drop));
        assert!(before.is_none(), "caller {caller} was answered twice");
    }

    /// All is well again, time passes, and nothing may be left.
    pub(super) fn settle(&mut self) {
        self.pass(1_000);
        assert!(self.open.is_empty(), "a caller has no answer");
        if self.owner.is_none() {
            self.change_owner();
        }
        self.pass(u64::try_from(UNANSWERED.as_millis()).unwrap_or(u64::MAX) + 1);
        let router = &self.router;
        assert!(router.requests.is_empty() && router.timers.is_empty() && router.line.is_empty());
        assert!(router.jobs.is_empty() && Lane::ALL.iter().all(|lane| router.jobs.under_way(*lane) == 0));
        assert!(!self.subscribed, "it is still subscribed");
        assert!(router.watches.is_empty() && router.owed.is_empty());
        assert!(self.rules.len() <= systemd1::MATCH_RULES.len(), "it still listens: {:?}", self.rules);
        while !self.calls.is_empty() {
            self.handle(0);
        }
        self.serve_one_more();
        let kept = self.systemd.references.iter().find(|(_, count)| **count > 0);
        assert!(kept.is_none() || self.lies + self.losses > 0, "a reference is kept: {kept:?}");
    }

    /// The driver is not wedged: whoever comes next is served.
    fn serve_one_more(&mut self) {
        let last = self.submit(Ask::Read, "u0.scope", 60_000);
        for _ in 0..100 {
            self.connect(true);
            while !self.calls.is_empty() {
                self.handle(0);
            }
            if self.answers.contains_key(&last) {
                break;
            }
            self.pass(500);
        }
        assert!(matches!(self.answers.get(&last), Some(Ok(()))), "{:?}", self.answers.get(&last));
    }

    /// Systemd answers all, and each job ends well, until nothing is under way.
    pub(super) fn rest(&mut self) {
        while !(self.calls.is_empty() && self.systemd.jobs.is_empty()) {
            self.handle(0);
            self.end_job(0, true);
        }
    }
}

/// One of few units; those named `d` are for processes that have ended before the unit is there.
pub(super) fn unit(number: u8) -> String {
    format!("{}{number}.scope", if number < 4 { 'u' } else { 'd' })
}

fn invocation(run: u64) -> String {
    format!("{run:032x}")
}

fn state_of(active: &str) -> Value {
    let entry = Value::Entry(Box::new((Value::from("ActiveState"), variant(active))));
    Value::Array("{sv}".into(), vec![entry])
}

fn job_properties(job: &Job) -> Value {
    let entry =
        |name: &str, value| Value::Entry(Box::new((Value::from(name), Value::Variant(Box::new(value)))));
    let unit = Value::Struct(vec![job.unit.as_str().into(), Value::Path(systemd1::unit_path(&job.unit))]);
    let kind = if job.starts { "start" } else { "stop" };
    Value::Array("{sv}".into(), vec![entry("Unit", unit), entry("JobType", kind.into())])
}

fn variant(text: &str) -> Value {
    Value::Variant(Box::new(Value::from(text)))
}

fn plan(ask: Ask, unit: &str, run: u64) -> Plan {
    let single = |operation, call| Plan::Single { asked: Asked::new(operation, Some(unit)), call };
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
            Plan::Wait(Box::new(Wait::new(Asked::new(Operation::Wait, Some(unit)), unit, run)))
        }
        Ask::Read => {
            let (path, interface) = ("/".into(), String::new());
            single(Operation::Get, Call::GetAll { path, interface })
        }
        Ask::Create | Ask::Replace => {
            let mounts = "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
            let layout = CgroupLayout::parse(mounts).expect("a hierarchy is mounted");
            let dying = unit.starts_with('d');
            let inspection = Inspection {
                place: Place::Exact(unit.into()),
                processes: dying.then_some(Process { pid: 7, started: 1 }).into_iter().collect(),
                limits: Vec::new(),
                invocation_link: None,
                layout: Arc::new(layout),
                everywhere: false,
            };
            let asked = Asked::new(Operation::CreateScope, Some(unit));
            let unknown = PidfdsUnknown::default();
            let mut create = Create::new(asked, unit.into(), Vec::new(), inspection, unknown);
            create.on_exists = if ask == Ask::Replace { OnExists::Replace } else { OnExists::Fail };
            Plan::Create(Box::new(create))
        }
    }
}
