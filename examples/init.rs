//! An init for a container or an initramfs: runs one command in a limited, delegated scope of its own, passes signals
//! on, collects every orphan, and ends with the command's exit status. `scripts/static` makes one static file of it.
//!
//! Its own thread sleeps until a signal comes; there is nothing else to wake for.

#[path = "init/failure.rs"]
mod failure;
#[path = "init/options.rs"]
mod options;
#[path = "init/signals.rs"]
mod signals;
#[path = "init/stage.rs"]
mod stage;
#[path = "init/workload.rs"]
mod workload;

use std::fs;
use std::process::{ExitCode, id};
use std::time::{Duration, Instant};

use nix::libc::{SIGCHLD, SIGINT, SIGTERM};
use nix::sys::prctl::set_child_subreaper;
use nix::unistd::{Uid, getpid};
use unitwait::{Error, Manager};

use failure::{Failure, status};
use options::{Options, Restart, Role};
use signals::{Came, Signals};
use workload::{End, Workload};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(failure) => {
            eprintln!("init: {failure}\n{}", options::USAGE);
            return ExitCode::from(failure.status);
        }
    };
    let ended = match options.role {
        Role::Init => Init::new(options).and_then(Init::run),
        Role::Run => Err(stage::become_command(&options)),
        Role::Enter => Err(stage::enter_scope(&options)),
    };
    match ended {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            eprintln!("init: {failure}");
            ExitCode::from(failure.status)
        }
    }
}

/// The system's manager, by its own socket where this is root and it is there, else over the bus; or the user's own.
fn open(within: Duration) -> Result<Manager, Error> {
    if !Uid::effective().is_root() {
        return Manager::builder().user().open(within);
    }
    let until = Instant::now() + within;
    // A socket that stays silent is not to take the bus's time as well.
    let refusal = match Manager::builder().private().open(within / 2) {
        Ok(manager) => return Ok(manager),
        Err(refusal) => refusal,
    };
    match Manager::builder().system().open(until) {
        Err(Error::Connect { address, reason }) => {
            Err(Error::Connect { address, reason: format!("{reason}; and by its own socket: {refusal}") })
        }
        opened => opened,
    }
}

struct Init {
    options: Options,
    signals: Signals,
    manager: Manager,
    /// Whether somebody has asked for the end, so that there is to be no next run.
    stopping: bool,
}

impl Init {
    fn new(options: Options) -> Result<Init, Failure> {
        // Before any thread is made, and before there is a child that could end unseen.
        let signals = Signals::take()?;
        check_proc()?;
        if id() != 1 {
            set_child_subreaper(true).map_err(Failure::system("become a subreaper"))?;
        }
        let manager = open(options.timeout)?;
        Ok(Init { options, signals, manager, stopping: false })
    }

    fn run(mut self) -> Result<u8, Failure> {
        loop {
            let mut workload = Workload::start(&self.manager, &self.options)?;
            let end = self.live_with(&mut workload);
            // Whatever has happened, nothing is left behind.
            let cleared = workload.clear_away(self.options.timeout);
            signals::collect_orphans(None)?;
            let end = end?;
            if let Err(error) = cleared {
                eprintln!("init: {error}");
            }
            if !self.is_to_restart(&end) || !self.pause()? {
                return Ok(end.status);
            }
        }
    }

    /// Passes signals on and collects orphans until the workload has ended.
    fn live_with(&mut self, workload: &mut Workload) -> Result<End, Failure> {
        let mut patience_ends = None;
        loop {
            match self.signals.next(patience_ends)? {
                Came::Nothing => {
                    patience_ends = None;
                    workload.kill_all(self.options.timeout)?;
                }
                Came::Signal { number: SIGCHLD, .. } => {
                    if let Some(end) = signals::collect_orphans(Some(workload))? {
                        return Ok(end);
                    }
                }
                Came::Signal { number: SIGTERM, .. } if patience_ends.is_some() => {
                    workload.kill_all(self.options.timeout)?;
                }
                Came::Signal { number, by_terminal } => {
                    self.note(number);
                    if number == SIGTERM {
                        patience_ends = Some(Instant::now() + self.options.timeout);
                    }
                    // The terminal has told the whole foreground group already.
                    if !(by_terminal && workload.shares_group()) {
                        workload.signal(number)?;
                    }
                }
            }
        }
    }

    fn note(&mut self, signal: i32) {
        self.stopping |= matches!(signal, SIGTERM | SIGINT);
    }

    fn is_to_restart(&self, end: &End) -> bool {
        let wanted = match self.options.restart {
            Restart::No => false,
            Restart::OnFailure => end.status != 0,
            Restart::Always => true,
        };
        // What could not even begin would not the next time either.
        wanted && !self.stopping && end.began
    }

    /// Waits between two runs; whether there is to be another.
    fn pause(&mut self) -> Result<bool, Failure> {
        let until = Instant::now() + self.options.restart_delay;
        loop {
            match self.signals.next(Some(until))? {
                Came::Nothing => return Ok(true),
                Came::Signal { number: SIGCHLD, .. } => _ = signals::collect_orphans(None)?,
                Came::Signal { number, .. } => {
                    self.note(number);
                    if self.stopping {
                        return Ok(false);
                    }
                }
            }
        }
    }
}

/// Processes are looked up by their numbers in /proc, and in another PID namespace's they would be strangers.
fn check_proc() -> Result<(), Failure> {
    let own = fs::read_link("/proc/self").map_err(|source| Failure {
        status: status::UNAVAILABLE,
        text: format!("/proc is needed: {source}"),
    })?;
    if own.to_str() == Some(&getpid().to_string()) {
        return Ok(());
    }
    let text = "/proc is that of another PID namespace: mount this one's own (mount -t proc proc /proc)";
    Err(Failure { status: status::UNAVAILABLE, text: text.into() })
}
