//! `bench`: what it takes to create scopes, and to stop them, on this machine.

mod chart;
mod drawing;
mod holder;
mod host;
mod load;
mod measure;
mod report;
mod run;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::unistd::{AccessFlags, access};
use unitwait::{Deadline, Manager};

use crate::args::Bench;
use crate::failure::Failure;
use crate::live::Live;
use crate::session::{Session, Target};
use holder::Holder;
use host::Peers;
use load::Load;
use measure::Meter;
use run::{Run, Runner};

/// How many scopes each of the picture's points is of, at the most.
const POINT: usize = 512;

/// Units that stand while the picture's points are measured, where `--live` says nothing.
const STANDING: usize = 1000;

/// How long the end may take: what is left to stop is empty by then. With a time for the whole, what that leaves.
const PATIENCE: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_millis(500);

/// All that was measured.
struct Measured {
    main: Run,
    /// By the number of callers, and by the number of scopes that stand.
    callers: Vec<(usize, Run)>,
    standing: Vec<(usize, Run)>,
}

pub fn bench(session: &Session, asked: &Bench) -> Result<(), Failure> {
    asked.svg.as_deref().map_or(Ok(()), check_writable)?;
    let (mut live, manager) = Live::open(session, &["bench".to_string()])?;
    live.until_given_end();
    let (done, all) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let doing = || format!("{} of {} created", done.load(Ordering::Relaxed), all.load(Ordering::Relaxed));
    let slice = format!("unitwait_bench_{}.slice", process::id());
    let measured = live.follow(doing, || {
        // The last to go, and what is left if this program is killed: it stops the slice with all that is in it.
        let janitor = Holder::with_end(0, &janitor(&session.target, &slice)).map_err(run::not_held)?;
        let load = Load {
            mode: asked.mode,
            concurrency: asked.concurrency as usize,
            slice: slice.clone(),
            deadline: session.given_end().map_or(Deadline::Default, Deadline::At),
            spread: asked.spread,
        };
        let meter = Meter { manager: &manager, peers: Peers::find(&session.target, manager.address()) };
        let measured = measure(Runner::new(&meter, session.given_end(), &done, &all), load, asked);
        let now = Instant::now();
        let until = session.given_end().map_or(now + PATIENCE, |end| end.max(now + GRACE));
        let is_clean = janitor.end_by(until);
        measured.map(|measured| (measured, is_clean))
    })?;
    drop(live);
    let (measured, is_clean) = measured?;
    if !is_clean {
        session.output.warning(
            "left_over",
            &format!("{slice} could not be stopped yet; that is tried on for some minutes"),
        );
    }
    let drawn = asked.svg.as_ref().map(|file| (file, drawing::draw(&measured, asked)));
    // The figures first: a disk that is full by now takes no minute of work with it. And the picture all the same, where
    // calls failed.
    let told = tell(session, &manager, asked, measured);
    let written = drawn.map_or(Ok(()), |(file, drawn)| {
        write_whole(file, &drawn).map_err(|source| cannot_write(file, source))
    });
    told.and(written)
}

fn tell(session: &Session, manager: &Manager, asked: &Bench, measured: Measured) -> Result<(), Failure> {
    session
        .output
        .result(|| report::json(manager, asked, &measured), || report::text(manager, asked, &measured))?;
    let failed = measured.main.failures.into_iter().next();
    failed.map_or(Ok(()), |error| Err(error.into()))
}

fn measure(mut runner: Runner, load: Load, asked: &Bench) -> Result<Measured, Failure> {
    let (ops, live) = (asked.ops as usize, asked.live as usize);
    let (callers, standing) = match asked.svg {
        Some(_) => (points_of_callers(load.concurrency), points_of_standing(live)),
        None => Default::default(),
    };
    let point = |callers: usize| ops.min(POINT).max(callers * 4);
    let with = |concurrency| Load { concurrency, ..load.clone() };
    let points = callers.iter().map(|callers| point(*callers)).sum::<usize>();
    runner.expect(ops + points + standing.len() * ops.min(POINT));
    runner.warm_up(&load)?;

    let (mut by_callers, mut by_standing) = (Vec::new(), Vec::new());
    let mut main = None;
    for count in standing.into_iter().chain([live]).collect::<BTreeSet<_>>() {
        runner.stand(&load, count)?;
        if count == live {
            main = Some(runner.run(&load, ops)?);
            for callers in &callers {
                by_callers.push((*callers, runner.run(&with(*callers), point(*callers))?));
            }
        }
        if asked.svg.is_some() {
            by_standing.push((count, runner.run(&load, ops.min(POINT))?));
        }
    }
    let main = main.ok_or_else(|| Failure::Usage("nothing was measured".into()))?;
    Ok(Measured { main, callers: by_callers, standing: by_standing })
}

/// Powers of two up to what was asked for, and as far as the driver has calls under way at all.
fn points_of_callers(asked: usize) -> Vec<usize> {
    let most = asked.max(64);
    let mut points: Vec<usize> = (0..).map(|power| 1 << power).take_while(|count| *count <= most).collect();
    if !points.contains(&asked) {
        points.push(asked);
        points.sort_unstable();
    }
    points
}

fn points_of_standing(asked: usize) -> Vec<usize> {
    let most = if asked == 0 { STANDING } else { asked };
    [0, most / 8, most / 4, most / 2, most].into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

fn janitor<'a>(target: &'a Target, slice: &'a str) -> Vec<&'a str> {
    let mut arguments = vec![target.option()];
    if let Target::At(address) = target {
        arguments.push(address);
    }
    arguments.extend(["--json", "--timeout", "30s", "stop", slice]);
    arguments
}

/// Before a minute of work, and not after it.
fn check_writable(file: &Path) -> Result<(), Failure> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let place = if file.exists() { file } else { directory };
    access(place, AccessFlags::W_OK).map_err(|errno| cannot_write(file, errno.into()))?;
    if file.is_dir() || !directory.is_dir() {
        return Err(cannot_write(file, io::ErrorKind::IsADirectory.into()));
    }
    Ok(())
}

/// What was in the file is there until all that is to be in it is written.
fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.into());
    if file.exists() && !file.is_file() {
        return fs::write(file, text);
    }
    let mut beside = file.clone().into_os_string();
    beside.push(format!(".{}", process::id()));
    let written = fs::write(&beside, text).and_then(|()| {
        fs::metadata(&file).map_or(Ok(()), |before| fs::set_permissions(&beside, before.permissions()))?;
        fs::rename(&beside, &file)
    });
    let Err(error) = written else { return Ok(()) };
    let _ = fs::remove_file(&beside);
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Err(error),
        // One may write to a file whose directory is another's, or is elsewhere, as that of a mounted file.
        _ => fs::write(file, text),
    }
}

fn cannot_write(file: &Path, source: io::Error) -> Failure {
    Failure::System { doing: format!("write {}", file.display()), source }
}
