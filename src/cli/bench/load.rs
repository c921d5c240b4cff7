//! The work: scopes are created and stopped, in one of three ways.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};
use unitwait::{ActiveScope, Deadline, Error, FinishedJob, Manager, Request, Scope, Spread, Ticket, UnitJob};

use super::host::Footprint;
use super::measure::{Meter, Usage};
use crate::args::BenchMode;
use crate::failure::Failure;
use crate::live::no_thread;

/// How the work is done.
#[derive(Clone, Debug)]
pub struct Load {
    pub mode: BenchMode,
    pub concurrency: usize,
    pub slice: String,
    pub deadline: Deadline,
    pub spread: Option<Spread>,
}

/// What one call took, and what came of it.
pub struct Timed<T> {
    pub took: Duration,
    pub result: Result<T, Error>,
}

/// Many calls, what they used together, and how far the process had grown at their end.
pub struct Phase<T> {
    pub usage: Usage,
    pub calls: Vec<Timed<T>>,
    pub footprint: Footprint,
}

impl Load {
    pub fn scope(&self, name: String, pid: u32) -> Scope {
        let scope = Scope::new(name).pid(pid).slice(self.slice.as_str()).default_dependencies(false);
        // One whose process is killed in the midst of it fails, and is not to stay.
        let scope = scope.collect_mode("inactive-or-failed");
        match self.spread {
            Some(spread) => scope.spread(spread),
            None => scope,
        }
    }

    pub fn create(
        &self,
        meter: &Meter,
        scopes: &[Scope],
        done: &AtomicUsize,
    ) -> Result<Phase<ActiveScope>, Failure> {
        let manager = meter.manager;
        match self.mode {
            BenchMode::Blocking => {
                let create = |scope: &Scope| manager.create_scope(scope, self.deadline);
                callers(meter, self.concurrency, scopes, done, create)
            }
            BenchMode::Tickets => {
                alone(meter, || in_line(manager, self.concurrency, scopes, self.deadline, done))
            }
            BenchMode::Batch => alone(meter, || self.batches(manager, scopes, done)),
        }
    }

    /// Nothing stops a batch by one call, so that there it is tickets that do.
    pub fn stop(&self, meter: &Meter, active: &[ActiveScope]) -> Result<Phase<FinishedJob>, Failure> {
        let ignored = AtomicUsize::new(0);
        if self.mode == BenchMode::Blocking {
            let stop = |scope: &ActiveScope| scope.stop(self.deadline);
            return callers(meter, self.concurrency, active, &ignored, stop);
        }
        let jobs: Vec<UnitJob> = active.iter().map(|scope| UnitJob::stop(scope.unit())).collect();
        alone(meter, || in_line(meter.manager, self.concurrency, &jobs, self.deadline, &ignored))
    }

    /// A batch returns as a whole, so that each scope in it takes as long as the batch.
    fn batches(&self, manager: &Manager, scopes: &[Scope], done: &AtomicUsize) -> Vec<Timed<ActiveScope>> {
        let mut calls = Vec::with_capacity(scopes.len());
        for batch in scopes.chunks(self.concurrency) {
            let begun = Instant::now();
            let outcomes = manager.create_scopes(batch, self.deadline);
            let took = begun.elapsed();
            calls.extend(outcomes.into_iter().map(|result| Timed { took, result }));
            done.fetch_add(batch.len(), Ordering::Relaxed);
        }
        calls
    }
}

/// Threads that call without a pause. They are there before the clock starts, and go after it has stopped.
fn callers<A: Sync, T: Send>(
    meter: &Meter,
    threads: usize,
    all: &[A],
    done: &AtomicUsize,
    call: impl Fn(&A) -> Result<T, Error> + Sync,
) -> Result<Phase<T>, Failure> {
    let (go, begin) = bounded::<()>(threads);
    let (tell, ended) = bounded::<()>(threads);
    let (stay, leave) = bounded::<()>(0);
    let line = in_a_line(all);
    let work = || {
        let mut calls = Vec::with_capacity(all.len() / threads + 1);
        if begin.recv().is_err() {
            return calls;
        }
        for asked in line.try_iter() {
            let begun = Instant::now();
            let result = call(asked);
            calls.push(Timed { took: begun.elapsed(), result });
            done.fetch_add(1, Ordering::Relaxed);
        }
        let _ = tell.send(());
        let _ = leave.recv();
        calls
    };
    thread::scope(|scope| {
        // Whatever ends this early lets the threads go by dropping these.
        let (go, stay) = (go, stay);
        let started: Result<Vec<_>, _> =
            (0..threads).map(|_| thread::Builder::new().spawn_scoped(scope, work)).collect();
        let started = started.map_err(no_thread)?;
        let (usage, footprint) = meter.around(|| {
            started.iter().all(|_| go.send(()).is_ok());
            let _ = ended.iter().take(threads).count();
            Footprint::now()
        })?;
        drop(stay);
        let calls = started.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect();
        Ok(Phase { usage, calls, footprint })
    })
}

fn alone<T>(meter: &Meter, work: impl FnOnce() -> Vec<Timed<T>>) -> Result<Phase<T>, Failure> {
    let (usage, calls) = meter.around(work)?;
    Ok(Phase { usage, calls, footprint: Footprint::now() })
}

fn in_a_line<A>(all: &[A]) -> Receiver<&A> {
    let (to, line) = bounded(all.len());
    all.iter().all(|asked| to.send(asked).is_ok());
    line
}

/// When it was asked for, and its ticket.
type UnderWay<T> = (Instant, Result<Ticket<T>, Error>);

/// One thread with so many requests under way. The first to be asked is the first to be waited for.
fn in_line<R: Request>(
    manager: &Manager,
    window: usize,
    requests: &[R],
    deadline: Deadline,
    done: &AtomicUsize,
) -> Vec<Timed<R::Out>> {
    let mut calls = Vec::with_capacity(requests.len());
    let mut under_way: VecDeque<UnderWay<R::Out>> = VecDeque::new();
    let mut left = requests.iter();
    loop {
        let room = window - under_way.len();
        under_way.extend(
            left.by_ref().take(room).map(|request| (Instant::now(), manager.submit(request, deadline))),
        );
        let Some((begun, ticket)) = under_way.pop_front() else { return calls };
        let result = ticket.and_then(|ticket| ticket.wait(Deadline::Default));
        calls.push(Timed { took: begun.elapsed(), result });
        done.fetch_add(1, Ordering::Relaxed);
    }
}
