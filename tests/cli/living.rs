//! What is done to a unit that is there: `set`, `attach`, `freeze`, `thaw`, `kill --until-gone`, and `list --state`.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::sandbox::{Sleeper, create, group_in, hybrid, living, name, object, run, stderr, stdout};

fn property(unit: &str, name: &str) -> String {
    let shown = Command::new("systemctl").args(["show", "--value", "-p", name, unit]).output().unwrap();
    stdout(&shown).trim().to_string()
}

fn group_of(sleeper: &Sleeper) -> String {
    group_in(&fs::read_to_string(format!("/proc/{}/cgroup", sleeper.pid_text())).unwrap()).to_string()
}

#[test]
fn a_property_is_set_in_the_kernels_file_or_told_not_to_hold() {
    let (unit, _sleeper) = living("set", &["--slice", "cliset"]);
    let set = run(["set", &unit, "-p", "TasksMax=50", "-p", "CPUQuota=25%", "-p", "TasksMax=33"]);
    assert_eq!(set.status.code(), Some(0), "{set:?}");
    assert_eq!(stdout(&set), format!("{unit} set: CPUQuotaPerSecUSec, TasksMax\n"));
    assert_eq!(
        (property(&unit, "TasksMax").as_str(), property(&unit, "CPUQuotaPerSecUSec").as_str()),
        ("33", "250ms")
    );
    if hybrid() {
        assert_eq!(stderr(&set), "");
        let file = |controller, file| {
            fs::read_to_string(format!("/sys/fs/cgroup/{controller}/cliset.slice/{unit}/{file}")).unwrap()
        };
        assert_eq!(
            (file("pids", "pids.max").trim(), file("cpu", "cpu.cfs_quota_us").trim()),
            ("33", "25000")
        );
    }
    // No machine has that CPU, so that no kernel can hold the limit, whatever its controllers.
    let arguments = ["set", &unit, "-p", "AllowedCPUs=8000"];
    let told = run(arguments);
    let warning = format!("unitwait: warning: {unit}: a limit is not in force: AllowedCPUs");
    assert!(told.status.success() && stderr(&told).starts_with(&warning), "{told:?}");
    let object_told = run(arguments.iter().chain(&["--json", "--persistent"]));
    let changed = object(&object_told.stdout);
    assert_eq!(
        (&changed["unit"], &changed["persistent"], stderr(&object_told)),
        (&(*unit).into(), &true.into(), "")
    );
    assert_eq!(changed["limit_gaps"][0]["property"], "AllowedCPUs", "{changed}");
    let required = run(arguments.iter().chain(&["--json", "--require-limits"]));
    let error = &object(&required.stderr)["error"];
    assert_eq!((required.status.code(), error["kind"].as_str()), (Some(71), Some("limit")), "{error}");
    assert!(error["message"].as_str().unwrap().contains("the change stands"), "{error}");
    assert_eq!(property(&unit, "ActiveState"), "active");
}

#[test]
fn a_list_grows_on_the_living_unit_and_an_empty_one_resets_it_first() {
    let (unit, _sleeper) = living("lists", &[]);
    let deny = |values: &[&str]| {
        let values = values.iter().flat_map(|value| ["-p".to_string(), format!("IPAddressDeny={value}")]);
        let set = run(["set".to_string(), unit.clone()].into_iter().chain(values));
        assert_eq!(set.status.code(), Some(0), "{set:?}");
        let mut denied: Vec<String> =
            property(&unit, "IPAddressDeny").split_whitespace().map(String::from).collect();
        denied.sort_unstable();
        denied
    };
    assert_eq!(deny(&["10.0.0.0/8"]), ["10.0.0.0/8"]);
    assert_eq!(deny(&["192.0.2.0/24", "198.51.100.0/24"]), ["10.0.0.0/8", "192.0.2.0/24", "198.51.100.0/24"]);
    assert_eq!(deny(&["", "203.0.113.0/24"]), ["203.0.113.0/24"]);
    assert!(deny(&[""]).is_empty());
}

#[test]
fn processes_are_attached_to_a_delegated_scope_and_below_it() {
    let (unit, _first) = living("attach", &["--delegate", "--slice", "cliattach"]);
    let (second, third, fourth) = (Sleeper::new(), Sleeper::new(), Sleeper::new());
    let attached = run(["attach", &unit, "--pid", &second.pid_text(), &third.pid_text()]);
    assert_eq!(attached.status.code(), Some(0), "{attached:?}");
    let group = format!("/cliattach.slice/{unit}");
    assert_eq!(
        stdout(&attached),
        format!("{unit} has {} {} in {group}\n", second.pid_text(), third.pid_text())
    );
    assert_eq!((group_of(&second), group_of(&third)), (group.clone(), group.clone()));

    let below = ["attach", "--json", &unit, "--subgroup", "workers/a", "--pid", &fourth.pid_text()];
    let missing = run(below);
    let error = &object(&missing.stderr)["error"];
    assert_eq!(
        (missing.status.code(), error["kind"].as_str()),
        (Some(65), Some("no_such_control_group")),
        "{error}"
    );
    let hierarchies: &[&str] = if hybrid() { &["unified", "systemd"] } else { &["."] };
    for hierarchy in hierarchies {
        fs::create_dir_all(format!("/sys/fs/cgroup/{hierarchy}{group}/workers/a")).unwrap();
    }
    let attached = object(&run(below).stdout);
    assert_eq!(attached["control_group"], *format!("{group}/workers/a"));
    assert_eq!(group_of(&fourth), format!("{group}/workers/a"));
}

#[test]
fn units_are_frozen_and_thawed_when_the_kernel_says_so_or_the_layout_is_blamed() {
    let ((one, _first), (two, _second)) =
        (living("freeze", &["--slice", "clifreeze"]), living("freeze", &[]));
    if hybrid() {
        for verb in ["freeze", "thaw"] {
            let refused = run(["--json", verb, &one]);
            let error = &object(&refused.stderr)["error"];
            assert_eq!(
                (refused.status.code(), error["kind"].as_str()),
                (Some(71), Some("unsupported")),
                "{error}"
            );
            assert!(error["message"].as_str().unwrap().contains("hybrid"), "{error}");
        }
        return;
    }
    let is = |line: &str| {
        let events =
            fs::read_to_string(format!("/sys/fs/cgroup/clifreeze.slice/{one}/cgroup.events")).unwrap();
        events.lines().any(|told| told == line)
    };
    let frozen = run(["freeze", &one, &two]);
    assert_eq!((frozen.status.code(), stdout(&frozen)), (Some(0), &*format!("{one} frozen\n{two} frozen\n")));
    assert!(is("frozen 1"));
    // One that is not there is told, and the others are done all the same.
    let thawed = run(["--json", "thaw", &one, "cli-none", &two]);
    assert_eq!(thawed.status.code(), Some(71), "{thawed:?}");
    assert!(is("frozen 0"));
    let units = &object(&thawed.stdout)["units"];
    assert_eq!(units.as_array().map(Vec::len), Some(2), "{units}");
    assert_eq!((&units[1]["unit"], &units[1]["frozen"]), (&(*two).into(), &false.into()));
    assert_eq!(object(&thawed.stderr)["error"]["unit"], "cli-none.scope");
}

#[test]
fn a_unit_is_killed_until_no_process_of_it_is_left_new_ones_included() {
    for option in ["--until-gone", "--all"] {
        let unit = name("gone");
        // It ignores what it can, and goes on and on making children that do the same.
        let script = "trap '' TERM; n=0; while [ $n -lt 3000 ]; do sleep 600 & n=$((n + 1)); done; wait";
        let limited = ["-p", "TasksMax=200", "--slice", "cligone", "--delegate"];
        let mut command = Command::new("sh");
        command
            .args(["-c", "read go; exec sh -c \"$0\"", script])
            .stdin(Stdio::piped())
            .stderr(Stdio::null());
        let mut restless = Sleeper(command.spawn().unwrap());
        create(&unit, &restless, &limited);
        drop(restless.0.stdin.take());
        let killed = run(["--json", "kill", option, &unit]);
        assert_eq!(killed.status.code(), Some(0), "{killed:?}");
        let told = &object(&killed.stdout)["units"][0];
        assert_eq!(
            (&told["unit"], &told["gone"], &told["signal"]),
            (&(*unit).into(), &true.into(), &9.into())
        );
        assert_eq!(restless.0.wait().unwrap().signal(), Some(9));
        let group = format!("cligone.slice/{unit}");
        let tree = if hybrid() { "/sys/fs/cgroup/unified" } else { "/sys/fs/cgroup" };
        let told = fs::read_to_string(format!("{tree}/{group}/cgroup.procs")).unwrap_or_default();
        assert_eq!(told, "", "the kernel has processes in it");
        // One that has left its group may be on its last steps still.
        let begun = Instant::now();
        while !alive_in(&group).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", alive_in(&group));
        }
    }
}

/// Processes that have not ended and say that they are in a control group.
fn alive_in(group: &str) -> Vec<String> {
    let has = |pid: &str, file, text: &str| {
        fs::read_to_string(format!("/proc/{pid}/{file}")).is_ok_and(|told| told.contains(text))
    };
    let entries =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let pids = entries.filter(|name| name.parse::<u32>().is_ok());
    pids.filter(|pid| has(pid, "cgroup", group) && !has(pid, "stat", ") Z ")).collect()
}

#[test]
fn a_signal_of_ones_own_is_sent_once_and_to_several_units() {
    let ((one, mut first), (two, mut second)) = (living("signal", &[]), living("signal", &[]));
    let sent = run(["kill", &one, "cli-none", &two]);
    assert_eq!(sent.status.code(), Some(71), "{sent:?}");
    assert_eq!(stdout(&sent), format!("{one} sent signal 15\n{two} sent signal 15\n"));
    for sleeper in [&mut first, &mut second] {
        assert_eq!(sleeper.0.wait().unwrap().signal(), Some(15));
    }
}

#[test]
fn a_list_is_of_the_units_in_the_states_asked_for_whatever_their_kind() {
    let ((running, _first), (failed, sleeper)) = (living("state", &[]), living("state", &[]));
    drop(sleeper);
    let (failed_after, stubborn) = (name("state"), Sleeper::stubborn());
    create(&failed_after, &stubborn, &["-p", "TimeoutStopSec=100ms"]);
    let _ = run(["stop", &failed_after]);
    let listed = |states: &[&str]| {
        let options = states.iter().flat_map(|state| ["--state", state]);
        let list = object(&run(["--json", "list", "cli-state-*"].into_iter().chain(options)).stdout);
        let units: Vec<String> = list["units"]
            .as_array()
            .unwrap()
            .iter()
            .map(|unit| unit["unit"].as_str().unwrap().into())
            .collect();
        units
    };
    let among = |states: &[&str], unit: &String| listed(states).contains(unit);
    assert!(among(&["active"], &running) && among(&["running"], &running) && among(&["loaded"], &running));
    assert!(among(&["failed"], &failed_after) && !among(&["failed"], &running));
    assert!(among(&["failed,running"], &running) && among(&["failed", "running"], &failed_after));
    assert!(listed(&["no-such-state"]).is_empty());
    assert!(!among(&["active"], &failed), "its process has ended");
    // A name without its suffix is a scope's here too.
    let by_name = run(["list", running.strip_suffix(".scope").unwrap()]);
    assert!(stdout(&by_name).starts_with(&running), "{by_name:?}");
}

#[test]
fn a_spread_slice_is_named_by_its_parent_wherever_a_slice_is_named() {
    let sleeper = Sleeper::new();
    let unit = name("spread");
    let options = ["--slice", "clispread", "--spread", "auto", "--pid", &sleeper.pid_text()];
    let created = object(&run(["--json", "create", "--unit", &unit].iter().chain(&options)).stdout);
    assert_eq!(created["spread"], 1, "{created}");
    let group = format!("/clispread.slice/clispread-spread0.slice/{unit}");
    assert_eq!(created["control_group"], group.as_str());
    let (other, options) = living("spread", &["--slice", "clispread", "--spread", "16"]);
    let list = object(&run(["--json", "list", "*.scope", "--slice", "clispread"]).stdout);
    let mut listed: Vec<&str> =
        list["units"].as_array().unwrap().iter().map(|unit| unit["unit"].as_str().unwrap()).collect();
    let mut expected = [unit.as_str(), other.as_str()];
    expected.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, expected);
    let status = run(["status", "clispread.slice"]);
    assert!(stdout(&status).contains("units          2, in it"), "{status:?}");
    for bad in ["0", "10001", "many", "-1"] {
        let refused = run(["run", "--slice", "clispread", "--spread", bad, "--", "true"]);
        assert_eq!(refused.status.code(), Some(64), "{refused:?}");
    }
    let without = run(["run", "--spread", "5", "--", "true"]);
    assert!(without.status.code() == Some(65) && stderr(&without).contains("name one"), "{without:?}");
    drop(options);
    run(["stop", "clispread.slice"]);
}
