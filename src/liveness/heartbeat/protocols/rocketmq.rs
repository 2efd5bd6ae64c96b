//! RocketMQ's remoting protocol (RemotingCommand): HEART_BEAT, request code 34, from a client to each broker, answered by the
//! response with the same `opaque`. The header is JSON or RocketMQ's own binary form.

use super::frames::{self, Frame, Frames, bytes};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// Where the header begins: after the length, and the header's form and length.
const HEADER: usize = 8;
const JSON: u8 = 0;
const HEART_BEAT: u32 = 34;
/// Longest command and header believed: com.rocketmq.remoting.frameMaxLength is 16 MiB by default.
const LONGEST: u32 = 16 << 20;
const LONGEST_HEADER: u32 = 1 << 20;
/// `flag`: this is a response.
const RESPONSE: u32 = 1;

#[derive(Default)]
struct RocketMq {
    /// Who is to answer which heartbeat.
    awaited: Option<(Side, u32)>,
}

/// Recognises RocketMQ by a command's header.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<RocketMq, 192>(opening)
}

/// What is read of a command's header.
struct Command {
    code: u32,
    opaque: u32,
    flag: u32,
}

fn command(head: &[u8]) -> Option<Command> {
    let header = head.get(HEADER..)?;
    if head[4] == JSON {
        let text = String::from_utf8_lossy(header);
        let number = |key: &str| {
            let digits = &text[text.find(key)? + key.len()..];
            digits[..digits.find(|c: char| !c.is_ascii_digit())?].parse().ok()
        };
        Some(Command { code: number("\"code\":")?, opaque: number("\"opaque\":")?, flag: number("\"flag\":")? })
    } else {
        // Code (2), language (1), version (2), opaque (4), flag (4).
        let field = |at| bytes(header, at).map(u32::from_be_bytes);
        let code = u16::from_be_bytes(bytes(header, 0)?);
        Some(Command { code: code.into(), opaque: field(5)?, flag: field(9)? })
    }
}

impl Frames for RocketMq {
    const PORTS: &'static [u16] = &[9876, 10_911, 10_909];
    const ENOUGH: usize = 2;

    fn measure(_: Side, head: &[u8]) -> Measure {
        let Some(&[a, b, c, d, form, high, middle, low, first]) = head.first_chunk::<9>() else {
            return Measure::Need(9);
        };
        let len = u32::from_be_bytes([a, b, c, d]);
        let header = u32::from_be_bytes([0, high, middle, low]);
        // A JSON header begins with its brace; a binary one with a code below 0x1000, and is never shorter than 21 bytes.
        let fits = match form {
            JSON => first == b'{' && header >= 2,
            1 => first < 0x10 && header >= 21,
            _ => false,
        };
        if fits && header <= LONGEST_HEADER && (header + 4..=LONGEST).contains(&len) {
            Measure::Frame(4 + u64::from(len))
        } else {
            Measure::Lost
        }
    }

    fn frame(&mut self, from: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        let Some(command) = command(frame.head) else { return };
        if command.flag & RESPONSE != 0 {
            if self.awaited == Some((from, command.opaque)) {
                self.awaited = None;
                signs.push(frame.beat("rocketmq", Role::Reply));
            }
        } else if command.code == HEART_BEAT {
            self.awaited = Some((from.peer(), command.opaque));
            signs.push(frame.beat("rocketmq", Role::Request));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// RemotingCommand's encoding by hand around the JSON that the Java client writes.
    fn json(header: &str, body: &[u8]) -> Vec<u8> {
        let mut bytes = (4 + header.len() as u32 + body.len() as u32).to_be_bytes().to_vec();
        bytes.extend((header.len() as u32).to_be_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn the_response_with_the_same_opaque_answers() {
        let heartbeat =
            r#"{"code":34,"flag":0,"language":"JAVA","opaque":12,"serializeTypeCurrentRPC":"JSON","version":401}"#;
        let other =
            r#"{"code":0,"flag":1,"language":"JAVA","opaque":11,"serializeTypeCurrentRPC":"JSON","version":401}"#;
        let answer =
            r#"{"code":0,"flag":1,"language":"JAVA","opaque":12,"serializeTypeCurrentRPC":"JSON","version":401}"#;
        let turns: Turns = &[
            (Client, &json(heartbeat, br#"{"clientID":"10.0.0.1@1"}"#)),
            (Server, &json(other, b"")),
            (Server, &json(answer, b"")),
        ];
        let expected = [(Client, "rocketmq", Role::Request), (Server, "rocketmq", Role::Reply)];
        assert_eq!(beats(&signs(recognise, 10_911, turns)), expected);
        assert_eq!(beats(&signs(recognise, 30_911, turns)), expected);
    }

    #[test]
    fn the_binary_header() {
        let ask = hex("00000019 01000015 0022 00 0191 00000005 00000000 00000000 00000000");
        let answer = hex("00000019 01000015 0000 00 0191 00000005 00000001 00000000 00000000");
        let got = signs(recognise, 10_911, &[(Client, &ask), (Server, &answer)]);
        assert_eq!(beats(&got), [(Client, "rocketmq", Role::Request), (Server, "rocketmq", Role::Reply)]);
    }
}
