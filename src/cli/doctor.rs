//! `doctor`: what this machine has, and for each thing that is wrong, what to do about it.

use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::{env, fs};

use nix::unistd::{Uid, geteuid};
use serde_json::{Value as Json, json};
use unitwait::{CgroupLayout, CgroupMode, Error, Manager, Stage};

use crate::failure::Failure;
use crate::session::{Session, Target};

/// The oldest on which the facts that the library rests on were seen.
const OLDEST_SYSTEMD: u32 = 247;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Good,
    Warning,
    Bad,
}

impl Verdict {
    const fn word(self) -> &'static str {
        match self {
            Verdict::Good => "ok",
            Verdict::Warning => "warning",
            Verdict::Bad => "wrong",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    found: String,
    advice: String,
}

impl Finding {
    fn good(what: &'static str, found: impl Into<String>) -> Finding {
        Finding { what, verdict: Verdict::Good, found: found.into(), advice: String::new() }
    }

    fn warning(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { what, verdict: Verdict::Warning, found: found.into(), advice: advice.into() }
    }

    fn bad(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { what, verdict: Verdict::Bad, found: found.into(), advice: advice.into() }
    }
}

pub fn doctor(session: &Session) -> Result<(), Failure> {
    let opened = session.open();
    let mut findings = vec![bus(&session.target, &opened)];
    let manager = match opened {
        Ok(manager) => {
            findings.push(Finding::good("manager", format!("answers at {}", manager.address())));
            Some(manager)
        }
        Err(failure) => {
            findings.push(no_manager(session, &failure));
            None
        }
    };
    findings.extend(manager.as_ref().map(version));
    findings.extend(control_groups(session, manager.as_ref()));
    findings.push(rights(session));
    let usable = manager.is_some();
    session.output.result(|| as_json(usable, manager.as_ref(), &findings), || as_text(usable, &findings))?;
    if usable { Ok(()) } else { Err(Failure::NoManager) }
}

/// How far it is to the manager: a bus may be well without one.
fn bus(target: &Target, opened: &Result<Manager, Failure>) -> Finding {
    let unheard = "answers; the manager behind it does not";
    match opened {
        _ if *target == Target::Private => {
            Finding::good("bus", "none, for the manager's own socket is asked")
        }
        Ok(manager) => Finding::good("bus", manager.address()),
        Err(Failure::Library(Error::Connect { address, .. })) if address == "org.freedesktop.systemd1" => {
            Finding::good("bus", unheard)
        }
        Err(Failure::Library(error)) if error.stage().is_some_and(|stage| stage > Stage::Connect) => {
            Finding::good("bus", unheard)
        }
        Err(_) => Finding::bad("bus", "does not answer", "see what is said of the manager"),
    }
}

fn no_manager(session: &Session, failure: &Failure) -> Finding {
    let mut advice = advice(session, failure);
    for other in others_that_answer(session) {
        let _ = write!(advice, "; `{other}` answers");
    }
    Finding::bad("manager", failure.message(), advice)
}

fn advice(session: &Session, failure: &Failure) -> String {
    let init = fs::read_to_string("/proc/1/comm").unwrap_or_default();
    let text = match (failure, &session.target) {
        (Failure::Library(Error::AccessDenied { .. }), _) => "the manager refuses you: ask as root",
        (Failure::Library(Error::Timeout { .. }), _) => {
            "the bus or the manager does not answer: see `systemctl status`, or give it more --timeout"
        }
        (Failure::Library(Error::InvalidInput { .. }), _) => "correct the address",
        (_, Target::At(_)) => "see that a bus with systemd on it, or systemd itself, listens at that address",
        (_, Target::User) if is_anothers_runtime_dir() => {
            "XDG_RUNTIME_DIR is another user's, whose manager takes no one else: ask as that user"
        }
        (_, Target::User) => {
            "log in through PAM or run `loginctl enable-linger`, so that the user manager runs; \
             XDG_RUNTIME_DIR must be set"
        }
        _ if init.trim() != "systemd" => {
            return format!(
                "PID 1 here is `{}`, not systemd: boot with systemd, or run this on the host",
                init.trim()
            );
        }
        (_, Target::Private) if !geteuid().is_root() => {
            "this socket is root's alone: ask as root, or over the bus"
        }
        _ => "start the bus (`systemctl start dbus.socket`), or give its address with --address",
    };
    text.into()
}

fn is_anothers_runtime_dir() -> bool {
    let owner = env::var_os("XDG_RUNTIME_DIR").and_then(|dir| fs::metadata(dir).ok()).map(|dir| dir.uid());
    owner.is_some_and(|owner| owner != geteuid().as_raw())
}

/// The other ways that would have worked.
fn others_that_answer(session: &Session) -> Vec<&'static str> {
    [Target::System, Target::Private, Target::User]
        .into_iter()
        .filter(|way| *way != session.target && way.builder().open(session.shortly()).is_ok())
        .map(|way| way.option())
        .collect()
}

fn version(manager: &Manager) -> Finding {
    let version = manager.version();
    let major = version.split(|c: char| !c.is_ascii_digit()).find_map(|digits| digits.parse::<u32>().ok());
    match major {
        Some(major) if major < OLDEST_SYSTEMD => Finding::warning(
            "systemd",
            version,
            format!("unitwait is known to work from {OLDEST_SYSTEMD} on; update systemd"),
        ),
        _ => Finding::good("systemd", version),
    }
}

fn control_groups(session: &Session, manager: Option<&Manager>) -> Vec<Finding> {
    let layout = match CgroupLayout::detect() {
        Ok(layout) => layout,
        Err(error) => {
            let advice = "mount cgroup2 at /sys/fs/cgroup, or give the container its control groups";
            return vec![Finding::bad("control groups", error.to_string(), advice)];
        }
    };
    let mode = match layout.mode() {
        CgroupMode::Unified => Finding::good("control groups", "unified (cgroup v2)"),
        mode => Finding::warning(
            "control groups",
            mode.as_str(),
            "limits that only cgroup v2 has (MemoryHigh, MemorySwapMax, AllowedCPUs) will not hold; boot with \
             systemd.unified_cgroup_hierarchy=1",
        ),
    };
    let mut findings = vec![mode, controllers(&layout)];
    findings.extend(manager.and_then(|manager| delegated(&layout, session, manager)));
    findings
}

/// What limits need: without the controller systemd still says `done`.
const WANTED: [&str; 3] = ["cpu", "memory", "pids"];

fn missing(there: &[String]) -> Vec<&'static str> {
    WANTED.into_iter().filter(|wanted| !there.iter().any(|name| name == wanted)).collect()
}

fn controllers(layout: &CgroupLayout) -> Finding {
    let there = layout.controllers();
    let found = if there.is_empty() { "none".into() } else { there.join(" ") };
    match missing(&there).as_slice() {
        [] => Finding::good("controllers", found),
        missing => Finding::warning(
            "controllers",
            found,
            format!(
                "limits of {} will not hold: boot with them enabled (cgroup_enable=…, no cgroup_disable=…), and \
                 not bound to cgroup v1 while cgroup v2 is in use",
                missing.join(", ")
            ),
        ),
    }
}

/// The controllers that reach the manager's own root, as a user manager has only what it was delegated.
fn delegated(layout: &CgroupLayout, session: &Session, manager: &Manager) -> Option<Finding> {
    if layout.mode() != CgroupMode::Unified {
        let advice = "systemd delegates no cgroup v1 controller to a user manager, so no limit will hold: use the \
                      system manager, or boot with systemd.unified_cgroup_hierarchy=1";
        return (session.target == Target::User).then(|| Finding::warning("delegated", "none", advice));
    }
    let root = manager.property("-.slice", "ControlGroup", session.shortly()).ok()?;
    let directory: PathBuf = layout.path(root.as_str()?);
    let text = fs::read_to_string(directory.join("cgroup.controllers")).ok()?;
    let there: Vec<String> = text.split_whitespace().map(Into::into).collect();
    let found = if there.is_empty() { "none".into() } else { there.join(" ") };
    Some(match missing(&there).as_slice() {
        [] => Finding::good("delegated", found),
        missing => Finding::warning(
            "delegated",
            found,
            format!(
                "the manager was not given {}: for a user manager, set Delegate= in user@.service",
                missing.join(", ")
            ),
        ),
    })
}

fn rights(session: &Session) -> Finding {
    let uid: Uid = geteuid();
    if uid.is_root() {
        return Finding::good("rights", "uid 0: may create units");
    }
    if session.target == Target::User {
        return Finding::good("rights", format!("uid {uid}: may create units of the user manager"));
    }
    Finding::warning(
        "rights",
        format!("uid {uid}: the system manager asks polkit, which by default refuses"),
        "ask as root, use --user, or allow org.freedesktop.systemd1.manage-units in polkit",
    )
}

fn as_json(usable: bool, manager: Option<&Manager>, findings: &[Finding]) -> Json {
    let findings: Vec<Json> = findings
        .iter()
        .map(|finding| {
            json!({
                "what": finding.what, "verdict": finding.verdict.word(), "found": finding.found,
                "advice": finding.advice,
            })
        })
        .collect();
    json!({
        "usable": usable,
        "address": manager.map(Manager::address),
        "systemd": manager.map(Manager::version),
        "uid": geteuid().as_raw(),
        "findings": findings,
    })
}

fn as_text(usable: bool, findings: &[Finding]) -> String {
    let mut out = String::new();
    for Finding { what, verdict, found, advice } in findings {
        let _ = writeln!(out, "{:8} {what}: {found}", verdict.word());
        if !advice.is_empty() {
            let _ = writeln!(out, "         -> {advice}");
        }
    }
    let all_good = findings.iter().all(|finding| finding.verdict == Verdict::Good);
    out.push_str(match (usable, all_good) {
        (true, true) => "unitwait can be used here",
        (true, false) => "unitwait can be used here, within these warnings",
        (false, _) => "unitwait cannot be used here",
    });
    out
}
