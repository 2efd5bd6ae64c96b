//! OpenFlow 1.0 to 1.5: OFPT_ECHO_REQUEST from either side, answered by OFPT_ECHO_REPLY (OpenFlow 1.5.1 §6.3.3).

use super::frames::{self, Frame, Frames};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

const HELLO: u8 = 0;
const ECHO_REQUEST: u8 = 2;
const ECHO_REPLY: u8 = 3;
/// OFPT_CONTROLLER_STATUS of version 1.5, the highest type.
const LAST: u8 = 35;

#[derive(Default)]
struct OpenFlow;

/// Recognises OpenFlow by its ports, or by the HELLO of both sides, or by four echoes.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<OpenFlow, 32>(opening)
}

impl Frames for OpenFlow {
    const PORTS: &'static [u16] = &[6633, 6653];
    const ENOUGH: usize = 4;

    fn measure(_: Side, head: &[u8]) -> Measure {
        match *head {
            [1..=6, kind @ 0..=LAST, high, low, ..] => match u16::from_be_bytes([high, low]) {
                8 => Measure::Frame(8),
                // A longer HELLO brings the bitmap of versions, element type 1.
                12.. if kind == HELLO && head.len() < 10 => Measure::Need(10),
                12.. if kind == HELLO && head[8..10] != [0, 1] => Measure::Lost,
                len @ 9.. => Measure::Frame(len.into()),
                _ => Measure::Lost,
            },
            [] | [1..=6] | [1..=6, 0..=LAST] | [1..=6, 0..=LAST, _] => Measure::Need(8),
            _ => Measure::Lost,
        }
    }

    fn weight(head: &[u8]) -> usize {
        match head[1] {
            HELLO => 2,
            ECHO_REQUEST | ECHO_REPLY => 1,
            _ => 0,
        }
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        match frame.u8(1) {
            Some(ECHO_REQUEST) => signs.push(frame.beat("openflow", Role::Request)),
            Some(ECHO_REPLY) => signs.push(frame.beat("openflow", Role::Reply)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// OpenFlow 1.3.0 §7.1 by hand: HELLO with a version bitmap from one side, without from the other, then an echo.
    #[test]
    fn echo_from_either_side() {
        let turns: Turns = &[
            (Client, &hex("04 00 0010 00000001 0001 0008 00000010")),
            (Server, &hex("04 00 0008 00000001")),
            (Server, &hex("04 02 0008 00000002")),
            (Client, &hex("04 03 0008 00000002")),
        ];
        let expected = [(Client, "openflow", Role::Reply), (Server, "openflow", Role::Request)];
        assert_eq!(beats(&signs(recognise, 6653, turns)), expected);
        assert_eq!(beats(&signs(recognise, 40_000, turns)), expected);
        assert_eq!(signs_midstream(recognise, 40_000, &turns[2..]), []);
    }
}
