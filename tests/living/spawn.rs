//! Commands of which not one instruction runs outside of their scope, and what is left where one cannot run: nothing.

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::libc;
use unitwait::{Error, Manager, OnExists, Outcome, Property, Scope, ScopedChild, Stage};

use crate::support::elsewhere::alone;
use crate::support::{LONG, Sleeper, eventually, group_of, hybrid, manager, name, state};

pub fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::null());
    command
}

pub fn output(child: &mut ScopedChild) -> String {
    let mut text = String::new();
    child.stdout.take().expect("it is piped").read_to_string(&mut text).expect("it can be read");
    text
}

/// This process's children, collected or not, of all its threads.
pub fn children() -> Vec<u32> {
    let threads = fs::read_dir("/proc/self/task").expect("/proc is there").flatten();
    let of_thread = |at: fs::DirEntry| fs::read_to_string(at.path().join("children")).unwrap_or_default();
    let listed: String = threads.map(of_thread).collect();
    listed.split_ascii_whitespace().map(|pid| pid.parse().expect("a number")).collect()
}

fn exec_error<T: std::fmt::Debug>(answer: Result<T, Error>) -> (bool, Option<i32>) {
    match answer {
        Err(Error::Exec { placed, source, .. }) => (placed, source.raw_os_error()),
        other => panic!("{other:?}"),
    }
}

pub fn gone(manager: &Manager, unit: &str) {
    assert_eq!(manager.list_units(&[unit], LONG).unwrap(), [], "{unit} stayed behind");
}

#[test]
fn not_one_instruction_of_two_hundred_commands_runs_outside_of_its_scope() {
    let manager = manager();
    let mut outside = Vec::new();
    for _ in 0..200 {
        // A shell's builtin: the first thing that the new program does is to ask where it is.
        let mut command =
            sh("read -r groups < /dev/null; while read -r line; do echo \"$line\"; done < /proc/self/cgroup");
        command.stdout(Stdio::piped());
        let scope = Scope::new(name("first")).slice("first.slice").verify(false);
        let mut child = manager.spawn_in_scope(command, &scope, LONG).expect("spawned");
        let seen = output(&mut child);
        let hierarchy = if hybrid() { "name=systemd:" } else { "0::" };
        let own = format!("{hierarchy}/first.slice/{}\n", child.scope().unit());
        if !seen.contains(&own) {
            outside.push(seen);
        }
        assert!(child.wait(LONG).unwrap().success());
    }
    assert_eq!(outside, [""; 0]);
}

#[test]
fn the_limits_are_in_force_when_the_command_begins() {
    let manager = manager();
    let mut command = sh(
        "i=0; while [ $i -lt 30 ]; do sleep 600 >/dev/null 2>&1 & i=$((i+1)); done; echo through; kill $(jobs -p)",
    );
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let scope = Scope::new(name("limited")).slice("limited.slice").tasks_max(10);
    let mut child = manager.spawn_in_scope(command, &scope, LONG).unwrap();
    let told = output(&mut child);
    let in_force = child.scope().limit_gaps().is_empty();
    assert_eq!(told.contains("through"), !in_force, "gaps: {:?}", child.scope().limit_gaps());
    assert!(in_force || !hybrid(), "hybrid has the v1 controller");
    let _ = child.scope().stop(LONG);
    child.wait(LONG).unwrap();
}

#[test]
fn a_child_is_as_the_standard_library_would_have_it_and_its_end_is_told() {
    let manager = manager();
    let mut command = sh("read -r word; echo \"$word $PLACE $(pwd) $(id -u)\"; exit 7");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.env("PLACE", "here").current_dir("/usr").uid(4242);
    let unit = name("child");
    let mut child = manager.spawn_in_scope(command, &Scope::new(&unit), LONG).unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    assert_eq!(group_of(child.id()), child.scope().control_group());
    assert_eq!((child.scope().unit(), child.scope().outcome()), (unit.as_str(), Outcome::Created));
    assert_eq!(state(&manager, &unit), "active");
    io::Write::write_all(&mut child.stdin.take().unwrap(), b"word\n").unwrap();
    assert_eq!(output(&mut child), "word here /usr 4242\n");
    assert_eq!(child.wait(LONG).unwrap().code(), Some(7));
    assert_eq!(child.wait(Duration::ZERO).unwrap().code(), Some(7), "the status is kept");
    assert_eq!(child.try_wait().unwrap().and_then(|status| status.code()), Some(7));
    child.kill(9).expect("as the standard library has it, for a child that has ended");
    eventually("the scope ends with its process", || state(&manager, &unit) == "inactive");
}

#[test]
fn a_command_that_cannot_be_executed_leaves_no_child_and_no_scope_and_says_why() {
    alone(|| {
        let manager = manager();
        let script = std::env::temp_dir().join(format!("unitwait-nothing-{}", std::process::id()));
        fs::write(&script, "no program").unwrap();
        let not_executable = script.display().to_string();
        for (program, errno) in [
            ("/no/such/program", libc::ENOENT),
            ("no-such-program-in-path", libc::ENOENT),
            (&*not_executable, libc::EACCES),
            ("/", libc::EACCES),
        ] {
            for builder in [Manager::builder().system(), Manager::builder().private()] {
                let manager = builder.open(LONG).unwrap();
                let unit = name("unrunnable");
                let answer = manager.spawn_in_scope(Command::new(program), &Scope::new(&unit), LONG);
                assert_eq!(exec_error(answer), (true, Some(errno)), "{program}");
                gone(&manager, &unit);
                assert_eq!(children(), []);
            }
        }
        fs::remove_file(script).unwrap();
        drop(manager);
    });
}

#[test]
fn what_fails_before_exec_is_told_apart_and_nothing_is_asked_of_systemd() {
    alone(|| {
        let manager = manager();
        let unit = name("unready");
        let spawn = |command| manager.spawn_in_scope(command, &Scope::new(&unit), LONG);
        let mut nowhere = Command::new("true");
        nowhere.current_dir("/no/such/directory");
        assert_eq!(exec_error(spawn(nowhere)), (false, Some(libc::ENOENT)));
        assert_eq!(exec_error(spawn(refused_by_its_own_closure())), (false, Some(libc::EXDEV)));
        let odd = spawn(Command::new("tr\0ue"));
        assert!(odd.as_ref().is_err_and(Error::is_invalid_input), "{odd:?}");
        for bad in [Scope::new("bad.service"), Scope::new(&unit).property(Property::new("PIDFDs", 1u64))] {
            let answer = manager.spawn_in_scope(Command::new("true"), &bad, LONG);
            assert!(answer.as_ref().is_err_and(Error::is_invalid_input), "{answer:?}");
        }
        let late = manager.spawn_in_scope(Command::new("true"), &Scope::new(&unit), Duration::ZERO);
        assert_eq!(late.unwrap_err().stage(), Some(Stage::Fork));
        assert_eq!(children(), []);
        gone(&manager, &unit);
        assert_eq!(manager.stats().unwrap().succeeded, 2 + 1, "it was opened, and the units were listed");
    });
}

#[allow(unsafe_code, reason = "a user's own closure between fork and exec")]
fn refused_by_its_own_closure() -> Command {
    let mut command = Command::new("true");
    // SAFETY: makes an error of a number.
    unsafe { command.pre_exec(|| Err(io::Error::from_raw_os_error(libc::EXDEV))) };
    command
}

#[test]
fn what_systemd_refuses_is_the_error_and_the_child_is_collected_and_never_ran() {
    alone(|| {
        let manager = manager();
        let sleeper = Sleeper::new();
        let unit = name("taken");
        let standing = manager.create_scope(&Scope::new(&unit).pid(sleeper.pid()), LONG).unwrap();
        let mark = Mark::new();
        let answer = manager.spawn_in_scope(mark.command(), &Scope::new(&unit), LONG);
        assert!(matches!(answer, Err(Error::UnitExists { .. })), "{answer:?}");
        let odd = Scope::new(name("odd")).property(Property::new("NotYetInvented", 1u64));
        let answer = manager.spawn_in_scope(mark.command(), &odd, LONG);
        assert!(
            matches!(&answer, Err(Error::UnknownProperty { property, .. }) if property == "NotYetInvented"),
            "{answer:?}"
        );
        assert_eq!(children(), [sleeper.pid()]);
        assert!(!mark.is_set() && sleeper.lives());
        standing.stop(LONG).unwrap();
    });
}

/// A file that a command makes when it runs.
pub struct Mark(PathBuf);

impl Mark {
    pub fn new() -> Mark {
        Mark(std::env::temp_dir().join(format!("unitwait-mark-{}", name("ran"))))
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new("touch");
        command.arg(&self.0);
        command
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn is_set(&self) -> bool {
        self.0.exists()
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_scope_that_is_anothers_too_stays_where_a_command_cannot_be_executed() {
    let manager = manager();
    let sleeper = Sleeper::new();
    let missing = || Command::new("/no/such/program");
    let together = Scope::new(name("together")).pid(sleeper.pid()).delegate(true);
    assert_eq!(exec_error(manager.spawn_in_scope(missing(), &together, LONG)), (true, Some(libc::ENOENT)));
    let join = together.on_exists(OnExists::Join);
    let joined = manager.spawn_in_scope(Command::new("true"), &join, LONG).unwrap();
    assert_eq!(joined.scope().outcome(), Outcome::Joined);
    joined.wait(LONG).unwrap();
    let only = Scope::new(joined.scope().unit()).on_exists(OnExists::Join);
    assert_eq!(exec_error(manager.spawn_in_scope(missing(), &only, LONG)), (true, Some(libc::ENOENT)));
    assert!(sleeper.lives(), "it was in the scope that failed commands were to be in");
    assert_eq!(group_of(sleeper.pid()), joined.scope().control_group());
    joined.scope().stop(LONG).unwrap();
}
