//! The references that this connection has: one to a unit, however many requests wait for the end of its run.
//!
//! systemd counts each `Ref()` of a client, and a hundred to one unit bring that of 247 to where it throttles itself
//! and answers nobody (seen). So the first request to have its turn asks, those that come while it does wait for its
//! answer, and the last to leave gives the reference back.

use std::mem;

use super::{RequestId, Table};

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// By this request, and not answered yet.
    Asked(RequestId),
    Held,
    /// The manager was another for a moment. One that reexecuted has kept its references, one that began anew knows
    /// of none, and only its answer about a run that was there before tells them apart.
    Doubtful,
}

#[derive(Debug)]
struct Reference {
    state: State,
    holders: Table<RequestId, ()>,
    waiting: Vec<RequestId>,
}

/// What a request does at its turn to ask for a reference.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Ask,
    /// Nothing: it is there.
    Share,
    /// Nothing, until it is known whether it is there.
    Wait,
}

/// What a request leaves behind that relies on a reference no longer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Whether the reference is to be given back.
    pub is_over: bool,
    /// Those that must now ask for themselves.
    pub waiting: Vec<RequestId>,
}

/// By the paths of the units' own objects: a unit may begin another run while it is held.
#[derive(Debug, Default)]
pub(super) struct References {
    units: Table<String, Reference>,
    /// Those that were given back, each with the number of the last call before. That the manager has read of it is
    /// known once a later call is answered; what it has not read when it reexecutes is lost on it.
    unread: Vec<(u64, String)>,
}

impl References {
    pub(super) fn turn(&mut self, unit: &str, id: RequestId) -> Turn {
        let Some(reference) = self.units.get_mut(unit) else {
            let (holders, waiting) = (Table::default(), Vec::new());
            self.units.insert(unit.into(), Reference { state: State::Asked(id), holders, waiting });
            return Turn::Ask;
        };
        if reference.state == State::Held {
            reference.holders.insert(id, ());
            return Turn::Share;
        }
        reference.waiting.push(id);
        Turn::Wait
    }

    /// The reference was granted to who asked; says who else has it with that.
    pub(super) fn granted(&mut self, unit: &str, asker: RequestId) -> Vec<RequestId> {
        let Some(reference) = self.asked(unit, asker) else { return Vec::new() };
        reference.holders.insert(asker, ());
        reference.become_held()
    }

    /// The reference was not granted; says who else was waiting for it. `None` where it was not asked for.
    pub(super) fn refused(&mut self, unit: &str, asker: RequestId) -> Option<Vec<RequestId>> {
        self.asked(unit, asker)?;
        self.units.remove(unit).map(|reference| reference.waiting)
    }

    fn asked(&mut self, unit: &str, asker: RequestId) -> Option<&mut Reference> {
        self.units.get_mut(unit).filter(|reference| reference.state == State::Asked(asker))
    }

    /// The manager may be another.
    pub(super) fn doubt(&mut self) {
        let held = self.units.iter_mut().filter(|(_, reference)| reference.state == State::Held);
        held.for_each(|(_, reference)| reference.state = State::Doubtful);
    }

    /// The manager knows a run that was there before it went away; says who has the reference with that.
    pub(super) fn confirmed(&mut self, unit: &str, holder: RequestId) -> Vec<RequestId> {
        let doubtful = self.units.get_mut(unit).filter(|reference| reference.state == State::Doubtful);
        let of_holder = doubtful.filter(|reference| reference.holders.contains_key(&holder));
        of_holder.map(Reference::become_held).unwrap_or_default()
    }

    pub(super) fn leave(&mut self, unit: &str, id: RequestId) -> Left {
        let Some(reference) = self.units.get_mut(unit) else { return Left::default() };
        reference.waiting.retain(|waiting| *waiting != id);
        let had = reference.holders.remove(&id).is_some() || reference.state == State::Asked(id);
        if !had || !reference.holders.is_empty() {
            return Left::default();
        }
        let waiting = self.units.remove(unit).map(|reference| reference.waiting).unwrap_or_default();
        Left { is_over: true, waiting }
    }

    /// It was given back, after call number `sent`.
    pub(super) fn given_back(&mut self, unit: String, sent: u64) {
        self.unread.push((sent, unit));
    }

    /// The manager has answered a call: it has read all that was sent before.
    pub(super) fn answered(&mut self, number: u64) {
        self.unread.retain(|(sent, _)| *sent >= number);
    }

    /// Those that are to be given back once more.
    pub(super) fn take_unread(&mut self) -> Vec<String> {
        mem::take(&mut self.unread).into_iter().map(|(_, unit)| unit).collect()
    }

    /// With a connection, its references are gone.
    pub(super) fn clear(&mut self) {
        self.units.clear();
        self.unread.clear();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Whom a request waits for that has not asked for itself; `None` where it waits for nobody.
    #[cfg(test)]
    pub(super) fn waits_for(&self, id: RequestId) -> Option<Vec<RequestId>> {
        let reference = self.units.values().find(|reference| reference.waiting.contains(&id))?;
        Some(match reference.state {
            State::Asked(asker) => vec![asker],
            State::Held | State::Doubtful => reference.holders.keys().copied().collect(),
        })
    }
}

impl Reference {
    fn become_held(&mut self) -> Vec<RequestId> {
        self.state = State::Held;
        let waiting = mem::take(&mut self.waiting);
        for id in &waiting {
            self.holders.insert(*id, ());
        }
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = "/org/freedesktop/systemd1/unit/x_2escope";
    const IDS: [RequestId; 3] = [RequestId(1), RequestId(2), RequestId(3)];

    fn over(waiting: &[RequestId]) -> Left {
        Left { is_over: true, waiting: waiting.to_vec() }
    }

    #[test]
    fn one_asks_and_the_last_to_leave_gives_back() {
        let (mut references, [first, second, third]) = (References::default(), IDS);
        assert_eq!(references.turn(UNIT, first), Turn::Ask);
        assert_eq!(references.turn(UNIT, second), Turn::Wait);
        assert_eq!(references.granted(UNIT, first), [second]);
        assert_eq!(references.turn(UNIT, third), Turn::Share);
        for id in [first, second] {
            assert_eq!(references.leave(UNIT, id), Left::default());
        }
        assert_eq!(references.leave(UNIT, third), over(&[]));
        assert!(references.is_empty());
    }

    #[test]
    fn who_waits_for_the_answer_of_one_that_leaves_asks_for_itself() {
        let (mut references, [first, second, third]) = (References::default(), IDS);
        for id in IDS {
            references.turn(UNIT, id);
        }
        assert_eq!(references.leave(UNIT, second), Left::default());
        assert_eq!(references.leave(UNIT, first), over(&[third]), "it may have been granted unheard");
        assert_eq!(references.turn(UNIT, third), Turn::Ask);
        assert_eq!(references.refused(UNIT, first), None, "it is another's now");
        assert_eq!(references.refused(UNIT, third), Some(Vec::new()));
        assert_eq!(references.leave(UNIT, third), Left::default(), "there is nothing to give back");
    }

    #[test]
    fn what_was_given_back_to_a_manager_that_had_not_read_of_it_is_given_back_again() {
        let mut references = References::default();
        references.given_back("read".into(), 1);
        references.given_back("unread".into(), 2);
        references.answered(2);
        assert_eq!(references.take_unread(), ["unread"]);
        assert!(references.take_unread().is_empty());
    }

    #[test]
    fn after_a_manager_that_was_away_nobody_shares_until_it_is_known_what_it_remembers() {
        let (mut references, [first, second, third]) = (References::default(), IDS);
        references.turn(UNIT, first);
        references.granted(UNIT, first);
        references.doubt();
        assert_eq!(references.turn(UNIT, second), Turn::Wait);
        assert_eq!(references.confirmed(UNIT, third), [], "that one knows nothing of it");
        assert_eq!(references.confirmed(UNIT, first), [second]);
        references.doubt();
        assert_eq!(references.turn(UNIT, third), Turn::Wait);
        references.leave(UNIT, first);
        assert_eq!(references.leave(UNIT, second), over(&[third]));
    }
}
