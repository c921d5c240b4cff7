//! The handle of a command that runs in a scope of its own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{ActiveScope, Ended, check_signal};
use crate::deadline::Deadline;
use crate::error::{Asked, Error, Operation, Result, Stage};
use crate::sys;

/// A child process that [`Manager::spawn_in_scope`](crate::Manager::spawn_in_scope) started, and the scope it is in.
///
/// `Send` and `Sync`: one thread may wait while another kills. Dropping it leaves both as they are: the child runs
/// on, and is a zombie from its end until this process ends, as with [`Child`]. Stopping the scope ends the child and
/// all that it has started; killing the child ends the child alone.
///
/// ```no_run
/// use std::process::Command;
/// use std::time::Duration;
/// use unitwait::{Manager, Scope};
///
/// const SIGTERM: i32 = 15;
/// let manager = Manager::system()?;
/// let mut nap = Command::new("sleep");
/// nap.arg("60");
/// let child = manager.spawn_in_scope(nap, &Scope::new("nap.scope"), Duration::from_secs(5))?;
/// if child.wait(Duration::from_secs(10)).is_err_and(|error| error.is_timeout()) {
///     child.kill(SIGTERM)?;
///     println!("{}", child.wait(Duration::from_secs(10))?);
/// }
/// # Ok::<(), unitwait::Error>(())
/// ```
#[derive(Debug)]
pub struct ScopedChild {
    /// The writing end of its standard input, where the command asked for a pipe. [`wait`](ScopedChild::wait) does not
    /// close it: a child that reads to the end waits until this is taken and dropped.
    pub stdin: Option<ChildStdin>,
    /// The reading end of its standard output, where the command asked for a pipe.
    pub stdout: Option<ChildStdout>,
    /// The reading end of its standard error, where the command asked for a pipe.
    pub stderr: Option<ChildStderr>,
    child: Mutex<Child>,
    id: u32,
    pidfd: Option<OwnedFd>,
    scope: ActiveScope,
}

impl ScopedChild {
    pub(super) fn new(mut child: Child, pidfd: Option<OwnedFd>, scope: ActiveScope) -> ScopedChild {
        ScopedChild {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            id: child.id(),
            child: Mutex::new(child),
            pidfd,
            scope,
        }
    }

    /// The child's process ID. It is the child's until that has been waited for, and may be another's after.
    ///
    /// ```no_run
    /// # use std::{process::Command, time::Duration};
    /// # use unitwait::{Manager, Scope};
    /// # let (manager, second) = (Manager::system()?, Duration::from_secs(1));
    /// let child = manager.spawn_in_scope(Command::new("true"), &Scope::new("true.scope"), second)?;
    /// println!("process {}", child.id());
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The scope that the child was placed in.
    ///
    /// ```no_run
    /// # use std::{process::Command, time::Duration};
    /// # use unitwait::{Manager, Scope};
    /// # let (manager, second) = (Manager::system()?, Duration::from_secs(1));
    /// let child = manager.spawn_in_scope(Command::new("true"), &Scope::new("true.scope"), second)?;
    /// println!("in {}", child.scope().control_group());
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn scope(&self) -> &ActiveScope {
        &self.scope
    }

    /// A descriptor that means this child and can mean no other process (`pidfd_open(2)`): it is readable once the
    /// child has ended, for `poll(2)` beside others. `None` where the kernel has none (before Linux 5.3).
    ///
    /// ```no_run
    /// # use std::{process::Command, time::Duration};
    /// # use unitwait::{Manager, Scope};
    /// # let (manager, second) = (Manager::system()?, Duration::from_secs(1));
    /// use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    ///
    /// let child = manager.spawn_in_scope(Command::new("true"), &Scope::new("true.scope"), second)?;
    /// if let Some(pidfd) = child.pidfd() {
    ///     poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], PollTimeout::NONE).expect("it polls");
    /// }
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Waits until the child has ended, and collects it.
    ///
    /// Blocks until then or until the deadline, and holds up no other thread's `wait`, `try_wait` or `kill`; a child
    /// that has ended already is told of whatever the deadline. May be asked again, also after it has answered: the
    /// status is kept. What the child has started may run on in the scope. Errors: [`Error::Timeout`] at stage
    /// [`Stage::Wait`], and nothing has changed; [`Error::System`] where somebody else has collected the child (a
    /// handler of SIGCHLD, or SIGCHLD ignored); [`Error::Forked`].
    ///
    /// ```no_run
    /// # use std::{process::Command, time::Duration};
    /// # use unitwait::{Manager, Scope};
    /// # let (manager, second) = (Manager::system()?, Duration::from_secs(1));
    /// let child = manager.spawn_in_scope(Command::new("true"), &Scope::new("true.scope"), second)?;
    /// assert!(child.wait(second)?.success());
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn wait(&self, deadline: impl Into<Deadline>) -> Result<ExitStatus> {
        let begun = Instant::now();
        let deadline = deadline.into().instant(begun, self.scope.0.manager.0.default_timeout);
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let asked = Asked::new(Operation::WaitForChild, Some(self.scope.unit()));
                return Err(Error::Timeout { asked, stage: Stage::Wait, job: None, waited: begun.elapsed() });
            }
            self.look_out(left);
        }
    }

    /// Waits until the child and all that it has started have ended, and says how that came about.
    ///
    /// Blocks until then or until the deadline, as [`ActiveScope::wait`] does, with its errors and those of
    /// [`ScopedChild::wait`]. The child is collected, and its status told beside what ended the run.
    ///
    /// ```no_run
    /// # use std::{process::Command, time::Duration};
    /// # use unitwait::{Ending, Manager, Scope};
    /// # let (manager, second) = (Manager::system()?, Duration::from_secs(1));
    /// let mut command = Command::new("sh");
    /// command.args(["-c", "sleep 1 & kill -KILL $$"]);
    /// let child = manager.spawn_in_scope(command, &Scope::new("short.scope"), second)?;
    /// assert_eq!(child.wait_all(5 * second)?.ending, Ending::Killed(9));
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn wait_all(&self, deadline: impl Into<Deadline>) -> Result<Ended> {
        let until = deadline.into().instant(Instant::now(), self.scope.0.manager.0.default_timeout);
        let ended = self.scope.wait(until)?;
        Ok(ended.with_status(self.wait(until)?))
    }

    /// The child's status if it has ended, and it is collected then; `None` while it runs. Does not block. Errors as
    /// [`ScopedChild::wait`], without the deadline's.
    ///
    /// ```no_run
    /// # use std::{process::Command, time::Duration};
    /// # use unitwait::{Manager, Scope};
    /// # let (manager, second) = (Manager::system()?, Duration::from_secs(1));
    /// let child = manager.spawn_in_scope(Command::new("true"), &Scope::new("true.scope"), second)?;
    /// match child.try_wait()? {
    ///     Some(status) => println!("{status}"),
    ///     None => println!("it runs"),
    /// }
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.scope.0.manager.0.driver.check_process()?;
        self.child().try_wait().map_err(|source| Error::System { doing: "collect the child", source })
    }

    /// Sends a signal to the child alone, by its pidfd: a process that got its number after it is never hit. To a child
    /// that has ended it is `Ok`, and nothing is sent, as [`Child::kill`] has it.
    ///
    /// Does not block; the child may still run when it returns. A retry sends the signal again. Errors:
    /// [`Error::InvalidInput`] for a number that is no signal; [`Error::System`] where the kernel forbids it (the
    /// command was set-user-ID); [`Error::Forked`].
    ///
    /// ```no_run
    /// # use std::{process::Command, time::Duration};
    /// # use unitwait::{Manager, Scope};
    /// # let (manager, second) = (Manager::system()?, Duration::from_secs(1));
    /// const SIGKILL: i32 = 9;
    /// let child = manager.spawn_in_scope(Command::new("cat"), &Scope::new("cat.scope"), second)?;
    /// child.kill(SIGKILL)?;
    /// assert!(!child.wait(second)?.success());
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn kill(&self, signal: i32) -> Result<()> {
        check_signal(signal)?;
        self.scope.0.manager.0.driver.check_process()?;
        let sent = match self.pidfd() {
            Some(pidfd) => sys::pidfd_send_signal(pidfd, signal),
            None => {
                // While it is not collected its number is its own, and here nobody else collects it.
                let mut child = self.child();
                match child.try_wait() {
                    Ok(None) => sys::kill(child.id(), signal),
                    _ => Ok(()),
                }
            }
        };
        match sent {
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => Ok(()),
            sent => sent.map_err(|source| Error::System { doing: "send the child a signal", source }),
        }
    }

    /// The standard library's handle, with its pipes put back, the scope, and the pidfd.
    ///
    /// ```no_run
    /// # use std::{process::Command, time::Duration};
    /// # use unitwait::{Manager, Scope};
    /// # let (manager, second) = (Manager::system()?, Duration::from_secs(1));
    /// let child = manager.spawn_in_scope(Command::new("true"), &Scope::new("true.scope"), second)?;
    /// let (mut child, scope, _pidfd) = child.into_parts();
    /// println!("{} in {}", child.wait().expect("it is collected"), scope.unit());
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn into_parts(self) -> (Child, ActiveScope, Option<OwnedFd>) {
        let mut child = self.child.into_inner().unwrap_or_else(PoisonError::into_inner);
        (child.stdin, child.stdout, child.stderr) = (self.stdin, self.stdout, self.stderr);
        (child, self.scope, self.pidfd)
    }

    /// Held for calls that do not block, and for no other.
    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the child has ended, or a while has passed.
    fn look_out(&self, most: Duration) {
        match self.pidfd() {
            Some(pidfd) => drop(ends_within(pidfd, most)),
            // A kernel without pidfds has no event for it that is not the whole process's.
            None => thread::sleep(most.min(Duration::from_millis(10))),
        }
    }
}

/// Whether a pidfd's process ends within a while. May say no too early, where a signal comes.
pub(super) fn ends_within(pidfd: BorrowedFd<'_>, most: Duration) -> bool {
    // Rounded up: to wake a moment too early would be to wake twice.
    let most = if most.is_zero() { most } else { most + Duration::from_micros(999) };
    let timeout = PollTimeout::try_from(most).unwrap_or(PollTimeout::MAX);
    poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], timeout).is_ok_and(|ready| ready > 0)
}
