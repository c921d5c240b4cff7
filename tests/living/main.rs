//! What a runtime does to a unit after it exists, against the real systemd of the sandbox.

#[path = "../support/mod.rs"]
mod support;

mod wait;
mod watch;
