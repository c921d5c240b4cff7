//! Figures of rounds: of each round one, of all of them the median and how far they lie apart.

use serde_json::{Value as Json, json};

use crate::Failure;

/// What one peer did in one round.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// In nanoseconds.
    pub median: f64,
    pub p99: f64,
    pub max: f64,
    pub per_second: f64,
    /// Nanoseconds of the peer's own processor time for each call, where it is known.
    pub cpu: Option<f64>,
    pub messages: Option<f64>,
}

impl Figures {
    pub fn of(mut times: Vec<f64>, wall: f64) -> Figures {
        times.sort_by(f64::total_cmp);
        let count = times.len() as f64;
        let at = |share: f64| times[((share * count).ceil() as usize).clamp(1, times.len()) - 1];
        Figures {
            median: at(0.5),
            p99: at(0.99),
            max: at(1.0),
            per_second: count / wall * 1e9,
            ..Figures::default()
        }
    }

    /// From the object that a peer has printed.
    pub fn read(told: &Json, peer: &str) -> Result<Figures, Failure> {
        let phase = &told["create"];
        let errors = phase["errors"].as_u64().zip(told["stop"]["errors"].as_u64());
        if errors != Some((0, 0)) {
            return Err(format!("{peer}: not everything went well: {errors:?} errors").into());
        }
        let times: Vec<f64> =
            phase["times_ns"].as_array().into_iter().flatten().filter_map(Json::as_f64).collect();
        let wall = phase["wall_ns"].as_f64().filter(|_| !times.is_empty());
        let count = times.len() as f64;
        let mut figures = Figures::of(times, wall.ok_or_else(|| format!("{peer}: no times"))?);
        figures.cpu = phase["cpu_ns"].as_f64().map(|cpu| cpu / count);
        figures.messages = told["messages"].as_f64();
        Ok(figures)
    }

    pub fn json(&self) -> Json {
        let Figures { median, p99, max, per_second, cpu, messages } = self;
        json!({
            "median_ns": median, "p99_ns": p99, "max_ns": max, "per_second": per_second, "cpu_ns": cpu,
            "messages": messages,
        })
    }
}

/// The same figure of all rounds.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
        Some(Spread { median, least, most })
    }

    /// Of the ratios of each round, which have the round's weather in common.
    pub fn of_ratios(ours: &[Figures], theirs: &[Figures], of: fn(&Figures) -> f64) -> Option<Spread> {
        Spread::of(ours.iter().zip(theirs).map(|(our, their)| of(our) / of(their)))
    }
}
