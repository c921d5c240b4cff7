//! What must be true of each answer, and of a router that has nothing left to do.

use super::{Ask, Caller, PATIENCE, World};
use crate::driver::Success;
use crate::driver::router::late::UNANSWERED;
use crate::driver::router::link::Link;
use crate::driver::router::rest::REST_AFTER;
use crate::driver::router::{Entry, InFlight, Lane, Purpose, RequestId};
use crate::error::{Error, Operation, Stage};
use crate::job::{JobId, JobResult};
use crate::systemd1::{self, Call};

impl World {
    /// Each caller gets one answer, and a true one.
    pub(super) fn judge(&mut self, caller: u64, result: Result<Success, Error>) {
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

    /// What is given back was had, or may be, for nobody has heard whether it was granted.
    pub(super) fn judge_reference(&mut self, serial: u32, call: &Call) {
        match call {
            Call::RunRef { .. } => {
                let unit = self.askers[&self.callers_of[&serial]].unit.clone();
                self.asked_for.insert(serial, unit);
            }
            Call::Unref { path } => {
                let unit = self.unit_at(path).expect("it is a unit's path");
                let unanswered =
                    |(serial, of): (&u32, &String)| *of == unit && self.router.in_flight.contains_key(serial);
                let may_be_had = self.systemd.references.contains_key(&unit)
                    || self.asked_for.iter().any(unanswered)
                    || self.losses > 0;
                assert!(may_be_had, "a reference to {unit} is given back that was never had");
            }
            _ => {}
        }
    }

    /// Who has no call of its own to come is waiting for another's.
    pub(super) fn judge_those_who_wait(&self) {
        let unasked = |entry: &Entry<Caller>| {
            entry.plan.asked().operation == Operation::Wait
                && entry.place.is_none()
                && matches!(entry.stage, Stage::Connect | Stage::Queued)
        };
        let has_call = |id: &RequestId| {
            let is_its = |call: &InFlight| matches!(call.purpose, Purpose::Request(of, _) if of == *id);
            let entry = self.router.requests.get(id);
            self.router.in_flight.values().any(is_its) || entry.is_some_and(|entry| entry.place.is_some())
        };
        for (id, _) in self.router.requests.iter().filter(|(_, entry)| unasked(entry)) {
            let others = self.router.watches.references.waits_for(*id);
            let is_to_be_told = others.is_some_and(|others| others.iter().any(has_call));
            assert!(is_to_be_told, "{id:?} waits for nothing");
        }
    }

    /// All is well again, time passes, and nothing may be left.
    pub(in crate::driver::router) fn settle(&mut self) {
        self.greet();
        self.pass(PATIENCE);
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
        self.rest_for_long();
        self.serve_one_more();
        let kept = self.systemd.references.keys().next();
        assert!(kept.is_none(), "a reference is kept: {kept:?}");
    }

    /// When nothing was asked for long, no stranger's job wakes the driver, and no time either.
    fn rest_for_long(&mut self) {
        self.pass(u64::try_from(REST_AFTER.as_millis()).unwrap_or(u64::MAX));
        assert!(!self.hears_of_jobs(), "it hears of everybody's jobs");
        assert!(!self.is_direct() || self.router.link == Link::Down, "it is told of everything");
        assert_eq!(self.router.deadline(), None, "it would wake");
    }

    /// The driver is not wedged: whoever comes next is served, and hears of its job.
    fn serve_one_more(&mut self) {
        self.serve(Ask::Read);
        self.serve(Ask::Create);
    }

    fn serve(&mut self, ask: Ask) {
        let last = self.submit(ask, "last.scope", 60_000);
        for _ in 0..100 {
            self.connect(true);
            self.greet();
            self.rest();
            if self.answers.contains_key(&last) {
                break;
            }
            self.pass(500);
        }
        assert!(matches!(self.answers.get(&last), Some(Ok(()))), "{:?}", self.answers.get(&last));
    }
}
