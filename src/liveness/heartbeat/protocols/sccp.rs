//! Skinny Client Control Protocol of Cisco's telephones: KeepAlive (message 0x0000), answered by KeepAliveAck (0x0100). The
//! call manager's RegisterAck (0x0081) sets the interval in seconds.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

const KEEPALIVE: u32 = 0x0000;
const REGISTER_ACK: u32 = 0x0081;
const KEEPALIVE_ACK: u32 = 0x0100;
/// Longest message believed, bytes after the header.
const LONGEST: u32 = 8192;

#[derive(Default)]
struct Sccp;

/// Recognises SCCP by its port: its header is mostly zeros.
pub fn recognise(opening: &Opening) -> Recognition {
    if opening.port_in(Sccp::PORTS) { frames::recognise::<Sccp, 32>(opening) } else { Recognition::No }
}

impl Frames for Sccp {
    const PORTS: &'static [u16] = &[2000];
    const ENOUGH: usize = usize::MAX;

    fn measure(_: Side, head: &[u8]) -> Measure {
        // All little-endian: the length of message id and body, the version (0, or 10 to 22 so far), the message id.
        let field = |at| bytes(head, at).map(u32::from_le_bytes);
        match (field(0), field(4), field(8)) {
            (Some(len @ 4..=LONGEST), Some(0 | 0x0A..=0x1F), Some(0..=0x0200 | 0x8000..=0x8200)) => {
                Measure::Frame(8 + u64::from(len))
            }
            (Some(_), Some(_), Some(_)) => Measure::Lost,
            _ => Measure::Need(12),
        }
    }

    fn frame(&mut self, from: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        match frame.u32_le(8) {
            Some(KEEPALIVE) => signs.push(frame.beat("sccp", Role::Request)),
            Some(KEEPALIVE_ACK) => signs.push(frame.beat("sccp", Role::Reply)),
            Some(REGISTER_ACK) => {
                if let Some(interval @ 1..) = frame.u32_le(12) {
                    let seconds = interval.into();
                    signs.push(Sign::Declared { protocol: "sccp", sender: Some(from.peer()), seconds });
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// By hand after Wireshark's dissector, which reads these bytes so: RegisterAck with 30 s and the date template "D/M/Y",
    /// then a keepalive and its acknowledgement.
    #[test]
    fn the_call_manager_sets_the_interval() {
        let turns: Turns = &[
            (Server, &hex("18000000 00000000 81000000 1E000000 442F4D2F5900 0000 3C000000 0B000000")),
            (Client, &hex("04000000 00000000 00000000")),
            (Server, &hex("04000000 00000000 00010000")),
        ];
        let got = signs(recognise, 2000, turns);
        assert_eq!(declared(&got), [(Some(Client), 30.0)]);
        assert_eq!(beats(&got), [(Client, "sccp", Role::Request), (Server, "sccp", Role::Reply)]);
        assert_eq!(signs(recognise, 2001, turns), []);
    }
}
