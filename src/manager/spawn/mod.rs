//! A command whose first instruction runs inside of its scope: forked, held before exec, placed, verified, executed.
//!
//! The fork is the standard library's, in the caller's own thread, so that all that a `Command` can ask for is as ever:
//! its pipes, user and environment, exec's errno, a death signal that means the caller's thread. That thread cannot
//! act between fork and exec, for it waits inside of `Command::spawn`; so a second one, which lives for that long
//! alone, meets the child at the door, has it placed, and lets it go on or turns it away.

mod door;

use std::os::fd::{AsFd, OwnedFd};
use std::panic::resume_unwind;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use std::{io, thread};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use nix::libc::SIGKILL;
use nix::unistd::{Pid, gettid};

use super::child::{ScopedChild, ends_within};
use super::{ActiveScope, Manager};
use crate::deadline::Deadline;
use crate::driver::{Outcome, signals};
use crate::error::{Asked, Error, Operation, Result, Stage};
use crate::sys;
use crate::unit::Scope;
use door::{Door, Knock};

/// How long a child has for its exec that is let go on in the last moment.
const LAST_MOMENT: Duration = Duration::from_millis(50);

/// Between tries to end a child that is not to be found yet.
const AGAIN: Duration = Duration::from_millis(5);

impl Manager {
    /// Starts a command of which not one instruction runs outside of its scope.
    ///
    /// The child is forked and held before it executes, the scope is created with it (its process is added to those
    /// that the scope names) and verified as by [`create_scope`](Manager::create_scope), and only then is the command
    /// executed. Everything the command asks for is done by the standard library: pipes, user and groups, directory,
    /// environment, and closures given to `pre_exec`, which all have run by then and must not fork. The command is
    /// taken for good, for what holds its child cannot be taken out of it again.
    ///
    /// Blocks until the command executes or until the deadline: a child that cannot go on by then (its slice is frozen,
    /// its program lies on a file system that does not answer) is ended. Only cgroup v1's own freezer keeps it from that,
    /// and the call with it. A deadline that has passed, a bad scope and a command with a NUL byte are refused before anything is forked. Whatever fails, the
    /// child is ended and collected, the error says why, and nothing of the command has run. The scope does not stay
    /// behind: it ends with its one process, or is stopped where the command could not be executed; only one that
    /// names other processes too is left to them. A held child also ends if this process does. While it is held it
    /// has copies of this process's descriptors, as any child has until exec, pipes with both of their ends excepted.
    ///
    /// Errors: those of [`create_scope`](Manager::create_scope), with its meaning; [`Error::Exec`] with exec's own
    /// errno, or that of what came before; [`Error::Timeout`] at stage [`Stage::Fork`] where the child did not come as
    /// far as to be placed; [`Error::NoSuchProcess`] where it was killed before it could execute; [`Error::System`], also where this process
    /// ignores SIGCHLD, so that no child of its can be collected.
    /// A retry is safe, for a call that failed has run nothing; after one that went well it answers `UnitExists`, or
    /// starts the command once more where the scope has ended.
    ///
    /// ```no_run
    /// use std::process::{Command, Stdio};
    /// use std::time::Duration;
    /// use unitwait::{Manager, Scope};
    ///
    /// let manager = Manager::system()?;
    /// let mut command = Command::new("make");
    /// command.arg("check").stdin(Stdio::null());
    /// let scope = Scope::new("build.scope").memory_max(2 << 30).tasks_max(200);
    /// let child = manager.spawn_in_scope(command, &scope, Duration::from_secs(5))?;
    /// println!("{} holds {}", child.scope().unit(), child.id());
    /// println!("{}", child.wait(Duration::from_secs(600))?);
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn spawn_in_scope(
        &self,
        command: Command,
        scope: &Scope,
        deadline: impl Into<Deadline>,
    ) -> Result<ScopedChild> {
        self.0.driver.check_process()?;
        scope.check_all_but_presence()?;
        let deadline = deadline.into().instant(Instant::now(), self.0.default_timeout);
        let begun = Instant::now();
        let asked = Asked::new(Operation::Spawn, Some(&scope.name));
        let spawning = Spawning { manager: self, scope, asked, begun, deadline };
        if deadline <= begun { Err(spawning.late()) } else { spawning.spawn(command) }
    }
}

struct Spawning<'a> {
    manager: &'a Manager,
    scope: &'a Scope,
    asked: Asked,
    begun: Instant,
    deadline: Instant,
}

/// What became of the child at the door.
enum Fate {
    /// It was placed, and told to go on.
    Go(ActiveScope, Option<OwnedFd>),
    /// It was turned away, or is dead; the scope is there where it was created all the same.
    Refused(Error, Option<ActiveScope>),
    NeverCame,
}

impl Spawning<'_> {
    fn spawn(&self, mut command: Command) -> Result<ScopedChild> {
        let (door, far) = Door::new().map_err(system("make a socket pair"))?;
        sys::hold_before_exec(&mut command, far);
        sys::check_children_are_kept().map_err(system("collect a child later"))?;
        let parent = gettid();
        let (is_back, spawned_is_back) = bounded(0);
        let (spawned, fate) = thread::scope(|threads| {
            let meet = || self.meet(&door, parent, &spawned_is_back);
            let name = thread::Builder::new().name("unitwait-spawn".into());
            let meeting = signals::without(|| name.spawn_scoped(threads, meet))
                .map_err(system("start the thread that places the child"))?;
            let shut_at_the_end = Shut(&door);
            let at_the_end: (Shut<'_>, Sender<()>) = (shut_at_the_end, is_back);
            let spawned = command.spawn();
            drop(at_the_end);
            Ok((spawned, meeting.join().unwrap_or_else(|panic| resume_unwind(panic))))
        })?;
        match (spawned, fate) {
            (Ok(child), Fate::Go(active, pidfd)) => Ok(ScopedChild::new(child, pidfd, active)),
            (Err(source), Fate::Go(active, _)) => {
                if self.scope.pids.is_empty() {
                    self.stop(&active);
                }
                Err(self.exec_error(true, source))
            }
            (Err(source), Fate::NeverCame) => Err(self.never_ready(&command, source)),
            (Ok(child), Fate::NeverCame) => Err(self.killed(collect(child))),
            (spawned, Fate::Refused(error, active)) => {
                let _ = spawned.map(collect);
                Err(self.clear_away(error, active))
            }
        }
    }

    /// Meets the child at the door, and lets it go on once it is in place. `back` is closed when the caller's thread is
    /// out of `Command::spawn`; until then a child that does not do as it is told is ended, for it may be unable to: in
    /// a frozen slice, stopped by a signal, or in a closure that never returns.
    fn meet(&self, door: &Door, parent: Pid, back: &Receiver<()>) -> Fate {
        // However this ends, the child is not left waiting, and so neither is the thread that waits for it.
        let turn_away = TurnAway(door);
        let absent = |error| {
            door.shut();
            while back.recv_timeout(AGAIN) == Err(RecvTimeoutError::Timeout) {
                door.kill_absentee(parent);
            }
            Fate::Refused(error, None)
        };
        let pid = match door.wait(self.deadline) {
            Ok(Knock::Child(pid)) => pid,
            Ok(Knock::Nobody) => return Fate::NeverCame,
            Ok(Knock::TooLate) => return absent(self.late()),
            Err(source) => return absent(system("meet the child before exec")(source)),
        };
        let pidfd = sys::pidfd_open(pid).ok();
        // Limits that cannot hold are judged here: to stop the scope, the child must be sent away first, for it may be
        // deaf to SIGTERM as long as it is this program.
        let scope = self.scope.clone().pid(pid).require_limits(false);
        let (error, active) = match self.manager.create_scope(&scope, self.deadline) {
            Err(error) => (error, None),
            Ok(active) => match self.objection(&active, pid, pidfd.as_ref()) {
                Some(objection) => (objection, Some(active)),
                None => {
                    std::mem::forget(turn_away);
                    door.say(true);
                    let until = self.deadline.max(Instant::now() + LAST_MOMENT);
                    if back.recv_deadline(until) != Err(RecvTimeoutError::Timeout) {
                        return Fate::Go(active, pidfd);
                    }
                    (self.late(), Some(active))
                }
            },
        };
        end(pid, pidfd.as_ref());
        Fate::Refused(error, active)
    }

    /// Why a child may not go on though its scope is there.
    fn objection(&self, active: &ActiveScope, pid: u32, pidfd: Option<&OwnedFd>) -> Option<Error> {
        if self.scope.require_limits && !active.limit_gaps().is_empty() {
            let asked = Asked::new(Operation::CreateScope, Some(&self.scope.name));
            return Some(Error::Limit { asked, gaps: active.limit_gaps().to_vec(), released: false });
        }
        let has_ended = pidfd.is_some_and(|pidfd| ends_within(pidfd.as_fd(), Duration::ZERO));
        has_ended.then(|| self.killed(pid))
    }

    /// The scope of a child that was turned away: with limits required, all of it is released, as by a creation.
    fn clear_away(&self, error: Error, active: Option<ActiveScope>) -> Error {
        match (error, active) {
            (Error::Limit { asked, gaps, .. }, Some(active)) => {
                Error::Limit { asked, gaps, released: self.stop(&active) }
            }
            (error, Some(active)) => {
                if self.scope.pids.is_empty() {
                    self.stop(&active);
                }
                error
            }
            (error, None) => error,
        }
    }

    /// Stops a scope that this call created; whether it is known to be gone.
    fn stop(&self, active: &ActiveScope) -> bool {
        if !matches!(active.outcome(), Outcome::Created | Outcome::Replaced) {
            return false;
        }
        // Where no time is left it ends by itself, with its one process.
        match active.stop(self.deadline) {
            Ok(_) | Err(Error::NoSuchUnit { .. } | Error::Superseded { .. }) => true,
            Err(error) => {
                log::info!("{error}");
                false
            }
        }
    }

    fn late(&self) -> Error {
        let (asked, waited) = (self.asked.clone(), self.begun.elapsed());
        Error::Timeout { asked, stage: Stage::Fork, job: None, waited }
    }

    fn killed(&self, pid: u32) -> Error {
        Error::NoSuchProcess { asked: self.asked.clone(), pid: Some(pid) }
    }

    fn exec_error(&self, placed: bool, source: io::Error) -> Error {
        Error::Exec { asked: self.asked.clone(), placed, source }
    }

    /// The child never came to the door, for it was not forked, or failed before.
    fn never_ready(&self, command: &Command, source: io::Error) -> Error {
        // The standard library's own refusal of a command that no system call could take.
        if source.kind() == io::ErrorKind::InvalidInput && source.raw_os_error().is_none() {
            return Error::invalid("command", command.get_program().to_string_lossy(), source.to_string());
        }
        self.exec_error(false, source)
    }
}

/// Ends a held child, of which the thread that is to collect it waits for the end: its number is its own.
fn end(pid: u32, pidfd: Option<&OwnedFd>) {
    let _ = match pidfd {
        Some(pidfd) => sys::pidfd_send_signal(pidfd.as_fd(), SIGKILL),
        None => sys::kill(pid, SIGKILL),
    };
}

/// Ends and collects a child that did not get as far as exec; its number.
fn collect(mut child: Child) -> u32 {
    let _ = child.kill();
    let _ = child.wait();
    child.id()
}

fn system(doing: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::System { doing, source }
}

/// Shuts the door at the end of its scope, also where the standard library panics: nobody comes any more.
struct Shut<'a>(&'a Door);

impl Drop for Shut<'_> {
    fn drop(&mut self) {
        self.0.shut();
    }
}

/// Turns away who is at the door, unless it is forgotten.
struct TurnAway<'a>(&'a Door);

impl Drop for TurnAway<'_> {
    fn drop(&mut self) {
        self.0.say(false);
    }
}
