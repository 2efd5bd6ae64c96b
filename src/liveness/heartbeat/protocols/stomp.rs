//! STOMP 1.1 and 1.2: a line end between frames, either way, never answered (STOMP 1.2, "Heart-beating").
//!
//! CONNECT and CONNECTED carry `heart-beat:can,wants` in milliseconds; what a side sends goes by the greater of its "can"
//! and the other's "wants", unless either is 0.

use super::frames::beat;
use super::framing::Lines;
use super::{Opening, Parser, Recognition, Role, Sign};
use crate::packet::{MILLISECOND, Time};
use crate::summary::{Both, Side};

/// The name of its beats.
pub const NAME: &str = "stomp";

/// By convention; none is registered.
const PORTS: &[u16] = &[61613];

/// Kept of each header line.
const HEAD: usize = 64;

/// A line end that follows its frame within this time ends it, as servers like to; later it is a beat.
const TRAILING: i64 = 100 * MILLISECOND;

const COMMANDS: &[&[u8]] = &[
    b"CONNECT",
    b"STOMP",
    b"CONNECTED",
    b"SEND",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"ACK",
    b"NACK",
    b"BEGIN",
    b"COMMIT",
    b"ABORT",
    b"DISCONNECT",
    b"MESSAGE",
    b"RECEIPT",
    b"ERROR",
];

/// Recognises STOMP by its CONNECT; in mid-stream by its port and the beginning of a frame.
pub fn recognise(opening: &Opening) -> Recognition {
    let mut undecided = opening.bytes.0.iter().all(|bytes| bytes.is_empty());
    for bytes in opening.bytes.0 {
        let text = bytes.trim_ascii_start();
        let known_port = opening.port_in(PORTS) && !opening.from_start;
        let commands = if known_port { COMMANDS } else { &COMMANDS[..3] };
        let capital = text.first().is_some_and(u8::is_ascii_uppercase);
        for command in commands.iter().filter(|_| capital) {
            let line = text.strip_prefix(*command);
            let line = line.map(|rest| rest.strip_prefix(b"\r").unwrap_or(rest));
            if line.is_some_and(|rest| rest.first() == Some(&b'\n')) && (known_port || opening.from_start) {
                return Recognition::Yes(Box::new(Stomp::default()));
            }
            let partial = !text.is_empty() && command.starts_with(text) || line.is_some_and(<[u8]>::is_empty);
            undecided |= partial && bytes.len() < 64;
        }
        undecided |= known_port && text.is_empty() && bytes.len() < 64;
    }
    // In mid-stream on its port, line ends alone.
    if !opening.from_start && opening.port_in(PORTS) {
        let line_ends = opening.bytes.0.concat();
        if line_ends.len() >= 3 && line_ends.trim_ascii().is_empty() {
            return Recognition::Yes(Box::new(Stomp::default()));
        }
    }
    if undecided { Recognition::Undecided } else { Recognition::No }
}

/// What both sides' `heart-beat` headers agree on.
#[derive(Default)]
pub struct Negotiation {
    /// What the side that connects can send and wants to receive, milliseconds.
    offer: Option<(u32, u32)>,
}

impl Negotiation {
    /// Takes a whole frame; whether it is a CONNECT or CONNECTED.
    pub fn frame(&mut self, from: Side, frame: &[u8], signs: &mut Vec<Sign>) -> bool {
        let mut lines = frame.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let command = lines.next().unwrap_or_default();
        if !matches!(command, b"CONNECT" | b"STOMP" | b"CONNECTED") {
            return false;
        }
        let figures = lines.take_while(|line| !line.is_empty()).find_map(heart_beat);
        self.take(from, command == b"CONNECTED", figures.unwrap_or_default(), signs);
        true
    }

    /// Takes the figures of a CONNECT or CONNECTED, (0, 0) without the header.
    fn take(&mut self, from: Side, is_answer: bool, (can, wants): (u32, u32), signs: &mut Vec<Sign>) {
        if !is_answer {
            self.offer = Some((can, wants));
        } else if let Some((peer_can, peer_wants)) = self.offer.take() {
            for (sender, can, wants) in [(from.peer(), peer_can, wants), (from, can, peer_wants)] {
                if can > 0 && wants > 0 {
                    let seconds = f64::from(can.max(wants)) / 1000.0;
                    signs.push(Sign::Declared { protocol: NAME, sender: Some(sender), seconds });
                }
            }
        }
    }
}

/// The figures of a `heart-beat` header line.
fn heart_beat(line: &[u8]) -> Option<(u32, u32)> {
    let (can, wants) = std::str::from_utf8(line.strip_prefix(b"heart-beat:")?).ok()?.split_once(',')?;
    Some((can.trim().parse().ok()?, wants.trim().parse().ok()?))
}

/// Where a side's stream is.
#[derive(Clone, Copy, Default, PartialEq)]
enum At {
    /// Before a command.
    #[default]
    Between,
    /// Among the header lines.
    Headers,
    /// In a body of this length, if told, that a NUL ends.
    Body(Option<u64>),
    /// Bytes were missed: the next NUL ends a frame, as a rule.
    Lost,
}

#[derive(Default)]
struct Half {
    at: At,
    lines: Lines<HEAD>,
    /// When the last frame ended.
    ended: Option<Time>,
    /// Of the current frame: its content-length, and if it is a CONNECT or CONNECTED which, and its figures.
    content_length: Option<u64>,
    connect: Option<bool>,
    figures: (u32, u32),
}

#[derive(Default)]
struct Stomp {
    halves: Both<Half>,
    negotiation: Negotiation,
}

impl Parser for Stomp {
    fn data(&mut self, from: Side, time: Time, mut bytes: &[u8], signs: &mut Vec<Sign>) {
        let half = &mut self.halves[from];
        while let [first, rest @ ..] = bytes {
            match half.at {
                At::Between if matches!(first, b'\n' | b'\r') => {
                    let trailing = half.ended.is_some_and(|ended| time.since(ended) < TRAILING);
                    if *first == b'\n' && !trailing {
                        signs.push(beat(NAME, Role::OneWay, 1, b"\n"));
                    }
                    bytes = rest;
                }
                At::Between | At::Headers => {
                    half.at = At::Headers;
                    let Some((line, len)) = half.lines.next(&mut bytes) else { return };
                    match line {
                        // Two line ends in a row: the headers are over.
                        b"" => {
                            half.at = At::Body(half.content_length.take());
                            if let Some(is_answer) = half.connect.take() {
                                self.negotiation.take(from, is_answer, std::mem::take(&mut half.figures), signs);
                            }
                        }
                        b"CONNECT" | b"STOMP" => half.connect = Some(false),
                        b"CONNECTED" => half.connect = Some(true),
                        // No command or header is as long as this without its own line end: not STOMP, or not its place.
                        _ if len > 65_536 => half.at = At::Lost,
                        _ => {
                            // Of a repeated header the first counts ("Repeated Header Entries").
                            if let Some(figures) = heart_beat(line).filter(|_| half.figures == (0, 0)) {
                                half.figures = figures;
                            }
                            let length =
                                line.strip_prefix(b"content-length:").and_then(|n| std::str::from_utf8(n).ok());
                            half.content_length = half.content_length.or(length.and_then(|n| n.trim().parse().ok()));
                        }
                    }
                }
                At::Body(Some(left)) => {
                    let skip = left.min(bytes.len() as u64);
                    bytes = &bytes[skip as usize..];
                    half.at = At::Body(Some(left - skip).filter(|&left| left > 0));
                }
                At::Body(None) | At::Lost => match bytes.iter().position(|&b| b == 0) {
                    Some(nul) => {
                        bytes = &bytes[nul + 1..];
                        half.at = At::Between;
                        half.ended = Some(time);
                    }
                    None => return,
                },
            }
        }
    }

    fn gap(&mut self, from: Side, len: u64) {
        let half = &mut self.halves[from];
        match half.at {
            At::Body(Some(left)) if left > len => half.at = At::Body(Some(left - len)),
            _ => *half = Half { at: At::Lost, ..Half::default() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// STOMP 1.2, "Heart-beating" and "Frame": negotiated both ways, a body with a length that holds NUL and line ends, one
    /// without, line ends right behind a frame.
    #[test]
    fn beats_between_frames_and_the_negotiated_figures() {
        let turns: Turns = &[
            (Client, b"CONNECT\naccept-version:1.2\nheart-beat:4000,10000\nhost:h\n\n\0"),
            (Server, b"CONNECTED\nversion:1.2\nheart-beat:5000,6000\n\n\0\n"),
            (Client, b"SEND\ndestination:/q\ncontent-length:5\n\n\n\0\0\n\n\0"),
            (Client, b"SEND\r\ndestination:/q\r\n\r\nx\ny\n\n\0"),
            (Client, b"\n"),
            (Server, b"\r\n"),
            (Server, b"\n"),
        ];
        let got = signs(recognise, 40_000, turns);
        assert_eq!(declared(&got), [(Some(Client), 6.0), (Some(Server), 10.0)]);
        let beat = |side| (side, NAME, Role::OneWay);
        assert_eq!(beats(&got), [beat(Client), beat(Server), beat(Server)]);
        assert_eq!(beats(&signs_midstream(recognise, 61613, &turns[2..])).len(), 3);
    }

    #[test]
    fn line_ends_on_the_port_mid_stream() {
        let turns: Turns = &[(Client, b"\n"), (Server, b"\n"), (Client, b"\n")];
        assert_eq!(signs_midstream(recognise, 61613, turns).len(), 3);
        assert_eq!(signs_midstream(recognise, 40_000, turns), []);
    }

    #[test]
    fn either_zero_means_none() {
        let mut signs = Vec::new();
        let mut negotiation = Negotiation::default();
        assert!(negotiation.frame(Client, b"STOMP\nheart-beat:0,10000\n\n\0", &mut signs));
        assert!(negotiation.frame(Server, b"CONNECTED\nheart-beat:20000,10000\n\n\0", &mut signs));
        assert_eq!(signs, [Sign::Declared { protocol: NAME, sender: Some(Server), seconds: 20.0 }]);
    }
}
