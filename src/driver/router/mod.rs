//! The router: a pure state machine between the callers' requests and the manager's messages.
//!
//! It does no I/O, has no clock and no threads. Events and the time go in; it is asked what to do
//! ([`Router::output`]) and when to wake ([`Router::deadline`]). Its one surprising rule: a request that missed
//! its deadline is answered at once and yet stays in the table until what it left behind is settled.
//!
//! This file has the callers' side; `link` has the connection's life, `messages` what comes over it, `line` who
//! goes next, `jobs` who waits for which job, `watches` who is told of which unit, `references` which units are held for
//! that, `relook` what is asked where an end was not heard, and `rest` what is not kept up while nothing is asked;
//! `late` has what follows a missed deadline, `order` keeps creations in order, `entry` is what is kept of a request,
//! and `table` what all keep their entries in.

mod entry;
mod jobs;
mod late;
mod line;
mod link;
mod messages;
mod order;
mod references;
mod relook;
mod rest;
mod table;
mod watches;

use std::collections::VecDeque;
use std::time::Instant;

use super::plan::{Event, Plan, Step, Success};
use super::stats::Stats;
use crate::cgroup::{Findings, Inspection};
use crate::error::{Error, Stage};
use crate::job::{JobId, StageTimes};
use crate::systemd1::Call;
use entry::{Asking, Entry};
use jobs::Jobs;
use late::SETTLE;
use line::{Lane, Line};
pub(crate) use link::Refusal;
use link::{Absence, Greeting, Link, Nudge};
use rest::Rest;
use table::Table;
pub use watches::UnitEvent;
use watches::{Hearing, Watches};
pub(crate) use watches::{WatchId, Watcher};

/// A request's number in one router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(pub u64);

/// Where a request's one answer goes; the router never waits for it to be taken.
pub(crate) trait ReplyTo: 'static {
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
    /// End the connection, which is of no use, and tell that it has ended.
    HangUp,
    /// End the connection, which nobody needs for now. That is no loss.
    LetGo,
}

/// What an answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Request(RequestId, Lane),
    /// Whether a job is still there.
    LookAtJob(JobId),
    /// What the unit of a request that waits for it has come to, where it is not.
    LookAtUnit(JobId, RequestId),
}

/// A call that is on its way, with the owner of the manager's name when it was sent.
#[derive(Debug)]
struct InFlight {
    number: u64,
    sent: Instant,
    purpose: Purpose,
    owner: Option<String>,
}

impl InFlight {
    fn makes_job(&self) -> bool {
        matches!(self.purpose, Purpose::Request(_, Lane::Creation | Lane::Job))
    }
}

#[derive(Debug)]
pub(crate) struct Router<R: 'static> {
    address: String,
    link: Link,
    greeting: Option<Greeting>,
    absence: Option<Absence>,
    nudge: Option<Nudge>,
    rest: Rest,
    /// When the connection was made.
    connected: Option<Instant>,
    /// Whether the direct peer has said anything over this connection.
    is_heard: bool,
    /// Whether a manager has answered to this router before, so that its absence is likely to end.
    reached: bool,
    subscribed: bool,
    watches: Watches,
    /// Until when creations that have not begun let others go first.
    held_until: Option<Instant>,
    /// `None` until units are to be heard of.
    hearing: Option<&'static Hearing<R>>,
    /// Units whose references are to be given back once the manager is there to take them.
    owed: Vec<String>,
    window: usize,
    most_in_flight: usize,
    /// Good answers since the window was last changed.
    answered: usize,
    line: Line,
    requests: Table<RequestId, Box<Entry<R>>>,
    in_flight: Table<u32, InFlight>,
    jobs: Jobs,
    /// The looks that are due.
    to_look: VecDeque<Purpose>,
    timers: Table<(Instant, RequestId), ()>,
    next_serial: u32,
    calls_sent: u64,
    outputs: VecDeque<Output<R>>,
    stats: Stats,
}

impl<R: ReplyTo> Router<R> {
    /// A router to the manager at `address` that keeps at most `window` calls in flight.
    pub(crate) fn new(address: impl Into<String>, window: usize) -> Router<R> {
        Router {
            address: address.into(),
            link: Link::Down,
            greeting: None,
            absence: None,
            nudge: None,
            rest: Rest::default(),
            connected: None,
            is_heard: false,
            reached: false,
            subscribed: false,
            watches: Watches::default(),
            held_until: None,
            hearing: None,
            owed: Vec::new(),
            window: window.max(1),
            most_in_flight: window.max(1),
            answered: 0,
            line: Line::default(),
            requests: Table::default(),
            in_flight: Table::default(),
            jobs: Jobs::default(),
            to_look: VecDeque::new(),
            timers: Table::default(),
            next_serial: 1,
            calls_sent: 0,
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
        let first = self.timers.first().map(|&(at, _)| at);
        first
            .into_iter()
            .chain(self.absence_ends())
            .chain(self.nudge_is_due())
            .chain(self.rest.at())
            .chain(self.held_until)
            .min()
    }

    pub(crate) fn stats(&self) -> Stats {
        let settling = self.requests.values().filter(|entry| entry.reply.is_none()).count();
        Stats {
            queued: self.line.len(),
            in_flight: self.in_flight.len(),
            requests: self.requests.len() - settling,
            settling,
            window: self.window,
            ..self.stats.clone()
        }
    }

    /// Takes a request on. Its answer is given exactly once, by its deadline.
    pub(crate) fn submit(
        &mut self,
        now: Instant,
        id: RequestId,
        plan: Box<dyn Plan>,
        deadline: Instant,
        reply: R,
    ) {
        let entry = Entry {
            plan,
            reply: Some(reply),
            settling: false,
            half_way: false,
            stage: self.waiting_stage(false),
            place: None,
            job: None,
            asking: None,
            deadline,
            submitted: now,
            times: None,
        };
        self.requests.insert(id, Box::new(entry));
        self.timers.insert((deadline, id), ());
        if deadline <= now {
            return self.expire(now, id);
        }
        let Some(entry) = self.requests.get_mut(&id) else { return };
        debug_assert!(
            self.hearing.is_some() || entry.plan.as_wait().is_none(),
            "nobody would hear of its unit"
        );
        let step = entry.plan.start();
        self.take_step(now, id, step);
        self.send_what_fits(now);
    }

    /// The caller gives up before its deadline.
    pub(crate) fn abandon(&mut self, now: Instant, id: RequestId) {
        if self.requests.get(&id).is_some_and(|entry| entry.reply.is_some()) {
            self.expire(now, id);
            self.send_what_fits(now);
        }
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
        self.lose_hope(now);
        self.nudge(now);
        self.send_what_fits(now);
        self.hang_up_where_clogged(now);
        self.rest(now);
    }

    fn advance(&mut self, now: Instant, id: RequestId, event: Event) {
        let Some(entry) = self.requests.get_mut(&id) else { return };
        if entry.reply.is_none() && !entry.settling {
            return self.forget(id);
        }
        if let Event::Answer(_) = event {
            entry.half_way |= entry.asking.as_ref().is_some_and(|asking| !asking.may_be_repeated());
        }
        let (times, since) = entry.mark(now);
        match event {
            Event::Inspected(_) => times.verified += since,
            Event::Answer(_) | Event::Refused(_) => times.accepted += since,
            Event::Job(..) | Event::Changed(_) => {}
        }
        let step = entry.plan.advance(event);
        self.take_step(now, id, step);
    }

    fn take_step(&mut self, now: Instant, id: RequestId, mut step: Step) {
        if let Some(hearing) = self.hearing {
            (hearing.listen_for)(self, id, &mut step);
        }
        match step {
            Step::Call(call) => self.line_up(id, Some(Asking::Call(Box::new(call)))),
            Step::Create => self.line_up(id, Some(Asking::Creation)),
            Step::Follow => self.reach(id, Stage::Wait),
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

    /// Lets a request wait for room for its next call, or for its last one again where none is given.
    fn line_up(&mut self, id: RequestId, next: Option<Asking>) {
        let Some(entry) = self.requests.get_mut(&id) else { return };
        let has_begun = entry.asking.is_some();
        if let Some(next) = next {
            if next.lane() != Lane::Answer {
                entry.job = None;
            }
            entry.asking = Some(next);
        }
        let Some(asking) = &entry.asking else { return };
        entry.place = Some(self.line.join(id, asking.lane(), has_begun));
        let half_way = entry.half_way;
        self.reach(id, self.waiting_stage(half_way));
    }

    fn send_what_fits(&mut self, now: Instant) {
        self.ask_ahead(now);
        let lets_others_go_first = self.lets_others_go_first(now);
        while self.manager_is_there() && self.in_flight.len() < self.window {
            self.expect_word();
            if let Some(look) = self.to_look.pop_front() {
                self.look(now, look);
                continue;
            }
            let room = Lane::ALL.map(|lane| self.has_room(lane));
            let held = |lane, begins| lane == Lane::Creation && begins && lets_others_go_first;
            let Some(id) = self.line.next(|lane, begins| room[lane as usize] && !held(lane, begins)) else {
                break;
            };
            self.send(now, id);
        }
        self.note_rest(now);
    }

    /// Over the manager's own socket there is no bus whose limit could be passed.
    fn has_room(&self, lane: Lane) -> bool {
        let in_lane = |call: &&InFlight| matches!(call.purpose, Purpose::Request(_, of) if of == lane);
        let under_way = self.jobs.under_way(lane) + self.in_flight.values().filter(in_lane).count();
        self.link == Link::Direct || under_way < lane.most()
    }

    fn send(&mut self, now: Instant, id: RequestId) {
        let Some(entry) = self.requests.get_mut(&id) else { return };
        entry.place = None;
        if entry.reply.is_some() && entry.deadline <= now {
            // Its caller may have told itself already that nothing was sent.
            return self.expire(now, id);
        }
        let (times, since) = entry.mark(now);
        times.queued += since;
        if self.hearing.is_some_and(|hearing| (hearing.shares_a_reference)(self, now, id)) {
            return;
        }
        let Some(call) = self.requests.get_mut(&id).and_then(|entry| entry.next_call()) else { return };
        let purpose = Purpose::Request(id, Lane::of(&call));
        self.push_call(now, call, purpose);
        if self.link.is_up() {
            self.reach(id, Stage::Call);
        }
    }

    fn push_call(&mut self, now: Instant, call: Call, purpose: Purpose) {
        if call.makes_job() {
            self.hear_of_jobs();
        }
        let owner = self.link.owner().map(String::from);
        let serial = self.push_send(call, true);
        self.calls_sent += 1;
        self.in_flight.insert(serial, InFlight { number: self.calls_sent, sent: now, purpose, owner });
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
        let times = entry.times.as_ref().map(|times| times.stages).unwrap_or_default();
        self.outputs.push_back(Output::Deliver(reply, Answer { result, times }));
    }

    fn fail(&mut self, now: Instant, id: RequestId, error: Error) {
        self.answer(now, id, Err(error));
        self.forget(id);
    }

    fn forget(&mut self, id: RequestId) {
        let Some(mut entry) = self.requests.remove(&id) else { return };
        self.timers.remove(&(entry.deadline, id));
        if let Some(place) = entry.place {
            self.line.leave(place);
        }
        if let (Some(hearing), Some(wait)) = (self.hearing, entry.plan.as_wait()) {
            (hearing.part)(self, id, wait);
        }
        if let Some(job) = entry.job {
            self.jobs.leave(job, id);
            self.listen_as_needed();
        }
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
