//! Create systemd's transient units and wait for them, the blocking way: no async runtime, a deadline on every
//! call, and success only when it is true.
//!
//! `StartTransientUnit` answers with a job, and only the signal `JobRemoved` says that the job is over. Go ahead
//! too early and you race systemd for the control group; wait wrongly and you hang. This crate does the waiting:
//! a dbus thread routes each job's end into the asking caller's own channel, never blocks on a caller, and
//! believes nobody but systemd.
//!
//! ```no_run
//! use std::process::Command;
//! use std::time::Duration;
//! use unitwait::{Manager, Scope};
//!
//! let manager = Manager::system()?;
//! let child = Command::new("sleep").arg("60").spawn().expect("sleep starts");
//! let scope = Scope::new("nap.scope").pid(child.id()).slice("naps.slice").memory_max(64 << 20).tasks_max(20);
//! let active = manager.create_scope(&scope, Duration::from_secs(5))?;
//! println!("{} holds it", active.control_group());
//! active.stop(Duration::from_secs(5))?;
//! # Ok::<(), unitwait::Error>(())
//! ```

#[cfg(feature = "capi")]
mod capi;
mod cgroup;
mod deadline;
mod driver;
mod error;
mod job;
mod manager;
mod pattern;
mod sys;
mod systemd1;
mod unit;

pub use cgroup::{AuditFinding, CgroupLayout, CgroupMode, GapReason, LimitGap, MisplacedProcess};
pub use deadline::Deadline;
pub use driver::{Outcome, Stats, UnitEvent};
pub use error::{Asked, Error, Operation, Result, Stage};
pub use job::{InvocationId, JobId, JobMode, JobResult, StageTimes};
pub use manager::{
    ActiveScope, ActiveSlice, Audit, Builder, Ended, Ending, FinishedJob, Manager, Request, ScopeGuard,
    ScopedChild, Ticket, UnitJob, UnitStatus, Updated, Watch,
};
pub use unit::{DevicePolicy, KillWhom, OnExists, Property, Scope, Slice, Spread, Update, Value};

/// The README's programs must compile as they are printed.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
