//! The real systemd, in the sandbox: what is done to a unit after it exists.
//!
//! Run by `scripts/test`; outside of the sandbox every test here fails and says so.

#[path = "../support/mod.rs"]
mod support;

mod attach;
mod batch;
mod empty;
mod freeze;
mod guard;
mod kill;
mod runs;
mod set;
mod setters;
mod wait;
mod watch;
