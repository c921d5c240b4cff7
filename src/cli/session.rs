//! What all commands share: which manager is meant, until when, and how to speak.

use std::time::{Duration, Instant};

use unitwait::{Builder, Deadline, Manager};

use crate::args::Global;
use crate::failure::Failure;
use crate::output::{Output, milliseconds};

/// No clock overflows at a year from now, as it could at the longest time that can be typed.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Which manager is meant.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    System,
    User,
    Private,
    At(String),
}

impl Target {
    fn of(global: &Global) -> Result<Target, Failure> {
        let mut named = Vec::new();
        named.extend(global.system.then_some(Target::System));
        named.extend(global.user.then_some(Target::User));
        named.extend(global.private.then_some(Target::Private));
        named.extend(global.address.clone().map(Target::At));
        match named.len() {
            // clap sees such a conflict only where both options stand on the same side of the command.
            2.. => Err(Failure::Usage("--system, --user, --private and --address exclude each other".into())),
            _ => Ok(named.pop().unwrap_or(Target::System)),
        }
    }

    pub fn builder(&self) -> Builder {
        match self {
            Target::System => Manager::builder().system(),
            Target::User => Manager::builder().user(),
            Target::Private => Manager::builder().private(),
            Target::At(address) => Manager::builder().at(address),
        }
    }

    /// The option that means it.
    pub fn option(&self) -> &'static str {
        match self {
            Target::System => "--system",
            Target::User => "--user",
            Target::Private => "--private",
            Target::At(_) => "--address",
        }
    }
}

pub struct Session {
    pub target: Target,
    pub output: Output,
    until: Instant,
    is_timeout_given: bool,
}

impl Session {
    pub fn new(global: &Global, output: Output) -> Result<Session, Failure> {
        let until = Instant::now() + global.timeout.unwrap_or(DEFAULT_TIMEOUT).min(LONGEST);
        Ok(Session { target: Target::of(global)?, output, until, is_timeout_given: global.timeout.is_some() })
    }

    /// One deadline for the whole command, to connect included.
    pub fn until(&self) -> Instant {
        self.until
    }

    /// The deadline, where one was given: for what has no end of its own, and is to have none unless told.
    pub fn given_end(&self) -> Option<Instant> {
        Some(self.until).filter(|_| self.is_timeout_given)
    }

    pub fn deadline(&self) -> Deadline {
        Deadline::At(self.until)
    }

    /// For a question that is not the command's main one, and must not use up its time.
    pub fn shortly(&self) -> Deadline {
        Deadline::At(self.until.min(Instant::now() + Duration::from_secs(1)))
    }

    /// Does not block: the first request finds out whether a systemd answers.
    pub fn open_lazily(&self) -> Result<Manager, Failure> {
        let manager = self.target.builder().lazy(true).open(self.until)?;
        log::debug!("asks the manager at {}", manager.address());
        Ok(manager)
    }

    pub fn open(&self) -> Result<Manager, Failure> {
        let begun = Instant::now();
        let manager = self.target.builder().open(self.until)?;
        let (address, version) = (manager.address(), manager.version());
        log::debug!("systemd {version} at {address}, after {}", milliseconds(begun.elapsed()));
        Ok(manager)
    }
}
