//! Signals forged by nobody, near the truth: what an unprivileged user can see and guess on any machine.
//!
//! It asks the bus for everybody's unique name and systemd for its jobs, which anybody may, and tells everybody, by
//! broadcast and by address, that these jobs and the next ones are over. Where systemd is stopped it goes on with the
//! jobs that it saw last, which cannot end in that time.

use std::error::Error;
use std::fs;
use std::io::{Write, stdout};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dbus::Message;
use dbus::arg::Variant;
use dbus::channel::Channel;

const NOBODY: u32 = 65534;
const ADDRESS: &str = "unix:path=/run/dbus/system_bus_socket";
const NAME: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const BUS: &str = "org.freedesktop.DBus";

/// How many numbers after the last job's are guessed.
const AHEAD: u32 = 12;

type Done<T = ()> = Result<T, Box<dyn Error>>;

/// The forger as a process of nobody's; killed with this value.
pub struct Forger(Child);

impl Forger {
    /// Runs a copy of this program, for nobody may not be able to walk down to the program itself.
    pub fn start(seed: u64) -> Done<Forger> {
        let copy = format!("/run/unitwait-soak-{}", std::process::id());
        fs::copy("/proc/self/exe", &copy)?;
        let mut command = Command::new(copy);
        command.args(["forge", &seed.to_string()]).uid(NOBODY).gid(NOBODY);
        Ok(Forger(command.stdin(Stdio::null()).spawn()?))
    }

    /// An error where it forges no more.
    pub fn check(&mut self) -> Done {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the forger has ended: {status}").into()),
        }
    }
}

impl Drop for Forger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Forges in bursts until it is killed, and says after each how much went out.
pub fn run(seed: u64) -> Done {
    if nix::unistd::getuid().as_raw() != NOBODY {
        return Err("the forgeries are to be those of an unprivileged user".into());
    }
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut known = Known::default();
    loop {
        let Ok(bus) = connect() else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        while bus.is_connected() {
            let until = Instant::now() + Duration::from_millis(rng.u64(100..600));
            let mut told = 0;
            while Instant::now() < until {
                let Ok(some) = round(&bus, &mut known, &mut rng) else { break };
                told += some;
                // The bus is to carry other things too.
                thread::sleep(Duration::from_millis(3));
            }
            if told > 0 {
                writeln!(stdout(), "forgery {told}")?;
            }
            thread::sleep(Duration::from_millis(rng.u64(50..500)));
        }
    }
}

fn connect() -> Result<Channel, dbus::Error> {
    let mut bus = Channel::open_private(ADDRESS)?;
    bus.register()?;
    Ok(bus)
}

/// What there is to lie about.
#[derive(Default)]
struct Known {
    jobs: Vec<(u32, String)>,
    last_job: u32,
    last_unit: u32,
}

impl Known {
    fn learn(&mut self, jobs: Vec<(u32, String)>) {
        for (job, unit) in &jobs {
            self.last_job = self.last_job.max(*job);
            let number =
                unit.strip_prefix("soak-").and_then(|rest| rest.strip_suffix(".scope")?.parse().ok());
            self.last_unit = self.last_unit.max(number.unwrap_or_default());
        }
        if !jobs.is_empty() {
            self.jobs = jobs;
        }
    }

    /// The jobs that are there, and those that are likely to come.
    fn guesses(&self, rng: &mut fastrand::Rng) -> Vec<(u32, String)> {
        let ahead =
            (1..=AHEAD).map(|n| (self.last_job + n, format!("soak-{}.scope", self.last_unit + rng.u32(..4))));
        self.jobs.iter().cloned().chain(ahead).collect()
    }
}

/// One round of lies to everybody; how many went out.
fn round(bus: &Channel, known: &mut Known, rng: &mut fastrand::Rng) -> Done<u32> {
    let names: Vec<String> =
        ask(bus, BUS, "/org/freedesktop/DBus", BUS, "ListNames", Duration::from_secs(1))?.read1()?;
    let own = bus.unique_name().unwrap_or_default();
    let others: Vec<&String> = names.iter().filter(|name| name.starts_with(':') && *name != own).collect();
    // No longer than a moment, for systemd may be stopped.
    if let Ok(answer) = ask(bus, NAME, MANAGER_PATH, MANAGER, "ListJobs", Duration::from_millis(30)) {
        type Job = (u32, String, String, String, dbus::Path<'static>, dbus::Path<'static>);
        let jobs: Vec<Job> = answer.read1()?;
        known.learn(jobs.into_iter().map(|(job, unit, ..)| (job, unit)).collect());
    }
    let mut told = 0;
    for (job, unit) in known.guesses(rng) {
        for lie in lies(job, &unit, rng, own)? {
            for to in [None].into_iter().chain(others.iter().map(Some)) {
                let mut lie = lie.duplicate()?;
                lie.set_destination(to.map(|name| name.as_str().into()));
                bus.send(lie).map_err(|()| "the bus is gone")?;
                told += 1;
            }
        }
    }
    bus.flush();
    while bus.pop_message().is_some() {}
    Ok(told)
}

fn ask(
    bus: &Channel,
    to: &str,
    path: &str,
    interface: &str,
    method: &str,
    patience: Duration,
) -> Done<Message> {
    let call = Message::new_method_call(to, path, interface, method)?;
    Ok(bus.send_with_reply_and_block(call, patience)?)
}

/// That the job is over and its unit gone, and now and then that this forger is the manager.
fn lies(job: u32, unit: &str, rng: &mut fastrand::Rng, own: &str) -> Done<Vec<Message>> {
    let signal = |path: &str, interface: &str, member: &str| Message::new_signal(path, interface, member);
    let path = dbus::Path::from(format!("{MANAGER_PATH}/job/{job}"));
    let result = if rng.u32(..8) == 0 { "failed" } else { "done" };
    let mut lies =
        vec![signal(MANAGER_PATH, MANAGER, "JobRemoved")?.append3(job, path, unit).append1(result)];
    if rng.u32(..8) == 0 {
        let unit_path = format!("{MANAGER_PATH}/unit/{}", unit.replace('-', "_2d").replace('.', "_2e"));
        lies.push(
            signal(MANAGER_PATH, MANAGER, "UnitRemoved")?.append2(unit, dbus::Path::from(unit_path.clone())),
        );
        let dead = [("ActiveState", Variant("inactive")), ("SubState", Variant("dead"))];
        let dead: std::collections::HashMap<_, _> = dead.into_iter().collect();
        let changed = signal(&unit_path, "org.freedesktop.DBus.Properties", "PropertiesChanged")?;
        lies.push(changed.append3("org.freedesktop.systemd1.Unit", dead, Vec::<String>::new()));
        lies.push(signal("/org/freedesktop/DBus", BUS, "NameOwnerChanged")?.append3(NAME, ":1.0", own));
    }
    Ok(lies)
}
