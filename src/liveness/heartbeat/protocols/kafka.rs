//! Apache Kafka: Heartbeat (API key 12) and ConsumerGroupHeartbeat (68) requests of a group's consumers, and the responses
//! with the same correlation id (Kafka protocol guide, request header v1 and up).
//!
//! The session timeout goes in JoinGroup, on a connection that may be another one; nothing is declared.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

const NAME: &str = "kafka";
const HEARTBEAT: u16 = 12;
const API_VERSIONS: u16 = 18;
const CONSUMER_GROUP_HEARTBEAT: u16 = 68;
/// The highest API key in use, with room for some more.
const LAST_KEY: u16 = 100;
/// socket.request.max.bytes' default.
const LONGEST: u32 = 100 << 20;

/// Recognises Kafka by its port and a request, elsewhere by the ApiVersions request that opens a connection.
pub fn recognise(opening: &Opening) -> Recognition {
    let known_port = opening.port_in(Kafka::PORTS);
    let request = opening.bytes[Side::Client];
    if request.len() < 14 {
        let maybe = request.first().is_none_or(|&b| b == 0) && (known_port || opening.from_start);
        return if maybe { Recognition::Undecided } else { Recognition::No };
    }
    let opens = bytes(request, 4).map(u16::from_be_bytes) == Some(API_VERSIONS) && opening.from_start;
    if is_request(request) && (known_port || opens) {
        return frames::recognised::<Kafka, 32>();
    }
    Recognition::No
}

/// Whether a request header starts here: length, API key, version, correlation id, client id.
fn is_request(head: &[u8]) -> bool {
    let (Some(len), Some(key), Some(version), Some(id_len)) = (
        bytes(head, 0).map(u32::from_be_bytes),
        bytes(head, 4).map(u16::from_be_bytes),
        bytes(head, 6).map(u16::from_be_bytes),
        bytes(head, 12).map(i16::from_be_bytes),
    ) else {
        return false;
    };
    // The client id is a nullable string.
    let id = head.iter().skip(14).take(usize::try_from(id_len).unwrap_or(0));
    (10..LONGEST).contains(&len)
        && key <= LAST_KEY
        && version < 25
        && id_len >= -1
        && i64::from(len) >= 10 + i64::from(id_len.max(0))
        && id.clone().all(|b| (0x20..0x7f).contains(b))
}

#[derive(Default)]
struct Kafka {
    /// Correlation id of the heartbeat that awaits its response.
    open: Option<u32>,
}

impl Frames for Kafka {
    const PORTS: &'static [u16] = &[9092];
    const ENOUGH: usize = usize::MAX;

    fn measure(from: Side, head: &[u8]) -> Measure {
        match (from, bytes(head, 0).map(u32::from_be_bytes)) {
            (Side::Client, _) if head.len() < 14 => Measure::Need(14),
            (Side::Server, None) => Measure::Need(4),
            (Side::Client, Some(len)) if is_request(head) => Measure::Frame(4 + u64::from(len)),
            (Side::Server, Some(len @ 4..LONGEST)) => Measure::Frame(4 + u64::from(len)),
            _ => Measure::Lost,
        }
    }

    fn frame(&mut self, from: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        match from {
            Side::Client if matches!(frame.u16(4), Some(HEARTBEAT | CONSUMER_GROUP_HEARTBEAT)) => {
                self.open = frame.u32(8);
                signs.push(frame.beat(NAME, Role::Request));
            }
            Side::Server if self.open.is_some() && frame.u32(4) == self.open => {
                self.open = None;
                signs.push(frame.beat(NAME, Role::Reply));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// After the protocol guide: ApiVersions v0, Fetch v4 cut short, Heartbeat v0 (group "g", generation 1, member "m"),
    /// each with client id "c".
    #[test]
    fn heartbeats_by_correlation_id() {
        let versions = hex("0000000B 0012 0000 00000001 0001 63");
        let versions_answer = hex("0000000A 00000001 0000 00000000");
        let fetch = hex("0000000C 0001 0004 00000002 0001 63 FF");
        let fetched = [hex("00000108 00000002"), vec![12; 260]].concat();
        let beat = hex("00000015 000C 0000 00000003 0001 63 0001 67 00000001 0001 6D");
        let answer = hex("00000006 00000003 0000");
        let turns: Turns = &[
            (Client, &versions),
            (Server, &versions_answer),
            (Client, &fetch),
            (Server, &fetched),
            (Client, &beat),
            (Server, &answer),
        ];
        let got = signs(recognise, 40_000, turns);
        assert_eq!(beats(&got), [(Client, NAME, Role::Request), (Server, NAME, Role::Reply)]);
        assert_eq!(beats(&signs_midstream(recognise, 9092, &turns[4..])).len(), 2);
        assert_eq!(signs_midstream(recognise, 40_000, &turns[4..]), []);
    }
}
