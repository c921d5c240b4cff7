//! The processes that the scopes hold, and whoever cleans up after a benchmark, however it ends.

use std::env;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::unistd::pipe2;

/// Each sleeper waits for the end of a pipe that this program alone writes to: a program that is killed takes them all
/// with it, and a scope without a process goes by itself. The shell ends after the last of them, and after what is to
/// be done then, which is tried again where that fails, and is done too where the unit it is for is gone.
const SCRIPT: &str = r#"
exec 3<&0 </dev/null
left=$1
shift
while [ "$left" -gt 0 ]; do
    (read -r _ <&3) >/dev/null &
    echo $!
    left=$((left - 1))
done
exec >/dev/null
read -r _ <&3
wait
[ $# -gt 0 ] || exit 0
left=60
until said=$("$@" 2>&1); do
    case $said in *'"no_such_unit"'*) exit 0 ;; esac
    left=$((left - 1))
    [ "$left" -gt 0 ] || exit 1
    sleep 10
done
"#;

/// How often it is looked whether the end has come.
const TICK: Duration = Duration::from_millis(5);

/// Sleepers, until this is dropped.
pub struct Holder {
    life: Option<OwnedFd>,
    shell: Child,
    pub pids: Vec<u32>,
}

impl Holder {
    pub fn start(count: usize) -> io::Result<Holder> {
        Holder::with_end(count, &[])
    }

    /// One whose sleepers' end is followed by `unitwait` with these arguments.
    pub fn with_end(count: usize, arguments: &[&str]) -> io::Result<Holder> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "sh", &count.to_string()]);
        if !arguments.is_empty() {
            command.arg(env::current_exe()?).args(arguments);
        }
        let (read, life) = pipe2(OFlag::O_CLOEXEC)?;
        // In a group of its own, which Ctrl-C does not reach: it has to outlive this program.
        command.stdin(read).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut shell = with_no_signal_held(|| command.spawn())?;
        // It has a copy of the pipe's end, which is to be read in the shell alone.
        drop(command);
        let told = shell.stdout.take().map(BufReader::new);
        let mut holder = Holder { life: Some(life), shell, pids: Vec::with_capacity(count) };
        let lines = told.into_iter().flat_map(BufRead::lines).map_while(Result::ok);
        holder.pids.extend(lines.filter_map(|line| line.parse::<u32>().ok()).take(count));
        if holder.pids.len() == count {
            return Ok(holder);
        }
        let came = holder.pids.len();
        Err(io::Error::other(format!("of {count} processes only {came} came up")))
    }

    /// Lets the sleepers go, and waits for what follows, until then; false where that failed or is not done yet.
    pub fn end_by(mut self, until: Instant) -> bool {
        self.life = None;
        while Instant::now() < until {
            match self.shell.try_wait() {
                Ok(None) => thread::sleep(TICK),
                Ok(Some(status)) => return status.success(),
                Err(_) => break,
            }
        }
        false
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if self.life.take().is_some() {
            let _ = self.shell.wait();
        }
    }
}

/// A child inherits what its parent holds back, and a sleeper that held back SIGTERM could not be stopped.
fn with_no_signal_held<T>(spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let mut held = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), Some(&mut held))?;
    let spawned = spawn();
    held.thread_set_mask()?;
    spawned
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn sleepers_are_there_until_they_are_let_go() {
        let holder = Holder::start(5).unwrap();
        let there: Vec<PathBuf> =
            holder.pids.iter().map(|pid| PathBuf::from(format!("/proc/{pid}"))).collect();
        assert_eq!(there.iter().filter(|path| path.exists()).count(), 5);
        assert!(holder.end_by(Instant::now() + Duration::from_secs(10)));
        assert!(there.iter().all(|path| !path.exists()));
    }
}
