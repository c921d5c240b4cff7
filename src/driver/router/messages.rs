//! What comes over the connection: answers, the ends of jobs, and what only pretends to be either.

use std::time::Instant;

use super::{Lane, Link, Purpose, ReplyTo, RequestId, Router, relook};
use crate::driver::plan::Event;
use crate::error::Stage;
use crate::job::{JobId, JobResult};
use crate::systemd1::{self, BUS, BusError, Incoming, JobRemoved, Reply};
use crate::unit::Value;

impl<R: ReplyTo> Router<R> {
    /// A message came in.
    pub(crate) fn incoming(&mut self, now: Instant, message: Incoming) {
        match message {
            Incoming::Reply(reply) => {
                // A signal proves nothing: it is sent whether or not the calls were read.
                self.nudge = None;
                self.on_reply(now, reply);
            }
            Incoming::JobRemoved(removed) => self.on_job_removed(now, removed),
            Incoming::Owner { sender, owner } => self.on_owner(now, sender.as_deref(), owner),
            Incoming::Unit { sender, news } => self.on_unit(now, sender.as_deref(), news),
        }
        self.send_what_fits(now);
    }

    fn on_reply(&mut self, now: Instant, reply: Reply) {
        if self.on_greeted(now, &reply) {
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
        match call.purpose {
            Purpose::Request(id, lane) if lane != Lane::Answer && reply.result.is_ok() => {
                self.on_job_made(now, id, lane, call.number, &reply.result.unwrap_or_default());
            }
            Purpose::Request(id, _) => self.on_answer(now, id, reply.result, from_bus),
            Purpose::LookAtJob(job) | Purpose::LookAtUnit(job) if from_bus => {
                self.on_look_not_delivered(job, &reply.result);
            }
            Purpose::LookAtJob(job) => self.on_job_seen(now, job, reply.result.is_ok()),
            Purpose::LookAtUnit(job) => self.on_unit_seen(now, job, &reply.result),
        }
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
        match answer {
            Ok(values) => self.advance(now, id, Event::Answer(values)),
            Err(error) if from_bus => self.on_not_delivered(now, id, error),
            Err(error) => self.advance(now, id, Event::Refused(error)),
        }
    }

    /// The bus itself answers where the manager could not.
    fn on_not_delivered(&mut self, now: Instant, id: RequestId, error: BusError) {
        let waits = self.requests.get(&id).is_some_and(|entry| entry.reply.is_some());
        let manager_away = self.absence.is_some() && self.link == (Link::Bus { owner: None });
        match error.name.as_str() {
            // Never delivered: it waits in line again while others of ours are in flight, whose end makes room.
            systemd1::LIMITS_EXCEEDED if waits && self.room_is_to_come() => self.line_up(id, None),
            systemd1::NAME_HAS_NO_OWNER | systemd1::SERVICE_UNKNOWN if waits && manager_away => {
                self.line_up(id, None);
            }
            systemd1::NO_REPLY => self.ask_again_or_lose(now, id),
            _ => self.advance(now, id, Event::Refused(error)),
        }
    }

    /// Where the manager is away again, all jobs are looked at when it comes.
    fn on_look_not_delivered(&mut self, job: JobId, refusal: &Result<Vec<Value>, BusError>) {
        let full = refusal.as_ref().is_err_and(|error| error.name == systemd1::LIMITS_EXCEEDED);
        if full && self.room_is_to_come() {
            self.to_look.push_back(job);
        }
    }

    /// The bus had no room for a call: what is in flight is all that it allows, and makes room when it is answered.
    fn room_is_to_come(&mut self) -> bool {
        let some = !self.in_flight.is_empty();
        if some {
            self.window = self.in_flight.len();
        }
        some
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
        entry.times.accepted += now.saturating_duration_since(entry.marked);
        entry.marked = now;
        let late = entry.reply.is_none();
        let early = self.jobs.recall(job, entry.created_unit());
        self.reach(id, Stage::Job);
        if let Some(result) = early {
            return self.on_job_over(now, id, job, result);
        }
        self.jobs.wait(job, lane, id);
        if self.jobs.may_be_lost(number) {
            self.to_look.push_back(job);
        }
        if late {
            self.cancel_if_ours(id, job);
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
        if self.is_of_another_unit(&removed) {
            // A manager that began anew counts its jobs anew, and ours has ended unheard.
            if !self.to_look.contains(&removed.job) {
                self.to_look.push_back(removed.job);
            }
            return;
        }
        self.end_job(now, removed.job, |_| Some(removed.result.clone()));
        self.listen_as_needed();
    }

    fn is_of_another_unit(&self, removed: &JobRemoved) -> bool {
        let mut waiters = self.jobs.waiters(removed.job).iter().filter_map(|id| self.requests.get(id));
        waiters.any(|entry| entry.created_unit().is_some_and(|unit| unit != removed.unit))
    }

    /// Ends a job for all who wait for it, each told what it means for its own call.
    fn end_job(&mut self, now: Instant, job: JobId, result: impl Fn(&systemd1::Call) -> Option<JobResult>) {
        for id in self.jobs.take(job) {
            let call = self.requests.get(&id).and_then(|entry| entry.call.as_ref());
            match call.and_then(&result) {
                Some(result) => self.on_job_over(now, id, job, result),
                None => self.lose(now, id),
            }
        }
    }

    fn on_job_over(&mut self, now: Instant, id: RequestId, job: JobId, result: JobResult) {
        let Some(entry) = self.requests.get_mut(&id) else { return };
        entry.times.done += now.saturating_duration_since(entry.marked);
        entry.marked = now;
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

    /// A job that is still there will be heard of; one that is not has ended unheard, so its unit is asked.
    fn on_job_seen(&mut self, now: Instant, job: JobId, is_there: bool) {
        let Some(&first) = self.jobs.waiters(job).first() else { return };
        if is_there {
            for id in self.jobs.waiters(job).to_vec() {
                if self.requests.get(&id).is_some_and(|entry| entry.reply.is_none()) {
                    self.cancel_if_ours(id, job);
                }
            }
            return;
        }
        let call = self.requests.get(&first).and_then(|entry| relook::unit_state(entry.call.as_ref()?));
        match call {
            Some(call) => self.push_call(call, Purpose::LookAtUnit(job)),
            None => self.end_job(now, job, |_| None),
        }
    }

    fn on_unit_seen(&mut self, now: Instant, job: JobId, state: &Result<Vec<Value>, BusError>) {
        self.end_job(now, job, |call| relook::conclusion(call, state));
        self.listen_as_needed();
    }
}
