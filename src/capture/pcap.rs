//! The classic capture format of libpcap (draft-ietf-opsawg-pcap): a file header, then records.
//!
//! The records are walked by hand: this loop runs for every packet and does nothing but read three numbers.

use pcap_parser::{PcapHeader, parse_pcap_header};

use super::format::{BELIEVED_RECORD, Format, Found, Next, Tally, Walked, chain, near, places};
use crate::packet::{Frame, LinkType, SECOND, Time};

/// Length of the file header.
pub(super) const FILE_HEADER: usize = 24;
/// The longest record that libpcap writes for any common link type (its MAXIMUM_SNAPLEN): a longer one means damage,
/// unless the file's own snaplen allows it.
const USUAL_RECORD: u32 = BELIEVED_RECORD as u32;
/// The longest record that is read at all.
pub(super) const LONGEST_RECORD: u32 = 16 * 1024 * 1024;
/// Unusual records of a file that are looked at closely; with more of them they are what is usual there.
const MAX_DOUBTS: u32 = 1000;

/// Whether a file begins with one of the format's magic numbers.
pub(super) fn is_pcap(head: &[u8]) -> bool {
    matches!(
        head,
        [0xd4, 0xc3, 0xb2, 0xa1, ..]
            | [0xa1, 0xb2, 0xc3, 0xd4, ..]
            | [0x4d, 0x3c, 0xb2, 0xa1, ..]
            | [0xa1, 0xb2, 0x3c, 0x4d, ..]
            | [0x34, 0xcd, 0xb2, 0xa1, ..]
            | [0xa1, 0xb2, 0xcd, 0x34, ..]
    )
}

/// Reads the records of one file.
pub(super) struct Pcap {
    big_endian: bool,
    /// Nanoseconds in a unit of a record's fraction of a second.
    unit: i64,
    /// 16, or 24 in the format modified by Alexey Kuznetzov, which adds interface, protocol and packet type.
    record_header: usize,
    link: LinkType,
    /// The longest packet that is read.
    longest: u32,
    /// The longest packet of a usual record.
    believed: u32,
    /// Unusual records looked at closely so far.
    doubts: u32,
}

/// What a record begins with.
struct Head {
    seconds: i64,
    /// Nanoseconds.
    fraction: i64,
    /// Bytes that were captured.
    captured: u32,
    wire_len: u32,
}

impl Head {
    #[inline(always)]
    fn time(&self) -> Time {
        Time(self.seconds * SECOND + self.fraction)
    }
}

impl Pcap {
    /// Reads the file header, [`FILE_HEADER`] bytes for which [`is_pcap`] holds.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn new(header: &[u8]) -> Result<Self, String> {
        let mut header = header.to_vec();
        // The modified format in big-endian is unknown to the parser; its file header differs in the magic number only.
        let modified_big = header.starts_with(&[0xa1, 0xb2, 0xcd, 0x34]);
        if modified_big {
            header[2..4].copy_from_slice(&[0xc3, 0xd4]);
        }
        let (_, header): (_, PcapHeader) =
            parse_pcap_header(&header).map_err(|_| "its file header is damaged".to_owned())?;
        if header.version_major != 2 {
            let (major, minor) = (header.version_major, header.version_minor);
            return Err(format!("pcap version {major}.{minor} is unknown, only 2.x is"));
        }
        Ok(Pcap {
            big_endian: header.is_bigendian(),
            unit: if header.is_nanosecond_precision() { 1 } else { 1000 },
            record_header: if header.is_modified_format() || modified_big { 24 } else { 16 },
            // The upper half holds flags and the length of the frame check sequence.
            link: LinkType(header.network.0 as u16),
            longest: header.snaplen.clamp(USUAL_RECORD, LONGEST_RECORD),
            believed: if header.snaplen == 0 { USUAL_RECORD } else { header.snaplen.min(USUAL_RECORD) },
            doubts: 0,
        })
    }

    /// Its only link type.
    pub(super) fn link_type(&self) -> LinkType {
        self.link
    }

    /// What a record begins with.
    #[inline(always)]
    fn head(&self, bytes: &[u8; 16]) -> Head {
        let number = |i: usize| u32::from_le_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
        let mut numbers = [number(0), number(4), number(8), number(12)];
        if self.big_endian {
            numbers = numbers.map(u32::swap_bytes);
        }
        let [seconds, fraction, captured, wire_len] = numbers;
        Head { seconds: i64::from(seconds), fraction: i64::from(fraction) * self.unit, captured, wire_len }
    }

    /// Whether a usual record begins so; much stricter than what is read when all is well.
    #[inline]
    fn believes(&self, head: &Head) -> bool {
        let Head { fraction, captured, wire_len, .. } = *head;
        (1..=self.believed).contains(&captured) && (captured..=self.longest).contains(&wire_len) && fraction < SECOND
    }

    /// Length and time of a record that begins as a usual one does.
    #[inline]
    fn believable(&self, data: &[u8]) -> Option<(usize, Time)> {
        let head = self.head(data.first_chunk()?);
        self.believes(&head).then(|| (self.record_header + head.captured as usize, head.time()))
    }

    /// Whether good records follow each other from inside a doubtful one at `at`, or from inside the one before, which
    /// led to it: then one of the two lies about its length.
    #[cold]
    fn contradicted(&mut self, data: &[u8], from: usize, at: usize, end: usize) -> bool {
        self.doubts += 1;
        self.doubts <= MAX_DOUBTS
            && data.get(from..).is_some_and(|data| {
                let found = chain(data, end - from, false, None, |data| self.believable(data));
                found.is_some_and(|n| from + n != at)
            })
    }
}

impl Format for Pcap {
    fn walk(&mut self, data: &[u8], tally: &mut Tally, sink: &mut dyn FnMut(&[Frame<'_>])) -> Walked {
        let (mut used, mut found) = (0, Found::new(sink));
        // Where a search for a good record begins if the next one is damaged.
        let mut search = 1;
        let next = loop {
            let rest = &data[used..];
            let Some(bytes) = rest.first_chunk() else { break Next::Fill(self.record_header) };
            let head = self.head(bytes);
            let Head { captured, wire_len, .. } = head;
            if captured > self.longest {
                break Next::Damaged { what: format!("a record claims {captured} bytes"), search };
            }
            let end = self.record_header + captured as usize;
            let time = head.time();
            let usual = self.believes(&head) && (used == 0 || near(tally.last, time));
            if !usual && self.contradicted(data, search, used, used + end) {
                break Next::Damaged { what: "a record's header is contradicted by what follows".to_owned(), search };
            }
            let Some(packet) = rest.get(self.record_header..end) else { break Next::Fill(end) };
            // A file whose end was allocated but never written holds zeros, which would be packets of no length.
            if captured == 0 && *bytes == [0; 16] {
                break Next::Damaged { what: "a record's header is all zeros".to_owned(), search };
            }
            tally.frames += 1;
            tally.last = time;
            found.add(Frame {
                time,
                number: tally.frames,
                link: self.link,
                interface: 0,
                wire_len: wire_len.max(captured),
                data: packet,
            });
            search = used + self.record_header;
            used += end;
        };
        found.give();
        Walked { used, next }
    }

    fn resume(&self, data: &[u8], ended: bool, last: Option<Time>) -> Option<usize> {
        chain(data, places(data, ended), ended, last, |data| self.believable(data))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A file made by the draft's figures 1 and 2; every packet was 4 bytes longer on the wire.
    pub(crate) fn file(big: bool, nanos: bool, modified: bool, snaplen: u32, packets: &[(u32, u32, &[u8])]) -> Vec<u8> {
        let u32 = |v: u32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        let u16 = |v: u16| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        let magic = if modified {
            0xa1b2_cd34
        } else if nanos {
            0xa1b2_3c4d
        } else {
            0xa1b2_c3d4
        };
        let mut out = u32(magic).to_vec();
        out.extend(u16(2));
        out.extend(u16(4));
        out.extend(u32(0));
        out.extend(u32(0));
        out.extend(u32(snaplen));
        out.extend(u32(1));
        for (sec, frac, data) in packets {
            for field in [*sec, *frac, data.len() as u32, data.len() as u32 + 4] {
                out.extend(u32(field));
            }
            if modified {
                out.extend([0xee; 8]);
            }
            out.extend(*data);
        }
        out
    }

    pub(crate) type Seen = Vec<(i64, u64, u32, u16, u32, Vec<u8>)>;

    fn all(bytes: &[u8]) -> (Seen, Walked) {
        let mut pcap = Pcap::new(&bytes[..FILE_HEADER]).unwrap();
        let mut seen = Seen::new();
        let walked = pcap.walk(&bytes[FILE_HEADER..], &mut Tally::default(), &mut |f| {
            let told = |f: &Frame<'_>| (f.time.0, f.number, f.interface, f.link.0, f.wire_len, f.data.to_vec());
            seen.extend(f.iter().map(told));
        });
        (seen, walked)
    }

    #[test]
    fn both_byte_orders_and_precisions_and_the_modified_format() {
        let packets: &[(u32, u32, &[u8])] = &[(1_700_000_000, 123_456, b"abc"), (4_294_967_295, 999_999, b"")];
        for big in [false, true] {
            for (nanos, modified) in [(false, false), (true, false), (false, true)] {
                let bytes = file(big, nanos, modified, 65535, packets);
                assert!(is_pcap(&bytes));
                let (seen, walked) = all(&bytes);
                let unit = if nanos { 1 } else { 1000 };
                assert_eq!(
                    seen,
                    [
                        (1_700_000_000_000_000_000 + 123_456 * unit, 1, 0, 1, 7, b"abc".to_vec()),
                        (4_294_967_295_000_000_000 + 999_999 * unit, 2, 0, 1, 4, vec![]),
                    ]
                );
                assert_eq!(walked.used, bytes.len() - FILE_HEADER);
            }
        }
    }

    #[test]
    fn a_record_longer_than_the_snaplen_is_read_and_an_absurd_one_is_damage() {
        let long = vec![7; 3000];
        let (seen, _) = all(&file(false, false, false, 96, &[(1, 0, &long)]));
        assert_eq!(seen[0].5, long);

        let mut bytes = file(true, false, false, 96, &[(1, 0, b"ok"), (2, 0, b"bad")]);
        bytes[FILE_HEADER + 18 + 8] = 0x7f;
        let (seen, walked) = all(&bytes);
        assert_eq!(seen.len(), 1);
        assert_eq!(walked.used, 18);
        assert!(matches!(walked.next, Next::Damaged { search: 16, .. }));
    }

    #[test]
    fn flags_beside_the_link_type_are_no_part_of_it() {
        let mut bytes = file(true, false, false, 96, &[]);
        bytes[20] = 0x24; // FCS length present: 4 bytes
        assert_eq!(Pcap::new(&bytes).unwrap().link_type(), LinkType(1));
    }
}
