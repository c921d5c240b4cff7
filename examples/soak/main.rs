//! The long run: callers at random against a systemd to which everything happens. Started by `scripts/soak`, which
//! says what it fails on; it needs the sandbox, for it stops PID 1 and kills the bus.

mod caller;
mod chaos;
mod forger;
mod lives;
mod machine;
mod process;
mod storm;
mod tally;
mod watcher;
mod witness;

use std::env;
use std::error::Error;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use unitwait::{Manager, Stats};

use caller::{Caller, HOLD, Way};
use machine::{Footprint, Metronome};
use process::is_hybrid;
use storm::Storm;
use tally::{MARGIN, Tally};
use witness::Witness;

const CALLERS: u64 = 8;
const LINE: Duration = Duration::from_secs(10);

/// How long past the end of the run its last calls may take: the longest deadline, systemd's own client, and a margin.
const LAST_CALLS: Duration = Duration::from_secs(60);

/// How many faults are told of one by one.
const MOST_TOLD: usize = 20;

/// What must have gone well, or been seen, in every run.
const SEEN: [&str; 14] = [
    "create",
    "stop",
    "kill",
    "read",
    "leave",
    "slow stop",
    "queued",
    "wait",
    "adopt",
    "kill_all",
    "set",
    "attach",
    "watch",
    "events unread",
];

fn main() -> ExitCode {
    env_logger::init();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let done = match arguments.first().map(String::as_str) {
        Some("run") => run(number(1).unwrap_or(120), number(2).unwrap_or(1)),
        Some("chaos") => chaos::run(number(1).unwrap_or(1)),
        Some("forge") => forger::run(number(1).unwrap_or(1)),
        _ => Err("usage: soak run SECONDS SEED; started by scripts/soak".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a run is made of, and what it is judged by.
struct Soak {
    bus: Way,
    private: Way,
    /// Requests that the managers made before the run.
    opened: u64,
    tally: Arc<Tally>,
    witness: Arc<Witness>,
}

fn run(seconds: u64, seed: u64) -> Result<(), Box<dyn Error>> {
    if env::var_os("UNITWAIT_SANDBOX").is_none() {
        return Err("it stops PID 1 and kills the bus: only in the sandbox".into());
    }
    hold()?;
    let soak = Soak::new()?;
    let before = Footprint::now();
    let until = Instant::now() + Duration::from_secs(seconds);
    let threads = soak.start(seed, until);
    let mut storm = Storm::start(seed)?;
    let warm = soak.watch(&mut storm, until)?;
    soak.join(threads, until + LAST_CALLS)?;
    storm.end()?;
    soak.settle()?;
    println!("soak: {}", soak.line());
    println!("soak: {storm}; {}", soak.witness);
    soak.judge(&before, &warm)
}

/// Starts the unit that is never up.
fn hold() -> Result<(), Box<dyn Error>> {
    let mut command = Command::new("systemd-run");
    command.args(["--no-block", "--quiet", "--property=Type=oneshot", "--unit", HOLD, "sleep", "infinity"]);
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("{HOLD} does not start: {status}").into()) }
}

impl Soak {
    fn new() -> Result<Soak, Box<dyn Error>> {
        let bus = Way { counted: Manager::system()?, compound: Manager::system()? };
        let private = Way { counted: Manager::private()?, compound: Manager::private()? };
        let tally = Arc::new(Tally::new(Metronome::start()));
        let mut soak = Soak { bus, private, opened: 0, tally, witness: Arc::default() };
        soak.opened = soak.counted()?.iter().map(outcomes).sum();
        Ok(soak)
    }

    fn start(&self, seed: u64, until: Instant) -> Vec<JoinHandle<()>> {
        let callers = (0..CALLERS).map(|number| {
            let (mut way, mut other) = (self.bus.clone(), self.private.clone());
            if number % 4 == 3 {
                std::mem::swap(&mut way, &mut other);
            }
            let rng = fastrand::Rng::with_seed(seed * 1_000 + number);
            let (tally, witness) = (Arc::clone(&self.tally), Arc::clone(&self.witness));
            let mut caller = Caller { way, other, tally, witness, rng };
            thread::spawn(move || caller.run(until))
        });
        let watched = [self.bus.counted.clone(), self.private.counted.clone()];
        let tally = Arc::clone(&self.tally);
        let watcher = thread::spawn(move || watcher::run(&watched, &tally, seed, until));
        callers.chain([watcher]).collect()
    }

    /// Prints a line every ten seconds, and gives the footprint once the run was warm.
    fn watch(&self, storm: &mut Storm, until: Instant) -> Result<Footprint, Box<dyn Error>> {
        let begun = Instant::now();
        let warm_at = begun + (until - begun) / 3;
        let mut warm = None;
        while Instant::now() < until {
            thread::sleep(LINE.min(until.saturating_duration_since(Instant::now())));
            println!("soak: {:4} s, {}; {storm}", begun.elapsed().as_secs(), self.line());
            storm.check()?;
            if warm.is_none() && Instant::now() >= warm_at {
                warm = Some(Footprint::now());
            }
        }
        Ok(warm.unwrap_or_else(Footprint::now))
    }

    /// Every caller must come back.
    fn join(&self, threads: Vec<JoinHandle<()>>, until: Instant) -> Result<(), Box<dyn Error>> {
        for thread in threads {
            while !thread.is_finished() {
                if Instant::now() > until {
                    let calls = self.tally.overdue(Instant::now()).join(", ");
                    return Err(
                        format!("a caller does not come back; calls past their deadlines: {calls}").into()
                    );
                }
                thread::sleep(Duration::from_millis(20));
            }
            thread.join().map_err(|_| "a caller panicked")?;
        }
        Ok(())
    }

    fn managers(&self) -> [&Manager; 4] {
        let Soak { bus, private, .. } = self;
        [&bus.counted, &bus.compound, &private.counted, &private.compound]
    }

    fn counted(&self) -> Result<[Stats; 2], Box<dyn Error>> {
        Ok([self.bus.counted.stats()?, self.private.counted.stats()?])
    }

    fn line(&self) -> String {
        let (mut late, mut foreign, mut connections) = (0, 0, 0);
        for stats in self.managers().iter().filter_map(|manager| manager.stats().ok()) {
            late += stats.late;
            foreign += stats.foreign;
            connections += stats.connections;
        }
        format!(
            "{}; {late} late, {foreign} foreign, {connections} connections; overrun {:.1} ms (machine {:.1} ms); {}",
            self.tally,
            self.tally.worst_by().as_secs_f64() * 1e3,
            self.tally.metronome.worst().as_secs_f64() * 1e3,
            Footprint::now()
        )
    }

    /// All that was asked has one outcome, and nothing is left in the tables once what was late is settled.
    fn settle(&self) -> Result<(), Box<dyn Error>> {
        let until = Instant::now() + Duration::from_secs(90);
        loop {
            let mut under_way = 0;
            for manager in self.managers() {
                let stats = manager.stats()?;
                under_way += stats.requests + stats.settling + stats.queued;
            }
            let outcomes: u64 = self.counted()?.iter().map(outcomes).sum();
            let asked = self.tally.asked.load(Ordering::Relaxed) + self.opened;
            if under_way == 0 && outcomes == asked {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(
                    format!("{asked} requests, {outcomes} outcomes, {under_way} still under way").into()
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn judge(&self, before: &Footprint, warm: &Footprint) -> Result<(), Box<dyn Error>> {
        let seen = self.tally.seen();
        println!(
            "soak: went well: {}",
            seen.iter().map(|(what, n)| format!("{n} {what}")).collect::<Vec<_>>().join(", ")
        );
        let (worst, over) = (self.tally.worst(), self.tally.long_overruns());
        println!("soak: the worst overrun: {worst}; {over} over {MARGIN:?}");
        let mut faults = self.tally.falsehoods();
        faults.extend(self.tally.unexplained());
        faults.extend(Footprint::now().growth(before, warm));
        // What proves nothing is no success either.
        let freezing = if is_hybrid() { ["freeze refused"; 2] } else { ["freeze", "thaw"] };
        let missing = SEEN.iter().chain(&freezing).filter(|what| !seen.contains_key(*what));
        faults.extend(missing.map(|what| format!("never seen: {what}")));
        for (what, way) in [("counted", &self.bus.counted), ("compound", &self.bus.compound)] {
            if way.stats()?.foreign == 0 {
                faults.push(format!("no forgery has reached the driver of the {what} requests"));
            }
        }
        if self.witness.heard() == 0 {
            faults.push("systemd itself could never be asked".into());
        }
        if faults.is_empty() {
            return Ok(());
        }
        let more = faults.len().saturating_sub(MOST_TOLD);
        faults.truncate(MOST_TOLD);
        Err(format!("{}\n({more} more)", faults.join("\n")).into())
    }
}

fn outcomes(stats: &Stats) -> u64 {
    stats.succeeded + stats.failed + stats.timed_out
}
