//! A manager that refuses or forgets what is asked of a living unit.

use std::thread;
use std::time::Duration;

use unitwait::{ActiveSlice, Error, Slice, Stage};

use crate::world::{LONG, World, by};

fn living(world: &World) -> ActiveSlice {
    let creating = world.script.serve(|call| call.carry_out());
    let slice = Slice::new("living.slice").verify(false);
    let active = world.manager.create_slice(&slice, LONG).expect("the manager makes it");
    drop(creating);
    active
}

/// The error of a freezing that the manager refuses with this name.
fn refused(world: &World, active: &ActiveSlice, name: &str) -> Error {
    thread::scope(|threads| {
        let asking = threads.spawn(|| by(Duration::ZERO, || active.freeze(LONG)));
        world.script.next("Freeze").error(name, "so it is");
        asking.join().expect("it returns").expect_err(name)
    })
}

#[test]
fn each_refusal_to_freeze_has_its_own_variant() {
    World::both(|world| {
        let active = living(&world);
        let refused = |name: &str| refused(&world, &active, name);
        for name in ["org.freedesktop.DBus.Error.NotSupported", "org.freedesktop.systemd1.FrozenByParent"] {
            match refused(name) {
                Error::Unsupported { reason, .. } => assert!(reason.contains("so it is"), "{reason}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        let inactive = refused("org.freedesktop.systemd1.UnitInactive");
        assert!(matches!(inactive, Error::NoSuchUnit { .. }), "{inactive:?}");
        // The same could be under way for another, and is not.
        for name in ["org.freedesktop.systemd1.UnitBusy", "org.freedesktop.DBus.Error.Failed"] {
            let busy = refused(name);
            assert_eq!(busy.dbus_name(), Some(name), "{busy:?}");
        }
    });
}

#[test]
fn an_answer_is_not_believed_where_the_kernel_has_nothing_frozen() {
    World::both(|world| {
        let active = living(&world);
        let freezing = world.script.serve(|call| call.answer(|reply| reply));
        let told = by(Duration::ZERO, || active.freeze(LONG));
        assert!(matches!(told, Err(Error::Unsupported { .. })), "{told:?}");
        drop(freezing);
    });
}

#[test]
fn a_freezing_that_is_never_answered_is_a_timeout_that_says_so() {
    World::both(|world| {
        let active = living(&world);
        let deadline = Duration::from_millis(200);
        let late = by(deadline, || active.thaw(deadline)).unwrap_err();
        assert_eq!((late.is_timeout(), late.stage()), (true, Some(Stage::Call)));
        world.script.next("Thaw").answer(|reply| reply);
        assert_eq!(world.settle().timed_out, 1);
    });
}
