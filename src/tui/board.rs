//! Which flows are shown, of however many there are.
//!
//! A summary of every flow for every frame would cost seconds with a million of them. So the board keeps the first few
//! hundred flows in the order asked for; they are summed up anew for every view. All others are looked at in turn, as many
//! as the time allowed permits, and those on which something happened come before their turn.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::query::{Key, Query};
use super::view::{Counts, Row};
use crate::analysis::{Flows, Place};
use crate::event::{Event, EventKind};
use crate::timeline::Timelines;

/// Flows that can be shown at a time; a filter brings up others.
pub const SHOWN: usize = 500;
/// Flows on which something happened that may wait for their look; the others wait for their turn.
const WAITING: usize = 4096;
/// Flows looked at between two questions whether there is still time.
const STRIDE: usize = 16;

/// The flows to show.
#[derive(Debug, Default)]
pub struct Board {
    query: Query,
    /// The flows to show by their place in the order, and their places.
    kept: BTreeMap<Key, u64>,
    keys: HashMap<u64, Key>,
    /// Flows on which something happened, those with a dead peer first.
    waiting: BTreeSet<(bool, u64)>,
    /// The next flow whose turn it is.
    next: usize,
    /// What this round has found so far, and what the last whole one found.
    round: Found,
    whole: Option<Found>,
    /// Nothing happens any more; what was counted before that does not hold.
    steady: bool,
}

/// What a look at all flows found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Flows of each group.
    pub counts: Counts,
    /// Flows that match the query.
    pub matching: u64,
}

impl Board {
    /// Takes note of an event.
    pub fn event(&mut self, event: &Event) {
        let calm = match event.kind {
            EventKind::FlowStart { .. } | EventKind::Data { .. } => return,
            EventKind::PeerDead { .. } => false,
            _ => true,
        };
        self.waiting.insert((calm, event.flow));
        if self.waiting.len() > WAITING {
            self.waiting.pop_last();
        }
    }

    /// What the last look at all flows found, or the one under way since the query changed.
    #[must_use]
    pub fn found(&self) -> Found {
        self.whole.unwrap_or(self.round)
    }

    /// How many flows were looked at since the query changed; `None` once it was all of them.
    #[must_use]
    pub fn looked_at(&self) -> Option<u64> {
        self.whole.is_none().then_some(self.next as u64)
    }

    /// Looks at the flows to show, at those on which something happened, and at the others as long as `more` says that
    /// there is time. With `steady` nothing happens on them any more: one look at each is enough. Gives the flows to show.
    pub fn look(
        &mut self,
        flows: &Flows,
        timelines: &Timelines,
        query: &Query,
        steady: bool,
        mut more: impl FnMut() -> bool,
    ) -> Vec<Row> {
        if *query != self.query {
            *self = Board { query: query.clone(), ..Board::default() };
        }
        if steady && !self.steady {
            (self.next, self.round, self.whole, self.steady) = (0, Found::default(), None, true);
        }
        while let Some((_, id)) = self.waiting.pop_first() {
            match flows.find(id) {
                Some(place) => _ = self.offer(&row(flows, place)),
                None => self.withdraw(id),
            }
            if !more() {
                break;
            }
        }
        if !(steady && self.whole.is_some()) {
            self.take_turns(flows, more);
        }
        let ids: Vec<u64> = self.kept.values().copied().collect();
        self.kept.clear();
        self.keys.clear();
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(place) = flows.find(id) else { continue };
            let mut row = row(flows, place);
            if self.offer(&row) {
                row.timeline = timelines.of(id).cloned().unwrap_or_default();
                rows.push(row);
            }
        }
        rows.sort_by_cached_key(|row| self.query.key(row));
        rows
    }

    /// The flow of an id, if it is still there.
    #[must_use]
    pub fn one(flows: &Flows, timelines: &Timelines, id: u64) -> Option<Row> {
        let mut row = row(flows, flows.find(id)?);
        row.timeline = timelines.of(id).cloned().unwrap_or_default();
        Some(row)
    }

    /// Looks at flows in turn, at most at each once.
    fn take_turns(&mut self, flows: &Flows, mut more: impl FnMut() -> bool) {
        for looked_at in 0..flows.len() {
            if looked_at % STRIDE == 0 && !more() {
                return;
            }
            if let Some(place) = flows.place(self.next) {
                let row = row(flows, place);
                self.round.counts.add(row.state);
                self.round.matching += u64::from(self.query.wants(&row.flow, row.state));
                self.offer(&row);
            }
            self.next += 1;
            if self.next >= flows.len() {
                self.next = 0;
                self.whole = Some(std::mem::take(&mut self.round));
                return;
            }
        }
        if flows.is_empty() {
            self.whole = Some(Found::default());
        }
    }

    /// Takes a flow among those to show if it matches and is better than the last of them; whether it did.
    fn offer(&mut self, row: &Row) -> bool {
        let id = row.flow.id;
        self.withdraw(id);
        let key = self.query.key(row);
        let better = || self.kept.len() < SHOWN || self.kept.last_key_value().is_some_and(|(last, _)| key < *last);
        if !self.query.wants(&row.flow, row.state) || !better() {
            return false;
        }
        self.kept.insert(key, id);
        self.keys.insert(id, key);
        if self.kept.len() > SHOWN
            && let Some((_, id)) = self.kept.pop_last()
        {
            self.keys.remove(&id);
        }
        true
    }

    fn withdraw(&mut self, id: u64) {
        if let Some(key) = self.keys.remove(&id) {
            self.kept.remove(&key);
        }
    }
}

/// A flow without what happened on it.
fn row(flows: &Flows, place: Place) -> Row {
    Row::new(flows.tell(place), Some(flows.heard(place)), None)
}
