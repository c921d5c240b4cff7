//! Who is told of units: requests that wait for the end of a run, and watchers of names.

use std::fmt;
use std::time::Instant;

use super::references::{References, Turn};
use super::{Link, ReplyTo, RequestId, Router, Table};
use crate::driver::plan::{Event, Step};
use crate::driver::wait::Wait;
use crate::error::Stage;
use crate::systemd1::{self, BusError, Call, UnitChange, UnitNews};
use crate::unit::Value;

/// How many units have a match rule of their own at the most: dbus-daemon allows a connection 512.
const MOST_RULES: usize = 128;

/// A watcher's number in one router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WatchId(pub u64);

/// What a watcher is told of a unit whose name it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnitEvent {
    /// systemd knows the unit from now on.
    Loaded {
        /// The unit's name.
        unit: String,
    },
    /// The unit is in another state.
    Changed {
        /// The unit's name.
        unit: String,
        /// `active`, `inactive`, `failed`, …
        active_state: String,
        /// The state in the words of the unit's type: `running`, `abandoned`, …
        sub_state: String,
    },
    /// systemd has forgotten the unit.
    Unloaded {
        /// The unit's name.
        unit: String,
    },
    /// The connection or the manager was away, and events may have been missed: look at the units again.
    Interrupted,
}

/// Where a watcher is told; to tell it must not block.
pub(crate) trait Watcher: Send {
    fn wants(&self, unit: &str) -> bool;
    /// False where nobody is there any more to be told.
    fn tell(&self, event: UnitEvent) -> bool;
}

#[derive(Default)]
pub(super) struct Watches {
    watchers: Table<WatchId, Box<dyn Watcher>>,
    /// The states that were told of last, so that what changed is told once.
    told: Table<String, (String, String)>,
    /// The requests that follow the unit whose object is at a path.
    followers: Table<String, Vec<RequestId>>,
    pub(super) references: References,
    /// Those among the followers that hear of it only while this connection listens to all units.
    unreferenced: Table<RequestId, ()>,
    /// The units' objects that this connection listens to by a rule of their own.
    rules: Table<String, ()>,
    /// Whether this connection listens to all units.
    listening: bool,
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches").field("followers", &self.followers).finish_non_exhaustive()
    }
}

impl Watches {
    /// From now on the request is told of the unit, wherever it is in its steps.
    fn follow(&mut self, path: &str, id: RequestId) {
        let followers = self.followers.get_or_insert(path.into(), Vec::new);
        if !followers.contains(&id) {
            followers.push(id);
        }
    }

    fn leave(&mut self, path: &str, id: RequestId) {
        self.unreferenced.remove(&id);
        let Some(followers) = self.followers.get_mut(path) else { return };
        followers.retain(|follower| *follower != id);
        if followers.is_empty() {
            self.followers.remove(path);
        }
    }

    pub(super) fn has_watchers(&self) -> bool {
        !self.watchers.is_empty()
    }

    /// Whether unit changes are of use that systemd sends to subscribers only.
    fn needs_all(&self) -> bool {
        !(self.watchers.is_empty() && self.unreferenced.is_empty())
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let nobody = self.watchers.is_empty() && self.followers.is_empty();
        let nothing_held = self.unreferenced.is_empty() && self.references.is_empty();
        nobody && nothing_held && self.told.is_empty() && self.rules.is_empty()
    }

    fn followers(&self, path: &str) -> Vec<RequestId> {
        self.followers.get(path).cloned().unwrap_or_default()
    }

    /// All who follow a unit, in the order in which they asked.
    fn all_followers(&self) -> Vec<RequestId> {
        let mut ids: Vec<RequestId> = self.followers.values().flatten().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// A watcher that has gone without a word is forgotten.
    fn tell(&mut self, unit: &str, event: &UnitEvent) {
        self.watchers.retain(|(_, watcher)| !watcher.wants(unit) || watcher.tell(event.clone()));
    }

    fn interrupted(&mut self) {
        self.told.clear();
        self.watchers.retain(|(_, watcher)| watcher.tell(UnitEvent::Interrupted));
    }

    fn loaded(&mut self, unit: String) {
        self.tell(&unit, &UnitEvent::Loaded { unit: unit.clone() });
    }

    fn unloaded(&mut self, unit: String) {
        self.told.remove(&unit);
        self.tell(&unit, &UnitEvent::Unloaded { unit: unit.clone() });
    }

    fn changed(&mut self, path: &str, change: UnitChange) {
        let (Some(active_state), Some(sub_state)) = (change.active_state, change.sub_state) else { return };
        let Some(unit) = systemd1::unit_at(path) else { return };
        if !self.watchers.values().any(|watcher| watcher.wants(&unit)) {
            // A later watcher is to be told of what is a change to it.
            self.told.remove(&unit);
            return;
        }
        let state = (active_state.clone(), sub_state.clone());
        if self.told.insert(unit.clone(), state.clone()).as_ref() != Some(&state) {
            self.tell(&unit, &UnitEvent::Changed { unit: unit.clone(), active_state, sub_state });
        }
    }
}

/// Those that wait for another's reference, each with what it goes on with; without, it asks for itself.
pub(super) type Sharers = Vec<(RequestId, Option<Event>)>;

type Settle<R> = fn(&mut Router<R>, RequestId, &Result<Vec<Value>, BusError>, bool) -> Sharers;

/// What the router does about units, behind pointers: a program that waits for no run and watches no unit has nothing of
/// it.
pub(super) struct Hearing<R: 'static> {
    /// A request takes a step that it may have to hear of units for.
    pub listen_for: fn(&mut Router<R>, RequestId, &mut Step),
    /// A wait is over.
    pub part: fn(&mut Router<R>, RequestId, &Wait),
    pub shares_a_reference: fn(&mut Router<R>, Instant, RequestId) -> bool,
    pub settle_reference: Settle<R>,
    pub on_unit: fn(&mut Router<R>, Instant, UnitNews),
    pub on_loss: fn(&mut Router<R>, Instant),
    pub keep_rules: fn(&mut Router<R>),
    pub look_again: fn(&mut Router<R>, Instant),
}

impl<R: ReplyTo> Hearing<R> {
    const ALL: Hearing<R> = Hearing {
        listen_for: Router::listen_for,
        part: Router::part,
        shares_a_reference: Router::shares_a_reference,
        settle_reference: Router::settle_reference,
        on_unit: Router::on_unit,
        on_loss: Router::stop_listening,
        keep_rules: Router::keep_rules,
        look_again: Router::look_at_units_again,
    };
}

impl<R> fmt::Debug for Hearing<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hearing")
    }
}

impl<R: ReplyTo> Router<R> {
    /// From now on it can be asked to wait for runs.
    pub(crate) fn hear_units(&mut self) {
        self.hearing = Some(&Hearing::ALL);
    }

    /// Whether anybody is to be told of units now.
    pub(crate) fn hears_units(&self) -> bool {
        !(self.watches.watchers.is_empty() && self.watches.followers.is_empty())
    }

    /// A watcher begins. What comes over the connection after it was told to listen reaches the watcher.
    pub(crate) fn watch(&mut self, id: WatchId, watcher: Box<dyn Watcher>) {
        self.hear_units();
        self.watches.watchers.insert(id, watcher);
        self.listen_as_needed();
    }

    pub(crate) fn unwatch(&mut self, id: WatchId) {
        self.watches.watchers.remove(&id);
        self.listen_as_needed();
    }

    /// Listens to all units, and has systemd tell of them, only while somebody needs it: it makes PID 1 tell
    /// everybody of everything. The manager itself, as a direct peer, does so unasked.
    pub(super) fn listen_as_needed(&mut self) {
        if self.watches.watchers.is_empty() {
            self.watches.told.clear();
        }
        let Link::Bus { owner } = &self.link else { return };
        let manager_is_there = owner.is_some();
        let all = self.watches.needs_all();
        if self.watches.listening != all {
            self.watches.listening = all;
            for rule in systemd1::UNIT_RULES {
                let rule = rule.into();
                self.push_send(if all { Call::AddMatch(rule) } else { Call::RemoveMatch(rule) }, false);
            }
        }
        let subscribe = all || self.jobs.has_inherited();
        if self.subscribed != subscribe && manager_is_there {
            self.subscribed = subscribe;
            self.push_send(if subscribe { Call::Subscribe } else { Call::Unsubscribe }, false);
        }
    }

    /// What was arranged over a connection that is gone.
    fn stop_listening(&mut self, now: Instant) {
        self.watches.listening = false;
        self.watches.rules.clear();
        // Who has asked for a subscription asks for a reference anew.
        self.watches.unreferenced.clear();
        self.watches.references.clear();
        self.owed.clear();
        let waits = self.requests.iter_mut().filter_map(|(id, entry)| entry.plan.as_wait().map(|_| *id));
        for id in waits.collect::<Vec<RequestId>>() {
            self.begin_again(now, id);
        }
    }

    /// A wait needs a reference of the new connection's own.
    fn begin_again(&mut self, now: Instant, id: RequestId) {
        let Some(entry) = self.requests.get_mut(&id) else { return };
        if entry.reply.is_none() {
            return self.forget(id);
        }
        if let Some(place) = entry.place.take() {
            self.line.leave(place);
        }
        let Some(wait) = entry.plan.as_wait() else { return };
        let step = wait.start_again();
        self.take_step(now, id, step);
    }

    /// The manager is there again: what happened to units meanwhile was told to nobody.
    fn look_at_units_again(&mut self, now: Instant) {
        self.watches.interrupted();
        self.watches.references.doubt();
        let owed = std::mem::take(&mut self.owed);
        for unit in owed.into_iter().chain(self.watches.references.take_unread()) {
            self.give_back(unit);
        }
        for id in self.watches.all_followers() {
            let following = self.requests.get_mut(&id).filter(|entry| entry.stage == Stage::Wait);
            if let Some(step) = following.and_then(|entry| entry.plan.as_wait()).map(Wait::read) {
                self.take_step(now, id, step);
            }
        }
    }

    /// Sees to it, before a wait's next call, that what happens after that call is heard.
    fn listen_for(&mut self, id: RequestId, step: &mut Step) {
        let wait = self.requests.get_mut(&id).and_then(|entry| entry.plan.as_wait());
        let Some(wait) = wait else { return };
        let path = wait.unit_path().to_string();
        let has_room =
            self.watches.followers.len() < MOST_RULES || self.watches.followers.contains_key(&path);
        if wait.is_starting() && !has_room {
            *step = wait.subscribe();
        }
        if wait.wants_subscription() {
            self.watches.unreferenced.insert(id, ());
            self.listen_as_needed();
        }
        self.watches.follow(&path, id);
        self.keep_rule(&path);
    }

    /// The rules that a new connection lacks.
    fn keep_rules(&mut self) {
        let paths: Vec<String> = self.watches.followers.keys().cloned().collect();
        paths.iter().for_each(|path| self.keep_rule(path));
    }

    /// One rule for each unit that somebody follows, and none for any other.
    fn keep_rule(&mut self, path: &str) {
        if !matches!(self.link, Link::Bus { .. }) {
            return;
        }
        let wanted = self.watches.followers.contains_key(path);
        let rule = || systemd1::unit_rule(path).into();
        if wanted && self.watches.rules.insert(path.into(), ()).is_none() {
            self.push_send(Call::AddMatch(rule()), false);
        } else if !wanted && self.watches.rules.remove(path).is_some() {
            self.push_send(Call::RemoveMatch(rule()), false);
        }
    }

    /// Whether a wait whose turn it is to ask for a reference need not: another has asked for the same.
    fn shares_a_reference(&mut self, now: Instant, id: RequestId) -> bool {
        let wait = self.requests.get_mut(&id).and_then(|entry| entry.plan.as_wait());
        let Some(wait) = wait.filter(|wait| wait.is_starting()) else { return false };
        let turn = self.watches.references.turn(wait.unit_path(), id);
        if turn == Turn::Share {
            self.advance(now, id, Event::Answer(Vec::new()));
        }
        turn != Turn::Ask
    }

    /// Notes what the answer to a wait's call says of its reference, and tells with what those go on that wait for the
    /// same: the answer, or a call of their own where it does not hold for them.
    fn settle_reference(
        &mut self,
        id: RequestId,
        answer: &Result<Vec<Value>, BusError>,
        from_bus: bool,
    ) -> Sharers {
        let wait = self.requests.get_mut(&id).and_then(|entry| entry.plan.as_wait());
        let Some(wait) = wait else { return Vec::new() };
        let (unit, run, is_starting) =
            (wait.unit_path().to_string(), wait.run().to_string(), wait.is_starting());
        let references = &mut self.watches.references;
        let error = match answer {
            Ok(_) => {
                let sharers =
                    if is_starting { references.granted(&unit, id) } else { references.confirmed(&unit, id) };
                return sharers.into_iter().map(|id| (id, Some(Event::Answer(Vec::new())))).collect();
            }
            Err(error) => error,
        };
        let Some(sharers) = references.refused(&unit, id) else { return Vec::new() };
        if from_bus && error.name == systemd1::NO_REPLY {
            // It may have been granted all the same, and is about to be asked for again.
            self.give_back(unit);
        }
        let mut holds_for = |id| {
            let wait = self.requests.get_mut(&id).and_then(|entry| entry.plan.as_wait());
            !from_bus && wait.is_some_and(|wait| wait.run() == run)
        };
        let mut event = |id| holds_for(id).then(|| Event::Refused(error.clone()));
        sharers.into_iter().map(|id| (id, event(id))).collect()
    }

    /// Gives back what a wait has had.
    fn part(&mut self, id: RequestId, wait: &Wait) {
        let unit = wait.unit_path();
        self.watches.leave(unit, id);
        self.keep_rule(unit);
        let left = self.watches.references.leave(unit, id);
        if left.is_over {
            self.give_back(unit.into());
        }
        for id in left.waiting {
            self.line_up(id, None);
        }
        self.listen_as_needed();
    }

    /// Gives the reference to a unit back, if it was granted; otherwise systemd says so, and nobody listens.
    fn give_back(&mut self, unit: String) {
        match self.link {
            Link::Bus { owner: Some(_) } | Link::Direct => {
                self.watches.references.given_back(unit.clone(), self.calls_sent);
                self.push_send(Call::Unref { path: unit }, false);
            }
            Link::Bus { owner: None } => self.owed.push(unit),
            // With the connection its references have gone.
            Link::Down | Link::Connecting | Link::Greeting => {}
        }
    }

    fn on_unit(&mut self, now: Instant, news: UnitNews) {
        match news {
            UnitNews::Loaded(unit) => self.watches.loaded(unit),
            UnitNews::Unloaded(unit) => {
                let over = UnitChange { active_state: Some("inactive".into()), ..UnitChange::default() };
                self.tell_followers(now, &systemd1::unit_path(&unit), &over);
                self.watches.unloaded(unit);
            }
            UnitNews::Changed(path, change) => {
                self.tell_followers(now, &path, &change);
                self.watches.changed(&path, change);
            }
        }
        self.listen_as_needed();
    }

    fn tell_followers(&mut self, now: Instant, path: &str, change: &UnitChange) {
        for id in self.watches.followers(path) {
            let Some(entry) = self.requests.get_mut(&id) else { continue };
            if entry.stage == Stage::Wait {
                self.advance(now, id, Event::Changed(change.clone()));
            } else if let Some(wait) = entry.plan.as_wait() {
                wait.doubt(change);
            }
        }
    }
}
