//! What every protocol's tests share: a conversation fed in any segmentation, and the same conversation maltreated.

use super::{OPENING_LIMIT, Opening, Parser, Recognition, Role, Sign, TABLE, excluded_by, names};
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
        let streams = Both([&self.opening[0][..], &self.opening[1]]);
        match (self.recognise)(&Opening::new(self.ports, streams, self.from_start)) {
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

/// The beats among some signs, as who and in which role; each by a name that [`names`] knows.
#[must_use]
pub fn beats(signs: &[(Side, Sign)]) -> Vec<(Side, &'static str, Role)> {
    let beat = |(side, sign): &(Side, Sign)| match sign {
        Sign::Beat { protocol, role, .. } => {
            // The framing's own tests have a protocol of no table.
            assert!(
                *protocol == "simple" || names().any(|name| name == *protocol),
                "{protocol} is not among the names"
            );
            Some((*side, *protocol, *role))
        }
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

/// The first protocol of the table to claim a connection that begins like this.
fn claimed(port: u16, client: &[u8], server: &[u8]) -> Option<&'static str> {
    let opening = Opening::new(Both([50_000, port]), Both([client, server]), true);
    let excluded = client.first().map_or(0, |&first| excluded_by(first, Client, true));
    let at = TABLE.iter().position(|p| matches!((p.recognise)(&opening), Recognition::Yes(_)))?;
    assert!(excluded & 1 << at == 0, "{} begins like that", TABLE[at].name);
    Some(TABLE[at].name)
}

/// A server port, the first bytes of both sides, and whose they are.
type Case<'a> = (u16, &'a [u8], &'a [u8], Option<&'a str>);

#[test]
fn no_protocol_claims_what_is_another_s() {
    let hello = [&hex("16 03 01 00F0 01 0000EC 0303")[..], &[7; 234]].concat();
    let openings: &[Case] = &[
        (8080, b"GET / HTTP/1.1\r\n", b"", Some("http")),
        (3128, b"CONNECT example.com:443 HTTP/1.1\r\n", b"", Some("http")),
        (50051, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"", Some("http2")),
        (5672, b"AMQP\0\0\x09\x01", b"", Some("amqp")),
        (4222, b"CONNECT {\"verbose\":false}\r\n", b"INFO {\"server_id\":\"x\"}\r\n", Some("nats")),
        (61613, b"CONNECT\naccept-version:1.2\n\n\0", b"", Some("stomp")),
        (1883, b"\x10\x0d\0\x04MQTT\x04\x02\0\x0a\0\x01a", b"", Some("mqtt")),
        (6379, b"PING\r\n", b"", Some("redis")),
        (7000, b"*1\r\n$4\r\nPING\r\n", b"", Some("redis")),
        (5222, b"<?xml version='1.0'?><stream:stream to='a'>", b"", Some("xmpp")),
        (6667, b"NICK a\r\nUSER a 0 * :a\r\n", b"", Some("irc")),
        (2222, b"SSH-2.0-a\r\n", b"SSH-2.0-b\r\n", Some("ssh")),
        (443, &hello, b"", None),
        (25, b"EHLO a\r\n", b"220 mail ESMTP\r\n", None),
        (21, b"USER a\r\nPASS b\r\n", b"220 ready\r\n", None),
        (143, b"a1 LOGIN a b\r\n", b"* OK IMAP4rev1\r\n", None),
        (554, b"OPTIONS rtsp://a/ RTSP/1.0\r\n", b"", None),
        (11211, b"get a\r\n", b"END\r\n", Some("memcached")),
        (4000, &[0; 64], &[0; 64], None),
        (4000, &[0xff; 64], &[0xff; 64], None),
    ];
    for (port, client, server, name) in openings {
        assert_eq!(claimed(*port, client, server), *name, "{:?}", String::from_utf8_lossy(client));
    }
}
