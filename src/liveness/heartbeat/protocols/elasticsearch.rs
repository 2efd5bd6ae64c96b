//! Elasticsearch's transport protocol (TcpHeader, TransportKeepAlive): the node that opened the connection sends "ES" with the
//! length -1, and the other answers with the same six bytes.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// "ES" and the length, which does not count these.
const HEADER: usize = 6;
/// Request id (8), status (1) and version (4), the least a message holds.
const LEAST: i32 = 13;
/// Longest message believed: Elasticsearch refuses those over 90 % of its heap.
const LONGEST: i32 = 1 << 30;

#[derive(Default)]
struct Elasticsearch;

/// Recognises the transport protocol by its ports, or by two messages.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Elasticsearch, 32>(opening)
}

impl Frames for Elasticsearch {
    const PORTS: &'static [u16] = &[9300, 9301, 9302, 9303];
    const ENOUGH: usize = 2;

    fn measure(_: Side, head: &[u8]) -> Measure {
        if head.iter().zip(b"ES").any(|(a, b)| a != b) {
            return Measure::Lost;
        }
        match bytes(head, 2).map(i32::from_be_bytes) {
            None => Measure::Need(HEADER),
            Some(-1) => Measure::Frame(HEADER as u64),
            Some(len @ LEAST..=LONGEST) => Measure::Frame(HEADER as u64 + u64::from(len.unsigned_abs())),
            Some(_) => Measure::Lost,
        }
    }

    fn frame(&mut self, from: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        if frame.len == HEADER as u64 {
            let role = if from == Side::Client { Role::Request } else { Role::Reply };
            signs.push(frame.beat("elasticsearch", role));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// TcpTransport's ping: 'E', 'S', -1.
    #[test]
    fn the_same_six_bytes_ask_and_answer() {
        let ping = hex("4553 FFFFFFFF");
        let got = signs(recognise, 9300, &[(Client, &ping), (Server, &ping)]);
        assert_eq!(beats(&got), [(Client, "elasticsearch", Role::Request), (Server, "elasticsearch", Role::Reply)]);
    }
}
