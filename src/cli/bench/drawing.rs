//! The picture of a benchmark: how long calls took, and how many went through.

use super::Measured;
use super::chart::{Panel, Series, page};
use super::measure::Samples;
use super::report::what;
use super::run::{Kind, Run};
use crate::args::Bench;

/// What a line is of, and its colour.
type Named = (&'static str, usize);
const CREATE: Named = ("create", 0);
const STOP: Named = ("stop", 1);

/// So many points make a smooth line of a distribution.
const POINTS: u32 = 200;

pub fn draw(measured: &Measured, asked: &Bench) -> String {
    let latency = Panel {
        title: what(asked, &measured.main),
        x: "time of a call, ms".into(),
        y: "calls done, %".into(),
        series: vec![
            distribution(CREATE, &measured.main.create.times),
            distribution(STOP, &measured.main.stop.times),
        ],
    };
    let through = |title: &str, x: &str, points: &[(usize, Run)]| Panel {
        title: title.into(),
        x: x.into(),
        y: "calls a second".into(),
        series: vec![
            throughput(CREATE, points, |run| &run.create),
            throughput(STOP, points, |run| &run.stop),
        ],
    };
    let others = match asked.spread {
        Some(_) => "other scopes in the slice, spread alike",
        None => "other scopes in the slice",
    };
    page(&[
        latency,
        through("Throughput over concurrency", "callers", &measured.callers),
        through("Throughput over live units", others, &measured.standing),
    ])
}

/// Up to the 99th percentile: the last of all would press the rest against the axis.
fn distribution((name, colour): Named, times: &Samples) -> Series {
    let share = |at: u32| 0.99 * f64::from(at) / f64::from(POINTS);
    let point = |at| (times.quantile(share(at)).as_secs_f64() * 1e3, share(at) * 100.0);
    Series { name: name.into(), colour, points: (1..=POINTS).map(point).collect(), marks: false }
}

fn throughput((name, colour): Named, points: &[(usize, Run)], of: fn(&Run) -> &Kind) -> Series {
    let points = points.iter().map(|(at, run)| (*at as f64, of(run).per_second())).collect();
    Series { name: name.into(), colour, points, marks: true }
}
