//! Erlang's distribution protocol (erts, "Distribution Protocol"): after the handshake, with lengths of two bytes, frames with
//! lengths of four; a node that has sent nothing for a quarter of net_ticktime sends one of length zero, the tick.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// The tags of a frame: a message without distribution header, or the external format's version.
const PASS_THROUGH: u8 = 112;
const VERSION: u8 = 131;
/// Longest frame believed.
const LONGEST: u32 = 64 << 20;

#[derive(Default)]
struct Erlang;

/// Recognises the distribution protocol by its handshake, or by three frames that are no ticks.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Erlang, 32>(opening)
}

/// The length of the handshake message that starts so, without its length field.
fn handshake(head: &[u8]) -> Option<u16> {
    let len = u16::from_be_bytes(bytes(head, 0)?);
    let fits = match head.get(2..5)? {
        // Name and challenge: version 5 with flags, or flags of 64 bits of which the upper ones are not in use.
        [b'n', 0, 5] => (8..512).contains(&len),
        [b'N', 0, 0] => (16..512).contains(&len),
        // Status: ok, ok_simultaneous, nok, not_allowed, alive, named:…, and the answer to "alive".
        [b's', b'o', b'k'] | [b's', b'n', _] | [b's', b'a', b'l'] | [b's', b't', b'r'] | [b's', b'f', b'a'] => {
            len < 512
        }
        // Complement, challenge's reply and its acknowledgement, the last two with a digest of 16 bytes.
        [b'c', ..] => len == 9,
        [b'r', ..] => len == 21,
        [b'a', ..] => len == 17,
        _ => false,
    };
    fits.then_some(len)
}

impl Frames for Erlang {
    const PORTS: &'static [u16] = &[];
    const ENOUGH: usize = 3;

    fn measure(_: Side, head: &[u8]) -> Measure {
        let Some(len) = bytes(head, 0).map(u32::from_be_bytes) else { return Measure::Need(4) };
        match (len, head.get(4..)) {
            (0, _) => Measure::Frame(4),
            (_, None | Some([])) => Measure::Need(5),
            (_, Some([PASS_THROUGH | VERSION])) => Measure::Need(6),
            (..=LONGEST, Some([PASS_THROUGH, VERSION, ..] | [VERSION, b'D'..=b'F', ..])) => {
                Measure::Frame(4 + u64::from(len))
            }
            _ => handshake(head).map_or(Measure::Lost, |len| Measure::Frame(2 + u64::from(len))),
        }
    }

    fn weight(head: &[u8]) -> usize {
        match head {
            [0, 0, 0, 0, ..] => 0,
            [_, _, b'n' | b'N', ..] if handshake(head).is_some() => Self::ENOUGH,
            _ => 1,
        }
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        if frame.len == 4 {
            signs.push(frame.beat("erlang", Role::OneWay));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// The handshake by hand after the documentation: names, "ok", challenge, reply, acknowledgement; then a message, and ticks.
    #[test]
    fn ticks_follow_the_handshake() {
        let turns: Turns = &[
            (Client, &hex("0014 4E 0000000D07DF7FBD 63A1B2C3 0005 6140622E63")),
            (Server, &hex("0003 73 6F6B")),
            (Server, &hex("0018 4E 0000000D07DF7FBD 11223344 63A1B2C4 0005 6240622E63")),
            (Client, &hex("0015 72 55667788 000102030405060708090A0B0C0D0E0F")),
            (Server, &hex("0011 61 000102030405060708090A0B0C0D0E0F")),
            (Client, &hex("00000005 83 44 00 6101 00000000")),
            (Server, &hex("00000000")),
        ];
        let got = signs(recognise, 40_001, turns);
        assert_eq!(beats(&got), [(Client, "erlang", Role::OneWay), (Server, "erlang", Role::OneWay)]);
    }

    #[test]
    fn ticks_alone_say_nothing() {
        let tick: (_, &[u8]) = (Client, &[0; 4]);
        assert_eq!(signs_midstream(recognise, 40_001, &[tick; 8]), []);
    }
}
