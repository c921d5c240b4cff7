//! How a run ended, for C.

use std::ffi::{c_char, c_int};
use std::os::unix::process::ExitStatusExt;

use super::error::{Failure, answer, unitwait_code, unitwait_error};
use super::pass::Out;
use crate::manager::{Ended, Ending};

/// How a run ended.
#[derive(Clone, Copy)]
#[repr(C)]
pub enum unitwait_ending {
    /// Its processes ended, by themselves or by signals of which systemd was not the sender.
    UNITWAIT_ENDED_EXITED = 0,
    /// Its process was killed by a signal; told of spawned children alone.
    UNITWAIT_ENDED_KILLED = 1,
    /// It was stopped by request, and a wait was there to see it.
    UNITWAIT_ENDED_STOPPED = 2,
    /// It was killed for want of memory.
    UNITWAIT_ENDED_OOM_KILLED = 3,
    /// It ran out of time.
    UNITWAIT_ENDED_TIMED_OUT = 4,
    /// It failed.
    UNITWAIT_ENDED_FAILED = 5,
    /// It is over, and nobody knows how.
    UNITWAIT_ENDED_UNKNOWN = 6,
}

/// The end of a run.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct unitwait_ended {
    /// How it came about.
    pub ending: unitwait_ending,
    /// The signal that killed it, 0 for none.
    pub signal: c_int,
    /// The child's status as wait(2) has it, -1 where it is not known.
    pub status: c_int,
    /// systemd's own word for the result ("success", "oom-kill", …), empty where it has none.
    pub result: [c_char; 32],
}

impl unitwait_ended {
    /// Before anything is known.
    const NOTHING: unitwait_ended = unitwait_ended {
        ending: unitwait_ending::UNITWAIT_ENDED_UNKNOWN,
        signal: 0,
        status: -1,
        result: [0; 32],
    };
}

/// Answers a call that waits for an end.
pub(super) fn answer_end(
    to: Out<unitwait_ended>,
    error: Out<*mut unitwait_error>,
    wait: impl FnOnce() -> Result<Ended, Failure>,
) -> unitwait_code {
    to.put(unitwait_ended::NOTHING);
    answer(error, || {
        to.put(ended(&wait()?));
        Ok(())
    })
}

fn ended(end: &Ended) -> unitwait_ended {
    use unitwait_ending::*;
    let (ending, signal) = match end.ending {
        Ending::Exited => (UNITWAIT_ENDED_EXITED, 0),
        Ending::Killed(signal) => (UNITWAIT_ENDED_KILLED, signal),
        Ending::Stopped => (UNITWAIT_ENDED_STOPPED, 0),
        Ending::OomKilled => (UNITWAIT_ENDED_OOM_KILLED, 0),
        Ending::TimedOut => (UNITWAIT_ENDED_TIMED_OUT, 0),
        Ending::Failed => (UNITWAIT_ENDED_FAILED, 0),
        Ending::Unknown => (UNITWAIT_ENDED_UNKNOWN, 0),
    };
    let status = end.status.map_or(-1, ExitStatusExt::into_raw);
    let mut result = [0; 32];
    // The last place stays a NUL.
    let word = end.result.as_deref().unwrap_or_default().bytes().take(result.len() - 1);
    result.iter_mut().zip(word).for_each(|(to, byte)| *to = c_char::from_ne_bytes([byte]));
    unitwait_ended { ending, signal, status, result }
}
