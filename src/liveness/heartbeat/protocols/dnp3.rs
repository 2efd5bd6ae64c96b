//! DNP3 over TCP (IEEE 1815): the data link layer's REQUEST LINK STATUS (primary function 9), from either side, answered by
//! LINK STATUS (secondary function 11) (§9.2).

use super::frames::{self, Frame, Frames};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// Start bytes, length, control, destination, source and CRC.
const HEADER: usize = 10;

#[derive(Default)]
struct Dnp3;

/// Recognises DNP3 by the start bytes and the CRC of a header.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Dnp3, 32>(opening)
}

impl Frames for Dnp3 {
    const PORTS: &'static [u16] = &[20_000];
    const ENOUGH: usize = 1;

    fn measure(_: Side, head: &[u8]) -> Measure {
        if head.iter().zip([0x05, 0x64]).any(|(&b, start)| b != start) {
            return Measure::Lost;
        }
        let Some(header) = head.first_chunk::<HEADER>() else { return Measure::Need(HEADER) };
        // The length counts control and addresses; user data comes in blocks of 16 bytes with a CRC each.
        match header[2].checked_sub(5).map(u64::from) {
            Some(data) if crc(&header[..8]) == [header[8], header[9]] => {
                Measure::Frame(HEADER as u64 + data + 2 * data.div_ceil(16))
            }
            _ => Measure::Lost,
        }
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        if frame.len != HEADER as u64 {
            return;
        }
        // Bit 6 (PRM) tells primary from secondary, the low four bits are the function.
        match frame.u8(3).map(|control| control & 0x4F) {
            Some(0x49) => signs.push(frame.beat("dnp3", Role::Request)),
            Some(0x0B) => signs.push(frame.beat("dnp3", Role::Reply)),
            _ => {}
        }
    }
}

/// CRC-16/DNP: polynomial 0x3D65 reflected, complemented, low byte first.
fn crc(bytes: &[u8]) -> [u8; 2] {
    let crc = bytes.iter().fold(0_u16, |crc, &b| {
        (0..8).fold(crc ^ u16::from(b), |crc, _| if crc & 1 != 0 { crc >> 1 ^ 0xA6BC } else { crc >> 1 })
    });
    (!crc).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// The CRC catalogue's check value of CRC-16/DNP for "123456789".
    #[test]
    fn crc_check_value() {
        assert_eq!(u16::from_le_bytes(crc(b"123456789")), 0xEA82);
    }

    #[test]
    fn link_status_is_asked_and_told() {
        let frame = |control: u8| {
            let header = [0x05, 0x64, 5, control, 1, 0, 100, 0];
            [&header[..], &crc(&header)].concat()
        };
        let got = signs(recognise, 20_000, &[(Client, &frame(0xC9)), (Server, &frame(0x0B))]);
        assert_eq!(beats(&got), [(Client, "dnp3", Role::Request), (Server, "dnp3", Role::Reply)]);
    }
}
