//! The command, and the scope it is in.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;
use std::{fs, io};

use nix::libc::SIGKILL;
use nix::sys::signal::kill;
use nix::unistd::{Pid, getpgid, getpgrp};
use unitwait::{ActiveScope, Error, Manager, ScopedChild};

use super::failure::{Failure, status};
use super::options::{Options, Role};
use super::stage;

/// How the command ended, as an exit status, and whether it had begun at all.
#[derive(Debug)]
pub struct End {
    pub status: u8,
    pub began: bool,
}

pub struct Workload {
    process: Process,
    manager: Manager,
    unit: String,
}

enum Process {
    /// It was held until it was seen to be in the scope.
    Held(Box<ScopedChild>),
    /// It places itself, for only it can be named to a manager of another PID namespace.
    Entering(Child),
}

impl Workload {
    pub fn start(manager: &Manager, options: &Options) -> Result<Workload, Failure> {
        // The child inherits blocked signals, which only a program can undo; so it is this one once more, for a moment.
        let command = |role| {
            let mut command = Command::new("/proc/self/exe");
            command.args(options.arguments_as(role));
            command
        };
        let process = match manager.spawn_in_scope(command(Role::Run), &options.scope(), options.timeout) {
            Ok(child) => {
                for gap in child.scope().limit_gaps() {
                    eprintln!("init: not in force: {gap}");
                }
                Process::Held(Box::new(child))
            }
            Err(Error::Unsupported { .. }) => {
                let child = command(Role::Enter).spawn();
                Process::Entering(child.map_err(|source| Failure {
                    status: status::INTERNAL,
                    text: format!("could not start a child: {source}"),
                })?)
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Workload { process, manager: manager.clone(), unit: options.name.clone() })
    }

    fn pid(&self) -> Pid {
        let id = match &self.process {
            Process::Held(child) => child.id(),
            Process::Entering(child) => child.id(),
        };
        Pid::from_raw(id.try_into().unwrap_or_default())
    }

    pub fn is(&self, pid: Pid) -> bool {
        self.pid() == pid
    }

    pub fn shares_group(&self) -> bool {
        getpgid(Some(self.pid())).is_ok_and(|group| group == getpgrp())
    }

    /// Passes a signal on. One that has ended takes none, and is not collected before its end is known here: its number
    /// is its own.
    pub fn signal(&self, number: i32) -> Result<(), Failure> {
        match &self.process {
            Process::Held(child) => Ok(child.kill(number)?),
            Process::Entering(_) => {
                let Ok(signal) = number.try_into() else { return Ok(()) };
                let sent: nix::Result<()> = kill(self.pid(), Some::<nix::sys::signal::Signal>(signal));
                sent.map_err(Failure::system("send a signal"))
            }
        }
    }

    /// How the command ended, if it has; it is collected then.
    pub fn try_end(&mut self) -> Result<Option<End>, Failure> {
        // Exec gives a process the program's name, and the one it had before it keeps also in death.
        let comm = fs::read_to_string(format!("/proc/{}/comm", self.pid())).unwrap_or_default();
        let began = comm.trim_end() != stage::NAME;
        let status = match &mut self.process {
            Process::Held(child) => child.try_wait()?,
            Process::Entering(child) => child.try_wait().map_err(collecting)?,
        };
        Ok(status.map(|status| End { status: as_number(status), began }))
    }

    /// Ends all that is in the scope.
    pub fn kill_all(&mut self, within: Duration) -> Result<(), Failure> {
        if let Process::Entering(_) = &self.process {
            // It may be on its way there still.
            self.signal(SIGKILL)?;
        }
        let Some(scope) = self.scope(within)? else { return Ok(()) };
        unless_over(scope.kill_all(within))
    }

    /// Ends what the command has left behind, and sees the scope's end.
    pub fn clear_away(&mut self, within: Duration) -> Result<(), Failure> {
        let Some(scope) = self.scope(within)? else { return Ok(()) };
        unless_over(scope.kill_all(within))?;
        unless_over(scope.wait(within).map(drop))
    }

    fn scope(&self, within: Duration) -> Result<Option<ActiveScope>, Failure> {
        match &self.process {
            Process::Held(child) => Ok(Some(child.scope().clone())),
            Process::Entering(_) => match self.manager.adopt_scope(&self.unit, within) {
                Ok(scope) => Ok(Some(scope)),
                Err(Error::NoSuchUnit { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            },
        }
    }
}

fn unless_over(done: Result<(), Error>) -> Result<(), Failure> {
    match done {
        Ok(()) | Err(Error::NoSuchUnit { .. } | Error::Superseded { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn collecting(source: io::Error) -> Failure {
    Failure { status: status::INTERNAL, text: format!("could not collect the child: {source}") }
}

/// As a shell tells it.
fn as_number(status: ExitStatus) -> u8 {
    let number = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or_default();
    u8::try_from(number).unwrap_or(u8::MAX)
}
