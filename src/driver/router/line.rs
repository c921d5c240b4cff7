//! Who goes next: the requests that wait for room, in a lane for each kind of room there is.

use super::RequestId;
use super::table::Table;
use crate::systemd1::Call;

/// What a call leaves under way. A lane whose room is taken up holds up no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// An answer and nothing more.
    Answer,
    /// A new unit's job, over in moments.
    Creation,
    /// Any other job: a stop may take as long as the unit's processes like.
    Job,
}

impl Lane {
    pub(super) const ALL: [Lane; 3] = [Lane::Answer, Lane::Creation, Lane::Job];

    pub(super) fn of(call: &Call) -> Lane {
        match call {
            Call::StartTransient { .. } => Lane::Creation,
            call if call.makes_job() => Lane::Job,
            _ => Lane::Answer,
        }
    }

    /// How many jobs are under way at the most over a bus. systemd adds a match rule to its own connection for
    /// each job's client, and drops off the bus when dbus-daemon's limit of 512 rules is passed, all clients'
    /// jobs together (seen on 252, at 607 jobs): far below it, for this is not the only manager.
    pub(super) const fn most(self) -> usize {
        match self {
            Lane::Answer => usize::MAX,
            Lane::Creation => 32,
            Lane::Job => 96,
        }
    }
}

/// A turn in the line. Those that are half way go before those that have not begun, whose numbers are from here on.
type Turn = u64;
const NEW: Turn = 1 << 63;

/// Where a request stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    lane: Lane,
    turn: Turn,
}

#[derive(Debug, Default)]
pub(super) struct Line {
    lanes: [Table<Turn, RequestId>; 3],
    joined: u64,
}

impl Line {
    pub(super) fn join(&mut self, id: RequestId, lane: Lane, half_way: bool) -> Place {
        self.joined += 1;
        let turn = if half_way { self.joined } else { NEW + self.joined };
        self.lanes[lane as usize].insert(turn, id);
        Place { lane, turn }
    }

    pub(super) fn leave(&mut self, place: Place) {
        self.lanes[place.lane as usize].remove(&place.turn);
    }

    /// Takes out the request whose turn it is among the lanes that have room, for one that begins or not.
    pub(super) fn next(&mut self, has_room: impl Fn(Lane, bool) -> bool) -> Option<RequestId> {
        let first = |lane: &Lane| self.lanes[*lane as usize].first().copied();
        let may_go = |lane: &Lane| first(lane).is_some_and(|turn| has_room(*lane, turn >= NEW));
        let lane = Lane::ALL.into_iter().filter(may_go).min_by_key(first)?;
        self.lanes[lane as usize].pop_first()
    }

    /// Whose turn it is in a lane.
    pub(super) fn first(&self, lane: Lane) -> Option<RequestId> {
        self.lanes[lane as usize].values().next().copied()
    }

    /// All who wait, in their order within each lane.
    pub(super) fn ids(&self) -> Vec<RequestId> {
        let mut ids = Vec::with_capacity(self.len());
        self.lanes.iter().for_each(|lane| ids.extend(lane.values()));
        ids
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(Table::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_lane_holds_up_no_other_and_the_half_way_go_first() {
        let mut line = Line::default();
        let id = RequestId;
        line.join(id(1), Lane::Job, false);
        let gone = line.join(id(2), Lane::Answer, false);
        line.join(id(3), Lane::Creation, false);
        line.join(id(4), Lane::Creation, true);
        line.leave(gone);
        let no_jobs = |lane, _| lane != Lane::Job;
        assert_eq!(line.next(no_jobs), Some(id(4)));
        assert_eq!(line.next(no_jobs), Some(id(3)));
        assert_eq!(line.next(no_jobs), None);
        assert_eq!(line.next(|_, begins| !begins), None);
        assert_eq!(line.next(|_, _| true), Some(id(1)));
        assert!(line.is_empty());
    }
}
