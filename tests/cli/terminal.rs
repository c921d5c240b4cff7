//! What a terminal shows and nothing else does: the live line, and the picture of where the time went.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use nix::fcntl::OFlag;
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::Signal;

use crate::sandbox::{Silence, Sleeper, create, living, name, run, signal, stderr, stdout, unitwait};

/// What takes the line away.
const CLEAR: &str = "\r\x1b[K";

/// What was written on a terminal so far.
struct Screen {
    master: File,
    text: String,
}

impl Screen {
    /// Starts the command with a terminal for its stderr.
    fn start(command: &mut Command) -> (Child, Screen) {
        // Closed at exec: a child that another test starts meanwhile would keep the terminal open.
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let flags = OFlag::O_NOCTTY.bits();
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(ptsname_r(&master).unwrap())
            .unwrap();
        let master = File::from(master.as_fd().try_clone_to_owned().unwrap());
        command.stdout(Stdio::piped()).stderr(OwnedFd::from(slave));
        let child = command.spawn().unwrap();
        // Lets go of its own copy of the terminal.
        command.stderr(Stdio::null());
        (child, Screen { master, text: String::new() })
    }

    /// Reads on; false where nobody can write any more.
    fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.master.read(&mut bytes) {
            Ok(0) => false,
            Ok(count) => {
                self.text.push_str(&String::from_utf8_lossy(&bytes[..count]));
                true
            }
            // What Linux says where the other end is closed.
            Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(error) => panic!("{error}"),
        }
    }

    fn until(&mut self, shown: &str) {
        while !self.text.contains(shown) {
            assert!(self.read(), "it ended before it showed {shown:?}: {:?}", self.text);
        }
    }

    fn all(mut self) -> String {
        while self.read() {}
        self.text
    }
}

fn on_terminal(arguments: &[&str]) -> (Child, Screen) {
    Screen::start(unitwait().args(arguments).env("TERM", "xterm"))
}

#[test]
fn a_wait_shows_a_line_with_the_unit_and_the_time_left_and_takes_it_away() {
    let (unit, sleeper) = living("line", &[]);
    let (wait, mut screen) = on_terminal(&["wait", &unit]);
    screen.until(" left");
    assert!(screen.text.contains(&format!("{unit}: wait, still there, ")), "{:?}", screen.text);
    drop(sleeper);
    let output = wait.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), stdout(&output)),
        (Some(0), &*format!("{unit}: its processes ended\n"))
    );
    let shown = screen.all();
    assert!(shown.ends_with(CLEAR), "{shown:?}");
    assert!(!shown.contains('\n'), "it is drawn in place: {shown:?}");
}

#[test]
fn of_several_units_the_line_names_one_that_is_still_waited_for() {
    let ((one, first), (two, second)) = (living("lines", &[]), living("lines", &[]));
    let (wait, mut screen) = on_terminal(&["wait", &one, &two]);
    screen.until(&format!("{one} and 1 more: "));
    drop(first);
    screen.until(&format!("{two}: wait, still there, "));
    drop(second);
    let output = wait.wait_with_output().unwrap();
    assert_eq!(stdout(&output), format!("{one}: its processes ended\n{two}: its processes ended\n"));
    assert!(screen.all().ends_with(CLEAR));
}

#[test]
fn ctrl_c_takes_the_line_away_before_it_ends_the_program() {
    let (unit, _sleeper) = living("cut", &[]);
    let (mut wait, mut screen) = on_terminal(&["wait", &unit]);
    screen.until(" left");
    signal(&wait, Signal::SIGINT);
    assert_eq!(wait.wait().unwrap().signal(), Some(Signal::SIGINT as i32));
    assert!(screen.all().ends_with(CLEAR));
}

#[test]
fn a_run_a_create_and_a_stop_that_take_long_show_the_stage() {
    let sleeper = Sleeper::new();
    let silence = Silence::fall();
    let (unit, pid) = (name("slow"), sleeper.pid_text());
    for arguments in
        [&["run", "--unit", &unit, "true"][..], &["create", "--unit", &unit, "--pid", &pid], &["stop", &unit]]
    {
        let (mut slow, mut screen) = on_terminal(arguments);
        screen.until(&format!("{unit}: connect, no manager yet, "));
        signal(&slow, Signal::SIGTERM);
        assert_eq!(slow.wait().unwrap().signal(), Some(Signal::SIGTERM as i32), "{arguments:?}");
        assert!(screen.all().ends_with(CLEAR));
    }
    drop(silence);

    let (unit, mut stubborn) = (name("slow"), Sleeper::stubborn());
    create(&unit, &stubborn, &[]);
    let (stop, mut screen) = on_terminal(&["stop", &unit]);
    screen.until(&format!("{unit}: job, systemd is at work, "));
    stubborn.0.kill().unwrap();
    let output = stop.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), &*format!("{unit} stopped\n")));
    assert!(screen.all().ends_with(CLEAR));
}

/// Each waits for longer than it takes a line to be shown where there is one.
#[test]
fn nothing_is_drawn_for_programs_in_logs_and_on_what_is_no_terminal() {
    let (unit, _sleeper) = living("quiet", &[]);
    let wait = ["--timeout", "1500ms", "wait", &unit];
    let mut piped = unitwait();
    let piped =
        piped.args(wait).env("TERM", "xterm").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let on = |options: &[&str], variable: &str, value: &str| {
        Screen::start(unitwait().args(wait).args(options).env("TERM", "xterm").env(variable, value))
    };
    let drawn = [
        on(&["--json"], "LANG", "C"),
        on(&["-v"], "LANG", "C"),
        on(&[], "TERM", "dumb"),
        on(&[], "TERM", ""),
        on(&[], "UNITWAIT_LOG", "error"),
    ];
    for (mut child, screen) in drawn {
        let shown = screen.all();
        assert_eq!((child.wait().unwrap().code(), shown.contains('\x1b')), (Some(75), false), "{shown:?}");
    }
    let output = piped.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75));
    assert!(stderr(&output).lines().count() == 1 && !stderr(&output).contains('\x1b'), "{output:?}");
}

#[test]
fn a_verbose_run_ends_with_a_picture_of_where_the_time_went_before_the_command_begins() {
    let unit = name("picture");
    let told = run(["-v", "run", "--unit", &unit, "sh", "-c", "echo mine; echo mine too >&2"]);
    assert_eq!(stdout(&told), "mine\n");
    let lines: Vec<&str> = stderr(&told).lines().rev().take(6).collect();
    let [own, verified, done, accepted, sent, heading] = lines[..] else { panic!("{told:?}") };
    assert_eq!(own, "mine too");
    assert!(heading.starts_with(&format!("unitwait: {unit} took ")), "{told:?}");
    for (line, stages) in [
        (sent, "queued   -> sent "),
        (accepted, "sent     -> accepted "),
        (done, "accepted -> done "),
        (verified, "done     -> verified "),
    ] {
        let bar = line.split('|').nth(1).expect("a bar");
        assert!(line.trim_start().starts_with(stages) && line.ends_with(" ms") && bar.len() == 40, "{line}");
    }
    assert!(!stderr(&told).contains('\x1b'), "{told:?}");

    let (sleeper, unit) = (Sleeper::new(), name("picture"));
    let (create, screen) = on_terminal(&["-v", "create", "--unit", &unit, "--pid", &sleeper.pid_text()]);
    assert!(create.wait_with_output().unwrap().status.success());
    let shown = screen.all();
    assert!(shown.contains("\x1b[1m#") && shown.trim_end().ends_with(" ms"), "{shown:?}");
    let stopped = run(["-v", "stop", &unit]);
    assert!(stderr(&stopped).contains(&format!("unitwait: {unit} took ")), "{stopped:?}");
    let json = run(["-v", "--json", "run", "true"]);
    assert!(!stderr(&json).contains(" took "), "its object has the times: {json:?}");
}
