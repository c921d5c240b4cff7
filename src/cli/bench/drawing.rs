//! The picture of a benchmark: how long calls took, and how many went through.

use super::Measured;
use super::chart::{Panel, Series, page};
use super::measure::Samples;
use super::run::{Kind, Run};
use crate::args::Bench;

/// So many points make a smooth line of a distribution.
const POINTS: u32 = 200;

pub fn draw(measured: &Measured, asked: &Bench) -> String {
    let latency = Panel {
        title: format!("{} scopes, concurrency {}", asked.ops, asked.concurrency),
        x: "time of a call, ms".into(),
        y: "calls done, %".into(),
        series: vec![
            distribution("create", &measured.main.create.times),
            distribution("stop", &measured.main.stop.times),
        ],
    };
    let through = |title: &str, x: &str, points: &[(usize, Run)]| Panel {
        title: title.into(),
        x: x.into(),
        y: "calls a second".into(),
        series: vec![
            throughput("create", points, |run| &run.create),
            throughput("stop", points, |run| &run.stop),
        ],
    };
    page(&[
        latency,
        through("Throughput over concurrency", "callers", &measured.callers),
        through("Throughput over live units", "other scopes in the slice", &measured.standing),
    ])
}

/// Up to the 99th percentile: the last of all would press the rest against the axis.
fn distribution(name: &str, times: &Samples) -> Series {
    let share = |at: u32| 0.99 * f64::from(at) / f64::from(POINTS);
    let point = |at| (times.quantile(share(at)).as_secs_f64() * 1e3, share(at) * 100.0);
    Series { name: name.into(), points: (1..=POINTS).map(point).collect(), marks: false }
}

fn throughput(name: &str, points: &[(usize, Run)], of: fn(&Run) -> &Kind) -> Series {
    let points = points.iter().map(|(at, run)| (*at as f64, of(run).per_second())).collect();
    Series { name: name.into(), points, marks: true }
}
