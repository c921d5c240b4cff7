//! `create`: running processes into a new scope; and what `run` shares with it, the scope that options describe.

use std::thread;
use std::time::{Duration, Instant};

use unitwait::{ActiveScope, Error, Manager, Scope, Spread};

use crate::args::{Create, ScopeOptions};
use crate::failure::Failure;
use crate::live::Live;
use crate::name::{unique, with_suffix};
use crate::output::{outcome, scope_json};
use crate::property::Assignments;
use crate::session::Session;

pub fn create(session: &Session, asked: &Create) -> Result<(), Failure> {
    let name = name(&asked.scope);
    let scope = scope(&name, &asked.scope)?.require_limits(asked.scope.require_limits);
    let scope = scope.pids(asked.pid.iter().copied());
    scope.check()?;
    let (_manager, active) = place(session, &asked.scope, &name, &scope)?;
    session.output.limit_gaps(active.unit(), active.limit_gaps());
    session.output.result(
        || scope_json(&active),
        || format!("{} {} in {}", active.unit(), outcome(active.outcome()), active.control_group()),
    )?;
    session.output.picture(active.unit(), active.stages());
    Ok(())
}

/// For how long a silent systemd can hold up the end: of a program that was told to end, or missed its deadline.
const PATIENCE: Duration = Duration::from_millis(250);

/// How often it is looked whether what came too late is settled.
const TICK: Duration = Duration::from_millis(10);

/// Opens the manager and creates the scope.
///
/// To die in the midst of it would leave half a scope: systemd keeps one for ever whose process ended before it was
/// placed, for it never sees that control group become empty. So a signal is obeyed once the scope is whole, or known
/// not to be, which takes systemd milliseconds; and at the latest after a moment, if systemd is silent.
pub fn place(
    session: &Session,
    options: &ScopeOptions,
    name: &str,
    scope: &Scope,
) -> Result<(Manager, ActiveScope), Failure> {
    let units = [name.to_string()];
    // What stands in a slice is counted before anything is asked for, once the manager has told where that is.
    let (mut live, manager) = match options.spread {
        Some(Spread::Auto) => Live::open(session, &units)?,
        _ => Live::open_lazily(session, &units)?,
    };
    let answer = match live.answer(manager.submit(scope, session.until())?) {
        Ok(answer) => answer,
        Err((signal, ticket)) => {
            let _ = ticket.wait(PATIENCE);
            // Closes the connection once the driver has sent what it had to.
            drop(manager);
            live.obey(signal)
        }
    };
    if answer.as_ref().is_err_and(Error::is_timeout) {
        settle(&manager);
    }
    Ok((manager, answer?))
}

/// Gives the driver a moment to cancel what came too late.
fn settle(manager: &Manager) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until && manager.stats().is_ok_and(|stats| stats.settling > 0) {
        thread::sleep(TICK);
    }
}

/// The name that the options give the scope, or one that no other has.
pub fn name(options: &ScopeOptions) -> String {
    options.unit.as_ref().map_or_else(unique, |name| with_suffix(name, ".scope"))
}

/// The scope that the options describe, with no process yet.
pub fn scope(name: &str, options: &ScopeOptions) -> Result<Scope, Failure> {
    let mut scope = Scope::new(name).on_exists(options.on_exists.into());
    for property in Assignments::read(&options.property)?.properties {
        // The library takes the slice by itself: it works out the control group's path from it.
        scope = match (property.name(), property.value().as_str()) {
            ("Slice", Some(slice)) => scope.slice(with_suffix(slice, ".slice")),
            _ => scope.property(property),
        };
    }
    if let Some(slice) = &options.slice {
        scope = scope.slice(with_suffix(slice, ".slice"));
    }
    if let Some(spread) = options.spread {
        scope = scope.spread(spread);
    }
    if let Some(text) = &options.description {
        scope = scope.description(text);
    }
    if options.delegate {
        scope = scope.delegate(true);
    }
    Ok(scope)
}
