//! The kernel's side: where processes are, which limits hold, and what becomes of a group. It reads files, writes but
//! the one that kills a group, and knows nothing of D-Bus.

mod audit;
mod compare;
mod events;
mod file;
mod gap;
mod inspect;
mod layout;
mod limit;
mod mounts;
mod path;
mod process;
pub(crate) mod siblings;
mod sight;
mod subtree;
mod table;

pub use audit::AuditFinding;
pub(crate) use audit::{Subject, audit};
pub(crate) use events::Vigil;
pub use gap::{GapReason, LimitGap};
pub use inspect::MisplacedProcess;
pub(crate) use inspect::{Findings, Inspection, Place, inspect};
pub use layout::{CgroupLayout, CgroupMode};
pub(crate) use limit::{AskedLimit, asked_limits, changed_limits, gaps, gaps_of_none, is_limit};
pub(crate) use path::unit_path;
pub(crate) use process::{Process, Unplaceable};
pub(crate) use sight::Sights;
pub(crate) use subtree::Subtree;
