//! Bitcoin's peer-to-peer protocol, version 1 transport, and the coins made after it: `ping` with a nonce, answered by `pong`
//! (BIP 31). The version 2 transport (BIP 324) is encrypted.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// Longest message believed: Bitcoin's own limit is 4 MB, that of its kin up to 32 MiB and more.
const LONGEST: u32 = 64 << 20;

#[derive(Default)]
struct Bitcoin;

/// Recognises Bitcoin and its kin by two messages with command names.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Bitcoin, 32>(opening)
}

impl Frames for Bitcoin {
    const PORTS: &'static [u16] = &[8333, 18_333, 18_444, 38_333, 48_333];
    const ENOUGH: usize = 2;

    fn measure(_: Side, head: &[u8]) -> Measure {
        // The network's magic (4), then the command, padded with zeros to 12 bytes.
        let command = head.get(4..head.len().min(16)).unwrap_or_default();
        let letters = command.iter().take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit()).count();
        if command[letters..].iter().any(|&b| b != 0) || (!command.is_empty() && letters < 2.min(command.len())) {
            return Measure::Lost;
        }
        match bytes(head, 16).map(u32::from_le_bytes) {
            None => Measure::Need(20),
            Some(len @ ..=LONGEST) => Measure::Frame(24 + u64::from(len)),
            Some(_) => Measure::Lost,
        }
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        match (frame.head.get(4..16), frame.len) {
            (Some(b"ping\0\0\0\0\0\0\0\0"), 32) => signs.push(frame.beat("bitcoin", Role::Request)),
            // Before BIP 31 a ping had no nonce and drew no answer.
            (Some(b"ping\0\0\0\0\0\0\0\0"), 24) => signs.push(frame.beat("bitcoin", Role::OneWay)),
            (Some(b"pong\0\0\0\0\0\0\0\0"), 32) => signs.push(frame.beat("bitcoin", Role::Reply)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// BIP 31 and the protocol documentation's message structure by hand; the checksum is not looked at.
    #[test]
    fn ping_and_pong() {
        let ping = hex("F9BEB4D9 70696E670000000000000000 08000000 E25EF48A 0102030405060708");
        let pong = hex("F9BEB4D9 706F6E670000000000000000 08000000 E25EF48A 0102030405060708");
        let verack = hex("F9BEB4D9 76657261636B000000000000 00000000 5DF6E0E2");
        let expected = [(Client, "bitcoin", Role::Request), (Server, "bitcoin", Role::Reply)];
        assert_eq!(beats(&signs(recognise, 9999, &[(Client, &verack), (Client, &ping), (Server, &pong)])), expected);
        assert_eq!(beats(&signs_midstream(recognise, 8333, &[(Client, &ping), (Server, &pong)])), expected);
    }
}
