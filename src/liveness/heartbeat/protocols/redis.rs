//! Redis: PING and its reply (redis.io, "RESP protocol specification" and PING); between a master and its replica, PING from
//! the one and REPLCONF ACK from the other, neither of them answered (Redis's `replication.c`).
//!
//! Named by a command in RESP (an array of bulk strings), or by the port and an inline PING or its answer. Values are
//! skipped by their lengths, and so is the snapshot that a replica receives first.

use super::frames::beat;
use super::framing::Lines;
use super::{Opening, Parser, Recognition, Role, Sign};
use crate::packet::Time;
use crate::summary::{Both, Side};

const NAME: &str = "redis";
const PORTS: &[u16] = &[6379];

/// Kept of each message: a PING with a short argument.
const HEAD: usize = 64;
/// Length of the random mark that ends a snapshot of unknown length.
const MARK: usize = 40;

/// Recognises Redis.
pub fn recognise(opening: &Opening) -> Recognition {
    let mut undecided = false;
    for bytes in opening.bytes.0 {
        let plain = opening.port_in(PORTS)
            && (starts_with(bytes, b"PING\r\n") || !opening.from_start && bytes.starts_with(b"+PONG\r\n"));
        match is_command(bytes) {
            Some(true) => return yes(opening),
            _ if plain => return yes(opening),
            Some(false) => {
                undecided |= opening.port_in(PORTS) && (b"PING\r\n".len() > bytes.len() || bytes.starts_with(b"+"));
            }
            None => undecided = true,
        }
    }
    if undecided { Recognition::Undecided } else { Recognition::No }
}

fn yes(opening: &Opening) -> Recognition {
    let master = match opening.ports.0.map(|port| PORTS.contains(&port)) {
        [true, false] => Some(Side::Client),
        [false, true] => Some(Side::Server),
        _ => None,
    };
    // In mid-stream a PING from the server's port can only be a master's.
    let replica = if opening.from_start { None } else { master.map(Side::peer) };
    Recognition::Yes(Box::new(Redis { replica, first: opening.from_start, ..Redis::default() }))
}

/// Whether an array of bulk strings begins here; `None` with too few bytes to tell.
fn is_command(bytes: &[u8]) -> Option<bool> {
    let mut rest = bytes;
    for mark in *b"*$" {
        match rest.split_first() {
            Some((first, after)) if *first == mark => rest = after,
            Some(_) => return Some(false),
            None => return None,
        }
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        rest = &rest[digits..];
        match rest.strip_prefix(b"\r\n") {
            Some(after) if (1..7).contains(&digits) => rest = after,
            _ if digits < 7 && b"\r\n".starts_with(rest) => return None,
            _ => return Some(false),
        }
    }
    rest.first().map(u8::is_ascii_alphabetic)
}

fn starts_with(bytes: &[u8], command: &[u8]) -> bool {
    bytes.get(..command.len()).is_some_and(|start| start.eq_ignore_ascii_case(command))
}

/// Where a side's stream is.
#[derive(Clone, Copy, Default, PartialEq)]
enum At {
    /// Before a type's first byte.
    #[default]
    Line,
    /// In a string, with so many bytes to come.
    Bulk(u64),
    /// In a snapshot that ends with a mark, of which so many bytes have matched.
    Snapshot([u8; MARK], usize),
    /// Unknown.
    Lost,
}

#[derive(Default)]
struct Half {
    at: At,
    lines: Lines<{ MARK + 8 }>,
    /// Values to come of the current message, and its bytes so far.
    values: u64,
    head: Vec<u8>,
    len: u64,
    /// Whether a snapshot comes next.
    snapshot: bool,
}

#[derive(Default)]
struct Redis {
    halves: Both<Half>,
    /// Who replicates the other.
    replica: Option<Side>,
    /// Whether no command has been seen yet of a connection followed from its beginning.
    first: bool,
    /// Whether the next PONG answers a PING that was not told.
    untold: bool,
    /// The argument of the last PING as its reply will carry it.
    echo: Vec<u8>,
}

impl Parser for Redis {
    fn data(&mut self, from: Side, _time: Time, mut bytes: &[u8], signs: &mut Vec<Sign>) {
        let half = &mut self.halves[from];
        if half.at == At::Lost && matches!(bytes, [b'*' | b'+' | b'-' | b':', ..]) {
            *half = Half::default();
        }
        while !bytes.is_empty() {
            let half = &mut self.halves[from];
            let before = bytes;
            let complete = match &mut half.at {
                At::Lost => return,
                At::Bulk(left) => {
                    let skip = (*left).min(bytes.len() as u64);
                    *left -= skip;
                    bytes = &bytes[skip as usize..];
                    let complete = *left == 0;
                    if complete {
                        half.at = At::Line;
                    }
                    complete
                }
                At::Snapshot(mark, matched) => {
                    bytes = find_mark(mark, matched, bytes);
                    let complete = *matched == MARK;
                    if complete {
                        half.at = At::Line;
                    }
                    complete
                }
                At::Line => half.lines.next(&mut bytes).is_some() && half.value(),
            };
            half.keep(&before[..before.len() - bytes.len()]);
            if complete {
                half.values -= 1;
            }
            if half.values == 0 && half.at == At::Line && half.lines.complete() {
                let mut head = std::mem::take(&mut half.head);
                let len = std::mem::take(&mut half.len);
                half.lines = Lines::default();
                self.message(from, &head, len, signs);
                // Its memory serves the next message.
                head.clear();
                self.halves[from].head = head;
            }
        }
    }

    fn gap(&mut self, from: Side, len: u64) {
        let half = &mut self.halves[from];
        match half.at {
            At::Bulk(left) if left > len => half.at = At::Bulk(left - len),
            // Most likely not the mark itself.
            At::Snapshot(mark, _) => half.at = At::Snapshot(mark, 0),
            _ => *half = Half { at: At::Lost, ..Half::default() },
        }
    }
}

impl Half {
    fn keep(&mut self, bytes: &[u8]) {
        let room = HEAD.saturating_sub(self.head.len());
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.len += bytes.len() as u64;
    }

    /// Reads the line that begins a value; whether the value is complete with it.
    fn value(&mut self) -> bool {
        let line = self.lines.last();
        let top = self.values == 0;
        self.values = self.values.max(1);
        let Some((kind, rest)) = line.split_first() else { return true };
        let number = std::str::from_utf8(rest).ok().and_then(|n| n.parse::<i64>().ok());
        match (kind, number) {
            (b'*' | b'~' | b'>', Some(n)) => self.values = self.values.saturating_add(n.max(0).unsigned_abs()),
            (b'%' | b'|', Some(n)) => {
                let pairs = n.max(0).unsigned_abs().saturating_mul(2);
                self.values = self.values.saturating_add(pairs);
            }
            (b'$' | b'!' | b'=', Some(n)) if n >= 0 => {
                // A snapshot of known length has no line end behind it.
                let end = if std::mem::take(&mut self.snapshot) { 0 } else { 2 };
                self.at = if n + end > 0 { At::Bulk(n.unsigned_abs() + end.unsigned_abs()) } else { At::Line };
                return n + end == 0;
            }
            (b'$', _) if rest.starts_with(b"EOF:") && rest.len() == 4 + MARK && std::mem::take(&mut self.snapshot) => {
                let mut mark = [0; MARK];
                mark.copy_from_slice(&rest[4..]);
                self.at = At::Snapshot(mark, 0);
                return false;
            }
            (b'$' | b'!' | b'=' | b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(', _) => {}
            // An inline command.
            _ if top && kind.is_ascii_alphabetic() => {}
            _ => *self = Half { at: At::Lost, ..Half::default() },
        }
        self.at == At::Line
    }
}

/// Looks for the mark, of which `matched` bytes have been seen; what follows it, or nothing.
fn find_mark<'a>(mark: &[u8; MARK], matched: &mut usize, mut bytes: &'a [u8]) -> &'a [u8] {
    while let [first, rest @ ..] = bytes {
        if *matched == 0 && *first != mark[0] {
            // Most of a snapshot: on to the next byte that may begin the mark.
            bytes = &bytes[bytes.iter().position(|&b| b == mark[0]).unwrap_or(bytes.len())..];
            continue;
        }
        bytes = rest;
        // The mark is random: what matched of it can begin it anew only at the byte that broke the match.
        *matched = if mark[*matched] == *first { *matched + 1 } else { usize::from(mark[0] == *first) };
        if *matched == MARK {
            break;
        }
    }
    bytes
}

impl Redis {
    /// A complete command or reply.
    fn message(&mut self, from: Side, head: &[u8], len: u64, signs: &mut Vec<Sign>) {
        const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
        const PING_WITH: &[u8] = b"*2\r\n$4\r\nPING\r\n";
        let is = |commands: &[&[u8]]| commands.iter().any(|command| starts_with(head, command));
        let is_command = head.first().is_some_and(|&b| b == b'*' || b.is_ascii_alphabetic());
        let was_first = self.first;
        self.first &= !is_command;
        let mut say = |role| signs.push(beat(NAME, role, len, head));
        if is(&[PING, PING_WITH, b"PING\r\n", b"PING\n", b"PING "]) {
            self.echo.clear();
            if starts_with(head, PING_WITH) {
                self.echo.extend_from_slice(&head[PING_WITH.len()..]);
            }
            // The first command of a connection only tries whether it works.
            self.untold = was_first;
            if self.replica == Some(from.peer()) {
                say(Role::OneWay);
            } else if !was_first {
                say(Role::Request);
            }
        } else if is(&[b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n", b"*5\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n"]) {
            self.replica = Some(from);
            say(Role::OneWay);
        } else if is(&[b"*3\r\n$5\r\nPSYNC\r\n"]) {
            self.replica = Some(from);
        } else if is(&[b"*1\r\n$4\r\nSYNC\r\n", b"SYNC\r\n"]) {
            self.replica = Some(from);
            self.halves[from.peer()].snapshot = true;
        } else if head.starts_with(b"+FULLRESYNC ") {
            self.halves[from].snapshot = true;
        } else if head == b"\n" && self.halves[from].snapshot {
            // While the master makes the snapshot.
            say(Role::OneWay);
        } else {
            // In a subscribed connection the reply is an array, or a push of RESP 3.
            let pong = is(&[b"+PONG\r\n", b"*2\r\n$4\r\npong\r\n", b">2\r\n$4\r\npong\r\n"]);
            let echo = !self.echo.is_empty() && head.starts_with(&self.echo);
            if (pong || echo) && !std::mem::take(&mut self.untold) {
                say(Role::Reply);
                self.echo.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

    /// RESP 2 and PING as documented: the try at the beginning, a value that holds commands, PING in each form.
    #[test]
    fn ping_in_every_form() {
        let turns: Turns = &[
            (Client, PING),
            (Server, b"+PONG\r\n"),
            (Client, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$20\r\n*1\r\n$4\r\nPING\r\n+PONG\r\r\n"),
            (Server, b"+OK\r\n"),
            (Client, PING),
            (Server, b"+PONG\r\n"),
            (Client, b"*2\r\n$4\r\nPING\r\n$2\r\nhi\r\n"),
            (Server, b"$2\r\nhi\r\n"),
            (Client, b"ping\r\n"),
            (Server, b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
            (Client, b"*1\r\n$4\r\nKEYS\r\n"),
            (Server, b"*3\r\n$-1\r\n:5\r\n*1\r\n$7\r\n+PONG\r\n\r\n"),
        ];
        let got = beats(&signs(recognise, 40_000, turns));
        let (ask, answer) = ((Client, NAME, Role::Request), (Server, NAME, Role::Reply));
        assert_eq!(got, [ask, ask, ask, answer, answer, answer]);
        assert_eq!(beats(&signs_midstream(recognise, 40_000, &turns[4..])), got);
        assert_eq!(beats(&signs_midstream(recognise, 6379, &turns[8..9])), [ask]);
    }

    /// As a replica of Redis 7 and its master converse: handshake, snapshot without length, then beats both ways.
    #[test]
    fn replication_both_ways_and_never_answered() {
        let mark = [b'a'; MARK];
        let snapshot = [&b"\n$EOF:"[..], &mark, b"\r\nREDIS\r\n+PONG\r\naaaab", &mark, PING].concat();
        let ack = b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n0\r\n";
        let turns: Turns = &[
            (Client, PING),
            (Server, b"+PONG\r\n"),
            (Client, b"*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n"),
            (Server, b"+FULLRESYNC 79bc782481a091af62b34d3ba19bf05deecffe7f 0\r\n"),
            (Server, &snapshot),
            (Client, ack),
        ];
        let (master, replica) = ((Server, NAME, Role::OneWay), (Client, NAME, Role::OneWay));
        assert_eq!(beats(&signs(recognise, 40_000, turns)), [replica, master, master]);
        let turns: Turns = &[(Server, PING), (Client, ack)];
        assert_eq!(beats(&signs_midstream(recognise, 6379, turns)), [replica, master]);
        let with_length: Turns = &[
            (Client, b"*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n"),
            (Server, b"+FULLRESYNC 79bc 0\r\n$7\r\n+PONG\r\n*1\r\n$4\r\nPING\r\n"),
        ];
        assert_eq!(beats(&signs(recognise, 40_000, with_length)), [master]);
    }
}
