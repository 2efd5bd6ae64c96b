//! IEC 60870-5-104: test frames (§5.2), TESTFR act answered by TESTFR con, after t3 (20 s by default) without traffic.

use super::frames::{self, Frame, Frames};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

const TESTFR_ACT: u8 = 0x43;
const TESTFR_CON: u8 = 0x83;

#[derive(Default)]
struct Iec104;

/// Recognises IEC 104 by its port, or by four APDUs.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Iec104, 32>(opening)
}

impl Frames for Iec104 {
    const PORTS: &'static [u16] = &[2404];
    const ENOUGH: usize = 4;

    fn measure(_: Side, head: &[u8]) -> Measure {
        match *head {
            // U format: one of six functions and nothing else.
            [0x68, 4, 0x07 | 0x0B | 0x13 | 0x23 | TESTFR_ACT | TESTFR_CON, 0, 0, 0, ..] => Measure::Frame(6),
            // S format: only a receive sequence number, whose lowest bit is no part of it.
            [0x68, 4, 1, 0, low, _, ..] if low & 1 == 0 => Measure::Frame(6),
            // I format: two sequence numbers and an ASDU, whose shortest fields come to four bytes.
            [0x68, len @ 8..=253, send, _, receive, _, ..] if send & 1 == 0 && receive & 1 == 0 => {
                Measure::Frame(u64::from(len) + 2)
            }
            [0x68, 4 | 8..=253, _, _, _, _, ..] => Measure::Lost,
            [0x68, ..] | [] => Measure::Need(6),
            _ => Measure::Lost,
        }
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        match (frame.len, frame.u8(2)) {
            (6, Some(TESTFR_ACT)) => signs.push(frame.beat("iec104", Role::Request)),
            (6, Some(TESTFR_CON)) => signs.push(frame.beat("iec104", Role::Reply)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// The control fields of IEC 60870-5-104 §5.1: STARTDT, an interrogation command (I format), a supervisory frame, tests.
    #[test]
    fn test_frames_among_others() {
        let turns: Turns = &[
            (Client, &hex("680407000000")),
            (Server, &hex("68040B000000")),
            (Client, &hex("680E00000000 64 01 06 00 0100 000000 14")),
            (Server, &hex("680401000200")),
            (Client, &hex("680443000000")),
            (Server, &hex("680483000000")),
        ];
        let got = signs(recognise, 2404, turns);
        assert_eq!(beats(&got), [(Client, "iec104", Role::Request), (Server, "iec104", Role::Reply)]);
        assert_eq!(beats(&signs(recognise, 40_000, turns)).len(), 2);
        assert_eq!(beats(&signs_midstream(recognise, 2404, &turns[4..])).len(), 2);
    }

    #[test]
    fn one_test_frame_on_a_foreign_port_says_nothing() {
        assert_eq!(signs_midstream(recognise, 40_000, &[(Client, &hex("680443000000"))]), []);
    }
}
