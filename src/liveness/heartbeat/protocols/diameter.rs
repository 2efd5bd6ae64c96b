//! Diameter (RFC 6733 §5.5, RFC 3539): Device-Watchdog-Request and -Answer (command 280) from either side.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

const CAPABILITIES_EXCHANGE: u32 = 257;
const DEVICE_WATCHDOG: u32 = 280;
const DISCONNECT_PEER: u32 = 282;

#[derive(Default)]
struct Diameter;

/// Recognises Diameter by its port, or by two messages.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Diameter, 32>(opening)
}

impl Frames for Diameter {
    const PORTS: &'static [u16] = &[3868];
    const ENOUGH: usize = 2;

    fn measure(_: Side, head: &[u8]) -> Measure {
        let field = |at| bytes(head, at).map(u32::from_be_bytes);
        if head.first().is_some_and(|&version| version != 1) {
            return Measure::Lost;
        }
        // Version and length, flags and command, application; two identifiers end the header of 20 bytes.
        let (Some(len), Some(command), Some(application)) = (field(0), field(4), field(8)) else {
            return Measure::Need(12);
        };
        let (len, flags, command) = (len & 0xFF_FFFF, command >> 24, command & 0xFF_FFFF);
        let base = matches!(command, CAPABILITIES_EXCHANGE | DEVICE_WATCHDOG | DISCONNECT_PEER);
        if len >= 20 && len % 4 == 0 && flags & 0x0F == 0 && command >= 257 && (application == 0 || !base) {
            Measure::Frame(len.into())
        } else {
            Measure::Lost
        }
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        match frame.u32(4) {
            Some(word) if word & 0xFF_FFFF != DEVICE_WATCHDOG => {}
            Some(word) if word >> 31 == 1 => signs.push(frame.beat("diameter", Role::Request)),
            Some(_) => signs.push(frame.beat("diameter", Role::Reply)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// RFC 6733 §3 and §5.5 by hand: header, Origin-Host "a.b", Origin-Realm "b"; the answer with Result-Code 2001.
    #[test]
    fn watchdogs_from_either_side() {
        let names = "00000108 4000000B 612E6200 00000128 40000009 62000000";
        let ask = hex(&format!("0100002C 80000118 00000000 00000001 00000002 {names}"));
        let answer = hex(&format!("01000038 00000118 00000000 00000001 00000002 0000010C 4000000C 000007D1 {names}"));
        let turns: Turns = &[(Client, &ask), (Server, &answer)];
        let expected = [(Client, "diameter", Role::Request), (Server, "diameter", Role::Reply)];
        assert_eq!(beats(&signs(recognise, 3868, turns)), expected);
        assert_eq!(beats(&signs_midstream(recognise, 13_868, turns)), expected);
    }
}
