//! The steps that create a unit: the call, its job, a look at the kernel, and what to do where it exists.

mod exists;
mod unit;

use std::path::PathBuf;
use std::sync::Arc;

use super::optional::leave_out;
use super::placing::Naming;
use super::plan::{
    Created, Event, Outcome, Plan, Step, Success, get_state, out_of_step, property, refusal,
    says_run_is_over, text_property,
};
use crate::cgroup::{Findings, Inspection, Place, Sights};
use crate::error::{Asked, Error};
use crate::job::{InvocationId, JobId, JobMode, JobResult};
use crate::systemd1::{self, BusError, Call, Members, Verb};
use crate::unit::Property;
pub(crate) use unit::{NewUnit, Site};

/// How often one request creates at the most: other programs may take the name again each time it is free.
const MOST_ATTEMPTS: u32 = 3;

/// Where a creation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Creating,
    ReadingRoot,
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

/// A unit that is being created, and how far that is. What it asks and looks for is made when its turn comes.
#[derive(Debug)]
pub(crate) struct Create {
    unit: Arc<NewUnit>,
    site: Arc<Site>,
    /// Of the unit's processes.
    sights: Sights,
    require_limits: bool,
    state: State,
    attempts: u32,
    outcome: Outcome,
    /// `None` until there is anything.
    seen: Option<Box<Seen>>,
}

/// What has come of a creation so far.
#[derive(Debug, Default)]
struct Seen {
    /// How the last call named the processes.
    naming: Option<Naming>,
    job: Option<JobId>,
    invocation: Option<InvocationId>,
    held: Option<Findings>,
    /// systemd's refusal to attach, until it is known what it was for.
    refusal: Option<BusError>,
    left_out: Vec<String>,
    /// Where the unit was found to be.
    found: Option<Box<str>>,
    /// The group's number at the first look.
    group: Option<u64>,
}

impl Create {
    pub(crate) fn new(unit: Arc<NewUnit>, sights: Sights, site: Arc<Site>) -> Create {
        Create {
            require_limits: unit.require_limits,
            unit,
            site,
            sights,
            state: State::Creating,
            attempts: 0,
            outcome: Outcome::Created,
            seen: None,
        }
    }

    fn seen(&mut self) -> &mut Seen {
        self.seen.get_or_insert_default()
    }

    fn name(&self) -> String {
        self.unit.name().into()
    }

    /// The properties that this systemd knows, as far as that is known.
    fn properties(&self) -> Vec<Property> {
        self.unit.properties_without(self.seen.as_ref().map_or(&[], |seen| &seen.left_out))
    }

    fn pids(&self) -> Vec<u32> {
        self.unit.processes.iter().map(|process| process.pid).collect()
    }

    fn create_call(&self) -> Call {
        let slice = self.unit.slice.as_deref().map(|slice| Property::known("Slice", slice));
        let properties = slice.into_iter().chain(self.properties()).collect();
        let (processes, by_pidfd) = (self.unit.processes.to_vec(), self.carries_descriptors());
        let members = Members { processes, by_pidfd, seen: self.unit.seen };
        Call::StartTransient { unit: self.name(), properties, members }
    }

    fn create(&mut self) -> Step {
        self.state = State::Creating;
        Step::Create
    }

    fn go(&mut self, state: State, call: Call) -> Step {
        self.state = state;
        Step::Call(call)
    }

    fn inspect(&mut self, state: State) -> Step {
        let found = self.seen.as_ref().and_then(|seen| seen.found.as_ref());
        let place = match (found, self.site.root.get()) {
            (Some(group), _) => Place::Exact(group.to_string()),
            (None, Some(root)) => self.unit.place(root),
            (None, None) => {
                debug_assert_eq!(state, State::Inspecting, "the first look");
                return self.go(State::ReadingRoot, Call::of_manager("ControlGroup"));
            }
        };
        self.state = state;
        Step::Inspect(Box::new(self.inspection(place)))
    }

    fn inspection(&self, place: Place) -> Inspection {
        let NewUnit { verify, processes, .. } = &*self.unit;
        let link = |links: &PathBuf| links.join(format!("invocation:{}", self.unit.name()));
        Inspection {
            place,
            processes: processes.to_vec(),
            sights: self.sights.clone(),
            limits: if *verify { self.unit.properties.limits_among(&self.properties()) } else { Vec::new() },
            invocation_link: self.site.links.as_ref().map(link),
            layout: Arc::clone(&self.site.layout),
            everywhere: false,
        }
    }

    fn read(&mut self, state: State, interface: &str, name: &str) -> Step {
        let path = systemd1::unit_path(self.unit.name());
        self.go(state, Call::Get { path, interface: interface.into(), name: name.into() })
    }

    fn fail(&self, error: Error) -> Step {
        debug_assert!(error.asked().is_none_or(|asked| *asked == self.unit.asked));
        Step::Finish(Err(error))
    }

    fn after_create(&mut self, event: Event) -> Step {
        match event {
            Event::Job(job, JobResult::Done) => {
                self.seen().job = Some(job);
                self.inspect(State::Inspecting)
            }
            Event::Job(job, result) => {
                self.fail(Error::JobFailed { asked: self.unit.asked.clone(), job, result })
            }
            Event::Refused(error) if self.falls_back(&error) => self.create(),
            Event::Refused(error) => match refusal(self.unit.asked.clone(), &self.create_call(), error) {
                Error::UnitExists { .. } => self.go(State::ReadingActivity, get_state(self.unit.name())),
                // The same attempt again: nothing was created, and each time there is one less to leave out.
                Error::UnknownProperty { property, .. } if self.leave_out(&property) => self.create(),
                other => self.fail(other),
            },
            Event::Answer(_) | Event::Inspected(_) | Event::Changed(_) => {
                self.fail(out_of_step(&self.unit.asked))
            }
        }
    }

    fn falls_back(&mut self, refusal: &BusError) -> bool {
        self.seen().naming.as_mut().is_some_and(|naming| naming.falls_back(refusal))
    }

    fn leave_out(&mut self, named: &str) -> bool {
        let left = leave_out(&mut self.properties(), named);
        let is_less = !left.is_empty();
        self.seen().left_out.extend(left);
        is_less
    }

    /// No look was taken before, for each needs to know it.
    fn after_root(&mut self, event: Event) -> Step {
        let answer = match event {
            Event::Answer(answer) => answer,
            Event::Refused(BusError { name, message }) => {
                let message = format!("the unit is there, and where to look for it is not told: {message}");
                return self.fail(Error::Dbus { asked: self.unit.asked.clone(), name, message });
            }
            _ => return self.fail(out_of_step(&self.unit.asked)),
        };
        match text_property(answer) {
            Some(root) => {
                // Another may have been told it at the same time.
                let _ = self.site.root.set(root);
                self.inspect(State::Inspecting)
            }
            None => self.fail(out_of_step(&self.unit.asked)),
        }
    }

    fn after_inspection(&mut self, event: Event) -> Step {
        let Event::Inspected(findings) = event else { return self.unexpected(event) };
        self.seen().invocation = findings.invocation.as_deref().and_then(|id| id.parse().ok());
        self.seen().group = findings.group;
        let nothing_left = self.has_ended(&findings);
        if nothing_left && self.is_ours() && findings.control_group.is_none() {
            // The slice is systemd's choice, and no process is left to show it.
            let interface = systemd1::type_interface(self.unit.name());
            return self.read(State::FindingGroup, &interface, "ControlGroup");
        }
        let leftover = nothing_left && self.is_ours() && findings.empty;
        let known = self.seen().invocation.is_some() || nothing_left || !findings.misplaced.is_empty();
        if known && !leftover {
            return self.judge(findings);
        }
        self.read(State::ReadingInvocation, systemd1::UNIT, "InvocationID")
    }

    fn after_finding_group(&mut self, event: Event) -> Step {
        let group = match event {
            Event::Answer(answer) => text_property(answer),
            _ => None,
        };
        match group.filter(|group| !group.is_empty()) {
            Some(group) => {
                self.seen().found = Some(group.into());
                self.inspect(State::Inspecting)
            }
            None => self.judge(Findings::default()),
        }
    }

    /// Whether the processes that were to be placed have all ended.
    fn has_ended(&self, findings: &Findings) -> bool {
        !self.unit.processes.is_empty() && findings.present.is_empty() && findings.misplaced.is_empty()
    }

    /// Whether the unit is what this request created, and not what it found.
    fn is_ours(&self) -> bool {
        matches!(self.outcome, Outcome::Created | Outcome::Replaced)
    }

    /// The ID was read from the bus: only a process that is still in place proves that it is this run's.
    fn after_invocation(&mut self, event: Event) -> Step {
        if let Event::Answer(answer) = event {
            self.seen().invocation = property(answer).and_then(|value| InvocationId::from_value(&value));
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
            let invocation = self.seen().invocation.take();
            if let Some(run) = invocation.filter(|_| findings.empty && self.state == State::InspectingAgain) {
                return self.clear(run, findings);
            }
        }
        // Without a process in it, only a group that was there before and after systemd named the run is the run's.
        let was_there = self.state == State::InspectingAgain && findings.group == self.seen().group;
        if findings.present.is_empty() && !was_there {
            findings.group = None;
        }
        if !self.unit.verify {
            findings.misplaced.clear();
            findings.gaps.clear();
        }
        if !findings.misplaced.is_empty() {
            // Either another hand moved the processes away, or systemd has not placed them for a condition of the
            // unit, and says done to that.
            let conditional = self.unit.properties.iter().any(|property| property.name() == "Conditions");
            let nobody_placed = findings.present.is_empty() && self.is_ours();
            self.seen().held = Some(findings);
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
        match self.seen().job {
            Some(job) if is_met == Some(false) => {
                self.fail(Error::ConditionUnmet { asked: self.unit.asked.clone(), job })
            }
            _ => self.misplaced(),
        }
    }

    fn take_held(&mut self) -> Findings {
        self.seen().held.take().unwrap_or_default()
    }

    fn misplaced(&mut self) -> Step {
        let processes = self.take_held().misplaced;
        self.fail(Error::Misplaced { asked: self.unit.asked.clone(), processes })
    }

    /// Stops a run that no process has reached: systemd keeps a scope for ever whose processes ended before they
    /// were placed, for it never sees that group become empty. Two looks found it empty, with systemd's own answer
    /// between them that this run has the name; one that somebody else had just begun would have had its
    /// processes by the second.
    fn clear(&mut self, run: InvocationId, findings: Findings) -> Step {
        self.seen().held = Some(findings);
        let path = run.object_path();
        self.go(State::Clearing, Call::RunJob { verb: Verb::Stop, path, mode: JobMode::Replace })
    }

    /// However that went: what was asked for is done, and there is no run left to mean.
    fn after_clearing(&mut self) -> Step {
        let findings = self.take_held();
        self.finish(findings)
    }

    /// Only what this request created is released again; a unit that was there before stays.
    fn release(&mut self, findings: Findings) -> Step {
        let is_ours = self.is_ours();
        let Some(invocation) = self.seen().invocation.filter(|_| is_ours) else {
            let (asked, gaps) = (self.unit.asked.clone(), findings.gaps);
            return self.fail(Error::Limit { asked, gaps, released: false });
        };
        self.seen().held = Some(findings);
        let path = invocation.object_path();
        self.go(State::Releasing, Call::RunJob { verb: Verb::Stop, path, mode: JobMode::Replace })
    }

    fn after_release(&mut self, event: &Event) -> Step {
        let gone = matches!(event, Event::Refused(error) if says_run_is_over(error));
        let released = gone || matches!(event, Event::Job(_, JobResult::Done));
        let gaps = self.take_held().gaps;
        self.fail(Error::Limit { asked: self.unit.asked.clone(), gaps, released })
    }

    fn finish(&mut self, findings: Findings) -> Step {
        let Seen { job, invocation, left_out, .. } = self.seen.take().map(|seen| *seen).unwrap_or_default();
        let outcome = self.outcome;
        let created = Created { outcome, job, findings, invocation, left_out };
        Step::Finish(Ok(Success::Created(Box::new(created))))
    }

    fn unexpected(&self, event: Event) -> Step {
        match event {
            Event::Refused(error) => self.fail(refusal(self.unit.asked.clone(), &self.create_call(), error)),
            _ => self.fail(out_of_step(&self.unit.asked)),
        }
    }
}

impl Plan for Create {
    fn asked(&self) -> &Asked {
        &self.unit.asked
    }

    fn start(&mut self) -> Step {
        self.attempts += 1;
        self.create()
    }

    fn creation(&mut self) -> Option<Call> {
        // Decided now, and not when it was asked for: what others have learnt of this manager since counts, and no
        // earlier request is to ask twice where a later one asks once, and so comes first.
        if self.seen().naming.as_ref().is_none_or(Naming::by_pidfd) {
            let naming = Naming::new(self.site.pidfds_unknown.clone(), &self.unit.processes);
            self.seen().naming = Some(naming);
        }
        Some(self.create_call())
    }

    fn advance(&mut self, event: Event) -> Step {
        match self.state {
            State::Creating => self.after_create(event),
            State::ReadingRoot => self.after_root(event),
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
    fn settle(&mut self, job: JobId, result: &JobResult) -> Option<Step> {
        let came_late = self.owns_its_job() && *result == JobResult::Done && !self.unit.processes.is_empty();
        came_late.then(|| self.advance(Event::Job(job, JobResult::Done)))
    }

    fn carries_descriptors(&self) -> bool {
        let naming = self.seen.as_ref().and_then(|seen| seen.naming.as_ref());
        naming.is_some_and(Naming::by_pidfd)
    }

    fn is_to_fall_back(&self) -> bool {
        let naming = self.seen.as_ref().and_then(|seen| seen.naming.as_ref());
        naming.is_some_and(Naming::is_to_fall_back)
    }

    fn is_past_its_job(&self) -> bool {
        let looks = matches!(
            self.state,
            State::ReadingRoot
                | State::Inspecting
                | State::ReadingInvocation
                | State::InspectingAgain
                | State::FindingGroup
        );
        let has_job = self.seen.as_ref().is_some_and(|seen| seen.job.is_some());
        has_job && (looks || matches!(self.state, State::Clearing | State::Releasing))
    }

    fn be_late(&mut self) {
        self.require_limits = false;
        self.sights = Sights::default();
    }

    fn owns_its_job(&self) -> bool {
        self.state == State::Creating
    }
}

#[cfg(test)]
mod tests;
