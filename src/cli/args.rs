//! The command line as it is typed: options, commands, and the text of `--help`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use clap_complete::Shell;
use nix::sys::signal::Signal;
use unitwait::{KillWhom, OnExists, Spread};

const STATUSES: &str = "\
Exit status:
    0  it is done, as systemd and the kernel say
    1  audit: something is not as systemd says; wait: a unit did not end well
   64  usage
   65  bad data: a name, a process or a property
   69  no bus or no manager
   70  internal error
   71  systemd refused, the unit is not there (any more), or a limit does not hold
   73  a unit of that name exists
   75  the deadline passed
   77  access denied
  126  run: CMD cannot be executed
  127  run: CMD is not found
  130, 143  ended by SIGINT or SIGTERM
run ends with CMD's own status once CMD has started.

Environment:
  UNITWAIT_LOG   what the library logs to stderr: error, warn, info, debug or trace";

const RUN_NOTES: &str = "\
CMD inherits the environment, the working directory and all open files, and keeps this process's PID. It does not
start unless it is in the scope. SIGPIPE is at its default for CMD. stdout is CMD's: with --json the object about the scope goes to stderr.
Limits that the kernel does not hold are told on stderr; --require-limits makes them an error.
The exit status is CMD's own, or one of those in `unitwait --help`.";

const SET_NOTES: &str = "\
Lists grow by what is given, and an empty one (-p DeviceAllow=) resets them first. Limits that the kernel does not hold
are told on stderr; --require-limits makes them an error, and the change stands all the same.";

const KILL_NOTES: &str = "\
A signal is sent once, and its receivers may still run when this returns. With --until-gone they do not: the kernel kills
the whole control group at one stroke (cgroup.kill), processes that go on forking included, and nothing is left.
To let processes end in their own way, use `unitwait stop`.";

const WAIT_NOTES: &str = "\
Exit status:
    0  each unit's processes ended by themselves, or it was stopped by request
    1  a unit was killed for want of memory, ran out of time, or failed
   71  a unit was not active when the wait began: it was over already, failed, or was never started
   75  a unit was still there at the deadline; nothing was done to it
Others as in `unitwait --help`. systemd is not the parent of a scope's processes, and does not know their exit statuses.";

const WATCH_NOTES: &str = "\
Ends by SIGINT or SIGTERM, when its reader leaves, or with status 0 at --timeout, which has no default here but for the
time until systemd has agreed. What changes happen from then on is told; `unitwait list` tells how things are.
Changes that were missed, for the connection was away or their reader slow, are told on stderr, and with --json also as
an object of their own (\"event\": \"interrupted\", \"dropped\").";

const BENCH_NOTES: &str = "\
Each scope holds one process that was started beforehand, is seen in the kernel to hold it, and is stopped again; all are
in a slice of their own, with DefaultDependencies=no. They come in rounds of four for each caller, at least 100: so many
stand besides those of --live. Each call has 30 s, and with --timeout the whole has so long.
Nothing is left behind, however it ends; where systemd is silent or its bus dead by then, that is tried on for minutes.
With --svg more is measured: fewer and more callers, and units that stand.";

/// Create systemd's transient scopes and wait for them, with a deadline
#[derive(Debug, Parser)]
#[command(name = "unitwait", version, after_help = STATUSES)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
pub struct Global {
    /// The system manager, over the system bus (default)
    #[arg(long, global = true)]
    pub system: bool,
    /// Your own user manager, over your bus
    #[arg(long, global = true)]
    pub user: bool,
    /// The system manager over its own socket; root only
    #[arg(long, global = true)]
    pub private: bool,
    /// The manager at a D-Bus address
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = utf8())]
    pub address: Option<String>,
    /// Give up after this long, all in all: 10s, 500ms, 2min [default: 30s; a watch goes on]
    #[arg(long, global = true, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// Print one JSON object, of a watch one for each change; errors too, on stderr (where -v puts its own lines beside)
    #[arg(long, global = true)]
    pub json: bool,
    /// Tell each stage on stderr as it passes, and at the end where the time went
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Place this process in a new scope, wait for its job, and become CMD
    Run(Run),
    /// Place running processes in a new scope and wait for its job
    Create(Create),
    /// Set properties of a unit that is there, and see that the kernel holds its limits
    Set(Set),
    /// Place running processes in a scope that is there, which must be delegated
    Attach(Attach),
    /// Freeze units' processes, and wait until the kernel says so; cgroup v2 only
    Freeze(Units),
    /// Let frozen units go on, and wait until the kernel says so
    Thaw(Units),
    /// Stop units, all at once, and wait until their processes are gone
    Stop(Units),
    /// Send a signal to units' processes, or kill them until none is left
    Kill(Kill),
    /// Wait until units are over, and tell how each ended
    Wait(Wait),
    /// Show units: state, control group, processes, limits; status 71 where one is not loaded
    Status(Units),
    /// Compare what systemd says of units with what the kernel holds; status 1 where they differ
    Audit(Units),
    /// List the loaded units
    List(List),
    /// Tell each change of units' states as it happens, a line for each
    Watch(Watch),
    /// Measure what it takes here to create scopes and to stop them
    Bench(Bench),
    /// Say what this machine has, and what to do about what is wrong; status 69 where nothing can be done here
    Doctor,
    /// Print a shell's completions for this command
    Completions(Completions),
    /// Write the manual's pages, one for each command
    Man(Manual),
}

#[derive(Debug, Args)]
pub struct ScopeOptions {
    /// The scope's name, with or without `.scope`; a unique one where none is given
    #[arg(long, value_name = "NAME", value_parser = utf8())]
    pub unit: Option<String>,
    /// The slice it is to be in, with or without `.slice`
    #[arg(long, value_name = "SLICE", value_parser = utf8(), allow_hyphen_values = true)]
    pub slice: Option<String>,
    /// Spread the slice's scopes over so many child slices, or over as many as suit what is there, which is looked at ten
    /// times a second: creating in it does not get dearer then, however many there are
    #[arg(long, value_name = "K|auto", value_parser = spread)]
    pub spread: Option<Spread>,
    /// A property as a unit file has it: MemoryMax=64M, CPUQuota=50%, TasksMax=20
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = utf8())]
    pub property: Vec<String>,
    /// What the scope is for, in words
    #[arg(long, value_name = "TEXT", value_parser = utf8())]
    pub description: Option<String>,
    /// Leave the control group to its processes to divide
    #[arg(long)]
    pub delegate: bool,
    /// What to do where a unit of that name exists
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = Policy::Fail)]
    pub on_exists: Policy,
    /// Fail where the kernel does not hold a limit; the scope is stopped again, and its processes end with it
    #[arg(long)]
    pub require_limits: bool,
}

#[derive(Debug, Args)]
#[command(after_help = RUN_NOTES)]
pub struct Run {
    #[command(flatten)]
    pub scope: ScopeOptions,
    /// The user that CMD is to be, by name or number, with all its groups; the environment stays as it is
    #[arg(long, value_name = "USER", value_parser = utf8())]
    pub uid: Option<String>,
    /// The group that CMD is to be in, by name or number
    #[arg(long, value_name = "GROUP", value_parser = utf8())]
    pub gid: Option<String>,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    pub scope: ScopeOptions,
    /// The processes to place
    #[arg(long, required = true, num_args = 1.., allow_negative_numbers = true)]
    pub pid: Vec<i64>,
}

#[derive(Debug, Args)]
#[command(after_help = SET_NOTES)]
pub struct Set {
    /// The unit's name; one without a dot is a scope's
    #[arg(value_name = "UNIT", value_parser = utf8())]
    pub unit: String,
    /// A property as a unit file has it: MemoryMax=64M, CPUQuota=50%, TasksMax=20
    #[arg(short, long, required = true, value_name = "NAME=VALUE", value_parser = utf8())]
    pub property: Vec<String>,
    /// Keep the change beyond a reboot, of a unit with a file of its own; a transient one ends with its run
    #[arg(long)]
    pub persistent: bool,
    /// Fail where the kernel does not hold a limit
    #[arg(long)]
    pub require_limits: bool,
}

#[derive(Debug, Args)]
pub struct Attach {
    /// The scope's name, with or without `.scope`
    #[arg(value_name = "UNIT", value_parser = utf8())]
    pub unit: String,
    /// The processes to place
    #[arg(long, required = true, num_args = 1.., allow_negative_numbers = true)]
    pub pid: Vec<i64>,
    /// A control group below the scope's own, which must be there: workers, pods/a
    #[arg(long, value_name = "GROUP", value_parser = utf8())]
    pub subgroup: Option<String>,
}

#[derive(Debug, Args)]
pub struct Units {
    /// Names; one without a dot is a scope's
    #[arg(required = true, value_name = "UNIT", value_parser = utf8())]
    pub units: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = KILL_NOTES)]
pub struct Kill {
    /// The signal, by name or number [default: TERM]
    #[arg(short, long, value_parser = signal)]
    pub signal: Option<i32>,
    /// Which of a unit's processes
    #[arg(long, alias = "whom", value_name = "WHOM", value_enum, default_value_t = Whom::All)]
    pub kill_whom: Whom,
    /// SIGKILL for all processes of a unit and below it, and wait until none is left
    #[arg(long, visible_alias = "all")]
    pub until_gone: bool,
    #[command(flatten)]
    pub units: Units,
}

#[derive(Debug, Args)]
#[command(after_help = WAIT_NOTES)]
pub struct Wait {
    #[command(flatten)]
    pub units: Units,
}

#[derive(Debug, Args)]
pub struct List {
    /// Names or shell patterns; `*.scope` and `*.slice` where none is given
    #[arg(value_name = "PATTERN", value_parser = utf8())]
    pub patterns: Vec<String>,
    /// Only units in this state, of whatever kind: active, failed, running, not-found
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = utf8())]
    pub state: Vec<String>,
    /// Only units in this slice, and in the slices below it
    #[arg(long, value_name = "SLICE", value_parser = utf8(), allow_hyphen_values = true)]
    pub slice: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = WATCH_NOTES)]
pub struct Watch {
    /// Names or shell patterns; `*.scope` and `*.slice` where none is given
    #[arg(value_name = "PATTERN", value_parser = utf8())]
    pub patterns: Vec<String>,
}

#[derive(Debug, Args)]
#[command(after_help = BENCH_NOTES)]
pub struct Bench {
    /// How many scopes to create and to stop
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=100_000))]
    pub ops: u32,
    /// How many callers there are, or requests under way, or scopes in a batch
    #[arg(long, value_name = "C", default_value_t = 1, value_parser = value_parser!(u32).range(1..=1000))]
    pub concurrency: u32,
    /// How they are created
    #[arg(long, value_enum, default_value_t = BenchMode::Blocking)]
    pub mode: BenchMode,
    /// How many more scopes stand meanwhile
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u32).range(0..=20_000))]
    pub live: u32,
    /// Spread the scopes over so many slices below their slice
    #[arg(long, value_name = "K|auto", value_parser = spread)]
    pub spread: Option<Spread>,
    /// Draw how long calls took, and how many went through, into a picture
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchMode {
    /// Each caller is a thread that waits for one scope at a time
    Blocking,
    /// One thread has many tickets, and waits for the oldest
    Tickets,
    /// One thread creates many by one call
    Batch,
}

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

#[derive(Debug, Args)]
pub struct Manual {
    /// Where to: `unitwait.1`, `unitwait-run.1` and the others. It is made if it is not there
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Policy {
    /// Refuse, at once
    Fail,
    /// Place the processes in the unit that is there, which must be delegated
    Join,
    /// Stop what is there first
    Replace,
}

impl From<Policy> for OnExists {
    fn from(policy: Policy) -> OnExists {
        match policy {
            Policy::Fail => OnExists::Fail,
            Policy::Join => OnExists::Join,
            Policy::Replace => OnExists::Replace,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Whom {
    All,
    /// The main process (services)
    Main,
    /// The control process (services)
    Control,
}

impl From<Whom> for KillWhom {
    fn from(whom: Whom) -> KillWhom {
        match whom {
            Whom::All => KillWhom::All,
            Whom::Main => KillWhom::Main,
            Whom::Control => KillWhom::Control,
        }
    }
}

/// Text for systemd: clap's own refusal of other bytes does not say which argument has them.
fn utf8() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().try_map(|given| given.into_string().map_err(|_| "it is not UTF-8"))
}

fn spread(given: &str) -> Result<Spread, String> {
    match given.parse() {
        _ if given == "auto" => Ok(Spread::Auto),
        Ok(slices @ 1..=10_000) => Ok(Spread::Over(slices)),
        _ => Err("it is `auto`, or a number of slices from 1 to 10000".into()),
    }
}

/// `TERM`, `SIGTERM`, `term` or `15`. Whether a number is a signal's is for the library to say.
fn signal(given: &str) -> Result<i32, String> {
    if let Ok(number) = given.parse() {
        return Ok(number);
    }
    let name = given.to_ascii_uppercase();
    let full = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    let signal =
        Signal::from_str(&full).map_err(|_| "there is no signal of that name; `kill -l` lists them")?;
    Ok(signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_in_order() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_signal_goes_by_its_name_or_its_number() {
        for given in ["TERM", "SIGTERM", "term", "15"] {
            assert_eq!(signal(given), Ok(15), "{given}");
        }
        assert_eq!(signal("64"), Ok(64));
        for bad in ["", "SIG", "TERMS", "1.5"] {
            assert!(signal(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn options_stand_before_or_after_the_command_and_the_rest_is_the_programs_own() {
        let parsed =
            Arguments::try_parse_from(["unitwait", "--timeout", "1s", "run", "--json", "ls", "--json", "-v"]);
        let Arguments { global, command } = parsed.unwrap();
        assert_eq!(
            (global.timeout, global.json, global.verbose),
            (Some(Duration::from_secs(1)), true, false)
        );
        assert!(matches!(command, Command::Run(run) if run.command == ["ls", "--json", "-v"]));
        assert!(Arguments::try_parse_from(["unitwait", "run", "--unti", "x", "ls"]).is_err());
        let zero = Arguments::try_parse_from(["unitwait", "doctor", "--timeout", "0"]).unwrap();
        assert_eq!(zero.global.timeout, Some(Duration::ZERO));
    }
}
