//! OpenWire, ActiveMQ's protocol: KeepAliveInfo (type 10), sent by either side's inactivity monitor and as a rule not answered.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

const WIRE_FORMAT_INFO: u8 = 1;
const KEEPALIVE_INFO: u8 = 10;
/// With loose encoding a type, a command id and a flag; with tight encoding less.
const KEEPALIVE_LONGEST: u64 = 4 + 8;
/// Longest command believed: maxFrameSize is 100 MB by default.
const LONGEST: u32 = 100 << 20;

#[derive(Default)]
struct OpenWire;

/// Recognises OpenWire by its first command, WireFormatInfo, or by its port.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<OpenWire, 32>(opening)
}

impl Frames for OpenWire {
    const PORTS: &'static [u16] = &[61_616];
    const ENOUGH: usize = 1;

    fn measure(_: Side, head: &[u8]) -> Measure {
        // The length does not count itself.
        match (bytes(head, 0).map(u32::from_be_bytes), head.get(4..)) {
            (Some(1..=LONGEST), None | Some([])) => Measure::Need(5),
            (Some(_), Some([WIRE_FORMAT_INFO, ..])) if head.len() < 13 => Measure::Need(13),
            (Some(len @ 13..=LONGEST), Some([WIRE_FORMAT_INFO, magic @ ..])) if magic.starts_with(b"ActiveMQ") => {
                Measure::Frame(4 + u64::from(len))
            }
            // The commands; what lies beyond are parts of commands.
            (Some(len @ 2..=LONGEST), Some([2..=36 | 40..=42 | 50..=55 | 60..=62 | 65 | 90..=92, ..])) => {
                Measure::Frame(4 + u64::from(len))
            }
            (None, _) => Measure::Need(5),
            _ => Measure::Lost,
        }
    }

    fn weight(head: &[u8]) -> usize {
        usize::from(head.get(4) == Some(&WIRE_FORMAT_INFO))
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        if frame.u8(4) == Some(KEEPALIVE_INFO) && frame.len <= KEEPALIVE_LONGEST {
            signs.push(frame.beat("openwire", Role::OneWay));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// WireFormatInfo with version 1 and no properties; KeepAliveInfo with tight encoding (a boolean stream of one byte, command
    /// id 3) and with loose (command id 3, no response required).
    #[test]
    fn keepalives_of_either_encoding() {
        let hello = hex("00000012 01 4163746976654D51 00000001 00 00000000");
        let (tight, loose) = (hex("00000005 0A 01 00 0003"), hex("00000006 0A 00000003 00"));
        let got = signs(recognise, 61_617, &[(Client, &hello), (Client, &tight), (Server, &hello), (Server, &loose)]);
        assert_eq!(beats(&got), [(Client, "openwire", Role::OneWay), (Server, "openwire", Role::OneWay)]);
        assert_eq!(beats(&signs_midstream(recognise, 61_616, &[(Client, &tight), (Client, &loose)])).len(), 2);
    }
}
