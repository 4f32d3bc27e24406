//! What a node says itself.

use std::{sync::Arc, time::Duration};

use super::{Alarm, Effect, Fault, LinkId, Mesh, Moment, Timer};
use crate::gossip::{
    Change, Delta, Incarnation, Key, Owner, Position, Surroundings, Value, frame::Frame,
};

/// How often a node finds that it has said more than it knows of until that
/// must be another machine with its identity.
const SET_BACKS: u32 = 3;
/// A node says that it is there no more often than this.
const MIN_BEAT: Duration = Duration::from_secs(10);

impl<S: Surroundings> Mesh<S> {
    /// What this node says under a key, what is still to be stored and to be
    /// said included.
    #[must_use]
    pub fn says(&self, key: &Key) -> Option<&[u8]> {
        match self.unsaid.get(key) {
            Some(value) => value.as_ref().map(Value::bytes),
            None => self.saying.as_deref().unwrap_or(self.own()).state().get(key),
        }
    }

    /// Collects what is to be said.
    pub(super) fn say(&mut self, changes: Vec<Change>, now: Moment) {
        if self.is_silent {
            return;
        }
        self.unsaid.extend(changes.into_iter().map(|change| (change.key, change.value)));
        if self.saying.is_none() && !self.timers.iter().any(|(_, timer)| *timer == Timer::Gather) {
            self.at(now + self.settings.gather, Timer::Gather);
        }
    }

    /// Says it, as soon as it is stored.
    pub(super) fn say_now(&mut self) {
        if self.is_silent || self.saying.is_some() {
            return;
        }
        let changes = std::mem::take(&mut self.unsaid).into_iter();
        let mut changes: Vec<_> = changes.map(|(key, value)| Change { key, value }).collect();
        let mut own = self.own().clone();
        while own.say(&changes, &mut self.surroundings).is_err() {
            // What takes no room can still be said, and a head without any change.
            changes.retain(|change| change.value.is_none());
            self.do_this(Effect::Alarm(Alarm::Full));
        }
        self.saying = Some(Arc::new(own));
        self.do_this(Effect::Store);
    }

    /// What is said is stored, and can be told.
    pub(super) fn stored(&mut self, position: Position, now: Moment) {
        let Some(saying) = self.saying.take_if(|it| it.head().position == position) else { return };
        let former = *self.own().head();
        let keys =
            |owner: &Owner| -> Vec<Key> { owner.state().entries().map(|(key, _)| key).collect() };
        let delta = saying.since(Some(former.position));
        let touched = match delta.from {
            Some(_) => delta.changes.iter().map(|change| change.key).collect(),
            None => keys(self.own()).into_iter().chain(keys(&saying)).collect(),
        };
        self.heads.step(self.me, Some(&former), Some(saying.head()));
        self.surroundings.learned(&saying);
        if let Some(known) = self.known.get_mut(&self.me) {
            (known.owner, known.heard) = (Arc::clone(&saying), Some(now));
        }
        self.follow_up(&saying, touched, now);
        self.spread(self.me, Some(former.position), None, now);
        if !self.unsaid.is_empty() {
            self.at(now + self.settings.gather, Timer::Gather);
        }
    }

    /// Says that this node is there, if it has not said anything for long.
    pub(super) fn beat(&mut self, now: Moment) {
        let nodes = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        let period = self.settings.beat.saturating_mul(nodes).max(MIN_BEAT);
        let last = self.heard(self.me).unwrap_or(now);
        if now.saturating_sub(last) >= period {
            self.say_now();
        }
        let after = self.about(period);
        self.at(now + after, Timer::Beat);
    }

    /// Somebody tells what this node is meant to have said. If it is more than
    /// it knows of, what it says from now on comes behind that.
    pub(super) fn told_of_myself(&mut self, id: LinkId, delta: &Delta, now: Moment) {
        let latest = self.saying.as_deref().unwrap_or(self.own());
        let ours = latest.head().position;
        if delta.to <= ours || self.is_silent {
            return;
        }
        let mut told = latest.clone();
        let whole = Delta { from: None, ..delta.clone() };
        if delta.from.is_some() {
            // Only all of it can be checked against what this node remembers.
            return self.send(id, Frame::Want(self.me, None), now);
        }
        if told.follow(whole, &mut self.surroundings).is_err() {
            return;
        }
        self.set_back += 1;
        if self.set_back > SET_BACKS && ours.incarnation.nonce < delta.to.incarnation.nonce {
            self.is_silent = true;
            self.unsaid.clear();
            self.do_this(Effect::Alarm(Alarm::Cloned));
            // The other one has its links from now on.
            let links: Vec<_> = self.links.keys().copied().collect();
            for link in links {
                self.close(link, Fault::Done, now);
            }
            return;
        }
        self.do_this(Effect::Alarm(Alarm::SetBack));
        let boot = delta.to.incarnation.boot.saturating_add(1);
        let incarnation = Incarnation { boot, nonce: self.surroundings.random() };
        let position = Position { incarnation, sequence: 0 };
        let state = self.saying.as_deref().unwrap_or(self.own()).state().clone();
        if let Ok(own) = Owner::new(state, position, &mut self.surroundings) {
            self.saying = Some(Arc::new(own));
            self.do_this(Effect::Store);
        }
    }
}
