//! systemd's own word on a unit, asked for by its own client over its own socket: nothing of the library is between.

use std::collections::BTreeMap;
use std::fmt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// How often systemd was asked, and how often it could say.
#[derive(Debug, Default)]
pub struct Witness {
    heard: AtomicU64,
    silent: AtomicU64,
}

impl Witness {
    /// What these properties read as; `None` where nothing was to be had, as from a systemd that is stopped or is
    /// being replaced just then. That is neither truth nor falsehood, and only counted.
    pub fn ask(&self, unit: &str, properties: &str) -> Option<BTreeMap<String, String>> {
        let mut command = Command::new("timeout");
        command.args(["3", "systemctl", "show", "--property", properties, unit]);
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
        let output = output.ok().filter(|output| output.status.success());
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let pairs = text.as_deref().unwrap_or_default().lines().filter_map(|line| line.split_once('='));
        let held: BTreeMap<String, String> =
            pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let all = properties.split(',').all(|name| held.contains_key(name));
        let count = if all { &self.heard } else { &self.silent };
        count.fetch_add(1, Ordering::Relaxed);
        all.then_some(held)
    }

    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let silent = self.silent.load(Ordering::Relaxed);
        write!(f, "systemd itself asked {} times, {silent} inconclusive", self.heard() + silent)
    }
}
