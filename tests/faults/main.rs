//! Every fault on purpose: a scripted manager that misbehaves on command, on a private bus and as a peer, and
//! sockets that are worse than that.
//!
//! Needs dbus-daemon, and neither root nor a systemd. No test sleeps to be right: each waits for a message. Times
//! are asserted only as "by its deadline, and what a loaded machine may add" ([`world::MARGIN`]). What counts
//! descriptors, threads or memory runs in a process of its own ([`alone::alone`]).

#[path = "../support/mod.rs"]
mod support;

mod alone;
mod bus;
mod manager;
mod wire;
mod world;

mod deadlines;
mod forgeries;
mod full;
mod host;
mod jobs;
mod lazy;
mod leavers;
mod line;
mod living;
mod misbehaviour;
mod placing;
mod reconnect;
mod set;
mod spawn;
mod transport;
mod watches;
