//! BGP-4 (RFC 4271): KEEPALIVE messages (§4.4) both ways, never answered. The hold time is the lower of the two OPEN
//! messages' (§4.2); 0 means no keepalives at all.

use super::frames::{self, Frame, Frames, Lower};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

const OPEN: u8 = 1;
const KEEPALIVE: u8 = 4;
/// ROUTE-REFRESH (RFC 2918), the highest type in use.
const LAST: u8 = 5;

#[derive(Default)]
struct Bgp {
    hold: Lower,
}

/// Recognises BGP by its marker of sixteen bytes 0xFF.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Bgp, 32>(opening)
}

impl Frames for Bgp {
    const PORTS: &'static [u16] = &[179];
    const ENOUGH: usize = 1;

    fn measure(_: Side, head: &[u8]) -> Measure {
        if head.iter().take(16).any(|&b| b != 0xFF) {
            return Measure::Lost;
        }
        match head.get(16..19) {
            None => Measure::Need(19),
            Some(&[high, low, kind]) => match (kind, u16::from_be_bytes([high, low])) {
                (KEEPALIVE, 19) => Measure::Frame(19),
                (OPEN, len @ 29..) => Measure::Frame(len.into()),
                // Up to 65535 bytes with extended messages (RFC 8654).
                (2 | 3 | LAST, len @ 20..) => Measure::Frame(len.into()),
                _ => Measure::Lost,
            },
            Some(_) => Measure::Lost,
        }
    }

    fn frame(&mut self, from: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        match frame.u8(18) {
            Some(KEEPALIVE) => signs.push(frame.beat("bgp", Role::OneWay)),
            // After the header: version (1), AS number (2), hold time (2).
            Some(OPEN) => {
                if let Some(agreed) = frame.u16(22).and_then(|hold| self.hold.propose(from, hold)) {
                    signs.push(Sign::Declared { protocol: "bgp", sender: None, seconds: agreed.into() });
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

    /// RFC 4271 §4.1 and §4.2: an OPEN of AS 1 with the given hold time, no optional parameters.
    fn open(hold: u16) -> Vec<u8> {
        let mut bytes = hex("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF 001D 01 04 0001 0000 0A000001 00");
        bytes[22..24].copy_from_slice(&hold.to_be_bytes());
        bytes
    }

    /// RFC 4271 §4.4: nothing but the header.
    fn keepalive() -> Vec<u8> {
        hex("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF 0013 04")
    }

    #[test]
    fn the_lower_hold_time_holds_and_keepalives_are_one_way() {
        let (ours, theirs, beat) = (open(180), open(90), keepalive());
        let got = signs(recognise, 179, &[(Client, &ours), (Server, &theirs), (Server, &beat), (Client, &beat)]);
        assert_eq!(declared(&got), [(None, 90.0)]);
        assert_eq!(beats(&got), [(Client, "bgp", Role::OneWay), (Server, "bgp", Role::OneWay)]);
    }

    #[test]
    fn hold_time_zero_declares_nothing() {
        let (ours, theirs) = (open(0), open(90));
        assert_eq!(signs(recognise, 179, &[(Client, &ours), (Server, &theirs)]), []);
    }

    #[test]
    fn any_port_and_midstream() {
        let beat = keepalive();
        let got = signs_midstream(recognise, 40_000, &[(Server, &beat), (Server, &beat)]);
        assert_eq!(beats(&got).len(), 2);
    }

    /// The KEEPALIVE that confirms the OPEN and two more come at once; the fourth is the first of the timer (RFC 4271 §8.2.2).
    #[test]
    fn keepalives_while_the_session_is_set_up_do_not_hide_the_beat() {
        use crate::liveness::heartbeat::{Chunk, Ear, Heartbeats};
        use crate::packet::Time;
        use crate::summary::Both;

        let (beat, mut ear) = (keepalive(), Ear::new(true));
        let mut heartbeats = Heartbeats::new(Both([40_000, 179]), true);
        for (frame, ms) in [0, 4, 8, 60_008].into_iter().enumerate() {
            let time = Time(ms * 1_000_000);
            let chunk = Chunk { time, frame: frame as u64, from: Client, bytes: &beat, len: 19 };
            heartbeats.data(chunk, &mut ear);
        }
        let summaries = heartbeats.summaries(Time(60_009_000_000));
        assert_eq!(summaries.iter().map(|s| (s.protocol, s.count)).collect::<Vec<_>>(), [(Some("bgp"), 4)]);
    }
}
