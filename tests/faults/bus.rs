//! A private bus: a real dbus-daemon in a directory of its own, which can be killed and brought back.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A directory of one test, removed with it.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("unitwait-faults-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a new directory can be made");
        Directory(path)
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[derive(Debug)]
pub struct Bus {
    daemon: Option<Child>,
    directory: Directory,
}

impl Bus {
    pub fn start() -> Bus {
        Bus::with_limits(&[])
    }

    /// A bus with some of its limits changed (`dbus-daemon(1)`, `<limit>`).
    pub fn with_limits(limits: &[(&str, u32)]) -> Bus {
        let directory = Directory::new();
        let mut bus = Bus { daemon: None, directory };
        bus.set_limits(limits);
        bus.restart();
        bus
    }

    /// Other limits, from the next start on.
    fn set_limits(&self, limits: &[(&str, u32)]) {
        let limits: String =
            limits.iter().map(|(name, at)| format!("<limit name=\"{name}\">{at}</limit>")).collect();
        // Replies that nobody asked for are let through: it is the driver that must not believe them.
        let config = format!(
            "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
             \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\
             <busconfig><type>custom</type><listen>{}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>\
             <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/>\
             <allow send_requested_reply=\"false\" send_type=\"method_return\"/>\
             <allow send_requested_reply=\"false\" send_type=\"error\"/>\
             <allow receive_requested_reply=\"false\" receive_type=\"method_return\"/>\
             <allow receive_requested_reply=\"false\" receive_type=\"error\"/></policy>{limits}</busconfig>",
            self.address()
        );
        fs::write(self.directory.join("config"), config).expect("the configuration is written");
    }

    pub fn address(&self) -> String {
        format!("unix:path={}", self.socket().display())
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.join("bus")
    }

    /// Ends it without a word to anybody, and takes no connection any more while it dies.
    pub fn kill(&mut self) {
        let _ = fs::remove_file(self.socket());
        self.crash();
    }

    /// Ends it at any moment: it may still take a connection that it will never serve.
    pub fn crash(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// Lets it hang: it keeps every connection, and serves none.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub fn go_on(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let daemon = self.daemon.as_ref().expect("the daemon runs");
        let pid = Pid::from_raw(daemon.id().try_into().expect("a PID is small"));
        kill(pid, signal).expect("the daemon is a child of this process");
    }

    /// Brings a new one up at the same address; it answers when this returns.
    pub fn restart(&mut self) {
        self.kill();
        let config = format!("--config-file={}", self.directory.join("config").display());
        self.daemon = Some(daemon(&config, &self.directory.join("errors")));
    }
}

fn daemon(config: &str, errors: &Path) -> Child {
    let mut daemon = Command::new("dbus-daemon")
        .args([config, "--nofork", "--nopidfile", "--print-address"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(errors).expect("a file for errors"))
        .spawn()
        .expect("dbus-daemon is installed");
    let mut address = String::new();
    let stdout = daemon.stdout.take().expect("its output is piped");
    let _ = BufReader::new(stdout).read_line(&mut address);
    assert!(!address.is_empty(), "dbus-daemon did not start: {:?}", fs::read_to_string(errors));
    daemon
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.kill();
    }
}
