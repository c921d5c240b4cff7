//! The steps that change a living unit's properties: the call, and again without what this systemd does not know.

use super::optional::leave_out;
use super::plan::{
    Event, Plan, Step, Success, get_state, out_of_step, refusal, run_is_over, says_run_is_over,
};
use crate::error::{Asked, Error};
use crate::job::InvocationId;
use crate::systemd1::Call;
use crate::unit::Property;

/// Properties to set, and how far that is. systemd looks at all of them before it changes anything, so that a refusal
/// leaves the unit as it was.
#[derive(Debug)]
pub(crate) struct Set {
    pub asked: Asked,
    pub unit: String,
    /// The one run that is meant; `None` for whatever has the name.
    pub run: Option<InvocationId>,
    pub runtime: bool,
    pub properties: Vec<Property>,
    left_out: Vec<String>,
    run_is_over: bool,
}

/// What was set.
#[derive(Debug)]
pub(crate) struct Changed {
    pub properties: Vec<Property>,
    pub left_out: Vec<String>,
}

impl Set {
    pub(crate) fn new(
        asked: Asked,
        unit: String,
        run: Option<InvocationId>,
        runtime: bool,
        properties: Vec<Property>,
    ) -> Set {
        Set { asked, unit, run, runtime, properties, left_out: Vec::new(), run_is_over: false }
    }

    fn call(&self) -> Call {
        let (runtime, properties) = (self.runtime, self.properties.clone());
        match self.run {
            Some(run) => Call::RunSet { path: run.object_path(), runtime, properties },
            None => Call::Set { unit: self.unit.clone(), runtime, properties },
        }
    }

    fn after_refusal(&mut self, error: Error) -> Step {
        let Error::UnknownProperty { property, .. } = &error else { return Step::Finish(Err(error)) };
        let left = leave_out(&mut self.properties, property);
        if left.is_empty() {
            return Step::Finish(Err(error));
        }
        self.left_out.extend(left);
        Step::Call(self.call())
    }
}

impl Plan for Set {
    fn asked(&self) -> &Asked {
        &self.asked
    }

    fn start(&mut self) -> Step {
        Step::Call(self.call())
    }

    fn advance(&mut self, event: Event) -> Step {
        if let Some(run) = self.run.filter(|_| self.run_is_over) {
            return Step::Finish(Err(run_is_over(self.asked.clone(), run, &event)));
        }
        match event {
            Event::Answer(_) => {
                let changed = Changed {
                    properties: std::mem::take(&mut self.properties),
                    left_out: std::mem::take(&mut self.left_out),
                };
                Step::Finish(Ok(Success::Changed(Box::new(changed))))
            }
            Event::Refused(error) if self.run.is_some() && says_run_is_over(&error) => {
                self.run_is_over = true;
                Step::Call(get_state(&self.unit))
            }
            Event::Refused(error) => self.after_refusal(refusal(self.asked.clone(), &self.call(), error)),
            _ => Step::Finish(Err(out_of_step(&self.asked))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Operation;
    use crate::systemd1::BusError;
    use crate::unit::Value;

    fn set(run: Option<&str>) -> Set {
        let property = |name: &str| Property::new(name, 1u64);
        let properties =
            vec![property("TasksMax"), property("NotYet").optional(), property("NorThis").optional()];
        let asked = Asked::new(Operation::Set, Some("a.scope"));
        Set::new(asked, "a.scope".into(), run.map(|id| id.parse().expect("an ID")), true, properties)
    }

    fn refused(name: &str, message: &str) -> Event {
        Event::Refused(BusError { name: name.into(), message: message.into() })
    }

    fn unknown(message: &str) -> Event {
        refused("org.freedesktop.DBus.Error.PropertyReadOnly", message)
    }

    fn sent(step: Step) -> Vec<String> {
        match step {
            Step::Call(Call::Set { properties, .. } | Call::RunSet { properties, .. }) => {
                properties.iter().map(|property| property.name().into()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_optional_is_left_out_one_by_one_and_told() {
        let mut set = set(None);
        assert_eq!(sent(Step::Call(set.call())), ["TasksMax", "NotYet", "NorThis"]);
        let step = set.advance(unknown("Cannot set property NotYet, or unknown property."));
        assert_eq!(sent(step), ["TasksMax", "NorThis"]);
        let step = set.advance(unknown("Cannot set property NorThis, or unknown property."));
        assert_eq!(sent(step), ["TasksMax"]);
        match set.advance(Event::Answer(Vec::new())) {
            Step::Finish(Ok(Success::Changed(changed))) => {
                assert_eq!(changed.left_out, ["NotYet", "NorThis"]);
                assert_eq!(changed.properties, [Property::new("TasksMax", 1u64)]);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_optional_names_itself_and_ends_the_request() {
        let mut set = set(None);
        // Where systemd does not say which, all that may be left out is, and then there is no more to try.
        assert_eq!(sent(set.advance(unknown("no"))), ["TasksMax"]);
        let step = set.advance(unknown("Cannot set property TasksMax, or unknown property."));
        match step {
            Step::Finish(Err(Error::UnknownProperty { property, .. })) => assert_eq!(property, "TasksMax"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_run_that_is_over_is_told_from_one_that_was_replaced() {
        for (state, replaced) in [("active", true), ("inactive", false)] {
            let mut set = set(Some("0123456789abcdef0123456789abcdef"));
            assert!(matches!(set.call(), Call::RunSet { .. }));
            let step = set.advance(refused("org.freedesktop.systemd1.NoUnitForInvocationID", "no"));
            assert!(matches!(step, Step::Call(Call::Get { .. })), "{step:?}");
            let answer = vec![Value::Variant(Box::new(state.into()))];
            match set.advance(Event::Answer(answer)) {
                Step::Finish(Err(Error::Superseded { .. })) => assert!(replaced),
                Step::Finish(Err(Error::NoSuchUnit { .. })) => assert!(!replaced),
                other => panic!("{other:?}"),
            }
        }
    }
}
