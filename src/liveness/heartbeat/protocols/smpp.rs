//! SMPP 3.4 (§4.11): enquire_link, from either side, answered by enquire_link_resp.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

const ENQUIRE_LINK: u32 = 0x15;
const RESPONSE: u32 = 0x8000_0000;
/// Longest PDU believed: a message of 64 KiB and the parameters around it.
const LONGEST: u32 = 70_000;

#[derive(Default)]
struct Smpp;

/// Recognises SMPP by its port, or by two PDUs.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Smpp, 32>(opening)
}

impl Frames for Smpp {
    const PORTS: &'static [u16] = &[2775, 2776];
    const ENOUGH: usize = 2;

    fn measure(_: Side, head: &[u8]) -> Measure {
        if head.iter().zip([0, 0x01]).any(|(&b, most)| b > most) {
            return Measure::Lost;
        }
        let field = |at| bytes(head, at).map(u32::from_be_bytes);
        let (Some(len), Some(command), Some(status), Some(sequence)) = (field(0), field(4), field(8), field(12)) else {
            return Measure::Need(16);
        };
        // §5.1.2.1; a request carries no status.
        let known = matches!(
            command & !RESPONSE,
            0 | 1..=9 | 0x0B | ENQUIRE_LINK | 0x21 | 0x102 | 0x103 | 0x111..=0x113
        );
        let status_fits = command & RESPONSE != 0 || status == 0;
        let length_fits = if command & !RESPONSE == ENQUIRE_LINK { len == 16 } else { (16..=LONGEST).contains(&len) };
        if known && command != 0 && status_fits && length_fits && sequence & RESPONSE == 0 {
            Measure::Frame(len.into())
        } else {
            Measure::Lost
        }
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        match frame.u32(4) {
            Some(ENQUIRE_LINK) => signs.push(frame.beat("smpp", Role::Request)),
            Some(command) if command == ENQUIRE_LINK | RESPONSE => signs.push(frame.beat("smpp", Role::Reply)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// SMPP 3.4 §4.11.1 and §4.11.2 by hand, behind the bind_receiver_resp of an empty system id.
    #[test]
    fn enquire_link_from_either_side() {
        let turns: Turns = &[
            (Server, &hex("00000011 80000001 00000000 00000001 00")),
            (Client, &hex("00000010 00000015 00000000 00000002")),
            (Server, &hex("00000010 80000015 00000000 00000002")),
            (Server, &hex("00000010 00000015 00000000 00000001")),
            (Client, &hex("00000010 80000015 00000000 00000001")),
        ];
        let got = beats(&signs(recognise, 9000, turns));
        let both = |side| [(side, "smpp", Role::Request), (side, "smpp", Role::Reply)];
        assert_eq!(got, [both(Client), [both(Server)[1], both(Server)[0]]].concat());
        assert_eq!(beats(&signs_midstream(recognise, 2775, &turns[1..2])).len(), 1);
    }
}
