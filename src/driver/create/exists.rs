//! What to do where the unit exists: clear it away, join it, replace it, or take it as it is.

use super::{Create, MOST_ATTEMPTS, State};
use crate::cgroup::Place;
use crate::driver::plan::{Event, Outcome, Plan, Step, property, refusal, says_run_is_over, text_property};
use crate::error::Error;
use crate::job::{JobMode, JobResult};
use crate::systemd1::{self, BusError, Call, Verb};
use crate::unit::OnExists;

impl Create {
    /// The name is taken: a failed or just dying leftover is cleared away, anything else is the policy's.
    pub(super) fn after_state(&mut self, event: Event) -> Step {
        let Event::Answer(answer) = event else { return self.unexpected(event) };
        let state = text_property(answer).unwrap_or_default();
        let retry = self.attempts < MOST_ATTEMPTS;
        match (state.as_str(), self.unit.on_exists) {
            ("active", OnExists::Accept) => {
                self.outcome = Outcome::Accepted;
                self.inspect(State::Inspecting)
            }
            (_, OnExists::Accept) => {
                self.outcome = Outcome::Accepted;
                let (verb, unit) = (Verb::Start, self.name());
                self.go(State::Starting, Call::UnitJob { verb, unit, mode: JobMode::Replace })
            }
            ("failed" | "inactive", _) if retry => {
                self.go(State::Resetting, Call::ResetFailed { unit: self.name() })
            }
            (_, OnExists::Join) => self.read_group(),
            (_, OnExists::Replace) if retry => self.read_group(),
            _ => self.fail(Error::UnitExists { asked: self.unit.asked.clone(), state: Some(state) }),
        }
    }

    pub(super) fn read_group(&mut self) -> Step {
        let interface = systemd1::type_interface(self.unit.name());
        self.read(State::ReadingGroup, &interface, "ControlGroup")
    }

    pub(super) fn after_group(&mut self, event: Event) -> Step {
        let Event::Answer(answer) = event else { return self.unexpected(event) };
        let group = text_property(answer).unwrap_or_default();
        if group.is_empty() {
            // It ended between two messages; the name may be free now.
            return self.again();
        }
        if self.unit.on_exists == OnExists::Join {
            self.seen().found = Some(group.into());
            return self.inspect(State::LookingInside);
        }
        // Where the old unit is; the new one may be elsewhere.
        self.state = State::LookingInside;
        Step::Inspect(Box::new(self.inspection(Place::Exact(group))))
    }

    pub(super) fn again(&mut self) -> Step {
        if self.attempts < MOST_ATTEMPTS {
            return self.start();
        }
        self.fail(Error::UnitExists { asked: self.unit.asked.clone(), state: None })
    }

    pub(super) fn after_look_inside(&mut self, event: Event) -> Step {
        let Event::Inspected(findings) = event else { return self.unexpected(event) };
        if self.unit.on_exists == OnExists::Join {
            self.outcome = Outcome::Joined;
            if findings.misplaced.is_empty() && !findings.present.is_empty() {
                return self.after_inspection(Event::Inspected(findings));
            }
            return self.go(State::Attaching, self.attach_call());
        }
        if let Some(&pid) = findings.present.first() {
            return self.fail(Error::WouldKill { asked: self.unit.asked.clone(), pid });
        }
        self.outcome = Outcome::Replaced;
        let (verb, unit) = (Verb::Stop, self.name());
        self.go(State::StoppingOld, Call::UnitJob { verb, unit, mode: JobMode::Replace })
    }

    pub(super) fn after_stop(&mut self, event: Event) -> Step {
        match event {
            Event::Job(_, JobResult::Done) => {
                self.go(State::Resetting, Call::ResetFailed { unit: self.name() })
            }
            Event::Job(job, result) => {
                self.fail(Error::JobFailed { asked: self.unit.asked.clone(), job, result })
            }
            Event::Refused(error) if says_run_is_over(&error) => self.again(),
            other => self.unexpected(other),
        }
    }

    pub(super) fn attach_call(&self) -> Call {
        Call::Attach { unit: self.name(), pids: self.pids() }
    }

    pub(super) fn after_attach(&mut self, event: Event) -> Step {
        match event {
            Event::Answer(_) => self.inspect(State::Inspecting),
            Event::Refused(error) => {
                match refusal(self.unit.asked.clone(), &self.attach_call(), error) {
                    // The refusal of a unit without delegation has no name of its own, so the unit is asked.
                    Error::Dbus { name, message, .. } => {
                        self.seen().refusal = Some(BusError { name, message });
                        let interface = systemd1::type_interface(self.unit.name());
                        self.read(State::ReadingDelegate, &interface, "Delegate")
                    }
                    other => self.fail(other),
                }
            }
            other => self.unexpected(other),
        }
    }

    pub(super) fn after_delegate(&mut self, event: Event) -> Step {
        let delegated = match event {
            Event::Answer(answer) => property(answer).and_then(|value| value.as_bool()),
            _ => None,
        };
        let asked = self.unit.asked.clone();
        match self.seen().refusal.take() {
            Some(BusError { name, message }) if delegated != Some(false) => {
                self.fail(Error::Dbus { asked, name, message })
            }
            _ => self.fail(Error::NotDelegated { asked }),
        }
    }

    pub(super) fn after_start(&mut self, event: Event) -> Step {
        match event {
            Event::Job(job, JobResult::Done) => {
                self.seen().job = Some(job);
                self.inspect(State::Inspecting)
            }
            Event::Job(job, result) => {
                self.fail(Error::JobFailed { asked: self.unit.asked.clone(), job, result })
            }
            other => self.unexpected(other),
        }
    }
}
