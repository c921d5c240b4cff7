//! A limit that does not hold, and why, in fields and in words.

use std::fmt;
use std::path::PathBuf;

/// A limit that was asked for and that the kernel does not hold, or is not known to.
///
/// A limit here is a property of `systemd.resource-control(5)` that a control group's controller enforces:
/// every one of memory, tasks, CPU, I/O, CPU and memory node sets and devices, those of older and newer
/// systemds included. Not looked at, because no controller and no file of the kernel stands behind them:
/// rules on network addresses, sockets and interfaces and other BPF programs (`IPAddressDeny`,
/// `SocketBindDeny`, `RestrictNetworkInterfaces`, `BPFProgram`, `NFTSet`), what systemd-oomd does
/// (`ManagedOOMSwap`, …) and what systemd itself does (`RuntimeMaxUSec`, `ConcurrencyHardMax`); and
/// accounting and pressure settings, which limit nothing.
///
/// A limit of the startup phase (`StartupCPUWeight`) shares its file with the one for any other time. It
/// holds where the file has either of the two.
///
/// ```
/// use unitwait::{GapReason, LimitGap};
///
/// fn is_for_want_of_a_controller(gap: &LimitGap) -> bool {
///     matches!(gap.reason, GapReason::NoController(_) | GapReason::NotEnabled)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitGap {
    /// The property by its name on D-Bus.
    pub property: String,
    /// What was asked for, as the property has it.
    pub asked: String,
    /// What the kernel has, where it has anything.
    pub found: Option<String>,
    /// The kernel's file, where the layout has one.
    pub file: Option<PathBuf>,
    /// Why it does not hold.
    pub reason: GapReason,
}

/// Why a limit does not hold, or is not known to.
///
/// ```
/// use unitwait::GapReason;
///
/// let reason = GapReason::NoController("memory".into());
/// assert_ne!(reason, GapReason::NotEnabled);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// The kernel has this controller in no hierarchy here that systemd sets limits in: cgroup v2 in unified
    /// mode, cgroup v1 in the others.
    NoController(String),
    /// On cgroup v1, where this controller is, there is no such limit, or systemd does not set it.
    NotInLegacy(String),
    /// The unit's control group has no such file: the controller is not enabled for it.
    NotEnabled,
    /// The controller is enabled for the unit, and the kernel was built or booted without this file of it.
    NoFile,
    /// No file is known in which the kernel shows it, so nobody can see whether it holds: device rules, what
    /// a unit hands on to units below it (`DefaultMemoryLow`), and limits that are newer than this library.
    NotShown,
    /// The unit does not run, and so has no control group; it gets the limit when it starts.
    NotRunning,
    /// The kernel holds something else.
    Differs,
    /// The file could not be read, in the operating system's words.
    Unreadable(String),
}

impl fmt::Display for LimitGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: asked {}, ", self.property, self.asked)?;
        match (&self.reason, &self.found) {
            (GapReason::NoController(name), _) => write!(f, "no {name} controller is here"),
            (GapReason::NotInLegacy(name), _) => {
                write!(f, "systemd sets no such limit on cgroup v1, where the {name} controller is")
            }
            (GapReason::NotEnabled, _) => f.write_str("the controller is not enabled for the unit"),
            (GapReason::NoFile, _) => f.write_str("this kernel's controller has no such limit"),
            (GapReason::NotShown, _) => f.write_str("no file of the kernel shows whether it holds"),
            (GapReason::NotRunning, _) => f.write_str("the unit does not run, and gets it when it starts"),
            (GapReason::Unreadable(why), _) => write!(f, "the kernel's file cannot be read: {why}"),
            (GapReason::Differs, Some(found)) if !found.is_empty() => {
                write!(f, "the kernel has {}", found.replace('\n', ", "))
            }
            (GapReason::Differs, _) => f.write_str("the kernel has none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_says_in_one_line_what_the_kernel_has_in_place_of_what_was_asked_for() {
        let told = |found: Option<&str>, reason| {
            let gap = LimitGap {
                property: "IOReadBandwidthMax".into(),
                asked: "/dev/sda 1048576".into(),
                found: found.map(String::from),
                file: Some("/sys/fs/cgroup/x.scope/io.max".into()),
                reason,
            };
            gap.to_string().split_once(", ").map(|(_, told)| told.to_string()).unwrap()
        };
        assert_eq!(
            told(Some("8:0 rbps=1\n8:16 rbps=2"), GapReason::Differs),
            "the kernel has 8:0 rbps=1, 8:16 rbps=2"
        );
        assert_eq!(told(Some(""), GapReason::Differs), "the kernel has none");
        assert_eq!(told(None, GapReason::NoController("io".into())), "no io controller is here");
        assert!(
            told(None, GapReason::NotInLegacy("blkio".into())).contains("v1, where the blkio controller is")
        );
        assert!(told(None, GapReason::NotShown).contains("no file"));
    }
}
