//! PostgreSQL's streaming replication protocol: the primary's keepalive ('k'), which may ask for an answer, and the standby's status
//! update ('r'), which it also sends by itself every wal_receiver_status_interval.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

const COPY_DATA: u8 = b'd';
/// Type, length, 'k', end of WAL (8), time (8), whether to answer at once.
const KEEPALIVE: u64 = 23;
/// Type, length, 'r', three positions in the WAL (8 each), time (8), whether to answer at once.
const STATUS: u64 = 39;
/// Longest message believed: MaxAllocSize of the server.
const LONGEST: u32 = 1 << 30;

#[derive(Default)]
struct PostgreSql {
    /// Who has been asked to answer at once.
    asked: Option<Side>,
}

/// Recognises PostgreSQL by its ports, or by a start-up packet.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<PostgreSql, 40>(opening)
}

impl Frames for PostgreSql {
    const PORTS: &'static [u16] = &[5432, 5433, 6432];
    const ENOUGH: usize = 1;

    fn measure(_: Side, head: &[u8]) -> Measure {
        match *head {
            [] => Measure::Need(5),
            // Packets before the start-up have no type: protocol 3.x, or a request to cancel, for TLS or for GSSAPI.
            [0, ..] if head.len() < 8 => Measure::Need(8),
            [0, 0, high, low, 0, 3, 0, _, ..] | [0, 0, high, low, 0x04, 0xD2, 0x16, 0x2E..=0x30, ..] => {
                match u16::from_be_bytes([high, low]) {
                    len @ 8..=10_000 => Measure::Frame(len.into()),
                    _ => Measure::Lost,
                }
            }
            // "No TLS here": one byte, before the next message's type.
            [b'N', b'A'..=b'z', ..] => Measure::Frame(1),
            [b'N'] => Measure::Need(2),
            [
                b'1'..=b'3'
                | b'A'..=b'I'
                | b'K'
                | b'N'
                | b'P'..=b'T'
                | b'V'..=b'X'
                | b'Z'
                | b'c'
                | b'd'
                | b'f'
                | b'n'
                | b'p'
                | b's'
                | b't'
                | b'v',
                ..,
            ] => match bytes(head, 1).map(u32::from_be_bytes) {
                None => Measure::Need(5),
                Some(len @ 4..=LONGEST) => Measure::Frame(1 + u64::from(len)),
                Some(_) => Measure::Lost,
            },
            _ => Measure::Lost,
        }
    }

    fn weight(head: &[u8]) -> usize {
        usize::from(head[0] == 0)
    }

    fn frame(&mut self, from: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        // A copied row could have this length and letter; the time, in microseconds since 2000, tells.
        let time = |at: usize| matches!(frame.head.get(at..at + 2), Some([0, 1..=0x0F]));
        let answer_now = frame.head.get(frame.len as usize - 1) == Some(&1);
        let role = match (frame.u8(0), frame.u8(5), frame.len) {
            (Some(COPY_DATA), Some(b'k'), KEEPALIVE) if time(14) => {
                if answer_now {
                    Role::Request
                } else {
                    Role::OneWay
                }
            }
            (Some(COPY_DATA), Some(b'r'), STATUS) if time(30) => match self.asked.take() {
                Some(side) if side == from => Role::Reply,
                _ if answer_now => Role::Request,
                _ => Role::OneWay,
            },
            _ => return,
        };
        if role == Role::Request {
            self.asked = Some(from.peer());
        }
        signs.push(frame.beat("postgresql", role));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// The manual's message formats ("Streaming Replication Protocol") by hand; the time is 2026-11-22.
    fn keepalive(answer_now: u8) -> Vec<u8> {
        [hex("64 00000016 6B 0000000003000060 000303B9B8F0A000"), vec![answer_now]].concat()
    }

    fn status() -> Vec<u8> {
        hex("64 00000026 72 0000000003000060 0000000003000060 0000000003000060 000303B9B8F0A000 00")
    }

    #[test]
    fn the_primary_asks_and_the_standby_answers() {
        let startup = hex("00000011 00030000 7573657200 7200 00 00");
        let turns: Turns = &[
            (Client, &startup[..17]),
            (Server, &hex("52 00000008 00000000 57 00000007 00 0000")),
            (Client, &status()),
            (Server, &keepalive(0)),
            (Server, &keepalive(1)),
            (Client, &status()),
        ];
        let expected = [
            (Client, "postgresql", Role::OneWay),
            (Client, "postgresql", Role::Reply),
            (Server, "postgresql", Role::OneWay),
            (Server, "postgresql", Role::Request),
        ];
        assert_eq!(beats(&signs(recognise, 15_432, turns)), expected);
        assert_eq!(beats(&signs_midstream(recognise, 5432, &turns[2..])), expected);
    }

    #[test]
    fn a_copied_row_is_no_keepalive() {
        let row = [&hex("64 00000016")[..], b"kilogram 1234567\n"].concat();
        assert_eq!(row.len() as u64, KEEPALIVE - 1);
        let row = [&hex("64 00000016")[..], b"kilograms 1234567\n"].concat();
        assert_eq!(signs_midstream(recognise, 5432, &[(Client, &row)]), []);
    }
}
