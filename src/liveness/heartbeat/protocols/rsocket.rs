//! RSocket over TCP (Protocol.md "SETUP Frame", "KEEPALIVE Frame"): KEEPALIVE with the Respond flag, answered by one without.
//! SETUP announces the interval in milliseconds.

use super::frames::{self, Frame, Frames};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

const SETUP: u8 = 0x01;
const KEEPALIVE: u8 = 0x03;

#[derive(Default)]
struct RSocket;

/// Recognises RSocket by its SETUP frame, or by four frames.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<RSocket, 32>(opening)
}

/// The frame's type: the upper six of sixteen bits, of which the lower ten are flags.
fn kind(head: &[u8]) -> Option<u8> {
    head.get(7).map(|b| b >> 2)
}

impl Frames for RSocket {
    const PORTS: &'static [u16] = &[];
    const ENOUGH: usize = 4;

    fn measure(_: Side, head: &[u8]) -> Measure {
        // Length (3), stream id (4), type and flags (2); the length does not count itself.
        let [high, middle, low, s0, s1, s2, s3, _, flags, ..] = *head else { return Measure::Need(9) };
        let len = u64::from(u32::from_be_bytes([0, high, middle, low]));
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        let fits = match kind(head) {
            // Version 1.0 follows, and two times in milliseconds.
            Some(SETUP) => match head.get(9..13) {
                None => return Measure::Need(13),
                Some(version) => stream == 0 && len >= 20 && version == [0, 1, 0, 0],
            },
            Some(KEEPALIVE) => stream == 0 && len >= 14 && flags & 0x7F == 0,
            Some(0x02 | 0x0C | 0x0D | 0x0E) => stream == 0 && len >= 6,
            Some(0x04..=0x0A) => stream != 0 && stream >> 31 == 0 && len >= 6,
            Some(0x0B) => stream >> 31 == 0 && len >= 10,
            _ => false,
        };
        if fits { Measure::Frame(3 + len) } else { Measure::Lost }
    }

    fn weight(head: &[u8]) -> usize {
        if kind(head) == Some(SETUP) { Self::ENOUGH } else { 1 }
    }

    fn frame(&mut self, from: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        match kind(frame.head) {
            Some(KEEPALIVE) => {
                let respond = frame.u8(8).is_some_and(|flags| flags & 0x80 != 0);
                signs.push(frame.beat("rsocket", if respond { Role::Request } else { Role::Reply }));
            }
            // The interval stands behind the version.
            Some(SETUP) => {
                if let Some(interval @ 1..) = frame.u32(13) {
                    let seconds = f64::from(interval) / 1000.0;
                    signs.push(Sign::Declared { protocol: "rsocket", sender: Some(from), seconds });
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

    /// Protocol.md's layouts by hand: SETUP with an interval of 500 ms and a lifetime of 2 s, empty MIME types.
    #[test]
    fn setup_announces_what_keepalive_keeps() {
        let turns: Turns = &[
            (Client, &hex("000014 00000000 0400 0001 0000 000001F4 000007D0 00 00")),
            (Client, &hex("00000E 00000000 0C80 0000000000000000")),
            (Server, &hex("00000E 00000000 0C00 0000000000000000")),
        ];
        let got = signs(recognise, 7000, turns);
        assert_eq!(declared(&got), [(Some(Client), 0.5)]);
        assert_eq!(beats(&got), [(Client, "rsocket", Role::Request), (Server, "rsocket", Role::Reply)]);
        assert_eq!(beats(&signs_midstream(recognise, 7000, &[&turns[1..], &turns[1..]].concat())).len(), 4);
    }
}
