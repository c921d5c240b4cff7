//! The systemd of this world: what it knows, how it carries a call out, and what it tells of jobs and units.

use std::collections::{BTreeMap, BTreeSet};

use super::{Caller, Way, World};
use crate::driver::router::{Entry, RequestId};
use crate::error::Stage;
use crate::job::{JobId, JobResult};
use crate::systemd1::{self, BUS, BusError, Call, Incoming, JobRemoved, Reply, UnitChange, UnitNews, Verb};
use crate::unit::Value;

#[derive(Clone, Debug)]
pub(super) struct Job {
    unit: String,
    pub starts: bool,
    /// The connection over which it was last asked for: that one hears of its end unasked.
    connection: u32,
}

/// What a manager knows.
#[derive(Debug, Default)]
pub(super) struct Systemd {
    /// The units that are active, each with the number of its run.
    pub active: BTreeMap<String, u64>,
    runs: u64,
    pub jobs: BTreeMap<JobId, Job>,
    /// How jobs ended, each with its unit: a manager that begins anew counts anew.
    pub ended: Vec<(JobId, String, JobResult)>,
    /// The states that were read of units.
    pub read: BTreeSet<(String, &'static str)>,
    /// Whether it was said of a run that it is over.
    pub run_was_over: bool,
    /// Jobs whose end went out to this client while it could hear it.
    pub heard: BTreeSet<(JobId, String)>,
    /// How many references to a unit this client has.
    pub references: BTreeMap<String, u32>,
    /// The runs whose end was told to this client.
    pub told: BTreeSet<u64>,
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

impl World {
    /// Systemd handles one of the calls it was sent, in any order.
    pub(in crate::driver::router) fn handle(&mut self, at: usize) -> Option<JobId> {
        self.handle_by(at, Way::Sound)
    }

    pub(in crate::driver::router) fn handle_by(&mut self, at: usize, way: Way) -> Option<JobId> {
        self.greet();
        if self.owner.is_none() || self.calls.is_empty() {
            return None;
        }
        let (serial, call) = self.take_call(at);
        let error = |name: &str| Err(BusError { name: name.into(), message: String::new() });
        let (mut sender, mut job) = (self.sender(), None);
        // There is no bus to refuse anything.
        let way = match (way, &call) {
            // Nobody would hear of a refusal, for no reply is wanted.
            (_, Call::Unref { .. }) => Way::Sound,
            // Its answer is empty, and that it is one is all it says.
            (Way::Garbled, Call::RunRef { .. }) => Way::Sound,
            (Way::NoRoom, _) if self.is_direct() => Way::Denied,
            (way, _) => way,
        };
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

    /// Any, but for those that change a reference: these in their order, and no other before an earlier one that gives
    /// a reference back.
    fn take_call(&mut self, at: usize) -> (u32, Call) {
        let gives_back = |(_, call): &(u32, Call)| matches!(call, Call::Unref { .. });
        let counts = |it: &(u32, Call)| gives_back(it) || matches!(it.1, Call::RunRef { .. });
        let at = at % self.calls.len();
        let in_order = counts(&self.calls[at]) || self.calls[..at].iter().any(gives_back);
        let first = self.calls.iter().position(counts).filter(|_| in_order);
        self.calls.remove(first.unwrap_or(at))
    }

    /// A reply that was held back arrives.
    pub(in crate::driver::router) fn release(&mut self, at: usize) {
        if !self.held.is_empty() {
            let reply = self.held.remove(at % self.held.len());
            self.answered.insert(reply.serial);
            self.incoming(Incoming::Reply(reply));
        }
    }

    pub(in crate::driver::router) fn handle_first(&mut self, calls: usize) {
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
            Call::RunRef { .. } if self.is_direct() => refuse("DBus.Error.InvalidArgs"),
            Call::RunRef { path } => match self.unit_of_run(path) {
                Some(unit) => {
                    let count = self.systemd.references.entry(unit).or_default();
                    *count += 1;
                    assert_eq!(*count, 1, "a second reference to one unit");
                    (Ok(Vec::new()), None)
                }
                None => refuse("systemd1.NoUnitForInvocationID"),
            },
            Call::Unref { path } => {
                let unit = self.unit_at(path).unwrap_or_default();
                self.systemd.references.remove(&unit);
                (Ok(Vec::new()), None)
            }
            Call::GetAll { path, .. } if path.contains("/job/") => {
                match self.systemd.jobs.iter().find(|(job, _)| job.object_path() == *path) {
                    Some((_, job)) => (Ok(vec![job_properties(job)]), None),
                    None => refuse("DBus.Error.UnknownObject"),
                }
            }
            Call::GetAll { path, .. } if path != "/" => match self.unit_of_run(path) {
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
    pub(super) fn unit_at(&self, path: &str) -> Option<String> {
        let by_run = self.unit_of_run(path);
        let by_name = || self.askers.values().find(|asker| systemd1::unit_path(&asker.unit) == path);
        by_run.or_else(|| by_name().map(|asker| asker.unit.clone()))
    }

    /// The unit whose run's path it is, while that goes on.
    fn unit_of_run(&self, path: &str) -> Option<String> {
        let is_it = |(_, run): &(&String, &u64)| systemd1::unit_path(&invocation(**run)) == path;
        self.systemd.active.iter().find(is_it).map(|(unit, _)| unit.clone())
    }

    /// One of the jobs under way ends; this client hears of it if it can.
    pub(in crate::driver::router) fn end_job(&mut self, at: usize, well: bool) {
        self.end_job_by(at, well, Way::Sound);
    }

    pub(in crate::driver::router) fn end_job_by(&mut self, at: usize, well: bool, way: Way) {
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
        let is_sent = job.connection == self.connection || self.subscribed;
        let hears = self.is_direct() || (is_sent && self.hears_of_jobs());
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
        let is_referred_to = self.systemd.references.contains_key(unit);
        let path = systemd1::unit_path(unit);
        let listens =
            self.rules.contains(systemd1::UNIT_RULES[0]) || self.rules.contains(&systemd1::unit_rule(&path));
        let is_told = self.is_direct() || (listens && (is_referred_to || self.subscribed));
        assert!(is_told || !self.is_followed(run), "it waits for {unit}, of which it would not hear");
        if self.router.link.is_up() && is_told {
            self.systemd.told.insert(run);
            let change = UnitChange { active_state: Some("inactive".into()), ..UnitChange::default() };
            let news = UnitNews::Changed(path, change);
            self.incoming(Incoming::Unit { sender: self.sender(), news });
        }
    }

    /// Whether somebody has done all there is to do to be told of a run's end.
    fn is_followed(&self, run: u64) -> bool {
        let follows = |RequestId(caller): &RequestId, entry: &Entry<Caller>| {
            entry.stage == Stage::Wait && entry.reply.is_some() && self.askers[caller].run == run
        };
        self.router.link.is_up() && self.router.requests.iter().any(|(id, entry)| follows(id, entry))
    }

    /// The processes of a unit end by themselves.
    pub(in crate::driver::router) fn exit(&mut self, unit: &str) {
        if self.owner.is_some() && !self.systemd.jobs.values().any(|job| job.unit == unit) {
            self.end_run(unit);
        }
    }

    pub(in crate::driver::router) fn removed(
        &mut self,
        job: JobId,
        unit: &str,
        result: JobResult,
        sender: Option<String>,
    ) {
        self.incoming(Incoming::JobRemoved(JobRemoved { sender, job, unit: unit.into(), result }));
    }

    /// Another manager takes the place of this one, and knows nothing of its units and jobs.
    pub(in crate::driver::router) fn begin_anew(&mut self) {
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

    /// Systemd answers all, and each job ends well, until nothing is under way.
    pub(in crate::driver::router) fn rest(&mut self) {
        while !(self.calls.is_empty() && self.systemd.jobs.is_empty()) {
            self.handle(0);
            self.end_job(0, true);
        }
    }
}

pub(super) fn invocation(run: u64) -> String {
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
