//! What came of it: a table, an object, a picture.

use std::fmt::Write;

use serde_json::{Value as Json, json};

use crate::chart::{Panel, Series, page};
use crate::goals::{Goal, Limit};
use crate::rounds::{CASES, Key, Results};

pub fn text(results: &Results, goals: &[Goal], limits: &[Limit]) -> String {
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{:12}{:24}{:>10}{:>18}{:>8}{:>10}{:>10}{:>10}{:>9}",
        "", "", "median", "of rounds", "ratio", "p99", "longest", "a second", "cpu"
    );
    for key in ordered(results) {
        row(&mut out, results, key);
    }
    out + "\n" + &self::goals(goals) + "\n" + &self::limits(limits)
}

fn limits(limits: &[Limit]) -> String {
    let mut out = format!("{:46}{:36}{:30}\n", "libdbus, promises kept", "/ sd-bus", "unitwait / it");
    for Limit { what, itself, ours } in limits {
        let _ = writeln!(out, "{what:46}{itself:36}{ours:30}");
    }
    out
}

pub fn goals(goals: &[Goal]) -> String {
    let mut out = format!("{:46}{:36}{:30}\n", "goal", "measured", "is to be");
    for Goal { what, measured, goal, met } in goals {
        let _ = writeln!(out, "{what:46}{measured:36}{goal:30}{}", if *met { "met" } else { "NOT MET" });
    }
    out
}

fn row(out: &mut String, results: &Results, key: Key) {
    let (case, peer) = key;
    let median = results.spread(key, |figures| figures.median / 1e6);
    let ratio = results.ratio(key, (case, "sd-bus"), |figures| figures.median).median;
    let of = |of| results.spread(key, of).median;
    let cpu = of(|figures| figures.cpu.unwrap_or(f64::NAN) / 1e3);
    // Threads that have ended by then are not counted.
    let cpu = if cpu.is_nan() || case == "64 callers" { "".into() } else { format!("{cpu:.0} us") };
    let _ = writeln!(
        out,
        "{case:12}{peer:24}{:>7.2} ms{:>18}{ratio:>8.2}{:>7.2} ms{:>7.2} ms{:>10.0}{cpu:>9}",
        median.median,
        format!("{:.2} to {:.2}", median.least, median.most),
        of(|figures| figures.p99 / 1e6),
        of(|figures| figures.max / 1e6),
        of(|figures| figures.per_second),
    );
}

/// As they are told of, and each case by its medians.
fn ordered(results: &Results) -> Vec<Key> {
    let mut keys: Vec<Key> = results.rounds.keys().copied().collect();
    let place = |key: &Key| CASES.iter().position(|case| *case == key.0);
    let median = |key: &Key| results.spread(*key, |figures| figures.median).median;
    keys.sort_by(|one, other| place(one).cmp(&place(other)).then(median(one).total_cmp(&median(other))));
    keys
}

pub fn json(results: &Results, goals: &[Goal], limits: &[Limit]) -> Json {
    let figures = |key: &Key| results.of(*key).iter().map(|figures| figures.json()).collect::<Json>();
    let rounds: Json = ordered(results)
        .iter()
        .map(|key| json!({ "case": key.0, "peer": key.1, "rounds": figures(key) }))
        .collect();
    let goals: Json = goals
        .iter()
        .map(|goal| json!({ "what": goal.what, "measured": goal.measured, "goal": goal.goal, "met": goal.met }))
        .collect();
    let limits: Json = limits
        .iter()
        .map(|limit| json!({ "what": limit.what, "to_sd_bus": limit.itself, "unitwait_to_it": limit.ours }))
        .collect();
    json!({ "results": rounds, "goals": goals, "limits": limits, "idle": results.idle, "tickets": results.tickets })
}

/// In the order of their colours, so that a peer has the same in each panel. The first and the last have one between them,
/// and no panel.
const PEERS: [&str; 9] = [
    "sd-bus, 16",
    "sd-bus",
    "unitwait",
    "go-systemd",
    "zbus",
    "sd-bus, new connection",
    "sd-bus, promises kept",
    "libdbus",
    "libdbus, promises kept",
];

/// Each peer's rounds side by side.
pub fn picture(results: &Results) -> String {
    let panel = |case: &str, title: &str, y: &str, of: fn(&crate::figures::Figures) -> f64| {
        let keys = results.rounds.keys().copied().filter(|key| key.0 == case);
        let series = keys.filter(|key| key.1 != "systemd-run" || case != "one caller").map(|key| Series {
            name: key.1.into(),
            colour: PEERS.iter().position(|peer| *peer == key.1).unwrap_or(PEERS.len()),
            points: (1..).map(f64::from).zip(results.of(key).iter().map(of)).collect(),
            marks: true,
        });
        Panel { title: title.into(), x: "round".into(), y: y.into(), series: series.collect() }
    };
    page(&[
        panel("one caller", "One caller", "median of a create, ms", |figures| figures.median / 1e6),
        panel("64 callers", "64 callers", "creates a second", |figures| figures.per_second),
        panel("64 callers", "64 callers", "99th percentile of a wait, ms", |figures| figures.p99 / 1e6),
    ])
}
