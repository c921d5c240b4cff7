//! The kernel's side: where processes are and which limits hold. It reads files, and knows nothing of D-Bus.

mod inspect;
mod layout;
mod limit;
mod path;
mod process;

pub use inspect::MisplacedProcess;
pub(crate) use inspect::{Findings, Inspection, Place, inspect};
pub use layout::{CgroupLayout, CgroupMode};
pub(crate) use limit::asked_limits;
pub use limit::{GapReason, LimitGap};
pub(crate) use path::unit_path;
pub(crate) use process::{Process, Unplaceable};
