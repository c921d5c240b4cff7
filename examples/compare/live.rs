//! What many scopes that stand do to one more, in one slice and spread over many.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value as Json, json};

use crate::Failure;
use crate::chart::{Panel, Series, page};
use crate::figures::{Figures, Spread};
use crate::goals::Goal;
use crate::holder::Holder;
use crate::rounds::{SLICE, pids_file, start_slice, told_by};
use crate::table;

const CREATES: usize = 1500;
const CALLERS: &str = "64";

/// Scopes that stand. systemd takes minutes to bring more of them into one slice.
const FEW: u32 = 100;
const MANY: u32 = 10_000;
const BETWEEN: [u32; 3] = [600, 1500, 4000];

#[derive(Default)]
struct Results {
    ours: Vec<Figures>,
    theirs: Vec<Figures>,
    /// What one more takes beside so many, spread or not: nanoseconds, round by round.
    medians: BTreeMap<(bool, u32), Vec<f64>>,
}

pub fn run(rounds: &str, peers: &str, out: &str) -> Result<(), Failure> {
    let (rounds, peers): (usize, &Path) = (rounds.parse()?, Path::new(peers));
    start_slice()?;
    let (mut results, begun) = (Results::default(), Instant::now());
    for round in 0..rounds {
        eprintln!("compare: round {} of {rounds}, {} s", round + 1, begun.elapsed().as_secs());
        results.theirs.push(create(&peers.join("peer-go"), "system")?);
        results.ours.push(create(&std::env::current_exe()?, "spread")?);
        for live in [FEW, MANY] {
            results.add(peers, true, live)?;
        }
    }
    for live in BETWEEN {
        results.add(peers, true, live)?;
    }
    for live in [FEW].into_iter().chain(BETWEEN) {
        results.add(peers, false, live)?;
    }
    let goals = results.goals();
    print!("{}{}", results.text(), table::goals(&goals));
    fs::write(Path::new(out).join("live.json"), results.json().to_string())?;
    fs::write(Path::new(out).join("live.svg"), results.picture())?;
    Ok(())
}

fn create(program: &Path, way: &str) -> Result<Figures, Failure> {
    let holder = Holder::start(CREATES)?;
    let pids = pids_file(&holder)?;
    let mut command = Command::new(program);
    command.args([way, &CREATES.to_string(), CALLERS, SLICE]).arg(&pids);
    Figures::read(&told_by(command.output()?, way)?, way)
}

impl Results {
    /// By the command's own benchmark, of one caller.
    fn add(&mut self, peers: &Path, spread: bool, live: u32) -> Result<(), Failure> {
        let mut command = Command::new(peers.join("unitwait"));
        command.args(["--json", "bench", "--ops", "200", "--live", &live.to_string()]);
        if spread {
            command.args(["--spread", "auto"]);
        }
        let told = told_by(command.output()?, "bench")?;
        let median = told["create"]["median_us"].as_f64().filter(|_| told["create"]["errors"] == 0);
        let median = median.ok_or_else(|| format!("bench beside {live}: {told}"))? * 1e3;
        eprintln!("compare: beside {live}{}: {:.2} ms", if spread { ", spread" } else { "" }, median / 1e6);
        self.medians.entry((spread, live)).or_default().push(median);
        Ok(())
    }

    fn median(&self, spread: bool, live: u32) -> f64 {
        let nothing = Spread { median: f64::NAN, least: f64::NAN, most: f64::NAN };
        Spread::of(self.medians.get(&(spread, live)).into_iter().flatten().copied()).unwrap_or(nothing).median
    }

    fn goals(&self) -> Vec<Goal> {
        let ratio =
            |of| Spread::of_ratios(&self.ours, &self.theirs, of).map_or(f64::NAN, |ratio| ratio.median);
        let (throughput, p99) = (ratio(|figures| figures.per_second), ratio(|figures| figures.p99));
        let grown = self.median(true, MANY) / self.median(true, FEW);
        let at_most = |what, measured: f64, most: f64| {
            let (told, goal) = (format!("{measured:.2}"), format!("<= {most:.2}"));
            Goal { what, measured: told, goal, met: measured <= most }
        };
        let what = "1,500 spread over 50 / go-systemd, throughput";
        let told = (format!("{throughput:.2}"), ">= 2.50".to_string());
        vec![
            Goal { what, measured: told.0, goal: told.1, met: throughput >= 2.5 },
            at_most("1,500 spread over 50 / go-systemd, p99", p99, 0.5),
            at_most("create beside 10,000 / beside 100, spread", grown, 1.5),
        ]
    }

    fn text(&self) -> String {
        let mut out = format!("{:>10}{:>16}{:>16}\n", "beside", "in one slice", "spread");
        for live in [FEW].into_iter().chain(BETWEEN).chain([MANY]) {
            let told = [false, true].map(|spread| self.median(spread, live) / 1e6);
            let told = told.map(|median| if median.is_nan() { "".into() } else { format!("{median:.2} ms") });
            out += &format!("{live:>10}{:>16}{:>16}\n", told[0], told[1]);
        }
        let of = |all: &[Figures], of: fn(&Figures) -> f64| {
            Spread::of(all.iter().map(of)).map_or(f64::NAN, |figures| figures.median)
        };
        for (who, all) in [("go-systemd", &self.theirs), ("unitwait, over 50", &self.ours)] {
            let (a_second, p99) =
                (of(all, |figures| figures.per_second), of(all, |figures| figures.p99) / 1e6);
            out += &format!("1,500 by 64 callers, {who}: {a_second:.0} a second, p99 {p99:.0} ms\n");
        }
        out + "\n"
    }

    fn json(&self) -> Json {
        let told = |all: &[Figures]| all.iter().map(Figures::json).collect::<Json>();
        let beside = self.medians.iter().map(
            |((spread, live), medians)| json!({ "live": live, "spread": spread, "medians_ns": medians }),
        );
        let beside: Json = beside.collect();
        json!({ "go-systemd": told(&self.theirs), "unitwait": told(&self.ours), "beside": beside })
    }

    fn picture(&self) -> String {
        let series = [(false, "in one slice"), (true, "spread")].map(|(spread, name)| {
            let colour = usize::from(spread);
            let lives = self.medians.keys().filter(|key| key.0 == spread).map(|key| key.1);
            let points = lives.map(|live| (f64::from(live), 1e9 / self.median(spread, live))).collect();
            Series { name: name.into(), colour, points, marks: true }
        });
        page(&[Panel {
            title: "One caller".into(),
            x: "scopes that stand".into(),
            y: "creates a second".into(),
            series: series.into(),
        }])
    }
}
