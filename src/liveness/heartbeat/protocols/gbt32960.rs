//! GB/T 32960.3, electric vehicles to their platform: command 0x07, "heartbeat", answered with the same command.

use super::frames::{self, Frame, Frames};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// Start bytes, command, answer flag, identification of 17 characters, encryption and length.
const HEADER: usize = 24;
const HEARTBEAT: u8 = 0x07;
/// The answer flag of a command, as against its answers.
const COMMAND: u8 = 0xFE;

#[derive(Default)]
struct Gbt32960;

/// Recognises GB/T 32960 by a frame's header.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Gbt32960, 32>(opening)
}

impl Frames for Gbt32960 {
    const PORTS: &'static [u16] = &[];
    const ENOUGH: usize = 1;

    fn measure(_: Side, head: &[u8]) -> Measure {
        // "##"; the edition of 2025 starts with "$$".
        if head.iter().take(2).any(|&b| b != head[0] || !matches!(b, b'#' | b'$')) {
            return Measure::Lost;
        }
        let Some(&[_, _, command, answer, ref vin @ .., encryption, high, low]) = head.first_chunk::<HEADER>() else {
            return Measure::Need(HEADER);
        };
        let fits = command != 0
            && matches!(answer, 1..=4 | COMMAND)
            && matches!(encryption, 1..=3 | 0xFE | 0xFF)
            && vin.iter().all(|&b| b == 0 || b == b' ' || b.is_ascii_alphanumeric());
        let len = u64::from(u16::from_be_bytes([high, low]));
        if fits { Measure::Frame(HEADER as u64 + len + 1) } else { Measure::Lost }
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        if frame.u8(2) == Some(HEARTBEAT) {
            let role = if frame.u8(3) == Some(COMMAND) { Role::Request } else { Role::Reply };
            signs.push(frame.beat("gbt32960", role));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// A vehicle's heartbeat and the platform's answer as two independent decoders' tests have them; the last byte is the XOR
    /// of all from the command on.
    #[test]
    fn a_heartbeat_is_answered() {
        let ask = hex("232307FE4838323230363530303030303030303030010000BB");
        let answer = hex("23230701483832323036353030303030303030303001000044");
        assert_eq!(ask[2..].iter().fold(0, |sum, b| sum ^ b), 0);
        let got = signs(recognise, 32_960, &[(Client, &ask), (Server, &answer)]);
        assert_eq!(beats(&got), [(Client, "gbt32960", Role::Request), (Server, "gbt32960", Role::Reply)]);
    }
}
