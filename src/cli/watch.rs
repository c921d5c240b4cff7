//! `watch`: a line for each change of a unit, until it is ended, or nobody reads any more.

use std::io;
use std::os::fd::AsFd;
use std::thread;

use crossbeam_channel::{Receiver, Sender, at, bounded, never, select};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value as Json, json};
use unitwait::{Error, UnitEvent, Watch};

use crate::failure::Failure;
use crate::live::no_thread;
use crate::name::patterns;
use crate::output::Output;
use crate::session::Session;

pub fn watch(session: &Session, given: &[String]) -> Result<(), Failure> {
    let patterns = patterns(given);
    let manager = session.open()?;
    let names: Vec<&str> = patterns.iter().map(String::as_str).collect();
    let mut teller = Teller { output: session.output, dropped: 0 };
    let watch = manager.watch(&names, session.deadline())?;
    log::debug!("watching {}", names.join(" "));
    let end = session.given_end().map_or_else(never, at);
    let (held, gone) = reader_gone()?;
    loop {
        select! {
            recv(watch.receiver()) -> event => {
                let Ok(event) = event else {
                    return Err(Error::Closed { reason: "it has ended".into() }.into());
                };
                if !teller.tell(&watch, &event)? {
                    return Ok(());
                }
            }
            recv(gone) -> _ => return Ok(()),
            recv(end) -> _ => break,
        }
    }
    drop(held);
    for event in watch.receiver().try_iter() {
        if !teller.tell(&watch, &event)? {
            break;
        }
    }
    Ok(())
}

struct Teller {
    output: Output,
    dropped: u64,
}

impl Teller {
    /// Tells an event, and of those that there was no room for. False where nobody reads any more.
    fn tell(&mut self, watch: &Watch, event: &UnitEvent) -> Result<bool, Failure> {
        if *event == UnitEvent::Interrupted {
            self.output.warning(
                "interrupted",
                "the connection or the manager was away, and changes may have been missed: look at the units again",
            );
        }
        let dropped = watch.dropped() - self.dropped;
        if dropped > 0 {
            self.dropped += dropped;
            self.output
                .warning("dropped", &format!("{dropped} changes were dropped, for they were not read"));
            let gap = || json!({ "event": "dropped", "count": dropped });
            if !self.output.entry(gap, String::new)? {
                return Ok(false);
            }
        }
        self.output.entry(|| object(event), || line(event))
    }
}

fn line(event: &UnitEvent) -> String {
    match event {
        UnitEvent::Loaded { unit } => format!("{unit} loaded"),
        UnitEvent::Changed { unit, active_state, sub_state } => format!("{unit} {active_state}/{sub_state}"),
        UnitEvent::Unloaded { unit } => format!("{unit} unloaded"),
        _ => String::new(),
    }
}

fn object(event: &UnitEvent) -> Json {
    match event {
        UnitEvent::Loaded { unit } => json!({ "event": "loaded", "unit": unit }),
        UnitEvent::Changed { unit, active_state, sub_state } => {
            json!({ "event": "changed", "unit": unit, "active_state": active_state, "sub_state": sub_state })
        }
        UnitEvent::Unloaded { unit } => json!({ "event": "unloaded", "unit": unit }),
        UnitEvent::Interrupted => json!({ "event": "interrupted" }),
        _ => json!({ "event": "other" }),
    }
}

/// Brings a message when stdout's reader has left, which a write would tell only at the next change. The sender is to
/// be kept, or its end would pass for one.
fn reader_gone() -> Result<(Sender<()>, Receiver<()>), Failure> {
    let (held, gone) = bounded(1);
    let to = held.clone();
    let look = move || {
        let stdout = io::stdout();
        // Asked for nothing, poll(2) tells of a closed pipe or terminal alone.
        let mut reader = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        while poll(&mut reader, PollTimeout::NONE) == Err(Errno::EINTR) {}
        if reader[0].any() == Some(true) {
            let _ = to.try_send(());
        }
    };
    thread::Builder::new().name("stdout".into()).spawn(look).map_err(no_thread)?;
    Ok((held, gone))
}
