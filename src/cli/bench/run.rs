//! Runs of the load: rounds of creating and stopping, beside scopes that stand.

use std::io;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use unitwait::{ActiveScope, Error, Scope, StageTimes};

use super::holder::Holder;
use super::host::Footprint;
use super::load::{Load, Phase, Timed};
use super::measure::{Meter, Samples, Usage};
use crate::failure::Failure;

/// At the least so many scopes are there at the end of a round.
const ROUND: usize = 100;

/// Standing scopes are made so many at a time.
const BATCH: usize = 256;

/// What was measured in one run.
#[derive(Default)]
pub struct Run {
    pub create: Kind,
    pub stop: Kind,
    /// Medians of each stage of a create.
    pub stages: StageTimes,
    pub footprint: Footprint,
    /// Over how many slices the last scope was spread.
    pub spread: Option<u32>,
    pub failures: Vec<Error>,
}

/// All calls of one kind.
#[derive(Default)]
pub struct Kind {
    pub times: Samples,
    pub usage: Usage,
    pub errors: usize,
}

impl Kind {
    pub fn per_second(&self) -> f64 {
        let seconds = self.usage.wall.as_secs_f64();
        if seconds == 0.0 { 0.0 } else { self.times.len() as f64 / seconds }
    }

    /// A share of what all calls used, for one of those that went well; no number where none did.
    pub fn per_call(&self, total: f64) -> f64 {
        total / self.times.len() as f64
    }
}

pub struct Runner<'a> {
    meter: &'a Meter<'a>,
    end: Option<Instant>,
    done: &'a AtomicUsize,
    all: &'a AtomicUsize,
    named: usize,
    standing: Vec<Holder>,
}

impl<'a> Runner<'a> {
    pub fn new(
        meter: &'a Meter<'a>,
        end: Option<Instant>,
        done: &'a AtomicUsize,
        all: &'a AtomicUsize,
    ) -> Runner<'a> {
        Runner { meter, end, done, all, named: 0, standing: Vec::new() }
    }

    /// So many are to come.
    pub fn expect(&self, ops: usize) {
        self.all.store(ops, Ordering::Relaxed);
    }

    /// One scope, whose failure is the whole benchmark's: nobody waits for a thousand refusals.
    pub fn warm_up(&mut self, load: &Load) -> Result<(), Failure> {
        let holder = hold(1)?;
        let scopes = self.scopes(load, &holder);
        for scope in &scopes {
            self.meter.manager.create_scope(scope, load.deadline)?.stop(load.deadline)?;
        }
        Ok(())
    }

    /// Has so many scopes stand from now on, which are never fewer than before.
    pub fn stand(&mut self, load: &Load, count: usize) -> Result<(), Failure> {
        let mut left = count - self.standing.iter().map(|holder| holder.pids.len()).sum::<usize>();
        while left > 0 {
            let holder = hold(left.min(BATCH))?;
            let scopes = self.scopes(load, &holder);
            left -= scopes.len();
            // Kept first: where a scope fails, the others have their processes until all is over.
            self.standing.push(holder);
            for outcome in self.meter.manager.create_scopes(&scopes, load.deadline) {
                outcome?;
            }
        }
        Ok(())
    }

    pub fn run(&mut self, load: &Load, ops: usize) -> Result<Run, Failure> {
        let round = ROUND.max(load.concurrency * 4);
        let (mut left, mut tally) = (ops, Tally::default());
        while left > 0 && self.end.is_none_or(|end| Instant::now() < end) {
            let holder = hold(left.min(round))?;
            let scopes = self.scopes(load, &holder);
            left -= scopes.len();
            let active = tally.created(load.create(self.meter, &scopes, self.done)?);
            tally.stopped(load.stop(self.meter, &active)?);
        }
        Ok(tally.finish())
    }

    fn scopes(&mut self, load: &Load, holder: &Holder) -> Vec<Scope> {
        let first = self.named;
        self.named += holder.pids.len();
        let numbered = holder.pids.iter().zip(first..);
        let name = |number| format!("bench-unitwait-{}-{number}.scope", process::id());
        numbered.map(|(pid, number)| load.scope(name(number), *pid)).collect()
    }
}

fn hold(count: usize) -> Result<Holder, Failure> {
    Holder::start(count).map_err(not_held)
}

pub fn not_held(source: io::Error) -> Failure {
    Failure::System { doing: "start the processes that the scopes are to hold".into(), source }
}

#[derive(Default)]
struct Tally {
    run: Run,
    creates: Vec<Duration>,
    stops: Vec<Duration>,
    stages: Vec<StageTimes>,
}

impl Tally {
    fn created(&mut self, phase: Phase<ActiveScope>) -> Vec<ActiveScope> {
        self.run.create.usage.add(&phase.usage);
        self.run.footprint = self.run.footprint.peak(phase.footprint);
        let active = sort_out(phase.calls, &mut self.creates, &mut self.run.create, &mut self.run.failures);
        self.run.spread = active.last().map_or(self.run.spread, ActiveScope::spread);
        self.stages.extend(active.iter().map(ActiveScope::stages));
        active
    }

    fn stopped<T>(&mut self, phase: Phase<T>) {
        self.run.stop.usage.add(&phase.usage);
        sort_out(phase.calls, &mut self.stops, &mut self.run.stop, &mut self.run.failures);
    }

    fn finish(self) -> Run {
        let Tally { mut run, creates, stops, stages } = self;
        run.create.times = Samples::new(creates);
        run.stop.times = Samples::new(stops);
        let median =
            |of: fn(&StageTimes) -> Duration| Samples::new(stages.iter().map(of).collect()).quantile(0.5);
        run.stages.queued = median(|times| times.queued);
        run.stages.accepted = median(|times| times.accepted);
        run.stages.done = median(|times| times.done);
        run.stages.verified = median(|times| times.verified);
        run
    }
}

/// Times count of calls that went well; a deadline that was missed would tell nothing but the deadline.
fn sort_out<T>(
    calls: Vec<Timed<T>>,
    times: &mut Vec<Duration>,
    kind: &mut Kind,
    failures: &mut Vec<Error>,
) -> Vec<T> {
    let mut went_well = Vec::with_capacity(calls.len());
    for Timed { took, result } in calls {
        match result {
            Ok(value) => {
                times.push(took);
                went_well.push(value);
            }
            Err(error) => {
                kind.errors += 1;
                failures.push(error);
            }
        }
    }
    went_well
}
