//! The core: packets in, events out. It reads no clock and does no I/O; time arrives with the packets, and
//! [`Analyzer::advance`] tells a quiet live capture that time has passed.

use std::array;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::analysis::{self, Analysis, LetGo};
use crate::clock::Clock;
use crate::decode::{self, Decoder, Inner};
use crate::event::{EventKind, Sink};
use crate::flow::connection::Connection;
use crate::flow::duplicates::{Mark, Recent};
use crate::flow::prefetch::{Few, prefetch};
use crate::flow::table::{self, GONE, Likely, Table};
use crate::liveness::Out;
use crate::liveness::heartbeat::{self, Ear};
use crate::liveness::losses::Losses;
use crate::liveness::verdict;
use crate::packet::{Decoded, Endpoint, Frame, IcmpError, Segment, Time};
use crate::summary::{End, FlowSummary, Side};
use crate::watch::{Reopening, Watched};

/// Segments whose flows are fetched together: enough to keep the processor's dozen of line fill buffers busy, few enough
/// that what was fetched is still in the first-level cache when its turn comes.
pub const BATCH: usize = 32;

/// Whether the flow between these two ends is wanted.
pub type FlowFilter = Box<dyn Fn(&Endpoint, &Endpoint) -> bool + Send + Sync>;

/// What to analyse.
#[derive(Default)]
pub struct Options {
    /// Keeps only the flows between ends for which this holds; `None` keeps all.
    pub filter: Option<FlowFilter>,
    /// Of the frames given, takes this share of the flows and hands on what belongs to the others; `None` takes all.
    pub share: Option<Share>,
    /// Bytes that all flows together may take; beyond, the least interesting are let go. `None` is no limit.
    pub memory: Option<usize>,
}

impl Options {
    /// Whether flows of this hash belong to the share that is kept.
    #[inline]
    fn has(&self, hash: u32) -> bool {
        self.share.is_none_or(|share| share.has(hash))
    }

    /// Whether flows between these ends are wanted.
    #[inline]
    fn wants(&self, a: &Endpoint, b: &Endpoint) -> bool {
        self.filter.as_ref().is_none_or(|keep| keep(a, b))
    }
}

/// A part of all flows, by the hash of their ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The lowest hash in it.
    pub from: u32,
    /// The highest hash in it.
    pub to: u32,
}

impl Share {
    /// Whether flows of this hash belong to it.
    #[inline]
    #[must_use]
    pub fn has(self, hash: u32) -> bool {
        (self.from..=self.to).contains(&hash)
    }
}

/// Analyses frames in capture order.
pub struct Analyzer {
    decoder: Decoder,
    analysis: Analysis,
    /// Ends the capture at its last frame: one that stepped back goes on from there.
    clock: Clock,
    /// The time of the last frame.
    time: Time,
    flows: Flows,
}

/// What an analysis has come to while it goes on.
pub struct SoFar<'a> {
    /// The counts over all packets; its flows and what was let go are filled in at the end.
    pub analysis: &'a Analysis,
    /// The flows let go.
    pub let_go: &'a LetGo,
    /// How many flows are in memory, those that ended included.
    pub flows: usize,
    /// Bytes that they take, roughly.
    pub memory: usize,
    /// Bytes that they may take.
    pub memory_limit: Option<usize>,
}

/// What an analyzer hands over to the one to whose share of the flows it belongs; `S` is how it holds a segment.
pub enum Handed<S> {
    /// A segment, and the hash of its ends.
    Segment(u32, S),
    /// An ICMP error, and the hash of the ends that it is about.
    Icmp(u32, IcmpError),
    /// The time that had come before it stepped back: what fell due until then has done so.
    Time(Time),
}

impl<S> Handed<S> {
    /// The same, with what is made of its segment if it is one.
    #[inline]
    #[must_use]
    pub fn map<T>(self, make: impl FnOnce(S) -> T) -> Handed<T> {
        match self {
            Handed::Segment(hash, segment) => Handed::Segment(hash, make(segment)),
            Handed::Icmp(hash, error) => Handed::Icmp(hash, error),
            Handed::Time(time) => Handed::Time(time),
        }
    }

    /// The same, with its segment only lent.
    #[inline]
    #[must_use]
    pub fn as_ref(&self) -> Handed<&S> {
        match self {
            Handed::Segment(hash, segment) => Handed::Segment(*hash, segment),
            Handed::Icmp(hash, error) => Handed::Icmp(*hash, *error),
            Handed::Time(time) => Handed::Time(*time),
        }
    }
}

/// Receives what is handed over.
pub type Others<'a> = dyn FnMut(Handed<&Segment<'_>>) + 'a;

/// A segment whose flow is looked for.
struct Sought<'a> {
    /// The hash of its ends.
    hash: u32,
    /// What was found under it when the batch began.
    likely: Likely,
    /// What it is known by while copies may come; made once its options are read.
    mark: Mark,
    segment: Segment<'a>,
}

/// Segments whose flows are fetched together.
struct Batch<'a> {
    /// Those before `len`; what is left behind means nothing.
    sought: [Option<Sought<'a>>; BATCH],
    len: usize,
}

impl Default for Batch<'_> {
    fn default() -> Self {
        // One by one, or all bytes of each would be copied from a `None`.
        Batch { sought: array::from_fn(|_| None), len: 0 }
    }
}

impl<'a> Batch<'a> {
    /// Puts a segment into the next place, where it stays only if it is then sought ([`Flows::seek`]).
    #[inline(always)]
    fn next(&mut self, hash: u32, segment: Segment<'a>) -> &mut Sought<'a> {
        self.sought[self.len].insert(Sought { hash, likely: Likely::default(), mark: Mark::default(), segment })
    }

    /// The time of the last segment.
    fn last(&self) -> Option<Time> {
        let last = self.sought[..self.len].last()?.as_ref()?;
        Some(last.segment.time)
    }
}

/// All flows and what falls due on them.
#[derive(Default)]
struct Flows {
    options: Options,
    table: Table<Watched>,
    /// The last segments of all of them, to know copies by.
    recent: Recent,
    /// When to look at which flow again. An entry that the flow's own plan contradicts means nothing: a sooner time took
    /// its place.
    due: BinaryHeap<Reverse<(Time, usize)>>,
    /// How many there were, those let go included.
    opened: u64,
    /// Bytes that they have on the heap.
    heap: usize,
    /// Whether they take more than they may.
    crowded: bool,
    let_go: LetGo,
    /// When the capture lost packets.
    lost: Losses,
    /// Whether data is told of.
    data: bool,
    /// Reused between segments.
    ear: Ear,
}

impl Analyzer {
    /// An analyzer that has seen nothing.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let recent = Recent::within(options.memory.unwrap_or(usize::MAX) / FOR_COPIES);
        let flows = Flows { options, recent, ..Flows::default() };
        let (decoder, analysis, clock) = (Decoder::default(), Analysis::default(), Clock::default());
        Analyzer { decoder, analysis, clock, time: Time::default(), flows }
    }

    /// Tells of data too, by [`EventKind::Data`].
    pub fn tell_of_data(&mut self) {
        self.flows.data = true;
    }

    /// Takes the next frames. More at a time cost less each: what they need is fetched from memory side by side.
    pub fn frames(&mut self, frames: &[Frame<'_>], sink: &mut Sink<'_>) {
        self.frames_and_others(frames, &mut |_| (), sink);
    }

    /// Takes the next frames, and hands on what of them belongs to another's share of the flows.
    pub fn frames_and_others(&mut self, frames: &[Frame<'_>], others: &mut Others<'_>, sink: &mut Sink<'_>) {
        self.count(frames);
        let mut batch = Batch::default();
        for frame in frames {
            let Analyzer { decoder, analysis, flows, time, .. } = self;
            if frame.time < *time {
                // A segment of this time lets fall due what is due until then.
                if batch.last().is_none_or(|last| last < *time) {
                    flows.take_batch(&mut batch, analysis, sink);
                    flows.fall_due(*time, sink);
                }
                others(Handed::Time(*time));
            }
            *time = frame.time;
            if let Some((segment, unread)) = decode::plain(frame) {
                let hash = table::hash(&segment.src, &segment.dst);
                unread.read_into(&mut batch.next(hash, segment).segment);
                flows.divide(&mut batch, analysis, others, sink);
                continue;
            }
            match decode::patient(frame) {
                Inner::Decoded(decoded) => flows.decoded(decoded, &mut batch, analysis, others, sink),
                Inner::Fragment(piece) => {
                    flows.take_batch(&mut batch, analysis, sink);
                    // What is put together lasts until the next is.
                    let (decoded, mut batch) = (decoder.put_together(frame, piece), Batch::default());
                    flows.decoded(decoded, &mut batch, analysis, others, sink);
                    flows.take_batch(&mut batch, analysis, sink);
                }
            }
        }
        let Analyzer { analysis, flows, time, .. } = self;
        flows.take_batch(&mut batch, analysis, sink);
        flows.fall_due(*time, sink);
    }

    /// Takes what another analyzer handed over: all of it belongs to this one's share.
    pub fn handed<'a>(&mut self, handed: impl Iterator<Item = Handed<Segment<'a>>>) {
        let Analyzer { analysis, flows, .. } = self;
        let mut batch = Batch::default();
        for handed in handed {
            match handed {
                Handed::Segment(hash, segment) => {
                    debug_assert!(flows.options.has(hash));
                    batch.next(hash, segment);
                    flows.seek(&mut batch, analysis, &mut None);
                }
                Handed::Icmp(hash, error) => {
                    flows.take_batch(&mut batch, analysis, &mut None);
                    flows.icmp(hash, &error, &mut None);
                }
                Handed::Time(time) => {
                    flows.take_batch(&mut batch, analysis, &mut None);
                    flows.fall_due(time, &mut None);
                }
            }
        }
        flows.take_batch(&mut batch, analysis, &mut None);
    }

    /// Counts frames and notes their times.
    fn count(&mut self, frames: &[Frame<'_>]) {
        let a = &mut self.analysis;
        a.packets += frames.len() as u64;
        a.bytes += frames.iter().map(|frame| u64::from(frame.wire_len)).sum::<u64>();
        a.first_packet = a.first_packet.or(frames.first().map(|frame| frame.time));
        a.last_packet = a.last_packet.max(frames.iter().map(|frame| frame.time).max());
        frames.iter().for_each(|frame| self.clock.shows(frame.time));
    }

    /// The capture lost packets at some moments between these two, of which the later may be ahead of the frames given
    /// so far: nobody is taken for dead because of what may be missing.
    pub fn lost(&mut self, since: Time, until: Time) {
        self.flows.lost.add(since, until);
    }

    /// Time has passed without a frame: verdicts that fall due by `now` are told.
    pub fn advance(&mut self, now: Time, sink: &mut Sink<'_>) {
        self.flows.fall_due(now, sink);
    }

    /// What it has come to so far.
    #[must_use]
    pub fn so_far(&self) -> SoFar<'_> {
        let flows = &self.flows;
        SoFar {
            analysis: &self.analysis,
            let_go: &flows.let_go,
            flows: flows.table.len(),
            memory: flows.size(),
            memory_limit: flows.options.memory,
        }
    }

    /// Gives each of the open flows among the next `count` from `place` on, as they stand `now`, with no more than what
    /// flows are counted by ([`verdict::outline`]). Gives the place to go on from, `None` after the last flow.
    pub fn survey(&self, place: usize, count: usize, now: Time, each: &mut dyn FnMut(&FlowSummary)) -> Option<usize> {
        let table = &self.flows.table;
        let end = place.saturating_add(count).min(table.len());
        for watched in (place..end).map(|number| table.get(number)).filter(|watched| !watched.over()) {
            let (mut summary, context) = watched.summary(now);
            if summary.end == End::Open {
                verdict::outline(&mut summary, &context);
                each(&summary);
            }
        }
        (end < table.len()).then_some(end)
    }

    /// Shows what is known so far, as if the capture ended at `now`; it goes on afterwards.
    pub fn look<T>(&mut self, now: Time, show: impl FnOnce(&mut Analysis) -> T) -> T {
        let own = std::mem::take(&mut self.analysis.warnings);
        let mut analysis = std::mem::take(&mut self.analysis);
        analysis.let_go = std::mem::take(&mut self.flows.let_go);
        analysis.warnings.clone_from(&own);
        analysis.warnings.extend(self.clock.warning());
        analysis.warnings.extend(analysis.let_go.warning());
        analysis.flows = analysis::Flows::going_on(std::mem::take(&mut self.flows.table), self.flows.lost.clone(), now);
        let shown = show(&mut analysis);
        self.flows.table = std::mem::take(&mut analysis.flows).into_table();
        self.flows.let_go = std::mem::take(&mut analysis.let_go);
        analysis.warnings = own;
        self.analysis = analysis;
        shown
    }

    /// The capture ended; `now` is its last moment where that is later than the last frame.
    pub fn finish(mut self, now: Option<Time>, sink: &mut Sink<'_>) -> Analysis {
        self.settle(now, sink);
        Analyzer::merge(vec![self], now)
    }

    /// When the capture ends: with its last frame, or at `now` if that is later.
    #[must_use]
    pub fn end(&self, now: Option<Time>) -> Option<Time> {
        self.clock.now().max(now)
    }

    /// Tells the last verdicts: nothing more will come, and the capture ended at `now` or with its last frame.
    pub fn settle(&mut self, now: Option<Time>, sink: &mut Sink<'_>) {
        if let Some(end) = self.end(now) {
            self.flows.finish(end, sink);
        }
    }

    /// Puts together what came of one capture in several analyzers that each took its share of the flows: the first one
    /// was given all frames, the others at least those of their share. All must have been settled.
    #[must_use]
    pub fn merge(shares: Vec<Analyzer>, now: Option<Time>) -> Analysis {
        let end = shares.first().and_then(|first| first.end(now)).unwrap_or_default();
        let mut tables = Vec::with_capacity(shares.len());
        let mut merged: Option<Analysis> = None;
        for share in shares {
            tables.push(share.flows.table);
            match &mut merged {
                None => {
                    let mut analysis = share.analysis;
                    analysis.let_go = share.flows.let_go;
                    analysis.warnings.extend(share.clock.warning());
                    merged = Some(analysis);
                }
                Some(first) => {
                    first.skipped.duplicates += share.analysis.skipped.duplicates;
                    first.let_go.include(share.flows.let_go);
                }
            }
        }
        let mut analysis = merged.unwrap_or_default();
        analysis.warnings.extend(analysis.let_go.warning());
        analysis.flows = analysis::Flows::new(tables, end);
        analysis
    }
}

/// What a flow takes besides its own size and its heap: its part of the table's index and of what is due, both after
/// doubling, and of the list by which the least interesting ones are found.
const FLOW_COST: usize = 128;

/// Of the memory that flows may take, the part of which copies are known by is at most one in so many.
const FOR_COPIES: usize = 8;

/// Entries of what is due that may mean nothing before they are cleared away; with more flows, as many as these.
const MEANINGLESS: usize = 1024;

impl Flows {
    /// Bytes that they take, roughly.
    fn size(&self) -> usize {
        self.table.len() * (size_of::<Watched>() + FLOW_COST) + self.heap + self.recent.heap()
    }

    /// Lets the least interesting flows go, a quarter of all by size, and of equal ones those longest unused. So much at
    /// a time that looking at all of them costs little for each new one.
    fn let_go(&mut self, now: Time, sink: &mut Sink<'_>) {
        self.crowded = false;
        let mut excess = self.size().saturating_sub(self.options.memory.map_or(usize::MAX, |m| m / 4 * 3));
        let key = |w: &Watched| (w.interest(now), w.id());
        let mut order: Vec<_> = self.table.iter().map(|w| (key(w), w.heap() as u32)).collect();
        order.sort_unstable_by_key(|(key, _)| *key);
        let kept = order.iter().find(|(_, heap)| {
            let found = excess == 0;
            excess = excess.saturating_sub(size_of::<Watched>() + FLOW_COST + *heap as usize);
            found
        });
        // Where all of them are not enough, none is kept.
        let least_kept = kept.map(|(key, _)| *key);
        drop(order);
        let moved = self.table.retain(|watched| {
            if least_kept.is_some_and(|least| key(watched) >= least) {
                return true;
            }
            self.heap -= watched.heap();
            watched.finish(now, &mut Out::new(watched.id(), sink, &self.lost));
            let (mut summary, context) = watched.summary(now);
            verdict::outline(&mut summary, &context);
            self.let_go.add(&summary);
            false
        });
        let due = std::mem::take(&mut self.due).into_iter();
        let renumbered = due.map(|Reverse((time, number))| Reverse((time, moved[number] as usize)));
        self.due = renumbered.filter(|Reverse((_, number))| *number != GONE as usize).collect();
    }

    /// Asks for what these segments will need, after the index's slots. Each step asks for what the next one reads, for all
    /// of them, so that nothing is waited for alone.
    fn prefetch(&self, segments: &mut [Option<Sought<'_>>]) {
        let mut flows = Few::<_, BATCH>::default();
        for sought in segments.iter_mut().flatten() {
            sought.likely = self.table.likely(sought.hash);
            let flow = self.table.likely_flow(sought.likely);
            flow.inspect(|flow| prefetch(*flow));
            flows.push(flow.map(|flow| (flow, sought.segment.payload_len > 0)));
        }
        // Made here, the marks take the time that the flows' lines take to come.
        for sought in segments.iter_mut().flatten() {
            sought.mark = Mark::new(sought.hash, &sought.segment);
            self.recent.prefetch(sought.mark);
        }
        let mut heartbeats = Few::<_, BATCH>::default();
        for (flow, payload) in flows.iter() {
            flow.prefetch();
            let of = flow.heartbeats().filter(|_| payload);
            of.inspect(|of| prefetch(*of));
            heartbeats.push(of);
        }
        heartbeat::prefetch_parts(&heartbeats);
    }

    /// Begins to look for the flow of the segment put into the batch last, and takes the batch if that makes it full.
    #[inline]
    fn seek(&mut self, batch: &mut Batch<'_>, analysis: &mut Analysis, sink: &mut Sink<'_>) {
        if let Some(sought) = &batch.sought[batch.len] {
            self.table.prefetch(sought.hash);
        }
        batch.len += 1;
        if batch.len == BATCH {
            self.take_batch(batch, analysis, sink);
        }
    }

    /// Takes the segments of a batch, which is empty then.
    fn take_batch(&mut self, batch: &mut Batch<'_>, analysis: &mut Analysis, sink: &mut Sink<'_>) {
        let segments = &mut batch.sought[..std::mem::take(&mut batch.len)];
        self.prefetch(segments);
        for sought in segments.iter().flatten() {
            self.take_wanted(sought, analysis, sink);
        }
    }

    /// Counts the segment put into the batch last, which stays there if its flow is of this share and is handed on if not.
    #[inline(always)]
    fn divide(&mut self, batch: &mut Batch<'_>, analysis: &mut Analysis, others: &mut Others<'_>, sink: &mut Sink<'_>) {
        analysis.tcp_segments += 1;
        let Some(Sought { hash, segment, .. }) = &batch.sought[batch.len] else { return };
        if !self.options.has(*hash) {
            others(Handed::Segment(*hash, segment));
        } else {
            self.seek(batch, analysis, sink);
        }
    }

    /// Counts what a frame held, and keeps or hands on what tells of a flow.
    fn decoded<'a>(
        &mut self,
        decoded: Decoded<'a>,
        batch: &mut Batch<'a>,
        analysis: &mut Analysis,
        others: &mut Others<'_>,
        sink: &mut Sink<'_>,
    ) {
        match decoded {
            Decoded::Segment(segment) => {
                batch.next(table::hash(&segment.src, &segment.dst), segment);
                self.divide(batch, analysis, others, sink);
            }
            Decoded::Icmp(error) => {
                analysis.skipped.not_tcp += 1;
                let hash = table::hash(&error.src, &error.dst);
                if self.options.has(hash) {
                    self.take_batch(batch, analysis, sink);
                    self.icmp(hash, &error, sink);
                } else {
                    others(Handed::Icmp(hash, error));
                }
            }
            Decoded::Skipped(skip) => analysis.skipped.add(skip),
        }
    }

    /// Takes a segment, if its flow is wanted.
    #[inline]
    fn take_wanted(&mut self, sought: &Sought<'_>, analysis: &mut Analysis, sink: &mut Sink<'_>) {
        let s = &sought.segment;
        self.fall_due(s.time, sink);
        if self.options.wants(&s.src, &s.dst) && !self.segment(sought, sink) {
            analysis.skipped.duplicates += 1;
        }
    }

    /// Takes a segment; false if it is a copy of one taken before.
    #[inline]
    fn segment(&mut self, sought: &Sought<'_>, sink: &mut Sink<'_>) -> bool {
        let Sought { hash, likely, mark, segment: s, .. } = sought;
        if self.crowded {
            self.let_go(s.time, sink);
        }
        let Some((known, from)) = self.table.find_likely(*likely, *hash, &s.src, &s.dst) else {
            self.open(*hash, s, s.frame, sink);
            return true;
        };
        let watched = self.table.get_mut(known);
        if self.recent.is_copy(*mark, watched.segments(), s) {
            watched.add_duplicate();
            return false;
        }
        if s.flags.syn() || watched.reopening() {
            self.reopen(*hash, known, from, s, sink);
        } else {
            self.take(known, from, s, sink);
        }
        true
    }

    /// Takes a segment of a known flow that may belong to a new connection.
    #[inline(never)]
    fn reopen(&mut self, hash: u32, known: usize, from: Side, s: &Segment<'_>, sink: &mut Sink<'_>) {
        match self.table.get_mut(known).reopens(from, s) {
            Reopening::No => self.take(known, from, s, sink),
            Reopening::Waits => {}
            Reopening::Yes(first) => {
                let first = first.unwrap_or(*s);
                self.close(known, first.time, sink);
                let opened = self.open(hash, &first, s.frame, sink);
                if first.frame != s.frame {
                    let from = self.table.get(opened).side(s);
                    self.recent.add(Mark::new(hash, s), 1, s);
                    self.take(opened, from, s, sink);
                }
            }
        }
    }

    /// Begins a flow with its first segment, at a frame that may come later than that.
    #[inline(never)]
    fn open(&mut self, hash: u32, first: &Segment<'_>, frame: u64, sink: &mut Sink<'_>) -> usize {
        self.opened += 1;
        let id = if self.options.share.is_some() { frame } else { self.opened };
        let conn = Connection::new(first);
        let (from, kind) = (conn.side(first), EventKind::FlowStart { ends: conn.ends.both() });
        Out::new(id, sink, &self.lost).tell(first.time, Some(first.frame), Some(from), kind);
        let opened = self.table.insert(hash, Watched::new(id, conn));
        self.recent.add(Mark::new(hash, first), 0, first);
        self.take(opened, from, first, sink);
        opened
    }

    fn take(&mut self, number: usize, from: Side, s: &Segment<'_>, sink: &mut Sink<'_>) {
        let watched = self.table.get_mut(number);
        let mut out = Out::new(watched.id(), sink, &self.lost);
        self.ear.listen(out.listens());
        if self.data {
            watched.segment_with_data(from, s, &mut self.ear, &mut out);
        } else {
            watched.segment(from, s, &mut self.ear, &mut out);
        }
        let due = watched.schedule();
        if let Some(more) = watched.count_heap() {
            self.heap = self.heap.saturating_add_signed(more);
            self.crowded = self.options.memory.is_some_and(|most| self.size() > most);
        }
        if let Some(due) = due {
            self.plan(due, number);
            // What it made due at once is not left to the next one's time, which may be earlier.
            self.fall_due(s.time, sink);
        }
    }

    /// Takes an ICMP error about a flow of this hash.
    fn icmp(&mut self, hash: u32, e: &IcmpError, sink: &mut Sink<'_>) {
        self.fall_due(e.time, sink);
        if e.unreachable()
            && self.options.wants(&e.src, &e.dst)
            && let Some((number, told)) = self.table.find(hash, &e.src, &e.dst)
        {
            self.table.get_mut(number).icmp(told, e);
        }
    }

    /// Looks again at the flows whose time has come.
    #[inline]
    fn fall_due(&mut self, now: Time, sink: &mut Sink<'_>) {
        if self.due.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            self.look_again(now, sink);
        }
    }

    #[inline(never)]
    fn look_again(&mut self, now: Time, sink: &mut Sink<'_>) {
        while let Some(&Reverse((due, number))) = self.due.peek() {
            if due > now {
                break;
            }
            self.due.pop();
            let watched = self.table.get_mut(number);
            if !watched.is_scheduled(due) {
                continue;
            }
            let mut out = Out::new(watched.id(), sink, &self.lost);
            // As of then, so that it does not matter how often somebody looks.
            if let Some(again) = watched.fall_due(due, &mut out) {
                self.plan(again, number);
            }
        }
    }

    /// A flow is to be looked at again.
    fn plan(&mut self, due: Time, number: usize) {
        if self.due.len() > MEANINGLESS.max(2 * self.table.len()) {
            self.due.retain(|Reverse((time, number))| self.table.get(*number).is_scheduled(*time));
        }
        self.due.push(Reverse((due, number)));
    }

    /// A new connection has taken the flow's ends.
    fn close(&mut self, number: usize, now: Time, sink: &mut Sink<'_>) {
        let watched = self.table.get_mut(number);
        let mut out = Out::new(watched.id(), sink, &self.lost);
        watched.finish(now, &mut out);
    }

    /// The last verdicts of all flows.
    fn finish(&mut self, end: Time, sink: &mut Sink<'_>) {
        // The last frames may have held none of these flows, and then have not been given.
        self.fall_due(end, sink);
        for number in 0..self.table.len() {
            self.table.prefetch_next(number, Watched::prefetch);
            let watched = self.table.get_mut(number);
            let mut out = Out::new(watched.id(), sink, &self.lost);
            watched.finish(end, &mut out);
        }
    }
}
