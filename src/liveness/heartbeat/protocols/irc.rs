//! IRC: PING and PONG lines, by either side (RFC 1459 §4.6.2, RFC 2812 §3.7.2). Named by the client's NICK and USER (or its
//! capability negotiation), or by the port and a line of the protocol.

use super::frames::beat;
use super::framing::Lines;
use super::{Opening, Parser, Recognition, Role, Sign};
use crate::packet::Time;
use crate::summary::{Both, Side};

const NAME: &str = "irc";

/// Kept of each line, which is at most 512 bytes long without tags.
const HEAD: usize = 96;

const PORTS: &[u16] = &[194, 6660, 6661, 6662, 6663, 6664, 6665, 6666, 6667, 6668, 6669, 7000];

/// Recognises IRC.
pub fn recognise(opening: &Opening) -> Recognition {
    let known_port = opening.port_in(PORTS);
    let mut begun = [false; 2];
    // Else a first line must be one of these.
    let possible =
        |first: &u8| matches!(first, b'@' | b':') || b"NUCPnucp".contains(first) || first.is_ascii_whitespace();
    if !known_port && !opening.bytes.0.iter().all(|bytes| bytes.first().is_none_or(possible)) {
        return Recognition::No;
    }
    for bytes in opening.bytes.0 {
        // NICK and USER come in either order, after an optional PASS; CAP LS only IRC has.
        for line in bytes.split_inclusive(|&b| b == b'\n').filter(|line| line.ends_with(b"\n")) {
            let command = command(line).0;
            let is = |known: &[&str]| known.iter().any(|known| command.eq_ignore_ascii_case(known.as_bytes()));
            if known_port && is(&["NICK", "USER", "NOTICE", "PING", "PONG", "PRIVMSG"]) {
                return Recognition::Yes(Box::new(Irc::default()));
            }
            if is(&["NICK"]) {
                begun[0] = true;
            } else if is(&["USER"]) {
                begun[1] = true;
            } else if is(&["CAP"]) && line.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"CAP LS")) {
                begun = [true; 2];
            } else if !known_port && !is(&["PASS", "NOTICE"]) {
                return Recognition::No;
            }
        }
    }
    let text = |bytes: &[u8]| bytes.iter().all(|&b| b >= b' ' || matches!(b, b'\r' | b'\n'));
    match begun {
        [true, true] => Recognition::Yes(Box::new(Irc::default())),
        _ if !(opening.from_start || known_port) => Recognition::No,
        _ if opening.bytes.0.into_iter().all(|bytes| bytes.len() < 600 && text(bytes)) => Recognition::Undecided,
        _ => Recognition::No,
    }
}

/// The command of a line, past its tags and prefix, and what follows it.
fn command(line: &[u8]) -> (&[u8], &[u8]) {
    let mut rest = line.trim_ascii();
    for mark in *b"@:" {
        if rest.first() == Some(&mark) {
            rest = rest.iter().position(|&b| b == b' ').map_or(&[][..], |at| rest[at..].trim_ascii_start());
        }
    }
    rest.split_at(rest.iter().position(|&b| b == b' ').unwrap_or(rest.len()))
}

#[derive(Default)]
struct Irc {
    lines: Both<Lines<HEAD>>,
}

impl Parser for Irc {
    fn data(&mut self, from: Side, _time: Time, bytes: &[u8], signs: &mut Vec<Sign>) {
        self.lines[from].push(bytes, |line, len| {
            let (command, _) = command(line);
            if command.eq_ignore_ascii_case(b"PING") {
                signs.push(beat(NAME, Role::Request, len, line));
            } else if command.eq_ignore_ascii_case(b"PONG") {
                signs.push(beat(NAME, Role::Reply, len, line));
            }
            0
        });
    }

    fn gap(&mut self, from: Side, len: u64) {
        self.lines[from].gap(len);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// RFC 2812 §3.1, §3.7.2 and §3.7.3, with and without prefix.
    #[test]
    fn pings_of_both_sides() {
        let turns: Turns = &[
            (Client, b"NICK lab\r\nUSER lab 0 * :lab\r\n"),
            (Server, b":irc.example 001 lab :Welcome\r\n"),
            (Client, b"PRIVMSG #c :PING\r\n"),
            (Server, b"PING :irc.example\r\n"),
            (Client, b"PONG :irc.example\r\n"),
            (Client, b"PING x\r\n"),
            (Server, b":irc.example PONG irc.example :x\r\n"),
        ];
        let got = signs(recognise, 40_000, turns);
        let (ping, pong) = (Role::Request, Role::Reply);
        assert_eq!(
            beats(&got),
            [(Client, NAME, pong), (Client, NAME, ping), (Server, NAME, ping), (Server, NAME, pong)]
        );
        assert_eq!(beats(&signs_midstream(recognise, 6667, &turns[2..])).len(), 4);
        assert_eq!(signs_midstream(recognise, 40_000, &turns[2..]), []);
    }

    #[test]
    fn a_mailbox_is_no_chat() {
        assert_eq!(signs(recognise, 110, &[(Server, b"+OK\r\n"), (Client, b"USER a\r\nPASS b\r\nPING\r\n")]), []);
    }
}
