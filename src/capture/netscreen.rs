//! Text dumps of ScreenOS firewalls (`snoop`, then `get db stream`), as saved from a terminal.
//!
//! ```text
//! 05707.0: bgroup0(i) len=60:00073bd11858->0024dc6dd70b/0800
//!               10.1.1.1 -> 10.2.2.2/6
//!               00 24 dc 6d d7 0b 00 07 3b d1 18 58 08 00 45 88     .$.m....;..X..E.
//! ```
//!
//! Seconds since the firewall's start, to a tenth; the interface; in or out; the length on the wire; addresses and type
//! of the frame; what the firewall understood of it; then the bytes. An empty line ends a packet.

use super::format::{Format, Next, Tally, Walked};
use crate::packet::{Frame, LinkType, MILLISECOND, SECOND, Time};

/// Lines at the beginning of a file of which one must be a packet's.
const LINES_TO_KNOW: usize = 32;
/// The longest line; a longer one is taken in parts.
const LONGEST_LINE: usize = 1024;
/// Interfaces that are told apart.
const MAX_INTERFACES: usize = 64;
/// Bytes in a line.
const BYTES_A_LINE: usize = 16;

const ETHERNET: LinkType = LinkType(1);
const PPP: LinkType = LinkType(9);

/// Whether one of a file's first lines begins a packet.
pub(super) fn is_netscreen(head: &[u8]) -> bool {
    head.split(|&b| b == b'\n').take(LINES_TO_KNOW).any(|line| Header::new(line).is_some())
}

/// What the first line of a packet says.
struct Header<'a> {
    time: Time,
    interface: &'a str,
    len: u16,
    /// The destination's MAC address in hexadecimal, if that is what follows the arrow.
    dst: &'a str,
}

impl<'a> Header<'a> {
    fn new(line: &'a [u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.trim();
        let (time, rest) = line.split_once(": ")?;
        let (seconds, tenths) = time.split_once('.')?;
        let (interface, rest) = rest.trim_start().split_once(['(', ' '])?;
        let rest = rest.strip_prefix("i)").or_else(|| rest.strip_prefix("o)"))?;
        let rest = rest.trim_start().strip_prefix("len=")?;
        let (len, addresses) = rest.split_once(':')?;
        let tenths: u8 = tenths.parse().ok().filter(|&t| t < 10)?;
        Some(Header {
            time: Time(i64::from(seconds.parse::<u32>().ok()?) * SECOND + i64::from(tenths) * 100 * MILLISECOND),
            interface,
            len: len.parse().ok()?,
            dst: addresses.split_once("->").map_or("", |(_, dst)| dst),
        })
    }
}

/// A packet whose bytes are being gathered.
struct Packet {
    time: Time,
    interface: u32,
    wire_len: u16,
    data: Vec<u8>,
    kind: Kind,
}

/// What the bytes may begin with.
enum Kind {
    Ethernet,
    Ppp,
    /// A bridged ADSL interface's are Ethernet and begin with this address; others are PPP.
    Adsl([u8; 12]),
}

impl Packet {
    fn link(&self) -> LinkType {
        match &self.kind {
            Kind::Ethernet => ETHERNET,
            Kind::Ppp => PPP,
            Kind::Adsl(dst) => {
                let begins: String = self.data.iter().take(6).map(|b| format!("{b:02x}")).collect();
                if begins.as_bytes() == dst { ETHERNET } else { PPP }
            }
        }
    }
}

/// Reads the packets of one file.
#[derive(Default)]
pub(super) struct NetScreen {
    interfaces: Vec<String>,
    packet: Option<Packet>,
}

impl NetScreen {
    fn line(&mut self, line: &[u8], tally: &mut Tally, sink: &mut dyn FnMut(&[Frame<'_>])) {
        if let Some(header) = Header::new(line) {
            self.flush(tally, sink);
            self.begin(&header);
        } else if line.trim_ascii().is_empty() {
            self.flush(tally, sink);
        } else if let Some(packet) = &mut self.packet {
            let room = usize::from(packet.wire_len) - packet.data.len();
            packet.data.extend(hex(line).take(room.min(BYTES_A_LINE)));
        }
    }

    fn begin(&mut self, header: &Header<'_>) {
        let known = self.interfaces.iter().position(|i| i == header.interface);
        let interface = known.unwrap_or(self.interfaces.len());
        if known.is_none() && interface < MAX_INTERFACES {
            self.interfaces.push(header.interface.to_owned());
        }
        let kind = if header.interface.starts_with("adsl") {
            header.dst.as_bytes().first_chunk().map_or(Kind::Ppp, |dst| Kind::Adsl(*dst))
        } else if header.interface.starts_with("seri") {
            Kind::Ppp
        } else {
            Kind::Ethernet
        };
        let (time, wire_len) = (header.time, header.len);
        self.packet = Some(Packet { time, interface: interface as u32, wire_len, data: Vec::new(), kind });
    }

    /// Gives the packet gathered so far.
    fn flush(&mut self, tally: &mut Tally, sink: &mut dyn FnMut(&[Frame<'_>])) {
        let Some(packet) = self.packet.take() else { return };
        let link = packet.link();
        tally.link_type(link);
        tally.frames += 1;
        tally.last = packet.time;
        sink(&[Frame {
            time: packet.time,
            number: tally.frames,
            link,
            interface: packet.interface,
            wire_len: u32::from(packet.wire_len),
            data: &packet.data,
        }]);
    }
}

/// The bytes of a line: pairs of digits, each followed by one blank or the end, up to where more blanks follow.
fn hex(line: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = line.trim_ascii();
    std::iter::from_fn(move || {
        let (pair, after) = rest.split_first_chunk::<2>()?;
        rest = match after {
            [b' ', after @ ..] => after,
            [] => after,
            _ => return None,
        };
        let digit = |d: u8| char::from(d).to_digit(16);
        Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8)
    })
}

impl Format for NetScreen {
    fn walk(&mut self, data: &[u8], tally: &mut Tally, sink: &mut dyn FnMut(&[Frame<'_>])) -> Walked {
        let mut used = 0;
        loop {
            let rest = &data[used..];
            let line = match rest.iter().take(LONGEST_LINE).position(|&b| b == b'\n') {
                Some(end) => &rest[..=end],
                None if rest.len() >= LONGEST_LINE => &rest[..LONGEST_LINE],
                None => return Walked { used, next: Next::Fill(LONGEST_LINE) },
            };
            self.line(line, tally, sink);
            used += line.len();
        }
    }

    fn finish(&mut self, rest: &[u8], tally: &mut Tally, sink: &mut dyn FnMut(&[Frame<'_>])) -> bool {
        self.line(rest, tally, sink);
        self.flush(tally, sink);
        true
    }

    /// Text is never damaged: what is no line of a packet is passed over.
    fn resume(&self, _data: &[u8], _ended: bool, _last: Option<Time>) -> Option<usize> {
        None
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// As a terminal shows it: a prompt, two packets, one of them cut by the firewall, and an ADSL interface's.
    pub(crate) const DUMP: &str = "\
fw-> get db stream\r
00012.3: ethernet0/1(i) len=20:020000000001->020000000002/0800\r
              10.1.1.1 -> 10.2.2.2/6\r
              tcp:ports 1024->80, seq=1, ack=2, flag=5010/ACK\r
              02 00 00 00 00 02 02 00 00 00 00 01 08 00 45 00     ..............E.\r
              61 62 63 64                                         ab cd 12\r
\r
00013.0: seri0(o) len=1500:\r
              ff 03 00 21\r
--- more ---
00013.9: adsl1(i) len=6:020000000001->020000000002/0800
              02 00 00 00 00 02

00014.0: adsl1(o) len=6:020000000001->020000000002/0800
              ff 03 00 21 45 00     rest 12";

    #[test]
    fn packets_of_a_dump() {
        assert!(is_netscreen(DUMP.as_bytes()));
        let (mut format, mut tally, mut seen) = (NetScreen::default(), Tally::default(), Vec::new());
        let mut sink = |frames: &[Frame<'_>]| {
            let f = frames[0];
            seen.push((f.time.0 / MILLISECOND, f.number, f.link.0, f.interface, f.wire_len, f.data.to_vec()));
        };
        let walked = format.walk(DUMP.as_bytes(), &mut tally, &mut sink);
        assert!(format.finish(&DUMP.as_bytes()[walked.used..], &mut tally, &mut sink));
        let first = [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0][..], b"abcd"].concat();
        assert_eq!(
            seen,
            [
                (12_300, 1, 1, 0, 20, first),
                (13_000, 2, 9, 1, 1500, vec![0xff, 3, 0, 0x21]),
                (13_900, 3, 1, 2, 6, vec![2, 0, 0, 0, 0, 2]),
                (14_000, 4, 9, 2, 6, vec![0xff, 3, 0, 0x21, 0x45, 0]),
            ]
        );
        assert_eq!(tally.link_types, [LinkType(1), LinkType(9)]);
    }

    #[test]
    fn other_text_is_not_taken_for_it() {
        for text in ["12.3: eth0(i) length 60", "len=60:(i) 1.2: x", "a.b: eth0(i) len=6:", "1.22: eth0(i) len=6:", ""]
        {
            assert!(!is_netscreen(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn bounded_whatever_is_dumped() {
        let mut text = String::new();
        for i in 0..1000 {
            text += &format!("1.0: if{i}(i) len=4:\n00 01 02 03 04 05\n06 07\n");
        }
        text += &"00 ".repeat(100_000);
        let (mut format, mut tally, mut most) = (NetScreen::default(), Tally::default(), 0);
        let mut sink = |frames: &[Frame<'_>]| most = most.max(frames[0].data.len());
        let walked = format.walk(text.as_bytes(), &mut tally, &mut sink);
        format.finish(&text.as_bytes()[walked.used..], &mut tally, &mut sink);
        assert_eq!((tally.frames, most, format.interfaces.len()), (1000, 4, MAX_INTERFACES));
    }
}
