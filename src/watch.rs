//! One watched flow: a connection's state and the watch over it, moved on together by each segment.

use crate::event::EventKind;
use crate::flow::connection::{Connection, Half, Known, Shape};
use crate::flow::prefetch::LINE;
use crate::flow::reassembly::{Holes, Piece};
use crate::flow::sequence::distance;
use crate::flow::table::Keyed;
use crate::liveness::heartbeat::{Chunk, Ear, Heartbeats};
use crate::liveness::limits;
use crate::liveness::losses::Losses;
use crate::liveness::verdict::{Break, Context, Sign};
use crate::liveness::{Liveness, Out};
use crate::packet::{Endpoint, IcmpError, Nanos, Number, SECOND, Segment, Time, seconds};
use crate::summary::{
    Basis, Both, Cost, Death, End, Exposure, FlowSummary, Ground, Handshake, NoticedBy, Side, Traffic,
};

/// What a segment means for the flow that its ends belong to so far.
pub enum Reopening<'a> {
    /// It belongs to that flow.
    No,
    /// It may begin a new connection: its answer will tell.
    Waits,
    /// It belongs to a new connection, which began with the given SYN, or with this segment.
    Yes(Option<Segment<'a>>),
}

/// A flow under watch.
#[repr(align(64))]
pub struct Watched {
    conn: Connection,
    live: Liveness,
    id: Number<5>,
    /// Bytes on the heap when they were last counted, in units of [`HEAP_UNIT`].
    heap: u16,
    /// How it ended, once that was told.
    ended: Option<End>,
}

/// A million of them are read and written all the time, and memory comes in lines.
const _: () = assert!(size_of::<Watched>() <= 3 * LINE);

/// What would be lost with a flow, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interest {
    /// Both sides closed it, or one reset it; nobody died.
    Over,
    /// One side alone ever spoke, as with a SYN that nobody answers.
    Unanswered,
    /// Idle for longer than Linux's keepalive, 2 h by default, lets a connection be.
    Idle,
    /// In use.
    Open,
    /// A side is under suspicion, or was taken for dead.
    Suspect,
}

/// Linux's default for TCP_KEEPIDLE, and time to be probed besides (net.ipv4.tcp_keepalive_*).
const IDLE: Nanos = (7200 + 11 * 75) * SECOND;

/// Bytes on the heap are counted in these, up to a megabyte: the caps of what a flow keeps leave it far below that.
const HEAP_UNIT: usize = 16;

impl Keyed for Watched {
    fn ends(&self) -> (Endpoint, Endpoint) {
        (self.conn.ends.of(Side::Client), self.conn.ends.of(Side::Server))
    }

    #[inline]
    fn sender(&self, src: &Endpoint, dst: &Endpoint) -> Option<Side> {
        self.conn.ends.sender(src, dst)
    }
}

impl Watched {
    /// A flow that has seen nothing yet.
    #[must_use]
    pub fn new(id: u64, conn: Connection) -> Self {
        Watched { conn, live: Liveness::default(), id: id.into(), heap: 0, ended: None }
    }

    /// The flow's id, from 1; where several analyzers share the flows, the frame that opened it, which orders those of all.
    #[inline]
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id.get()
    }

    /// Segments taken, modulo 2^32.
    #[inline]
    #[must_use]
    pub fn segments(&self) -> u32 {
        self.conn.segments()
    }

    /// Asks for what every segment will need besides the flow itself.
    #[inline]
    pub fn prefetch(&self) {
        self.conn.prefetch();
        self.live.prefetch();
    }

    /// Its heartbeats, if any payload was followed.
    #[inline]
    #[must_use]
    pub fn heartbeats(&self) -> Option<&Heartbeats> {
        self.live.known_heartbeats()
    }

    /// The two ends.
    #[must_use]
    pub fn ends(&self) -> Both<Endpoint> {
        self.conn.ends.both()
    }

    /// The side that sent `s`.
    #[must_use]
    pub fn side(&self, s: &Segment<'_>) -> Side {
        self.conn.side(s)
    }

    /// How much of the handshake was seen.
    #[must_use]
    pub fn handshake(&self) -> Handshake {
        self.conn.handshake()
    }

    /// The first packet.
    #[must_use]
    pub fn first(&self) -> Time {
        self.conn.first
    }

    /// Whether nothing more can come of it.
    #[must_use]
    pub fn over(&self) -> bool {
        self.ended.is_some() || self.conn.finished().is_some()
    }

    /// The deaths so far.
    #[must_use]
    pub fn deaths(&self) -> &[Death] {
        self.live.deaths()
    }

    /// The deaths so far, to complete them.
    pub fn deaths_mut(&mut self) -> &mut [Death] {
        self.live.deaths_mut()
    }

    /// Bytes on the heap when they were last counted.
    #[must_use]
    pub fn heap(&self) -> usize {
        usize::from(self.heap) * HEAP_UNIT
    }

    /// Counts the bytes on the heap every now and then: after a power of two of segments, every 64, and at the end. Gives by how much
    /// they are more than the last time.
    #[inline]
    pub fn count_heap(&mut self) -> Option<isize> {
        let segments = self.segments();
        // Each is hard to foretell, so all are asked in one step.
        (segments.is_multiple_of(64) | segments.is_power_of_two() | self.ended.is_some()).then(|| {
            let before = self.heap();
            let units = (self.conn.heap() + self.live.heap()).div_ceil(HEAP_UNIT);
            self.heap = u16::try_from(units).unwrap_or(u16::MAX);
            self.heap() as isize - before as isize
        })
    }

    /// What would be lost with it at `now`, and then since when it has not been used.
    #[must_use]
    pub fn interest(&self, now: Time) -> (Interest, Time) {
        let answered = self.conn.packets.0.iter().all(|packets| *packets > 0);
        let last = self.conn.last();
        let interest = if !self.deaths().is_empty() {
            Interest::Suspect
        } else if self.over() {
            Interest::Over
        } else if !answered {
            Interest::Unanswered
        } else if self.live.planned().is_some() {
            Interest::Suspect
        } else if now.since(last) > IDLE {
            Interest::Idle
        } else {
            Interest::Open
        };
        (interest, last)
    }

    /// Whether a SYN waits for the answer that makes it a new connection.
    #[must_use]
    pub fn reopening(&self) -> bool {
        self.live.odd().is_some_and(|o| o.reopening.is_some())
    }

    /// Whether a segment between the same ends begins a new connection, or belongs to one that is beginning.
    ///
    /// A SYN with a new sequence number on a connection that is over begins one at once. While the old one lives on, the
    /// host that still knows it answers with an acknowledgment (RFC 9293 §3.10.7.4, a challenge); only a SYN-ACK for the new
    /// number makes it a new connection.
    pub fn reopens<'a>(&mut self, from: Side, s: &Segment<'a>) -> Reopening<'a> {
        let c = &self.conn;
        let half = &c.half[from];
        if s.flags.syn() && !s.flags.rst() {
            if !s.flags.ack() {
                let again = !half.known.has(Known::GUESS) && c.isn(from) == Some(s.seq);
                if again && !c.over() {
                    return Reopening::No;
                }
                let never_opened = c.packets[from.peer()] == 0;
                if c.over() || (never_opened && !again) {
                    return if again && c.handshake() != Handshake::Full {
                        Reopening::No
                    } else {
                        Reopening::Yes(None)
                    };
                }
                self.live.make_odd().reopening = Some(Segment { payload: &[], payload_len: 0, ..*s });
                return Reopening::Waits;
            }
            let confirmed = |syn: &mut Segment<'_>| syn.src == s.dst && s.ack == syn.seq.wrapping_add(1);
            return match self.live.odd_mut().and_then(|o| o.reopening.take_if(confirmed)) {
                Some(syn) => Reopening::Yes(Some(syn)),
                None => Reopening::No,
            };
        }
        // While the SYN waits, what its sender says is a refusal of the challenge, and the rest belongs to the old flow.
        match self.live.odd().and_then(|o| o.reopening) {
            Some(syn) if s.flags.rst() && s.src == syn.src => Reopening::Waits,
            _ => Reopening::No,
        }
    }

    /// One of its segments was captured once more.
    pub fn add_duplicate(&mut self) {
        self.live.add_duplicate();
    }

    /// Takes the flow's next segment.
    #[inline]
    pub fn segment(&mut self, from: Side, s: &Segment<'_>, ear: &mut Ear, out: &mut Out<'_>) {
        let shape = self.conn.shape(from, s);
        let mut judged = self.live.before(&mut self.conn, from, s, shape, out);
        let before = self.conn.half[from].nxt;
        let placed = self.conn.half[from].known.has(Known::NXT);
        let peer_next = self.conn.half[from.peer()].nxt;
        let peer_placed = self.conn.half[from.peer()].known.has(Known::NXT);
        self.note_break(from, s);
        self.conn.apply(from, s, shape, judged.probe());
        let ahead = distance(self.conn.half[from.peer()].nxt, peer_next);
        if peer_placed && ahead > 0 {
            self.missed(from.peer(), ahead as u32);
        }
        judged.fills = self.stream(from, s, shape, if placed { before } else { s.seq }, ear);
        if self.has_hole(from.peer()) {
            self.acknowledged(from.peer(), s, ear);
        }
        self.live.after(&mut self.conn, from, s, judged, out);
        Liveness::tell_heard(ear, out);
        if s.payload_len == 0 && !s.flags.syn() {
            self.conn.bare_segment = s.wire_len.min(u32::from(u16::MAX)) as u16;
        }
        if self.conn.over() && self.ended.is_none() && self.settled() {
            let end = self.end();
            self.ended = Some(end);
            self.live.over();
            out.tell(s.time, Some(s.frame), Some(from), EventKind::FlowEnd(end));
        }
    }

    /// The same, and tells of new data in it.
    pub fn segment_with_data(&mut self, from: Side, s: &Segment<'_>, ear: &mut Ear, out: &mut Out<'_>) {
        let before = self.conn.bytes(from);
        self.segment(from, s, ear, out);
        let bytes = self.conn.bytes(from).saturating_sub(before);
        if bytes > 0 {
            out.tell(s.time, Some(s.frame), Some(from), EventKind::Data { bytes });
        }
    }

    /// Whether no more is to come of a flow that is over. While a side's last bytes are not acknowledged, its peer may yet
    /// turn out to be dead.
    #[inline]
    fn settled(&self) -> bool {
        let half = &self.conn.half.0;
        half.iter().any(|h| h.known.has(Known::RESET)) || !half.iter().any(Half::in_flight)
    }

    fn has_hole(&self, side: Side) -> bool {
        self.live.odd().is_some_and(|o| o.holes[side].is_some())
    }

    /// Hands new payload on in stream order; true if the segment filled a hole.
    #[inline]
    fn stream(&mut self, from: Side, s: &Segment<'_>, shape: Shape, next: u32, ear: &mut Ear) -> bool {
        if s.payload_len == 0 || !matches!(shape, Shape::Data { .. } | Shape::Resend) {
            return false;
        }
        let missing = matches!(shape, Shape::Data { missing: 1.. });
        if !missing && !self.has_hole(from) {
            if let Shape::Data { .. } = shape {
                let known = distance(next, s.seq).max(0) as u32;
                if known < s.payload_len {
                    let bytes = s.payload.get(known as usize..).unwrap_or_default();
                    let chunk = Chunk { time: s.time, frame: s.frame, from, bytes, len: s.payload_len - known };
                    self.live.heartbeats(&self.conn).data(chunk, ear);
                }
            }
            return false;
        }
        let mut holes = self.live.make_odd().holes[from].take().unwrap_or_else(|| Holes::new(next));
        let fills = shape == Shape::Resend && holes.wants(s.seq, s.payload_len);
        let mut lost = 0;
        holes.push(s.seq, s.payload, s.payload_len, s.frame, s.time, &mut |piece| {
            lost += pass_on(&mut self.live, &self.conn, from, piece, ear);
        });
        self.live.add_missing(lost);
        if fills {
            self.conn.add_bytes(from, s.payload_len);
        }
        if !holes.closed() {
            self.live.make_odd().holes[from] = Some(holes);
            let una = self.conn.half[from].una;
            if self.conn.half[from].known.has(Known::UNA) {
                self.give_up(from, una, ear);
            }
        }
        fills
    }

    fn acknowledged(&mut self, of: Side, s: &Segment<'_>, ear: &mut Ear) {
        if s.flags.ack() {
            self.give_up(of, s.ack, ear);
        }
    }

    /// What the peer has acknowledged and the capture has not shown will not come.
    fn give_up(&mut self, of: Side, ack: u32, ear: &mut Ear) {
        if let Some(mut holes) = self.live.odd_mut().and_then(|o| o.holes[of].take()) {
            let mut lost = 0;
            holes.acknowledged(ack, &mut |piece| lost += pass_on(&mut self.live, &self.conn, of, piece, ear));
            self.live.add_missing(lost);
            if !holes.closed() {
                self.live.make_odd().holes[of] = Some(holes);
            }
        }
    }

    /// The peer acknowledged `len` bytes that the capture does not hold.
    fn missed(&mut self, of: Side, len: u32) {
        self.live.add_missing(u64::from(len));
        if self.live.known_heartbeats().is_some() {
            self.live.heartbeats(&self.conn).gap(of, u64::from(len));
        }
    }

    #[inline]
    fn note_break(&mut self, by: Side, s: &Segment<'_>) {
        let c = &self.conn;
        if !(s.flags.rst() || s.flags.fin()) || c.closing() || c.last() == Time::default() {
            return;
        }
        let (me, peer) = (&c.half[by], &c.half[by.peer()]);
        let refused = s.flags.rst() && !s.flags.ack() && s.seq == me.una && peer.last >= me.last;
        let (sign, since, now) = if refused {
            (Sign::ResetOnSegment, me.last, peer.last)
        } else {
            (if s.flags.rst() { Sign::Reset } else { Sign::Fin }, c.last(), s.time)
        };
        let silence = now.since(since.max(c.first)).max(0);
        let payload_silence = now.since(c.last_payload()).max(0);
        // Most flows end in good order, and few of them after a silence that a box would end.
        if !limits::could_fit(silence.max(payload_silence)) {
            return;
        }
        let survived = if refused { c.survived(silence) } else { c.longest_silence };
        let payload_survived = Break::survived(c.longest_payload_silence(), payload_silence);
        self.live.make_odd().broke = Some(Break { silence, payload_silence, survived, payload_survived, sign, by });
    }

    /// An ICMP error about a segment that `told` had sent.
    pub fn icmp(&mut self, told: Side, e: &IcmpError) {
        self.live.icmp(told, e);
    }

    /// When to look at this flow again, if that is sooner than planned so far.
    #[inline]
    pub fn schedule(&mut self) -> Option<Time> {
        if !self.live.suspects() {
            return None;
        }
        let planned = self.live.planned();
        let due = self.live.due(&self.conn).filter(|due| planned.is_none_or(|planned| *due < planned))?;
        self.live.plan(Some(due));
        Some(due)
    }

    /// Whether it is to be looked at just then.
    #[must_use]
    pub fn is_scheduled(&self, at: Time) -> bool {
        self.conn.finished().is_none() && self.live.planned() == Some(at)
    }

    /// The time to look has come; gives the next time if there is one.
    pub fn fall_due(&mut self, now: Time, out: &mut Out<'_>) -> Option<Time> {
        self.live.by_silence(&self.conn, now, false, out);
        let due = self.live.due(&self.conn).filter(|d| *d > now);
        self.live.plan(due);
        due
    }

    /// Nothing more will come: the last verdicts.
    pub fn finish(&mut self, now: Time, out: &mut Out<'_>) {
        if self.conn.finished().is_some() {
            return;
        }
        self.conn.finish(now);
        self.live.finish(&self.conn, now, out);
        if self.live.known_heartbeats().is_some() {
            let (until, mut ear) = (self.open_until(now), Ear::new(out.listens()));
            let heartbeats = self.live.heartbeats(&self.conn);
            heartbeats.advance(until, &mut ear);
            heartbeats.conclude(until);
            Liveness::tell_heard(&mut ear, out);
        }
        if self.ended.is_none() {
            let end = self.end();
            self.ended = Some(end);
            out.tell(now, None, None, EventKind::FlowEnd(end));
        }
    }

    /// How it ended, as told; else as it stands.
    fn end(&self) -> End {
        if let Some(end) = self.ended {
            return end;
        }
        if self.live.deaths().iter().any(|d| d.basis != Basis::CaptureEnded && d.detected_by.is_some()) {
            return End::DeadPeer;
        }
        let half = &self.conn.half.0;
        if half.iter().any(|h| h.known.has(Known::RESET)) {
            End::Rst
        } else if half.iter().any(|h| h.known.has(Known::FIN)) {
            End::Fin
        } else {
            End::Open
        }
    }

    /// Until when beats were due: the flow's end, or the capture's while it is open.
    fn open_until(&self, capture_end: Time) -> Time {
        match self.end() {
            End::Open => self.conn.finished().unwrap_or(capture_end),
            _ => self.conn.last(),
        }
    }

    /// When each side last heard the other, as far as the capture tells.
    #[must_use]
    pub fn heard(&self) -> Both<Option<Time>> {
        Both(Side::BOTH.map(|side| self.conn.last_heard(side)))
    }

    /// The same as if the capture, which has lost packets at some moments, ended there: on a flow that goes on, the deaths are
    /// those that would be told then.
    #[must_use]
    pub fn summary_at_end(&self, end: Time, lost: &Losses) -> (FlowSummary, Context) {
        // Taken apart and put together, it would be copied.
        let mut summed_up = self.summary(end);
        if self.conn.finished().is_none() {
            summed_up.0.deaths = self.live.deaths_if_ended(&self.conn, end, lost);
        }
        summed_up
    }

    /// What is known of the flow, and what the verdicts need besides.
    #[must_use]
    pub fn summary(&self, capture_end: Time) -> (FlowSummary, Context) {
        let (c, end) = (&self.conn, self.end());
        // A clock that stepped back cannot end a flow before it began.
        let last = c.last().max(c.first);
        let open_until = self.open_until(capture_end);
        let sides = |f: &dyn Fn(Side) -> u64| Both([f(Side::Client), f(Side::Server)]);
        let traffic = |side: Side| Traffic {
            packets: u64::from(c.packets[side]),
            payload_bytes: c.bytes(side),
            retransmissions: self.live.retransmissions(side),
        };
        let keepalive = |side: Side| self.live.probes(side).map(|p| p.summary());
        let unknown =
            || Exposure { noticed_by: NoticedBy::None, worst_case_s: None, basis: Ground::Observed, note: "".into() };
        let summary = || FlowSummary {
            id: self.id(),
            ends: c.ends.both(),
            handshake: c.handshake(),
            first: c.first,
            last,
            end,
            traffic: Both([traffic(Side::Client), traffic(Side::Server)]),
            rtt_s: (c.rtt > 0).then(|| seconds(c.rtt)),
            longest_silence: c.longest_silence.max(open_until.since(last)),
            longest_payload_silence: c.longest_payload_silence().max(open_until.since(c.last_payload())),
            keepalive: Both([keepalive(Side::Client), keepalive(Side::Server)]),
            zero_window_probes: sides(&|side| self.live.window_probes(side)),
            heartbeats: self.live.known_heartbeats().map_or_else(Vec::new, |h| h.summaries(open_until).into_owned()),
            deaths: self.live.deaths().to_vec(),
            exposure: Both([unknown(), unknown()]),
            cost: None::<Both<Cost>>,
            findings: Vec::new(),
            sockets: Both::default(),
        };
        let odd = self.live.odd();
        let half = &c.half.0;
        let payload_gap = |side: Side| {
            let h = &c.half[side];
            h.known.has(Known::PAYLOAD).then(|| c.longest_payload_gap(side).max(open_until.since(h.last_data)))
        };
        let context = Context {
            capture_end,
            last_sent: Both([0, 1].map(|i: usize| (c.packets.0[i] > 0).then_some(half[i].last))),
            unacknowledged: Both([half[0].in_flight(), half[1].in_flight()]),
            longest_payload_gap: Both([payload_gap(Side::Client), payload_gap(Side::Server)]),
            broke: odd.and_then(|o| o.broke).or_else(|| self.live.silent_break(c)),
            bare_segment: (c.bare_segment > 0).then_some(u32::from(c.bare_segment)),
            duplicates: self.live.duplicates(),
            missing_bytes: self.live.missing(),
            doubtful: self.live.doubtful(),
        };
        (summary(), context)
    }
}

fn pass_on(live: &mut Liveness, c: &Connection, from: Side, piece: Piece<'_>, ear: &mut Ear) -> u64 {
    match piece {
        Piece::Data { bytes, len, frame, time } => {
            live.heartbeats(c).data(Chunk { time, frame, from, bytes, len }, ear);
            0
        }
        Piece::Gap { len } => {
            live.heartbeats(c).gap(from, u64::from(len));
            u64::from(len)
        }
    }
}
