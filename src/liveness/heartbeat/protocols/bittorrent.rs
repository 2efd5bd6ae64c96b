//! BitTorrent's peer protocol (BEP 3): messages of length zero, about every two minutes, never answered.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// Length of the name and the name; reserved bytes (8), info hash and peer id (20 each) follow.
const NAME: &[u8; 20] = b"\x13BitTorrent protocol";
const HANDSHAKE: u64 = 68;
/// Longest message believed: pieces come in blocks of 16 KiB, bit fields of torrents can be longer.
const LONGEST: u32 = 4 << 20;

#[derive(Default)]
struct BitTorrent;

/// Recognises BitTorrent by its handshake, or by its usual ports.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<BitTorrent, 32>(opening)
}

impl Frames for BitTorrent {
    const PORTS: &'static [u16] = &[6881, 6882, 6883, 6884, 6885, 6886, 6887, 6888, 6889];
    const ENOUGH: usize = 4;

    fn measure(_: Side, head: &[u8]) -> Measure {
        if head.first() == Some(&NAME[0]) {
            return match head.iter().zip(NAME).all(|(a, b)| a == b) {
                true if head.len() < NAME.len() => Measure::Need(NAME.len()),
                true => Measure::Frame(HANDSHAKE),
                false => Measure::Lost,
            };
        }
        let Some(len) = bytes(head, 0).map(u32::from_be_bytes) else { return Measure::Need(4) };
        let fits = match (len, head.get(4)) {
            (0, _) => true,
            (..=LONGEST, None) => return Measure::Need(5),
            (1, Some(0..=3 | 14 | 15)) | (3, Some(9)) | (5, Some(4 | 13 | 17)) | (13, Some(6 | 8 | 16)) => true,
            // Bit field, piece, extension messages (BEP 10), hashes of version 2 (BEP 52).
            (2..=LONGEST, Some(5 | 20)) | (10..=LONGEST, Some(7 | 21..=23)) => true,
            _ => false,
        };
        if fits { Measure::Frame(4 + u64::from(len)) } else { Measure::Lost }
    }

    fn weight(head: &[u8]) -> usize {
        match head {
            [0, 0, 0, 0, ..] => 0,
            [0, ..] => 1,
            _ => Self::ENOUGH,
        }
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        if frame.len == 4 {
            signs.push(frame.beat("bittorrent", Role::OneWay));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// BEP 3's handshake, an "interested", a "have" and two keepalives.
    #[test]
    fn zero_length_messages_after_the_handshake() {
        let handshake = [&NAME[..], &[0; 8], &[0xAB; 40]].concat();
        let turns: Turns = &[
            (Client, &handshake),
            (Server, &handshake),
            (Client, &hex("00000001 02 00000005 04 00000007")),
            (Client, &hex("00000000")),
            (Server, &hex("00000000")),
        ];
        let got = signs(recognise, 51_413, turns);
        assert_eq!(beats(&got), [(Client, "bittorrent", Role::OneWay), (Server, "bittorrent", Role::OneWay)]);
    }

    #[test]
    fn four_zero_bytes_say_nothing() {
        let beat: (_, &[u8]) = (Client, &[0; 4]);
        assert_eq!(signs_midstream(recognise, 51_413, &[beat; 8]), []);
    }
}
