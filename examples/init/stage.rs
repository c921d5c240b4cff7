//! Between fork and exec: this program once more, as the child that is about to become the command.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::SigSet;

use super::failure::Failure;
use super::open;
use super::options::Options;

/// What the child is called until it is the command.
pub const NAME: &str = "unitwait-stage";

/// Becomes the command; returns only where that cannot be.
pub fn become_command(options: &Options) -> Failure {
    let _ = fs::write("/proc/self/comm", NAME);
    let Some((name, arguments)) = options.command.split_first() else { return Failure::usage("no command") };
    if let Err(errno) = SigSet::empty().thread_set_mask() {
        return Failure::system("unblock signals")(errno);
    }
    let error = Command::new(name).args(arguments).exec();
    Failure::command(name, &error)
}

/// Creates the scope with this process in it, sees that it is there, and becomes the command; returns only where one of
/// these cannot be.
pub fn enter_scope(options: &Options) -> Failure {
    let _ = fs::write("/proc/self/comm", NAME);
    let placed = open(options.timeout)
        .and_then(|manager| manager.create_scope(&options.scope().own_process(), options.timeout));
    match placed {
        Ok(scope) => {
            for gap in scope.limit_gaps() {
                eprintln!("init: not in force: {gap}");
            }
            // Ends the dbus thread, so that the command begins in a process of one thread.
            drop(scope);
            become_command(options)
        }
        Err(error) => error.into(),
    }
}
