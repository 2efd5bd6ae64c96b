//! SMB over NetBIOS sessions or directly over TCP: the ECHO requests of SMB2 and SMB3 (MS-SMB2 §2.2.28) and of SMB1
//! (MS-CIFS §2.2.4.39), answered; and the keepalive of the NetBIOS session itself (RFC 1002 §4.3.6), which is not.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// Where the SMB header begins: after the session header's type and length.
const SMB: usize = 4;
const SESSION_KEEPALIVE: u8 = 0x85;
const SMB2_ECHO: u16 = 0x0D;
const SMB1_ECHO: u8 = 0x2B;

#[derive(Default)]
struct Smb;

/// Recognises SMB by its ports, or by its header elsewhere.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Smb, 32>(opening)
}

impl Frames for Smb {
    const PORTS: &'static [u16] = &[139, 445];
    const ENOUGH: usize = 1;

    fn measure(_: Side, head: &[u8]) -> Measure {
        match *head {
            // A session message with SMB1, SMB2, encrypted SMB3 or compressed SMB3.
            [0, high, middle, low, 0xFC..=0xFF, b'S', b'M', b'B', ..] => {
                Measure::Frame(u64::from(u32::from_be_bytes([0, high, middle, low])) + SMB as u64)
            }
            [0, ..] if head.len() < 8 => Measure::Need(8),
            [SESSION_KEEPALIVE | 0x82, 0, 0, 0, ..] => Measure::Frame(4),
            // Session request and its refusals; the names take 34 bytes each, or more with a scope.
            [0x81 | 0x83 | 0x84, 0, 0, len @ 1..=255, ..] => Measure::Frame(4 + u64::from(len)),
            [0x81..=0x85, ..] | [] if head.len() < 4 => Measure::Need(4),
            _ => Measure::Lost,
        }
    }

    fn weight(head: &[u8]) -> usize {
        usize::from(head[0] == 0)
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        let role = |reply| if reply { Role::Reply } else { Role::Request };
        match bytes::<4>(frame.head, SMB) {
            None if frame.u8(0) == Some(SESSION_KEEPALIVE) => signs.push(frame.beat("nbss", Role::OneWay)),
            Some([0xFE, _, _, _]) if frame.u16_le(SMB + 12) == Some(SMB2_ECHO) => {
                signs.push(frame.beat("smb2", role(frame.u8(SMB + 16).is_some_and(|flags| flags & 1 != 0))));
            }
            Some([0xFF, _, _, _]) if frame.u8(SMB + 4) == Some(SMB1_ECHO) => {
                signs.push(frame.beat("smb", role(frame.u8(SMB + 9).is_some_and(|flags| flags & 0x80 != 0))));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// MS-SMB2 §2.2.1.2 and §2.2.28 by hand: header with command 13, then structure size 4 and two reserved bytes.
    fn echo(flags: u8) -> Vec<u8> {
        let mut bytes = hex("00000044 FE534D42 4000 0000 00000000 0D00 0100 00000000 00000000 0900000000000000");
        bytes[SMB + 16] = flags;
        bytes.resize(SMB + 64, 0);
        bytes.extend([4, 0, 0, 0]);
        bytes
    }

    #[test]
    fn smb2_echo() {
        let (ask, answer) = (echo(0), echo(1));
        let turns: Turns = &[(Client, &ask), (Server, &answer)];
        let expected = [(Client, "smb2", Role::Request), (Server, "smb2", Role::Reply)];
        assert_eq!(beats(&signs(recognise, 445, turns)), expected);
        assert_eq!(beats(&signs_midstream(recognise, 4450, turns)), expected);
    }

    #[test]
    fn session_keepalive_needs_the_port() {
        let turns: Turns = &[(Server, &hex("85000000")), (Server, &hex("85000000"))];
        assert_eq!(beats(&signs_midstream(recognise, 139, turns)), [(Server, "nbss", Role::OneWay); 2]);
        assert_eq!(signs_midstream(recognise, 4000, turns), []);
    }

    /// MS-CIFS §2.2.3.1 and §2.2.4.39.1 by hand: one word (echo count 1), one byte of data.
    #[test]
    fn smb1_echo() {
        let mut ask = hex("00000026 FF534D42 2B 00000000 18 0128");
        ask.resize(SMB + 32, 0);
        ask.extend(hex("01 0100 0100 61"));
        assert_eq!(beats(&signs(recognise, 139, &[(Client, &ask)])), [(Client, "smb", Role::Request)]);
    }
}
