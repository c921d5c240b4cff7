//! What unitwait promises in the good case, in a plain way, and nothing beside: a thread for the connection, which never
//! waits for a caller, a look at the process before it is named to systemd, and a look at the kernel and at systemd's link
//! for the run's ID afterwards.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::Duration;

use dbus::Message;
use dbus::channel::Channel;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::Failure;
use crate::libdbus::ask;

type Answer = Result<(), Failure>;

pub struct Keeper {
    calls: SyncSender<Message>,
    bell: Arc<EventFd>,
    answer: Arc<Mutex<Option<Answer>>>,
}

impl Keeper {
    /// For calls of the thread that starts it.
    pub fn start(mut channel: Channel) -> Result<Keeper, Failure> {
        channel.set_watch_enabled(true);
        let (calls, asked) = sync_channel(1);
        let bell = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
        let keeper = Keeper { calls, bell: Arc::clone(&bell), answer: Arc::default() };
        let (answer, caller) = (Arc::clone(&keeper.answer), thread::current());
        thread::spawn(move || keep(&channel, &bell, &asked, &answer, &caller));
        Ok(keeper)
    }

    pub fn ask(&self, call: Message) -> Answer {
        self.calls.send(call).map_err(|_| "the thread has ended")?;
        self.bell.write(1)?;
        loop {
            thread::park();
            if let Some(answer) = self.answer.lock().expect("nobody panics").take() {
                return answer;
            }
        }
    }
}

fn keep(
    channel: &Channel,
    bell: &EventFd,
    asked: &Receiver<Message>,
    answer: &Mutex<Option<Answer>>,
    caller: &Thread,
) {
    let has_come = |fd: &PollFd| fd.any().unwrap_or(true);
    let socket = socket(channel);
    loop {
        let mut fds = [PollFd::new(bell.as_fd(), PollFlags::POLLIN), PollFd::new(socket, PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::NONE);
        if has_come(&fds[1]) {
            // What the manager's own socket tells unasked.
            let _ = channel.read_write(Some(Duration::ZERO));
            while channel.pop_message().is_some() {}
        }
        if has_come(&fds[0]) {
            let _ = bell.read();
            let Ok(call) = asked.recv() else { return };
            let outcome = ask(channel, call);
            *answer.lock().expect("nobody panics") = Some(outcome);
            caller.unpark();
        }
    }
}

#[allow(unsafe_code)]
fn socket(channel: &Channel) -> BorrowedFd<'_> {
    // SAFETY: the socket is the channel's, and open for as long as that is.
    unsafe { BorrowedFd::borrow_raw(channel.watch().fd) }
}

/// The process's groups, to be read when it has been placed.
pub fn look(pid: u32) -> Result<File, Failure> {
    let groups = File::open(format!("/proc/{pid}/cgroup"))?;
    fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(groups)
}

pub fn verify(unit: &str, slice: &str, mut process: &File) -> Result<(), Failure> {
    fs::read_link(format!("/run/systemd/units/invocation:{unit}"))?;
    fs::metadata(format!("/sys/fs/cgroup/{slice}/{unit}"))?;
    let mut groups = String::with_capacity(1024);
    process.rewind()?;
    process.read_to_string(&mut groups)?;
    if groups.contains(unit) { Ok(()) } else { Err(format!("{unit} does not hold its process").into()) }
}
