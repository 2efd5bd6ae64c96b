//! MySQL client/server protocol: COM_PING (command 14), answered by an OK packet ("Command Phase" of the protocol's manual).
//! A connection that turns to TLS or compression says nothing more.

use super::frames::{self, Frame, Frames};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

const COM_PING: u8 = 14;
/// Capabilities in the client's first packet: all that follows is compressed, or TLS; the packet has today's layout.
const CLIENT_COMPRESS: u32 = 0x20;
const CLIENT_SSL: u32 = 0x800;
const CLIENT_PROTOCOL_41: u32 = 0x200;

#[derive(Default)]
struct MySql {
    /// Whether the packets can no longer be read.
    deaf: bool,
    /// Who asked and waits for an OK.
    pinging: Option<Side>,
}

/// Recognises MySQL by its ports, or by the server's greeting.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<MySql, 32>(opening)
}

impl Frames for MySql {
    const PORTS: &'static [u16] = &[3306, 3307];
    const ENOUGH: usize = 1;

    fn measure(_: Side, head: &[u8]) -> Measure {
        match *head {
            // A TLS record is no packet, even where its length fits.
            [0x14..=0x17, 3, 0..=4, ..] => Measure::Lost,
            [low, middle, high, _, ..] => Measure::Frame(4 + u64::from(u32::from_le_bytes([low, middle, high, 0]))),
            _ => Measure::Need(4),
        }
    }

    /// Only the greeting tells: packet 0, protocol version 10, then the server's version in digits.
    fn weight(head: &[u8]) -> usize {
        match head {
            [_, _, 0, 0, 10, version, b'.' | b'0'..=b'9', ..] => usize::from(version.is_ascii_digit()),
            _ => 0,
        }
    }

    fn frame(&mut self, from: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        if self.deaf {
            return;
        }
        match (frame.u8(3), frame.u8(4)) {
            (Some(0), Some(COM_PING)) if frame.len == 5 => {
                self.pinging = Some(from);
                signs.push(frame.beat("mysql", Role::Request));
            }
            (Some(1), Some(0)) if self.pinging == Some(from.peer()) => {
                self.pinging = None;
                signs.push(frame.beat("mysql", Role::Reply));
            }
            // The client's answer to the greeting: capabilities, and 23 zeros of filler.
            (Some(1), _) if frame.head.get(13..32).is_some_and(|filler| filler.iter().all(|&b| b == 0)) => {
                let flags = frame.u32_le(4).filter(|flags| flags & CLIENT_PROTOCOL_41 != 0).unwrap_or_default();
                self.deaf = flags & (CLIENT_COMPRESS | CLIENT_SSL) != 0;
            }
            _ => self.pinging = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// The manual's example of a Protocol::HandshakeV10 packet, shortened to its version.
    const GREETING: &str = "0E000000 0A 352E352E322D6D3200 0B000000";

    /// A Protocol::HandshakeResponse41 with the given capabilities: maximum packet, character set, filler, user "r".
    fn response(capabilities: u32) -> Vec<u8> {
        let mut bytes = hex("24000001 00000000 00000001 08");
        bytes[4..8].copy_from_slice(&capabilities.to_le_bytes());
        bytes.resize(4 + 32, 0);
        bytes.extend(b"r\0\0\0");
        bytes
    }

    /// The manual's COM_PING and OK packets, behind the OK that ends the login.
    #[test]
    fn a_ping_is_answered_by_ok() {
        let response = response(0x1AA_8205);
        let turns: Turns = &[
            (Server, &hex(GREETING)),
            (Client, &response),
            (Server, &hex("07000002 00000002000000")),
            (Client, &hex("01000000 0E")),
            (Server, &hex("07000001 00000002000000")),
        ];
        let expected = [(Client, "mysql", Role::Request), (Server, "mysql", Role::Reply)];
        assert_eq!(beats(&signs(recognise, 33_060, turns)), expected);
        assert_eq!(beats(&signs_midstream(recognise, 3306, &turns[3..])), expected);
    }

    #[test]
    fn nothing_is_read_of_a_compressed_connection() {
        let response = response(0x1AA_8205 | CLIENT_COMPRESS);
        let turns: Turns = &[(Server, &hex(GREETING)), (Client, &response), (Client, &hex("01000000 0E"))];
        assert_eq!(signs(recognise, 3306, turns), []);
    }
}
