//! The second process as the first one has it: started, listened to, ended, and held to what it is there for.

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Each of which must happen in every run.
const KINDS: [&str; 5] = ["stop", "bus", "reexec", "reload", "forgery"];

/// How long it may take to put all in order again.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Storm {
    child: Child,
    input: Option<ChildStdin>,
    listener: Option<JoinHandle<()>>,
    happened: Arc<Mutex<BTreeMap<String, u64>>>,
}

impl Storm {
    pub fn start(seed: u64) -> Result<Storm, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["chaos", &seed.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let happened: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
        let (counts, output) = (Arc::clone(&happened), child.stdout.take().ok_or("no output")?);
        let listener = thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let kind = line.strip_prefix("forgery ").map_or(line.as_str(), |_| "forgery");
                *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(kind.into()).or_default() += 1;
            }
        });
        Ok(Storm { input: child.stdin.take(), child, listener: Some(listener), happened })
    }

    /// An error where it has ended of itself: what happens then is no storm.
    pub fn check(&mut self) -> Result<(), Box<dyn Error>> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the chaos has ended early: {status}").into()),
        }
    }

    /// Lets it put all in order and end; an error where it cannot, or where one kind of event never happened.
    pub fn end(&mut self) -> Result<(), Box<dyn Error>> {
        self.check()?;
        drop(self.input.take());
        let status = self.wait()?;
        if !status.success() {
            return Err(format!("the chaos did not end well: {status}").into());
        }
        self.listener.take().map(JoinHandle::join);
        let happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<_> = KINDS.iter().filter(|kind| !happened.contains_key(**kind)).copied().collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("never happened: {}", missing.join(", ")).into())
        }
    }

    fn wait(&mut self) -> Result<ExitStatus, Box<dyn Error>> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err("the chaos does not end".into())
    }
}

impl fmt::Display for Storm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("chaos:")?;
        let happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner);
        happened.iter().try_for_each(|(kind, count)| write!(f, " {count} {kind}"))
    }
}

/// After a failed run.
impl Drop for Storm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
