//! What every protocol's tests share: a conversation fed in any segmentation, and the same conversation maltreated.

use super::{OPENING_LIMIT, Opening, Parser, Recognition, Role, Sign};
use crate::packet::{SECOND, Time};
use crate::summary::{Both, Side};

pub use Side::{Client, Server};

/// What each side of a conversation says, turn by turn.
pub type Turns<'a> = &'a [(Side, &'a [u8])];

/// What a parser may take, bytes a flow.
const MOST_MEMORY: usize = 1024;

type Recognise = fn(&Opening) -> Recognition;

/// One flow as the tool would see it: the opening is kept until the protocol is recognised, then replayed.
struct Flow {
    recognise: Recognise,
    ports: Both<u16>,
    from_start: bool,
    opening: [Vec<u8>; 2],
    /// The opening as it came: who, when, and how many bytes of how many.
    pieces: Vec<(Side, Time, usize, usize)>,
    refused: bool,
    parser: Option<Box<dyn Parser>>,
    signs: Both<Vec<Sign>>,
}

impl Flow {
    fn new(recognise: Recognise, port: u16, from_start: bool) -> Self {
        Flow {
            recognise,
            ports: Both([50_000, port]),
            from_start,
            opening: Default::default(),
            pieces: Vec::new(),
            refused: false,
            parser: None,
            signs: Both::default(),
        }
    }

    fn data(&mut self, from: Side, time: Time, bytes: &[u8]) {
        if let Some(parser) = &mut self.parser {
            parser.data(from, time, bytes, &mut self.signs[from]);
            return;
        }
        if self.refused {
            return;
        }
        let opening = &mut self.opening[from as usize];
        let kept = bytes.len().min(OPENING_LIMIT - opening.len());
        opening.extend_from_slice(&bytes[..kept]);
        self.pieces.push((from, time, kept, bytes.len()));
        match (self.recognise)(&Opening {
            ports: self.ports,
            bytes: Both([&self.opening[0], &self.opening[1]]),
            from_start: self.from_start,
        }) {
            Recognition::No => self.refused = true,
            Recognition::Undecided => {}
            Recognition::Yes(mut parser) => {
                assert!(size_of_val(&*parser) <= MOST_MEMORY, "{} bytes a flow", size_of_val(&*parser));
                let mut at = [0; 2];
                let last = self.pieces.len() - 1;
                for (i, &(side, time, kept, len)) in self.pieces.iter().enumerate() {
                    let start = at[side as usize];
                    at[side as usize] += kept;
                    let kept = &self.opening[side as usize][start..start + kept];
                    parser.data(side, time, if i == last { bytes } else { kept }, &mut self.signs[side]);
                    if i != last && kept.len() < len {
                        parser.gap(side, (len - kept.len()) as u64);
                    }
                }
                self.parser = Some(parser);
            }
        }
    }

    fn gap(&mut self, from: Side, len: u64) {
        match &mut self.parser {
            Some(parser) => parser.gap(from, len),
            None => self.refused = true,
        }
    }
}

/// The signs of each side when every turn comes in pieces of `size` bytes. Turns are a second apart.
fn signs_in_pieces(recognise: Recognise, port: u16, from_start: bool, turns: Turns, size: usize) -> Both<Vec<Sign>> {
    let mut flow = Flow::new(recognise, port, from_start);
    for (at, &(from, bytes)) in turns.iter().enumerate() {
        for piece in bytes.chunks(size) {
            flow.data(from, Time(at as i64 * SECOND), piece);
        }
    }
    flow.signs
}

/// The signs that a conversation on `port` gives, the same in every segmentation and after every maltreatment no panic.
#[track_caller]
pub fn signs(recognise: Recognise, port: u16, turns: Turns) -> Vec<(Side, Sign)> {
    signs_from(recognise, port, true, turns)
}

/// As [`signs`], of a capture that begins in the middle.
#[track_caller]
pub fn signs_midstream(recognise: Recognise, port: u16, turns: Turns) -> Vec<(Side, Sign)> {
    signs_from(recognise, port, false, turns)
}

#[track_caller]
fn signs_from(recognise: Recognise, port: u16, from_start: bool, turns: Turns) -> Vec<(Side, Sign)> {
    let whole = signs_in_pieces(recognise, port, from_start, turns, usize::MAX);
    for size in [1, 2, 3, 5, 7, 11, 64] {
        assert_eq!(signs_in_pieces(recognise, port, from_start, turns, size), whole, "in pieces of {size}");
    }
    maltreat(recognise, port, from_start, turns);
    Side::BOTH.into_iter().flat_map(|side| whole[side].iter().map(move |sign| (side, sign.clone()))).collect()
}

/// The signs of a capture that begins in the middle, for parsers that find their place only where a segment starts.
pub fn signs_in_segments(recognise: Recognise, port: u16, turns: Turns) -> Vec<(Side, Sign)> {
    let whole = signs_in_pieces(recognise, port, false, turns, usize::MAX);
    Side::BOTH.into_iter().flat_map(|side| whole[side].iter().map(move |sign| (side, sign.clone()))).collect()
}

/// The beats among some signs, as who and in which role.
#[must_use]
pub fn beats(signs: &[(Side, Sign)]) -> Vec<(Side, &'static str, Role)> {
    let beat = |(side, sign): &(Side, Sign)| match sign {
        Sign::Beat { protocol, role, .. } => Some((*side, *protocol, *role)),
        Sign::Declared { .. } => None,
    };
    signs.iter().filter_map(beat).collect()
}

/// The announced figures among some signs.
#[must_use]
pub fn declared(signs: &[(Side, Sign)]) -> Vec<(Option<Side>, f64)> {
    let declared = |(_, sign): &(Side, Sign)| match sign {
        Sign::Declared { sender, seconds, .. } => Some((*sender, *seconds)),
        Sign::Beat { .. } => None,
    };
    signs.iter().filter_map(declared).collect()
}

/// Bytes from their hexadecimal digits; everything else is skipped.
#[must_use]
pub fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}

/// Cuts, bends and holes the conversation in many ways, always the same: nothing may panic.
fn maltreat(recognise: Recognise, port: u16, from_start: bool, turns: Turns) {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % below.max(1)
    };
    for _ in 0..200 {
        let mut flow = Flow::new(recognise, port, from_start);
        for _ in 0..3 {
            for (at, &(from, bytes)) in turns.iter().enumerate() {
                let mut bytes = bytes.to_vec();
                for _ in 0..random(3) {
                    let cut = random(bytes.len());
                    match random(4) {
                        0 => bytes.truncate(cut),
                        1 => bytes.extend((0..random(40)).map(|_| random(256) as u8)),
                        2 => flow.gap(from, 1 << random(40)),
                        _ => bytes.iter_mut().skip(cut).take(1).for_each(|b| *b = [0, 0xFF, 1, 0x80][random(4)]),
                    }
                }
                for piece in bytes.chunks(1 + random(32)) {
                    flow.data(from, Time(at as i64 * SECOND), piece);
                }
            }
        }
        let noise: Vec<u8> = (0..2000).map(|_| random(256) as u8).collect();
        for from in Side::BOTH {
            flow.data(from, Time(0), &noise);
        }
    }
}
