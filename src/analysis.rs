//! What came of a capture: counts, and the flows, each summed up only when it is asked for.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::thread;

use crate::flow::prefetch::prefetch;
use crate::flow::table::Table;
use crate::liveness::findings::FailOn;
use crate::liveness::losses::Losses;
use crate::liveness::verdict::{self, Context};
use crate::packet::{Address, Endpoint, Skip, Time};
use crate::phrase::count;
use crate::sockets::Sockets;
use crate::summary::{Both, FlowSummary, Handshake, Side};
use crate::totals::Summary;
use crate::watch::Watched;

/// Frames that gave no segment, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Not TCP.
    pub not_tcp: u64,
    /// Headers that contradict themselves.
    pub malformed: u64,
    /// Cut by the snaplen before the TCP header's end.
    pub truncated: u64,
    /// IP fragments that wait for others or never became whole.
    pub fragments: u64,
    /// Copies of a frame captured before.
    pub duplicates: u64,
}

impl Skipped {
    /// Counts one that decoding gave up for this reason.
    pub fn add(&mut self, reason: Skip) {
        match reason {
            Skip::NotTcp => self.not_tcp += 1,
            Skip::Malformed => self.malformed += 1,
            Skip::Truncated => self.truncated += 1,
            Skip::Fragment => self.fragments += 1,
        }
    }
}

/// What came of a capture.
#[derive(Debug, Default)]
pub struct Analysis {
    /// Frames read.
    pub packets: u64,
    /// Their lengths on the wire.
    pub bytes: u64,
    /// TCP segments among them, copies included.
    pub tcp_segments: u64,
    /// The others.
    pub skipped: Skipped,
    /// Time of the first frame, of any kind.
    pub first_packet: Option<Time>,
    /// Time of the last frame, of any kind.
    pub last_packet: Option<Time>,
    /// The flows in order of first packet.
    pub flows: Flows,
    /// Those that are not among them any more, for want of memory.
    pub let_go: LetGo,
    /// What made parts of the capture hard to judge, in sentences.
    pub warnings: Vec<String>,
}

/// What is left of flows that were let go.
#[derive(Debug, Default)]
pub struct LetGo {
    /// Their counts.
    pub totals: Summary,
    /// The codes of their findings.
    pub codes: BTreeSet<&'static str>,
}

impl LetGo {
    /// Takes one more.
    pub fn add(&mut self, flow: &FlowSummary) {
        self.totals.add(flow);
        self.codes.extend(flow.findings.iter().map(|f| f.code));
    }

    /// Takes what is left of others.
    pub fn include(&mut self, others: LetGo) {
        self.totals.include(&others.totals);
        self.codes.extend(others.codes);
    }

    /// Whether one of them was such.
    #[must_use]
    pub fn matches(&self, what: FailOn) -> bool {
        match what {
            FailOn::DeadPeer => self.totals.dead_peers > 0,
            FailOn::Unprotected => self.totals.unprotected > 0,
            FailOn::Finding(code) => self.codes.contains(code),
        }
    }

    /// What there is to say of them.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let Summary { flows, dead_peers, .. } = self.totals;
        let dead = if dead_peers > 0 { format!(" ({dead_peers} of them with a dead peer)") } else { String::new() };
        (flows > 0).then(|| {
            format!(
                "{}{dead} had to be let go to keep to --memory-limit: they count in the totals, but are not told of one \
                 by one, and what came on them later counts as new flows.",
                count(flows, "flow")
            )
        })
    }
}

/// The flows of a capture. A million of them are kept as the analysis left them; their summaries, several times as large,
/// are made one at a time, and put into words only for those that are told of.
#[derive(Default)]
pub struct Flows {
    kept: Kept,
    sockets: Sockets,
    /// When a capture that goes on lost packets.
    lost: Losses,
}

enum Kept {
    /// As the analysis left them: one table for each thread, and the end of the capture.
    Watched(Vec<Table<Watched>>, Time),
    /// Summed up already.
    Told(Vec<FlowSummary>),
}

/// Where a flow is kept; ordered as the flows' first packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    opened: u64,
    table: usize,
    at: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Kept::Told(Vec::new())
    }
}

impl fmt::Debug for Flows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl From<Kept> for Flows {
    fn from(kept: Kept) -> Self {
        Flows { kept, sockets: Sockets::default(), lost: Losses::default() }
    }
}

impl From<Vec<FlowSummary>> for Flows {
    fn from(flows: Vec<FlowSummary>) -> Self {
        Kept::Told(flows).into()
    }
}

impl Flows {
    /// Takes what the analysis of a capture up to `end` left in each thread's table.
    #[must_use]
    pub fn new(mut tables: Vec<Table<Watched>>, end: Time) -> Self {
        find_replacements(&mut tables);
        Kept::Watched(tables, end).into()
    }

    /// From now on tells of each flow what this host's kernel knows of its sockets.
    pub fn know(&mut self, sockets: Sockets) {
        self.sockets = sockets;
    }

    /// Takes the flows of a capture that goes on, as of `now`, and when it lost packets.
    #[must_use]
    pub fn going_on(table: Table<Watched>, lost: Losses, now: Time) -> Self {
        Flows { kept: Kept::Watched(vec![table], now), sockets: Sockets::default(), lost }
    }

    /// Gives back what [`Flows::going_on`] took.
    #[must_use]
    pub fn into_table(self) -> Table<Watched> {
        match self.kept {
            Kept::Watched(mut tables, _) => tables.pop().unwrap_or_default(),
            Kept::Told(_) => Table::default(),
        }
    }

    /// Finds the flows that took the place of dead ones, which is known of a finished capture already.
    pub fn find_replacements(&mut self) {
        if let Kept::Watched(tables, _) = &mut self.kept {
            find_replacements(tables);
        }
    }

    /// The flow of this id, of those that one thread analysed; `None` if it was let go.
    #[must_use]
    pub fn find(&self, id: u64) -> Option<Place> {
        let Kept::Watched(tables, _) = &self.kept else { return None };
        let [table] = tables.as_slice() else { return None };
        // Flows are numbered in the order in which they came into their table.
        self.place(table.partition_point(|watched| watched.id() < id)).filter(|place| table.get(place.at).id() == id)
    }

    /// The flow of this number, below [`Flows::len`], of those that one thread analysed.
    #[must_use]
    pub fn place(&self, number: usize) -> Option<Place> {
        let Kept::Watched(tables, _) = &self.kept else { return None };
        let [table] = tables.as_slice() else { return None };
        (number < table.len()).then(|| Place { opened: table.get(number).id(), table: 0, at: number })
    }

    /// When each side of a flow last heard the other, as far as the capture tells.
    #[must_use]
    pub fn heard(&self, place: Place) -> Both<Option<Time>> {
        match &self.kept {
            Kept::Watched(tables, _) => tables[place.table].get(place.at).heard(),
            Kept::Told(_) => Both::default(),
        }
    }

    /// The moment as of which they are told; `None` where they are told already.
    #[must_use]
    pub fn as_of(&self) -> Option<Time> {
        if let Kept::Watched(_, end) = &self.kept { Some(*end) } else { None }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.kept {
            Kept::Watched(tables, _) => tables.iter().map(Table::len).sum(),
            Kept::Told(flows) => flows.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many threads the analysis had, and a report may have.
    #[must_use]
    pub fn threads(&self) -> usize {
        match &self.kept {
            Kept::Watched(tables, _) => tables.len().max(1),
            Kept::Told(_) => 1,
        }
    }

    /// The places of all flows, in order of first packet.
    pub fn places(&self) -> Box<dyn Iterator<Item = Place> + '_> {
        match &self.kept {
            Kept::Watched(tables, _) => Box::new(in_order(tables)),
            Kept::Told(flows) => Box::new((0..flows.len()).map(|at| Place { opened: at as u64, table: 0, at })),
        }
    }

    /// Sums up one flow after the other in full, in order of first packet.
    pub fn iter(&self) -> impl Iterator<Item = FlowSummary> + '_ {
        self.places().map(|place| self.tell(place))
    }

    /// Sums up one flow in full.
    #[must_use]
    pub fn tell(&self, place: Place) -> FlowSummary {
        match &self.kept {
            Kept::Watched(tables, end) => {
                let (mut summary, context) = self.sum_up(tables[place.table].get(place.at), *end);
                summary.id = id(tables, place);
                verdict::conclude(&mut summary, &context);
                summary
            }
            Kept::Told(flows) => flows[place.at].clone(),
        }
    }

    /// What was seen of a flow, and what this host's kernel knew of its sockets, before anything is concluded from it.
    fn sum_up(&self, watched: &Watched, end: Time) -> (FlowSummary, Context) {
        let mut summed_up = watched.summary_at_end(end, &self.lost);
        let summary = &mut summed_up.0;
        summary.sockets = self.sockets.of(&summary.ends, summary.first, summary.last);
        summed_up
    }

    /// Counts the flows: begins with `none`, and gives `one` each flow with no more than what flows are counted by
    /// ([`verdict::outline`]). As many threads as analysed them count as many flows each, in parts of one table that are
    /// each in order of first packet.
    pub fn count<T: Send>(
        &self,
        none: impl Fn() -> T + Sync,
        one: impl Fn(&mut T, Place, &FlowSummary) + Sync,
    ) -> Vec<T> {
        let (tables, end) = match &self.kept {
            Kept::Watched(tables, end) => (tables, *end),
            Kept::Told(flows) => {
                let mut counted = none();
                for (at, flow) in flows.iter().enumerate() {
                    one(&mut counted, Place { opened: at as u64, table: 0, at }, flow);
                }
                return vec![counted];
            }
        };
        let count = |(table, flows): (usize, Range<usize>)| {
            let mut counted = none();
            for at in flows {
                tables[table].prefetch_next(at, |watched| {
                    watched.prefetch();
                    watched.heartbeats().into_iter().for_each(prefetch);
                });
                let watched = tables[table].get(at);
                let (mut summary, context) = self.sum_up(watched, end);
                verdict::outline(&mut summary, &context);
                one(&mut counted, Place { opened: watched.id(), table, at }, &summary);
            }
            counted
        };
        let each = self.len().div_ceil(self.threads());
        let lengths = || tables.iter().map(Table::len);
        let portion = |n: usize| parts(lengths(), n * each..(n + 1) * each).map(count).collect::<Vec<_>>();
        thread::scope(|scope| {
            let others: Vec<_> = (1..self.threads()).map(|n| scope.spawn(move || portion(n))).collect();
            let first = portion(0);
            // A thread that panicked takes this one with it.
            let others = others.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            first.into_iter().chain(others.flatten()).collect()
        })
    }
}

/// Of things that lie in tables of these lengths, counted on from one table to the next, those in a range: for each table
/// that has some of them, which.
fn parts(lengths: impl Iterator<Item = usize>, range: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut begin = 0;
    lengths.enumerate().filter_map(move |(table, length)| {
        let within = |at: usize| at.saturating_sub(begin).min(length);
        let part = within(range.start)..within(range.end);
        begin += length;
        (!part.is_empty()).then_some((table, part))
    })
}

/// The places of all flows in the order in which they were opened.
fn in_order(tables: &[Table<Watched>]) -> impl Iterator<Item = Place> + '_ {
    let mut next = vec![0; tables.len()];
    std::iter::from_fn(move || {
        let place = |table: usize| Place { opened: tables[table].get(next[table]).id(), table, at: next[table] };
        let first = (0..tables.len()).filter(|&t| next[t] < tables[t].len()).map(place).min()?;
        next[first.table] += 1;
        Some(first)
    })
}

/// A flow's number, the same whether one thread or several analysed the capture.
fn id(tables: &[Table<Watched>], place: Place) -> u64 {
    if tables.len() < 2 {
        return tables[place.table].get(place.at).id();
    }
    let earlier = |table: &Table<Watched>| table.partition_point(|watched| watched.id() < place.opened);
    let others = tables.iter().enumerate().filter(|(table, _)| *table != place.table);
    (place.at + others.map(|(_, table)| earlier(table)).sum::<usize>()) as u64 + 1
}

/// For each flow that ended by a death: the connection that the same client made to the same server afterwards.
fn find_replacements(tables: &mut [Table<Watched>]) {
    let mut wanted: HashMap<(Address, Endpoint), Vec<(Time, u64)>> = HashMap::new();
    let key = |w: &Watched| (w.ends()[Side::Client].address, w.ends()[Side::Server]);
    let mut dead = Vec::new();
    for (table, flows) in tables.iter().enumerate() {
        for (at, watched) in flows.iter().enumerate().filter(|(_, w)| !w.deaths().is_empty()) {
            wanted.entry(key(watched)).or_default();
            dead.push(Place { opened: watched.id(), table, at });
        }
    }
    if wanted.is_empty() {
        return;
    }
    for (table, flows) in tables.iter().enumerate() {
        for (at, watched) in flows.iter().enumerate().filter(|(_, w)| w.handshake() == Handshake::Full) {
            if let Some(starts) = wanted.get_mut(&key(watched)) {
                starts.push((watched.first(), id(tables, Place { opened: watched.id(), table, at })));
            }
        }
    }
    for starts in wanted.values_mut() {
        starts.sort_unstable();
    }
    for place in dead {
        let id = id(tables, place);
        let watched = tables[place.table].get_mut(place.at);
        let Some(starts) = wanted.get(&key(watched)) else { continue };
        let first = watched.first();
        for death in watched.deaths_mut() {
            let since = death.last_heard.unwrap_or(first).max(first);
            let after = starts.partition_point(|(start, _)| *start <= since);
            if let Some((start, other)) = starts[after..].iter().find(|(_, other)| *other != id) {
                death.recovered_as = Some(*other);
                death.outage = death.last_heard.map(|heard| start.since(heard)).filter(|span| *span >= 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_cross_from_table_to_table() {
        let lengths = [3, 0, 9];
        let portion = |range| parts(lengths.into_iter(), range).collect::<Vec<_>>();
        assert_eq!(portion(0..6), [(0, 0..3), (2, 0..3)]);
        assert_eq!(portion(6..12), [(2, 3..9)]);
        assert_eq!(portion(12..18), []);
    }
}
