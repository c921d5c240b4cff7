//! Every order of events, from a seed: long lives of one router, in which one number decides who asks what, what
//! systemd does, and every fault. A failure prints the seed and the shortest trace that still fails.
//!
//! `UNITWAIT_SEED=N cargo test --lib simulation` replays one life; `UNITWAIT_STEPS=N` sets how much is lived.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use super::world::{self, Ask, Peer, Way, World};

const STEPS: u64 = 2_000_000;
const LIFE: usize = 400;

#[derive(Clone, Debug)]
enum Event {
    Submit(Ask, u8, u64),
    Handle(usize, Way),
    Release(usize),
    EndJob(usize, bool, Way),
    Exit(u8),
    Forge(usize, u32),
    ChangeOwner,
    BeginAnew,
    Disconnect,
    Connect(bool),
    Pass(u64),
    Oversleep(u64),
    Leave(u64),
}

/// What is likely in this life. In some nothing goes wrong but the order, so that faults hide no bug.
struct Nature {
    rng: fastrand::Rng,
    faults: u32,
    callers: u64,
}

impl Nature {
    fn way(&mut self, ways: &[Way]) -> Way {
        if self.rng.u32(..100) < self.faults { ways[self.rng.usize(..ways.len())] } else { Way::Sound }
    }

    fn event(&mut self) -> Event {
        let (faults, at) = (self.faults, self.rng.usize(..8));
        match self.rng.u32(..100) {
            0..24 => {
                self.callers += 1;
                let asks = [
                    Ask::Create,
                    Ask::Create,
                    Ask::Stop,
                    Ask::Stop,
                    Ask::Replace,
                    Ask::Read,
                    Ask::Wait,
                    Ask::Start,
                ];
                let ask = asks[self.rng.usize(..asks.len())];
                // Some wait for longer than what is late is followed.
                let longest = if self.rng.u32(..8) == 0 { world::PATIENCE } else { 300 };
                Event::Submit(ask, self.rng.u8(..6), self.rng.u64(..longest))
            }
            24..52 => Event::Handle(
                at,
                self.way(&[Way::Twice, Way::Lost, Way::Held, Way::Garbled, Way::Denied, Way::NoRoom]),
            ),
            52..58 => Event::Release(at),
            58..78 => Event::EndJob(at, self.rng.u32(..10) < 8, self.way(&[Way::Twice, Way::Lost])),
            78..82 => Event::Forge(at, self.rng.u32(..40)),
            82..84 if faults > 0 => Event::ChangeOwner,
            84..86 if faults > 0 && at < 3 => Event::BeginAnew,
            84..86 if faults > 0 => Event::Disconnect,
            84..86 => Event::Exit(self.rng.u8(..6)),
            86..90 => Event::Connect(self.rng.u32(..100) >= faults),
            90..92 => Event::Leave(self.rng.u64(..=self.callers)),
            // About as long as nothing is to be asked before the driver rests.
            92 => match self.rng.u64(29_900..30_100) {
                millis if self.rng.bool() => Event::Oversleep(millis),
                millis => Event::Pass(millis),
            },
            93 => Event::Oversleep(self.rng.u64(..40)),
            _ => Event::Pass(self.rng.u64(..40)),
        }
    }
}

/// What a life is lived in.
#[derive(Clone, Copy, Debug)]
struct Setting {
    window: usize,
    peer: Peer,
}

fn life(seed: u64) -> (Setting, Vec<Event>) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (window, length) = (rng.usize(1..6), rng.usize(1..2 * LIFE));
    let faults = [0, 5, 20, 50][rng.usize(..4)];
    let mut nature = Nature { rng, faults, callers: 0 };
    let setting =
        Setting { window, peer: [Peer::Bus, Peer::SlowBus, Peer::Bus, Peer::Systemd][seed as usize % 4] };
    (setting, (0..length).map(|_| nature.event()).collect())
}

fn live(setting: Setting, events: &[Event]) {
    let mut world = World::with(setting.window, setting.peer);
    for event in events {
        match *event {
            Event::Submit(ask, unit, wait) => drop(world.submit(ask, &world::unit(unit), wait)),
            Event::Handle(at, way) => drop(world.handle_by(at, way)),
            Event::Release(at) => world.release(at),
            Event::EndJob(at, well, way) => world.end_job_by(at, well, way),
            Event::Exit(unit) => world.exit(&world::unit(unit)),
            Event::Forge(what, number) => world.forge(what, number),
            Event::ChangeOwner => world.change_owner(),
            Event::BeginAnew => world.begin_anew(),
            Event::Disconnect => world.disconnect(),
            Event::Connect(well) => world.connect(well),
            Event::Pass(millis) => world.pass(millis),
            Event::Oversleep(millis) => world.oversleep(millis),
            Event::Leave(caller) => world.abandon(caller),
        }
    }
    world.settle();
}

fn fails(setting: Setting, events: &[Event]) -> Option<String> {
    let failure = catch_unwind(AssertUnwindSafe(|| live(setting, events))).err()?;
    let text = failure.downcast_ref::<String>().cloned();
    Some(text.or_else(|| failure.downcast_ref::<&str>().map(|text| text.to_string())).unwrap_or_default())
}

/// Leaves out all that is not needed to fail, in ever smaller pieces.
fn shortest(setting: Setting, mut events: Vec<Event>) -> Vec<Event> {
    let mut piece = events.len().div_ceil(2);
    loop {
        let before = events.len();
        let mut at = 0;
        while at < events.len() {
            let mut fewer = events.clone();
            fewer.drain(at..events.len().min(at + piece));
            if fails(setting, &fewer).is_some() {
                events = fewer;
            } else {
                at += piece;
            }
        }
        if piece == 1 && events.len() == before {
            return events;
        }
        piece = piece.div_ceil(2).max(1);
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The invariants of the design hold after every step of every life: see what [`World`] asserts.
#[test]
fn simulation_of_every_order_from_a_seed() {
    let one = number("UNITWAIT_SEED");
    let wanted = number("UNITWAIT_STEPS").unwrap_or(STEPS);
    let hook = take_hook();
    set_hook(Box::new(|_| ()));
    let (mut steps, mut lives, mut failure) = (0, 0, None);
    for seed in one.unwrap_or(0).. {
        let (setting, events) = life(seed);
        if fails(setting, &events).is_some() {
            let events = shortest(setting, events);
            failure = fails(setting, &events).map(|why| (seed, setting, events, why));
            break;
        }
        steps += events.len() as u64;
        lives += 1;
        if one.is_some() || steps >= wanted {
            break;
        }
    }
    set_hook(hook);
    if let Some((seed, setting, events, why)) = failure {
        panic!(
            "{why}\n{setting:?}, shortest trace:\n{events:#?}\n\
             replay: UNITWAIT_SEED={seed} cargo test --lib simulation"
        );
    }
    println!("{steps} steps in {lives} lives");
}
