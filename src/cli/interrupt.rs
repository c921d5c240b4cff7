//! Ctrl-C while something is under way: held back, heard at once, and obeyed when the program has done what it must.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::failure::Failure;

/// What ends a program from outside.
const ENDING: [Signal; 4] = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM];

/// Signals that are held back until this is dropped.
///
/// A signal has a descriptor and all else a channel; so a thread listens to the descriptor, once somebody waits for
/// long. What it hears it leaves where it is: one that nobody takes takes effect when this is dropped.
pub struct HeldSignals {
    before: SigSet,
    held: SigSet,
    pending: SignalFd,
    heard: (Sender<()>, Receiver<()>),
    /// The thread ends when its end of the pair does.
    listener: Option<(UnixStream, JoinHandle<()>)>,
}

impl HeldSignals {
    pub fn hold() -> Result<HeldSignals, Failure> {
        let system = |source: io::Error| Failure::System { doing: "hold back signals".into(), source };
        let before = SigSet::thread_get_mask().map_err(|errno| system(errno.into()))?;
        let held: SigSet = ENDING.into_iter().filter(|signal| !before.contains(*signal)).collect();
        let pending = SignalFd::with_flags(&held, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(|errno| system(errno.into()))?;
        held.thread_block().map_err(|errno| system(errno.into()))?;
        Ok(HeldSignals { before, held, pending, heard: bounded(1), listener: None })
    }

    /// Whether a thread listens already, or does from now on: to all but those that this process is to ignore.
    pub fn listen(&mut self) -> bool {
        if self.listener.is_none() {
            self.let_go_of_ignored();
            self.listener = listen(&self.pending, self.heard.0.clone()).ok();
        }
        self.are_listened_to()
    }

    pub fn are_listened_to(&self) -> bool {
        self.listener.is_some()
    }

    /// Brings one message when the first signal has come that is listened for, and then no more.
    pub fn heard(&self) -> &Receiver<()> {
        &self.heard.1
    }

    /// While they are held, they are kept as if somebody wanted to know of them.
    fn let_go_of_ignored(&mut self) {
        let ignored = ignored();
        let (ignored, held): (Vec<_>, Vec<_>) =
            self.held.iter().partition(|signal| ignored.contains(*signal));
        self.held = held.into_iter().collect();
        let _ = self.pending.set_mask(&self.held);
        let _ = ignored.into_iter().collect::<SigSet>().thread_unblock();
    }

    /// The first signal that has come and was not taken yet.
    pub fn take(&self) -> Option<Signal> {
        let info = self.pending.read_signal().ok().flatten()?;
        i32::try_from(info.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok())
    }

    /// Ends the program by the signal, as it would have ended without this.
    pub fn obey(&self, signal: Signal) -> ! {
        let _ = self.before.thread_set_mask();
        let _ = raise(signal);
        process::exit(128 + signal as i32)
    }
}

impl Drop for HeldSignals {
    /// One that came after the last look takes effect here.
    fn drop(&mut self) {
        if let Some((end, thread)) = self.listener.take() {
            drop(end);
            let _ = thread.join();
        }
        let _ = self.before.thread_set_mask();
    }
}

fn listen(pending: &SignalFd, to: Sender<()>) -> io::Result<(UnixStream, JoinHandle<()>)> {
    let listened = pending.as_fd().try_clone_to_owned()?;
    let (end, ended) = UnixStream::pair()?;
    let thread = thread::Builder::new().name("signals".into()).spawn(move || {
        let fds = [listened.as_fd(), ended.as_fd()];
        let mut either = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        while poll(&mut either, PollTimeout::NONE) == Err(Errno::EINTR) {}
        if either[0].any() == Some(true) {
            let _ = to.try_send(());
        }
    })?;
    Ok((end, thread))
}

/// Those that this process was started to ignore, as `nohup` does (`proc(5)`, `SigIgn`).
fn ignored() -> SigSet {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    let mask = mask.unwrap_or_default();
    ENDING.into_iter().filter(|signal| mask >> (*signal as u32 - 1) & 1 == 1).collect()
}
