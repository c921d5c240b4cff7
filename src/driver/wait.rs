//! The steps that wait for the end of one run: hold it, read its state, and follow its changes.
//!
//! A reference (`Ref()`) makes systemd tell of this unit's changes, though nobody has subscribed to all, and keeps
//! the result readable once the run is over; so nothing is polled and PID 1 need not tell of every unit. Where no
//! reference is to be had, for want of rights or of room for match rules, all changes are subscribed to.

use super::plan::{Event, Plan, Step, Success, out_of_step, refusal, says_run_is_over};
use crate::error::Asked;
use crate::systemd1::{self, BusError, Call, UnitChange};

/// How a run ended, in systemd's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunEnd {
    /// The unit's result; `None` where it was forgotten before it could be read, as one that ended well is.
    pub result: Option<String>,
    /// Whether it was seen to be stopped, and not to end by itself.
    pub stopped: bool,
    /// Whether its end was told, and not only found to have been.
    pub was_told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Referring,
    Reading,
    Following,
}

/// A run to wait for, and how far it is.
#[derive(Debug)]
pub(crate) struct Wait {
    asked: Asked,
    /// The object of this run, and no other.
    run: String,
    /// The object by the unit's name, of which changes are told.
    unit_path: String,
    state: State,
    by_subscription: bool,
    /// Whether its end was told while it was being read, so that what was read may be older.
    in_doubt: bool,
    seen: RunEnd,
}

impl Wait {
    pub(crate) fn new(asked: Asked, unit: &str, run: String) -> Wait {
        Wait {
            asked,
            run,
            unit_path: systemd1::unit_path(unit),
            state: State::Referring,
            by_subscription: false,
            in_doubt: false,
            // Nothing but a stop ends a slice, and systemd tells of no state between.
            seen: RunEnd { stopped: unit.ends_with(".slice"), ..RunEnd::default() },
        }
    }

    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    pub(crate) fn unit_path(&self) -> &str {
        &self.unit_path
    }

    pub(crate) fn is_starting(&self) -> bool {
        self.state == State::Referring
    }

    /// Whether the changes reach this client only if it subscribes.
    pub(crate) fn wants_subscription(&self) -> bool {
        self.by_subscription
    }

    /// Does without a reference from the start.
    pub(crate) fn subscribe(&mut self) -> Step {
        self.by_subscription = true;
        self.read()
    }

    /// Begins anew on another connection, to which the references of the last do not belong.
    pub(crate) fn start_again(&mut self) -> Step {
        self.by_subscription = false;
        self.start()
    }

    /// Looks at the run again, for changes may have gone unheard.
    pub(crate) fn read(&mut self) -> Step {
        self.state = State::Reading;
        Step::Call(Call::GetAll { path: self.run.clone(), interface: String::new() })
    }

    /// Its end is told while it is being read.
    pub(crate) fn doubt(&mut self, change: &UnitChange) {
        self.remember(change);
        self.in_doubt |= change.is_over();
    }

    fn after_no_reference(&mut self, error: &BusError) -> Step {
        if says_run_is_over(error) {
            return self.over();
        }
        self.subscribe()
    }

    fn note(&mut self, change: &UnitChange) -> Step {
        self.remember(change);
        if change.is_over() {
            return self.over();
        }
        if std::mem::take(&mut self.in_doubt) {
            return self.read();
        }
        self.state = State::Following;
        Step::Follow
    }

    fn remember(&mut self, change: &UnitChange) {
        self.seen.stopped |= change.is_stopping();
        self.seen.was_told |= change.is_over();
        // A run that goes on reads as one that ended well.
        let is_told = change.is_over() || change.result.as_deref() != Some("success");
        if change.result.is_some() && is_told {
            self.seen.result.clone_from(&change.result);
        }
    }

    fn over(&mut self) -> Step {
        Step::Finish(Ok(Success::Ended(std::mem::take(&mut self.seen))))
    }
}

impl Plan for Wait {
    fn asked(&self) -> &Asked {
        &self.asked
    }

    fn start(&mut self) -> Step {
        self.state = State::Referring;
        Step::Call(Call::RunRef { path: self.run.clone() })
    }

    fn as_wait(&mut self) -> Option<&mut Wait> {
        Some(self)
    }

    fn advance(&mut self, event: Event) -> Step {
        match (self.state, event) {
            (State::Referring, Event::Answer(_)) => self.read(),
            (State::Referring, Event::Refused(error)) => self.after_no_reference(&error),
            (State::Reading, Event::Answer(values)) => match UnitChange::read(&values) {
                Some(change) => self.note(&change),
                None => Step::Finish(Err(out_of_step(&self.asked))),
            },
            (State::Reading, Event::Refused(error)) if says_run_is_over(&error) => self.over(),
            (State::Reading, Event::Refused(error)) => {
                let call = Call::GetAll { path: self.run.clone(), interface: String::new() };
                Step::Finish(Err(refusal(self.asked.clone(), &call, error)))
            }
            (State::Following, Event::Changed(change)) if change.is_over() => {
                // The result is in another message, or was: the run itself has both.
                self.remember(&change);
                self.read()
            }
            (State::Following, Event::Changed(change)) => self.note(&change),
            _ => Step::Finish(Err(out_of_step(&self.asked))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Operation;
    use crate::unit::Value;

    const RUN: &str = "/org/freedesktop/systemd1/unit/_3123";

    fn wait() -> Wait {
        let mut wait = Wait::new(Asked::new(Operation::Wait, Some("x.scope")), "x.scope", RUN.into());
        assert!(matches!(wait.start(), Step::Call(Call::RunRef { path }) if path == RUN));
        wait
    }

    fn properties(active: &str, sub: &str, result: &str) -> Event {
        let entry = |name: &str, text: &str| {
            Value::Entry(Box::new((Value::from(name), Value::Variant(Box::new(Value::from(text))))))
        };
        let entries = vec![entry("ActiveState", active), entry("SubState", sub), entry("Result", result)];
        Event::Answer(vec![Value::Array("{sv}".into(), entries)])
    }

    fn change(active: &str, sub: &str) -> Event {
        let (active_state, sub_state) = (Some(active.into()), Some(sub.into()));
        Event::Changed(UnitChange { active_state, sub_state, result: None })
    }

    fn end(step: Step) -> RunEnd {
        match step {
            Step::Finish(Ok(Success::Ended(end))) => end,
            other => panic!("{other:?}"),
        }
    }

    fn refused(name: &str) -> Event {
        Event::Refused(BusError { name: name.into(), message: String::new() })
    }

    #[test]
    fn a_run_is_followed_to_its_end_with_what_became_of_it() {
        let mut wait = wait();
        assert!(matches!(wait.advance(Event::Answer(Vec::new())), Step::Call(Call::GetAll { .. })));
        assert!(matches!(wait.advance(properties("active", "running", "success")), Step::Follow));
        assert!(matches!(wait.advance(change("deactivating", "stop-sigterm")), Step::Follow));
        assert!(matches!(wait.advance(change("failed", "failed")), Step::Call(Call::GetAll { .. })));
        let seen = end(wait.advance(properties("failed", "failed", "timeout")));
        assert_eq!(seen, RunEnd { result: Some("timeout".into()), stopped: true, was_told: true });
    }

    #[test]
    fn a_run_that_is_over_already_is_no_error() {
        let mut wait = wait();
        let over = refused("org.freedesktop.systemd1.NoUnitForInvocationID");
        assert_eq!(end(wait.advance(over)), RunEnd::default());
    }

    #[test]
    fn where_no_reference_is_to_be_had_the_changes_are_subscribed_to() {
        let mut wait = wait();
        wait.advance(refused("org.freedesktop.DBus.Error.AccessDenied"));
        assert!(wait.wants_subscription());
        wait.advance(properties("active", "running", "success"));
        wait.advance(change("inactive", "dead"));
        let seen = end(wait.advance(refused("org.freedesktop.systemd1.NoUnitForInvocationID")));
        assert_eq!((seen.result, seen.was_told), (None, true), "what it read as while it ran is no result");
    }
}
