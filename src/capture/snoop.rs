//! The format of Solaris' snoop (RFC 1761; more link types in RFC 3827): a file header, then records, all big-endian.

use super::format::{BELIEVED_RECORD, Format, Found, Next, Tally, Walked, chain, places};
use super::pcap::LONGEST_RECORD;
use crate::packet::{Frame, LinkType, SECOND, Time};

/// Length of the file header.
pub(super) const FILE_HEADER: usize = 16;
const RECORD_HEADER: usize = 24;
const MAGIC: &[u8] = b"snoop\0\0\0";
const MICROSECOND: i64 = 1000;

/// Whether a file begins as this format does.
pub(super) fn is_snoop(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// Reads the records of one file.
pub(super) struct Snoop {
    link: LinkType,
    /// Packets that the writer lost, as the last record says.
    dropped: Option<u32>,
}

/// A record's header.
struct Record {
    wire_len: u32,
    captured: usize,
    /// The record's length with header and padding.
    len: usize,
    dropped: u32,
    time: Time,
    micros: u32,
}

impl Record {
    fn new(data: &[u8]) -> Option<Record> {
        let head = data.first_chunk::<RECORD_HEADER>()?;
        let field = |i: usize| u32::from_be_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
        let micros = field(20);
        Some(Record {
            wire_len: field(0),
            captured: field(4) as usize,
            len: field(8) as usize,
            dropped: field(12),
            time: Time(i64::from(field(16)) * SECOND + i64::from(micros) * MICROSECOND),
            micros,
        })
    }

    /// Whether packet and header fit the record, and that is not absurdly long.
    fn fits(&self) -> bool {
        self.len <= LONGEST_RECORD as usize && self.captured.saturating_add(RECORD_HEADER) <= self.len
    }

    /// Length and time, if it is as snoop writes them: much stricter than what is read when all is well.
    fn believable(&self) -> Option<(usize, Time)> {
        let believed = self.fits()
            && (1..=BELIEVED_RECORD).contains(&self.captured)
            && self.wire_len as usize >= self.captured
            && self.wire_len <= LONGEST_RECORD
            // Padding rounds up to a multiple of 4.
            && self.len - RECORD_HEADER - self.captured < 4
            && i64::from(self.micros) * MICROSECOND < SECOND;
        believed.then_some((self.len, self.time))
    }
}

impl Snoop {
    /// Reads the file header, [`FILE_HEADER`] bytes for which [`is_snoop`] holds.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn new(header: &[u8]) -> Result<Self, String> {
        let field = |i: usize| header.get(i..i + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
        let (version, datalink) = (field(8), field(12));
        if version != 2 {
            return Err(format!(
                "snoop version {version} is unknown, only 2 is; try to convert it with `editcap -F pcapng IN OUT`"
            ));
        }
        Ok(Snoop { link: link_type(datalink)?, dropped: None })
    }

    /// Its only link type.
    pub(super) fn link_type(&self) -> LinkType {
        self.link
    }
}

/// The registry's number for a datalink type of RFC 1761 §"Datalink Type" or RFC 3827.
fn link_type(datalink: u32) -> Result<LinkType, String> {
    Ok(LinkType(match datalink {
        // IEEE 802.3, Ethernet, 100VG-AnyLAN in Ethernet frames, CSMA/CD, 100BaseT.
        0 | 4 | 22 | 24 | 25 => 1,
        // IEEE 802.5 token ring and 100VG-AnyLAN in its frames.
        2 | 23 => 6,
        8 => 10,
        // Fibre Channel (RFC 2625).
        16 => 122,
        _ => return Err(format!("snoop's datalink type {datalink} is not known")),
    }))
}

impl Format for Snoop {
    fn walk(&mut self, data: &[u8], tally: &mut Tally, sink: &mut dyn FnMut(&[Frame<'_>])) -> Walked {
        let (mut used, mut found) = (0, Found::new(sink));
        // Where a search for a good record begins if the next one is damaged.
        let mut search = 1;
        let next = loop {
            let rest = &data[used..];
            let Some(record) = Record::new(rest) else { break Next::Fill(RECORD_HEADER) };
            if !record.fits() {
                let (len, captured) = (record.len, record.captured);
                let what = format!("a record of {len} bytes claims to hold a packet of {captured}");
                break Next::Damaged { what, search };
            }
            let Some(whole) = rest.get(..record.len) else { break Next::Fill(record.len) };
            let packet = &whole[RECORD_HEADER..RECORD_HEADER + record.captured];
            self.dropped = Some(record.dropped);
            tally.frames += 1;
            tally.last = record.time;
            found.add(Frame {
                time: record.time,
                number: tally.frames,
                link: self.link,
                interface: 0,
                wire_len: record.wire_len.max(packet.len() as u32),
                data: packet,
            });
            search = used + RECORD_HEADER;
            used += record.len;
        };
        found.give();
        Walked { used, next }
    }

    fn resume(&self, data: &[u8], ended: bool, last: Option<Time>) -> Option<usize> {
        chain(data, places(data, ended), ended, last, |data| Record::new(data)?.believable())
    }

    fn dropped(&self) -> Option<u64> {
        self.dropped.map(u64::from)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A file by RFC 1761: every packet was 4 bytes longer on the wire, and one more was lost before each.
    pub(crate) fn file(datalink: u32, packets: &[(u32, u32, &[u8])]) -> Vec<u8> {
        let mut out = b"snoop\0\0\0\0\0\0\x02".to_vec();
        out.extend(datalink.to_be_bytes());
        for (i, (seconds, micros, packet)) in packets.iter().enumerate() {
            let padded = packet.len().next_multiple_of(4);
            let len = packet.len() as u32;
            for field in [len + 4, len, 24 + padded as u32, i as u32 + 1, *seconds, *micros] {
                out.extend(field.to_be_bytes());
            }
            out.extend(*packet);
            out.resize(out.len() + padded - packet.len(), 0);
        }
        out
    }

    type Seen = Vec<(i64, u64, u16, u32, Vec<u8>)>;

    fn all(bytes: &[u8]) -> (Seen, Snoop, Walked) {
        let mut snoop = Snoop::new(&bytes[..FILE_HEADER]).unwrap();
        let mut seen = Seen::new();
        let walked = snoop.walk(&bytes[FILE_HEADER..], &mut Tally::default(), &mut |frames| {
            seen.extend(frames.iter().map(|f| (f.time.0, f.number, f.link.0, f.wire_len, f.data.to_vec())));
        });
        (seen, snoop, walked)
    }

    #[test]
    fn records_with_padding_and_drops() {
        let bytes = file(4, &[(1_000_000_000, 5, b"abcde"), (4_294_967_295, 999_999, b"")]);
        let (seen, snoop, walked) = all(&bytes);
        assert_eq!(
            seen,
            [(1_000_000_000_000_005_000, 1, 1, 9, b"abcde".to_vec()), (4_294_967_295_999_999_000, 2, 1, 4, vec![]),]
        );
        assert_eq!(snoop.dropped(), Some(2));
        assert_eq!(walked, Walked { used: bytes.len() - FILE_HEADER, next: Next::Fill(RECORD_HEADER) });
    }

    #[test]
    fn other_versions_and_datalinks_are_named() {
        assert_eq!(Snoop::new(&file(8, &[])).unwrap().link_type(), LinkType(10));
        assert!(Snoop::new(&file(18, &[])).err().unwrap().contains("datalink type 18"));
        let mut bytes = file(4, &[]);
        bytes[11] = 5;
        assert!(Snoop::new(&bytes).err().unwrap().contains("version 5"));
    }

    #[test]
    fn a_packet_longer_than_its_record_is_damage() {
        let mut bytes = file(4, &[(1, 0, b"good"), (2, 0, b"bad")]);
        bytes[FILE_HEADER + 28 + 7] = 5;
        let (seen, _, walked) = all(&bytes);
        assert_eq!(seen.len(), 1);
        assert!(matches!(walked, Walked { used: 28, next: Next::Damaged { search: 24, .. } }));
    }
}
