//! `create`: running processes into a new scope; and what `run` shares with it, the scope that options describe.

use unitwait::{ActiveScope, Manager, Property, Scope, Value};

use crate::args::{Create, ScopeOptions};
use crate::failure::Failure;
use crate::interrupt::HeldSignals;
use crate::name::{unique, with_suffix};
use crate::output::{log_stages, outcome, scope_json};
use crate::property;
use crate::session::Session;

pub fn create(session: &Session, asked: &Create) -> Result<(), Failure> {
    let scope = scope(&asked.scope)?.require_limits(asked.scope.require_limits);
    let scope = scope.pids(asked.pid.iter().copied());
    scope.check()?;
    let (_manager, active) = place(session, &scope)?;
    session.output.limit_gaps(active.unit(), active.limit_gaps());
    session.output.result(
        || scope_json(&active),
        || format!("{} {} in {}", active.unit(), outcome(active.outcome()), active.control_group()),
    )
}

/// Opens the manager and creates the scope. Ctrl-C ends this at once where nothing was asked for yet, and in the
/// midst of it without leaving half a scope.
pub fn place(session: &Session, scope: &Scope) -> Result<(Manager, ActiveScope), Failure> {
    let manager = session.open()?;
    let signals = HeldSignals::hold()?;
    let ticket = manager.submit(scope, session.until())?;
    let (manager, active) = signals.wait(manager, ticket, session.until())?;
    drop(signals);
    log_stages(active.unit(), active.stages());
    Ok((manager, active))
}

/// The scope that the options describe, with no process yet.
pub fn scope(options: &ScopeOptions) -> Result<Scope, Failure> {
    let name = options.unit.as_ref().map_or_else(unique, |name| with_suffix(name, ".scope"));
    let mut scope = Scope::new(name).on_exists(options.on_exists.into());
    for property in properties(&options.property)? {
        // The library takes the slice by itself: it works out the control group's path from it.
        scope = match (property.name(), property.value().as_str()) {
            ("Slice", Some(slice)) => scope.slice(with_suffix(slice, ".slice")),
            _ => scope.property(property),
        };
    }
    if let Some(slice) = &options.slice {
        scope = scope.slice(with_suffix(slice, ".slice"));
    }
    if let Some(text) = &options.description {
        scope = scope.description(text);
    }
    if options.delegate {
        scope = scope.delegate(true);
    }
    Ok(scope)
}

fn properties(given: &[String]) -> Result<Vec<Property>, Failure> {
    let mut all = Vec::new();
    for text in given {
        for property in property::parse(text)? {
            add(&mut all, property);
        }
    }
    Ok(all)
}

/// As in a unit file, the last one counts, and lists grow until an empty one resets them.
fn add(all: &mut Vec<Property>, new: Property) {
    let old = all.iter().position(|known| is_same(known.name(), new.name())).map(|at| all.remove(at));
    all.push(match (old.as_ref().map(Property::value), new.value()) {
        (Some(Value::Array(kind, old)), Value::Array(_, items)) if kind != "y" && !items.is_empty() => {
            let grown = old.iter().chain(items).cloned().collect();
            Property::new(new.name(), Value::Array(kind.clone(), grown))
        }
        _ => new,
    });
}

/// Whether two properties on D-Bus are one in a unit file: `MemoryMax=10%` and `MemoryMax=2G` are.
fn is_same(one: &str, other: &str) -> bool {
    let in_file = |name| str::strip_suffix(name, "Scale").unwrap_or(name).to_string();
    in_file(one) == in_file(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_and_all_else_is_replaced() {
        let list = |items: &[&str]| Property::new("After", Value::strings(items.iter().copied()));
        let mut all = Vec::new();
        for property in
            [list(&["a"]), Property::new("TasksMax", 1u64), list(&["b"]), Property::new("TasksMax", 2u64)]
        {
            add(&mut all, property);
        }
        assert_eq!(all, [list(&["a", "b"]), Property::new("TasksMax", 2u64)]);
        add(&mut all, Property::new("TasksMaxScale", 7u32));
        assert_eq!(all, [list(&["a", "b"]), Property::new("TasksMaxScale", 7u32)]);
        add(&mut all, Property::new("TasksMax", 2u64));
        add(&mut all, list(&[]));
        assert_eq!(all, [Property::new("TasksMax", 2u64), list(&[])]);
    }
}
