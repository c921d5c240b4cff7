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
    // Not closed before, for exec ends its thread and its connection by itself.
    let _manager = match place() {
        Ok(manager) => manager,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    // Not the standard library's, which is not this library's weight to carry.
    let Err(errno) = execvp(name, &command);
    eprintln!("{}", std::io::Error::from(errno));
    ExitCode::FAILURE
}

fn place() -> Result<Manager, Error> {
    let manager = Manager::private()?;
    manager.create_scope(&Scope::new(format!("one-{}.scope", id())).own_process(), SOON)?;
    Ok(manager)
}
