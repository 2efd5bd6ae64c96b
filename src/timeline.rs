//! What happened on each flow, as marks on a line of time: what pictures of a flow are drawn from.
//!
//! Marks are gathered from events while those are told, for nobody knows beforehand which flows will be of interest. So
//! everything is bounded: a flow keeps its beginning, its end and what alarms; over all flows, those that tell least are
//! let go first. What was left out is counted, or at least known to be missing.

use std::collections::HashMap;

use crate::event::{Event, EventKind};
use crate::packet::{MILLISECOND, Nanos, Time};
use crate::summary::{Both, End, Side};

/// Marks of one flow; at this many, a quarter is left out.
pub const MAX_MARKS: usize = 384;
/// Marks at a flow's beginning that stay.
const FIRST: usize = 96;
/// Stretches of data of one side; beyond, the shortest pauses between them are closed.
pub const MAX_STRETCHES: usize = 128;
/// Flows that have a timeline; beyond, a quarter is let go.
const MAX_FLOWS: usize = 1 << 15;
/// Marks and stretches of all flows; beyond, flows are let go until a quarter is free.
const MAX_ITEMS: usize = 1 << 20;
/// Bytes that a flow takes without its marks, and that a mark takes, after doubling of what holds them.
const FLOW_COST: usize = 2 * (size_of::<Timeline>() + size_of::<u64>());
const ITEM_COST: usize = 2 * size_of::<Mark>();

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// A keepalive probe.
    Probe {
        /// Whether an answer came.
        answered: bool,
    },
    /// The answer to one.
    ProbeAnswer,
    /// A probe of a closed window.
    WindowProbe {
        /// Whether an answer came.
        answered: bool,
    },
    /// The answer to one.
    WindowAnswer,
    /// A segment with bytes sent before.
    Retransmission,
    /// An application heartbeat.
    Beat,
    /// The reply to one.
    Reply,
    /// A beat was due and did not come.
    Missed,
    /// The packet that ended the flow.
    End(End),
}

impl MarkKind {
    /// Whether it may be a sign of a dead peer.
    #[must_use]
    pub fn alarms(self) -> bool {
        use MarkKind::{Missed, Probe, Retransmission, WindowProbe};
        matches!(self, Probe { answered: false } | WindowProbe { answered: false } | Retransmission | Missed)
    }
}

/// Something that a side did, or failed to do, at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub time: Time,
    /// The packet; `None` where no packet marks it.
    pub frame: Option<u64>,
    /// Whose doing it is.
    pub from: Side,
    /// What.
    pub kind: MarkKind,
}

/// What is known of one flow.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    marks: Vec<Mark>,
    data: Both<Stretches>,
    left_out: u64,
    gap: Option<(Time, Time)>,
    begins_late: bool,
    latest: Time,
    state: State,
}

/// How much a flow's timeline matters, as far as its end tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// It ended, and nobody was taken for dead.
    Over,
    #[default]
    Open,
    /// A side was taken for dead.
    Dead,
}

impl Timeline {
    /// The marks that were kept, in order of time.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The stretches of time in which a side sent new data, each by its first and last segment, in order of time.
    #[must_use]
    pub fn data(&self, from: Side) -> &[(Time, Time)] {
        &self.data[from].stretches
    }

    /// Pauses of a side's data up to this long are not shown, for there were too many.
    #[must_use]
    pub fn closed_pauses(&self, from: Side) -> Nanos {
        self.data[from].pause
    }

    /// How many marks were left out.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Between which moments marks were left out.
    #[must_use]
    pub fn gap(&self) -> Option<(Time, Time)> {
        self.gap
    }

    /// Whether earlier marks were let go for the sake of other flows, uncounted.
    #[must_use]
    pub fn begins_late(&self) -> bool {
        self.begins_late
    }

    fn len(&self) -> usize {
        self.marks.len() + self.data.0.iter().map(|d| d.stretches.len()).sum::<usize>()
    }

    /// Whether it may be that its peer is dead.
    fn alarms(&self) -> bool {
        self.marks.iter().any(|m| m.kind.alarms())
    }

    fn add(&mut self, mark: Mark) {
        if self.marks.len() >= MAX_MARKS {
            self.thin();
        }
        // A heartbeat may be told late: its rhythm must be known first.
        let at = self.marks.partition_point(|m| m.time <= mark.time);
        self.marks.insert(at, mark);
    }

    /// Leaves out a quarter: after the beginning, the oldest ones that do not alarm, then others.
    fn thin(&mut self) {
        let mut surplus = MAX_MARKS / 4;
        for alarming in [false, true] {
            let mut number = 0;
            self.marks.retain(|mark| {
                number += 1;
                let goes = surplus > 0 && number > FIRST && mark.kind.alarms() == alarming;
                if goes {
                    surplus -= 1;
                    self.left_out += 1;
                    let (from, to) = self.gap.unwrap_or((mark.time, mark.time));
                    self.gap = Some((from.min(mark.time), to.max(mark.time)));
                }
                !goes
            });
        }
    }

    /// An answer came at `now` to the last probe that `prober` had sent.
    fn answered(&mut self, prober: Side, now: Time, window: bool) {
        // An answer follows its probe closely: a few marks may lie between, not all.
        const NEAR: usize = 32;
        let before = self.marks.partition_point(|m| m.time <= now);
        let near = self.marks[before.saturating_sub(NEAR)..before].iter_mut().rev().filter(|m| m.from == prober);
        for mark in near {
            match &mut mark.kind {
                MarkKind::Probe { answered } if !window => return *answered = true,
                MarkKind::WindowProbe { answered } if window => return *answered = true,
                _ => {}
            }
        }
    }
}

/// Stretches of time in which a side sent data.
#[derive(Clone, Debug, Default)]
struct Stretches {
    stretches: Vec<(Time, Time)>,
    /// Pauses up to this are closed.
    pause: Nanos,
}

impl Stretches {
    fn add(&mut self, at: Time) {
        match self.stretches.last_mut() {
            Some((_, end)) if at.since(*end) <= self.pause => *end = at.max(*end),
            _ => self.stretches.push((at, at)),
        }
        while self.stretches.len() > MAX_STRETCHES {
            self.pause = self.pause.saturating_mul(2).max(MILLISECOND);
            let pause = self.pause;
            self.stretches.dedup_by(|later, earlier| {
                let near = later.0.since(earlier.1) <= pause;
                if near {
                    earlier.1 = later.1.max(earlier.1);
                }
                near
            });
        }
    }
}

/// The timelines of all flows.
#[derive(Debug)]
pub struct Timelines {
    flows: HashMap<u64, Timeline>,
    /// Marks and stretches in all of them.
    items: usize,
    max_flows: usize,
    max_items: usize,
}

impl Default for Timelines {
    fn default() -> Self {
        Timelines { flows: HashMap::new(), items: 0, max_flows: MAX_FLOWS, max_items: MAX_ITEMS }
    }
}

impl Timelines {
    /// Bytes that they take at most.
    pub const MOST_BYTES: usize = MAX_FLOWS * FLOW_COST + MAX_ITEMS * ITEM_COST;

    /// Timelines that take at most so many bytes, roughly.
    #[must_use]
    pub fn within(bytes: usize) -> Self {
        let share = |most: usize| (most as f64 * (bytes as f64 / Self::MOST_BYTES as f64).min(1.0)) as usize;
        Timelines { max_flows: share(MAX_FLOWS), max_items: share(MAX_ITEMS), ..Timelines::default() }
    }

    /// Takes note of an event; [`EventKind::Data`] among them where stretches of data are wanted.
    pub fn event(&mut self, event: &Event) {
        let kind = match &event.kind {
            EventKind::FlowStart { .. } => {
                let begun = Timeline { latest: event.time, ..Timeline::default() };
                self.flows.insert(event.flow, begun);
                return self.make_room();
            }
            EventKind::FlowEnd(end) => {
                // One that was let go need not come back for this.
                let Some(timeline) = self.flows.get_mut(&event.flow) else { return };
                if timeline.state == State::Open && !matches!(end, End::DeadPeer | End::Open) {
                    timeline.state = State::Over;
                }
                MarkKind::End(*end)
            }
            EventKind::PeerDead { .. } => {
                if let Some(timeline) = self.flows.get_mut(&event.flow) {
                    timeline.state = State::Dead;
                }
                return;
            }
            EventKind::Data { .. } => return self.take(event, None),
            EventKind::KeepaliveProbe { .. } => MarkKind::Probe { answered: false },
            EventKind::KeepaliveAck { .. } => MarkKind::ProbeAnswer,
            EventKind::ZeroWindowProbe => MarkKind::WindowProbe { answered: false },
            EventKind::ZeroWindowAck => MarkKind::WindowAnswer,
            EventKind::Retransmission => MarkKind::Retransmission,
            EventKind::Heartbeat { .. } => MarkKind::Beat,
            EventKind::HeartbeatReply { .. } => MarkKind::Reply,
            EventKind::HeartbeatMissed { .. } => MarkKind::Missed,
        };
        self.take(event, Some(kind));
    }

    /// What is known of a flow; `None` if all of it was let go, or there is nothing.
    #[must_use]
    pub fn of(&self, flow: u64) -> Option<&Timeline> {
        self.flows.get(&flow)
    }

    /// Adds a mark, or data where there is none, to its flow.
    fn take(&mut self, event: &Event, kind: Option<MarkKind>) {
        let Some(from) = event.from else { return };
        let late = || Timeline { begins_late: true, ..Timeline::default() };
        let timeline = self.flows.entry(event.flow).or_insert_with(late);
        let before = timeline.len();
        timeline.latest = timeline.latest.max(event.time);
        match kind {
            None => timeline.data[from].add(event.time),
            Some(kind) => {
                if let MarkKind::ProbeAnswer | MarkKind::WindowAnswer = kind {
                    timeline.answered(from.peer(), event.time, kind == MarkKind::WindowAnswer);
                }
                timeline.add(Mark { time: event.time, frame: event.frame, from, kind });
            }
        }
        self.items = self.items + timeline.len() - before;
        self.make_room();
    }

    /// Where there is too much, lets flows go, a quarter at a time: those that ended well, then calm ones, then those with
    /// something that alarms, last those with a dead peer; of equal ones those longest unused.
    fn make_room(&mut self) {
        if self.flows.len() <= self.max_flows && self.items <= self.max_items {
            return;
        }
        let key = |(id, t): (&u64, &Timeline)| ((t.state, t.alarms(), t.latest, *id), t.len());
        let mut order: Vec<_> = self.flows.iter().map(key).collect();
        order.sort_unstable();
        for ((_, _, _, id), len) in order {
            if self.flows.len() <= self.max_flows / 4 * 3 && self.items <= self.max_items / 4 * 3 {
                return;
            }
            self.flows.remove(&id);
            self.items -= len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::SECOND;

    fn event(flow: u64, at: i64, from: Side, kind: EventKind) -> Event {
        Event { time: Time(at * SECOND), frame: None, flow, from: Some(from), kind }
    }

    fn start(flow: u64, at: i64) -> Event {
        event(flow, at, Side::Client, EventKind::FlowStart { ends: Both::default() })
    }

    fn times(timeline: &Timeline) -> Vec<i64> {
        timeline.marks().iter().map(|m| m.time.0 / SECOND).collect()
    }

    const PROBE: EventKind = EventKind::KeepaliveProbe { probe_len: 0 };
    const ACK: EventKind = EventKind::KeepaliveAck { rtt: 0 };
    const BEAT: EventKind = EventKind::Heartbeat { protocol: None, interval: None };

    #[test]
    fn a_probe_is_known_by_its_answer() {
        let mut all = Timelines::default();
        for (at, from, kind) in
            [(1, Side::Client, PROBE), (2, Side::Server, ACK), (3, Side::Server, PROBE), (4, Side::Client, PROBE)]
        {
            all.event(&event(1, at, from, kind));
        }
        let kinds: Vec<_> = all.of(1).unwrap().marks().iter().map(|m| m.kind).collect();
        let probe = |answered| MarkKind::Probe { answered };
        assert_eq!(kinds, [probe(true), MarkKind::ProbeAnswer, probe(false), probe(false)]);
    }

    #[test]
    fn what_is_told_late_comes_in_order() {
        let mut all = Timelines::default();
        for at in [5, 1, 3, 7, 2] {
            all.event(&event(1, at, Side::Client, BEAT));
        }
        assert_eq!(times(all.of(1).unwrap()), [1, 2, 3, 5, 7]);
    }

    #[test]
    fn beginning_end_and_alarms_of_a_long_flow_are_kept() {
        let mut all = Timelines::default();
        all.event(&start(1, 0));
        for at in 1..=10_000 {
            let kind = if at == 5_000 { EventKind::Retransmission } else { BEAT };
            all.event(&event(1, at, Side::Client, kind));
            assert!(all.of(1).unwrap().marks().len() <= MAX_MARKS);
        }
        let flow = all.of(1).unwrap();
        let kept = times(flow);
        assert_eq!(kept[..FIRST], (1..=FIRST as i64).collect::<Vec<_>>());
        assert_eq!(kept[FIRST], 5_000);
        let end = 10_000 - (MAX_MARKS - FIRST - MAX_MARKS / 4) as i64 + 2;
        assert!(kept.ends_with(&(end..=10_000).collect::<Vec<_>>()), "{kept:?}");
        assert_eq!(kept.len() as u64 + flow.left_out(), 10_000);
        let (from, to) = flow.gap().unwrap();
        assert_eq!((from.0 / SECOND, to.0 / SECOND), (FIRST as i64 + 1, kept[FIRST + 1] - 1));
    }

    #[test]
    fn a_flow_of_alarms_is_bounded_too() {
        let mut all = Timelines::default();
        for at in 0..100_000 {
            all.event(&event(1, at, Side::Client, EventKind::Retransmission));
        }
        let flow = all.of(1).unwrap();
        assert!(flow.marks().len() <= MAX_MARKS && times(flow).ends_with(&[99_999]));
        assert_eq!(all.items, flow.len());
    }

    #[test]
    fn stretches_of_data_close_their_shortest_pauses() {
        let mut all = Timelines::default();
        for n in 0..100_000 {
            let at = n + n / 50_000 * 3600;
            all.event(&event(1, at, Side::Server, EventKind::Data { bytes: 1 }));
        }
        let flow = all.of(1).unwrap();
        let data = flow.data(Side::Server);
        assert!(data.len() <= MAX_STRETCHES && flow.data(Side::Client).is_empty());
        assert!(flow.closed_pauses(Side::Server) < 3600 * SECOND);
        // The hour's pause is still there.
        assert!(data.windows(2).any(|w| w[1].0.since(w[0].1) > 3600 * SECOND), "{data:?}");
        assert_eq!(all.items, data.len());
    }

    #[test]
    fn times_at_the_ends_of_the_range_do_no_harm() {
        let mut all = Timelines::default();
        for n in 0..1_000 {
            let time = if n % 2 == 0 { Time(i64::MIN) } else { Time(i64::MAX) };
            for kind in [EventKind::Data { bytes: 1 }, PROBE, ACK] {
                all.event(&Event { time, frame: None, flow: 1, from: Some(Side::Client), kind });
            }
        }
        assert!(all.of(1).unwrap().data(Side::Client).len() <= MAX_STRETCHES);
    }

    #[test]
    fn flows_are_bounded_and_those_that_tell_least_go_first() {
        let mut all = Timelines::default();
        for id in 0..MAX_FLOWS as u64 {
            all.event(&start(id, id as i64));
        }
        let dead = crate::sample::dead();
        let kind = EventKind::PeerDead { ends: dead.ends, death: Box::new(dead.deaths[0].clone()) };
        all.event(&event(1, 1, Side::Client, kind));
        all.event(&event(2, 2, Side::Client, PROBE));
        let last = MAX_FLOWS as u64 - 1;
        all.event(&event(last, last as i64, Side::Client, EventKind::FlowEnd(End::Fin)));
        all.event(&start(1 << 40, 1 << 20));
        assert_eq!(all.flows.len(), MAX_FLOWS / 4 * 3);
        for (id, kept) in
            [(0, false), (1, true), (2, true), (3, false), (last - 1, true), (last, false), (1 << 40, true)]
        {
            assert_eq!(all.of(id).is_some(), kept, "{id}");
        }
        // One that comes back has lost its beginning.
        all.event(&event(3, 1 << 21, Side::Client, PROBE));
        assert!(all.of(3).unwrap().begins_late() && !all.of(2).unwrap().begins_late());
    }

    #[test]
    fn less_memory_is_fewer_flows_and_marks() {
        let mut all = Timelines::within(Timelines::MOST_BYTES / 64);
        for id in 0..MAX_FLOWS as u64 {
            all.event(&event(id, id as i64, Side::Client, PROBE));
            assert!(all.flows.len() <= MAX_FLOWS / 64 && all.items <= MAX_ITEMS / 64);
        }
        assert!(all.of(MAX_FLOWS as u64 - 1).is_some());
        let most = Timelines::within(usize::MAX);
        assert_eq!((most.max_flows, most.max_items), (MAX_FLOWS, MAX_ITEMS));
    }

    #[test]
    fn marks_of_all_flows_are_bounded() {
        let mut all = Timelines::default();
        let flows = (2 * MAX_ITEMS / MAX_MARKS) as u64;
        for id in 0..flows {
            for at in 0..MAX_MARKS as i64 {
                all.event(&event(id, at + id as i64, Side::Client, BEAT));
            }
            assert!(all.items <= MAX_ITEMS);
        }
        assert_eq!(all.items, all.flows.values().map(Timeline::len).sum::<usize>());
        assert!(all.of(0).is_none() && all.of(flows - 1).is_some());
    }
}
