//! `watch`: each change a line, until it is ended or nobody reads; and nothing is missed in silence.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::Signal;
use unitwait::{Manager, Scope};

use crate::sandbox::{Lines, Sleeper, create, name, object, run, signal, started, stderr, unitwait};

const LONG: Duration = Duration::from_secs(30);

fn lines(watch: &mut Child) -> Lines {
    Lines::of(watch.stdout.take().expect("it is piped"))
}

fn watching(arguments: &[&str], pattern: &str) -> Child {
    started(&[&["watch", pattern], arguments].concat(), &format!("watching {pattern}")).0
}

fn live_and_die(unit: &str) {
    let sleeper = Sleeper::new();
    create(unit, &sleeper, &[]);
    assert!(run(["stop", unit]).status.success());
}

#[test]
fn a_units_life_is_a_line_for_each_change_for_people_and_for_programs() {
    let unit = name("watched");
    let (mut people, mut programs) = (watching(&[], &unit), watching(&["--json"], &unit));
    live_and_die(&unit);
    let (mut lines_told, mut objects_told) = (lines(&mut people), lines(&mut programs));
    // A creation that systemd refuses at first loads and unloads the unit once more.
    let mut told = Vec::new();
    while !(told.last() == Some(&format!("{unit} unloaded"))
        && told.contains(&format!("{unit} inactive/dead")))
    {
        told.push(lines_told.next().expect("more is to come"));
    }
    assert_eq!(told.first(), Some(&format!("{unit} loaded")), "{told:?}");
    let order = [format!("{unit} active/running"), format!("{unit} inactive/dead")];
    let places: Vec<_> = order.iter().map(|line| told.iter().rposition(|told| told == line)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{told:?}");
    for line in told {
        let event = object(objects_told.next().expect("as many come").as_bytes());
        let state = |key: &str| event[key].as_str().unwrap_or_default().to_string();
        let what = match state("event").as_str() {
            "changed" => format!("{}/{}", state("active_state"), state("sub_state")),
            other => other.to_string(),
        };
        assert_eq!(format!("{} {what}", state("unit")), line);
    }
    for (mut watch, end) in [(people, Signal::SIGINT), (programs, Signal::SIGTERM)] {
        assert_eq!(watch.try_wait().unwrap(), None, "it has no end of its own");
        signal(&watch, end);
        assert_eq!(watch.wait().unwrap().signal(), Some(end as i32));
    }
}

#[test]
fn a_watch_ends_at_a_timeout_that_was_given_and_with_success() {
    let output = unitwait().args(["watch", "--timeout", "300ms", "cli-none-*"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len(), stderr(&output)), (Some(0), 0, ""));
}

/// It is not the next change that tells: there is none.
#[test]
fn a_watch_whose_reader_has_left_ends_quietly_and_at_once() {
    let (mut watch, more) = started(&["watch", "cli-none-*"], "watching cli-none-*");
    drop(watch.stdout.take());
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    let told: Vec<String> = more.collect();
    assert!(told.iter().all(|line| line.starts_with("unitwait: [")), "{told:?}");
}

#[test]
fn changes_that_a_slow_reader_missed_are_counted_and_told() {
    let (mut watch, mut told) = started(&["--json", "watch", "cli-flood-*"], "watching cli-flood-*");
    // The sooner it is full, the fewer units it takes.
    fcntl(watch.stdout.as_ref().unwrap(), FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    let manager = Manager::system().unwrap();
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..100 {
                    let sleeper = Sleeper::new();
                    let scope = Scope::new(name("flood")).pid(sleeper.0.id()).verify(false);
                    manager.create_scope(&scope, LONG).unwrap().stop(LONG).unwrap();
                }
            });
        }
    });
    let dropped =
        lines(&mut watch).map(|line| object(line.as_bytes())).find(|event| event["event"] == "dropped");
    let count = dropped.expect("the watch goes on")["count"].as_u64();
    assert!(count.is_some_and(|count| count > 0), "{count:?}");
    let warning = told.find(|line| line.starts_with('{')).expect("it is on stderr too");
    assert_eq!(object(warning.as_bytes())["warning"]["kind"], "dropped");
    signal(&watch, Signal::SIGTERM);
    watch.wait().unwrap();
}

/// A way to the bus that can be cut.
struct Way {
    address: String,
    ends: Arc<Mutex<Vec<UnixStream>>>,
}

impl Way {
    fn open() -> Way {
        let path = format!("/run/unitwait-way-{}", std::process::id());
        let listener = UnixListener::bind(&path).unwrap();
        let ends = Arc::new(Mutex::new(Vec::new()));
        let way = Way { address: format!("unix:path={path}"), ends: Arc::clone(&ends) };
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                let bus = UnixStream::connect("/run/dbus/system_bus_socket").unwrap();
                let there_and_back = [(&client, &bus), (&bus, &client)];
                for (from, to) in there_and_back.map(|(from, to)| (from.try_clone(), to.try_clone())) {
                    let (mut from, mut to) = (from.unwrap(), to.unwrap());
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                ends.lock().unwrap().push(client);
            }
        });
        way
    }

    fn cut(&self) {
        for end in self.ends.lock().unwrap().drain(..) {
            end.shutdown(Shutdown::Both).unwrap();
        }
    }
}

#[test]
fn a_lost_connection_is_told_and_the_watch_goes_on() {
    let way = Way::open();
    let unit = name("parted");
    let ways = ["--address", &way.address];
    let (mut watch, mut told) =
        started(&[&ways[..], &["watch", &unit]].concat(), &format!("watching {unit}"));
    way.cut();
    let warning = told.find(|line| line.starts_with("unitwait: warning: "));
    assert!(warning.expect("the watch goes on").contains("may have been missed"));
    let sleeper = Sleeper::new();
    create(&unit, &sleeper, &[]);
    let mut changes = lines(&mut watch);
    assert!(changes.any(|line| line == format!("{unit} active/running")));
    signal(&watch, Signal::SIGTERM);
    watch.wait().unwrap();
}
