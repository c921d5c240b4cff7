//! PID 1 is stopped, and units live on: what the kernel alone knows and does needs no systemd, and what needs one
//! returns by its deadline.

use std::thread;
use std::time::Duration;

use unitwait::{Error, Scope, Slice, Stage};

use crate::sandbox::{
    LONG, Silence, Sleeper, both_ways, by_deadline, eventually, name, over_the_bus, settled,
};

const SHORT: Duration = Duration::from_millis(400);

#[test]
fn who_is_in_a_unit_and_when_it_is_empty_is_known_while_systemd_is_stopped() {
    let manager = over_the_bus();
    let slice = name("quiet").replace(".scope", ".slice").replace('-', "_");
    let holder = manager.create_slice(&Slice::new(&slice), LONG).unwrap();
    let process = Sleeper::new();
    let pid = process.pid();
    let active = manager.create_scope(&Scope::new(name("quiet")).pid(pid).slice(&slice), LONG).unwrap();
    let silence = Silence::fall();
    assert_eq!(by_deadline(SHORT, |_| active.processes()).unwrap(), [pid]);
    assert_eq!(by_deadline(SHORT, |_| holder.processes()).unwrap(), [pid]);
    for busy in
        [by_deadline(SHORT, |by| active.wait_empty(by)), by_deadline(SHORT, |by| holder.wait_empty(by))]
    {
        assert!(busy.as_ref().is_err_and(|error| error.stage() == Some(Stage::Verify)), "{busy:?}");
    }
    thread::scope(|threads| {
        let waiting = [threads.spawn(|| active.wait_empty(LONG)), threads.spawn(|| holder.wait_empty(LONG))];
        drop(process);
        waiting.into_iter().for_each(|wait| wait.join().unwrap().unwrap());
    });
    assert_eq!(active.processes().unwrap(), [0; 0]);
    by_deadline(SHORT, |by| active.wait_empty(by)).unwrap();
    drop(silence);
    // Now it is gone, and a handle of it says so without systemd's help, too.
    eventually("the group is removed", || (!active.path().expect("it is known").exists()).then_some(()));
    let silence = Silence::fall();
    by_deadline(SHORT, |by| active.wait_empty(by)).unwrap();
    assert_eq!(active.processes().unwrap(), [0; 0]);
    drop(silence);
    holder.stop(LONG).unwrap();
}

#[test]
fn a_scope_is_killed_while_systemd_is_stopped_and_no_later_run_of_its_name() {
    for (way, builder) in both_ways() {
        let manager = builder.open(LONG).unwrap();
        let (process, unit) = (Sleeper::stubborn(), name("dead-end"));
        let active = manager.create_scope(&Scope::new(&unit).pid(process.pid()), LONG).unwrap();
        let silence = Silence::fall();
        by_deadline(LONG, |by| active.kill_all(by)).unwrap();
        assert!(!process.lives(), "{way}");
        drop(silence);
        let later = Sleeper::new();
        let scope = Scope::new(&unit).pid(later.pid());
        let next = eventually("the name is free", || manager.create_scope(&scope, LONG).ok());
        let silence = Silence::fall();
        let refused = by_deadline(SHORT, |by| active.kill_all(by));
        assert!(matches!(refused, Err(Error::Superseded { .. })), "{way}: {refused:?}");
        by_deadline(SHORT, |by| active.wait_empty(by)).unwrap();
        drop(silence);
        assert!(later.lives(), "{way}");
        next.stop(LONG).unwrap();
    }
}

#[test]
fn every_verb_that_needs_systemd_returns_by_its_deadline_while_it_is_stopped() {
    type Verb<'a> = dyn Fn(Duration) -> Result<(), Error> + Sync + 'a;
    for (way, builder) in both_ways() {
        let manager = builder.open(LONG).unwrap();
        let (process, other, unit) = (Sleeper::new(), Sleeper::new(), name("verbs"));
        let slice = unit.replace(".scope", ".slice").replace('-', "_");
        let holder = manager.create_slice(&Slice::new(&slice), LONG).unwrap();
        let scope = Scope::new(&unit).pid(process.pid()).slice(&slice).delegate(true);
        let active = manager.create_scope(&scope, LONG).unwrap();
        let silence = Silence::fall();
        let verbs: [(&str, &Verb<'_>); 6] = [
            ("attach", &|by| active.attach([other.pid()], by)),
            ("freeze", &|by| active.freeze(by)),
            ("thaw", &|by| active.thaw(by)),
            ("freeze_unit", &|by| manager.freeze_unit(&unit, by)),
            ("thaw_unit", &|by| manager.thaw_unit(&unit, by)),
            ("kill_all of a slice", &|by| holder.kill_all(by)),
        ];
        thread::scope(|threads| {
            for (what, verb) in verbs {
                threads.spawn(move || {
                    let answer = by_deadline(SHORT, verb);
                    let stage = answer.as_ref().err().and_then(Error::stage);
                    assert_eq!(stage, Some(Stage::Call), "{way}, {what}: {answer:?}");
                });
            }
        });
        assert!(process.lives());
        drop(silence);
        settled(&manager);
        // What was asked for is carried out late, as the errors' stage says it may be: in which order, is open.
        let _ = active.thaw(LONG);
        active.kill_all(LONG).unwrap();
        holder.stop(LONG).unwrap();
    }
}
