//! What came of a capture: counts, and the flows, each summed up only when it is asked for.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use crate::flow::table::Table;
use crate::liveness::findings::FailOn;
use crate::liveness::verdict;
use crate::packet::{Address, Endpoint, Time};
use crate::phrase::count;
use crate::summary::{FlowSummary, Handshake, Side};
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
/// are made one at a time.
#[derive(Default)]
pub struct Flows(Kept);

enum Kept {
    /// As the analysis left them: one table for each thread, and the end of the capture.
    Watched(Vec<Table<Watched>>, Time),
    /// Summed up already.
    Told(Vec<FlowSummary>),
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

impl From<Vec<FlowSummary>> for Flows {
    fn from(flows: Vec<FlowSummary>) -> Self {
        Flows(Kept::Told(flows))
    }
}

impl Flows {
    /// Takes what the analysis of a capture up to `end` left in each thread's table.
    #[must_use]
    pub fn new(mut tables: Vec<Table<Watched>>, end: Time) -> Self {
        number(&mut tables);
        find_replacements(&mut tables);
        Flows(Kept::Watched(tables, end))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Kept::Watched(tables, _) => tables.iter().map(Table::len).sum(),
            Kept::Told(flows) => flows.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sums up one flow after the other, in order of first packet.
    pub fn iter(&self) -> Box<dyn Iterator<Item = FlowSummary> + '_> {
        match &self.0 {
            Kept::Watched(tables, end) => Box::new(in_order(tables).map(|(table, at)| {
                let (mut summary, context) = tables[table].get(at).summary(*end);
                verdict::conclude(&mut summary, &context);
                summary
            })),
            Kept::Told(flows) => Box::new(flows.iter().cloned()),
        }
    }
}

/// The places of all flows in the order in which they were opened: table and number there.
fn in_order(tables: &[Table<Watched>]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut next = vec![0; tables.len()];
    std::iter::from_fn(move || {
        let opened = |table: usize| tables[table].get(next[table]).opened;
        let table = (0..tables.len()).filter(|&t| next[t] < tables[t].len()).min_by_key(|&t| opened(t))?;
        next[table] += 1;
        Some((table, next[table] - 1))
    })
}

/// Numbers the flows of several threads as one thread would have.
fn number(tables: &mut [Table<Watched>]) {
    if tables.len() < 2 {
        return;
    }
    let order: Vec<_> = in_order(tables).map(|(table, at)| (table as u8, at as u32)).collect();
    for (id, (table, at)) in (1..).zip(order) {
        tables[usize::from(table)].get_mut(at as usize).id = id;
    }
}

/// For each flow that ended by a death: the connection that the same client made to the same server afterwards.
fn find_replacements(tables: &mut [Table<Watched>]) {
    let mut wanted: HashMap<(Address, Endpoint), Vec<(Time, u64)>> = HashMap::new();
    let key = |w: &Watched| (w.ends()[Side::Client].address, w.ends()[Side::Server]);
    for watched in tables.iter().flat_map(Table::iter).filter(|w| !w.deaths().is_empty()) {
        wanted.entry(key(watched)).or_default();
    }
    if wanted.is_empty() {
        return;
    }
    for watched in tables.iter().flat_map(Table::iter).filter(|w| w.handshake() == Handshake::Full) {
        if let Some(starts) = wanted.get_mut(&key(watched)) {
            starts.push((watched.first(), watched.id));
        }
    }
    for starts in wanted.values_mut() {
        starts.sort_unstable();
    }
    for watched in tables.iter_mut().flat_map(Table::iter_mut).filter(|w| !w.deaths().is_empty()) {
        let Some(starts) = wanted.get(&key(watched)) else { continue };
        let (id, first) = (watched.id, watched.first());
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
