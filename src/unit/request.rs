//! The choices that requests share: what to do where the unit exists, and whom a signal is for.

/// What to do where a unit of the asked name exists already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnExists {
    /// Answer [`Error::UnitExists`](crate::Error::UnitExists) at once. A failed leftover is reset, and the
    /// request tried once more.
    #[default]
    Fail,
    /// Scopes: attach the processes to the running unit. It must be delegated, unless they are in it already.
    Join,
    /// Stop what is there, reset it, and create the unit anew, all inside the one deadline.
    Replace,
    /// Slices: take what is there; it is started where it is not active.
    Accept,
}

/// Which processes of a unit a signal is for.
///
/// Source: `org.freedesktop.systemd1(5)`, `KillUnit()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KillWhom {
    /// All of them.
    #[default]
    All,
    /// The main process (services).
    Main,
    /// The control process (services).
    Control,
}

impl KillWhom {
    /// systemd's own word for it.
    ///
    /// ```
    /// assert_eq!(unitwait::KillWhom::All.as_str(), "all");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            KillWhom::All => "all",
            KillWhom::Main => "main",
            KillWhom::Control => "control",
        }
    }
}
