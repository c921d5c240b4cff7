//! A process to place, and what the kernel says of it; read apart from the library.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Ended with its caller's interest.
pub struct Process(Child);

impl Process {
    pub fn start(stubborn: bool) -> Process {
        let script = if stubborn { "trap '' TERM; while :; do sleep 60; done" } else { "exec sleep 600" };
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Process(command.spawn().expect("sh starts"))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Ends it by hand, past systemd.
    pub fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// A process on its way out has left its control group already, though it is no zombie yet.
    pub fn lives(&self) -> bool {
        const PF_EXITING: u64 = 0x4;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let exits = fields
            .get(6)
            .and_then(|flags| flags.parse::<u64>().ok())
            .is_none_or(|flags| flags & PF_EXITING != 0);
        !exits && !matches!(fields.first(), None | Some(&("Z" | "X")))
    }

    /// Where systemd's own hierarchy has it.
    pub fn group(&self) -> Option<String> {
        let hierarchy = if is_hybrid() { "name=systemd:" } else { "0::" };
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", self.id())).ok()?;
        groups.lines().find_map(|line| Some(line.split_once(hierarchy)?.1.to_string()))
    }

    /// The group it is in, where it lives and that is not the unit's.
    pub fn is_elsewhere(&self, unit: &str) -> Option<String> {
        let group = self.group()?;
        (!group.ends_with(&format!("/{unit}")) && self.lives()).then_some(group)
    }

    /// Whether it lives in the unit.
    pub fn lives_in(&self, unit: &str) -> bool {
        self.group().is_some_and(|group| group.ends_with(&format!("/{unit}"))) && self.lives()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

pub fn is_hybrid() -> bool {
    env::var("UNITWAIT_SANDBOX_CGROUP").is_ok_and(|layout| layout == "hybrid")
}

/// A group's directory in cgroup v2, or in the v1 hierarchy of a controller where the layout has that.
fn directory(controller: Option<&str>, group: &str) -> PathBuf {
    let root = match controller {
        _ if !is_hybrid() => "/sys/fs/cgroup".into(),
        Some(controller) => format!("/sys/fs/cgroup/{controller}"),
        None => "/sys/fs/cgroup/unified".into(),
    };
    PathBuf::from(format!("{root}{group}"))
}

/// Whether the kernel has the group frozen; `None` where there is no such group.
pub fn is_frozen(group: &str) -> Option<bool> {
    let events = fs::read_to_string(directory(None, group).join("cgroup.events")).ok()?;
    Some(events.lines().any(|line| line == "frozen 1"))
}

/// The limit of tasks that the kernel holds; `None` where it holds none.
pub fn most_tasks(group: &str) -> Option<u64> {
    let limit = fs::read_to_string(directory(Some("pids"), group).join("pids.max")).ok()?;
    limit.trim().parse().ok()
}
