//! The end of all that is in a unit: SIGKILL for the whole subtree, until the kernel says that nothing is left.

use std::time::{Duration, Instant};

use super::active::Active;
use super::finish_nothing;
use super::run::{Until, says_over, unreadable};
use crate::cgroup::Vigil;
use crate::deadline::Deadline;
use crate::error::{Asked, Error, Operation, Result, Stage};
use crate::systemd1::Call;
use crate::unit::KillWhom;

const SIGKILL: i32 = 9;

/// From one stroke to the next, where one was not enough; doubled each time, up to the longest.
const SOON: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(500);

impl Active {
    pub(super) fn kill_all(&self, deadline: Deadline) -> Result<()> {
        let until = Until::new(&self.manager, Asked::new(Operation::KillAll, Some(&self.unit)), deadline)?;
        let Some(mut vigil) = self.open_group(Vigil::open)? else { return self.ask_current(&until) };
        self.check_current(&until)?;
        let (mut pause, mut stage, mut is_over) = (SOON, Stage::Queued, false);
        while !vigil.is_empty() {
            if until.is_over() {
                return Err(until.timeout(stage));
            }
            // Those that only v1 has, first: when cgroup v2 has none left, systemd ends the run and forgets them.
            let strays = vigil.subtree().kill_strays();
            if !is_over && !vigil.subtree().kill().map_err(killing)? {
                is_over = self.kill_through_systemd(&until)?;
            }
            strays.map_err(killing)?;
            stage = Stage::Verify;
            let next = until.at.min(Instant::now() + pause);
            while !vigil.is_empty() && Instant::now() < next {
                vigil.wait(next, &[]).map_err(unreadable)?;
            }
            pause = LONGEST.min(pause * 2);
            if !vigil.is_empty() {
                // Another stroke is for this run alone: what nothing can kill may leave its group to the next run.
                is_over = is_over || self.has_ended(&until)?;
                vigil.look().map_err(unreadable)?;
            }
        }
        Ok(())
    }

    fn has_ended(&self, until: &Until) -> Result<bool> {
        match self.check_current(until) {
            Ok(()) => Ok(false),
            Err(error) if says_over(&error) => Ok(true),
            Err(error) if error.is_timeout() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Has systemd send the signal, which it does again and again until it finds no process that it has not sent it to.
    /// Says whether the run is over.
    fn kill_through_systemd(&self, until: &Until) -> Result<bool> {
        let call = |path| Call::RunKill { path, whom: KillWhom::All, signal: SIGKILL };
        match self.ask_run(until, call, finish_nothing) {
            Ok(()) | Err(Error::NoSuchProcess { .. }) => Ok(false),
            Err(error) if says_over(&error) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

fn killing(source: std::io::Error) -> Error {
    Error::System { doing: "kill the unit's processes", source }
}
