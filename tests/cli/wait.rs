//! `wait`: how a run ended, and by what time.

use std::process::{Child, Output};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt;

use crate::sandbox::{Sleeper, create, living, name, object, run, signal, started, stderr, stdout};

/// A wait for units that is under way for the last of them.
fn waiting(options: &[&str], units: &[&str]) -> Child {
    let arguments: Vec<&str> = ["wait"].iter().chain(options).chain(units).copied().collect();
    let last = units.last().unwrap();
    started(&arguments, &format!("see the end of {last}: wait")).0
}

fn ended(wait: Child) -> Output {
    wait.wait_with_output().expect("it ends")
}

#[test]
fn a_run_that_ends_by_itself_or_by_request_is_status_0_and_told_apart() {
    let (unit, sleeper) = living("wait", &[]);
    let wait = waiting(&[], &[&unit]);
    drop(sleeper);
    let output = ended(wait);
    assert_eq!(
        (output.status.code(), stdout(&output)),
        (Some(0), &*format!("{unit}: its processes ended\n"))
    );

    let (unit, _sleeper) = living("wait", &[]);
    let (people, program) = (waiting(&[], &[&unit]), waiting(&["--json"], &[&unit]));
    assert!(run(["stop", &unit]).status.success());
    let output = ended(people);
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), &*format!("{unit}: stopped by request\n")));
    let output = ended(program);
    let end = &object(&output.stdout)["units"][0];
    assert_eq!(
        (output.status.code(), &end["ending"], &end["unit"]),
        (Some(0), &"stopped".into(), &(*unit).into())
    );
    assert_eq!(end["invocation_id"].as_str().map(str::len), Some(32), "{end}");
}

#[test]
fn a_run_that_did_not_end_well_is_status_1_with_systemds_word_for_it() {
    let (unit, stubborn) = (name("unwell"), Sleeper::stubborn());
    create(&unit, &stubborn, &["-p", "TimeoutStopSec=100ms"]);
    let (people, program) = (waiting(&[], &[&unit]), waiting(&["--json"], &[&unit]));
    let _ = run(["stop", &unit]);
    let output = ended(people);
    assert_eq!((output.status.code(), stdout(&output)), (Some(1), &*format!("{unit}: ran out of time\n")));
    let output = ended(program);
    let end = &object(&output.stdout)["units"][0];
    assert_eq!(
        (output.status.code(), &end["ending"], &end["result"]),
        (Some(1), &"timed_out".into(), &"timeout".into())
    );
    // It is still loaded, and over.
    let over = run(["wait", &unit]);
    assert_eq!(over.status.code(), Some(71), "{over:?}");
    assert!(stderr(&over).contains(&format!("{unit} is not active")), "{over:?}");
}

#[test]
fn several_units_are_waited_for_at_once_by_one_deadline() {
    let ((one, first), (two, second)) = (living("several", &[]), living("several", &[]));
    let wait = waiting(&["--json"], &[&one, "cli-none", &two]);
    drop(second);
    drop(first);
    let output = ended(wait);
    assert_eq!(output.status.code(), Some(71), "{output:?}");
    let units = &object(&output.stdout)["units"];
    assert_eq!(
        (&units[0]["unit"], &units[1]["unit"]),
        (&(*one).into(), &(*two).into()),
        "in the order given"
    );

    let (living_on, _sleeper) = living("several", &[]);
    let (over, sleeper) = living("several", &[]);
    let begun = Instant::now();
    let wait = waiting(&["--timeout", "1s"], &[&living_on, &over]);
    drop(sleeper);
    let output = ended(wait);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(
        (output.status.code(), stdout(&output)),
        (Some(75), &*format!("{over}: its processes ended\n"))
    );
}

#[test]
fn a_deadline_leaves_the_unit_as_it_is_and_says_that_it_is_there() {
    let (unit, sleeper) = living("patience", &[]);
    let late = run(["--json", "--timeout", "300ms", "wait", &unit]);
    let error = &object(&late.stderr)["error"];
    assert_eq!(
        (late.status.code(), &error["kind"], &error["stage"]),
        (Some(75), &"timeout".into(), &"wait".into())
    );
    assert_eq!((&error["unit"], stdout(&late)), (&(*unit).into(), ""));
    assert!(sleeper.lives());
}

#[test]
fn ctrl_c_ends_a_wait_by_the_signal_and_the_unit_lives() {
    let (unit, sleeper) = living("leave", &[]);
    let mut wait = waiting(&[], &[&unit]);
    let begun = Instant::now();
    signal(&wait, Signal::SIGINT);
    assert_eq!(wait.wait().unwrap().signal(), Some(Signal::SIGINT as i32));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(sleeper.lives());
}

#[test]
fn a_slice_can_be_waited_for_as_well() {
    let slice = format!("cliwaited{}.slice", std::process::id());
    let (_unit, _sleeper) = living("inslice", &["--slice", &slice]);
    let wait = waiting(&[], &[&slice]);
    assert!(run(["stop", &slice]).status.success());
    let output = ended(wait);
    // A slice is down at once, so that nobody sees it on its way.
    assert!(output.status.success() && stdout(&output).starts_with(&format!("{slice}: ")), "{output:?}");
}
