//! The pcapng format (draft-ietf-opsawg-pcapng): sections of blocks, each section with its own byte order and interfaces.

use pcap_parser::pcapng::{
    NameRecordType, OptionCode, PcapNGOption, parse_interfacedescriptionblock_be, parse_interfacedescriptionblock_le,
    parse_interfacestatisticsblock_be, parse_interfacestatisticsblock_le, parse_nameresolutionblock_be,
    parse_nameresolutionblock_le,
};

use super::format::{BELIEVED_RECORD, Format, Found, Next, Tally, Walked, places};
use super::pcap::LONGEST_RECORD;
use crate::packet::{Frame, LinkType, Nanos, SECOND, Time};

/// Type of a section header block; reads the same in both byte orders.
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
/// The obsolete form of the enhanced packet block.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const NAMES: u32 = 4;
/// The systemd journal's entries, decryption secrets and custom blocks: of no interest.
const OTHERS: [u32; 4] = [9, 10, 0x0bad, 0x4000_0bad];

/// Interfaces of a section that are remembered; packets of later ones are skipped and counted.
const MAX_INTERFACES: usize = 65_536;

/// Names of hosts that are remembered.
const MAX_NAMES: usize = 65_536;
/// Bytes of one that are: DNS knows no longer ones (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 255;

/// Microseconds, if_tsresol's value where the option is missing.
const DEFAULT_RESOLUTION: u8 = 6;

/// Block type, length, byte-order magic: what is needed before a section's byte order is known.
pub(super) const SECTION_HEAD: usize = 12;

/// Whether a file begins as this format does.
pub(super) fn is_pcapng(head: &[u8]) -> bool {
    head.starts_with(&SECTION.to_be_bytes())
}

/// How an interface's time stamps become nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// Ticks of 10⁻⁹ s times this, or longer.
    Times(u64),
    /// 10⁻⁹ s divided by this.
    Parts(u128),
    /// 2 to the minus this, in seconds.
    Binary(u32),
}

impl Unit {
    /// From the option if_tsresol (§4.2): a power of 10, or with the highest bit set a power of 2, both negated.
    fn new(resolution: u8) -> Unit {
        let power = u32::from(resolution & 0x7f);
        match resolution {
            0x80.. => Unit::Binary(power),
            0..=9 => Unit::Times(10u64.pow(9 - power)),
            _ => Unit::Parts(10u128.checked_pow(power - 9).unwrap_or(u128::MAX)),
        }
    }

    fn nanos(self, ticks: u64) -> Nanos {
        let nanos = match self {
            Unit::Times(n) => u128::from(ticks) * u128::from(n),
            Unit::Parts(n) => u128::from(ticks) / n,
            Unit::Binary(n) => (u128::from(ticks) * SECOND as u128) >> n,
        };
        Nanos::try_from(nanos).unwrap_or(Nanos::MAX)
    }
}

struct Interface {
    link: LinkType,
    snaplen: u32,
    unit: Unit,
    /// if_tsoffset, to be added to every time stamp.
    offset: Nanos,
    /// Packets lost by the interface and the system, as the section's latest statistics say.
    dropped: Option<u64>,
    /// Whether a packet of its has been told.
    used: bool,
}

/// Reads the blocks of one file.
#[derive(Default)]
pub(super) struct Pcapng {
    big_endian: bool,
    interfaces: Vec<Interface>,
    /// Whether the first section header was read.
    begun: bool,
    /// Packets lost in the sections that have ended.
    dropped_before: Option<u64>,
    /// Packets of interfaces that no block described.
    homeless: u64,
    /// Packet blocks that are shorter than the packet they claim to hold.
    short: u64,
    /// Packets without a time of their own.
    timeless: u64,
}

/// The number at a place; 0 where there is none.
#[inline(always)]
fn u32_of(bytes: &[u8], at: usize, big_endian: bool) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).unwrap_or_default();
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

/// Whether a section is big-endian, by the magic number in its header.
fn byte_order(header: &[u8]) -> Option<bool> {
    match header.get(8..12)? {
        [0x1a, 0x2b, 0x3c, 0x4d] => Some(true),
        [0x4d, 0x3c, 0x2b, 0x1a] => Some(false),
        _ => None,
    }
}

/// The shortest block of a type: its fixed fields and both lengths.
fn least(kind: u32) -> u32 {
    match kind {
        SECTION => 28,
        INTERFACE => 20,
        PACKET | ENHANCED_PACKET => 32,
        SIMPLE_PACKET => 16,
        STATISTICS => 24,
        _ => 12,
    }
}

impl Pcapng {
    #[inline(always)]
    fn u32(&self, bytes: &[u8], at: usize) -> u32 {
        u32_of(bytes, at, self.big_endian)
    }

    fn u64_option(&self, option: &PcapNGOption<'_>) -> Option<u64> {
        let bytes = option.as_bytes().ok()?.try_into().ok()?;
        Some(if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    /// Whether a whole block of a type with a name begins here.
    fn believable(&self, data: &[u8]) -> bool {
        if data.len() < SECTION_HEAD {
            return false;
        }
        let kind = self.u32(data, 0);
        let big_endian = match kind {
            SECTION => byte_order(data),
            INTERFACE..=ENHANCED_PACKET => self.begun.then_some(self.big_endian),
            _ if OTHERS.contains(&kind) => self.begun.then_some(self.big_endian),
            _ => None,
        };
        let Some(big_endian) = big_endian else { return false };
        let len = u32_of(data, 4, big_endian) as usize;
        len >= least(kind) as usize
            && len.is_multiple_of(4)
            && len <= BELIEVED_RECORD + 1024
            && data.get(..len).is_some_and(|block| u32_of(block, len - 4, big_endian) as usize == len)
    }

    fn section(&mut self, big_endian: bool) {
        self.dropped_before = self.dropped();
        self.interfaces.clear();
        self.begun = true;
        self.big_endian = big_endian;
    }

    fn interface(&mut self, block: &[u8]) {
        if self.interfaces.len() >= MAX_INTERFACES {
            return;
        }
        let parse =
            if self.big_endian { parse_interfacedescriptionblock_be } else { parse_interfacedescriptionblock_le };
        let link = if self.big_endian { [block[8], block[9]] } else { [block[9], block[8]] };
        let mut interface = Interface {
            link: LinkType(u16::from_be_bytes(link)),
            snaplen: self.u32(block, 12),
            unit: Unit::new(DEFAULT_RESOLUTION),
            offset: 0,
            dropped: None,
            used: false,
        };
        // Options that cannot be read are no reason to lose the interface's packets.
        if let Ok((_, idb)) = parse(block) {
            // The parser reads if_tsoffset as little-endian whatever the section says.
            let offset = idb.options.iter().find(|o| o.code == OptionCode::IfTsoffset);
            let seconds = offset.and_then(|o| self.u64_option(o)).unwrap_or(0) as i64;
            interface.unit = Unit::new(idb.if_tsresol);
            interface.offset = seconds.saturating_mul(SECOND);
        }
        self.interfaces.push(interface);
    }

    fn statistics(&mut self, block: &[u8]) {
        let parse = if self.big_endian { parse_interfacestatisticsblock_be } else { parse_interfacestatisticsblock_le };
        // Statistics that cannot be read say nothing of the packets around them.
        let Ok((_, isb)) = parse(block) else { return };
        let lost = isb.options.iter().filter(|o| matches!(o.code, OptionCode::IsbIfDrop | OptionCode::IsbOsDrop));
        let lost = lost.filter_map(|o| self.u64_option(o)).reduce(u64::saturating_add);
        if let (Some(lost), Some(interface)) = (lost, self.interfaces.get_mut(isb.if_id as usize)) {
            interface.dropped = Some(lost);
        }
    }

    /// Takes the names of hosts (§4.5): an address, then one name or more, each ended by a zero. The first one counts.
    fn names(&self, block: &[u8], tally: &mut Tally) {
        let parse = if self.big_endian { parse_nameresolutionblock_be } else { parse_nameresolutionblock_le };
        // A block that cannot be read names nobody.
        let Ok((_, nrb)) = parse(block) else { return };
        for record in &nrb.nr {
            let named = match record.record_type {
                NameRecordType::Ipv4 => record.record_value.split_first_chunk::<4>().map(|(ip, n)| ((*ip).into(), n)),
                NameRecordType::Ipv6 => record.record_value.split_first_chunk::<16>().map(|(ip, n)| ((*ip).into(), n)),
                _ => None,
            };
            let named = named.map(|(ip, names)| (ip, names.split(|b| *b == 0).next().unwrap_or_default()));
            if let Some((ip, name @ [_, ..])) = named
                && tally.names.len() < MAX_NAMES
            {
                let name = &name[..name.len().min(LONGEST_NAME)];
                tally.names.push((ip, String::from_utf8_lossy(name).into_owned()));
            }
        }
    }

    /// Finds the packet of a whole block.
    #[inline]
    fn packet<'data>(&mut self, kind: u32, block: &'data [u8], tally: &mut Tally, found: &mut Found<'data, '_>) {
        let simple = kind == SIMPLE_PACKET;
        let (data_at, id) = match kind {
            SIMPLE_PACKET => (12, 0),
            ENHANCED_PACKET => (28, self.u32(block, 8)),
            // 16 bits of interface, then 16 of a drop counter.
            _ if self.big_endian => (28, self.u32(block, 8) >> 16),
            _ => (28, self.u32(block, 8) & 0xffff),
        };
        let (captured, wire_len) =
            if simple { (u32::MAX, self.u32(block, 8)) } else { (self.u32(block, 20), self.u32(block, 24)) };
        let ticks = u64::from(self.u32(block, 12)) << 32 | u64::from(self.u32(block, 16));
        let Some(interface) = self.interfaces.get_mut(id as usize) else {
            self.homeless += 1;
            return;
        };
        let room = &block[data_at..block.len() - 4];
        let captured = if simple {
            let snaplen = if interface.snaplen == 0 { u32::MAX } else { interface.snaplen };
            wire_len.min(snaplen).min(room.len() as u32)
        } else {
            captured
        };
        let Some(data) = room.get(..captured as usize) else {
            self.short += 1;
            return;
        };
        let time = if simple {
            self.timeless += 1;
            tally.last
        } else {
            Time(interface.unit.nanos(ticks)).plus(interface.offset)
        };
        if !interface.used {
            interface.used = true;
            tally.link_type(interface.link);
        }
        tally.frames += 1;
        tally.last = time;
        let link = interface.link;
        found.add(Frame { time, number: tally.frames, link, interface: id, wire_len: wire_len.max(captured), data });
    }
}

impl Format for Pcapng {
    fn walk(&mut self, data: &[u8], tally: &mut Tally, sink: &mut dyn FnMut(&[Frame<'_>])) -> Walked {
        let (mut used, mut found) = (0, Found::new(sink));
        let next = loop {
            let rest = &data[used..];
            let damaged = |what: String| Next::Damaged { what, search: used + 1 };
            if rest.len() < SECTION_HEAD {
                break Next::Fill(SECTION_HEAD);
            }
            let kind = self.u32(rest, 0);
            let section = (kind == SECTION).then(|| byte_order(rest));
            if section == Some(None) {
                break damaged("a section header has no byte-order magic".to_owned());
            }
            let big_endian = section.flatten().unwrap_or(self.big_endian);
            if section.is_none() && !self.begun {
                break damaged("it does not begin with a section header".to_owned());
            }
            let len = u32_of(rest, 4, big_endian);
            if len < least(kind) || !len.is_multiple_of(4) || len > LONGEST_RECORD {
                break damaged(format!("a block of type {kind:#x} claims {len} bytes"));
            }
            let Some(block) = rest.get(..len as usize) else { break Next::Fill(len as usize) };
            if u32_of(block, block.len() - 4, big_endian) != len {
                break damaged("the two lengths of a block differ".to_owned());
            }
            match kind {
                SECTION => self.section(big_endian),
                INTERFACE => self.interface(block),
                STATISTICS => self.statistics(block),
                NAMES => self.names(block, tally),
                PACKET | SIMPLE_PACKET | ENHANCED_PACKET => self.packet(kind, block, tally, &mut found),
                _ => {}
            }
            used += block.len();
        };
        found.give();
        Walked { used, next }
    }

    fn resume(&self, data: &[u8], ended: bool, _last: Option<Time>) -> Option<usize> {
        (0..places(data, ended)).find(|&at| self.believable(&data[at..]))
    }

    fn dropped(&self) -> Option<u64> {
        let now = self.interfaces.iter().filter_map(|i| i.dropped);
        now.chain(self.dropped_before).reduce(u64::saturating_add)
    }

    fn remarks(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut remark = |n: u64, what: &str| {
            if n > 0 {
                out.push(format!("{n} {}{what}", if n == 1 { "packet" } else { "packets" }));
            }
        };
        remark(self.homeless, " of undescribed interfaces skipped");
        remark(self.short, " skipped for being longer than their block");
        remark(self.timeless, " without a time (simple packet blocks) placed at the time of the one before");
        out
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::net::IpAddr;

    /// Builds a file by the draft's figures.
    pub(crate) struct Builder {
        pub(crate) bytes: Vec<u8>,
        big: bool,
    }

    impl Builder {
        pub(crate) fn new(big: bool) -> Self {
            let mut b = Builder { bytes: Vec::new(), big };
            b.section(big);
            b
        }

        fn u16(&self, v: u16) -> [u8; 2] {
            if self.big { v.to_be_bytes() } else { v.to_le_bytes() }
        }

        fn u32(&self, v: u32) -> [u8; 4] {
            if self.big { v.to_be_bytes() } else { v.to_le_bytes() }
        }

        fn u64(&self, v: u64) -> [u8; 8] {
            if self.big { v.to_be_bytes() } else { v.to_le_bytes() }
        }

        pub(crate) fn block(&mut self, kind: u32, body: &[u8]) {
            let mut body = body.to_vec();
            body.resize(body.len().next_multiple_of(4), 0);
            let len = self.u32(body.len() as u32 + 12);
            self.bytes.extend(self.u32(kind));
            self.bytes.extend(len);
            self.bytes.extend(body);
            self.bytes.extend(len);
        }

        pub(crate) fn section(&mut self, big: bool) {
            self.big = big;
            let mut body = self.u32(0x1a2b_3c4d).to_vec();
            body.extend(self.u16(1));
            body.extend(self.u16(0));
            body.extend([0xff; 8]);
            self.block(SECTION, &body);
        }

        fn option(&self, code: u16, value: &[u8]) -> Vec<u8> {
            let mut out = self.u16(code).to_vec();
            out.extend(self.u16(value.len() as u16));
            out.extend(value);
            out.resize(out.len().next_multiple_of(4), 0);
            out
        }

        pub(crate) fn interface(&mut self, link: u16, snaplen: u32, resolution: Option<u8>, offset: Option<i64>) {
            let mut body = self.u16(link).to_vec();
            body.extend([0, 0]);
            body.extend(self.u32(snaplen));
            body.extend(self.option(2, b"eth0"));
            if let Some(r) = resolution {
                body.extend(self.option(9, &[r]));
            }
            if let Some(o) = offset {
                body.extend(self.option(14, &self.u64(o as u64)));
            }
            body.extend([0, 0, 0, 0]);
            self.block(INTERFACE, &body);
        }

        fn times_and_lengths(&self, ticks: u64, data: &[u8]) -> Vec<u8> {
            let fields = [(ticks >> 32) as u32, ticks as u32, data.len() as u32, data.len() as u32 + 4];
            fields.iter().flat_map(|&v| self.u32(v)).collect()
        }

        pub(crate) fn enhanced(&mut self, interface: u32, ticks: u64, data: &[u8]) {
            let mut body = self.u32(interface).to_vec();
            body.extend(self.times_and_lengths(ticks, data));
            body.extend(data);
            body.resize(body.len().next_multiple_of(4), 0);
            body.extend(self.option(2, &self.u32(1))); // epb_flags: inbound
            body.extend([0, 0, 0, 0]);
            self.block(ENHANCED_PACKET, &body);
        }

        fn obsolete(&mut self, interface: u16, ticks: u64, data: &[u8]) {
            let mut body = self.u16(interface).to_vec();
            body.extend(self.u16(0xffff));
            body.extend(self.times_and_lengths(ticks, data));
            body.extend(data);
            self.block(PACKET, &body);
        }

        fn simple(&mut self, wire_len: u32, data: &[u8]) {
            let mut body = self.u32(wire_len).to_vec();
            body.extend(data);
            self.block(SIMPLE_PACKET, &body);
        }

        fn statistics(&mut self, interface: u32, code: u16, lost: u64) {
            let mut body = self.u32(interface).to_vec();
            body.extend([0; 8]);
            body.extend(self.option(code, &self.u64(lost)));
            self.block(STATISTICS, &body);
        }
    }

    #[test]
    fn names_are_those_of_the_blocks_and_few() {
        for big in [false, true] {
            let mut b = Builder::new(big);
            let record = |kind: u16, value: &[u8]| b.option(kind, value);
            let mut body = record(1, b"\x0a\0\0\x01db1\0db1.example\0");
            body.extend(record(2, b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01six\0"));
            body.extend(record(1, b"\x0a\0")); // cut short
            body.extend(record(1, &[&[10, 0, 0, 2][..], &[b'x'; 1000]].concat()));
            body.extend([0; 4]);
            b.block(NAMES, &body);
            let (_, _, tally, next) = all(&b.bytes);
            assert_eq!(next, Next::Fill(SECTION_HEAD));
            let long = "x".repeat(LONGEST_NAME);
            let names = [("10.0.0.1", "db1"), ("2001:db8::1", "six"), ("10.0.0.2", long.as_str())];
            let names = names.map(|(ip, name)| (ip.parse::<IpAddr>().unwrap(), name.to_owned()));
            assert_eq!(tally.names, names);
            for _ in 0..MAX_NAMES {
                b.block(NAMES, &body);
            }
            assert_eq!(all(&b.bytes).2.names.len(), MAX_NAMES);
        }
    }

    fn all(bytes: &[u8]) -> (crate::capture::pcap::tests::Seen, Pcapng, Tally, Next) {
        let (mut format, mut tally, mut seen) = (Pcapng::default(), Tally::default(), Vec::new());
        let walked = format.walk(bytes, &mut tally, &mut |frames| {
            seen.extend(
                frames.iter().map(|f| (f.time.0, f.number, f.interface, f.link.0, f.wire_len, f.data.to_vec())),
            );
        });
        (seen, format, tally, walked.next)
    }

    #[test]
    fn sections_of_both_byte_orders_with_their_own_interfaces() {
        let mut b = Builder::new(true);
        b.interface(1, 0, None, None);
        b.interface(101, 0, Some(9), None);
        b.enhanced(1, 5, b"raw");
        b.enhanced(0, 7, b"ether");
        b.section(false);
        b.interface(113, 0, Some(3), Some(-2));
        b.block(0x0bad, b"custom");
        b.obsolete(0, 4_000, b"cooked");
        let (seen, _, tally, next) = all(&b.bytes);
        assert_eq!(
            seen,
            [
                (5, 1, 1, 101, 7, b"raw".to_vec()),
                (7_000, 2, 0, 1, 9, b"ether".to_vec()),
                (2_000_000_000, 3, 0, 113, 10, b"cooked".to_vec()),
            ]
        );
        assert_eq!(tally.link_types, [LinkType(101), LinkType(1), LinkType(113)]);
        assert_eq!(next, Next::Fill(SECTION_HEAD));
    }

    #[test]
    fn every_resolution_and_offset_in_both_byte_orders() {
        // §4.2: 10^-n, or 2^-n with the highest bit; 1.5 s in units of each.
        for (resolution, ticks) in [
            (1, 15),
            (6, 1_500_000),
            (9, 1_500_000_000),
            (12, 1_500_000_000_000),
            (0x81, 3),
            (0x8a, 1536),
            (0xbf, 3 << 62),
        ] {
            for big in [false, true] {
                let mut b = Builder::new(big);
                b.interface(1, 0, Some(resolution), Some(1_600_000_000));
                b.enhanced(0, ticks, b"x");
                let (seen, ..) = all(&b.bytes);
                assert_eq!(seen[0].0, 1_600_000_001_500_000_000, "if_tsresol {resolution:#x}");
            }
        }
        assert_eq!(Unit::new(0).nanos(u64::MAX), i64::MAX);
        assert_eq!(Unit::new(127).nanos(u64::MAX), 0);
        assert_eq!(Unit::new(0xff).nanos(u64::MAX), 0);
    }

    #[test]
    fn simple_packets_take_the_snaplen_and_the_time_before() {
        let mut b = Builder::new(false);
        b.interface(1, 6, None, None);
        b.enhanced(0, 9, b"timed");
        b.simple(100, b"cut to");
        b.simple(2, b"ab");
        let (seen, format, ..) = all(&b.bytes);
        assert_eq!(seen[1], (9_000, 2, 0, 1, 100, b"cut to".to_vec()));
        assert_eq!(seen[2], (9_000, 3, 0, 1, 2, b"ab".to_vec()));
        assert_eq!(format.remarks().len(), 1);
    }

    #[test]
    fn what_the_writer_lost_is_summed_over_interfaces_and_sections() {
        let mut b = Builder::new(true);
        b.interface(1, 0, None, None);
        b.interface(1, 0, None, None);
        assert_eq!(all(&b.bytes).1.dropped(), None);
        b.statistics(0, 5, 3);
        b.statistics(0, 5, 4); // a later count replaces an earlier one
        b.statistics(1, 7, 10);
        b.section(false);
        b.interface(1, 0, None, None);
        b.statistics(0, 5, 100);
        assert_eq!(all(&b.bytes).1.dropped(), Some(114));
    }

    #[test]
    fn a_bad_packet_block_is_skipped_and_told() {
        let mut b = Builder::new(false);
        b.interface(1, 0, None, None);
        b.enhanced(7, 1, b"homeless");
        let at = b.bytes.len();
        b.enhanced(0, 1, b"short");
        b.bytes[at + 20] = 200;
        b.enhanced(0, 2, b"good");
        let (seen, format, ..) = all(&b.bytes);
        assert_eq!(seen, [(2_000, 1, 0, 1, 8, b"good".to_vec())]);
        assert_eq!(format.remarks().len(), 2);
    }

    #[test]
    fn damage_ends_the_walk() {
        let mut b = Builder::new(false);
        b.interface(1, 0, None, None);
        b.enhanced(0, 1, b"good");
        let at = b.bytes.len();
        b.enhanced(0, 1, b"next");
        for (offset, value) in [(4, 3), (4, 0), (7, 0x7f), (b.bytes.len() - at - 1, 9)] {
            let mut bytes = b.bytes.clone();
            bytes[at + offset] = value;
            let (seen, .., next) = all(&bytes);
            assert_eq!(seen.len(), 1);
            assert!(matches!(next, Next::Damaged { .. }), "{offset} {next:?}");
        }
        // Not even a block of no interest may claim to be the rest of the file.
        b.bytes.extend(0x0bad_u32.to_le_bytes());
        b.bytes.extend(0xffff_fffc_u32.to_le_bytes());
        b.bytes.extend([0; 4]);
        assert!(matches!(all(&b.bytes).3, Next::Damaged { .. }));
    }

    #[test]
    fn interfaces_are_bounded() {
        let mut b = Builder::new(false);
        for _ in 0..MAX_INTERFACES + 10 {
            b.interface(1, 0, None, None);
        }
        b.enhanced(MAX_INTERFACES as u32 + 1, 1, b"x");
        let (seen, format, ..) = all(&b.bytes);
        assert!(seen.is_empty());
        assert_eq!(format.interfaces.len(), MAX_INTERFACES);
        assert_eq!(format.homeless, 1);
    }
}
