//! Which manager to open, and how.

use std::env;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::spreads::Spreads;
use super::ticket::Ticket;
use super::{Inner, Manager};
use crate::cgroup::CgroupLayout;
use crate::deadline::Deadline;
use crate::driver::{Driver, Endpoint, PidfdsUnknown, Single, Site, Success};
use crate::error::{Asked, Error, Operation, Result};
use crate::systemd1::Call;
use crate::unit::Value;

const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";
const SYSTEM_PRIVATE: &str = "unix:path=/run/systemd/private";

/// Below dbus-daemon's limit of 128 pending replies for a connection, with room for the driver's own calls.
const WINDOW: usize = 96;

#[derive(Clone, Debug)]
enum Target {
    System,
    User,
    Private,
    At(String),
}

/// Options for opening a [`Manager`]; made by [`Manager::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    target: Target,
    direct: Option<bool>,
    default_timeout: Duration,
    window: usize,
    thread_name: String,
    lazy: bool,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            target: Target::System,
            direct: None,
            default_timeout: Duration::from_secs(30),
            window: WINDOW,
            thread_name: "unitwait-dbus".into(),
            lazy: false,
        }
    }
}

impl Builder {
    /// The system manager, over the system bus (`DBUS_SYSTEM_BUS_ADDRESS`, else its usual socket). So it is where
    /// nothing is said.
    ///
    /// ```no_run
    /// use unitwait::{Deadline, Manager};
    ///
    /// let manager = Manager::builder().system().open(Deadline::Default)?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    #[must_use]
    pub fn system(mut self) -> Builder {
        self.target = Target::System;
        self
    }

    /// The calling user's own manager, over the user's bus (`DBUS_SESSION_BUS_ADDRESS`, else
    /// `$XDG_RUNTIME_DIR/bus`).
    ///
    /// ```no_run
    /// use unitwait::{Deadline, Manager};
    ///
    /// let manager = Manager::builder().user().open(Deadline::Default)?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    #[must_use]
    pub fn user(mut self) -> Builder {
        self.target = Target::User;
        self
    }

    /// The system manager over its own socket, `/run/systemd/private`, with no bus between. Root only.
    ///
    /// ```no_run
    /// use unitwait::{Deadline, Manager};
    ///
    /// let manager = Manager::builder().private().open(Deadline::Default)?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    #[must_use]
    pub fn private(mut self) -> Builder {
        self.target = Target::Private;
        self
    }

    /// The manager at a D-Bus address, a bus unless its path ends in `systemd/private`.
    ///
    /// ```no_run
    /// use unitwait::{Deadline, Manager};
    ///
    /// let in_container = "unix:path=/proc/4711/root/run/dbus/system_bus_socket";
    /// let manager = Manager::builder().at(in_container).open(Deadline::Default)?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    #[must_use]
    pub fn at(mut self, address: impl Into<String>) -> Builder {
        self.target = Target::At(address.into());
        self
    }

    /// Whether the manager itself listens at the address, rather than a bus.
    ///
    /// ```no_run
    /// use unitwait::{Deadline, Manager};
    ///
    /// let forwarded = "unix:path=/tmp/systemd-of-guest.sock";
    /// let manager = Manager::builder().at(forwarded).direct(true).open(Deadline::Default)?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    #[must_use]
    pub fn direct(mut self, direct: bool) -> Builder {
        self.direct = Some(direct);
        self
    }

    /// What [`Deadline::Default`] stands for; 30 seconds where nothing is said.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use unitwait::{Deadline, Manager};
    ///
    /// let manager = Manager::builder().default_timeout(Duration::from_secs(5)).open(Deadline::Default)?;
    /// manager.stop_unit("job.scope", Deadline::Default)?; // within five seconds
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    #[must_use]
    pub fn default_timeout(mut self, timeout: Duration) -> Builder {
        self.default_timeout = timeout;
        self
    }

    /// How many calls are in flight at the most, at least 1; the rest wait in line. 96 where nothing is said:
    /// dbus-daemon's system bus allows 128 pending replies.
    ///
    /// ```no_run
    /// use unitwait::{Deadline, Manager};
    ///
    /// let manager = Manager::builder().window(16).open(Deadline::Default)?;
    /// assert_eq!(manager.stats()?.window, 16);
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    #[must_use]
    pub fn window(mut self, calls: usize) -> Builder {
        self.window = calls;
        self
    }

    /// The name of the dbus thread, as debuggers and `top -H` show it; the kernel keeps 15 bytes. `unitwait-dbus`
    /// where nothing is said; [`open`](Builder::open) refuses one with a NUL byte.
    ///
    /// ```
    /// use unitwait::{Deadline, Manager};
    ///
    /// let builder = Manager::builder().at("unix:path=/nowhere").thread_name("NUL\0");
    /// assert!(builder.open(Deadline::Default).unwrap_err().is_invalid_input());
    /// ```
    #[must_use]
    pub fn thread_name(mut self, name: impl Into<String>) -> Builder {
        self.thread_name = name.into();
        self
    }

    /// Whether [`open`](Builder::open) leaves it to the first request to find out whether a systemd answers. That request
    /// then takes a round trip less: for a program that makes one, and ends or becomes another.
    ///
    /// Nothing but the wait is left out: `open` does not block, and its errors of the connection are the first request's
    /// in its place. [`Manager::version`] is empty until systemd has answered, and a scope with
    /// [`Spread::Auto`](crate::Spread::Auto) waits for that when it is submitted. A fork right after `open` may come while
    /// another thread connects, and leave libdbus unusable in the child.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use unitwait::{Deadline, Manager, Scope};
    ///
    /// let manager = Manager::builder().lazy(true).open(Deadline::Default)?;
    /// let scope = manager.create_scope(&Scope::new("job.scope").own_process(), Duration::from_secs(5))?;
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    #[must_use]
    pub fn lazy(mut self, lazy: bool) -> Builder {
        self.lazy = lazy;
        self
    }

    /// Opens the manager: connects, and sees that a systemd answers.
    ///
    /// Blocks until then or until the deadline, unless it is [lazy](Builder::lazy). Errors: [`Error::InvalidInput`] for an
    /// address or thread name that is none, [`Error::Connect`] where nobody listens, refuses, or no systemd is on the bus,
    /// [`Error::AccessDenied`], [`Error::Timeout`], [`Error::System`].
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// let manager = unitwait::Manager::builder().private().open(Duration::from_secs(2))?;
    /// println!("systemd {}", manager.version());
    /// # Ok::<(), unitwait::Error>(())
    /// ```
    pub fn open(self, deadline: impl Into<Deadline>) -> Result<Manager> {
        let deadline = deadline.into().instant(Instant::now(), self.default_timeout);
        let (endpoint, links) = self.endpoint()?;
        if self.thread_name.contains('\0') {
            return Err(Error::invalid("thread name", self.thread_name, "it has a NUL byte"));
        }
        let driver = Arc::new(Driver::start(endpoint.clone(), self.window, &self.thread_name)?);
        let (version, root) = <(Told, Told)>::default();
        let asked = Asked::new(Operation::Open, None);
        let answers = [("Version", &version), ("ControlGroup", &root)]
            .map(|(property, told)| ask(&driver, &asked, property, deadline, told));
        // While the manager answers.
        let layout = CgroupLayout::detect()
            .map_err(|source| Error::System { doing: "find the control group hierarchies", source })?;
        if !self.lazy {
            answers.into_iter().try_for_each(|answer| answer?.wait(Deadline::Default))?;
        }
        let (layout, pidfds_unknown) = (Arc::new(layout), PidfdsUnknown::default());
        Ok(Manager(Arc::new(Inner {
            version,
            site: Arc::new(Site { root, links, layout, pidfds_unknown }),
            driver,
            endpoint,
            default_timeout: self.default_timeout,
            spreads: Spreads::default(),
        })))
    }

    /// Where to connect, and where that manager keeps the links that tell a unit's invocation ID.
    fn endpoint(&self) -> Result<(Endpoint, Option<PathBuf>)> {
        let runtime_dir = || env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        // An empty one says nothing, as everywhere in D-Bus.
        let address_in = |name| env::var(name).ok().filter(|address| !address.is_empty());
        let (address, links) = match &self.target {
            Target::System => {
                let address = address_in("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(|| SYSTEM_BUS.into());
                (address, Some(PathBuf::from("/run/systemd/units")))
            }
            Target::Private => (SYSTEM_PRIVATE.into(), Some(PathBuf::from("/run/systemd/units"))),
            Target::User => {
                let bus = || runtime_dir().map(|dir| format!("unix:path={}", dir.join("bus").display()));
                let address = address_in("DBUS_SESSION_BUS_ADDRESS").or_else(bus).ok_or_else(|| {
                    let reason = "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set";
                    Error::Connect { address: "the user's bus".into(), reason: reason.into() }
                })?;
                (address, runtime_dir().map(|dir| dir.join("systemd/units")))
            }
            Target::At(address) => (address.clone(), None),
        };
        if address.is_empty() || address.contains('\0') || !address.contains(':') {
            let reason = "a D-Bus address looks like `unix:path=/run/dbus/system_bus_socket`";
            return Err(Error::invalid("address", address, reason));
        }
        let direct = self.direct.unwrap_or_else(|| address.ends_with("systemd/private"));
        Ok((Endpoint { address, direct }, links))
    }
}

impl Inner {
    /// The manager's own control group. Blocks, until the deadline, where it has not told that yet.
    pub(super) fn root(&self, asked: &Asked, deadline: Instant) -> Result<&str> {
        let root = &self.site.root;
        if root.get().is_none() {
            ask(&self.driver, asked, "ControlGroup", deadline, root)?.wait(Deadline::Default)?;
        }
        Ok(root.get().map_or("", String::as_str))
    }
}

/// What the manager tells of itself, once it has.
type Told = Arc<OnceLock<String>>;

/// Reads one text of the manager's own properties.
fn ask(
    driver: &Arc<Driver>,
    asked: &Asked,
    property: &str,
    deadline: Instant,
    told: &Told,
) -> Result<Ticket<()>> {
    let plan = Box::new(Single { asked: asked.clone(), call: Call::of_manager(property) });
    let (asked, told) = (asked.clone(), Arc::clone(told));
    let finish = move |success, _| match text(success) {
        Some(text) => {
            told.get_or_init(|| text);
            Ok(())
        }
        None => Err(Error::Protocol { asked, reason: "the manager's property is not a text".into() }),
    };
    Ticket::submit(driver, plan, deadline, Box::new(finish))
}

fn text(success: Success) -> Option<String> {
    match success {
        Success::Answer(mut values) => match values.pop()? {
            Value::Variant(value) => value.as_str().map(Into::into),
            _ => None,
        },
        _ => None,
    }
}
