//! Label Distribution Protocol (RFC 5036): KeepAlive messages (§3.5.4) both ways, never answered. The KeepAlive time is the
//! lower of the two proposed in the Initialization messages (§3.5.3).

use super::frames::{self, Frame, Frames, Lower, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

const INITIALIZATION: u16 = 0x0200;
const KEEPALIVE: u16 = 0x0201;
const COMMON_SESSION_PARAMETERS: u16 = 0x0500;
/// Version, PDU length, LSR ID and label space.
const HEADER: usize = 10;

#[derive(Default)]
struct Ldp {
    keepalive: Lower,
}

/// Recognises LDP by its port, or by four PDUs.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Ldp, 128>(opening)
}

impl Frames for Ldp {
    const PORTS: &'static [u16] = &[646];
    const ENOUGH: usize = 4;

    fn measure(_: Side, head: &[u8]) -> Measure {
        if head.iter().zip([0, 1]).any(|(&b, version)| b != version) {
            return Measure::Lost;
        }
        // The platform-wide label space 0 is the one in use, bar ATM and Frame Relay.
        match (bytes(head, 2), bytes(head, HEADER), bytes(head, HEADER + 2)) {
            (Some(pdu), Some(kind), Some(message)) => {
                let (pdu, message) = (u16::from_be_bytes(pdu), u16::from_be_bytes(message));
                // The top bit tells what to do with an unknown message; vendors and experiments have 0x3E00 to 0x3FFF.
                let known = matches!(u16::from_be_bytes(kind) & 0x7FFF, 0x0001..=0x0404 | 0x3E00..=0x3FFF);
                // After the length come LSR ID and label space (6), then messages with a header of 4 and an id of 4.
                if known && message >= 4 && u32::from(message) + 4 + 6 <= u32::from(pdu) {
                    Measure::Frame(u64::from(pdu) + 4)
                } else {
                    Measure::Lost
                }
            }
            _ => Measure::Need(HEADER + 4),
        }
    }

    fn frame(&mut self, from: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        let mut at = HEADER;
        while let (Some(kind), Some(len)) = (frame.u16(at), frame.u16(at + 2)) {
            match kind {
                KEEPALIVE => signs.push(frame.beat("ldp", Role::OneWay)),
                // After type, length and message id the first TLV: type, length, protocol version, KeepAlive time.
                INITIALIZATION if frame.u16(at + 8) == Some(COMMON_SESSION_PARAMETERS) => {
                    if let Some(agreed) = frame.u16(at + 14).and_then(|time| self.keepalive.propose(from, time)) {
                        signs.push(Sign::Declared { protocol: "ldp", sender: None, seconds: agreed.into() });
                    }
                }
                _ => {}
            }
            at += 4 + usize::from(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// RFC 5036 §3.5.3 by hand: PDU header, Initialization message with the Common Session Parameters TLV.
    fn initialization(time: u8) -> Vec<u8> {
        let mut bytes = hex("0001 0020 0A000001 0000 0200 0016 00000001 0500 000E 0001 00B4 00 00 0000 0A000002 0000");
        bytes[25] = time;
        bytes
    }

    /// RFC 5036 §3.5.4 by hand.
    const KEEPALIVE_PDU: &str = "0001 000E 0A000001 0000 0201 0004 00000002";

    #[test]
    fn the_lower_keepalive_time_holds() {
        let (ours, theirs, beat) = (initialization(180), initialization(45), hex(KEEPALIVE_PDU));
        let got = signs(recognise, 646, &[(Client, &ours), (Server, &theirs), (Server, &beat), (Client, &beat)]);
        assert_eq!(declared(&got), [(None, 45.0)]);
        assert_eq!(beats(&got), [(Client, "ldp", Role::OneWay), (Server, "ldp", Role::OneWay)]);
    }

    #[test]
    fn a_keepalive_beside_other_messages_in_one_pdu() {
        // KeepAlive, then an Address message (0x0300) with an empty address list.
        let pdu = hex("0001 0018 0A000001 0000 0201 0004 00000002 0300 0006 00000003 0001");
        let got = signs_midstream(recognise, 646, &[(Server, &pdu)]);
        assert_eq!(beats(&got), [(Server, "ldp", Role::OneWay)]);
    }
}
