//! JT/T 808, vehicle terminals to their platform (editions of 2011, 2013 and 2019): the terminal's heartbeat (0x0002) is answered by
//! the platform's general response (0x8001) to it. Frames stand between bytes 0x7E; inside, 0x7D 0x02 means 0x7E and 0x7D 0x01
//! means 0x7D; the last byte is the XOR of all others.

use super::frames::{beat, bytes};
use super::{OPENING_LIMIT, Opening, Parser, Recognition, Role, Sign};
use crate::packet::Time;
use crate::summary::{Both, Side};

const FLAG: u8 = 0x7E;
const ESCAPE: u8 = 0x7D;
const HEARTBEAT: u16 = 0x0002;
const GENERAL_RESPONSE: u16 = 0x8001;
/// Properties: bits 0 to 9 are the body's length, 13 says that packet numbers follow the header, 14 marks the edition of 2019.
const BODY: u16 = 0x3FF;
const PARTS: u16 = 1 << 13;
const EDITION_2019: u16 = 1 << 14;
/// Bytes kept of a frame without its escapes: header of 2019, packet numbers, a general response's body.
const HEAD: usize = 32;
/// Longest frame: header of 2019 and packet numbers, body, checksum.
const LONGEST: usize = 21 + 1023 + 1;

/// Reads frames out of one side's stream.
#[derive(Clone, Copy, Default)]
struct Reader {
    /// Whether a flag was seen, so that what follows is a frame.
    inside: bool,
    escaped: bool,
    head: [u8; HEAD],
    /// Bytes of the frame, without escapes.
    len: usize,
    /// Bytes of it on the stream, with the flag that opened it.
    wire: usize,
    xor: u8,
    /// The frame's first bytes as on the stream.
    sample: [u8; HEAD],
}

/// A frame that is what its header and its checksum say.
struct Message<'a> {
    id: u16,
    body: &'a [u8],
    sample: &'a [u8],
    wire: usize,
}

impl Reader {
    fn start(&mut self) {
        *self = Reader { inside: true, wire: 1, ..Reader::default() };
        self.sample[0] = FLAG;
    }

    fn byte(&mut self, byte: u8, mut on_message: impl FnMut(Message)) {
        if byte == FLAG {
            if self.len > 0 {
                self.sample_byte(byte);
                if let Some(message) = self.message() {
                    on_message(message);
                }
            }
            self.start();
            return;
        }
        if !self.inside {
            return;
        }
        self.sample_byte(byte);
        let plain = match (self.escaped, byte) {
            (false, ESCAPE) => {
                self.escaped = true;
                return;
            }
            (true, 1) => ESCAPE,
            (true, 2) => FLAG,
            (true, _) => return *self = Reader::default(),
            (false, byte) => byte,
        };
        self.escaped = false;
        if let Some(place) = self.head.get_mut(self.len) {
            *place = plain;
        }
        self.len += 1;
        self.xor ^= plain;
        if self.len > LONGEST {
            *self = Reader::default();
        }
    }

    fn sample_byte(&mut self, byte: u8) {
        if let Some(place) = self.sample.get_mut(self.wire) {
            *place = byte;
        }
        self.wire += 1;
    }

    fn message(&self) -> Option<Message<'_>> {
        let head = &self.head[..self.len.min(HEAD)];
        let id = u16::from_be_bytes(bytes(head, 0)?);
        let properties = u16::from_be_bytes(bytes(head, 2)?);
        if self.escaped || self.xor != 0 || self.len != frame_len(properties) {
            return None;
        }
        let (header, body) = (header_len(properties), body_len(properties));
        let body = head.get(header..head.len().min(header + body)).unwrap_or_default();
        Some(Message { id, body, sample: &self.sample[..self.wire.min(HEAD)], wire: self.wire })
    }
}

/// Id, properties, phone (6, or a version and 10), serial number, packet numbers.
fn header_len(properties: u16) -> usize {
    let edition = if properties & EDITION_2019 != 0 { 17 } else { 12 };
    edition + if properties & PARTS != 0 { 4 } else { 0 }
}

fn body_len(properties: u16) -> usize {
    usize::from(properties & BODY)
}

/// Header, body and checksum, without escapes.
fn frame_len(properties: u16) -> usize {
    header_len(properties) + body_len(properties) + 1
}

#[derive(Default)]
struct Jt808 {
    readers: Both<Reader>,
}

/// Whether these bytes between two flags are a frame whose length and checksum are right.
fn is_frame(inner: &[u8]) -> bool {
    // Most bytes that are none show it by the length that stands at a header's place: escapes double it at most.
    let Some(start) = inner.first_chunk::<4>() else { return false };
    let len = frame_len(u16::from_be_bytes([start[2], start[3]]));
    if !start.contains(&ESCAPE) && !(len..=2 * len).contains(&inner.len()) {
        return false;
    }
    let mut reader = Reader::default();
    reader.start();
    let mut fits = false;
    inner.iter().chain(&[FLAG]).for_each(|&b| reader.byte(b, |_| fits = true));
    fits
}

/// Recognises JT/T 808 by one frame whose length and checksum are right.
pub fn recognise(opening: &Opening) -> Recognition {
    let mut fits = false;
    for side in Side::BOTH {
        let stream = opening.bytes[side];
        if opening.from_start && stream.first().is_some_and(|&b| b != FLAG) {
            return Recognition::No;
        }
        // What stands between two flags.
        if stream.contains(&FLAG) {
            let mut frames = stream.split(|&b| b == FLAG).skip(1).peekable();
            while let (Some(frame), Some(_)) = (frames.next(), frames.peek()) {
                fits |= is_frame(frame);
            }
        }
    }
    let possible = |stream: &&[u8]| stream.is_empty() || (stream.contains(&FLAG) && stream.len() < OPENING_LIMIT);
    match fits {
        true => Recognition::Yes(Box::new(Jt808::default())),
        false if opening.bytes.0.iter().all(possible) => Recognition::Undecided,
        false => Recognition::No,
    }
}

impl Parser for Jt808 {
    fn data(&mut self, from: Side, _time: Time, bytes: &[u8], signs: &mut Vec<Sign>) {
        for &byte in bytes {
            self.readers[from].byte(byte, |message| {
                // The general response: the answered serial number, the answered id, the result.
                let answers = |body: &[u8]| body.get(2..4) == Some(&HEARTBEAT.to_be_bytes());
                let role = match message.id {
                    HEARTBEAT => Role::Request,
                    GENERAL_RESPONSE if answers(message.body) => Role::Reply,
                    _ => return,
                };
                signs.push(beat("jt808", role, message.wire as u64, message.sample));
            });
        }
    }

    fn gap(&mut self, from: Side, _len: u64) {
        self.readers[from] = Reader::default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    const EXPECTED: [(Side, &str, Role); 2] = [(Client, "jt808", Role::Request), (Server, "jt808", Role::Reply)];

    /// A frame around what JT/T 808 §4.4.2 puts there, escapes and checksum as there.
    fn frame(plain: &[u8]) -> Vec<u8> {
        let xor = plain.iter().fold(0, |sum, b| sum ^ b);
        let escape = |b: u8| match b {
            FLAG => vec![ESCAPE, 2],
            ESCAPE => vec![ESCAPE, 1],
            b => vec![b],
        };
        let inner = plain.iter().copied().chain([xor]).flat_map(escape);
        [FLAG].into_iter().chain(inner).chain([FLAG]).collect()
    }

    /// A heartbeat as an independent decoder's tests have it (terminal 012345678901), and the general response by hand.
    #[test]
    fn the_edition_of_2013() {
        let heartbeat = hex("7E 0002 0000 012345678901 0000 8A 7E");
        assert_eq!(frame(&heartbeat[1..13]), heartbeat);
        let answer = frame(&hex("8001 0005 012345678901 0000 0000 0002 00"));
        let got = signs(recognise, 808, &[(Client, &heartbeat), (Server, &answer)]);
        assert_eq!(beats(&got), EXPECTED);
        assert_eq!(got[0].1, beat("jt808", Role::Request, 15, &heartbeat));
    }

    #[test]
    fn the_edition_of_2019_with_escapes() {
        let heartbeat = frame(&hex("0002 4000 01 0000000001234567 7E7D 0001"));
        let other = frame(&hex("8001 4005 01 0000000001234567 7E7D 0001 0001 0200 00"));
        let answer = frame(&hex("8001 4005 01 0000000001234567 7E7D 0002 0001 0002 00"));
        let turns: Turns = &[(Client, &heartbeat), (Server, &other), (Server, &answer)];
        assert_eq!(beats(&signs(recognise, 6808, turns)), EXPECTED);
        assert_eq!(beats(&signs_midstream(recognise, 6808, turns)), EXPECTED);
    }

    #[test]
    fn a_wrong_checksum_is_no_frame() {
        assert_eq!(signs(recognise, 808, &[(Client, &hex("7E 0002 0000 012345678901 0000 8B 7E"))]), []);
    }
}
