//! The connection's life as the router must know it: greeting, loss, and what is borne until it is back.

use std::time::{Duration, Instant};

use super::{Asking, InFlight, Lane, Output, Purpose, ReplyTo, RequestId, Router, SETTLE, relook};
use crate::error::{Error, Stage};
use crate::job::JobId;
use crate::systemd1::{self, BUS, BusError, Call, Reply};

/// How long the absence of a manager that was there before is borne, inside each request's own deadline. A
/// restarted bus or manager is back sooner; one that is gone is not waited for by every later call in turn.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// As long as an answer takes where nothing lies: a program's first call is not to wait for more.
const FIRST_NUDGE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Why there is no connection.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// Whether it may be gone in a moment: no descriptor, no memory or no place was free.
    pub passing: bool,
    /// Whether it is for want of rights.
    pub denied: bool,
    pub reason: String,
}

impl Refusal {
    pub(crate) fn new(reason: impl Into<String>) -> Refusal {
        Refusal { passing: false, denied: false, reason: reason.into() }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Link {
    Down,
    Connecting,
    /// Connected to a bus; who owns the manager's name is not known yet.
    Greeting,
    Bus {
        owner: Option<String>,
    },
    /// The manager itself is the peer, and there are no senders.
    Direct,
}

impl Link {
    pub(super) fn is_up(&self) -> bool {
        matches!(self, Link::Bus { .. } | Link::Direct)
    }

    pub(super) fn owner(&self) -> Option<&str> {
        match self {
            Link::Bus { owner } => owner.as_deref(),
            _ => None,
        }
    }
}

/// The calls by which a connection introduces itself to a bus.
#[derive(Debug)]
pub(super) struct Greeting {
    hello: u32,
    owner: u32,
    refusal: Option<BusError>,
}

/// A time in which the manager is out of reach and expected back.
#[derive(Debug)]
pub(super) struct Absence {
    until: Instant,
    retry: Instant,
    pause: Duration,
}

impl Absence {
    fn new(now: Instant) -> Absence {
        Absence { until: now + PATIENCE, retry: now, pause: FIRST_PAUSE }
    }
}

/// When a direct peer that has not answered anything yet is sent something more.
///
/// systemd lets a call lie that it has read together with the end of the authentication, until more comes (seen on
/// 252): `BEGIN` and the call in one read, and there is no answer to wait for.
#[derive(Debug)]
pub(super) struct Nudge {
    /// `None` while what was sent last waits for the authentication: more would lie with it.
    at: Option<Instant>,
    pause: Duration,
}

impl<R: ReplyTo> Router<R> {
    /// When the silent peer is due for more; never once it has spoken, or where nothing is asked of it.
    pub(super) fn nudge_is_due(&self) -> Option<Instant> {
        self.nudge.as_ref().filter(|_| !self.in_flight.is_empty()).and_then(|nudge| nudge.at)
    }

    /// A call goes out, which a peer that has not spoken may need to be nudged about.
    pub(super) fn expect_word(&mut self) {
        if let Some(nudge) = self.nudge.as_mut().filter(|_| self.in_flight.is_empty()) {
            nudge.at = None;
        }
    }

    /// All that was sent is in the socket, and none of it waits for the authentication any more.
    pub(crate) fn all_is_out(&mut self, now: Instant) {
        if let Some(nudge) = self.nudge.as_mut().filter(|nudge| nudge.at.is_none()) {
            nudge.at = Some(now + nudge.pause);
        }
    }

    pub(super) fn nudge(&mut self, now: Instant) {
        if self.nudge_is_due().is_none_or(|at| at > now) {
            return;
        }
        if let Some(nudge) = &mut self.nudge {
            nudge.pause = LONGEST_PAUSE.min(nudge.pause * 5 / 4);
            nudge.at = None;
            self.push_send(Call::Ping, false);
        }
    }

    /// The stage of a request that waits for its first call to be sent, or, once one that changes something was,
    /// for the next.
    pub(super) fn waiting_stage(&self, half_way: bool) -> Stage {
        match () {
            () if half_way => Stage::HalfWay,
            () if self.manager_is_there() => Stage::Queued,
            () => Stage::Connect,
        }
    }

    /// Whether calls may go out. To a bus without a manager they do only where none was ever seen on it: the
    /// bus's refusal is then the answer.
    pub(super) fn manager_is_there(&self) -> bool {
        match &self.link {
            Link::Direct => true,
            Link::Bus { owner } => owner.is_some() || self.absence.is_none(),
            Link::Down | Link::Connecting | Link::Greeting => false,
        }
    }

    /// Asks what only reads before it is known whom: once the bus has said who that is, an answer counts only where it
    /// is theirs. Not of a bus whose manager may be away, which would refuse.
    pub(super) fn ask_ahead(&mut self, now: Instant) {
        let is_first = self.link == Link::Greeting && !self.reached && self.absence.is_none();
        while is_first && self.in_flight.len() < self.window {
            let Some(id) = self.line.first(Lane::Answer) else { return };
            let Some(entry) = self.requests.get_mut(&id) else { return };
            let only_reads = entry.asking.as_ref().is_some_and(Asking::may_be_repeated);
            // A wait is to hear of its unit first.
            let Some(place) = entry.place.filter(|_| only_reads && entry.plan.as_wait().is_none()) else {
                return;
            };
            self.line.leave(place);
            self.send(now, id);
        }
    }

    /// What was asked ahead was asked of this owner.
    fn is_asked(&mut self, owner: Option<&str>) {
        for (serial, call) in self.in_flight.take() {
            if let Purpose::Request(id, _) = call.purpose {
                self.reach(id, Stage::Call);
            }
            self.in_flight.insert(serial, InFlight { owner: owner.map(String::from), ..call });
        }
    }

    fn somebody_waits(&self) -> bool {
        !self.line.is_empty() || !self.jobs.is_empty() || self.watches.has_watchers()
    }

    /// Whether a connection is to be made now; it is then taken to be under way.
    pub(crate) fn begin_connecting(&mut self, now: Instant) -> bool {
        let due = self.absence.as_ref().is_none_or(|absence| absence.retry <= now);
        let begin = self.link == Link::Down && due && self.somebody_waits();
        if begin {
            self.link = Link::Connecting;
        }
        begin
    }

    /// A connection is under way that nobody has asked for yet.
    pub(crate) fn is_being_connected(&mut self) {
        self.link = Link::Connecting;
    }

    /// When the loop must wake for a manager that is out of reach.
    pub(super) fn absence_ends(&self) -> Option<Instant> {
        let absence = self.absence.as_ref().filter(|_| self.somebody_waits())?;
        match &self.link {
            Link::Down => Some(absence.retry),
            Link::Bus { owner: None } => Some(absence.until),
            _ => None,
        }
    }

    /// A connection is there; on a bus, it must first introduce itself.
    pub(crate) fn connected(&mut self, now: Instant, direct: bool) {
        self.stats.connections += 1;
        self.connected = Some(now);
        self.rest.connected();
        self.window = self.most_in_flight;
        if direct {
            // That it listens is no sign yet that it lets this client in.
            self.link = Link::Direct;
            self.is_heard = false;
            self.nudge = Some(Nudge { at: None, pause: FIRST_NUDGE });
            self.look_at_all_jobs();
        } else {
            self.link = Link::Greeting;
            let hello = self.push_send(Call::Hello, true);
            for rule in systemd1::MATCH_RULES {
                self.push_send(Call::AddMatch(rule.into()), false);
            }
            let owner = self.push_send(Call::GetNameOwner, true);
            self.greeting = Some(Greeting { hello, owner, refusal: None });
        }
        self.send_what_fits(now);
    }

    /// No connection could be made. A `passing` reason (no descriptor is free, the bus is full) is borne, as is
    /// any where a manager was there before; otherwise whoever waits for a connection is told.
    pub(crate) fn connect_failed(&mut self, now: Instant, refusal: &Refusal) {
        self.link = Link::Down;
        if self.reached || refusal.passing {
            let absence = self.absence.get_or_insert_with(|| Absence::new(now));
            if refusal.passing {
                // Room will come, and until when that is worth waiting for each request says itself.
                absence.until = now + PATIENCE;
            }
            if now < absence.until {
                absence.retry = absence.until.min(now + absence.pause);
                absence.pause = LONGEST_PAUSE.min(absence.pause * 2);
                return;
            }
            // A watch has nobody to tell, and goes on trying.
            let pause = if self.watches.has_watchers() { LONGEST_PAUSE } else { Duration::ZERO };
            absence.retry = now + pause;
        }
        self.give_up(now, refusal);
    }

    fn give_up(&mut self, now: Instant, refusal: &Refusal) {
        for id in self.line.ids() {
            let Some(entry) = self.requests.get(&id) else { continue };
            if entry.half_way {
                self.lose(now, id);
                continue;
            }
            let (address, message) = (self.address.clone(), refusal.reason.clone());
            let error = if refusal.denied {
                let (asked, name) = (entry.plan.asked().clone(), systemd1::ACCESS_DENIED.into());
                Error::AccessDenied { asked, name, message: format!("{message} ({address})") }
            } else {
                Error::Connect { address, reason: message }
            };
            self.fail(now, id, error);
        }
        self.lose_jobs(now);
    }

    fn lose_jobs(&mut self, now: Instant) {
        for job in self.jobs.ids() {
            for id in self.jobs.take(job) {
                self.lose(now, id);
            }
        }
    }

    /// The connection is gone, and with it the answers to all calls that were under way on it. A read is asked
    /// again; of any other call nobody knows whether it arrived. Jobs go on, and are looked at on the next
    /// connection.
    pub(crate) fn disconnected(&mut self, now: Instant, reason: &str) {
        let greeting = self.greeting.take();
        // One that was silent for long is another matter than one that closes at once.
        let is_young = self.connected.is_some_and(|at| now < at + PATIENCE);
        let was_shut_out = self.link == Link::Direct && !self.is_heard && is_young;
        if self.link == Link::Direct && !was_shut_out {
            self.absence = None;
        }
        self.forget_connection(now);
        if let Some(greeting) = greeting {
            let refused = greeting.refusal.as_ref();
            let is = |name: &str| refused.is_some_and(|error| error.name == name);
            let reason = refused.map_or(reason, |error| &error.message).into();
            let (passing, denied) = (is(systemd1::LIMITS_EXCEEDED), is(systemd1::ACCESS_DENIED));
            return self.connect_failed(now, &Refusal { passing, denied, reason });
        }
        if was_shut_out {
            return self.connect_failed(now, &Refusal::new(reason));
        }
        self.absence.get_or_insert_with(|| Absence::new(now));
        self.tell_those_in_line();
    }

    /// What was to go over this connection must not go over the next, and what was arranged over it is gone.
    pub(super) fn forget_connection(&mut self, now: Instant) {
        self.link = Link::Down;
        self.nudge = None;
        self.to_look.clear();
        self.outputs.retain(|output| !matches!(output, Output::Send { .. } | Output::HangUp));
        self.jobs.forget_early(None);
        self.jobs.inherit_all();
        for (_, call) in self.in_flight.take() {
            if let Purpose::Request(id, _) = call.purpose {
                self.ask_again_or_lose(now, id);
            }
        }
        self.subscribed = false;
        if let Some(hearing) = self.hearing {
            (hearing.on_loss)(self, now);
        }
    }

    fn tell_those_in_line(&mut self) {
        for id in self.line.ids() {
            let half_way = self.requests.get(&id).is_some_and(|entry| entry.half_way);
            self.reach(id, self.waiting_stage(half_way));
        }
    }

    /// The call went out, and its answer will not come.
    pub(super) fn ask_again_or_lose(&mut self, now: Instant, id: RequestId) {
        let Some(entry) = self.requests.get(&id) else { return };
        if entry.reply.is_some() && entry.asking.as_ref().is_some_and(Asking::may_be_repeated) {
            self.line_up(id, None);
        } else {
            self.lose(now, id);
        }
    }

    pub(super) fn lose(&mut self, now: Instant, id: RequestId) {
        let Some(entry) = self.requests.get(&id) else { return };
        let asked = entry.plan.asked().clone();
        let error = Error::Disconnected { asked, stage: entry.stage, job: entry.job };
        self.fail(now, id, error);
    }

    /// Whether a message comes from the manager. Anybody may send anything to anybody on a bus; only the
    /// sender, which the bus itself writes, cannot be forged.
    pub(super) fn is_manager(&self, sender: Option<&str>) -> bool {
        match &self.link {
            Link::Direct => true,
            Link::Bus { owner } => sender.is_some() && sender == owner.as_deref(),
            Link::Down | Link::Connecting | Link::Greeting => false,
        }
    }

    pub(super) fn on_owner(&mut self, now: Instant, sender: Option<&str>, new: Option<String>) {
        if sender != Some(BUS) {
            self.stats.foreign += 1;
            return;
        }
        let Link::Bus { owner } = &mut self.link else { return };
        let came = new.is_some();
        *owner = new;
        if came {
            if self.subscribed {
                // The same one reexecuted, which knows its subscribers, or one that begins anew.
                self.push_send(Call::Subscribe, false);
            }
            self.manager_came(now);
        } else if self.reached {
            self.absence.get_or_insert_with(|| Absence::new(now));
        }
    }

    /// Takes an answer to the greeting; false where the reply is to something else.
    pub(super) fn on_greeted(&mut self, now: Instant, reply: &Reply) -> bool {
        let Some(greeting) = &mut self.greeting else { return false };
        if ![greeting.hello, greeting.owner].contains(&reply.serial) {
            return false;
        }
        if reply.sender.as_deref() != Some(BUS) {
            self.stats.foreign += 1;
        } else if reply.serial == greeting.hello {
            if let Err(refusal) = &reply.result {
                // A bus may keep the connection open all the same, and refuse whatever else comes over it.
                greeting.refusal = Some(refusal.clone());
                self.outputs.push_back(Output::HangUp);
            }
        } else if greeting.refusal.is_none() {
            self.greeting = None;
            let owner = reply.result.as_ref().ok().and_then(|values| values.first()?.as_str());
            let owner = owner.map(String::from);
            let came = owner.is_some();
            self.is_asked(owner.as_deref());
            self.link = Link::Bus { owner };
            if came {
                self.manager_came(now);
            } else if self.reached {
                self.absence.get_or_insert_with(|| Absence::new(now));
            }
        }
        true
    }

    /// The manager can be asked: first of all, what became of the jobs whose end may not have been heard.
    fn manager_came(&mut self, now: Instant) {
        self.absence = None;
        let is_back = std::mem::replace(&mut self.reached, true);
        self.listen_as_needed();
        if let Some(hearing) = self.hearing {
            (hearing.keep_rules)(self);
        }
        self.look_at_all_jobs();
        if is_back {
            self.look_again_at_units(now);
        }
    }

    fn look_again_at_units(&mut self, now: Instant) {
        if let Some(hearing) = self.hearing {
            (hearing.look_again)(self, now);
        }
    }

    fn look_at_all_jobs(&mut self) {
        self.jobs.meet_manager();
        self.to_look = self.jobs.ids().into_iter().map(Purpose::LookAtJob).collect();
        self.tell_those_in_line();
    }

    /// A direct peer has said something, and so has let this client in.
    pub(crate) fn hear_peer(&mut self, now: Instant) {
        if self.link == Link::Direct && !self.is_heard {
            self.is_heard = true;
            self.absence = None;
            let is_back = std::mem::replace(&mut self.reached, true);
            if !self.rest.take_hung_up() && is_back {
                self.look_again_at_units(now);
            }
        }
    }

    /// A manager that stayed away too long: what waits for it is sent all the same, for the bus's own refusal.
    pub(super) fn lose_hope(&mut self, now: Instant) {
        let over = self.absence.as_ref().is_some_and(|absence| absence.until <= now);
        if over && self.link == (Link::Bus { owner: None }) {
            self.absence = None;
            self.lose_jobs(now);
        }
    }

    /// Calls that were never answered, and whose requests are long forgotten, take up the window, and the bus's
    /// room for pending replies, for as long as the connection lasts: where they take up all of it, another
    /// connection is the only way to go on.
    pub(super) fn hang_up_where_clogged(&mut self, now: Instant) {
        let is_followed = |call: &InFlight| match call.purpose {
            Purpose::Request(id, _) => self.requests.contains_key(&id),
            // A look's job may end while the look is on its way, whose answer comes all the same.
            Purpose::LookAtJob(job) | Purpose::LookAtUnit(job, _) => {
                !self.jobs.waiters(job).is_empty() || now < call.sent + SETTLE
            }
        };
        // What was asked ahead of a silent bus is no sign that others would be answered better.
        let is_full = self.link.is_up() && !self.line.is_empty() && self.in_flight.len() >= self.window;
        if is_full && !self.in_flight.values().any(is_followed) {
            self.outputs.push_back(Output::HangUp);
        }
    }

    /// A job is to be looked at, once there is room.
    pub(super) fn look_later(&mut self, job: JobId) {
        let look = Purpose::LookAtJob(job);
        if !self.to_look.contains(&look) {
            self.to_look.push_back(look);
        }
    }

    pub(super) fn look(&mut self, now: Instant, look: Purpose) {
        match look {
            Purpose::LookAtJob(job) if !self.jobs.waiters(job).is_empty() => {
                self.push_call(now, relook::job_state(job), look);
            }
            Purpose::LookAtUnit(job, id) if self.jobs.waiters(job).contains(&id) => {
                let entry = self.requests.get(&id);
                match entry.and_then(|entry| relook::unit_state(entry.asking.as_ref()?, entry.unit()?)) {
                    Some(call) => self.push_call(now, call, look),
                    None => {
                        self.jobs.leave(job, id);
                        self.lose(now, id);
                    }
                }
            }
            // Who waited for it has left; another who waits is looked after anew.
            Purpose::LookAtUnit(job, _) if !self.jobs.waiters(job).is_empty() => self.look_later(job),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
