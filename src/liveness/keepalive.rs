//! Kernel keepalive probes (RFC 9293 §3.8.4): what tells them from their look-alikes, and the settings they betray.

use super::settings::{Sample, Spans, setting};
use crate::flow::connection::{Connection, Half, Known};
use crate::flow::prefetch::prefetch;
use crate::flow::sequence::{after, before};
use crate::packet::{FrameNumber, MILLISECOND, Nanos, SECOND, Segment, Time};
use crate::summary::{KeepaliveSummary, Side};

/// An older acknowledgment this soon after a newer one was reordered. Receive queues of one host reorder by microseconds,
/// paths by a few milliseconds.
const REORDERING: Nanos = 50 * MILLISECOND;
/// No keepalive timer is as short as this: the shortest seen are the read-stall probes of Apple's stack, a retransmission
/// timeout of 100 ms after the last byte. What comes sooner is a copy or an oddity of the capture.
const SHORTEST_IDLE: Nanos = 90 * MILLISECOND;
/// Stacks that probe at an even pace count it in whole seconds, but for timers that fire early against the capture's clock.
const SHORTEST_INTERVAL: Nanos = SECOND * 9 / 10;
/// A single byte that equals the stream's last, this soon after it, is taken for a resend: retransmission timers start at
/// 200 ms to 1 s (RFC 6298 §2.4), keepalive timers at 1 s (Linux: `TCP_KEEPIDLE` is in whole seconds).
const RESEND: Nanos = SECOND;
/// An answer that comes later than this answers something else; round trips beyond are unknown.
pub const ANSWER: Nanos = 10 * SECOND;

/// What a segment of the shape [`crate::flow::connection::Shape::Below`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A keepalive probe.
    Keepalive,
    /// A probe while the peer's window is closed: of the window, or keepalive; the pace tells.
    AtClosedWindow,
    /// The last byte again.
    Resend,
    /// An acknowledgment overtaken by a later segment.
    Reordered,
}

/// Judges a segment of 0 or 1 bytes at SND.NXT-1 or SND.UNA-1, by the state before it. `resent` is when its sender last
/// sent bytes again.
#[inline]
#[must_use]
pub fn judge(c: &Connection, from: Side, s: &Segment<'_>, resent: Option<Time>) -> Kind {
    let me = &c.half[from];
    if !me.known.has(Known::NXT) {
        return Kind::Keepalive;
    }
    let since_data = s.time.since(resent.map_or(me.last_data, |t| t.max(me.last_data)));
    // Far below zero it says nothing: the clock stepped back.
    if (-REORDERING..SHORTEST_IDLE).contains(&since_data)
        || (c.older_ack(from, s.ack) && s.time.since(me.last) < REORDERING)
    {
        return if s.payload_len == 0 { Kind::Reordered } else { Kind::Resend };
    }
    let newer = match s.options.timestamps {
        Some((tsval, _)) if me.known.has(Known::TIMESTAMPS) => {
            if before(tsval, me.tsval) {
                return Kind::Reordered;
            }
            Some(after(tsval, me.tsval))
        }
        _ => None,
    };
    let acknowledged = me.known.has(Known::UNA) && !after(s.seq.wrapping_add(1), me.una);
    if !acknowledged {
        if c.isn(from) == Some(me.una) {
            // A SYN-ACK that is not yet acknowledged: its host answers the SYN's copies from this sequence number.
            return Kind::Reordered;
        }
        // With its last byte unacknowledged a stack resends it. An empty segment below it, a second later, means that
        // the acknowledgment passed out of the capture's sight.
        return match s.payload_len {
            0 if since_data >= SECOND => Kind::Keepalive,
            0 => Kind::Reordered,
            _ => Kind::Resend,
        };
    }
    if !trails_a_single_byte(me, s) || told_apart(c, from, s, newer, since_data) {
        if c.window_closed(from.peer()) { Kind::AtClosedWindow } else { Kind::Keepalive }
    } else if s.payload_len == 0 {
        Kind::Reordered
    } else {
        Kind::Resend
    }
}

/// Whether the last thing sent was one byte (or a FIN), so that the segment may be that byte again, or an acknowledgment
/// sent just before it. After anything longer only a probe looks like this.
fn trails_a_single_byte(me: &Half, s: &Segment<'_>) -> bool {
    me.known.has(Known::SINGLE) && s.seq.wrapping_add(1) == me.nxt
}

fn told_apart(c: &Connection, from: Side, s: &Segment<'_>, newer: Option<bool>, since_data: Nanos) -> bool {
    if s.payload_len == 0 {
        return newer.unwrap_or(true);
    }
    let (me, peer) = (&c.half[from], &c.half[from.peer()]);
    let other_byte = c.last_byte(from).is_some_and(|last| s.payload.first().is_some_and(|&b| b != last));
    if other_byte || me.known.has(Known::FIN) {
        return true;
    }
    match s.options.timestamps {
        // A side that has received the acknowledgment does not resend.
        Some((_, tsecr)) if peer.known.has(Known::TIMESTAMPS) => !before(tsecr, peer.tsval),
        _ => since_data >= RESEND,
    }
}

/// A segment that may be a probe, until something proves it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// When it was sent.
    pub time: Time,
    /// Its frame.
    pub frame: u64,
    /// 0 or 1.
    pub len: u8,
    /// What looked like its answer: time and frame.
    pub answer: Option<(Time, u64)>,
}

/// The keepalive probes of both sides. Mostly one side probes, and a flow is watched by the million: those of the side that
/// began later come behind those of the first.
#[derive(Clone, Debug, Default)]
pub struct Probers(Option<Box<Probes>>);

impl Probers {
    /// Asks for what is there.
    #[inline]
    pub fn prefetch(&self) {
        if let Some(first) = &self.0 {
            prefetch(&**first);
        }
    }

    /// Those there are.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = &Probes> {
        std::iter::successors(self.0.as_deref(), |probes| probes.other())
    }

    /// A side's.
    #[inline]
    #[must_use]
    pub fn of(&self, side: Side) -> Option<&Probes> {
        let first = self.0.as_deref()?;
        if first.side() == side { Some(first) } else { first.other() }
    }

    /// The same, to change.
    #[inline]
    pub fn of_mut(&mut self, side: Side) -> Option<&mut Probes> {
        let first = self.0.as_deref_mut()?;
        if first.side() == side { Some(first) } else { first.more.as_mut()?.other.as_deref_mut() }
    }

    /// The same, made with the first probe.
    #[inline]
    pub fn of_or_new(&mut self, side: Side, time: Time) -> &mut Probes {
        let new = || Box::new(Probes::new(side, time));
        let first = self.0.get_or_insert_with(new);
        if first.side() == side { first } else { first.more().other.get_or_insert_with(new) }
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap(&self) -> usize {
        self.iter()
            .map(|probes| size_of::<Probes>() + probes.more.as_ref().map_or(0, |more| size_of_val(&**more)))
            .sum()
    }
}

/// Which side's the probes are, and what is known of the last one and of the first.
#[derive(Clone, Copy, Debug, Default)]
struct State(u8);

impl State {
    /// The last one carried a byte of garbage.
    const GARBAGE: u8 = 1;
    /// The last one still waits for its answer.
    const OUTSTANDING: u8 = 1 << 1;
    /// Its sender has sent new bytes or a FIN since the last one.
    const DATA_SINCE: u8 = 1 << 2;
    /// Before the first one nothing was heard that an idle time could count from.
    const UNMEASURED: u8 = 1 << 3;
    /// The server sends them.
    const SERVER: u8 = 1 << 4;

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    fn put(&mut self, bit: u8, known: bool) {
        self.0 = self.0 & !bit | if known { bit } else { 0 };
    }
}

/// The keepalive probes of one side.
#[derive(Clone, Debug)]
pub struct Probes {
    state: State,
    last_frame: FrameNumber,
    /// The first.
    pub first: Time,
    /// The last.
    pub last: Time,
    /// From hearing the peer to the next probe: TCP_KEEPIDLE, or the longer of it and TCP_KEEPINTVL if the peer's last word
    /// was an answer.
    idle: Spans,
    /// Probe to answer.
    rtt: Sample,
    more: Option<Box<More>>,
}

/// What few flows need: what there is to know of probes that drew no plain acknowledgment, and the other side's.
#[derive(Clone, Debug, Default)]
struct More {
    other: Option<Box<Probes>>,
    /// Probes that no idle time was measured by, but for the first.
    unmeasured: u32,
    /// Probes before the last that no answer came to.
    unanswered: u32,
    /// Probes since the prober last heard its peer, but for the first.
    repeated: u32,
    /// Frame of the first probe of the current run, of two or more.
    run_frame: u64,
    /// When that was sent.
    run_start: Time,
    /// Gap before the last probe of that run.
    gap: Nanos,
    /// Gap before that, 0 if there is none.
    gap_before: Nanos,
    /// Between probes that went unanswered: TCP_KEEPINTVL.
    interval: Spans,
    /// Data that may be the answer to the last probe, if no plain acknowledgment follows: time and frame.
    by_data: Option<(Time, u64)>,
    /// The run after which the side gave up, once it did.
    count: Option<u32>,
}

/// A million flows have them.
const _: () = assert!(size_of::<Probes>() <= 72);

impl Probes {
    /// A side's first probe.
    #[must_use]
    pub fn new(side: Side, time: Time) -> Self {
        let mut state = State::default();
        state.put(State::SERVER, side == Side::Server);
        Probes {
            state,
            last_frame: 0.into(),
            first: time,
            last: time,
            idle: Spans::default(),
            rtt: Sample::default(),
            more: None,
        }
    }

    fn side(&self) -> Side {
        if self.state.has(State::SERVER) { Side::Server } else { Side::Client }
    }

    fn other(&self) -> Option<&Probes> {
        self.more.as_ref()?.other.as_deref()
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// How many.
    #[inline]
    #[must_use]
    pub fn sent(&self) -> u32 {
        let others = self.more.as_ref().map_or(0, |more| more.unmeasured);
        self.idle.count().saturating_add(others).saturating_add(self.state.has(State::UNMEASURED).into())
    }

    /// How many were answered.
    #[must_use]
    fn answered(&self) -> u32 {
        let before = self.more.as_ref().map_or(0, |more| more.unanswered);
        self.sent().saturating_sub(before).saturating_sub(self.outstanding().into())
    }

    /// The last one's frame.
    #[inline]
    #[must_use]
    pub fn last_frame(&self) -> u64 {
        self.last_frame.get()
    }

    /// Whether the last one still waits for its answer.
    #[inline]
    #[must_use]
    pub fn outstanding(&self) -> bool {
        self.state.has(State::OUTSTANDING)
    }

    /// Whether its sender has sent new bytes or a FIN since the last one.
    #[inline]
    #[must_use]
    pub fn data_since(&self) -> bool {
        self.state.has(State::DATA_SINCE)
    }

    /// The prober sent new bytes or a FIN.
    #[inline]
    pub fn sent_data(&mut self) {
        self.state.put(State::DATA_SINCE, true);
    }

    /// Probes since the prober last heard its peer.
    #[inline]
    #[must_use]
    pub fn run(&self) -> u32 {
        self.more.as_ref().map_or(1, |more| more.repeated.saturating_add(1))
    }

    /// Takes a probe. `heard` is when its sender last heard its peer.
    #[inline]
    pub fn probe(&mut self, p: Candidate, heard: Option<Time>) {
        let first = self.sent() == 0;
        if self.outstanding() {
            let unanswered = &mut self.more().unanswered;
            *unanswered = unanswered.saturating_add(1);
        }
        if !first && heard.is_none_or(|h| h <= self.last) {
            self.again(p.time);
        } else {
            if let Some(more) = &mut self.more {
                more.repeated = 0;
            }
            let measured = heard.is_some_and(|heard| self.idle.add(p.time.since(heard)));
            if first {
                self.state.put(State::UNMEASURED, !measured);
            } else if !measured {
                self.note_unmeasured();
            }
        }
        self.state.put(State::GARBAGE, p.len > 0);
        self.last = p.time;
        self.last_frame = p.frame.into();
        self.state.put(State::OUTSTANDING, true);
        self.state.put(State::DATA_SINCE, false);
        self.forget_data();
    }

    fn note_unmeasured(&mut self) {
        let unmeasured = &mut self.more().unmeasured;
        *unmeasured = unmeasured.saturating_add(1);
    }

    /// Another probe, after one that the peer did not answer.
    fn again(&mut self, time: Time) {
        self.note_unmeasured();
        let gap = time.since(self.last);
        let (last, last_frame) = (self.last, self.last_frame());
        let u = self.more();
        if u.repeated == 0 {
            (u.run_frame, u.run_start, u.gap_before) = (last_frame, last, 0);
        } else {
            u.gap_before = u.gap;
        }
        u.gap = gap;
        u.interval.add(gap);
        u.repeated = u.repeated.saturating_add(1);
    }

    /// Takes the answer to the last probe; gives the round trip.
    #[inline]
    pub fn answer(&mut self, time: Time) -> Nanos {
        let rtt = time.since(self.last).max(0);
        self.rtt.add(self.answered(), rtt);
        self.state.put(State::OUTSTANDING, false);
        self.forget_data();
        rtt
    }

    /// The peer sent data while an answer is due: it may be the answer, if no plain acknowledgment follows.
    pub fn data(&mut self, time: Time, frame: u64) {
        self.more().by_data.get_or_insert((time, frame));
    }

    /// Data that may be the answer to the last probe: time and frame.
    #[inline]
    #[must_use]
    pub fn answered_by_data(&self) -> Option<(Time, u64)> {
        self.more.as_ref().and_then(|u| u.by_data)
    }

    #[inline]
    fn forget_data(&mut self) {
        if let Some(u) = &mut self.more {
            u.by_data = None;
        }
    }

    /// The side gave up after the current run, or had not after all.
    pub fn gave_up(&mut self, gave_up: bool) {
        let run = self.run();
        self.more().count = gave_up.then_some(run);
    }

    /// When the first probe of the current run was sent.
    #[must_use]
    pub fn run_start(&self) -> Time {
        self.repeated().map_or(self.last, |u| u.run_start)
    }

    /// The frame of that.
    #[must_use]
    pub fn run_frame(&self) -> u64 {
        self.repeated().map_or(self.last_frame(), |u| u.run_frame)
    }

    /// What is known of the current run, if it is one of several.
    fn repeated(&self) -> Option<&More> {
        self.more.as_deref().filter(|more| more.repeated > 0)
    }

    /// TCP_KEEPIDLE in seconds, as far as it shows.
    #[must_use]
    pub fn idle_s(&self) -> Option<f64> {
        self.idle.min().map(setting)
    }

    /// TCP_KEEPINTVL in seconds, as far as it shows.
    #[must_use]
    pub fn interval_s(&self) -> Option<f64> {
        self.least_interval().map(setting)
    }

    /// The least gap between unanswered probes.
    #[must_use]
    pub fn least_interval(&self) -> Option<Nanos> {
        self.more.as_ref().and_then(|u| u.interval.min())
    }

    /// How long after the last probe of a run the next one comes, or the prober gives up: an interval. illumos doubles it
    /// from the retransmission timeout on, which shows by its growth, and at first by less than any stack's fixed interval.
    #[must_use]
    pub fn next(&self) -> Option<Nanos> {
        let doubled = self.repeated().and_then(|u| {
            let doubling = if u.gap_before > 0 { u.gap >= u.gap_before * 3 / 2 } else { u.gap < SHORTEST_INTERVAL };
            (doubling && u.gap > 0).then_some(2 * u.gap)
        });
        doubled.or_else(|| self.least_interval())
    }

    /// When the probe before the last one of the current run was sent; the last one if it is the first.
    #[must_use]
    pub fn before_last(&self) -> Time {
        self.last.plus(-self.repeated().map_or(0, |u| u.gap))
    }

    /// The figures for the report.
    #[must_use]
    pub fn summary(&self) -> KeepaliveSummary {
        KeepaliveSummary {
            probes: u64::from(self.sent()),
            answered: u64::from(self.answered()),
            probe_len: self.state.has(State::GARBAGE).into(),
            first: self.first,
            last: self.last,
            // A period is an idle time unless the interval is longer; then the least span is one that data began.
            idle_s: self.idle_s(),
            interval_s: self.interval_s(),
            count: self.more.as_ref().and_then(|u| u.count),
            observed_idle: self.idle.spread(),
            observed_interval: self.more.as_ref().and_then(|u| u.interval.spread()),
            stack: None,
            rtt_s: self.rtt.median(self.answered()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probed(answers: &[Nanos]) -> KeepaliveSummary {
        let mut probes = Probes::new(Side::Client, Time(0));
        let mut now = Time(SECOND);
        for (frame, &rtt) in (1..).zip(answers) {
            probes.probe(Candidate { time: now.plus(60 * SECOND), frame, len: 0, answer: None }, Some(now));
            now = now.plus(60 * SECOND + rtt);
            assert_eq!(probes.answer(now), rtt);
        }
        probes.summary()
    }

    #[test]
    fn round_trips_are_told_the_same_whether_a_long_one_is_among_them_or_not() {
        let short = probed(&[SECOND, 3 * SECOND, 4 * SECOND]);
        assert_eq!((short.probes, short.answered, short.rtt_s), (3, 3, Some(3.0)));
        let long = probed(&[SECOND, 9 * SECOND, 3 * SECOND]);
        assert_eq!((long.probes, long.answered, long.rtt_s), (3, 3, Some(3.0)));
        assert_eq!(probed(&[9 * SECOND]).rtt_s, Some(9.0));
    }

    #[test]
    fn every_probe_counts_whatever_was_heard_before_it() {
        let mut probes = Probes::new(Side::Client, Time(0));
        let mut probe = |frame: u64, heard: Option<i64>| {
            let time = Time(frame as i64 * 10 * SECOND);
            probes.probe(Candidate { time, frame, len: 1, answer: None }, heard.map(|s| Time(s * SECOND)));
            (probes.sent(), probes.run(), probes.last_frame())
        };
        // Nothing heard; not answered; heard after it, by a clock that stepped back; heard before it.
        let told = [probe(1, None), probe(2, Some(5)), probe(3, Some(50)), probe(4, Some(35))];
        assert_eq!(told, [(1, 1, 1), (2, 2, 2), (3, 1, 3), (4, 1, 4)]);
        assert_eq!(probes.summary().probe_len, 1);
    }
}
