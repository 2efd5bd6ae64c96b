//! What the packets of a flow mean: who watches whom, who gave up on whom.

pub mod clocks;
pub mod cost;
pub mod death;
pub mod exposure;
pub mod findings;
pub mod heartbeat;
pub mod keepalive;
pub mod limits;
pub mod losses;
pub mod rules;
pub mod settings;
mod sockets;
pub mod verdict;
pub mod window;

use crate::event::{Event, EventKind, Sink};
use crate::flow::connection::{Connection, Known, Shape};
use crate::flow::reassembly::Holes;
use crate::flow::sequence::before;
use crate::packet::{IcmpError, Nanos, SECOND, Segment, Time};
use crate::summary::{Basis, Both, Death, Mechanism, Side};
use heartbeat::{Ear, Heartbeats};
use keepalive::{ANSWER, Candidate, Kind, Probers, Probes};
use losses::Losses;
use verdict::{Break, Sign};
use window::{Run, WindowProbes};

/// Candidates kept while nothing proves or refutes them; the first ones are kept, as the first dates the beginning.
const MAX_CANDIDATES: usize = 16;
/// Identical, unsolicited acknowledgments that prove probes by exclusion: a third one has no other reason to be sent.
const PROOF_BY_EXCLUSION: usize = 3;
/// Unsolicited acknowledgments closer together than this may be duplicates on account of lost or reordered data.
const UNSOLICITED: Nanos = SECOND * 9 / 10;

/// A stretch of resends of the same bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resends {
    /// How many.
    pub count: u32,
    /// When the bytes were first sent.
    pub sent: Time,
    /// The first resend's frame.
    pub first_frame: u64,
    /// The last resend.
    pub last: Time,
    /// Its frame.
    pub last_frame: u64,
    /// Gap before the last.
    pub gap: Nanos,
    /// The retransmission timeout that went off last: the gap less the lateness of timers, as far as the gaps before tell.
    pub timeout: Nanos,
    /// Whether the timeout no longer doubles.
    pub at_ceiling: bool,
}

/// A ceiling of the retransmission timeout is a second at least (Linux TCP_RTO_MAX_MS). Two equal gaps below that are a tail
/// loss probe and the first timeout.
const LEAST_CEILING: Nanos = SECOND;

impl Resends {
    /// When the bytes were sent for the last time but one.
    fn before_last(&self) -> Time {
        self.last.plus(-self.gap)
    }

    /// The same bytes again. Timers fire late but never early, and each timeout is twice the last (RFC 6298 §5.5): twice
    /// what the timeout before was is a better figure for this one than a late gap.
    fn again(&mut self, time: Time, frame: u64) {
        if self.count == 0 {
            self.first_frame = frame;
        }
        self.count += 1;
        let gap = time.since(self.last);
        self.at_ceiling = gap >= LEAST_CEILING && (gap - self.gap).abs() <= gap / 10;
        let doubled = 2 * self.timeout;
        self.timeout = if doubled > 0 && (gap - doubled).abs() <= doubled / 8 { gap.min(doubled) } else { gap };
        self.gap = gap;
        self.last = time;
        self.last_frame = frame;
    }
}

/// ICMP errors that told a side that its peer cannot be reached.
#[derive(Clone, Copy, Debug)]
pub struct Unreachable {
    /// Whether the last one makes Linux take back a doubling of the timeout: no route, no host (RFC 6069,
    /// `tcp_ld_RTO_revert`).
    pub shortens: bool,
    /// The first's frame.
    pub first_frame: u64,
    /// The last.
    pub last: Time,
    /// Its frame.
    pub last_frame: u64,
}

/// What hardly any flow has but where the capture has holes, or ends are used again.
#[derive(Default)]
pub struct Odd {
    /// What is missing of each side's stream.
    pub holes: Both<Option<Holes>>,
    /// A SYN that may begin a new connection between the same ends.
    pub reopening: Option<Segment<'static>>,
    /// How the flow broke, seen from the silence before.
    pub broke: Option<Break>,
}

impl Odd {
    fn heap(&self) -> usize {
        size_of::<Odd>() + self.holes.0.iter().flatten().map(Holes::heap).sum::<usize>()
    }
}

/// What few flows have.
#[derive(Default)]
struct Rare {
    odd: Option<Box<Odd>>,
    /// When the flow will be looked at again.
    planned: Option<Time>,
    /// Segments captured twice.
    duplicates: u64,
    /// Payload bytes that the capture does not hold.
    missing: u64,
    candidates: Both<Vec<Candidate>>,
    window: Option<Box<Both<WindowProbes>>>,
    resends: Option<Box<Both<Resends>>>,
    /// Segments with bytes sent before.
    retransmissions: Both<u32>,
    unreachable: Option<Box<Both<Option<Unreachable>>>>,
    deaths: Vec<Death>,
    /// Whether a death could not be told for packets that the capture lost.
    doubtful: bool,
}

impl Rare {
    /// Whether there is nothing in it.
    fn holds_nothing(&self) -> bool {
        let Rare { odd, planned, duplicates, missing, candidates, window, resends, .. } = self;
        let Rare { retransmissions, unreachable, deaths, doubtful, .. } = self;
        odd.is_none()
            && planned.is_none()
            && (*duplicates, *missing) == (0, 0)
            && candidates.0.iter().all(Vec::is_empty)
            && window.iter().flat_map(|window| &window.0).all(WindowProbes::hold_nothing)
            && resends.is_none()
            && retransmissions.0 == [0; 2]
            && unreachable.is_none()
            && deaths.is_empty()
            && !doubtful
    }
}

/// The watch over one flow.
#[derive(Default)]
pub struct Liveness {
    probers: Probers,
    rare: Option<Box<Rare>>,
    heartbeats: Option<Box<Heartbeats>>,
}

/// Where a flow's events go.
pub struct Out<'a> {
    /// The flow's id.
    pub flow: u64,
    /// The receiver, if there is one.
    sink: Sink<'a>,
    /// When the capture lost packets.
    pub lost: &'a Losses,
}

impl<'a> Out<'a> {
    /// Of the flow with this id.
    #[inline]
    pub fn new(flow: u64, sink: &'a mut Sink<'_>, lost: &'a Losses) -> Self {
        // Taken apart, as what it holds lives longer than this borrow of it.
        let sink: Sink<'a> = match sink {
            Some(sink) => Some(&mut **sink),
            None => None,
        };
        Out { flow, sink, lost }
    }

    /// Whether there is a receiver.
    #[inline]
    #[must_use]
    pub fn listens(&self) -> bool {
        self.sink.is_some()
    }

    /// Tells one event.
    #[inline]
    pub fn tell(&mut self, time: Time, frame: Option<u64>, from: Option<Side>, kind: EventKind) {
        if let Some(sink) = &mut self.sink {
            sink(&Event { time, frame, flow: self.flow, from, kind });
        }
    }
}

/// What is decided of a segment before the state moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What it is in sequence space.
    pub shape: Shape,
    /// Whether it brought bytes that the capture had missed so far.
    pub fills: bool,
    kind: Option<Kind>,
    /// An empty segment that nothing called for.
    unsolicited: bool,
    /// The last real segment of either side before this one.
    since: Time,
}

impl Judged {
    /// Whether it counts as a probe for the connection's state.
    #[must_use]
    pub fn probe(&self) -> bool {
        matches!(self.kind, Some(Kind::Keepalive | Kind::AtClosedWindow)) || self.shape == Shape::NewByteAtClosedWindow
    }
}

impl Liveness {
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// What few flows need.
    #[inline]
    #[must_use]
    pub fn odd(&self) -> Option<&Odd> {
        self.rare.as_ref()?.odd.as_deref()
    }

    /// The same, to change.
    #[inline]
    pub fn odd_mut(&mut self) -> Option<&mut Odd> {
        self.rare.as_mut()?.odd.as_deref_mut()
    }

    /// The same, made on first use.
    pub fn make_odd(&mut self) -> &mut Odd {
        self.rare().odd.get_or_insert_default()
    }

    /// Segments captured twice.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.duplicates)
    }

    /// One more.
    pub fn add_duplicate(&mut self) {
        self.rare().duplicates += 1;
    }

    /// Payload bytes that the capture does not hold.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.missing)
    }

    /// More of them.
    pub fn add_missing(&mut self, bytes: u64) {
        self.rare().missing += bytes;
    }

    /// When the flow will be looked at again.
    #[must_use]
    pub fn planned(&self) -> Option<Time> {
        self.rare.as_ref()?.planned
    }

    /// Plans when to look again, or not to.
    pub fn plan(&mut self, when: Option<Time>) {
        if when.is_some() || self.planned().is_some() {
            self.rare().planned = when;
            self.drop_if_empty();
        }
    }

    /// The heartbeats, made on first use.
    pub fn heartbeats(&mut self, c: &Connection) -> &mut Heartbeats {
        self.heartbeats.get_or_insert_with(|| {
            let ports = Both([c.ends.of(Side::Client).port, c.ends.of(Side::Server).port]);
            Box::new(Heartbeats::new(ports, c.half[Side::Client].known.has(Known::SYN)))
        })
    }

    /// Bytes on the heap, roughly.
    #[must_use]
    pub fn heap(&self) -> usize {
        let rare = self.rare.as_ref().map_or(0, |r| {
            let candidates: usize = r.candidates.0.iter().map(Vec::capacity).sum();
            let waiting: usize = r.window.iter().flat_map(|w| &w.0).map(|w| w.waiting.capacity()).sum();
            let boxes = r.window.as_ref().map_or(0, |window| size_of_val(&**window))
                + r.resends.as_ref().map_or(0, |resends| size_of_val(&**resends))
                + r.unreachable.as_ref().map_or(0, |unreachable| size_of_val(&**unreachable));
            size_of::<Rare>()
                + boxes
                + r.odd.as_ref().map_or(0, |odd| odd.heap())
                + (candidates + waiting) * size_of::<Candidate>()
                + r.deaths.capacity() * size_of::<Death>()
        });
        let heartbeats = self.heartbeats.as_ref().map_or(0, |h| size_of::<Heartbeats>() + h.heap());
        self.probers.heap() + rare + heartbeats
    }

    /// The heartbeats, if any payload was followed.
    #[must_use]
    pub fn known_heartbeats(&self) -> Option<&Heartbeats> {
        self.heartbeats.as_deref()
    }

    /// The flow is over: of most, nothing of their payload is worth keeping.
    pub fn over(&mut self) {
        self.heartbeats.take_if(|heartbeats| !heartbeats.close());
    }

    /// Probes that `side` sent.
    #[must_use]
    pub fn probes(&self, side: Side) -> Option<&Probes> {
        self.probers.of(side)
    }

    fn window(&self, side: Side) -> Option<&WindowProbes> {
        self.rare.as_ref()?.window.as_ref().map(|window| &window[side])
    }

    /// Window probes that `side` sent.
    #[must_use]
    pub fn window_probes(&self, side: Side) -> u64 {
        self.window(side).map_or(0, |window| u64::from(window.sent))
    }

    /// Segments that `side` sent with bytes sent before.
    #[must_use]
    pub fn retransmissions(&self, side: Side) -> u64 {
        self.rare.as_ref().map_or(0, |r| u64::from(r.retransmissions[side]))
    }

    /// Deaths so far.
    #[must_use]
    pub fn deaths(&self) -> &[Death] {
        self.rare.as_ref().map_or(&[], |r| &r.deaths)
    }

    /// Whether a death could not be told because the capture lost packets.
    #[must_use]
    pub fn doubtful(&self) -> bool {
        self.rare.as_ref().is_some_and(|r| r.doubtful)
    }

    /// Deaths so far, to complete them.
    pub fn deaths_mut(&mut self) -> &mut [Death] {
        self.rare.as_mut().map_or(&mut [], |r| &mut r.deaths)
    }

    /// Asks for what every segment will need.
    #[inline]
    pub fn prefetch(&self) {
        self.probers.prefetch();
    }

    fn unreachable(&self, side: Side) -> Option<Unreachable> {
        self.rare.as_ref()?.unreachable.as_ref().and_then(|told| told[side])
    }

    /// The latest stretch of resends by `side`.
    #[must_use]
    pub fn resends(&self, side: Side) -> Option<&Resends> {
        self.rare.as_ref()?.resends.as_ref().map(|r| &r[side]).filter(|r| r.count > 0)
    }

    /// Adds a death, unless this side has noticed already; a verdict replaces a suspicion.
    pub fn add_death(&mut self, c: &Connection, death: Death, now: Time, out: &mut Out<'_>) {
        let deaths = &mut self.rare().deaths;
        if deaths.iter().any(|d| d.detected_by == death.detected_by) {
            return;
        }
        let (time, frame) = match death.basis {
            Basis::Observed => (death.detected_at, death.evidence.last().copied()),
            Basis::Inferred | Basis::CaptureEnded => (death.detected_at, None),
        };
        if death.mechanism == Mechanism::KeepaliveTimeout
            && death.basis != Basis::CaptureEnded
            && let Some(probes) = death.detected_by.and_then(|by| self.probers.of_mut(by))
        {
            probes.gave_up(true);
        }
        let time = time.or(death.last_heard).unwrap_or(now);
        out.tell(
            time,
            frame,
            death.detected_by,
            EventKind::PeerDead { ends: c.ends.both(), death: Box::new(death.clone()) },
        );
        self.rare().deaths.push(death);
    }

    /// Adds a death unless packets that the capture lost may tell another story.
    fn conclude(&mut self, c: &Connection, death: Death, now: Time, out: &mut Out<'_>) {
        if death::doubtful(c, self, &death, now, out.lost) {
            self.rare().doubtful = true;
        } else {
            self.add_death(c, death, now, out);
        }
    }

    /// Looks at a segment before [`Connection::apply`].
    #[inline]
    pub fn before(
        &mut self,
        c: &mut Connection,
        from: Side,
        s: &Segment<'_>,
        shape: Shape,
        out: &mut Out<'_>,
    ) -> Judged {
        self.settle_guess(c, from, s, shape, out);
        self.take_back(from, s);
        self.closing(c, from, s, shape, out);
        let (me, peer) = (&c.half[from], &c.half[from.peer()]);
        let unsolicited = shape == Shape::Ack
            && (c.packets[from] == 0 || (s.ack == peer.una && c.same_window(from, s) && peer.last <= me.last));
        Judged {
            shape,
            fills: false,
            kind: (shape == Shape::Below).then(|| keepalive::judge(c, from, s, self.resends(from).map(|r| r.last))),
            unsolicited,
            since: me.last_data.max(peer.last_real),
        }
    }

    /// A side that was thought to have given up in silence sends again: it had not.
    #[inline]
    fn take_back(&mut self, from: Side, s: &Segment<'_>) {
        if let Some(rare) = &mut self.rare
            && !s.flags.rst()
        {
            let early =
                |d: &Death| d.basis == Basis::Inferred && d.detected_by == Some(from) && d.detected_at <= Some(s.time);
            for death in rare.deaths.extract_if(.., |d| early(d)) {
                if let (Mechanism::KeepaliveTimeout, Some(probes)) = (death.mechanism, self.probers.of_mut(from)) {
                    probes.gave_up(false);
                }
            }
        }
    }

    /// A FIN or a reset: did its sender give up on its peer, or learn that the peer knows it no more?
    #[inline]
    fn closing(&mut self, c: &Connection, from: Side, s: &Segment<'_>, shape: Shape, out: &mut Out<'_>) {
        let death = if shape == Shape::Reset {
            death::on_reset(c, self, from, s)
        } else if s.flags.fin() {
            let again = s.payload_len > 0 && before(s.seq, c.half[from].nxt);
            let behind = self.resends(from).map(|r| r.last).filter(|_| again);
            death::on_fin(c, self, from, s, behind)
        } else {
            None
        };
        if let Some(death) = death {
            self.conclude(c, death, s.time, out);
        }
    }

    /// Whether a verdict may fall due without a packet: what [`death::due`] asks for at least.
    #[inline]
    #[must_use]
    pub fn suspects(&self) -> bool {
        self.probers.iter().any(|p| p.outstanding() && p.run() >= 2)
            || self.rare.as_ref().is_some_and(|rare| {
                let resends = rare.resends.iter().flat_map(|r| &r.0).any(|r| r.count >= death::SUSPICIOUS);
                resends || rare.window.iter().flat_map(|w| &w.0).any(|w| w.unanswered >= death::SUSPICIOUS)
            })
    }

    /// When silence will have lasted long enough for a verdict, if nothing comes before.
    #[must_use]
    pub fn due(&self, c: &Connection) -> Option<Time> {
        let told = |side: Side| self.deaths().iter().any(|d| d.detected_by == Some(side));
        Side::BOTH.into_iter().filter(|side| !told(*side)).filter_map(|side| death::due(c, self, side)).min()
    }

    /// How the flow broke, where a side got no answer ever again.
    #[must_use]
    pub fn silent_break(&self, c: &Connection) -> Option<Break> {
        self.deaths().iter().find_map(|d| {
            let by = d.detected_by.filter(|_| d.basis != Basis::Observed)?;
            let asked = self.resends(by).map(|r| r.sent).or_else(|| self.probes(by).map(Probes::run_start))?;
            let silence = asked.since(d.last_heard?).max(0);
            let payload_silence = asked.since(c.last_payload().min(asked)).max(silence);
            let survived = c.survived(silence);
            let payload_survived = Break::survived(c.longest_payload_silence(), payload_silence);
            Some(Break { silence, payload_silence, survived, payload_survived, sign: Sign::Silence, by })
        })
    }

    /// Time has come to `now` without a packet; at the capture's end (`ended`) what is being tried is told too.
    pub fn by_silence(&mut self, c: &Connection, now: Time, ended: bool, out: &mut Out<'_>) {
        if self.rare.is_none() && self.probers.iter().next().is_none() {
            return;
        }
        for side in Side::BOTH {
            if let Some(death) = death::by_silence(c, self, side, now, ended) {
                self.conclude(c, death, now, out);
            }
        }
    }

    /// The deaths that there would be if the capture, which has lost packets at some moments, ended now.
    #[must_use]
    pub fn deaths_if_ended(&self, c: &Connection, now: Time, lost: &Losses) -> Vec<Death> {
        let mut deaths = self.deaths().to_vec();
        let sure = |death: &Death| !death::doubtful(c, self, death, now, lost);
        for side in Side::BOTH {
            if !deaths.iter().any(|d| d.detected_by == Some(side)) {
                deaths.extend(death::by_silence(c, self, side, now, true).filter(sure));
            }
        }
        // As in `finish`: a death that a side tries to find out about is not told again as one that nobody noticed.
        let mut unnoticed = Side::BOTH.into_iter().filter_map(|side| death::unnoticed(c, self, side, now, None));
        let unnoticed = unnoticed.find(|u| sure(u) && deaths.iter().all(|d| d.dead != u.dead));
        deaths.extend(unnoticed);
        deaths
    }

    /// Settles what an empty segment at an unknown place was, now that something names the place.
    #[inline]
    fn settle_guess(&mut self, c: &mut Connection, from: Side, s: &Segment<'_>, shape: Shape, out: &mut Out<'_>) {
        if !c.half.0.iter().any(|half| half.known.has(Known::GUESS)) {
            return;
        }
        // The peer acknowledges one byte more, or the side itself goes on one byte further.
        for (side, names) in [(from.peer(), s.flags.ack().then_some(s.ack)), (from, Some(s.seq))] {
            let half = &c.half[side];
            let Some(place) = names.filter(|_| half.known.has(Known::GUESS)) else { continue };
            let further = place == half.nxt.wrapping_add(1);
            let own_ack = side == from && matches!(shape, Shape::Ack | Shape::Stale | Shape::Below);
            if further && (!own_ack || shape == Shape::Ack) {
                c.settle_guess(side, place);
                self.confirm_candidates(c, side, out);
            } else if place != half.nxt || (side != from || s.payload_len > 0) {
                self.take_candidates(side);
            }
        }
    }

    /// The segments of `side` that may have been probes, of which it is known by now.
    fn take_candidates(&mut self, side: Side) -> Vec<Candidate> {
        let Some(rare) = &mut self.rare else { return Vec::new() };
        let candidates = std::mem::take(&mut rare.candidates[side]);
        // Flows that began before the capture have candidates, and mostly nothing else that is rare.
        self.drop_if_empty();
        candidates
    }

    fn drop_if_empty(&mut self) {
        self.rare.take_if(|rare| rare.holds_nothing());
    }

    fn confirm_candidates(&mut self, c: &mut Connection, side: Side, out: &mut Out<'_>) {
        let candidates = self.take_candidates(side);
        if candidates.last().is_some_and(|p| p.time == c.half[side].last_real) {
            // They had passed for acknowledgments.
            c.forget_real(side);
        }
        for p in candidates {
            self.keepalive_probe(side, p, None, out);
        }
    }

    #[inline]
    fn keepalive_probe(&mut self, from: Side, p: Candidate, heard: Option<Time>, out: &mut Out<'_>) {
        self.answer_by_data(from, out);
        let probes = self.probers.of_or_new(from, p.time);
        probes.probe(p, heard);
        out.tell(p.time, Some(p.frame), Some(from), EventKind::KeepaliveProbe { probe_len: p.len });
        if let Some((time, frame)) = p.answer {
            let rtt = probes.answer(time);
            out.tell(time, Some(frame), Some(from.peer()), EventKind::KeepaliveAck { rtt });
        }
    }

    /// The peer sent data where an answer was due, and no plain acknowledgment followed: the data was the answer.
    #[inline]
    fn answer_by_data(&mut self, prober: Side, out: &mut Out<'_>) {
        if let Some(probes) = self.probers.of_mut(prober)
            && let Some((time, frame)) = probes.answered_by_data()
            && probes.outstanding()
        {
            let rtt = probes.answer(time);
            out.tell(time, Some(frame), Some(prober.peer()), EventKind::KeepaliveAck { rtt });
        }
    }

    /// Looks at a segment after [`Connection::apply`].
    #[inline]
    pub fn after(&mut self, c: &mut Connection, from: Side, s: &Segment<'_>, judged: Judged, out: &mut Out<'_>) {
        match (judged.shape, judged.kind) {
            (Shape::Below, Some(Kind::Keepalive)) => {
                let p = Candidate { time: s.time, frame: s.frame, len: s.payload_len as u8, answer: None };
                self.keepalive_probe(from, p, c.last_heard(from), out);
            }
            (Shape::Below, Some(Kind::AtClosedWindow)) => self.at_closed_window(c, from, s, judged, false, out),
            (Shape::NewByteAtClosedWindow, _) => self.at_closed_window(c, from, s, judged, true, out),
            (Shape::Below, Some(Kind::Resend)) | (Shape::Resend, _) if !judged.fills => self.resend(c, from, s, out),
            (Shape::Ack, _) => self.acknowledgment(c, from, s, judged, out),
            (Shape::Data { .. }, _) => {
                self.end_window_run(from, out);
                if let Some(probes) = self.probers.of_mut(from) {
                    probes.sent_data();
                }
                if let Some(probes) = self.probers.of_mut(from.peer())
                    && probes.outstanding()
                    && answers(c, from.peer(), probes, s)
                {
                    probes.data(s.time, s.frame);
                }
            }
            _ => {}
        }
        // A window that opened ends the run of probes at it.
        if self.rare.is_some() && s.flags.ack() && !c.window_closed(from) {
            self.end_window_run(from.peer(), out);
        }
    }

    #[inline]
    fn acknowledgment(&mut self, c: &mut Connection, from: Side, s: &Segment<'_>, judged: Judged, out: &mut Out<'_>) {
        let prober = from.peer();
        if let Some(probes) = self.probers.of_mut(prober)
            && probes.outstanding()
            && answers(c, prober, probes, s)
        {
            let rtt = probes.answer(s.time);
            out.tell(s.time, Some(s.frame), Some(from), EventKind::KeepaliveAck { rtt });
        }
        if let Some(window) = self.rare.as_mut().and_then(|rare| rare.window.as_mut()) {
            let window = &mut window[prober];
            if window.outstanding {
                window.outstanding = false;
                window.unanswered = 0;
                if let Some(last) = window.waiting.last_mut() {
                    last.answer = Some((s.time, s.frame));
                } else {
                    out.tell(s.time, Some(s.frame), Some(from), EventKind::ZeroWindowAck);
                }
            }
        }
        if c.half[from].known.has(Known::GUESS) {
            self.candidate(c, from, s, judged, out);
        }
    }

    /// An empty segment of a side whose SND.NXT nothing has named yet.
    fn candidate(&mut self, c: &mut Connection, from: Side, s: &Segment<'_>, judged: Judged, out: &mut Out<'_>) {
        let candidates = &mut self.rare().candidates[from];
        let apart = candidates.last().is_none_or(|p| s.time.since(p.time) >= UNSOLICITED);
        if !judged.unsolicited || !apart {
            candidates.clear();
        }
        if candidates.len() < MAX_CANDIDATES {
            candidates.push(Candidate { time: s.time, frame: s.frame, len: 0, answer: None });
        }
        if candidates.len() >= PROOF_BY_EXCLUSION {
            c.settle_guess(from, s.seq.wrapping_add(1));
            self.confirm_candidates(c, from, out);
        }
    }

    fn at_closed_window(
        &mut self,
        c: &Connection,
        from: Side,
        s: &Segment<'_>,
        judged: Judged,
        new_byte: bool,
        out: &mut Out<'_>,
    ) {
        let idle = self.probers.of(from).and_then(Probes::idle_s).map(crate::packet::nanos);
        let p = Candidate { time: s.time, frame: s.frame, len: s.payload_len as u8, answer: None };
        let window = &mut self.rare().window.get_or_insert_default()[from];
        match window.probe(p, new_byte, judged.since, idle) {
            Run::Undecided => {}
            Run::Window => {
                let waiting = std::mem::take(&mut window.waiting);
                window.sent += waiting.len() as u32;
                tell_window_probes(&waiting, from, out);
            }
            Run::Keepalive => {
                window.unanswered = 0;
                window.outstanding = false;
                for p in std::mem::take(&mut window.waiting) {
                    self.keepalive_probe(from, p, c.last_heard(from).filter(|h| *h < p.time), out);
                }
            }
        }
    }

    #[inline]
    fn end_window_run(&mut self, prober: Side, out: &mut Out<'_>) {
        if let Some(window) = self.rare.as_mut().and_then(|rare| rare.window.as_mut()) {
            let waiting = window[prober].end_run();
            tell_window_probes(&waiting, prober, out);
        }
    }

    fn resend(&mut self, c: &Connection, from: Side, s: &Segment<'_>, out: &mut Out<'_>) {
        out.tell(s.time, Some(s.frame), Some(from), EventKind::Retransmission);
        let Rare { retransmissions, resends, .. } = self.rare();
        retransmissions[from] = retransmissions[from].saturating_add(1);
        let (resends, flight) = (&mut resends.get_or_insert_default()[from], c.flight(from));
        if resends.sent != flight || resends.count == 0 {
            *resends = Resends { sent: flight, last: flight.max(c.half[from].last_data), ..Resends::default() };
        }
        resends.again(s.time, s.frame);
    }

    /// An ICMP error about a segment that `told` had sent.
    pub fn icmp(&mut self, told: Side, e: &IcmpError) {
        let known = &mut self.rare().unreachable.get_or_insert_default()[told];
        let first_frame = known.map_or(e.frame, |k| k.first_frame);
        let shortens = if e.v6 { e.code == 0 } else { e.code <= 1 };
        *known = Some(Unreachable { shortens, first_frame, last: e.time, last_frame: e.frame });
    }

    /// Tells what the heartbeat detector heard.
    #[inline]
    pub fn tell_heard(ear: &mut Ear, out: &mut Out<'_>) {
        // Of most segments nothing is heard, and to drain nothing is not free.
        if ear.is_empty() {
            return;
        }
        for h in ear.take() {
            out.tell(h.time, h.frame, Some(h.from), h.kind);
        }
    }

    /// The capture ended, or the flow's ends were taken by a new connection: what was undecided is decided.
    pub fn finish(&mut self, c: &Connection, now: Time, out: &mut Out<'_>) {
        for side in Side::BOTH {
            self.answer_by_data(side, out);
        }
        self.by_silence(c, now, true, out);
        // What `unnoticed` asks for where nobody has closed.
        if let Some(heartbeats) = self.heartbeats.as_mut().filter(|_| !c.closing()) {
            heartbeats.settle(now);
        }
        for side in Side::BOTH {
            self.end_window_run(side, out);
            if let Some(death) = death::unnoticed(c, self, side, now, None) {
                self.conclude(c, death, now, out);
            }
        }
    }
}

/// Whether a segment can be the answer to the prober's last probe: it acknowledges all that arrived, and nothing else was
/// sent since.
#[inline]
fn answers(c: &Connection, prober: Side, probes: &Probes, s: &Segment<'_>) -> bool {
    let me = &c.half[prober];
    let arrived = s.ack == me.nxt || s.ack == me.una;
    arrived && !me.known.has(Known::RESET) && !probes.data_since() && s.time.since(probes.last) <= ANSWER
}

fn tell_window_probes(probes: &[Candidate], from: Side, out: &mut Out<'_>) {
    for p in probes {
        out.tell(p.time, Some(p.frame), Some(from), EventKind::ZeroWindowProbe);
        if let Some((time, frame)) = p.answer {
            out.tell(time, Some(frame), Some(from.peer()), EventKind::ZeroWindowAck);
        }
    }
}
