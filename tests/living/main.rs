//! The real systemd, in the sandbox: what is done to a unit after it exists, and how a command comes to be in one.
//!
//! Run by `scripts/test`; outside of the sandbox every test here fails and says so.

#[path = "../support/mod.rs"]
mod support;

mod adopt;
mod attach;
mod batch;
mod empty;
mod freeze;
mod guard;
mod held;
mod idle;
mod kill;
mod runs;
mod set;
mod setters;
mod spawn;
mod wait;
mod watch;
