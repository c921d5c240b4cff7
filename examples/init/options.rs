//! The command line, read by hand: a parser's crate would be a third of the program.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::time::Duration;

use unitwait::Scope;

use super::failure::Failure;

pub const USAGE: &str = "\
usage: init [OPTION VALUE]... -- COMMAND [ARGUMENT]...

Runs COMMAND in a systemd scope of its own, passes signals on to it, collects orphans, and ends with its exit status
(128+N where signal N ended it). A second SIGTERM, or one that is not obeyed in time, kills all that is in the scope.

  --memory BYTES            the most memory for all of it (a number, or one with K, M or G)
  --tasks N                 the most processes and threads
  --slice SLICE             the slice to be in
  --name SCOPE              the scope's name, which ends in .scope (default: one of its own)
  --restart POLICY          no (default), on-failure or always; never after SIGTERM or SIGINT
  --restart-delay-ms N      between two runs (default 1000)
  --timeout-ms N            for each answer of the manager, and from SIGTERM to SIGKILL (default 10000)";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    No,
    OnFailure,
    Always,
}

/// What this process is. All but `Init` are between fork and exec, and are its own children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Init,
    /// Becomes the command: it is in the scope already.
    Run,
    /// Places itself in the scope, and becomes the command.
    Enter,
}

#[derive(Debug)]
pub struct Options {
    pub role: Role,
    pub memory: Option<u64>,
    pub tasks: Option<u64>,
    pub slice: Option<String>,
    pub name: String,
    pub restart: Restart,
    pub restart_delay: Duration,
    pub timeout: Duration,
    pub command: Vec<OsString>,
    /// All as it was given, for the one that is to place itself.
    given: Vec<OsString>,
}

impl Options {
    /// `None` where only help is asked for.
    pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>, Failure> {
        let mut options = Options {
            role: Role::Init,
            memory: None,
            tasks: None,
            slice: None,
            name: String::new(),
            restart: Restart::No,
            restart_delay: Duration::from_secs(1),
            timeout: Duration::from_secs(10),
            command: Vec::new(),
            given: Vec::new(),
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--") => {
                    options.command = arguments.collect();
                    break;
                }
                Some("--help" | "-h") => return Ok(None),
                Some("--run") => options.role = Role::Run,
                Some("--enter") => options.role = Role::Enter,
                Some(name) if name.starts_with("--") => {
                    let value =
                        arguments.next().ok_or_else(|| Failure::usage(format!("{name} needs a value")))?;
                    options.take(name, &value)?;
                    options.given.extend([argument, value]);
                }
                _ => {
                    let text = format!("what is {}? The command comes after --", argument.to_string_lossy());
                    return Err(Failure::usage(text));
                }
            }
        }
        if options.command.is_empty() {
            return Err(Failure::usage("no command is given after --"));
        }
        if options.name.is_empty() {
            options.name = own_name();
        }
        options.scope().pid(1).check().map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Some(options))
    }

    fn take(&mut self, name: &str, value: &OsStr) -> Result<(), Failure> {
        let bad = |why: &str| Failure::usage(format!("{name} {}: {why}", value.to_string_lossy()));
        let text = value.to_str().ok_or_else(|| bad("it is not text"))?;
        let number = || text.parse::<u64>().map_err(|_| bad("it is not a number"));
        match name {
            "--memory" => self.memory = Some(bytes(text).ok_or_else(|| bad("it is not a number of bytes"))?),
            "--tasks" => self.tasks = Some(number()?),
            "--slice" => self.slice = Some(text.into()),
            "--name" => self.name = text.into(),
            "--restart-delay-ms" => self.restart_delay = Duration::from_millis(number()?),
            "--timeout-ms" => self.timeout = Duration::from_millis(number()?),
            "--restart" => {
                self.restart = match text {
                    "no" => Restart::No,
                    "on-failure" => Restart::OnFailure,
                    "always" => Restart::Always,
                    _ => return Err(bad("it is no, on-failure or always")),
                };
            }
            _ => return Err(Failure::usage(format!("there is no option {name}"))),
        }
        Ok(())
    }

    /// The scope without its process.
    pub fn scope(&self) -> Scope {
        let mut scope = Scope::new(&self.name).delegate(true);
        if let Some(slice) = &self.slice {
            scope = scope.slice(slice);
        }
        if let Some(bytes) = self.memory {
            scope = scope.memory_max(bytes);
        }
        if let Some(tasks) = self.tasks {
            scope = scope.tasks_max(tasks);
        }
        scope
    }

    /// The arguments of a process that is to be `role`, and then the command.
    pub fn arguments_as(&self, role: Role) -> Vec<OsString> {
        let mut arguments = Vec::new();
        if role == Role::Enter {
            arguments.push("--enter".into());
            arguments.extend(self.given.iter().cloned());
        } else {
            arguments.push("--run".into());
        }
        // The last one holds, and the name must be the same for both.
        arguments.extend(["--name".into(), self.name.clone().into(), "--".into()]);
        arguments.extend(self.command.iter().cloned());
        arguments
    }
}

fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A name that no other init has: in PID namespaces of their own, they may all be process 1.
fn own_name() -> String {
    let random = fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap_or_default();
    match random.trim() {
        "" => format!("init-{}.scope", std::process::id()),
        random => format!("init-{random}.scope"),
    }
}
