//! The state of one TCP connection as an onlooker can know it (RFC 9293 §3.3 for the names, RFC 7323 for timestamps).
//!
//! [`Connection::shape`] says what a segment is in sequence space, from the state before it; [`Connection::apply`] then
//! moves the state on. Between the two, the detectors look at both.

use super::prefetch::prefetch;
use super::sequence::{after, before, distance};
use crate::packet::{Address, Endpoint, Flags, Nanos, SECOND, Segment, Time};
use crate::summary::{Both, Handshake, Side};

/// What a segment is in its sender's sequence space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A SYN or SYN-ACK.
    Syn,
    /// Carries bytes or a FIN beyond SND.NXT; `missing` bytes between were not captured (yet).
    Data {
        /// Bytes between SND.NXT and the segment.
        missing: u32,
    },
    /// Carries only bytes that were sent before, as far as SND.NXT tells; some may fill a hole of the capture.
    Resend,
    /// Empty, at SND.NXT (or where nothing is known yet).
    Ack,
    /// Empty or one byte, below what its sender has sent and its peer has acknowledged or may have: a probe or a look-alike.
    Below,
    /// One new byte although the peer's window is closed (RFC 9293 §3.8.6.1).
    NewByteAtClosedWindow,
    /// Empty and older than the state: reordered.
    Stale,
    /// A reset.
    Reset,
}

/// What is known of one half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known(u16);

#[allow(missing_docs)]
impl Known {
    /// SND.NXT, from a SYN, data, or the peer's acknowledgment.
    pub const NXT: u16 = 1;
    /// SND.NXT may be one more than `nxt`: all that was seen is empty segments, any of which may have been a probe.
    pub const GUESS: u16 = 1 << 1;
    /// SND.UNA: the peer acknowledged something.
    pub const UNA: u16 = 1 << 2;
    /// Its window.
    pub const WINDOW: u16 = 1 << 3;
    pub const SYN: u16 = 1 << 4;
    pub const FIN: u16 = 1 << 5;
    /// Its segments carry timestamps.
    pub const TIMESTAMPS: u16 = 1 << 6;
    /// `last_byte` is the last byte before `nxt`.
    pub const LAST_BYTE: u16 = 1 << 7;
    /// The last advance of SND.NXT was a single byte (or a FIN) that a reordered acknowledgment could trail.
    pub const SINGLE: u16 = 1 << 8;
    /// It sent payload.
    pub const PAYLOAD: u16 = 1 << 9;
    /// It acknowledged the SYN-ACK that answered its SYN: the handshake is complete.
    pub const COMPLETE: u16 = 1 << 10;
    /// It reset the connection.
    pub const RESET: u16 = 1 << 11;
    /// A segment with timestamps was sent since the peer's echo moved: the last real one, unless [`Known::EARLIER`].
    pub const UNECHOED: u16 = 1 << 12;
    /// The first such segment is an earlier one, of which `Sent` tells.
    pub const EARLIER: u16 = 1 << 13;
    /// Its window is to be scaled.
    pub const SCALED: u16 = 1 << 14;
    /// Nothing more can come, of either side; [`Connection::finished`] tells since when.
    const FINISHED: u16 = 1 << 15;

    #[inline]
    #[must_use]
    pub fn has(self, bit: u16) -> bool {
        self.0 & bit != 0
    }
    #[inline]
    pub fn set(&mut self, bit: u16) {
        self.0 |= bit;
    }
    #[inline]
    pub fn clear(&mut self, bit: u16) {
        self.0 &= !bit;
    }
    #[inline]
    pub fn put(&mut self, bit: u16, known: bool) {
        self.0 = self.0 & !bit | if known { bit } else { 0 };
    }
}

/// What one side sent, and what its peer acknowledged of it: what every flow has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Half {
    /// SND.NXT: one past the highest byte sent.
    pub nxt: u32,
    /// SND.UNA: the highest acknowledgment that the peer sent.
    pub una: u32,
    /// Its latest TSval.
    pub tsval: u32,
    /// The receive window it last advertised, as on the wire.
    pub window: u16,
    /// What is known.
    pub known: Known,
    /// Its last segment.
    pub last: Time,
    /// Its last segment that the peer's stack takes note of: not a probe (those are out of window and dropped unread).
    pub last_real: Time,
    /// Its last new byte, SYN or FIN.
    pub last_data: Time,
    /// The last segment of the peer that this side is known to have received: by its timestamp's echo.
    pub heard: Time,
}

impl Half {
    /// Whether bytes were sent that the peer is not known to have acknowledged.
    #[inline]
    #[must_use]
    pub fn in_flight(&self) -> bool {
        self.known.has(Known::UNA) && self.known.has(Known::NXT) && after(self.nxt, self.una)
    }

    /// Whether it has sent a FIN or a reset.
    #[inline]
    #[must_use]
    pub fn closing(&self) -> bool {
        self.known.has(Known::FIN | Known::RESET)
    }

    /// The sequence number of its SYN, where SND.NXT tells it: nothing or a FIN came after it.
    #[inline]
    fn isn(&self) -> u32 {
        self.nxt.wrapping_sub(1 + u32::from(self.known.has(Known::FIN)))
    }
}

/// What one side sent, where there was payload, or more than one segment before the peer's echo.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    /// Payload bytes, each counted once, in the upper 56 bits; the last byte before SND.NXT in the lower 8.
    payload: u64,
    /// The longest time between two of its segments with new payload.
    longest_payload_gap: Nanos,
    /// When the first segment since the peer's echo moved was sent.
    unechoed: Time,
    /// When the oldest byte in flight was sent (or last progressed).
    flight: Time,
    /// The TSval of `unechoed`.
    unechoed_tsval: u32,
    /// The sequence number of its SYN.
    isn: u32,
}

impl Sent {
    /// Counts payload bytes.
    #[inline]
    fn add(&mut self, bytes: u64) {
        self.payload = self.payload.wrapping_add(bytes << 8);
    }

    #[inline]
    fn bytes(&self) -> u64 {
        self.payload >> 8
    }

    #[inline]
    fn set_last_byte(&mut self, byte: u8) {
        self.payload = self.payload & !0xff | u64::from(byte);
    }

    #[inline]
    fn last_byte(&self) -> u8 {
        self.payload as u8
    }
}

/// What a connection has that carries payload; many only keep alive.
#[derive(Clone, Debug, Default)]
struct Stream {
    sent: Both<Sent>,
    /// Longest time without payload so far.
    longest_payload_silence: Nanos,
}

/// Most flows have one, in room that comes in steps of 16 bytes.
const _: () = assert!(size_of::<Stream>() <= 88);

/// The two ends of a connection, packed: they are kept for every flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Both have IPv4 addresses.
    V4 {
        /// The ports of client and server.
        ports: [u16; 2],
        /// Their addresses.
        addresses: [u32; 2],
    },
    /// Any addresses: with them in place every flow would take 24 bytes more.
    Any {
        /// The ports of client and server.
        ports: [u16; 2],
        /// Their addresses.
        addresses: Box<[Address; 2]>,
    },
}

impl Ends {
    /// Of client and server.
    #[must_use]
    pub fn new(ends: Both<Endpoint>) -> Self {
        let (ports, addresses) = (ends.0.map(|end| end.port), ends.0.map(|end| end.address));
        if addresses.iter().all(|address| address.is_v4()) {
            Ends::V4 { ports, addresses: addresses.map(|address| address.lower as u32) }
        } else {
            Ends::Any { ports, addresses: Box::new(addresses) }
        }
    }

    /// One of them.
    #[inline]
    #[must_use]
    pub fn of(&self, side: Side) -> Endpoint {
        let at = side as usize;
        match self {
            Ends::V4 { ports, addresses } => {
                Endpoint { address: Address::v4(addresses[at].to_be_bytes()), port: ports[at] }
            }
            Ends::Any { ports, addresses } => Endpoint { address: addresses[at], port: ports[at] },
        }
    }

    /// The side that sent from `src` to `dst`, if these are the two.
    #[inline]
    #[must_use]
    pub fn sender(&self, src: &Endpoint, dst: &Endpoint) -> Option<Side> {
        let sent = match self {
            Ends::V4 { ports, addresses } => {
                if !(src.address.is_v4() && dst.address.is_v4()) {
                    return None;
                }
                let packed = |address: u32, port: u16| u64::from(address) << 16 | u64::from(port);
                let [client, server] = [0, 1].map(|at| packed(addresses[at], ports[at]));
                let [src, dst] = [src, dst].map(|end| packed(end.address.lower as u32, end.port));
                [(client ^ src) | (server ^ dst), (client ^ dst) | (server ^ src)]
            }
            Ends::Any { ports, addresses } => {
                let differs = |at: usize, end: &Endpoint| {
                    let Address { upper, lower } = addresses[at];
                    (upper ^ end.address.upper) | (lower ^ end.address.lower) | u64::from(ports[at] ^ end.port)
                };
                [differs(0, src) | differs(1, dst), differs(0, dst) | differs(1, src)]
            }
        };
        // Which side it was is hard to foretell: it is looked up.
        let [client, server] = sent.map(|differs| differs == 0);
        (client | server).then_some(Side::BOTH[usize::from(!client)])
    }

    /// Both.
    #[must_use]
    pub fn both(&self) -> Both<Endpoint> {
        Both([self.of(Side::Client), self.of(Side::Server)])
    }

    fn heap(&self) -> usize {
        match self {
            Ends::V4 { .. } => 0,
            Ends::Any { addresses, .. } => size_of_val(&**addresses),
        }
    }
}

/// One connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The two ends.
    pub ends: Ends,
    /// What each side sent.
    pub half: Both<Half>,
    /// Segments that each side sent.
    pub packets: Both<u32>,
    /// Its first segment.
    pub first: Time,
    /// Longest time without any segment so far.
    pub longest_silence: Nanos,
    /// The longest such time but one, in whole seconds: it is compared with limits, which are.
    second_silence: u32,
    stream: Option<Box<Stream>>,
    /// Round-trip time: of the handshake, else the least from a byte to its acknowledgment; 0 while unknown.
    pub rtt: Nanos,
    /// Length on the wire of the last segment without payload, 0 if there was none.
    pub bare_segment: u16,
    /// Window scale shifts, at most 14, or [`NO_SCALE`]: the client's in the lower half, the server's in the upper.
    scales: u8,
}

/// No window scaling was offered.
const NO_SCALE: u8 = 0xf;
/// An acknowledgment is delayed by no more than this (RFC 9293 §3.8.6.3).
const DELAYED_ACK: Nanos = SECOND / 2;
/// An acknowledgment this far beyond SND.NXT is nonsense rather than a capture gap: windows end at 1 GiB (RFC 7323 §2.3).
const PLAUSIBLE: i32 = 1 << 30;

impl Connection {
    /// A connection whose first segment is `s`.
    #[must_use]
    pub fn new(s: &Segment<'_>) -> Self {
        let from_client = if s.flags.syn() {
            !s.flags.ack()
        } else {
            // With no SYN: the lower port is more likely to have listened; ephemeral ports are high (RFC 6335 §6).
            s.src.port > s.dst.port || (s.src.port == s.dst.port && s.src.address > s.dst.address)
        };
        let ends = if from_client { [s.src, s.dst] } else { [s.dst, s.src] };
        Connection {
            ends: Ends::new(Both(ends)),
            half: Both::default(),
            packets: Both::default(),
            first: s.time,
            longest_silence: 0,
            second_silence: 0,
            stream: None,
            rtt: 0,
            bare_segment: 0,
            scales: NO_SCALE << 4 | NO_SCALE,
        }
    }

    /// How much of the handshake was seen.
    #[inline]
    #[must_use]
    pub fn handshake(&self) -> Handshake {
        if self.half[Side::Client].known.has(Known::COMPLETE) {
            Handshake::Full
        } else if self.half.0.iter().any(|half| half.known.has(Known::SYN)) {
            Handshake::Partial
        } else {
            Handshake::None
        }
    }

    /// Nothing more can come since this moment. It takes the place of the timestamps, which only a segment asks for.
    pub fn finish(&mut self, now: Time) {
        let [client, server] = &mut self.half.0;
        (client.tsval, server.tsval) = (now.0 as u32, (now.0 >> 32) as u32);
        client.known.set(Known::FINISHED);
    }

    /// Since when nothing more can come, once it is so.
    #[must_use]
    pub fn finished(&self) -> Option<Time> {
        let [client, server] = &self.half.0;
        let since = u64::from(server.tsval) << 32 | u64::from(client.tsval);
        client.known.has(Known::FINISHED).then_some(Time(since as i64))
    }

    /// Asks for what a segment needs besides the connection itself.
    #[inline]
    pub fn prefetch(&self) {
        if let Some(stream) = &self.stream {
            prefetch(&**stream);
        }
        if let Ends::Any { addresses, .. } = &self.ends {
            prefetch(&**addresses);
        }
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn heap(&self) -> usize {
        self.ends.heap() + self.stream.as_ref().map_or(0, |stream| size_of_val(&**stream))
    }

    #[inline]
    fn sent(&self, side: Side) -> Option<&Sent> {
        self.stream.as_ref().map(|stream| &stream.sent[side])
    }

    /// Segments that both sides sent, modulo 2^32.
    #[inline]
    #[must_use]
    pub fn segments(&self) -> u32 {
        let [client, server] = self.packets.0;
        client.wrapping_add(server)
    }

    /// What there is of a stream, made on first use; from then on it keeps what SND.NXT and the last new byte told before.
    fn stream(&mut self) -> &mut Stream {
        let half = &self.half;
        self.stream.get_or_insert_with(|| {
            let begun = |half: &Half| Sent { isn: half.isn(), flight: half.last_data, ..Sent::default() };
            Box::new(Stream { sent: Both(half.0.each_ref().map(begun)), longest_payload_silence: 0 })
        })
    }

    /// The sequence number of a side's SYN, if that was seen.
    #[inline]
    #[must_use]
    pub fn isn(&self, side: Side) -> Option<u32> {
        let half = &self.half[side];
        half.known.has(Known::SYN).then(|| self.sent(side).map_or_else(|| half.isn(), |sent| sent.isn))
    }

    /// SND.NXT is about to move past what was seen, and tells the SYN's number no longer.
    #[inline]
    fn keep_isn(&mut self, side: Side) {
        if self.stream.is_none() && self.half[side].known.has(Known::SYN) {
            self.stream();
        }
    }

    /// When a side's oldest byte in flight was sent (or last progressed). A SYN or FIN alone is its last new byte.
    #[inline]
    #[must_use]
    pub fn flight(&self, side: Side) -> Time {
        self.sent(side).map_or(self.half[side].last_data, |sent| sent.flight)
    }

    #[inline]
    fn set_flight(&mut self, side: Side, time: Time) {
        if self.stream.is_some() || self.half[side].last_data != time {
            self.stream().sent[side].flight = time;
        }
    }

    /// Payload bytes that a side sent, each counted once.
    #[inline]
    #[must_use]
    pub fn bytes(&self, side: Side) -> u64 {
        self.sent(side).map_or(0, Sent::bytes)
    }

    /// Counts payload that fills a hole of the capture.
    pub fn add_bytes(&mut self, side: Side, bytes: u32) {
        self.stream().sent[side].add(bytes.into());
    }

    /// The longest time between two of a side's segments with new payload.
    #[must_use]
    pub fn longest_payload_gap(&self, side: Side) -> Nanos {
        self.sent(side).map_or(0, |sent| sent.longest_payload_gap)
    }

    /// Longest time without payload so far.
    #[must_use]
    pub fn longest_payload_silence(&self) -> Nanos {
        self.stream.as_ref().map_or(0, |stream| stream.longest_payload_silence)
    }

    /// The last byte that a side sent, if it is known.
    #[must_use]
    pub fn last_byte(&self, side: Side) -> Option<u8> {
        self.sent(side).filter(|_| self.half[side].known.has(Known::LAST_BYTE)).map(Sent::last_byte)
    }

    /// The window scale shift that a side offered in its SYN.
    #[inline]
    fn offered_scale(&self, side: Side) -> Option<u8> {
        Some(self.scales >> (4 * side as u8) & 0xf).filter(|scale| *scale != NO_SCALE)
    }

    #[inline]
    fn scale(&self, side: Side) -> u8 {
        self.offered_scale(side).unwrap_or(0)
    }

    fn set_scale(&mut self, side: Side, scale: u8) {
        let shift = 4 * side as u8;
        self.scales = self.scales & !(0xf << shift) | scale.min(14) << shift;
    }

    /// Whether a segment's window is the one that its sender last advertised.
    #[inline]
    #[must_use]
    pub fn same_window(&self, from: Side, s: &Segment<'_>) -> bool {
        let (me, scale) = (&self.half[from], self.scale(from));
        let known = if me.known.has(Known::SCALED) { scale } else { 0 };
        u32::from(s.window) << scale == u32::from(me.window) << known
    }

    /// The side that sent `s`.
    #[inline]
    #[must_use]
    pub fn side(&self, s: &Segment<'_>) -> Side {
        if self.ends.of(Side::Client) == s.src { Side::Client } else { Side::Server }
    }

    /// Whether its ends may be used again: both sides closed, or one reset.
    #[inline]
    #[must_use]
    pub fn over(&self) -> bool {
        let half = &self.half.0;
        half.iter().any(|h| h.known.has(Known::RESET)) || half.iter().all(|h| h.known.has(Known::FIN))
    }

    /// Whether it is being closed: a side has sent a FIN or a reset.
    #[inline]
    #[must_use]
    pub fn closing(&self) -> bool {
        self.half.0.iter().any(Half::closing)
    }

    /// The time of the last segment.
    #[inline]
    #[must_use]
    pub fn last(&self) -> Time {
        self.half[Side::Client].last.max(self.half[Side::Server].last)
    }

    /// The time of the last payload, or of the first segment.
    #[must_use]
    pub fn last_payload(&self) -> Time {
        let of = |side| if self.half[side].known.has(Known::PAYLOAD) { self.half[side].last_data } else { self.first };
        of(Side::Client).max(of(Side::Server))
    }

    /// The last segment of `of`'s peer that `of` can have received, as far as the capture tells. The echo of its timestamp
    /// decides. Without timestamps every segment counts, unless `of` went on without acknowledging what the peer sent.
    #[inline]
    #[must_use]
    pub fn last_heard(&self, of: Side) -> Option<Time> {
        let (me, peer) = (&self.half[of], &self.half[of.peer()]);
        let echoes = me.known.has(Known::TIMESTAMPS) && peer.known.has(Known::TIMESTAMPS);
        let silent = peer.in_flight() && me.last.since(self.flight(of.peer())) > DELAYED_ACK;
        if self.packets[of.peer()] == 0 {
            Some(me.heard).filter(|t| *t != Time::default())
        } else if (echoes || silent) && me.heard != Time::default() {
            Some(me.heard)
        } else {
            Some(peer.last_real).filter(|t| *t != Time::default())
        }
    }

    /// Whether `side`'s latest window is known to be zero.
    #[inline]
    #[must_use]
    pub fn window_closed(&self, side: Side) -> bool {
        let half = &self.half[side];
        half.known.has(Known::WINDOW) && half.window == 0
    }

    /// Whether `from` has acknowledged more than this before.
    #[inline]
    #[must_use]
    pub fn older_ack(&self, from: Side, ack: u32) -> bool {
        let peer = &self.half[from.peer()];
        peer.known.has(Known::UNA) && before(ack, peer.una)
    }

    /// What `s` is in its sender's sequence space, judged by the state before it.
    #[inline]
    #[must_use]
    pub fn shape(&self, from: Side, s: &Segment<'_>) -> Shape {
        if s.flags.rst() {
            return Shape::Reset;
        }
        if s.flags.syn() {
            return Shape::Syn;
        }
        let me = &self.half[from];
        let fin = u32::from(s.flags.fin());
        let len = s.payload_len + fin;
        if !me.known.has(Known::NXT) {
            // A lone byte that is not pushed: stacks push the end of what was written (RFC 9293 §3.9.1), not a probe's garbage.
            let garbage = s.payload_len == 1 && fin == 0 && s.flags.0 == Flags::ACK;
            return match len {
                0 => Shape::Ack,
                _ if garbage => Shape::Below,
                _ => Shape::Data { missing: 0 },
            };
        }
        let offset = distance(s.seq, me.nxt);
        if s.payload_len <= 1 && fin == 0 && s.flags.ack() {
            let below_una = me.known.has(Known::UNA) && s.seq.wrapping_add(1) == me.una;
            let acknowledged = me.known.has(Known::UNA) && !after(s.seq.wrapping_add(1), me.una);
            if s.payload_len == 0 {
                return match offset {
                    0.. => Shape::Ack,
                    _ if offset == -1 || below_una => Shape::Below,
                    _ => Shape::Stale,
                };
            }
            if below_una || (offset == -1 && acknowledged) {
                return Shape::Below;
            }
            if offset == 0 && self.window_closed(from.peer()) {
                return Shape::NewByteAtClosedWindow;
            }
        }
        if len == 0 {
            Shape::Stale
        } else if after(s.seq.wrapping_add(len), me.nxt) {
            Shape::Data { missing: offset.max(0) as u32 }
        } else {
            Shape::Resend
        }
    }

    /// Moves the state on by a segment of that shape. `probe` tells that the detectors took it for a probe.
    #[inline]
    pub fn apply(&mut self, from: Side, s: &Segment<'_>, shape: Shape, probe: bool) {
        if self.packets[from.peer()] == 0 {
            self.note_unseen(from, s);
        }
        self.note_silence(s, shape);
        self.note_handshake(from, s);
        let now = s.time;
        if s.flags.ack() && shape != Shape::Reset {
            self.note_window(from, s, shape);
            self.acknowledge(from, s);
        }
        if !probe {
            self.keep_unechoed(from);
            self.half[from].last_real = now;
        }
        self.packets[from] = self.packets[from].wrapping_add(1);
        self.half[from].last = now;
        match shape {
            Shape::Syn => self.note_syn(from, s),
            Shape::Data { .. } => self.note_data(from, s),
            Shape::Resend => {
                if s.flags.fin() && !self.half[from].known.has(Known::FIN) {
                    self.keep_isn(from);
                    self.half[from].known.set(Known::FIN);
                }
            }
            Shape::Ack => {
                let me = &mut self.half[from];
                if !me.known.has(Known::NXT) {
                    me.nxt = s.seq;
                    me.known.set(Known::NXT | Known::GUESS);
                } else if after(s.seq, me.nxt) {
                    // Bytes between were not captured.
                    self.keep_isn(from);
                    let me = &mut self.half[from];
                    me.nxt = s.seq;
                    me.known.clear(Known::GUESS | Known::LAST_BYTE | Known::SINGLE);
                }
            }
            Shape::Reset => self.half[from].known.set(Known::RESET),
            Shape::Below if !self.half[from].known.has(Known::NXT) => {
                let me = &mut self.half[from];
                me.nxt = s.seq.wrapping_add(s.payload_len);
                me.known.set(Known::NXT);
            }
            Shape::Below | Shape::NewByteAtClosedWindow | Shape::Stale => {}
        }
        self.note_echo(from, s, probe);
    }

    fn note_syn(&mut self, from: Side, s: &Segment<'_>) {
        let again = self.half[from].known.has(Known::SYN).then(|| self.flight(from));
        let me = &mut self.half[from];
        if !me.known.has(Known::NXT) {
            me.nxt = s.seq.wrapping_add(s.payload_len + 1 + u32::from(s.flags.fin()));
            me.una = s.seq;
            me.known.set(Known::NXT | Known::UNA);
        }
        me.known.set(Known::SYN);
        me.last_data = s.time;
        if again.is_none() && (self.stream.is_some() || me.isn() != s.seq) {
            self.stream().sent[from].isn = s.seq;
        }
        self.set_flight(from, again.unwrap_or(s.time));
        if let Some(scale) = s.options.window_scale {
            self.set_scale(from, scale);
        }
    }

    #[inline]
    fn note_data(&mut self, from: Side, s: &Segment<'_>) {
        let (now, flight) = (s.time, self.flight(from));
        let fin = u32::from(s.flags.fin());
        let space = s.payload_len + fin;
        let end = s.seq.wrapping_add(space);
        let me = &self.half[from];
        let advance = if me.known.has(Known::NXT) { end.wrapping_sub(me.nxt) } else { space };
        let new = u64::from(advance.min(space) - fin.min(advance));
        let begins = !me.in_flight() && (me.known.has(Known::UNA) || flight == Time::default());
        // A FIN right behind the SYN takes one number; anything else, and SND.NXT tells the SYN's no longer.
        if advance != 1 || me.known.has(Known::FIN) {
            self.keep_isn(from);
        }
        let me = &mut self.half[from];
        me.known.put(Known::SINGLE, advance == 1);
        if let (true, Some(stream)) = (me.known.has(Known::PAYLOAD), &mut self.stream) {
            let longest = &mut stream.sent[from].longest_payload_gap;
            *longest = (*longest).max(now.since(me.last_data));
        }
        me.nxt = end;
        me.last_data = now;
        me.known.set(Known::NXT);
        me.known.clear(Known::GUESS | Known::LAST_BYTE);
        if let (1.., Some(stream)) = (s.payload_len, &mut self.stream) {
            me.known.set(Known::PAYLOAD);
            let sent = &mut stream.sent[from];
            sent.add(new);
            if let (Some(&byte), true) = (s.payload.last(), s.payload.len() as u32 == s.payload_len) {
                sent.set_last_byte(byte);
                me.known.set(Known::LAST_BYTE);
            }
        }
        if fin == 1 {
            me.known.set(Known::FIN);
            me.known.clear(Known::LAST_BYTE);
        }
        self.set_flight(from, if begins { now } else { flight });
    }

    /// Of a peer that the capture does not show: an acknowledgment or an echo that moves on tells that something came since
    /// the sender's last segment, which is dated as early as it can have come.
    fn note_unseen(&mut self, from: Side, s: &Segment<'_>) {
        let echoes = self.half[from].known.has(Known::TIMESTAMPS);
        let peer = &mut self.half[from.peer()];
        let mut moved = s.flags.ack() && peer.known.has(Known::NXT) && after(s.ack, peer.nxt);
        if let Some((_, tsecr)) = s.options.timestamps {
            moved |= echoes && after(tsecr, peer.tsval);
            peer.tsval = tsecr;
        }
        if moved {
            let me = &mut self.half[from];
            me.heard = me.last.plus(1);
        }
    }

    /// Whether `side` hears a peer that the capture does not show: then nothing follows from the peer's silence.
    #[must_use]
    pub fn hears_unseen(&self, side: Side) -> bool {
        self.packets[side.peer()] == 0 && self.half[side].heard != Time::default()
    }

    /// SND.NXT of a side whose empty segments turned out to be probes.
    pub fn settle_guess(&mut self, side: Side, nxt: u32) {
        self.keep_isn(side);
        let half = &mut self.half[side];
        half.nxt = nxt;
        half.known.clear(Known::GUESS | Known::SINGLE | Known::LAST_BYTE);
        half.known.set(Known::NXT);
    }

    /// The longest silence that the connection survived, where it broke in one that is over and was no longer than `broken`
    /// (which may count from the peer's last segment, and so be longer than the silence of both).
    #[must_use]
    pub fn survived(&self, broken: Nanos) -> Nanos {
        let second = || Nanos::from(self.second_silence) * SECOND;
        if self.longest_silence <= broken { second() } else { self.longest_silence }
    }

    #[inline]
    fn note_silence(&mut self, s: &Segment<'_>, shape: Shape) {
        let last = self.last();
        if last != Time::default() {
            let silence = s.time.since(last);
            let second = u32::try_from(silence.min(self.longest_silence).max(0) / SECOND).unwrap_or(u32::MAX);
            self.second_silence = self.second_silence.max(second);
            self.longest_silence = self.longest_silence.max(silence);
        }
        if s.payload_len > 0 && matches!(shape, Shape::Data { .. } | Shape::Resend) {
            let silence = s.time.since(self.last_payload());
            let longest = &mut self.stream().longest_payload_silence;
            *longest = silence.max(*longest);
        }
    }

    #[inline]
    fn note_handshake(&mut self, from: Side, s: &Segment<'_>) {
        let flags = s.flags;
        if flags.syn() && !flags.rst() {
            if from == Side::Server && self.half[Side::Client].known.has(Known::SYN) && flags.ack() {
                let syn = self.half[Side::Client].last_data;
                self.rtt = self.rtt.max(s.time.since(syn)).max(1);
            }
        } else if from == Side::Client
            && flags.ack()
            && !flags.rst()
            && !self.half[Side::Client].known.has(Known::COMPLETE)
            && self.half.0.iter().all(|h| h.known.has(Known::SYN))
        {
            self.half[Side::Client].known.set(Known::COMPLETE);
            let syn_ack = self.half[Side::Server].last_data;
            self.rtt = self.rtt.saturating_add(s.time.since(syn_ack).clamp(0, 10 * SECOND)).max(1);
        }
    }

    /// The sender acknowledges its peer's bytes.
    #[inline]
    fn acknowledge(&mut self, from: Side, s: &Segment<'_>) {
        let (now, of) = (s.time, from.peer());
        let peer = &mut self.half[of];
        if !peer.known.has(Known::NXT) {
            peer.nxt = s.ack;
            peer.una = s.ack;
            peer.known.set(Known::NXT | Known::UNA);
            return;
        }
        if after(s.ack, peer.nxt) {
            if distance(s.ack, peer.nxt) > PLAUSIBLE {
                return;
            }
            // The peer sent more than was captured.
            self.keep_isn(of);
            let peer = &mut self.half[of];
            peer.nxt = s.ack;
            peer.known.clear(Known::GUESS | Known::LAST_BYTE | Known::SINGLE);
        } else if s.ack == peer.nxt {
            peer.known.clear(Known::GUESS);
        }
        let peer = &mut self.half[of];
        if !peer.known.has(Known::UNA) {
            peer.una = s.ack;
            peer.known.set(Known::UNA);
        } else if after(s.ack, peer.una) {
            peer.una = s.ack;
            let (all, begun) = (!peer.in_flight(), s.flags.syn() || self.handshake() != Handshake::None);
            let flight = self.flight(of);
            if !begun && all && flight != Time::default() {
                let rtt = now.since(flight).max(1);
                self.rtt = if self.rtt == 0 { rtt } else { self.rtt.min(rtt) };
            }
            // Of a SYN or FIN that is acknowledged nobody asks when it was in flight.
            if self.stream.is_some() || !begun || !all {
                self.set_flight(of, now);
            }
        }
    }

    #[inline]
    fn note_window(&mut self, from: Side, s: &Segment<'_>, shape: Shape) {
        let scaled = Side::BOTH.iter().all(|side| self.offered_scale(*side).is_some());
        let old = self.older_ack(from, s.ack);
        let me = &mut self.half[from];
        if !old && shape != Shape::Stale {
            me.window = s.window;
            me.known.set(Known::WINDOW);
            me.known.put(Known::SCALED, scaled && !s.flags.syn());
        }
    }

    /// Timestamps tell who heard what: TSecr names the last in-window segment that its sender received. Without them, an
    /// acknowledgment of all does.
    #[inline]
    fn note_echo(&mut self, from: Side, s: &Segment<'_>, probe: bool) {
        let Some((tsval, tsecr)) = s.options.timestamps else {
            let peer = &self.half[from.peer()];
            if self.packets[from.peer()] > 0
                && !self.half[from].known.has(Known::TIMESTAMPS)
                && !peer.in_flight()
                && s.flags.ack()
            {
                self.half[from].heard = peer.last_real;
            }
            return;
        };
        let peer = &self.half[from.peer()];
        let heard = if !peer.known.has(Known::TIMESTAMPS) || s.flags.syn() && !s.flags.ack() {
            None
        } else if !after(peer.tsval, tsecr) {
            Some(peer.last_real)
        } else if peer.known.has(Known::EARLIER) {
            // Where the first unechoed segment is the last one, that was asked.
            self.sent(from.peer()).filter(|sent| !after(sent.unechoed_tsval, tsecr)).map(|sent| sent.unechoed)
        } else {
            None
        };
        if let Some(heard) = heard {
            let peer = &mut self.half[from.peer()];
            peer.known.clear(Known::UNECHOED | Known::EARLIER);
            let me = &mut self.half[from];
            me.heard = me.heard.max(heard);
        }
        let me = &mut self.half[from];
        me.known.set(Known::TIMESTAMPS);
        if !probe {
            me.tsval = tsval;
            me.known.set(Known::UNECHOED);
        }
    }

    /// The last real segment will be another one: the first that the peer has not echoed is kept.
    #[inline]
    fn keep_unechoed(&mut self, side: Side) {
        let half = &mut self.half[side];
        if half.known.has(Known::UNECHOED) && !half.known.has(Known::EARLIER) {
            half.known.set(Known::EARLIER);
            let unechoed = (half.last_real, half.tsval);
            let sent = &mut self.stream().sent[side];
            (sent.unechoed, sent.unechoed_tsval) = unechoed;
        }
    }

    /// A side's last segment turned out to be a probe: nothing that the peer takes note of is known.
    pub fn forget_real(&mut self, side: Side) {
        self.keep_unechoed(side);
        self.half[side].last_real = Time::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_either_kind_are_known_by_both_directions() {
        let v4 = |host: u8, port| Endpoint { address: Address::v4([10, 0, 0, host]), port };
        let v6 = |host: u8, port| Endpoint {
            address: Address::v6([0x20, 1, 0xd, 0xb8, host, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            port,
        };
        for (a, b, other) in [
            (v4(1, 40_000), v4(2, 22), v4(3, 22)),
            (v6(1, 40_000), v6(2, 22), v6(3, 22)),
            (v4(1, 1), v6(1, 1), v4(2, 1)),
        ] {
            let ends = Ends::new(Both([a, b]));
            assert_eq!(ends.both(), Both([a, b]));
            assert_eq!(ends.sender(&a, &b), Some(Side::Client));
            assert_eq!(ends.sender(&b, &a), Some(Side::Server));
            assert_eq!((ends.sender(&a, &other), ends.sender(&other, &b), ends.sender(&a, &a)), (None, None, None));
        }
    }

    /// A segment sent by a side in a second: its flags, SEG.SEQ, SEG.ACK and bytes of payload.
    fn sent(from: Side, second: i64, flags: u8, seq: u32, ack: u32, payload_len: u32) -> Segment<'static> {
        let Segment { src: client, dst: server, .. } = Segment::ACK;
        let (src, dst) = if from == Side::Client { (client, server) } else { (server, client) };
        Segment { time: Time(second * SECOND), src, dst, seq, ack, flags: Flags(flags), payload_len, ..Segment::ACK }
    }

    fn after_segments(segments: &[Segment<'_>]) -> Connection {
        let mut c = Connection::new(&segments[0]);
        for s in segments {
            let from = c.side(s);
            let shape = c.shape(from, s);
            c.apply(from, s, shape, false);
        }
        c
    }

    const SYN: u8 = Flags::SYN;
    const ACK: u8 = Flags::ACK;
    const FIN_ACK: u8 = Flags::FIN | Flags::ACK;

    #[test]
    fn the_number_of_a_syn_is_known_whatever_came_after_it() {
        let syn = sent(Side::Client, 1, SYN, 1000, 0, 0);
        let syn_ack = sent(Side::Server, 2, SYN | ACK, u32::MAX, 1001, 0);
        let ack = sent(Side::Client, 3, ACK, 1001, 0, 0);
        let fin = sent(Side::Client, 4, FIN_ACK, 1001, 0, 0);
        for later in [
            vec![],
            vec![fin],
            vec![fin, sent(Side::Client, 5, FIN_ACK, 1001, 0, 0)],
            vec![sent(Side::Client, 4, ACK, 1001, 0, 10), sent(Side::Client, 5, FIN_ACK, 1011, 0, 0)],
            vec![sent(Side::Client, 4, FIN_ACK, 1001, 0, 1)],
            // Bytes that were not captured.
            vec![sent(Side::Client, 4, ACK, 1500, 0, 0), sent(Side::Client, 5, FIN_ACK, 1500, 0, 0)],
            vec![sent(Side::Server, 4, ACK, 0, 1500, 0)],
        ] {
            let c = after_segments(&[vec![syn, syn_ack, ack], later].concat());
            assert_eq!((c.isn(Side::Client), c.isn(Side::Server)), (Some(1000), Some(u32::MAX)), "{c:?}");
            assert_eq!(c.handshake(), Handshake::Full);
        }
        let c = after_segments(&[syn]);
        assert_eq!((c.isn(Side::Client), c.isn(Side::Server), c.handshake()), (Some(1000), None, Handshake::Partial));
        let c = after_segments(&[ack]);
        assert_eq!((c.isn(Side::Client), c.handshake()), (None, Handshake::None));
    }

    #[test]
    fn what_is_in_flight_is_as_old_as_its_oldest_byte_or_its_last_progress() {
        let opened = [sent(Side::Client, 1, SYN, 1000, 0, 0), sent(Side::Server, 2, SYN | ACK, 5000, 1001, 0)];
        let since = |later: &[Segment<'static>]| {
            let c = after_segments(&[&opened, later].concat());
            let at = c.flight(Side::Client).0 / SECOND;
            (c.half[Side::Client].in_flight(), at)
        };
        assert_eq!(since(&[sent(Side::Client, 4, FIN_ACK, 1001, 5001, 0)]), (true, 4));
        let data = [sent(Side::Client, 4, ACK, 1001, 5001, 10), sent(Side::Client, 6, ACK, 1011, 5001, 10)];
        assert_eq!(since(&data), (true, 4));
        let half = sent(Side::Server, 7, ACK, 5001, 1011, 0);
        assert_eq!(since(&[data[0], data[1], half]), (true, 7));
        let next = sent(Side::Client, 9, ACK, 1021, 5001, 10);
        assert_eq!(since(&[data[0], data[1], sent(Side::Server, 7, ACK, 5001, 1021, 0), next]), (true, 9));
    }

    #[test]
    fn a_finished_connection_tells_since_when() {
        let mut c = after_segments(&[sent(Side::Client, 1, SYN, 1000, 0, 0)]);
        assert_eq!(c.finished(), None);
        c.finish(Time(-5 * SECOND));
        assert_eq!(c.finished(), Some(Time(-5 * SECOND)));
    }
}
