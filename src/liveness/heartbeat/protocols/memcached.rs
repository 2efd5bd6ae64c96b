//! Memcached: `version` and the meta command `mn` of the text protocol (doc/protocol.txt), NOOP and VERSION of the binary one. `mn` and
//! NOOP also end a batch of quiet requests; then they are no heartbeat.

use super::frames::{self, Frame, Frames, beat, bytes};
use super::framing::{Lines, Measure};
use super::{OPENING_LIMIT, Opening, Parser, Recognition, Role, Sign};
use crate::packet::Time;
use crate::summary::{Both, Side};

const PORTS: &[u16] = &[11_211];
/// First words of what a client and what a server sends.
const COMMANDS: [&str; 20] = [
    "get", "gets", "gat", "gats", "set", "add", "replace", "append", "prepend", "cas", "delete", "incr", "decr",
    "touch", "version", "stats", "mn", "mg", "ms", "md",
];
const RESPONSES: [&str; 18] = [
    "STORED",
    "NOT_STORED",
    "EXISTS",
    "NOT_FOUND",
    "END",
    "VALUE",
    "DELETED",
    "TOUCHED",
    "OK",
    "VERSION",
    "STAT",
    "HD",
    "EN",
    "VA",
    "NF",
    "NS",
    "MN",
    "ERROR",
];

/// The longest of both.
const LONGEST_WORD: usize = "NOT_STORED".len();

/// Recognises the text protocol by a command or response on its port, or by both elsewhere; the binary one by its header.
pub fn recognise(opening: &Opening) -> Recognition {
    if opening.bytes.0.iter().any(|stream| matches!(stream.first(), Some(0x80 | 0x81))) {
        return frames::recognise::<Binary, 32>(opening);
    }
    let words = Side::BOTH.map(|side| first_word(opening.bytes[side]));
    let known = |known: &[&str]| words.map(|word| word.map(|word| known.iter().any(|known| known.as_bytes() == word)));
    let (asks, answers) = (known(&COMMANDS), known(&RESPONSES));
    let both = (0..2).any(|i| asks[i] == Some(true) && answers[1 - i] == Some(true));
    let one = asks.into_iter().chain(answers).any(|fits| fits == Some(true));
    let refused = (0..2).any(|i| asks[i] == Some(false) && answers[i] == Some(false));
    let known_port = opening.port_in(PORTS);
    let line = |stream: &&[u8]| stream.len() < OPENING_LIMIT && stream.first().is_none_or(u8::is_ascii_alphabetic);
    // Elsewhere than on its port both sides' first words must be known.
    let possible = |stream: &&[u8]| line(stream) && (known_port || may_be_known(stream));
    if both || one && known_port {
        Recognition::Yes(Box::new(Text::default()))
    } else if refused || !opening.bytes.0.iter().all(possible) {
        Recognition::No
    } else {
        Recognition::Undecided
    }
}

/// The first word of a stream that begins with a letter and has a line's end; nothing of one too long to be known.
fn first_word(stream: &[u8]) -> Option<&[u8]> {
    stream.first().filter(|b| b.is_ascii_alphabetic())?;
    stream.contains(&b'\n').then(|| {
        let end = stream.iter().take(LONGEST_WORD + 1).position(u8::is_ascii_whitespace);
        &stream[..end.unwrap_or(0)]
    })
}

/// Whether the first word of a stream is known, or may be once more of it has come.
fn may_be_known(stream: &[u8]) -> bool {
    let beginning = &stream[..stream.len().min(LONGEST_WORD + 1)];
    let mut known = COMMANDS.iter().chain(&RESPONSES).map(|known| known.as_bytes());
    match beginning.iter().position(u8::is_ascii_whitespace) {
        Some(end) => known.any(|known| known == &beginning[..end]),
        None => known.any(|known| known.starts_with(beginning)),
    }
}

/// Follows the text protocol.
#[derive(Default)]
struct Text {
    lines: Both<Lines<128>>,
    /// Whether a side has sent quiet requests that its next `mn` ends.
    quiet: Both<bool>,
}

/// Bytes of value behind a line: the number in its field `at`, and CRLF.
fn value(line: &[u8], at: usize) -> u64 {
    let field = line.split(|&b| b == b' ').filter(|field| !field.is_empty()).nth(at);
    let digits = field.and_then(|field| std::str::from_utf8(field).ok()?.trim_start_matches('S').parse::<u64>().ok());
    digits.map_or(0, |len| len.saturating_add(2))
}

impl Parser for Text {
    fn data(&mut self, from: Side, _time: Time, bytes: &[u8], signs: &mut Vec<Sign>) {
        let quiet = &mut self.quiet[from];
        self.lines[from].push(bytes, |line, len| {
            let word = line.split(|&b| b == b' ').next().unwrap_or_default();
            match word {
                b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas" => return value(line, 4),
                b"VALUE" => return value(line, 3),
                b"VA" => return value(line, 1),
                b"mg" | b"md" | b"ma" | b"ms" => {
                    *quiet |= line.split(|&b| b == b' ').skip(2).any(|flag| flag == b"q");
                    return if word == b"ms" { value(line, 2) } else { 0 };
                }
                b"mn" if std::mem::take(quiet) => {}
                b"version" | b"mn" if line.len() == word.len() => {
                    signs.push(beat("memcached", Role::Request, len, line))
                }
                b"VERSION" | b"MN" => signs.push(beat("memcached", Role::Reply, len, line)),
                _ => {}
            }
            0
        });
    }

    fn gap(&mut self, from: Side, len: u64) {
        self.lines[from].gap(len);
    }
}

const REQUEST: u8 = 0x80;
const NOOP: u8 = 0x0A;
const VERSION: u8 = 0x0B;

/// The binary protocol.
#[derive(Default)]
struct Binary {
    /// Whether the client has sent quiet requests that its next NOOP ends.
    quiet: bool,
}

impl Frames for Binary {
    const PORTS: &'static [u16] = &[11_211, 11_210];
    const ENOUGH: usize = 3;

    fn measure(_: Side, head: &[u8]) -> Measure {
        if head.first().is_some_and(|magic| !matches!(magic, 0x80 | 0x81)) {
            return Measure::Lost;
        }
        // Magic, operation, length of key (2), of extras, data type, status (2), length of all after the header (4).
        let Some(body) = bytes(head, 8).map(u32::from_be_bytes) else { return Measure::Need(12) };
        let key = u32::from(u16::from_be_bytes([head[2], head[3]]));
        let empty = !matches!(head[1], NOOP) || body == 0;
        if head[5] <= 7 && key <= 250 && key + u32::from(head[4]) <= body && body <= 1 << 30 && empty {
            Measure::Frame(24 + u64::from(body))
        } else {
            Measure::Lost
        }
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        match (frame.u8(0), frame.u8(1)) {
            (Some(REQUEST), Some(NOOP)) if std::mem::take(&mut self.quiet) => {}
            (Some(REQUEST), Some(NOOP | VERSION)) => signs.push(frame.beat("memcached", Role::Request)),
            (Some(_), Some(NOOP | VERSION)) => signs.push(frame.beat("memcached", Role::Reply)),
            // GetQ, GetKQ, and the quiet forms from SetQ to PrependQ.
            (Some(REQUEST), Some(0x09 | 0x0D | 0x11..=0x1A)) => self.quiet = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    const EXPECTED: [(Side, &str, Role); 2] =
        [(Client, "memcached", Role::Request), (Server, "memcached", Role::Reply)];

    /// Commands as doc/protocol.txt has them; a value holds what a command looks like.
    #[test]
    fn version_between_values() {
        let turns: Turns = &[
            (Client, b"set a 0 60 11\r\nx\r\nversion\r\r\nversion\r\n"),
            (Server, b"STORED\r\nVERSION 1.6.18\r\n"),
            (Client, b"get a\r\n"),
            (Server, b"VALUE a 0 8\r\nVERSION \r\nEND\r\n"),
        ];
        assert_eq!(beats(&signs(recognise, 11_311, turns)), EXPECTED);
        assert_eq!(beats(&signs_midstream(recognise, 11_211, turns)), EXPECTED);
    }

    #[test]
    fn a_meta_noop_that_ends_a_quiet_batch_is_none() {
        let turns: Turns = &[(Client, b"mg a v q\r\nmn\r\n"), (Client, b"mn\r\n"), (Server, b"EN\r\nMN\r\n")];
        assert_eq!(beats(&signs(recognise, 11_211, turns)), EXPECTED);
    }

    #[test]
    fn what_begins_like_no_known_word_is_refused_before_its_line_ends() {
        let refused = |stream: &[u8], port| {
            let bytes = Both([stream, &[]]);
            matches!(recognise(&Opening::new(Both([port, 40_000]), bytes, true)), Recognition::No)
        };
        for word in COMMANDS.iter().chain(&RESPONSES) {
            let line = format!("{word} 1");
            assert!((0..=line.len()).all(|end| !refused(&line.as_bytes()[..end], 9)), "{word}");
        }
        assert!(refused(b"HBT\x01", 9) && refused(b"getting ", 9) && refused(b"NOT_STORED_AT_ALL", 9));
        assert!(!refused(b"HBT\x01", PORTS[0]), "the other side's word may name it");
    }

    /// doc/protocol-binary: a NOOP and its response, header only.
    #[test]
    fn binary_noop() {
        let (ask, answer) = (hex("800A0000 00000000 00000000"), hex("810A0000 00000000 00000000"));
        let pad = |mut bytes: Vec<u8>| {
            bytes.resize(24, 0);
            bytes
        };
        assert_eq!(beats(&signs(recognise, 11_211, &[(Client, &pad(ask)), (Server, &pad(answer))])), EXPECTED);
    }
}
