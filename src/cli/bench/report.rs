//! What is said of it: a few lines for people, one object for programs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value as Json, json};
use unitwait::{Manager, Spread};

use super::Measured;
use super::run::{Kind, Run};
use crate::args::{Bench, BenchMode};
use crate::output::stages_json;

const QUANTILES: [(&str, f64); 4] = [("median", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];

pub fn text(manager: &Manager, asked: &Bench, Measured { main, .. }: &Measured) -> String {
    let mut out = format!(
        "systemd {} at {}: {}, {} more standing\n\n",
        manager.version(),
        manager.address(),
        what(asked, main),
        asked.live
    );
    let _ = writeln!(
        out,
        "{:8}{:>11}{:>11}{:>11}{:>11}{:>10}{:>8}",
        "", "median", "p90", "p99", "max", "a second", "errors"
    );
    for (what, kind) in [("create", &main.create), ("stop", &main.stop)] {
        let _ = write!(out, "{what:8}");
        for (_, share) in QUANTILES {
            let _ = write!(out, "{:>11}", milliseconds(kind.times.quantile(share)));
        }
        let _ = writeln!(out, "{:>10.0}{:>8}", kind.per_second(), kind.errors);
    }
    out.push('\n');
    costs(&mut out, main);
    for (error, count) in errors(main) {
        let _ = writeln!(out, "{count} times: {error}");
    }
    out
}

fn costs(out: &mut String, run: &Run) {
    let Kind { usage, .. } = &run.create;
    let stages = [
        ("queued", run.stages.queued),
        ("accepted", run.stages.accepted),
        ("done", run.stages.done),
        ("verified", run.stages.verified),
    ];
    let stages: Vec<String> =
        stages.iter().map(|(stage, time)| format!("{stage} {}", milliseconds(*time))).collect();
    let _ = writeln!(out, "stages of a create, medians: {}", stages.join(", "));
    let processor = |time: Option<Duration>| {
        let share = time.map(|time| run.create.per_call(micros(time))).filter(|share| share.is_finite());
        share.map_or("unknown".into(), |share| format!("{share:.0} us"))
    };
    let _ = writeln!(
        out,
        "processor time of a create: {} here, {} systemd, {} the bus",
        processor(Some(usage.own)),
        processor(usage.manager),
        usage.bus.map_or("none".into(), |bus| processor(Some(bus)))
    );
    if run.create.times.len() > 0 {
        let _ = writeln!(
            out,
            "messages of a create: {:.2} sent, {:.2} received, {:.0} bytes",
            run.create.per_call(usage.sent as f64),
            run.create.per_call(usage.received as f64),
            run.create.per_call(usage.bytes as f64)
        );
    }
    let mebibytes = run.footprint.rss_bytes as f64 / f64::from(1 << 20);
    let _ = writeln!(
        out,
        "memory {mebibytes:.1} MiB, {} threads, the callers' own included",
        run.footprint.threads
    );
}

pub fn json(manager: &Manager, asked: &Bench, measured: &Measured) -> Json {
    let points = |name: &str, points: &[(usize, Run)]| {
        let point = |(at, run): &(usize, Run)| json!({ name: at, "create": kind_json(&run.create), "stop": kind_json(&run.stop) });
        points.iter().map(point).collect::<Json>()
    };
    let run = &measured.main;
    json!({
        "systemd": manager.version(),
        "address": manager.address(),
        "mode": mode(asked.mode),
        "ops": asked.ops,
        "concurrency": asked.concurrency,
        "live": asked.live,
        "spread": run.spread,
        "create": kind_json(&run.create),
        "stop": kind_json(&run.stop),
        "stages": stages_json(run.stages),
        "rss_bytes": run.footprint.rss_bytes,
        "threads": run.footprint.threads,
        "errors": errors(run),
        "by_concurrency": points("concurrency", &measured.callers),
        "by_live": points("live", &measured.standing),
    })
}

fn kind_json(kind: &Kind) -> Json {
    let usage = &kind.usage;
    let processor = |time: Option<Duration>| time.map(|time| tenths(kind.per_call(micros(time))));
    let mut object = json!({
        "count": kind.times.len(),
        "errors": kind.errors,
        "per_second": tenths(kind.per_second()),
        "cpu_us": {
            "process": processor(Some(usage.own)), "manager": processor(usage.manager),
            "bus": processor(usage.bus),
        },
        "messages": kind.per_call((usage.sent + usage.received) as f64),
        "bytes": tenths(kind.per_call(usage.bytes as f64)),
    });
    for (name, share) in QUANTILES {
        object[format!("{name}_us")] = tenths(micros(kind.times.quantile(share))).into();
    }
    object
}

/// What was done, in the words of the options.
pub fn what(asked: &Bench, run: &Run) -> String {
    let spread = match (asked.spread, run.spread) {
        (Some(Spread::Auto), Some(over)) => format!(", spread over {over} (auto)"),
        (Some(_), Some(over)) => format!(", spread over {over}"),
        _ => String::new(),
    };
    format!("{} scopes, {}, concurrency {}{spread}", asked.ops, mode(asked.mode), asked.concurrency)
}

/// Each error once, with how often it came; in its words the unit and the job differ from one to the next.
fn errors(run: &Run) -> BTreeMap<String, usize> {
    let mut errors = BTreeMap::new();
    for error in &run.failures {
        let mut told = error.to_string();
        if let Some(unit) = error.unit() {
            told = told.replace(unit, "UNIT");
        }
        if let Some(job) = error.job() {
            told = told.replace(&format!("job {job}"), "its job");
        }
        *errors.entry(told).or_default() += 1;
    }
    errors
}

fn mode(mode: BenchMode) -> String {
    mode.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
