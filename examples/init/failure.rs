//! What can go wrong, as a line for people and an exit status for programs: sysexits(3), as the command `unitwait` has
//! them.

use std::{fmt, io};

use nix::errno::Errno;
use unitwait::Error;

pub mod status {
    pub const USAGE: u8 = 64;
    pub const BAD_DATA: u8 = 65;
    pub const UNAVAILABLE: u8 = 69;
    pub const INTERNAL: u8 = 70;
    pub const REFUSED: u8 = 71;
    pub const EXISTS: u8 = 73;
    pub const DEADLINE: u8 = 75;
    pub const ACCESS_DENIED: u8 = 77;
    pub const NOT_EXECUTABLE: u8 = 126;
    pub const NOT_FOUND: u8 = 127;
}

#[derive(Debug)]
pub struct Failure {
    pub status: u8,
    pub text: String,
}

impl Failure {
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure { status: status::USAGE, text: text.into() }
    }

    pub fn system(doing: &'static str) -> impl Fn(Errno) -> Failure {
        move |errno| Failure { status: status::INTERNAL, text: format!("could not {doing}: {errno}") }
    }

    /// The command itself cannot be run; the shell's own exit statuses.
    pub fn command(name: &std::ffi::OsStr, source: &io::Error) -> Failure {
        let found = source.kind() != io::ErrorKind::NotFound;
        let status = if found { status::NOT_EXECUTABLE } else { status::NOT_FOUND };
        Failure { status, text: format!("{}: {source}", name.to_string_lossy()) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let status = match &error {
            Error::InvalidInput { .. } | Error::NoSuchProcess { .. } | Error::UnknownProperty { .. } => {
                status::BAD_DATA
            }
            Error::Dbus { name, .. } if name == "org.freedesktop.DBus.Error.InvalidArgs" => status::BAD_DATA,
            Error::Connect { .. } | Error::Disconnected { .. } => status::UNAVAILABLE,
            Error::Closed { .. } | Error::System { .. } | Error::Protocol { .. } | Error::Exec { .. } => {
                status::INTERNAL
            }
            Error::UnitExists { .. } => status::EXISTS,
            Error::Timeout { .. } => status::DEADLINE,
            Error::AccessDenied { .. } => status::ACCESS_DENIED,
            _ => status::REFUSED,
        };
        Failure { status, text: error.to_string() }
    }
}
