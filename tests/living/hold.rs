//! A unit that starts and does not come up while this lives: a scope ordered after it waits for its job.

use std::process::{Command, Stdio};

use crate::support::name;

pub struct Hold(pub String);

impl Hold {
    pub fn new() -> Hold {
        let unit = name("hold").replace(".scope", ".service");
        let arguments = ["--no-block", "--quiet", "--property=Type=oneshot", "--unit", &unit, "sleep", "600"];
        assert!(run("systemd-run", &arguments), "systemd-run starts {unit}");
        Hold(unit)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        run("systemctl", &["kill", "--signal=KILL", &self.0]);
        run("systemctl", &["stop", &self.0]);
        run("systemctl", &["reset-failed", &self.0]);
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).status().expect("it starts").success()
}
