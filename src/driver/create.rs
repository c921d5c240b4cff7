//! The steps that create a unit: the call, its job, a look at the kernel, and what to do where it exists.

use std::time::Instant;

use super::optional::leave_out;
use super::placing::{Naming, PidfdsUnknown};
use super::plan::{
    Created, Event, Outcome, Step, Success, get_state, out_of_step, property, refusal, says_run_is_over,
};
use crate::cgroup::{Findings, Inspection, Place, asked_limits};
use crate::error::{Asked, Error};
use crate::job::{InvocationId, JobId, JobMode, JobResult};
use crate::systemd1::{self, BusError, Call, Members, Verb};
use crate::unit::{OnExists, Property};

/// How often one request creates at the most: other programs may take the name again each time it is free.
const MOST_ATTEMPTS: u32 = 3;

/// Where a creation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Creating,
    Inspecting,
    ReadingInvocation,
    InspectingAgain,
    FindingGroup,
    Clearing,
    Releasing,
    ReadingActivity,
    ReadingGroup,
    LookingInside,
    StoppingOld,
    Resetting,
    Attaching,
    ReadingDelegate,
    ReadingCondition,
    Starting,
}

/// A unit to create, and how far it is.
#[derive(Debug)]
pub(crate) struct Create {
    pub asked: Asked,
    pub unit: String,
    pub properties: Vec<Property>,
    pub on_exists: OnExists,
    pub verify: bool,
    pub require_limits: bool,
    pub inspection: Inspection,
    /// When its processes were looked up.
    seen: Instant,
    naming: Naming,
    state: State,
    attempts: u32,
    outcome: Outcome,
    job: Option<JobId>,
    invocation: Option<InvocationId>,
    held: Option<Findings>,
    /// systemd's refusal to attach, until it is known what it was for.
    refusal: Option<BusError>,
    left_out: Vec<String>,
    /// The group's number at the first look.
    group: Option<u64>,
}

impl Create {
    /// To be made as soon as the processes were looked up.
    pub(crate) fn new(
        asked: Asked,
        unit: String,
        properties: Vec<Property>,
        inspection: Inspection,
        unknown: PidfdsUnknown,
    ) -> Create {
        let naming = Naming::new(unknown, &inspection.processes);
        Create {
            asked,
            unit,
            properties,
            on_exists: OnExists::Fail,
            verify: true,
            require_limits: false,
            inspection,
            seen: Instant::now(),
            naming,
            state: State::Creating,
            attempts: 0,
            outcome: Outcome::Created,
            job: None,
            invocation: None,
            held: None,
            refusal: None,
            left_out: Vec::new(),
            group: None,
        }
    }

    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    pub(crate) fn is_creating(&self) -> bool {
        self.state == State::Creating
    }

    pub(crate) fn is_past_its_job(&self) -> bool {
        let looks = matches!(
            self.state,
            State::Inspecting | State::ReadingInvocation | State::InspectingAgain | State::FindingGroup
        );
        self.job.is_some() && (looks || matches!(self.state, State::Clearing | State::Releasing))
    }

    pub(crate) fn start(&mut self) -> Step {
        self.attempts += 1;
        self.go(State::Creating, self.create_call())
    }

    fn create_call(&self) -> Call {
        let (unit, properties) = (self.unit.clone(), self.properties.clone());
        let processes = self.inspection.processes.clone();
        let members = Members { processes, by_pidfd: self.naming.by_pidfd(), seen: self.seen };
        Call::StartTransient { unit, properties, members }
    }

    fn go(&mut self, state: State, call: Call) -> Step {
        self.state = state;
        Step::Call(call)
    }

    fn inspect(&mut self, state: State) -> Step {
        self.state = state;
        Step::Inspect(Box::new(self.inspection.clone()))
    }

    fn read(&mut self, state: State, interface: &str, name: &str) -> Step {
        let path = systemd1::unit_path(&self.unit);
        self.go(state, Call::Get { path, interface: interface.into(), name: name.into() })
    }

    fn fail(&self, error: Error) -> Step {
        debug_assert!(error.asked().is_none_or(|asked| *asked == self.asked));
        Step::Finish(Err(error))
    }

    pub(crate) fn advance(&mut self, event: Event) -> Step {
        match self.state {
            State::Creating => self.after_create(event),
            State::Inspecting => self.after_inspection(event),
            State::ReadingInvocation => self.after_invocation(event),
            State::InspectingAgain => self.after_second_inspection(event),
            State::FindingGroup => self.after_finding_group(event),
            State::Clearing => self.after_clearing(),
            State::Releasing => self.after_release(&event),
            State::ReadingActivity => self.after_state(event),
            State::ReadingGroup => self.after_group(event),
            State::LookingInside => self.after_look_inside(event),
            State::StoppingOld => self.after_stop(event),
            State::Resetting => self.start(),
            State::Attaching => self.after_attach(event),
            State::ReadingDelegate => self.after_delegate(event),
            State::ReadingCondition => self.after_condition(event),
            State::Starting => self.after_start(event),
        }
    }

    /// A unit that came too late is left standing, with its processes and whatever limits it has. Only one that no
    /// process reached is cleared away.
    pub(crate) fn settle(&mut self, job: JobId, result: &JobResult) -> Option<Step> {
        self.require_limits = false;
        let came_late =
            self.is_creating() && *result == JobResult::Done && !self.inspection.processes.is_empty();
        came_late.then(|| self.advance(Event::Job(job, JobResult::Done)))
    }

    fn after_create(&mut self, event: Event) -> Step {
        match event {
            Event::Job(job, JobResult::Done) => {
                self.job = Some(job);
                self.inspect(State::Inspecting)
            }
            Event::Job(job, result) => self.fail(Error::JobFailed { asked: self.asked.clone(), job, result }),
            Event::Refused(error) if self.naming.falls_back(&error) => {
                self.go(State::Creating, self.create_call())
            }
            Event::Refused(error) => match refusal(self.asked.clone(), &self.create_call(), error) {
                Error::UnitExists { .. } => self.go(State::ReadingActivity, get_state(&self.unit)),
                // The same attempt again: nothing was created, and each time there is one less to leave out.
                Error::UnknownProperty { property, .. } if self.leave_out(&property) => {
                    self.go(State::Creating, self.create_call())
                }
                other => self.fail(other),
            },
            Event::Answer(_) | Event::Inspected(_) | Event::Changed(_) => self.fail(out_of_step(&self.asked)),
        }
    }

    fn leave_out(&mut self, named: &str) -> bool {
        let left = leave_out(&mut self.properties, named);
        let is_less = !left.is_empty();
        self.left_out.extend(left);
        if is_less && self.verify {
            self.inspection.limits = asked_limits(&self.properties);
        }
        is_less
    }

    /// The name is taken: a failed or just dying leftover is cleared away, anything else is the policy's.
    fn after_state(&mut self, event: Event) -> Step {
        let Event::Answer(answer) = event else { return self.unexpected(event) };
        let state = property(answer).and_then(|value| value.as_str().map(String::from)).unwrap_or_default();
        let retry = self.attempts < MOST_ATTEMPTS;
        match (state.as_str(), self.on_exists) {
            ("active", OnExists::Accept) => {
                self.outcome = Outcome::Accepted;
                self.inspect(State::Inspecting)
            }
            (_, OnExists::Accept) => {
                self.outcome = Outcome::Accepted;
                let (verb, unit) = (Verb::Start, self.unit.clone());
                self.go(State::Starting, Call::UnitJob { verb, unit, mode: JobMode::Replace })
            }
            ("failed" | "inactive", _) if retry => {
                self.go(State::Resetting, Call::ResetFailed { unit: self.unit.clone() })
            }
            (_, OnExists::Join) => self.read_group(),
            (_, OnExists::Replace) if retry => self.read_group(),
            _ => self.fail(Error::UnitExists { asked: self.asked.clone(), state: Some(state) }),
        }
    }

    fn read_group(&mut self) -> Step {
        let interface = systemd1::type_interface(&self.unit);
        self.read(State::ReadingGroup, &interface, "ControlGroup")
    }

    fn after_group(&mut self, event: Event) -> Step {
        let Event::Answer(answer) = event else { return self.unexpected(event) };
        let group = property(answer).and_then(|value| value.as_str().map(String::from)).unwrap_or_default();
        if group.is_empty() {
            // It ended between two messages; the name may be free now.
            return self.again();
        }
        if self.on_exists == OnExists::Join {
            self.inspection.place = Place::Exact(group);
            return self.inspect(State::LookingInside);
        }
        // Where the old unit is; the new one may be elsewhere.
        let look = Inspection { place: Place::Exact(group), ..self.inspection.clone() };
        self.state = State::LookingInside;
        Step::Inspect(Box::new(look))
    }

    fn again(&mut self) -> Step {
        if self.attempts < MOST_ATTEMPTS {
            return self.start();
        }
        self.fail(Error::UnitExists { asked: self.asked.clone(), state: None })
    }

    fn after_look_inside(&mut self, event: Event) -> Step {
        let Event::Inspected(findings) = event else { return self.unexpected(event) };
        if self.on_exists == OnExists::Join {
            self.outcome = Outcome::Joined;
            if findings.misplaced.is_empty() && !findings.present.is_empty() {
                return self.after_inspection(Event::Inspected(findings));
            }
            let pids = self.inspection.processes.iter().map(|process| process.pid).collect();
            return self.go(State::Attaching, Call::Attach { unit: self.unit.clone(), pids });
        }
        if let Some(&pid) = findings.present.first() {
            return self.fail(Error::WouldKill { asked: self.asked.clone(), pid });
        }
        self.outcome = Outcome::Replaced;
        let (verb, unit) = (Verb::Stop, self.unit.clone());
        self.go(State::StoppingOld, Call::UnitJob { verb, unit, mode: JobMode::Replace })
    }

    fn after_stop(&mut self, event: Event) -> Step {
        match event {
            Event::Job(_, JobResult::Done) => {
                self.go(State::Resetting, Call::ResetFailed { unit: self.unit.clone() })
            }
            Event::Job(job, result) => self.fail(Error::JobFailed { asked: self.asked.clone(), job, result }),
            Event::Refused(error) if says_run_is_over(&error) => self.again(),
            other => self.unexpected(other),
        }
    }

    fn after_attach(&mut self, event: Event) -> Step {
        match event {
            Event::Answer(_) => self.inspect(State::Inspecting),
            Event::Refused(error) => {
                let pids = self.inspection.processes.iter().map(|process| process.pid).collect();
                let call = Call::Attach { unit: self.unit.clone(), pids };
                match refusal(self.asked.clone(), &call, error) {
                    // The refusal of a unit without delegation has no name of its own, so the unit is asked.
                    Error::Dbus { name, message, .. } => {
                        self.refusal = Some(BusError { name, message });
                        let interface = systemd1::type_interface(&self.unit);
                        self.read(State::ReadingDelegate, &interface, "Delegate")
                    }
                    other => self.fail(other),
                }
            }
            other => self.unexpected(other),
        }
    }

    fn after_delegate(&mut self, event: Event) -> Step {
        let delegated = match event {
            Event::Answer(answer) => property(answer).and_then(|value| value.as_bool()),
            _ => None,
        };
        let asked = self.asked.clone();
        match self.refusal.take() {
            Some(BusError { name, message }) if delegated != Some(false) => {
                self.fail(Error::Dbus { asked, name, message })
            }
            _ => self.fail(Error::NotDelegated { asked }),
        }
    }

    fn after_start(&mut self, event: Event) -> Step {
        match event {
            Event::Job(job, JobResult::Done) => {
                self.job = Some(job);
                self.inspect(State::Inspecting)
            }
            Event::Job(job, result) => self.fail(Error::JobFailed { asked: self.asked.clone(), job, result }),
            other => self.unexpected(other),
        }
    }

    fn after_inspection(&mut self, event: Event) -> Step {
        let Event::Inspected(findings) = event else { return self.unexpected(event) };
        self.invocation = findings.invocation.as_deref().and_then(|id| id.parse().ok());
        self.group = findings.group;
        let nothing_left = self.has_ended(&findings);
        if nothing_left && self.is_ours() && findings.control_group.is_none() {
            // The slice is systemd's choice, and no process is left to show it.
            let interface = systemd1::type_interface(&self.unit);
            return self.read(State::FindingGroup, &interface, "ControlGroup");
        }
        let leftover = nothing_left && self.is_ours() && findings.empty;
        let known = self.invocation.is_some() || nothing_left || !findings.misplaced.is_empty();
        if known && !leftover {
            return self.judge(findings);
        }
        self.read(State::ReadingInvocation, systemd1::UNIT, "InvocationID")
    }

    fn after_finding_group(&mut self, event: Event) -> Step {
        let group = match event {
            Event::Answer(answer) => property(answer).and_then(|value| value.as_str().map(String::from)),
            _ => None,
        };
        match group.filter(|group| !group.is_empty()) {
            Some(group) => {
                self.inspection.place = Place::Exact(group);
                self.inspect(State::Inspecting)
            }
            None => self.judge(Findings::default()),
        }
    }

    /// Whether the processes that were to be placed have all ended.
    fn has_ended(&self, findings: &Findings) -> bool {
        !self.inspection.processes.is_empty() && findings.present.is_empty() && findings.misplaced.is_empty()
    }

    /// Whether the unit is what this request created, and not what it found.
    fn is_ours(&self) -> bool {
        matches!(self.outcome, Outcome::Created | Outcome::Replaced)
    }

    /// The ID was read from the bus: only a process that is still in place proves that it is this run's.
    fn after_invocation(&mut self, event: Event) -> Step {
        if let Event::Answer(answer) = event {
            self.invocation = property(answer).and_then(|value| InvocationId::from_value(&value));
        }
        self.inspect(State::InspectingAgain)
    }

    fn after_second_inspection(&mut self, event: Event) -> Step {
        let Event::Inspected(findings) = event else { return self.unexpected(event) };
        self.judge(findings)
    }

    fn judge(&mut self, mut findings: Findings) -> Step {
        if self.has_ended(&findings) {
            // A run whose processes have all ended may be gone, and its name another's: there is none to mean.
            let invocation = self.invocation.take();
            if let Some(run) = invocation.filter(|_| findings.empty && self.state == State::InspectingAgain) {
                return self.clear(run, findings);
            }
        }
        // Without a process in it, only a group that was there before and after systemd named the run is the run's.
        let was_there = self.state == State::InspectingAgain && findings.group == self.group;
        if findings.present.is_empty() && !was_there {
            findings.group = None;
        }
        if !self.verify {
            findings.misplaced.clear();
            findings.gaps.clear();
        }
        if !findings.misplaced.is_empty() {
            // Either another hand moved the processes away, or systemd has not placed them for a condition of the
            // unit, and says done to that.
            let conditional = self.properties.iter().any(|property| property.name() == "Conditions");
            let nobody_placed = findings.present.is_empty() && self.is_ours();
            self.held = Some(findings);
            return if conditional && nobody_placed {
                self.read(State::ReadingCondition, systemd1::UNIT, "ConditionResult")
            } else {
                self.misplaced()
            };
        }
        if self.require_limits && !findings.gaps.is_empty() {
            return self.release(findings);
        }
        self.finish(findings)
    }

    fn after_condition(&mut self, event: Event) -> Step {
        let is_met = match event {
            Event::Answer(answer) => property(answer).and_then(|value| value.as_bool()),
            _ => None,
        };
        match self.job {
            Some(job) if is_met == Some(false) => {
                self.fail(Error::ConditionUnmet { asked: self.asked.clone(), job })
            }
            _ => self.misplaced(),
        }
    }

    fn misplaced(&mut self) -> Step {
        let processes = self.held.take().unwrap_or_default().misplaced;
        self.fail(Error::Misplaced { asked: self.asked.clone(), processes })
    }

    /// Stops a run that no process has reached: systemd keeps a scope for ever whose processes ended before they
    /// were placed, for it never sees that group become empty. Two looks found it empty, with systemd's own answer
    /// between them that this run has the name; one that somebody else had just begun would have had its
    /// processes by the second.
    fn clear(&mut self, run: InvocationId, findings: Findings) -> Step {
        self.held = Some(findings);
        let path = run.object_path();
        self.go(State::Clearing, Call::RunJob { verb: Verb::Stop, path, mode: JobMode::Replace })
    }

    /// However that went: what was asked for is done, and there is no run left to mean.
    fn after_clearing(&mut self) -> Step {
        let findings = self.held.take().unwrap_or_default();
        self.finish(findings)
    }

    /// Only what this request created is released again; a unit that was there before stays.
    fn release(&mut self, findings: Findings) -> Step {
        let Some(invocation) = self.invocation.filter(|_| self.is_ours()) else {
            let (asked, gaps) = (self.asked.clone(), findings.gaps);
            return self.fail(Error::Limit { asked, gaps, released: false });
        };
        self.held = Some(findings);
        let path = invocation.object_path();
        self.go(State::Releasing, Call::RunJob { verb: Verb::Stop, path, mode: JobMode::Replace })
    }

    fn after_release(&mut self, event: &Event) -> Step {
        let gone = matches!(event, Event::Refused(error) if says_run_is_over(error));
        let released = gone || matches!(event, Event::Job(_, JobResult::Done));
        let gaps = self.held.take().unwrap_or_default().gaps;
        self.fail(Error::Limit { asked: self.asked.clone(), gaps, released })
    }

    fn finish(&mut self, findings: Findings) -> Step {
        let (outcome, job, invocation) = (self.outcome, self.job, self.invocation);
        let left_out = std::mem::take(&mut self.left_out);
        let created = Created { outcome, job, findings, invocation, left_out };
        Step::Finish(Ok(Success::Created(Box::new(created))))
    }

    fn unexpected(&self, event: Event) -> Step {
        match event {
            Event::Refused(error) => self.fail(refusal(self.asked.clone(), &self.create_call(), error)),
            _ => self.fail(out_of_step(&self.asked)),
        }
    }
}

#[cfg(test)]
mod tests;
