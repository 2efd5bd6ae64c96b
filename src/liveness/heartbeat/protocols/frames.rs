//! Protocols that are a plain run of frames, each telling its own length: one recogniser and one parser for all of them.
//!
//! A protocol describes itself by [`Frames`]: how long a frame is and what it means. Whether a flow is its own is then a
//! matter of how many frames fit, and where; the place in the stream is found again after a gap at the first segment that
//! is made of whole frames.

use super::framing::{Framer, Measure};
use super::{OPENING_LIMIT, Opening, Parser, Recognition, Role, Sign};
use crate::packet::Time;
use crate::summary::{BeatKind, Both, Side};

/// What one protocol's frames look like and what they say.
pub trait Frames: Default + Send + Sync + 'static {
    /// The ports on which one fitting frame names the protocol.
    const PORTS: &'static [u16];
    /// The weight of fitting frames that names it on any other port.
    const ENOUGH: usize;

    /// The length of the frame that starts with `head`; [`Measure::Lost`] for whatever this protocol would not send, since
    /// the protocol is recognised by this alone.
    fn measure(from: Side, head: &[u8]) -> Measure;

    /// What a fitting frame that starts with `head` weighs: `ENOUGH` for a distinctive handshake, 0 for what many protocols
    /// could send.
    #[must_use]
    fn weight(_head: &[u8]) -> usize {
        1
    }

    /// A complete frame came from `from`.
    fn frame(&mut self, from: Side, frame: Frame<'_>, signs: &mut Vec<Sign>);
}

/// One complete frame.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    /// Its first bytes, as many as the parser keeps.
    pub head: &'a [u8],
    /// Its length on the stream.
    pub len: u64,
}

impl Frame<'_> {
    /// The byte at `offset`, where kept.
    #[must_use]
    pub fn u8(&self, offset: usize) -> Option<u8> {
        self.head.get(offset).copied()
    }

    /// The big-endian number at `offset`, where kept.
    #[must_use]
    pub fn u16(&self, offset: usize) -> Option<u16> {
        bytes(self.head, offset).map(u16::from_be_bytes)
    }

    /// The big-endian number at `offset`, where kept.
    #[must_use]
    pub fn u32(&self, offset: usize) -> Option<u32> {
        bytes(self.head, offset).map(u32::from_be_bytes)
    }

    /// The little-endian number at `offset`, where kept.
    #[must_use]
    pub fn u16_le(&self, offset: usize) -> Option<u16> {
        bytes(self.head, offset).map(u16::from_le_bytes)
    }

    /// The little-endian number at `offset`, where kept.
    #[must_use]
    pub fn u32_le(&self, offset: usize) -> Option<u32> {
        bytes(self.head, offset).map(u32::from_le_bytes)
    }

    /// The frame as a heartbeat of `protocol`.
    #[must_use]
    pub fn beat(&self, protocol: &'static str, role: Role) -> Sign {
        beat(protocol, role, self.len, self.head)
    }
}

/// A heartbeat of `len` bytes that begin with `head`.
#[must_use]
pub fn beat(protocol: &'static str, role: Role, len: u64, head: &[u8]) -> Sign {
    Sign::Beat {
        protocol,
        role,
        kind: BeatKind::Heartbeat,
        len: u32::try_from(len).unwrap_or(u32::MAX),
        sample: head[..head.len().min(32)].to_vec(),
    }
}

/// The `N` bytes at `offset`, if there.
#[must_use]
pub fn bytes<const N: usize>(head: &[u8], offset: usize) -> Option<[u8; N]> {
    head.get(offset..)?.first_chunk().copied()
}

/// How far a run of frames reaches into some bytes.
#[derive(Default)]
pub struct Walk {
    /// Frames whose length could be told; the last of them may go on beyond the bytes.
    pub frames: usize,
    /// Whether the bytes end where a frame ends.
    pub whole: bool,
    /// Whether something stood there that is no frame.
    pub lost: bool,
    /// Whether all was shown of the last frame that is, and it goes on beyond [`OPENING_LIMIT`]: more of an opening tells
    /// nothing more.
    pub beyond: bool,
}

/// Walks the frames that begin with the first of these bytes; `measure` is shown at most `most` bytes of each.
#[must_use]
pub fn walk(bytes: &[u8], most: usize, mut measure: impl FnMut(&[u8]) -> Measure) -> Walk {
    let (mut walk, mut rest) = (Walk::default(), bytes);
    while !rest.is_empty() {
        match measure(&rest[..rest.len().min(most)]) {
            Measure::Frame(len) if len > 0 => {
                walk.frames += 1;
                let Some(after) = usize::try_from(len).ok().and_then(|len| rest.get(len..)) else {
                    let end = len.saturating_add((bytes.len() - rest.len()) as u64);
                    walk.beyond = end >= OPENING_LIMIT as u64 && rest.len() >= most;
                    return walk;
                };
                rest = after;
            }
            Measure::Need(n) if n > rest.len() && n <= most => return walk,
            _ => {
                walk.lost = true;
                return walk;
            }
        }
    }
    walk.whole = walk.frames > 0;
    walk
}

/// Recognises a protocol by its frames: one on its own port, [`Frames::ENOUGH`] elsewhere, and nothing that does not fit.
#[must_use]
pub fn recognise<P: Frames, const HEAD: usize>(opening: &Opening) -> Recognition {
    let mut weight = 0_usize;
    let mut walk_of = |side: Side| {
        walk(opening.bytes[side], HEAD, |head| {
            let measure = P::measure(side, head);
            if let Measure::Frame(_) = measure {
                weight = weight.saturating_add(P::weight(head));
            }
            measure
        })
    };
    // A capture that begins in the middle may begin in the middle of a frame: then the port must speak.
    let excludes = |walk: &Walk| walk.lost && (opening.from_start || !opening.port_in(P::PORTS));
    let client = walk_of(Side::Client);
    if excludes(&client) {
        return Recognition::No;
    }
    let server = walk_of(Side::Server);
    if excludes(&server) {
        return Recognition::No;
    }
    let walks = [client, server];
    let known_port = opening.port_in(P::PORTS);
    let fits = walks.iter().any(|w| !w.lost && w.frames > 0);
    let full = opening.bytes.0.iter().any(|bytes| bytes.len() >= OPENING_LIMIT);
    if weight >= P::ENOUGH || (known_port && (fits || full && !opening.from_start)) {
        let mut parser = Framed::<P, HEAD>::default();
        for side in Side::BOTH {
            parser.sure[side] = !walks[side as usize].lost;
        }
        return Recognition::Yes(Box::new(parser));
    }
    // On its own port it may be this protocol yet; elsewhere only further frames would tell.
    let settled = !known_port && walks.iter().all(|walk| walk.lost || walk.beyond);
    if full || settled { Recognition::No } else { Recognition::Undecided }
}

/// The parser of a protocol that its first frames named.
#[must_use]
pub fn recognised<P: Frames, const HEAD: usize>() -> Recognition {
    Recognition::Yes(parser::<P, HEAD>())
}

/// The parser of a protocol that something else named.
#[must_use]
pub fn parser<P: Frames, const HEAD: usize>() -> Box<dyn Parser> {
    Box::new(Framed::<P, HEAD>::default())
}

/// Follows both streams of a protocol of frames, of each of which `HEAD` bytes are kept.
struct Framed<P, const HEAD: usize> {
    protocol: P,
    framers: Both<Framer<HEAD>>,
    /// Whether the place in the stream is known; where it is not, nothing is said.
    sure: Both<bool>,
}

impl<P: Frames, const HEAD: usize> Default for Framed<P, HEAD> {
    fn default() -> Self {
        Framed { protocol: P::default(), framers: Both::default(), sure: Both([true; 2]) }
    }
}

impl<P: Frames, const HEAD: usize> Parser for Framed<P, HEAD> {
    fn data(&mut self, from: Side, _time: Time, bytes: &[u8], signs: &mut Vec<Sign>) {
        if !self.sure[from] {
            let walk = walk(bytes, HEAD, |head| P::measure(from, head));
            if walk.lost || !(walk.whole || walk.frames > 1) {
                return;
            }
            self.framers[from].restart();
            self.sure[from] = true;
        }
        let protocol = &mut self.protocol;
        self.framers[from].push(
            bytes,
            |head| P::measure(from, head),
            |head, len| protocol.frame(from, Frame { head, len }, signs),
        );
        self.sure[from] = !self.framers[from].lost();
    }

    fn gap(&mut self, from: Side, len: u64) {
        self.framers[from].gap(len);
        self.sure[from] &= !self.framers[from].lost();
    }
}

/// A figure that both sides propose and of which the lower holds (BGP's hold time, LDP's KeepAlive time).
#[derive(Clone, Copy, Default)]
pub struct Lower(Both<Option<u16>>);

impl Lower {
    /// `from` proposes `seconds`; the agreed figure once both have, unless it is 0.
    #[must_use]
    pub fn propose(&mut self, from: Side, seconds: u16) -> Option<u16> {
        self.0[from] = Some(seconds);
        let agreed = seconds.min(self.0[from.peer()]?);
        (agreed > 0).then_some(agreed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Client, Server, hex};
    use super::*;

    /// Frames of two letters' magic and a length that counts all; those with the length 4 are beats.
    #[derive(Default)]
    struct Simple;

    impl Frames for Simple {
        const PORTS: &'static [u16] = &[7];
        const ENOUGH: usize = 3;

        fn measure(_: Side, head: &[u8]) -> Measure {
            match *head {
                [b'H', b'B', high, low, ..] => Measure::Frame(u16::from_be_bytes([high, low]).into()),
                [b'H', b'B', ..] | [b'H'] | [] => Measure::Need(4),
                _ => Measure::Lost,
            }
        }

        fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
            if frame.len == 4 {
                signs.push(frame.beat("simple", Role::OneWay));
            }
        }
    }

    fn opening<'a>(port: u16, from_start: bool, client: &'a [u8], server: &'a [u8]) -> Opening<'a> {
        Opening::new(Both([50_000, port]), Both([client, server]), from_start)
    }

    fn recognised_as(opening: Opening) -> Option<bool> {
        match super::recognise::<Simple, 32>(&opening) {
            Recognition::Yes(_) => Some(true),
            Recognition::No => Some(false),
            Recognition::Undecided => None,
        }
    }

    #[test]
    fn a_port_needs_one_frame_and_no_port_several() {
        let beat = b"HB\0\x04";
        assert_eq!(recognised_as(opening(7, true, beat, b"")), Some(true));
        assert_eq!(recognised_as(opening(8, true, beat, beat)), None);
        assert_eq!(recognised_as(opening(8, true, &[*beat; 2].concat(), beat)), Some(true));
        assert_eq!(recognised_as(opening(7, true, beat, b"HTTP")), Some(false));
    }

    #[test]
    fn a_capture_may_begin_within_a_frame_on_the_port() {
        assert_eq!(recognised_as(opening(7, false, b"tail", b"HB\0\x04")), Some(true));
        assert_eq!(recognised_as(opening(7, false, b"tail", b"")), None);
        assert_eq!(recognised_as(opening(8, false, b"tail", b"HB\0\x04")), Some(false));
    }

    #[test]
    fn frames_longer_than_an_opening_decide_at_once() {
        // 1024 bytes are an opening; 32 of each frame are shown.
        let frame = |len: u16, have| [b"HB", &len.to_be_bytes()[..], &[0; 28]].concat()[..have].to_vec();
        let (long, short) = (frame(1024, 32), frame(1023, 32));
        assert_eq!(recognised_as(opening(8, true, &long, &long)), Some(false));
        assert_eq!(recognised_as(opening(8, true, &long, &short)), None, "another frame may follow");
        assert_eq!(recognised_as(opening(8, true, &long, &frame(1024, 31))), None, "its last byte may tell");
        assert_eq!(recognised_as(opening(8, true, &long, b"")), None, "the other side may speak");
        assert_eq!(recognised_as(opening(7, true, &long, &long)), Some(true), "on its port one is enough");
    }

    #[test]
    fn after_a_gap_whole_segments_find_the_place() {
        let mut parser = Framed::<Simple, 32>::default();
        let beats = |parser: &mut Framed<Simple, 32>, from, bytes: &[u8]| {
            let mut signs = Vec::new();
            parser.data(from, Time(0), bytes, &mut signs);
            signs.len()
        };
        // A gap inside a frame's body is counted; one that ends within a later frame loses the place.
        assert_eq!(beats(&mut parser, Client, b"HB\0\x10"), 0);
        parser.gap(Client, 12);
        assert_eq!(beats(&mut parser, Client, b"HB\0\x04"), 1);
        parser.gap(Client, 2);
        assert_eq!(beats(&mut parser, Client, b"\0\x04HB\0\x04"), 0);
        assert_eq!(beats(&mut parser, Client, b"HB\0\x09"), 0, "a beginning alone is not enough");
        assert_eq!(beats(&mut parser, Client, b"HB\0\x04"), 1);
        assert_eq!(beats(&mut parser, Server, &hex("48420004")), 1, "the other side never lost it");
    }

    #[test]
    fn the_lower_of_two_proposals_holds() {
        let mut lower = Lower::default();
        assert_eq!(lower.propose(Client, 90), None);
        assert_eq!(lower.propose(Server, 180), Some(90));
        assert_eq!(lower.propose(Server, 0), None);
    }
}
