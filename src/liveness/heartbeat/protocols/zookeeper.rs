//! Apache ZooKeeper's client protocol: a ping (xid -2, type 11) from the client after a third of the session timeout
//! without a request, answered with the same xid (`ClientCnxn.java`, `ZooDefs.OpCode`).
//!
//! The server's ConnectResponse states the negotiated session timeout.

use super::frames::{self, Frame, Frames};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign, may_become};
use crate::summary::Side;

const NAME: &str = "zookeeper";
const PING_XID: u32 = -2i32 as u32;
const PING: u32 = 11;
/// Above the server's default limit of a request (jute.maxbuffer, 1 MiB) and of many answers.
const LONGEST: u32 = 1 << 24;

/// Recognises ZooKeeper by its ConnectRequest; in mid-stream by its port and fitting packets.
pub fn recognise(opening: &Opening) -> Recognition {
    if opening.bytes.0.into_iter().any(connect_request) {
        return frames::recognised::<ZooKeeper, 32>();
    }
    if opening.from_start || !opening.port_in(ZooKeeper::PORTS) {
        let maybe = |bytes: &[u8]| bytes.len() < 32 && may_become(&bytes[..bytes.len().min(3)], b"\0\0\0");
        return if opening.bytes.0.into_iter().any(maybe) { Recognition::Undecided } else { Recognition::No };
    }
    frames::recognise::<ZooKeeper, 32>(opening)
}

/// Length, protocol version 0, last zxid seen (8), timeout (4), session id (8), password of 16 bytes; newer clients add a
/// read-only flag.
fn connect_request(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0\0\0\x2c\0\0\0\0") | bytes.starts_with(b"\0\0\0\x2d\0\0\0\0")
        && bytes.get(28..32) == Some(&[0, 0, 0, 16])
}

#[derive(Default)]
struct ZooKeeper {
    /// Who sent a ConnectRequest that awaits its response.
    connecting: Option<Side>,
}

impl Frames for ZooKeeper {
    const PORTS: &'static [u16] = &[2181];
    const ENOUGH: usize = 8;

    fn measure(_: Side, head: &[u8]) -> Measure {
        match frames::bytes(head, 0).map(u32::from_be_bytes) {
            Some(len @ 8..LONGEST) => Measure::Frame(4 + u64::from(len)),
            Some(_) => Measure::Lost,
            None => Measure::Need(4),
        }
    }

    fn frame(&mut self, from: Side, packet: Frame<'_>, signs: &mut Vec<Sign>) {
        if connect_request(packet.head) {
            self.connecting = Some(from);
        } else if self.connecting == Some(from.peer()) {
            self.connecting = None;
            // Protocol version, then the timeout in milliseconds; 0 refuses the session.
            if let (Some(0), Some(millis @ 1..)) = (packet.u32(4), packet.u32(8)) {
                let seconds = f64::from(millis) / 1000.0;
                signs.push(Sign::Declared { protocol: NAME, sender: Some(from.peer()), seconds });
            }
        } else if packet.u32(4) == Some(PING_XID) {
            match (packet.len, packet.u32(8)) {
                (12, Some(PING)) => signs.push(packet.beat(NAME, Role::Request)),
                // A reply's header: xid, zxid (8), error.
                (20, _) => signs.push(packet.beat(NAME, Role::Reply)),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// Field by field after zookeeper.jute: ConnectRequest, ConnectResponse (10 s), getData and its answer, ping, pong.
    #[test]
    fn a_session() {
        let connect = hex("0000002D 00000000 0000000000000000 00007530 0000000000000000 00000010")
            .into_iter()
            .chain([0; 17])
            .collect::<Vec<_>>();
        let response =
            hex("00000025 00000000 00002710 0123456789ABCDEF 00000010").into_iter().chain([7; 17]).collect::<Vec<_>>();
        let request = hex("0000000E 00000001 00000004 00000001 2F 00");
        let answer = hex("00000014 00000001 0000000000000005 00000000 FFFFFFFE");
        let ping = hex("00000008 FFFFFFFE 0000000B");
        let pong = hex("00000010 FFFFFFFE 0000000000000005 00000000");
        let turns: Turns = &[
            (Client, &connect),
            (Server, &response),
            (Client, &request),
            (Server, &answer),
            (Client, &ping),
            (Server, &pong),
        ];
        let got = signs(recognise, 40_000, turns);
        assert_eq!(declared(&got), [(Some(Client), 10.0)]);
        assert_eq!(beats(&got), [(Client, NAME, Role::Request), (Server, NAME, Role::Reply)]);
        assert_eq!(beats(&signs_midstream(recognise, 2181, &turns[4..])).len(), 2);
        assert_eq!(signs_midstream(recognise, 40_000, &turns[4..]), []);
    }
}
