//! The least that does the library's main job: places itself in a scope, sees that it is there, and becomes a command, as
//! `systemd-run --scope` does. `scripts/static` measures by it what the library adds to a program, and `scripts/startup`
//! how soon it is done.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, id};
use std::time::Duration;

use unitwait::{Error, Manager, Scope};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(command) = arguments.next() else {
        eprintln!("usage: one_scope COMMAND [ARGUMENT]...");
        return ExitCode::FAILURE;
    };
    if let Err(error) = place() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    eprintln!("{}", Command::new(command).args(arguments).exec());
    ExitCode::FAILURE
}

/// The manager is closed in the end, so that the command begins in a process of one thread.
fn place() -> Result<(), Error> {
    let scope = Scope::new(format!("one-{}.scope", id())).own_process();
    Manager::private()?.create_scope(&scope, SOON).map(drop)
}
