//! The bad day on the real systemd: forged messages, a manager that is stopped or replaced, a bus that dies.
//!
//! Run by `scripts/test`, one test at a time, for each takes the manager or the bus away from all others. Outside
//! of the sandbox every test here fails and says so.

#[path = "hostile/away.rs"]
mod away;
#[path = "hostile/forged.rs"]
mod forged;
#[path = "hostile/forger.rs"]
mod forger;
#[path = "hostile/living.rs"]
mod living;
#[path = "hostile/recycled.rs"]
mod recycled;
#[path = "hostile/sandbox.rs"]
mod sandbox;
#[path = "hostile/spawned.rs"]
mod spawned;
#[path = "hostile/stopped.rs"]
mod stopped;
mod support;

/// The forger is this program again, as nobody; `forged` starts it by the name of this test.
#[test]
fn the_tests_are_root_and_the_forger_is_not() {
    if let Some(jobs) = forger::told_to_forge() {
        forger::forge(jobs);
    }
    support::in_sandbox();
    assert!(nix::unistd::geteuid().is_root(), "only root can become nobody");
}
