//! FIX, session layer (FIX 4.2 to FIXT 1.1): Heartbeat (35=0) after HeartBtInt without a message sent; TestRequest (35=1),
//! answered by a Heartbeat with the same TestReqID (112). The Logon announces HeartBtInt (108) in seconds.

use super::frames::{self, Frame, Frames};
use super::framing::Measure;
use super::{Opening, Recognition, Role, Sign};
use crate::summary::Side;

/// Ends every field.
const SOH: u8 = 1;
/// The trailer "10=" with three digits.
const CHECKSUM: u64 = 7;

#[derive(Default)]
struct Fix;

/// Recognises FIX by its first two fields: BeginString and BodyLength.
pub fn recognise(opening: &Opening) -> Recognition {
    frames::recognise::<Fix, 256>(opening)
}

impl Frames for Fix {
    const PORTS: &'static [u16] = &[];
    const ENOUGH: usize = 1;

    fn measure(_: Side, head: &[u8]) -> Measure {
        if head.iter().zip(b"8=").any(|(a, b)| a != b) {
            return Measure::Lost;
        }
        let mut fields = head.split_inclusive(|&b| b == SOH);
        let mut at = 0;
        // "8=" and a short version, "9=" and digits, then the message type.
        for (tag, longest) in [(b"8=", 12), (b"9=", 9)] {
            let field = fields.next().unwrap_or_default();
            if field.len() > longest || field.iter().zip(tag).any(|(a, b)| a != b) {
                return Measure::Lost;
            }
            if field.last() != Some(&SOH) {
                return Measure::Need(head.len() + 1);
            }
            at += field.len();
            if tag == b"9=" {
                return match std::str::from_utf8(&field[2..field.len() - 1]).map(str::parse::<u32>) {
                    Ok(Ok(body)) => Measure::Frame(at as u64 + u64::from(body) + CHECKSUM),
                    _ => Measure::Lost,
                };
            }
        }
        Measure::Lost
    }

    fn frame(&mut self, _: Side, frame: Frame<'_>, signs: &mut Vec<Sign>) {
        let value = |tag: &[u8]| frame.head.split(|&b| b == SOH).find_map(|field| field.strip_prefix(tag));
        match value(b"35=") {
            Some(b"0") if value(b"112=").is_some() => signs.push(frame.beat("fix", Role::Reply)),
            Some(b"0") => signs.push(frame.beat("fix", Role::OneWay)),
            Some(b"1") => signs.push(frame.beat("fix", Role::Request)),
            Some(b"A") => {
                let interval = value(b"108=").and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok());
                // 0 means that no heartbeats are sent.
                if let Some(interval @ 1..) = interval {
                    signs.push(Sign::Declared { protocol: "fix", sender: None, seconds: interval.into() });
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// A message with its body length and checksum as FIX 4.2 "Message Format" computes them.
    fn message(body: &str) -> Vec<u8> {
        let body = body.replace('|', "\x01");
        let mut bytes = format!("8=FIX.4.2\x019={}\x01{body}", body.len()).into_bytes();
        let sum = bytes.iter().fold(0_u8, |sum, &b| sum.wrapping_add(b));
        bytes.extend(format!("10={sum:03}\x01").into_bytes());
        bytes
    }

    #[test]
    fn heartbeats_test_requests_and_the_announced_interval() {
        let logon = message("35=A|34=1|49=A|56=B|52=20261122-10:00:00|98=0|108=30|");
        let idle = message("35=0|34=2|49=A|56=B|52=20261122-10:00:30|");
        let test = message("35=1|34=3|49=B|56=A|52=20261122-10:01:06|112=T1|");
        let answer = message("35=0|34=3|49=A|56=B|52=20261122-10:01:06|112=T1|");
        let got = signs(recognise, 9876, &[(Client, &logon), (Client, &idle), (Server, &test), (Client, &answer)]);
        assert_eq!(declared(&got), [(None, 30.0)]);
        assert_eq!(
            beats(&got),
            [(Client, "fix", Role::OneWay), (Client, "fix", Role::Reply), (Server, "fix", Role::Request)]
        );
    }
}
