//! Multicast Source Discovery Protocol (RFC 3618): KeepAlive TLVs (§12.2.3) both ways, never answered.

use super::frames::{self, Frame, Frames};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

const KEEPALIVE: u8 = 4;

#[derive(Default)]
struct Msdp;

/// Recognises MSDP by its port: a TLV of three bytes alone says too little.
pub fn recognise(opening: &Opening) -> Recognition {
    if !opening.port_in(Msdp::PORTS) {
        return Recognition::No;
    }
    frames::recognise::<Msdp, 32>(opening)
}

impl Frames for Msdp {
    const PORTS: &'static [u16] = &[639];
    const ENOUGH: usize = usize::MAX;

    fn measure(_: Side, head: &[u8]) -> Measure {
        match *head {
            [KEEPALIVE, 0, 3, ..] => Measure::Frame(3),
            // Source active, its request and response, and the two types of MSDP traceroute; the length counts the header.
            [1..=3 | 5..=7, high, low, ..] => match u16::from_be_bytes([high, low]) {
                len @ 4.. => Measure::Frame(len.into()),
                _ => Measure::Lost,
            },
            [1..=7, ..] | [] => Measure::Need(3),
            _ => Measure::Lost,
        }
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        if frame.u8(0) == Some(KEEPALIVE) {
            signs.push(frame.beat("msdp", Role::OneWay));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// RFC 3618 §12.2.3, after a Source-Active TLV (§12.2.1) of no entries from RP 10.0.0.1.
    #[test]
    fn keepalives_between_source_actives() {
        let (active, beat) = (hex("01 0008 00 0A000001"), hex("04 0003"));
        let turns: Turns = &[(Client, &active), (Client, &beat), (Server, &beat), (Server, &beat)];
        assert_eq!(beats(&signs(recognise, 639, turns)).len(), 3);
        assert_eq!(beats(&signs_midstream(recognise, 639, turns)).len(), 3);
        assert_eq!(signs(recognise, 640, turns), []);
    }
}
