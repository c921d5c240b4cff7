//! The real systemd, in the sandbox: what the library promises, seen to hold.
//!
//! Run by `scripts/test`; outside of the sandbox every test here fails and says so.

#[path = "../support/mod.rs"]
mod support;

mod input;
mod jobs;
mod limits;
mod many;
mod refusals;
mod scopes;
mod spread;
