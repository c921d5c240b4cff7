//! Who is in a living unit, and the wait until nobody is: the kernel's word, for which systemd need not be up.

use super::active::Active;
use super::run::{Until, unreadable};
use crate::cgroup::Vigil;
use crate::deadline::Deadline;
use crate::error::{Asked, Operation, Result, Stage};

impl Active {
    pub(super) fn processes(&self) -> Result<Vec<u32>> {
        let asked = Asked::new(Operation::Processes, Some(&self.unit));
        let until = Until::new(&self.manager, asked, Deadline::Default)?;
        let vigil = self.watch(&until, Vigil::open)?;
        vigil.map_or(Ok(Vec::new()), |vigil| vigil.subtree().pids()).map_err(unreadable)
    }

    pub(super) fn wait_empty(&self, deadline: Deadline) -> Result<()> {
        let until = Until::new(&self.manager, Asked::new(Operation::WaitEmpty, Some(&self.unit)), deadline)?;
        let Some(mut vigil) = self.watch(&until, Vigil::open)? else { return Ok(()) };
        while !vigil.is_empty() {
            if until.is_over() {
                return Err(until.timeout(Stage::Verify));
            }
            vigil.wait(until.at, &[]).map_err(unreadable)?;
        }
        Ok(())
    }
}
