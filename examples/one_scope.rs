//! The least that does the library's main job: places itself in a scope, sees that it is there, and becomes a command, as
//! `systemd-run --scope` does. `scripts/static` measures by it what the library adds to a program, and `scripts/startup`
//! how soon it is done.

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::process::{ExitCode, id};
use std::time::Duration;

use nix::unistd::execvp;
use unitwait::{Error, Manager, Scope};

const SOON: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    // The kernel ends each argument with a NUL byte, so none has one within.
    let words = std::env::args_os().skip(1).filter_map(|word| CString::new(word.into_vec()).ok());
    let command: Vec<CString> = words.collect();
    let Some(name) = command.first() else {
        eprintln!("usage: one_scope COMMAND [ARGUMENT]...");
        return ExitCode::FAILURE;
    };
    if let Err(error) = place() {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    // Not the standard library's, which is not this library's weight to carry.
    let Err(errno) = execvp(name, &command);
    eprintln!("{errno}");
    ExitCode::FAILURE
}

/// The manager is closed in the end, so that the command begins in a process of one thread.
fn place() -> Result<(), Error> {
    let scope = Scope::new(format!("one-{}.scope", id())).own_process();
    Manager::private()?.create_scope(&scope, SOON).map(drop)
}
