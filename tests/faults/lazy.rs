//! A manager that is opened lazily: the first request goes out with what opening asks, and finds out what opening would.

use std::time::Duration;

use unitwait::{Deadline, Error, Manager, Spread, Stage, UnitJob};

use crate::bus::Directory;
use crate::manager::{Call, MANAGER_PATH};
use crate::transport::Silence;
use crate::world::{LONG, World, by, scope};

const SHORT: Duration = Duration::from_millis(300);

#[test]
fn the_first_request_is_asked_before_systemd_has_answered_anything() {
    World::both(|world| {
        world.script.answer_opens(false);
        let manager =
            by(Duration::ZERO, || world.builder().lazy(true).open(LONG)).expect("nothing is waited for");
        let creation = manager.submit(&scope("a.scope"), LONG).unwrap();
        let told = [world.script.next("Get"), world.script.next("Get")];
        world.script.next("StartTransientUnit").carry_out();
        // The group in which it is to be looked for is not known yet, and is asked for by itself.
        let root = world.script.next("Get");
        assert_eq!(root.path, MANAGER_PATH);
        root.text("/");
        assert_eq!(creation.wait(Deadline::Default).unwrap().unit(), "a.scope");
        assert_eq!(manager.version(), "");
        told.iter().for_each(|call: &Call| call.text("252 (late)"));
        world.script.answer_opens(true);
        manager.property("a.scope", "SubState", LONG).expect("what was sent before is answered before");
        assert_eq!(manager.version(), "252 (late)");
    });
}

#[test]
fn a_deadline_that_comes_while_it_is_asked_where_to_look_is_one_of_a_unit_that_is_there() {
    World::both(|world| {
        world.script.answer_opens(false);
        let manager = world.builder().lazy(true).open(LONG).unwrap();
        let creation = manager.submit(&scope("a.scope"), LONG).unwrap();
        let _told = [world.script.next("Get"), world.script.next("Get")];
        world.script.next("StartTransientUnit").carry_out();
        let root = world.script.next("Get");
        let late = by(SHORT, || creation.wait(SHORT)).unwrap_err();
        assert!(late.is_timeout() && late.job().is_some(), "{late:?}");
        assert_eq!(manager.stats().unwrap().late, 1);
        root.text("/");
        manager.property("a.scope", "SubState", LONG).expect("what was sent before is answered before");
        let stats = manager.stats().unwrap();
        assert_eq!((stats.requests, stats.settling), (2, 0), "what opening asks is left: {stats:?}");
    });
}

#[test]
fn a_slice_is_not_counted_before_it_is_known_where_it_is() {
    World::both(|world| {
        world.script.answer_opens(false);
        let manager = world.builder().lazy(true).open(LONG).unwrap();
        let spread = scope("a.scope").slice("jobs.slice").spread(Spread::Auto);
        let refusal = by(SHORT, || manager.submit(&spread, SHORT).map(drop)).unwrap_err();
        assert!(matches!(refusal, Error::Timeout { .. }), "{refusal:?}");
        assert_eq!(refusal.asked().and_then(|asked| asked.unit.as_deref()), Some("a.scope"));
        // What opening asks, and what the submission did.
        for _ in 0..3 {
            world.script.next("Get").text("/");
        }
        manager.property("a.scope", "SubState", LONG).expect("what was sent before is answered before");
        let creation = manager.submit(&spread, LONG).unwrap();
        world.script.next("StartTransientUnit").carry_out();
        assert_eq!(creation.wait(Deadline::Default).unwrap().spread(), Some(1));
    });
}

#[test]
fn what_opening_would_have_said_is_said_by_the_first_request() {
    let nowhere = format!("unix:path={}", Directory::new().join("nobody").display());
    let stop = UnitJob::stop("a.scope");
    for direct in [false, true] {
        let open = |address: &str| {
            by(Duration::ZERO, || Manager::builder().at(address).direct(direct).lazy(true).open(LONG))
        };
        let nobody = open(&nowhere).unwrap();
        let refusal = by(Duration::ZERO, || nobody.submit(&stop, LONG).unwrap().wait(Deadline::Default));
        assert!(matches!(refusal, Err(Error::Connect { .. })), "{refusal:?}");
        let silence = Silence::new();
        let silent = open(&silence.address()).unwrap();
        let late = by(SHORT, || silent.submit(&stop, SHORT).unwrap().wait(Deadline::Default));
        assert!(matches!(late, Err(Error::Timeout { stage: Stage::Connect | Stage::Call, .. })), "{late:?}");
    }
    let nonsense = Manager::builder().at("nonsense").lazy(true).open(LONG);
    assert!(nonsense.is_err_and(|error| error.is_invalid_input()));
}
