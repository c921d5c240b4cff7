//! The router: a pure state machine between the callers' requests and the manager's messages.
//!
//! It does no I/O, has no clock and no threads. Events and the time go in; it is asked what to do
//! ([`Router::output`]) and when to wake ([`Router::deadline`]). Its one surprising rule: a request that missed
//! its deadline is answered at once and yet stays in the table until what it left behind is settled.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::plan::{Event, Plan, Step, Success};
use super::stats::Stats;
use crate::cgroup::{Findings, Inspection};
use crate::error::{Error, Stage};
use crate::job::{JobId, JobResult, StageTimes};
use crate::systemd1::{self, BUS, BusError, Call, Incoming, JobRemoved, Reply};

/// How long what a late request left behind is followed before it is forgotten.
pub(crate) const SETTLE: Duration = Duration::from_secs(60);

/// How many results of unknown jobs are kept while a call may still turn out to have made one of them.
const MOST_EARLY: usize = 1024;

/// How many calls and jobs are under way at the most. systemd adds a match rule to its own connection for each
/// job's client, and drops off the bus when dbus-daemon's limit of 512 is passed, all clients' jobs together
/// (seen on 252, at 607 jobs): far below it, for this is not the only manager.
const MOST_JOBS: usize = 128;

/// A request's number in one router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(pub u64);

/// Where a request's one answer goes; the router never waits for it to be taken.
pub(crate) trait ReplyTo {
    /// Notes how far the request is, for a caller whose driver does not answer.
    fn reached(&self, stage: Stage, job: Option<JobId>);
}

/// The one answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub result: Result<Success, Error>,
    pub times: StageTimes,
}

/// What the loop is to do.
#[derive(Debug)]
pub(crate) enum Output<R> {
    /// Send this call under this serial; no reply is wanted where `wants_reply` is false.
    Send { serial: u32, call: Call, wants_reply: bool },
    /// Look at the kernel, and tell what was found.
    Inspect(RequestId, Box<Inspection>),
    /// Hand the answer over, without blocking.
    Deliver(R, Answer),
}

/// The state of the connection, as far as the router must know it.
#[derive(Debug, PartialEq, Eq)]
enum Link {
    Down,
    /// Connected to a bus; who owns the manager's name is not known yet.
    Greeting,
    Bus {
        owner: Option<String>,
    },
    /// The manager itself is the peer, and there are no senders.
    Direct,
}

#[derive(Debug)]
struct Entry<R> {
    plan: Plan,
    /// `None` once the answer was given: the entry is then only being settled.
    reply: Option<R>,
    stage: Stage,
    job: Option<JobId>,
    next: Option<Call>,
    deadline: Instant,
    submitted: Instant,
    marked: Instant,
    times: StageTimes,
}

/// A call that is on its way, with the owner of the manager's name when it was sent.
#[derive(Debug)]
struct InFlight {
    request: RequestId,
    owner: Option<String>,
    makes_job: bool,
}

#[derive(Debug)]
pub(crate) struct Router<R> {
    link: Link,
    window: usize,
    line: VecDeque<RequestId>,
    requests: HashMap<RequestId, Entry<R>>,
    in_flight: HashMap<u32, InFlight>,
    waiters: HashMap<JobId, Vec<RequestId>>,
    early: VecDeque<(JobId, JobResult)>,
    timers: BTreeSet<(Instant, RequestId)>,
    greeting: Option<u32>,
    next_serial: u32,
    outputs: VecDeque<Output<R>>,
    pub(crate) stats: Stats,
}

impl<R: ReplyTo> Router<R> {
    /// A router that keeps at most `window` calls in flight.
    pub(crate) fn new(window: usize) -> Router<R> {
        Router {
            link: Link::Down,
            window: window.max(1),
            line: VecDeque::new(),
            requests: HashMap::new(),
            in_flight: HashMap::new(),
            waiters: HashMap::new(),
            early: VecDeque::new(),
            timers: BTreeSet::new(),
            greeting: None,
            next_serial: 1,
            outputs: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// The next thing to do, until there is none.
    pub(crate) fn output(&mut self) -> Option<Output<R>> {
        self.outputs.pop_front()
    }

    /// When [`Router::tick`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// Whether requests wait for a connection that nobody is making.
    pub(crate) fn wants_connection(&self) -> bool {
        self.link == Link::Down && !self.line.is_empty()
    }

    pub(crate) fn stats(&self) -> Stats {
        let settling = self.requests.values().filter(|entry| entry.reply.is_none()).count();
        Stats {
            queued: self.line.len(),
            in_flight: self.in_flight.len(),
            requests: self.requests.len() - settling,
            settling,
            ..self.stats.clone()
        }
    }

    /// Takes a request on. Its answer is given exactly once, by its deadline.
    pub(crate) fn submit(&mut self, now: Instant, id: RequestId, plan: Plan, deadline: Instant, reply: R) {
        let entry = Entry {
            plan,
            reply: Some(reply),
            stage: self.waiting_stage(),
            job: None,
            next: None,
            deadline,
            submitted: now,
            marked: now,
            times: StageTimes::default(),
        };
        self.requests.insert(id, entry);
        self.timers.insert((deadline, id));
        if deadline <= now {
            return self.expire(now, id);
        }
        let Some(entry) = self.requests.get_mut(&id) else { return };
        let step = entry.plan.start();
        self.take_step(now, id, step);
        self.send_what_fits(now);
    }

    fn waiting_stage(&self) -> Stage {
        if matches!(self.link, Link::Down | Link::Greeting) { Stage::Connect } else { Stage::Queued }
    }

    /// The caller gives up before its deadline.
    pub(crate) fn abandon(&mut self, now: Instant, id: RequestId) {
        if self.requests.get(&id).is_some_and(|entry| entry.reply.is_some()) {
            self.expire(now, id);
            self.send_what_fits(now);
        }
    }

    /// A connection is there; on a bus, it must first introduce itself.
    pub(crate) fn connected(&mut self, now: Instant, direct: bool) {
        if direct {
            self.link = Link::Direct;
        } else {
            self.link = Link::Greeting;
            self.push_send(Call::Hello, false);
            for rule in systemd1::MATCH_RULES {
                self.push_send(Call::AddMatch(rule), false);
            }
            self.greeting = Some(self.push_send(Call::GetNameOwner, true));
        }
        self.send_what_fits(now);
    }

    /// No connection could be made: whoever waits for one is told.
    pub(crate) fn connect_failed(&mut self, now: Instant, error: impl Fn() -> Error) {
        self.link = Link::Down;
        for id in std::mem::take(&mut self.line) {
            self.answer(now, id, Err(error()));
            self.forget(id);
        }
    }

    /// The connection is gone, and with it the answers to all that was under way on it.
    pub(crate) fn disconnected(&mut self, now: Instant, why: impl Fn() -> Error) {
        let greeting = self.link == Link::Greeting;
        self.link = Link::Down;
        self.greeting = None;
        self.in_flight.clear();
        self.waiters.clear();
        self.early.clear();
        if greeting {
            self.connect_failed(now, why);
        }
        let waiting: BTreeSet<RequestId> = self.line.iter().copied().collect();
        let mut lost: Vec<RequestId> =
            self.requests.keys().copied().filter(|id| !waiting.contains(id)).collect();
        lost.sort_unstable();
        for id in lost {
            let Some(entry) = self.requests.get(&id) else { continue };
            if entry.stage == Stage::Verify && entry.reply.is_some() {
                continue;
            }
            let error =
                Error::Disconnected { asked: entry.plan.asked().clone(), stage: entry.stage, job: entry.job };
            self.answer(now, id, Err(error));
            self.forget(id);
        }
        for id in waiting {
            self.reach(id, Stage::Connect);
        }
    }

    /// A message came in.
    pub(crate) fn incoming(&mut self, now: Instant, message: Incoming) {
        match message {
            Incoming::Reply(reply) => self.on_reply(now, reply),
            Incoming::JobRemoved(removed) => self.on_job_removed(now, removed),
            Incoming::Owner { sender, owner } => self.on_owner(sender.as_deref(), owner),
        }
        self.send_what_fits(now);
    }

    /// The kernel was looked at.
    pub(crate) fn inspected(&mut self, now: Instant, id: RequestId, findings: Findings) {
        self.advance(now, id, Event::Inspected(findings));
        self.send_what_fits(now);
    }

    /// Answers every request whose deadline has come.
    pub(crate) fn tick(&mut self, now: Instant) {
        while let Some(&(at, id)) = self.timers.first().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            self.expire(now, id);
        }
        self.send_what_fits(now);
    }

    fn expire(&mut self, now: Instant, id: RequestId) {
        let Some(entry) = self.requests.get_mut(&id) else { return };
        if entry.reply.is_none() {
            return self.forget(id);
        }
        let (stage, job) = (entry.stage, entry.job);
        let error = Error::Timeout {
            asked: entry.plan.asked().clone(),
            stage,
            job,
            waited: now.saturating_duration_since(entry.submitted),
        };
        self.answer(now, id, Err(error));
        match (stage, job) {
            (Stage::Call, _) => self.settle_until(now + SETTLE, id),
            (Stage::Job, Some(job)) => {
                self.cancel_if_ours(id, job);
                self.settle_until(now + SETTLE, id);
            }
            _ => self.forget(id),
        }
    }

    fn settle_until(&mut self, until: Instant, id: RequestId) {
        if let Some(entry) = self.requests.get_mut(&id) {
            self.timers.remove(&(entry.deadline, id));
            entry.deadline = until;
            self.timers.insert((until, id));
        }
    }

    /// Cancels a late create's own job, unless somebody else waits for it too.
    fn cancel_if_ours(&mut self, id: RequestId, job: JobId) {
        let ours = self.requests.get(&id).is_some_and(|entry| entry.plan.owns_its_job());
        let waiters = self.waiters.get(&job).map_or(&[][..], Vec::as_slice);
        let wanted =
            waiters.iter().any(|waiter| self.requests.get(waiter).is_some_and(|e| e.reply.is_some()));
        if ours && !wanted {
            self.push_send(Call::CancelJob(job), false);
        }
    }

    /// Whether a message comes from the manager. Anybody may send anything to anybody on a bus; only the
    /// sender, which the bus itself writes, cannot be forged.
    fn is_manager(&self, sender: Option<&str>) -> bool {
        match &self.link {
            Link::Direct => true,
            Link::Bus { owner } => sender.is_some() && sender == owner.as_deref(),
            Link::Down | Link::Greeting => false,
        }
    }

    fn on_owner(&mut self, sender: Option<&str>, new: Option<String>) {
        if let Link::Bus { owner } = &mut self.link {
            if sender == Some(BUS) {
                *owner = new;
            } else {
                self.stats.foreign += 1;
            }
        }
    }

    fn on_greeted(&mut self, reply: &Reply) {
        if reply.sender.as_deref() != Some(BUS) {
            self.stats.foreign += 1;
            return;
        }
        self.greeting = None;
        let owner = reply.result.as_ref().ok().and_then(|values| values.first()?.as_str().map(String::from));
        self.link = Link::Bus { owner };
        for id in self.line.iter().copied().collect::<Vec<_>>() {
            self.reach(id, Stage::Queued);
        }
    }

    fn on_reply(&mut self, now: Instant, reply: Reply) {
        if self.greeting == Some(reply.serial) {
            return self.on_greeted(&reply);
        }
        let sender = reply.sender.as_deref();
        let Some(call) = self.in_flight.get(&reply.serial) else { return };
        let from_addressee = sender.is_some() && sender == call.owner.as_deref();
        let from_bus = sender == Some(BUS) && reply.result.is_err();
        if !(self.is_manager(sender) || from_addressee || from_bus) {
            self.stats.foreign += 1;
            return;
        }
        let Some(call) = self.in_flight.remove(&reply.serial) else { return };
        match reply.result {
            Ok(values) if call.makes_job => self.on_job_made(now, call.request, &values),
            Ok(values) => self.advance(now, call.request, Event::Answer(values)),
            Err(error) if error.name == "org.freedesktop.DBus.Error.LimitsExceeded" => {
                self.send_again(now, call.request, error);
            }
            Err(error) => self.advance(now, call.request, Event::Refused(error)),
        }
        if !self.in_flight.values().any(|call| call.makes_job) {
            self.early.clear();
        }
    }

    /// The bus had no room for the call, so it was never delivered: it waits in line again while others of
    /// ours are in flight, whose end makes room.
    fn send_again(&mut self, now: Instant, id: RequestId, error: BusError) {
        let alone = self.in_flight.is_empty();
        match self.requests.get_mut(&id) {
            Some(entry) if !alone && entry.reply.is_some() && entry.next.is_some() => {
                self.window = self.in_flight.len().max(1);
                self.line.push_front(id);
                self.reach(id, Stage::Queued);
            }
            _ => self.advance(now, id, Event::Refused(error)),
        }
    }

    fn on_job_made(&mut self, now: Instant, id: RequestId, values: &[crate::unit::Value]) {
        let job = values.first().and_then(|path| JobId::from_path(path.as_str()?));
        let Some(job) = job else {
            let error = BusError {
                name: "org.freedesktop.DBus.Error.InvalidSignature".into(),
                message: "the answer is not the path of a job".into(),
            };
            return self.advance(now, id, Event::Refused(error));
        };
        let Some(entry) = self.requests.get_mut(&id) else { return };
        entry.job = Some(job);
        entry.times.accepted += now.saturating_duration_since(entry.marked);
        entry.marked = now;
        let late = entry.reply.is_none();
        self.reach(id, Stage::Job);
        if let Some(at) = self.early.iter().position(|(early, _)| *early == job) {
            let result = self.early.remove(at).map_or(JobResult::Done, |(_, result)| result);
            return self.on_job_over(now, id, job, result);
        }
        self.waiters.entry(job).or_default().push(id);
        if late {
            self.cancel_if_ours(id, job);
        }
    }

    fn on_job_removed(&mut self, now: Instant, removed: JobRemoved) {
        if !self.is_manager(removed.sender.as_deref()) {
            self.stats.foreign += 1;
            return;
        }
        match self.waiters.remove(&removed.job) {
            Some(waiters) => {
                for id in waiters {
                    self.on_job_over(now, id, removed.job, removed.result.clone());
                }
                // A call still on its way may be answered with the same job's path.
                self.remember(removed.job, removed.result);
            }
            None => self.remember(removed.job, removed.result),
        }
    }

    fn remember(&mut self, job: JobId, result: JobResult) {
        if !self.in_flight.values().any(|call| call.makes_job) {
            return;
        }
        if self.early.len() == MOST_EARLY {
            self.early.pop_front();
        }
        self.early.push_back((job, result));
    }

    fn on_job_over(&mut self, now: Instant, id: RequestId, job: JobId, result: JobResult) {
        let Some(entry) = self.requests.get_mut(&id) else { return };
        entry.times.done += now.saturating_duration_since(entry.marked);
        entry.marked = now;
        if entry.reply.is_some() {
            return self.advance(now, id, Event::Job(job, result));
        }
        self.stats.late += 1;
        log::info!("{}: job {job} ended as {result} after its caller's deadline", entry.plan.asked());
        self.forget(id);
    }

    fn advance(&mut self, now: Instant, id: RequestId, event: Event) {
        let Some(entry) = self.requests.get_mut(&id) else { return };
        if entry.reply.is_none() {
            return self.forget(id);
        }
        let since = now.saturating_duration_since(entry.marked);
        match event {
            Event::Inspected(_) => entry.times.verified += since,
            Event::Answer(_) | Event::Refused(_) => entry.times.accepted += since,
            Event::Job(..) => {}
        }
        entry.marked = now;
        let step = entry.plan.advance(event);
        self.take_step(now, id, step);
    }

    fn take_step(&mut self, now: Instant, id: RequestId, step: Step) {
        match step {
            Step::Call(call) => {
                let first = self.requests.get_mut(&id).is_some_and(|entry| {
                    entry.next = Some(call);
                    entry.times == StageTimes::default()
                });
                // A request that is half way goes on before new ones begin.
                if first {
                    self.line.push_back(id)
                } else {
                    self.line.push_front(id)
                }
                self.reach(id, self.waiting_stage());
            }
            Step::Inspect(inspection) => {
                self.reach(id, Stage::Verify);
                self.outputs.push_back(Output::Inspect(id, inspection));
            }
            Step::Finish(result) => {
                self.answer(now, id, result);
                self.forget(id);
            }
        }
    }

    fn send_what_fits(&mut self, now: Instant) {
        let owner = match &self.link {
            Link::Bus { owner } => owner.clone(),
            Link::Direct => None,
            Link::Down | Link::Greeting => return,
        };
        while self.in_flight.len() < self.window && self.in_flight.len() + self.waiters.len() < MOST_JOBS {
            let Some(id) = self.line.pop_front() else { return };
            let Some(call) = self.requests.get_mut(&id).and_then(|entry| {
                entry.times.queued += now.saturating_duration_since(entry.marked);
                entry.marked = now;
                entry.next.clone()
            }) else {
                continue;
            };
            let makes_job = call.makes_job();
            let serial = self.push_send(call, true);
            self.in_flight.insert(serial, InFlight { request: id, owner: owner.clone(), makes_job });
            self.reach(id, Stage::Call);
        }
    }

    fn push_send(&mut self, call: Call, wants_reply: bool) -> u32 {
        while self.next_serial == 0 || self.in_flight.contains_key(&self.next_serial) {
            self.next_serial = self.next_serial.wrapping_add(1);
        }
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        self.outputs.push_back(Output::Send { serial, call, wants_reply });
        serial
    }

    fn reach(&mut self, id: RequestId, stage: Stage) {
        if let Some(entry) = self.requests.get_mut(&id) {
            entry.stage = stage;
            if let Some(reply) = &entry.reply {
                reply.reached(stage, entry.job);
            }
        }
    }

    fn answer(&mut self, now: Instant, id: RequestId, result: Result<Success, Error>) {
        let Some(entry) = self.requests.get_mut(&id) else { return };
        let Some(reply) = entry.reply.take() else { return };
        self.stats.count(&result, now.saturating_duration_since(entry.submitted));
        let times = entry.times;
        self.outputs.push_back(Output::Deliver(reply, Answer { result, times }));
    }

    fn forget(&mut self, id: RequestId) {
        let Some(entry) = self.requests.remove(&id) else { return };
        self.timers.remove(&(entry.deadline, id));
        self.line.retain(|waiting| *waiting != id);
        if let Some(waiters) = entry.job.and_then(|job| self.waiters.get_mut(&job)) {
            waiters.retain(|waiter| *waiter != id);
        }
        if let Some(job) = entry.job.filter(|job| self.waiters.get(job).is_some_and(Vec::is_empty)) {
            self.waiters.remove(&job);
        }
    }
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
