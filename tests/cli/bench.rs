//! `bench`: its figures, its refusals, and that nothing of it is left behind, however it ends.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::sandbox::{NOBODY, Silence, awake, object, run, signal, stderr, stdout, unitwait, unitwait_as};
use crate::support::MARGIN;

/// Units and processes of the benchmark with this number.
fn left(pid: u32) -> String {
    let patterns = [format!("unitwait_bench_{pid}*"), format!("bench-unitwait-{pid}-*")];
    let units =
        Command::new("systemctl").args(["list-units", "--all", "--no-legend"]).args(&patterns).output();
    stdout(&units.unwrap()).to_string()
}

fn nothing_is_left(pid: u32) {
    let until = Instant::now() + Duration::from_secs(20);
    while !left(pid).is_empty() {
        assert!(Instant::now() < until, "{}", left(pid));
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_benchmark_tells_what_a_create_takes_in_each_mode_and_leaves_nothing() {
    for (mode, concurrency) in [("blocking", "1"), ("blocking", "7"), ("tickets", "8"), ("batch", "6")] {
        let arguments = ["bench", "--ops", "20", "--mode", mode, "--concurrency", concurrency, "--live", "5"];
        let child = unitwait().args(arguments).arg("--json").stdout(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let output = child.wait_with_output().unwrap();
        let told = object(&output.stdout);
        for kind in ["create", "stop"] {
            let kind = &told[kind];
            assert_eq!((kind["count"].as_u64(), kind["errors"].as_u64()), (Some(20), Some(0)), "{told}");
            let times = ["median_us", "p90_us", "p99_us", "max_us"].map(|name| kind[name].as_f64().unwrap());
            assert!(times[0] > 0.0 && times.is_sorted(), "{told}");
            let rest = [&kind["per_second"], &kind["cpu_us"]["process"], &kind["cpu_us"]["manager"]];
            assert!(rest.iter().all(|number| number.as_f64() > Some(0.0)), "{told}");
        }
        // The call, its reply and the signal; and where another client has subscribed, strangers' signals.
        assert!(told["create"]["messages"].as_f64() >= Some(3.0), "{told}");
        assert!(told["create"]["bytes"].as_f64() > Some(300.0), "{told}");
        assert!(told["rss_bytes"].as_u64() > Some(1 << 20) && told["threads"].as_u64() > Some(1), "{told}");
        assert_eq!((told["live"].as_u64(), told["mode"].as_str()), (Some(5), Some(mode)), "{told}");
        assert!(told["spread"].is_null(), "{told}");
        assert_eq!(left(pid), "");
    }
}

#[test]
fn a_benchmark_of_the_managers_own_socket_is_told_to_people_and_drawn() {
    let picture = format!("/tmp/unitwait-bench-{}.svg", std::process::id());
    let output = run(["bench", "--private", "--ops", "10", "--live", "8", "--svg", &picture]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let told = stdout(&output);
    assert!(told.contains("private: 10 scopes, blocking, concurrency 1, 8 more standing"), "{told}");
    assert!(told.contains("us systemd, none the bus"), "{told}");
    let drawn = fs::read_to_string(&picture).unwrap();
    fs::remove_file(&picture).unwrap();
    assert!(drawn.starts_with("<svg ") && drawn.ends_with("</svg>\n"), "{drawn}");
    for axis in ["time of a call, ms", "calls done, %", "callers", "other scopes in the slice"] {
        assert!(drawn.contains(axis), "{axis}: {drawn}");
    }
}

#[test]
fn nonsense_is_refused_before_anything_is_created() {
    let counts =
        ["--ops=0", "--ops=-1", "--ops=many", "--concurrency=0", "--live=1e9", "--mode=fast", "--spread=0"];
    for nonsense in counts {
        let refused = run(["bench", "--json", nonsense]);
        let error = &object(&refused.stderr)["error"];
        assert_eq!((refused.status.code(), error["kind"].as_str()), (Some(64), Some("usage")), "{error}");
    }
    for nowhere in ["/no/such/directory/x.svg", "/proc"] {
        let refused = run(["bench", "--json", "--svg", nowhere]);
        let error = &object(&refused.stderr)["error"];
        assert!(error["message"].as_str().unwrap().starts_with("could not write"), "{error}");
    }
    let stranger = unitwait_as(NOBODY).args(["bench", "--json", "--ops", "5"]).output().unwrap();
    let error = &object(&stranger.stderr)["error"];
    assert_eq!(
        (stranger.status.code(), error["kind"].as_str()),
        (Some(77), Some("access_denied")),
        "{error}"
    );
}

#[test]
fn a_benchmark_that_is_ended_or_killed_leaves_neither_unit_nor_process() {
    for how in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        let arguments = ["bench", "--ops", "100000", "--concurrency", "4", "--live", "30"];
        let mut child = unitwait().args(arguments).stdout(Stdio::null()).spawn().unwrap();
        let pid = child.id();
        let until = Instant::now() + Duration::from_secs(20);
        while left(pid).lines().count() < 32 {
            assert!(Instant::now() < until, "it does not get going: {}", left(pid));
            thread::sleep(Duration::from_millis(5));
        }
        signal(&child, how);
        assert!(!child.wait().unwrap().success());
        nothing_is_left(pid);
    }
}

#[test]
fn a_benchmark_ends_by_its_deadline() {
    let _awake = awake();
    let begun = Instant::now();
    let child = unitwait()
        .args(["bench", "--ops", "100000", "--timeout", "1s", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(object(&output.stdout)["create"]["count"].as_u64() > Some(0), "{output:?}");
    nothing_is_left(pid);
}

#[test]
fn a_benchmark_ends_by_its_deadline_while_systemd_is_silent_and_is_cleared_away_when_it_speaks_again() {
    let (pid, output) = {
        let awake = awake();
        let child = unitwait()
            .args(["bench", "--ops", "100000", "--live", "5", "--timeout", "4s"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (pid, begun) = (child.id(), Instant::now());
        while left(pid).lines().count() < 6 {
            assert!(begun.elapsed() < Duration::from_secs(3), "it does not get going: {}", left(pid));
        }
        drop(awake);
        let _silence = Silence::fall();
        let output = child.wait_with_output().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(4) + 2 * MARGIN, "{:?}", begun.elapsed());
        (pid, output)
    };
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(stderr(&output).contains("could not be stopped yet"), "{output:?}");
    nothing_is_left(pid);
}

#[test]
fn a_benchmark_in_which_calls_failed_is_drawn_as_well() {
    let _awake = awake();
    let picture = format!("/tmp/unitwait-bench-failed-{}.svg", std::process::id());
    // What goes before the main part is over by then, and that never is.
    let arguments = ["bench", "--ops", "100000", "--live", "1", "--timeout", "8s", "--svg", &picture];
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    let drawn = fs::read_to_string(&picture).unwrap();
    fs::remove_file(&picture).unwrap();
    assert!(drawn.ends_with("</svg>\n"), "{drawn}");
}

#[test]
fn what_a_picture_cannot_take_the_place_of_is_still_there() {
    let directory = format!("/tmp/unitwait-bench-full-{}", std::process::id());
    fs::create_dir(&directory).unwrap();
    let mounted = ["-t", "tmpfs", "-o", "size=4k", "tmpfs", directory.as_str()];
    assert!(Command::new("mount").args(mounted).status().unwrap().success());
    let picture = format!("{directory}/x.svg");
    fs::write(&picture, "of before").unwrap();
    let output = run(["bench", "--ops", "5", "--spread", "300", "--svg", &picture]);
    assert_eq!(fs::read_to_string(&picture).unwrap(), "of before");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    assert!(Command::new("umount").arg(&directory).status().unwrap().success());
    fs::remove_dir(&directory).unwrap();
    assert!(stderr(&output).contains("could not write"), "{output:?}");
    assert!(stdout(&output).contains("5 scopes, blocking, concurrency 1, spread over 300,"), "{output:?}");
}

/// Before anything is installed, built or booted.
#[test]
fn a_comparison_that_cannot_be_is_refused_at_once() {
    unitwait();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/compare");
    let refused = |arguments: &[&str], uid: u32| {
        let output = Command::new("bash").arg(script).args(arguments).uid(uid).output().unwrap();
        (output.status.code(), stderr(&output).to_string())
    };
    for nonsense in [&["--rounds", "0"][..], &["--rounds", "many"], &["--rounds"], &["--fast"]] {
        let (status, said) = refused(nonsense, 0);
        assert!(status == Some(64) && said.starts_with("compare: "), "{status:?}: {said}");
    }
    let (status, said) = refused(&[], NOBODY);
    assert!(status == Some(77) && said.contains("needs root"), "{status:?}: {said}");
}
