//! Ctrl-C while a scope is being made. To die at that moment would leave half a scope: systemd keeps one for ever
//! whose process ended before it was placed, for it never sees that control group become empty.
//!
//! So the signals are held back from the request to its answer, which takes systemd milliseconds. One that comes is
//! obeyed once the scope is whole, or known not to be; and at the latest after a moment, if systemd is silent.

use std::fs;
use std::process;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use unitwait::{ActiveScope, Deadline, Error, Manager, Ticket};

use crate::failure::Failure;

/// What ends a program from outside.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// For how long a silent systemd can hold up the end: of a program that was told to end, or missed its deadline.
const PATIENCE: Duration = Duration::from_millis(250);

/// How soon a signal is noticed. A ticket has a channel and a signal a descriptor, and nothing waits for both.
const TICK: Duration = Duration::from_millis(10);

/// Signals that are held back until this is dropped.
pub struct HeldSignals {
    before: SigSet,
    arrived: SignalFd,
}

impl HeldSignals {
    pub fn hold() -> Result<HeldSignals, Failure> {
        let system =
            |errno: Errno| Failure::System { doing: "hold back signals".into(), source: errno.into() };
        let before = SigSet::thread_get_mask().map_err(system)?;
        let ignored = ignored();
        let ours =
            ENDING.into_iter().filter(|signal| !before.contains(*signal) && !ignored.contains(*signal));
        let held: SigSet = ours.collect();
        held.thread_block().map_err(system)?;
        // From here on `drop` puts the mask back.
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        match SignalFd::with_flags(&held, flags) {
            Ok(arrived) => Ok(HeldSignals { before, arrived }),
            Err(errno) => {
                let _ = before.thread_set_mask();
                Err(system(errno))
            }
        }
    }

    /// The ticket's answer; or does not return, where a signal came first.
    pub fn wait(
        &self,
        manager: Manager,
        ticket: Ticket<ActiveScope>,
        until: Instant,
    ) -> Result<(Manager, ActiveScope), Error> {
        let answer = loop {
            match ticket.receiver().recv_timeout(TICK) {
                Ok(answer) => break answer,
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
                Err(_) => break ticket.wait(Deadline::Default),
            }
            if let Some(signal) = self.arrived() {
                let _ = ticket.wait(PATIENCE);
                // Closes the connection once the driver has sent what it had to.
                drop(manager);
                self.obey(signal);
            }
        };
        if answer.as_ref().is_err_and(Error::is_timeout) {
            settle(&manager);
        }
        answer.map(|active| (manager, active))
    }

    fn arrived(&self) -> Option<Signal> {
        let info = self.arrived.read_signal().ok().flatten()?;
        i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok())
    }

    fn obey(&self, signal: Signal) -> ! {
        let _ = self.before.thread_set_mask();
        let _ = raise(signal);
        process::exit(128 + signal as i32)
    }
}

impl Drop for HeldSignals {
    /// One that came after the last look takes effect here.
    fn drop(&mut self) {
        let _ = self.before.thread_set_mask();
    }
}

/// Gives the driver a moment to cancel what came too late.
fn settle(manager: &Manager) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until && manager.stats().is_ok_and(|stats| stats.settling > 0) {
        std::thread::sleep(TICK);
    }
}

/// Those that this process was started to ignore, as `nohup` does (`proc(5)`, `SigIgn`).
fn ignored() -> SigSet {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    let mask = mask.unwrap_or_default();
    ENDING.into_iter().filter(|signal| mask >> (*signal as u32 - 1) & 1 == 1).collect()
}
