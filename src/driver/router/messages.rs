//! What comes over the connection: answers, the ends of jobs, and what only pretends to be either.

use std::time::Instant;

use super::{Asking, Entry, InFlight, Lane, Link, Purpose, ReplyTo, RequestId, Router, relook};
use crate::driver::plan::Event;
use crate::error::Stage;
use crate::job::{JobId, JobResult};
use crate::systemd1::{self, BUS, BusError, Incoming, JobRemoved, Reply};
use crate::unit::Value;

impl<R: ReplyTo> Router<R> {
    /// A message came in.
    pub(crate) fn incoming(&mut self, now: Instant, message: Incoming) {
        self.hear_peer(now);
        match message {
            Incoming::Reply(reply) => {
                // A signal proves nothing: it is sent whether or not the calls were read.
                self.nudge = None;
                self.on_reply(now, reply);
            }
            Incoming::JobRemoved(removed) => self.on_job_removed(now, removed),
            Incoming::Owner { sender, owner } => self.on_owner(now, sender.as_deref(), owner),
            Incoming::Unit { sender, .. } if !self.is_manager(sender.as_deref()) => self.stats.foreign += 1,
            Incoming::Unit { news, .. } => {
                if let Some(hearing) = self.hearing {
                    (hearing.on_unit)(self, now, news);
                }
            }
        }
        self.send_what_fits(now);
    }

    fn on_reply(&mut self, now: Instant, reply: Reply) {
        if self.on_greeted(now, &reply) {
            return;
        }
        if !self.link.is_up() {
            // A bus that refused the greeting refuses what was asked ahead too, and says less of why.
            return;
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
        if !from_bus {
            self.widen();
            self.watches.references.answered(call.number);
        }
        match call.purpose {
            Purpose::Request(id, lane) if lane != Lane::Answer && reply.result.is_ok() => {
                self.on_job_made(now, id, lane, call.number, &reply.result.unwrap_or_default());
            }
            Purpose::Request(id, _) => self.on_answer(now, id, reply.result, from_bus),
            Purpose::LookAtJob(job) | Purpose::LookAtUnit(job, _) if from_bus => {
                self.on_look_not_delivered(job, &reply.result);
            }
            Purpose::LookAtJob(job) => self.on_job_seen(job, &reply.result),
            Purpose::LookAtUnit(job, id) => self.on_unit_seen(now, job, id, &reply.result),
        }
        self.forget_early();
    }

    /// A call could not be sent, for a reason of its own.
    pub(crate) fn unsent(&mut self, now: Instant, serial: u32, reason: BusError) {
        let call = self.in_flight.remove(&serial);
        if let Some(InFlight { purpose: Purpose::Request(id, _), .. }) = call {
            self.advance(now, id, Event::Refused(reason));
        }
        self.forget_early();
        self.send_what_fits(now);
    }

    fn forget_early(&mut self) {
        let under_way = self.in_flight.values().filter(|call| call.makes_job());
        self.jobs.forget_early(under_way.map(|call| call.number).min());
    }

    fn on_answer(
        &mut self,
        now: Instant,
        id: RequestId,
        answer: Result<Vec<Value>, BusError>,
        from_bus: bool,
    ) {
        let settle = self.hearing.map(|hearing| hearing.settle_reference);
        let sharers = settle.map_or_else(Vec::new, |settle| settle(self, id, &answer, from_bus));
        match answer {
            Ok(values) => self.advance(now, id, Event::Answer(values)),
            Err(error) if from_bus => self.on_not_delivered(now, id, error),
            Err(error) => self.advance(now, id, Event::Refused(error)),
        }
        for (sharer, event) in sharers {
            match event {
                Some(event) => self.advance(now, sharer, event),
                None => self.line_up(sharer, None),
            }
        }
    }

    /// The bus itself answers where the manager could not.
    fn on_not_delivered(&mut self, now: Instant, id: RequestId, error: BusError) {
        let entry = self.requests.get(&id).filter(|entry| entry.reply.is_some());
        let (waits, half_way) = (entry.is_some(), entry.is_some_and(|entry| entry.half_way));
        let manager_away = self.absence.is_some() && self.link == (Link::Bus { owner: None });
        match error.name.as_str() {
            // Never delivered: it waits in line again while others of ours are in flight, whose end makes room.
            // The manager's own connection takes no descriptors, for good. dbus-daemon keeps a place for the answer that
            // will never come, so it must not be tried for each creation.
            systemd1::NOT_SUPPORTED if self.carries_descriptors(id) => {
                self.advance(now, id, Event::Refused(BusError::no_pidfds(error.message)));
            }
            // Where it is the descriptors that are too many, it need not wait.
            systemd1::LIMITS_EXCEEDED if waits && self.carries_descriptors(id) => {
                self.advance(now, id, Event::Refused(error));
            }
            systemd1::LIMITS_EXCEEDED if waits && self.room_is_to_come() => self.line_up(id, None),
            systemd1::NAME_HAS_NO_OWNER | systemd1::SERVICE_UNKNOWN if waits && manager_away => {
                self.line_up(id, None);
            }
            // That there is no manager must not be taken for a sign that nothing was changed.
            systemd1::NAME_HAS_NO_OWNER | systemd1::SERVICE_UNKNOWN if half_way => self.lose(now, id),
            systemd1::NO_REPLY => self.ask_again_or_lose(now, id),
            _ => self.advance(now, id, Event::Refused(error)),
        }
    }

    fn carries_descriptors(&self, id: RequestId) -> bool {
        let creates = |entry: &Entry<R>| matches!(entry.asking, Some(Asking::Creation));
        self.requests.get(&id).is_some_and(|entry| creates(entry) && entry.plan.carries_descriptors())
    }

    /// Where the manager is away again, all jobs are looked at when it comes.
    fn on_look_not_delivered(&mut self, job: JobId, refusal: &Result<Vec<Value>, BusError>) {
        let full = refusal.as_ref().is_err_and(|error| error.name == systemd1::LIMITS_EXCEEDED);
        if full && self.room_is_to_come() {
            self.look_later(job);
        }
    }

    /// The bus had no room for a call: what is in flight is all that it allows, and makes room when it is answered.
    fn room_is_to_come(&mut self) -> bool {
        let some = !self.in_flight.is_empty();
        if some {
            (self.window, self.answered) = (self.in_flight.len(), 0);
        }
        some
    }

    /// Others may have taken up the bus's room for a while: as many good answers as there is room for call for one
    /// more.
    fn widen(&mut self) {
        self.answered += 1;
        if self.window < self.most_in_flight && self.answered >= self.window {
            (self.window, self.answered) = (self.window + 1, 0);
        }
    }

    fn on_job_made(&mut self, now: Instant, id: RequestId, lane: Lane, number: u64, values: &[Value]) {
        let job = values.first().and_then(|path| JobId::from_path(path.as_str()?));
        let Some(job) = job else {
            return self.advance(
                now,
                id,
                Event::Refused(BusError::garbled("the answer is not a job's path")),
            );
        };
        let Some(entry) = self.requests.get_mut(&id) else { return };
        entry.job = Some(job);
        entry.half_way = true;
        let (times, since) = entry.mark(now);
        times.accepted += since;
        let late = entry.reply.is_none();
        let early = self.jobs.recall(job, entry.created_unit());
        self.reach(id, Stage::Job);
        if let Some(result) = early {
            return self.on_job_over(now, id, job, result);
        }
        self.jobs.wait(job, lane, id);
        if self.jobs.may_be_lost(number) {
            self.look_later(job);
        }
        if late {
            self.cancel_if_ours(id, job, false);
        }
    }

    fn on_job_removed(&mut self, now: Instant, removed: JobRemoved) {
        if !self.is_manager(removed.sender.as_deref()) {
            self.stats.foreign += 1;
            return;
        }
        // A call still on its way may be answered with the path of a job that had waiters already, too.
        if self.in_flight.values().any(super::InFlight::makes_job) {
            self.jobs.remember(removed.clone(), self.calls_sent);
        }
        for id in self.jobs.waiters(removed.job).to_vec() {
            if self.is_about(&removed, id) {
                self.jobs.leave(removed.job, id);
                self.on_job_over(now, id, removed.job, removed.result.clone());
            } else {
                // A manager that began anew counts its jobs anew, and this one's has ended unheard.
                self.look_later(removed.job);
            }
        }
        self.listen_as_needed();
    }

    /// Whether the job that was removed is the one that a request waits for, and not another of its number.
    fn is_about(&self, removed: &JobRemoved, id: RequestId) -> bool {
        let Some(entry) = self.requests.get(&id) else { return true };
        let asked = entry.unit().filter(|_| self.jobs.may_be_anothers(removed.job));
        entry.created_unit().or(asked).is_none_or(|unit| unit == removed.unit)
    }

    fn on_job_over(&mut self, now: Instant, id: RequestId, job: JobId, result: JobResult) {
        let Some(entry) = self.requests.get_mut(&id) else { return };
        let (times, since) = entry.mark(now);
        times.done += since;
        if entry.reply.is_some() || entry.settling {
            return self.advance(now, id, Event::Job(job, result));
        }
        self.stats.late += 1;
        log::info!("{}: job {job} ended as {result} after its caller's deadline", entry.plan.asked());
        entry.settling = true;
        match entry.plan.settle(job, &result) {
            Some(step) => self.take_step(now, id, step),
            None => self.forget(id),
        }
    }

    /// A job that is still there will be heard of; one that is not has ended unheard, so its unit is asked. Under one
    /// number two managers' jobs may be waited for.
    fn on_job_seen(&mut self, job: JobId, seen: &Result<Vec<Value>, BusError>) {
        let is_its_own = |entry: &Entry<R>| match (seen, &entry.asking, entry.unit()) {
            (Ok(read), Some(asking), Some(unit)) => relook::is_job_of(asking, unit, read),
            _ => false,
        };
        let (own, over): (Vec<RequestId>, Vec<RequestId>) = self
            .jobs
            .waiters(job)
            .iter()
            .partition(|id| self.requests.get(id).is_some_and(|entry| is_its_own(entry)));
        if over.is_empty() {
            self.jobs.is_its_own(job);
        }
        for id in own {
            if self.requests.get(&id).is_some_and(|entry| entry.reply.is_none()) {
                self.cancel_if_ours(id, job, true);
            }
        }
        let unit_of = |id: &RequestId| self.requests.get(id).and_then(|entry| entry.unit());
        for (at, id) in over.iter().enumerate() {
            if !over[..at].iter().any(|other| unit_of(other) == unit_of(id)) {
                self.to_look.push_back(Purpose::LookAtUnit(job, *id));
            }
        }
    }

    /// What a unit has come to decides for all who wait for a job of that unit.
    fn on_unit_seen(
        &mut self,
        now: Instant,
        job: JobId,
        asker: RequestId,
        state: &Result<Vec<Value>, BusError>,
    ) {
        let unit = self.requests.get(&asker).and_then(|entry| entry.unit()).map(String::from);
        if unit.is_none() && !self.jobs.waiters(job).is_empty() {
            self.look_later(job);
        }
        for id in self.jobs.waiters(job).to_vec() {
            let Some(entry) = self.requests.get(&id).filter(|entry| entry.unit() == unit.as_deref()) else {
                continue;
            };
            let result = entry.asking.as_ref().and_then(|asking| relook::conclusion(asking, state));
            self.jobs.leave(job, id);
            match result {
                Some(result) => self.on_job_over(now, id, job, result),
                None => self.lose(now, id),
            }
        }
        self.listen_as_needed();
    }
}
