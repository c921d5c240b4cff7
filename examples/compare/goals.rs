//! What is to be reached, as ratios within one run.

use crate::figures::{Figures, Spread};
use crate::rounds::{Key, Results};

pub struct Goal {
    pub what: &'static str,
    pub measured: String,
    pub goal: String,
    pub met: bool,
}

pub struct Limit {
    pub what: &'static str,
    /// Its ratio to sd-bus.
    pub itself: String,
    /// unitwait's ratio to it.
    pub ours: String,
}

type Of = fn(&Figures) -> f64;

const MEDIAN: Of = |figures| figures.median;
const P99: Of = |figures| figures.p99;
const THROUGHPUT: Of = |figures| figures.per_second;
const CPU: Of = |figures| figures.cpu.unwrap_or(f64::NAN);

pub fn judge(results: &Results) -> Vec<Goal> {
    let ratio = |what, ours: Key, theirs: Key, of: Of, most: f64| {
        let ratio = results.ratio(ours, theirs, of);
        Goal { what, measured: told(ratio), goal: format!("<= {most:.2}"), met: ratio.median <= most }
    };
    let at_least = |what, theirs: &'static str, least: f64| {
        let ratio = results.ratio(("64 callers", "unitwait"), ("64 callers", theirs), THROUGHPUT);
        Goal { what, measured: told(ratio), goal: format!(">= {least:.2}"), met: ratio.median >= least }
    };
    let mut goals = vec![
        ratio(
            "create, one caller / sd-bus",
            ("one caller", "unitwait"),
            ("one caller", "sd-bus"),
            MEDIAN,
            1.10,
        ),
        ratio("create, private / sd-bus", ("private", "unitwait"), ("private", "sd-bus"), MEDIAN, 1.10),
        at_least("throughput, 64 callers / sd-bus", best_pipelined(results), 0.97),
        at_least("throughput, 64 callers / go-systemd", "go-systemd", 1.0),
        ratio("p99, 64 callers / sd-bus", ("64 callers", "unitwait"), ("64 callers", "sd-bus"), P99, 1.1),
        ratio(
            "p99, 64 callers / go-systemd",
            ("64 callers", "unitwait"),
            ("64 callers", "go-systemd"),
            P99,
            0.9,
        ),
        ratio(
            "longest wait / median, 64 callers",
            ("64 callers", "unitwait"),
            ("64 callers", "unitwait"),
            P99,
            2.0,
        ),
        ratio("processor time / sd-bus", ("one caller", "unitwait"), ("one caller", "sd-bus"), CPU, 1.5),
        ratio(
            "create, one caller, in noise / sd-bus",
            ("noise", "unitwait"),
            ("noise", "sd-bus"),
            MEDIAN,
            1.25,
        ),
        ratio(
            "cold start / systemd-run",
            ("cold start", "unitwait"),
            ("cold start", "systemd-run"),
            MEDIAN,
            0.55,
        ),
    ];
    let longest = results.spread(("64 callers", "unitwait"), |figures| figures.max / figures.median);
    (goals[6].measured, goals[6].met) = (told(longest), longest.median <= 2.0);
    goals.extend([messages(results), idle(results), tickets(results)]);
    goals
}

/// What a plain program takes that uses libdbus and promises as much, and nothing beside.
pub fn limits(results: &Results) -> Vec<Limit> {
    let limit = |what, case, of| {
        let (kept, ours) = ((case, "libdbus, promises kept"), (case, "unitwait"));
        let (itself, of_it) = (results.ratio(kept, (case, "sd-bus"), of), results.ratio(ours, kept, of));
        Limit { what, itself: told(itself), ours: told(of_it) }
    };
    vec![
        limit("create, one caller", "one caller", MEDIAN),
        limit("create, private", "private", MEDIAN),
        limit("processor time", "one caller", CPU),
    ]
}

fn told(ratio: Spread) -> String {
    format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.least, ratio.most)
}

fn best_pipelined(results: &Results) -> &'static str {
    let through = |peer| results.spread(("64 callers", peer), THROUGHPUT).median;
    if through("sd-bus") > through("sd-bus, 16") { "sd-bus" } else { "sd-bus, 16" }
}

fn messages(results: &Results) -> Goal {
    let messages = results.spread(("one caller", "unitwait"), |figures| figures.messages.unwrap_or(f64::NAN));
    let measured = format!("{:.2}", messages.median);
    Goal { what: "messages of a create", measured, goal: "3".into(), met: messages.most <= 3.0 }
}

/// That systemd is not made to broadcast is seen by what comes in: nothing, while strangers have their jobs.
fn idle(results: &Results) -> Goal {
    let number = |name: &str| results.idle[name].as_f64().unwrap_or(f64::NAN);
    let (woken, received, seconds) = (number("wake_ups"), number("received"), number("seconds"));
    // The question for the counters at the end is two of them.
    let measured = format!("{woken:.0} wake-ups, {received:.0} messages in {seconds:.0} s");
    let met = woken == 0.0 && received == 0.0 && seconds >= 60.0;
    Goal { what: "idle while others are busy", measured, goal: "0 and 0, in 60 s".into(), met }
}

fn tickets(results: &Results) -> Goal {
    let told = &results.tickets;
    let number = |name: &str| told[name].as_u64().unwrap_or_default();
    let (done, each, in_order) = (number("done"), number("bytes_each"), told["in_order"] == true);
    let order = if in_order { "in order" } else { "out of order" };
    let measured = format!("{done} done, {order}, {each} bytes each");
    let met = done == 10_000 && in_order && each <= 1024;
    Goal { what: "10,000 tickets", measured, goal: "all, in order, <= 1024 bytes".into(), met }
}

impl Results {
    pub fn of(&self, key: Key) -> &[Figures] {
        self.rounds.get(&key).map_or(&[], Vec::as_slice)
    }

    pub fn spread(&self, key: Key, of: Of) -> Spread {
        let nothing = Spread { median: f64::NAN, least: f64::NAN, most: f64::NAN };
        Spread::of(self.of(key).iter().map(of)).unwrap_or(nothing)
    }

    pub fn ratio(&self, ours: Key, theirs: Key, of: Of) -> Spread {
        let nothing = Spread { median: f64::NAN, least: f64::NAN, most: f64::NAN };
        Spread::of_ratios(self.of(ours), self.of(theirs), of).unwrap_or(nothing)
    }
}
