//! NATS client protocol: `PING` and `PONG` lines, by either side (docs.nats.io, client protocol). Named by the server's INFO
//! or by the port and a fitting line; messages are skipped by the length at the end of their line.

use super::frames::beat;
use super::framing::Lines;
use super::{Opening, Parser, Recognition, Role, Sign, may_become};
use crate::packet::Time;
use crate::summary::{Both, Side};

const NAME: &str = "nats";
const PORTS: &[u16] = &[4222];

/// Longer than the lines that carry a message's length: subject, reply subject, numbers.
const HEAD: usize = 192;

/// Recognises NATS.
pub fn recognise(opening: &Opening) -> Recognition {
    let server = opening.bytes[Side::Server];
    let info = |bytes: &[u8]| bytes.starts_with(b"INFO {\"") || bytes.starts_with(b"CONNECT {\"");
    if info(server) || opening.port_in(PORTS) && opening.bytes.0.into_iter().any(fits) {
        return Recognition::Yes(Box::new(Nats::default()));
    }
    let maybe = if opening.from_start {
        may_become(server, b"INFO {\"")
    } else {
        opening.port_in(PORTS) && opening.bytes.0.iter().all(|bytes| bytes.len() < 512)
    };
    if maybe { Recognition::Undecided } else { Recognition::No }
}

/// Whether `bytes` begin with a whole line of the protocol.
fn fits(bytes: &[u8]) -> bool {
    let end = bytes.windows(2).position(|two| two == b"\r\n");
    end.is_some_and(|end| block(&bytes[..end]).is_some())
}

/// How many bytes of payload follow a line; `None` where it is no line of the protocol.
fn block(line: &[u8]) -> Option<u64> {
    let mut words = line.split(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let verb = words.next()?.to_ascii_uppercase();
    match &verb[..] {
        // The last word is the payload's length, for the H forms with its headers; CR LF follow it. The letters in front
        // are those between servers: routes, accounts and leaf nodes.
        b"PUB" | b"HPUB" | b"MSG" | b"HMSG" | b"RMSG" | b"LMSG" => {
            let len = std::str::from_utf8(words.next_back()?).ok()?.parse::<u32>().ok()?;
            Some(u64::from(len) + 2)
        }
        b"PING" | b"PONG" | b"+OK" | b"-ERR" | b"INFO" | b"CONNECT" | b"SUB" | b"UNSUB" => Some(0),
        b"RS+" | b"RS-" | b"LS+" | b"LS-" | b"A+" | b"A-" => Some(0),
        _ => None,
    }
}

#[derive(Default)]
struct Nats {
    lines: Both<Lines<HEAD>>,
    /// Lines of the protocol to see in a row before a side is believed again: after a gap it may be inside a payload.
    doubt: Both<u8>,
}

const DOUBT: u8 = 2;

impl Parser for Nats {
    fn data(&mut self, from: Side, _time: Time, bytes: &[u8], signs: &mut Vec<Sign>) {
        let doubt = &mut self.doubt[from];
        self.lines[from].push(bytes, |line, len| {
            let block = block(line);
            *doubt = if block.is_some() { doubt.saturating_sub(1) } else { DOUBT };
            if *doubt > 0 {
                return 0;
            }
            if line.eq_ignore_ascii_case(b"PING") {
                signs.push(beat(NAME, Role::Request, len, &wire(line)));
            } else if line.eq_ignore_ascii_case(b"PONG") {
                signs.push(beat(NAME, Role::Reply, len, &wire(line)));
            }
            block.unwrap_or(0)
        });
    }

    fn gap(&mut self, from: Side, len: u64) {
        self.lines[from].gap(len);
        if self.lines[from].torn() {
            self.doubt[from] = DOUBT;
        }
    }
}

/// A short line as on the wire.
fn wire(line: &[u8]) -> Vec<u8> {
    [line, b"\r\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// After the protocol's documentation; the payload of the message holds the lines of a ping.
    #[test]
    fn pings_outside_messages() {
        let turns: Turns = &[
            (Server, b"INFO {\"server_id\":\"x\",\"max_payload\":1048576}\r\n"),
            (Client, b"CONNECT {\"verbose\":false}\r\n"),
            (Client, b"PUB a.b 13\r\nx\r\nPING\r\nPING\r\n"),
            (Server, b"HMSG a.b 1 reply 4 16\r\n\r\n\r\nxPONG\r\nPONGx\r\n"),
            (Client, b"PING\r\n"),
            (Server, b"PONG\r\nPING\r\n"),
        ];
        let got = signs(recognise, 40_000, turns);
        let replied = [(Client, NAME, Role::Request), (Server, NAME, Role::Reply), (Server, NAME, Role::Request)];
        assert_eq!(beats(&got), replied);
        assert_eq!(beats(&signs_midstream(recognise, 4222, &turns[4..])).len(), 3);
        assert_eq!(signs_midstream(recognise, 40_000, &turns[4..]), []);
    }

    #[test]
    fn after_a_gap_a_side_is_believed_at_the_second_line() {
        let mut nats = Nats::default();
        let mut signs = Vec::new();
        nats.data(Client, Time(0), b"PUB a 100\r\n", &mut signs);
        nats.gap(Client, 200);
        for line in [&b"rest\r\n"[..], b"PING\r\n", b"PING\r\n"] {
            nats.data(Client, Time(0), line, &mut signs);
        }
        assert_eq!(signs.len(), 1);
    }
}
