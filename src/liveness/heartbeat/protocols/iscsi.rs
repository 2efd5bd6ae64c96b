//! iSCSI (RFC 7143 §11.18, §11.19): NOP-Out and NOP-In. Either side may ask: the initiator by an initiator task tag, the target
//! by a target transfer tag. Connections that negotiated digests are not followed.

use super::frames::{self, Frame, Frames};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// The basic header segment.
const HEADER: usize = 48;
const NOP_OUT: u8 = 0x00;
const NOP_IN: u8 = 0x20;
/// The tag that stands for "none".
const NO_TAG: u32 = u32::MAX;

#[derive(Default)]
struct Iscsi;

/// Recognises iSCSI by its ports, or by three PDUs.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Iscsi, 48>(opening)
}

impl Frames for Iscsi {
    const PORTS: &'static [u16] = &[3260, 860];
    const ENOUGH: usize = 3;

    fn measure(_: Side, head: &[u8]) -> Measure {
        let Some(&[first, flags, third, fourth, additional, high, middle, low, ..]) = head.first_chunk::<HEADER>()
        else {
            // The first bit is reserved, the second says "immediate"; six bits of operation follow.
            let known = |first| matches!(first & 0xBF, 0x00..=0x06 | 0x10 | 0x20..=0x26 | 0x31 | 0x32 | 0x3F);
            return if head.iter().take(1).all(known) { Measure::Need(HEADER) } else { Measure::Lost };
        };
        let (last, reserved) = (flags & 0x80 != 0, third == 0 && fourth == 0);
        let fits = match first & 0xBF {
            NOP_OUT | NOP_IN => flags == 0x80 && reserved,
            // Task management, logout, and a request for data (SNACK).
            0x02 | 0x06 | 0x10 => last && reserved,
            // Command, login (versions 0), text and data from the initiator.
            0x01 => flags & 0x18 == 0 && reserved,
            0x03 | 0x23 => flags & 0x30 == 0 && reserved,
            0x04 | 0x24 => flags & 0x3F == 0 && reserved,
            0x05 => flags & 0x7F == 0 && reserved,
            // Answers, ready to transfer, asynchronous message, reject; their second pair of bytes can be a status.
            0x21 | 0x22 | 0x26 | 0x31 | 0x32 | 0x3F => last,
            0x25 => true,
            _ => false,
        };
        if !fits {
            return Measure::Lost;
        }
        let data = u64::from(u32::from_be_bytes([0, high, middle, low]));
        Measure::Frame(HEADER as u64 + 4 * u64::from(additional) + data.next_multiple_of(4))
    }

    /// Zeros could be anything, a NOP among them.
    fn weight(head: &[u8]) -> usize {
        usize::from(head.iter().take(HEADER).filter(|&&b| b != 0).count() > 4)
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        let (Some(task), Some(transfer)) = (frame.u32(16), frame.u32(20)) else { return };
        let role = match (frame.u8(0).map(|first| first & 0x3F), task == NO_TAG, transfer == NO_TAG) {
            (Some(NOP_OUT), false, _) | (Some(NOP_IN), true, false) => Role::Request,
            (Some(NOP_OUT), true, false) | (Some(NOP_IN), false, _) => Role::Reply,
            // Only carries the sequence numbers.
            (Some(NOP_OUT | NOP_IN), true, true) => Role::OneWay,
            _ => return,
        };
        signs.push(frame.beat("iscsi", role));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// RFC 7143 §11.18 and §11.19 by hand: no LUN, the given tags, sequence numbers from 1.
    fn nop(first: u8, task: u32, transfer: u32) -> Vec<u8> {
        let mut bytes = vec![first, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend(task.to_be_bytes());
        bytes.extend(transfer.to_be_bytes());
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
        bytes.resize(HEADER, 0);
        bytes
    }

    #[test]
    fn either_side_may_ask() {
        let turns: Turns = &[
            (Server, &nop(0x20, NO_TAG, 7)),
            (Client, &nop(0x40, NO_TAG, 7)),
            (Client, &nop(0x40, 9, NO_TAG)),
            (Server, &nop(0x20, 9, NO_TAG)),
        ];
        let expected = [
            (Client, "iscsi", Role::Reply),
            (Client, "iscsi", Role::Request),
            (Server, "iscsi", Role::Request),
            (Server, "iscsi", Role::Reply),
        ];
        assert_eq!(beats(&signs(recognise, 3260, turns)), expected);
        assert_eq!(beats(&signs_midstream(recognise, 13_260, turns)), expected);
    }
}
