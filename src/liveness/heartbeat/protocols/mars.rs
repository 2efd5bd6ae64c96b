//! Mars, WeChat's network library, with the framing that it ships (mars/stn/proto/longlink_packer.cc): the client's no-op, command
//! 6 without a body, is answered with the same command.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// Header length, client version, command, sequence number and body length.
const HEADER: u32 = 20;
const NOOP: u32 = 6;
/// The task id that the client sends a no-op with.
const NOOP_TASK: u32 = u32::MAX;
/// Longest body believed.
const LONGEST: u32 = 16 << 20;

#[derive(Default)]
struct Mars;

/// Recognises Mars by a no-op, or by four messages.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Mars, 32>(opening)
}

impl Frames for Mars {
    const PORTS: &'static [u16] = &[];
    const ENOUGH: usize = 4;

    fn measure(_: Side, head: &[u8]) -> Measure {
        let field = |at| bytes(head, at).map(u32::from_be_bytes);
        match (field(0), field(4), field(8), field(16)) {
            (Some(header), ..) if header != HEADER => Measure::Lost,
            (Some(_), Some(1..=0xFFFF), Some(1..=0xFF_FFFF), Some(body @ ..=LONGEST)) => {
                Measure::Frame(u64::from(HEADER) + u64::from(body))
            }
            (Some(_), Some(_), Some(_), Some(_)) => Measure::Lost,
            _ => Measure::Need(HEADER as usize),
        }
    }

    fn weight(head: &[u8]) -> usize {
        let noop = bytes(head, 8) == Some(NOOP.to_be_bytes()) && bytes(head, 12) == Some(NOOP_TASK.to_be_bytes());
        if noop { Self::ENOUGH } else { 1 }
    }

    fn frame(&mut self, from: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        if frame.u32(8) == Some(NOOP) && frame.u32(12) == Some(NOOP_TASK) {
            signs.push(frame.beat("mars", if from == Side::Client { Role::Request } else { Role::Reply }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// longlink_packer.cc's header by hand, client version 200.
    #[test]
    fn a_noop_is_answered() {
        let noop = hex("00000014 000000C8 00000006 FFFFFFFF 00000000");
        let got = signs(recognise, 8081, &[(Client, &noop), (Server, &noop)]);
        assert_eq!(beats(&got), [(Client, "mars", Role::Request), (Server, "mars", Role::Reply)]);
    }
}
