//! One property of systemd's, read by libdbus alone, with no library of ours: `scripts/static` measures by it what the
//! library adds to a program.

use std::process::ExitCode;
use std::time::Duration;

use dbus::arg::Variant;
use dbus::channel::{BusType, Channel};
use dbus::{Error, Message};

fn main() -> ExitCode {
    match read() {
        Ok(version) => println!("systemd {version}"),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn read() -> Result<String, Error> {
    let channel = Channel::get_private(BusType::System)?;
    let get = Message::call_with_args(
        "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1",
        "org.freedesktop.DBus.Properties",
        "Get",
        ("org.freedesktop.systemd1.Manager", "Version"),
    );
    let answer = channel.send_with_reply_and_block(get, Duration::from_secs(5))?;
    let version: Variant<String> = answer.read1().map_err(|error| Error::new_failed(&error.to_string()))?;
    Ok(version.0)
}
