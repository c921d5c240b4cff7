//! The rounds: who does what, and in which order.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use serde_json::Value as Json;

use crate::Failure;
use crate::figures::Figures;
use crate::goals;
use crate::holder::Holder;
use crate::table;

pub const SLICE: &str = "compare.slice";

/// Scopes of one caller in a round, of many callers, commands started cold, and tickets.
const ONE: usize = 150;
const MANY: usize = 512;
const COLD: usize = 20;
const TICKETS: usize = 10_000;

/// A minute after its request, and a minute of which is told what woke it.
const IDLE: Duration = Duration::from_secs(125);

/// Jobs of strangers a second.
const NOISE: &str = "500";

/// A row of the table: what is done, and by whom.
pub type Key = (&'static str, &'static str);

pub const CASES: [&str; 5] = ["one caller", "private", "64 callers", "noise", "cold start"];

pub struct Results {
    pub rounds: BTreeMap<Key, Vec<Figures>>,
    pub idle: Json,
    pub tickets: Json,
}

struct Work {
    case: &'static str,
    peer: &'static str,
    program: PathBuf,
    way: &'static str,
    callers: usize,
}

pub fn run(rounds: &str, peers: &str, out: &str) -> Result<(), Failure> {
    let (rounds, peers): (usize, &Path) = (rounds.parse()?, Path::new(peers));
    start_slice()?;
    let works = works(peers)?;
    let mut results = Results { rounds: BTreeMap::new(), idle: Json::Null, tickets: Json::Null };
    let idle = Idle::start()?;
    // What comes first pays for what is loaded once.
    for work in &works {
        work.run(20)?;
    }
    let begun = Instant::now();
    for round in 0..rounds {
        eprintln!("compare: round {} of {rounds}, {} s", round + 1, begun.elapsed().as_secs());
        for at in 0..works.len() {
            let work = &works[(at + round) % works.len()];
            let figures = work.run(work.ops())?;
            results.rounds.entry((work.case, work.peer)).or_default().push(figures);
        }
        cold(peers, round, &mut results.rounds)?;
    }
    if let Some(left) = IDLE.checked_sub(begun.elapsed()) {
        let _noise = Noise::start(&peers.join("sdbus"))?;
        thread::sleep(left);
    }
    results.idle = idle.end()?;
    results.tickets = tickets()?;
    let (judged, limits) = (goals::judge(&results), goals::limits(&results));
    print!("{}", table::text(&results, &judged, &limits));
    fs::write(Path::new(out).join("compare.json"), table::json(&results, &judged, &limits).to_string())?;
    fs::write(Path::new(out).join("compare.svg"), table::picture(&results))?;
    Ok(())
}

/// Found by all as it is, whoever comes first.
pub fn start_slice() -> Result<(), Failure> {
    let started = Command::new("systemctl").args(["start", SLICE]).status()?;
    if started.success() { Ok(()) } else { Err(format!("{SLICE} does not start").into()) }
}

fn works(peers: &Path) -> Result<Vec<Work>, Failure> {
    let (own, sdbus) = (env::current_exe()?, peers.join("sdbus"));
    let (go, zbus, none) = (peers.join("peer-go"), peers.join("peer-zbus"), PathBuf::new());
    let work = |case, peer, program: &PathBuf, way, callers| Work {
        case,
        peer,
        program: program.clone(),
        way,
        callers,
    };
    Ok(vec![
        work("one caller", "sd-bus", &sdbus, "system", 1),
        work("one caller", "unitwait", &own, "system", 1),
        work("one caller", "sd-bus, promises kept", &sdbus, "kept", 1),
        work("one caller", "libdbus", &own, "libdbus", 1),
        work("one caller", "libdbus, promises kept", &own, "libdbus-kept", 1),
        work("one caller", "sd-bus, new connection", &sdbus, "fresh", 1),
        work("one caller", "systemd-run", &none, "system", 1),
        work("one caller", "go-systemd", &go, "system", 1),
        work("one caller", "zbus", &zbus, "system", 1),
        work("private", "sd-bus", &sdbus, "private", 1),
        work("private", "unitwait", &own, "private", 1),
        work("private", "sd-bus, promises kept", &sdbus, "kept-private", 1),
        work("private", "libdbus", &own, "libdbus-private", 1),
        work("private", "libdbus, promises kept", &own, "libdbus-kept-private", 1),
        work("64 callers", "sd-bus", &sdbus, "system", 64),
        work("64 callers", "sd-bus, 16", &sdbus, "system", 16),
        work("64 callers", "unitwait", &own, "system", 64),
        work("64 callers", "go-systemd", &go, "system", 64),
        work("64 callers", "zbus", &zbus, "system", 64),
        work("noise", "sd-bus", &sdbus, "noise", 1),
        work("noise", "unitwait", &own, "noise", 1),
    ])
}

impl Work {
    fn ops(&self) -> usize {
        match (self.callers, self.peer) {
            (1, "systemd-run") => COLD,
            (1, _) => ONE,
            _ => MANY,
        }
    }

    fn run(&self, ops: usize) -> Result<Figures, Failure> {
        if self.peer == "systemd-run" {
            return start_cold(ops, "systemd-run", &self.systemd_run());
        }
        let noise = (self.way == "noise").then(|| Noise::start(&self.program)).transpose()?;
        let way = if noise.is_some() { "system" } else { self.way };
        let holder = Holder::start(ops)?;
        let pids = pids_file(&holder)?;
        let mut command = Command::new(&self.program);
        command.args([way, &ops.to_string(), &self.callers.to_string(), SLICE]).arg(&pids);
        let told = told_by(command.output()?, self.peer)?;
        Figures::read(&told, self.peer)
    }

    fn systemd_run(&self) -> Vec<String> {
        let options = ["--quiet", "--scope", "--slice", SLICE, "--property=DefaultDependencies=no", "true"];
        ["systemd-run"].into_iter().chain(options).map(String::from).collect()
    }
}

pub fn pids_file(holder: &Holder) -> Result<PathBuf, Failure> {
    let path = PathBuf::from("/run/compare-pids");
    let mut file = fs::File::create(&path)?;
    for pid in &holder.pids {
        writeln!(file, "{pid}")?;
    }
    Ok(path)
}

pub fn told_by(output: std::process::Output, peer: &str) -> Result<Json, Failure> {
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{peer} failed, {}: {stderr}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout).map_err(|error| format!("{peer}: {error}"))?)
}

/// Strangers' jobs, until this is dropped.
struct Noise(Child);

impl Noise {
    fn start(program: &Path) -> Result<Noise, Failure> {
        let sdbus = program.with_file_name("sdbus");
        let sdbus = if sdbus.exists() { sdbus } else { peers_directory()?.join("sdbus") };
        let noise = Command::new(sdbus).args(["noise", NOISE, "noise.slice"]).stdin(Stdio::null()).spawn()?;
        thread::sleep(Duration::from_millis(200));
        Ok(Noise(noise))
    }
}

/// As it was given.
fn peers_directory() -> Result<PathBuf, Failure> {
    Ok(env::args_os().nth(3).ok_or("no directory of peers")?.into())
}

impl Drop for Noise {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Commands from exec to their end, whose scope is verified before they begin.
fn cold(peers: &Path, round: usize, rounds: &mut BTreeMap<Key, Vec<Figures>>) -> Result<(), Failure> {
    let unitwait = peers.join("unitwait").display().to_string();
    let sdbus = peers.join("sdbus").display().to_string();
    let words = |words: &[&str]| words.iter().map(|word| word.to_string()).collect::<Vec<_>>();
    let mut ways = [
        ("unitwait", words(&[&unitwait, "run", "--", "true"])),
        ("systemd-run", words(&["systemd-run", "--quiet", "--scope", "true"])),
        ("sd-bus", words(&[&sdbus, "run", "UNIT", "true"])),
    ];
    ways.rotate_left(round % 3);
    for (peer, command) in ways {
        rounds.entry(("cold start", peer)).or_default().push(start_cold(COLD, peer, &command)?);
    }
    Ok(())
}

fn start_cold(count: usize, peer: &str, command: &[String]) -> Result<Figures, Failure> {
    let mut times = Vec::with_capacity(count);
    let all = Instant::now();
    for _ in 0..count {
        let unit = format!("cold-{}.scope", fastrand::u64(..));
        let words = command[1..].iter().map(|word| if word == "UNIT" { &unit } else { word });
        let mut command = Command::new(&command[0]);
        command.args(words);
        let begun = Instant::now();
        let status = command.status()?;
        times.push(begun.elapsed().as_nanos() as f64);
        if !status.success() {
            return Err(format!("{peer}: {status}").into());
        }
    }
    Ok(Figures::of(times, all.elapsed().as_nanos() as f64))
}

/// A manager that nobody asks anything, beside all that the others do.
struct Idle {
    child: Child,
    _holder: Holder,
}

impl Idle {
    fn start() -> Result<Idle, Failure> {
        let holder = Holder::start(1)?;
        let path = PathBuf::from("/run/compare-idle");
        fs::write(&path, holder.pids[0].to_string())?;
        let mut command = Command::new(env::current_exe()?);
        command.arg("idle").arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Idle { child: command.spawn()?, _holder: holder })
    }

    fn end(self) -> Result<Json, Failure> {
        // Its input ends with this.
        told_by(self.child.wait_with_output()?, "idle")
    }
}

fn tickets() -> Result<Json, Failure> {
    eprintln!("compare: {TICKETS} tickets");
    let holder = Holder::start(TICKETS)?;
    let pids = pids_file(&holder)?;
    let mut command = Command::new(env::current_exe()?);
    told_by(command.arg("tickets").arg(pids).output()?, "tickets")
}
