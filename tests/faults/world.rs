//! What nearly every test begins with: a scripted manager, and a handle to it.

use std::sync::{Mutex, Once, PoisonError};
use std::time::Instant;

use unitwait::{Builder, Manager, Scope, Stats};

use crate::bus::{Bus, Directory};
use crate::manager::Script;
pub use crate::support::{LONG, MARGIN, Raise, Sleeper, by};

/// A scripted manager and a handle to it; dropped in this order.
pub struct World {
    pub manager: Manager,
    pub script: Script,
    pub place: Place,
}

pub enum Place {
    Bus(Bus),
    Socket(Directory),
}

impl World {
    pub fn on_bus() -> World {
        World::on(Bus::start())
    }

    pub fn on(bus: Bus) -> World {
        let script = Script::on(&bus);
        let place = Place::Bus(bus);
        World { manager: open(place.builder()), script, place }
    }

    /// With no bus between.
    pub fn direct() -> World {
        let directory = Directory::new();
        let script = Script::listen(&directory.join("private"));
        let place = Place::Socket(directory);
        World { manager: open(place.builder()), script, place }
    }

    /// The same test with a bus between and without.
    pub fn both(test: impl Fn(World)) {
        for (name, world) in [("on a bus", World::on_bus()), ("direct", World::direct())] {
            println!("{name}:");
            test(world);
        }
    }

    /// Options for another handle to the same manager.
    pub fn builder(&self) -> Builder {
        self.place.builder()
    }

    pub fn bus(&mut self) -> &mut Bus {
        match &mut self.place {
            Place::Bus(bus) => bus,
            Place::Socket(_) => panic!("this world has no bus"),
        }
    }

    /// Another manager takes the name, once the bus has been away; it is prepared before it can be asked anything.
    pub fn script_anew(&mut self, prepare: impl FnOnce(&Script)) {
        self.script = Script::nameless(self.bus());
        prepare(&self.script);
        self.script.take_name();
    }

    pub fn stats(&self) -> Stats {
        self.manager.stats().expect("the driver lives")
    }

    /// Asks something that the manager answers by itself: all that was sent before it has then arrived there, and
    /// all that it had sent before has arrived here.
    pub fn round_trip(&self) {
        self.manager.property("any.scope", "SubState", LONG).expect("the manager answers");
    }

    /// Waits until the driver has nothing left to do.
    pub fn settle(&self) -> Stats {
        let end = Instant::now() + LONG;
        loop {
            self.round_trip();
            let stats = self.stats();
            if stats.requests + stats.settling + stats.in_flight + stats.queued == 0 {
                return stats;
            }
            assert!(Instant::now() < end, "still not settled: {stats:?}");
        }
    }
}

impl Place {
    pub fn builder(&self) -> Builder {
        match self {
            Place::Bus(bus) => Manager::builder().at(bus.address()),
            Place::Socket(directory) => {
                let address = format!("unix:path={}", directory.join("private").display());
                Manager::builder().at(address).direct(true)
            }
        }
    }
}

pub fn open(builder: Builder) -> Manager {
    builder.open(LONG).expect("the scripted manager lets itself be opened")
}

/// A scope for the process that started the tests, with no look at the kernel: the scripted manager moves nobody.
pub fn scope(name: &str) -> Scope {
    // Not this one, which is named by its number whatever the manager knows.
    Scope::new(name).pid(std::os::unix::process::parent_id()).verify(false)
}

struct Recorder;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl log::Log for Recorder {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        metadata.level() <= log::Level::Info
    }

    fn log(&self, record: &log::Record) {
        if self.enabled(record.metadata()) {
            LINES.lock().unwrap_or_else(PoisonError::into_inner).push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// From now on, what the driver logs is kept.
pub fn record_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Recorder).expect("no other logger");
        log::set_max_level(log::LevelFilter::Info);
    });
}

/// The logged lines that speak of something.
pub fn logged(of: &str) -> Vec<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().filter(|line| line.contains(of)).cloned().collect()
}
