//! The command line as it is typed: options, commands, and the text of `--help`.

use std::ffi::OsString;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use nix::sys::signal::Signal;
use unitwait::{KillWhom, OnExists};

const STATUSES: &str = "\
Exit status:
    0  it is done, as systemd and the kernel say
    1  audit: something is not as systemd says
   64  usage
   65  bad data: a name, a process or a property
   69  no bus or no manager
   70  internal error
   71  systemd refused, the unit is not loaded, or a limit does not hold
   73  a unit of that name exists
   75  the deadline passed
   77  access denied
  126  run: CMD cannot be executed
  127  run: CMD is not found
run ends with CMD's own status once CMD has started.

Environment:
  UNITWAIT_LOG   what the library logs to stderr: error, warn, info, debug or trace";

const RUN_NOTES: &str = "\
CMD inherits the environment, the working directory and all open files, and keeps this process's PID. It does not
start unless it is in the scope. SIGPIPE is at its default for CMD. stdout is CMD's: with --json the object about the scope goes to stderr.
Limits that the kernel does not hold are told on stderr; --require-limits makes them an error.
The exit status is CMD's own, or one of those in `unitwait --help`.";

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
    /// Give up after this long, all in all: 10s, 500ms, 2min
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Print one JSON object; errors too, on stderr (where -v puts its own lines beside)
    #[arg(long, global = true)]
    pub json: bool,
    /// Tell each stage on stderr as it passes, with its time
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Place this process in a new scope, wait for its job, and become CMD
    Run(Run),
    /// Place running processes in a new scope and wait for its job
    Create(Create),
    /// Stop units, all at once, and wait until their processes are gone
    Stop(Units),
    /// Send a signal to units' processes
    Kill(Kill),
    /// Show units: state, control group, processes, limits; status 71 where one is not loaded
    Status(Units),
    /// Compare what systemd says of units with what the kernel holds; status 1 where they differ
    Audit(Units),
    /// List the loaded units
    List(List),
    /// Say what this machine has, and what to do about what is wrong; status 69 where nothing can be done here
    Doctor,
}

#[derive(Debug, Args)]
pub struct ScopeOptions {
    /// The scope's name, with or without `.scope`; a unique one where none is given
    #[arg(long, value_name = "NAME", value_parser = utf8())]
    pub unit: Option<String>,
    /// The slice it is to be in, with or without `.slice`
    #[arg(long, value_name = "SLICE", value_parser = utf8(), allow_hyphen_values = true)]
    pub slice: Option<String>,
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
pub struct Units {
    /// Names; one without a dot is a scope's
    #[arg(required = true, value_name = "UNIT", value_parser = utf8())]
    pub units: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Kill {
    /// The signal, by name or number
    #[arg(short, long, default_value = "TERM", value_parser = signal)]
    pub signal: i32,
    /// Which of a unit's processes
    #[arg(long, alias = "whom", value_name = "WHOM", value_enum, default_value_t = Whom::All)]
    pub kill_whom: Whom,
    #[command(flatten)]
    pub units: Units,
}

#[derive(Debug, Args)]
pub struct List {
    /// Shell patterns; `*.scope` and `*.slice` where none is given
    #[arg(value_name = "PATTERN", value_parser = utf8())]
    pub patterns: Vec<String>,
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
        assert_eq!((global.timeout, global.json, global.verbose), (Duration::from_secs(1), true, false));
        assert!(matches!(command, Command::Run(run) if run.command == ["ls", "--json", "-v"]));
        assert!(Arguments::try_parse_from(["unitwait", "run", "--unti", "x", "ls"]).is_err());
        let zero = Arguments::try_parse_from(["unitwait", "doctor", "--timeout", "0"]).unwrap();
        assert_eq!(zero.global.timeout, Duration::ZERO);
    }
}
