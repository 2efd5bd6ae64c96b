//! Fragments of IPv4 and IPv6 datagrams in any order, overlapping, cut and left waiting: seven bytes say what one is.

#![no_main]

use hbsniff::decode::Decoder;
use hbsniff::packet::{Decoded, Frame, LinkType, SECOND, Time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = Decoder::default();
    let mut time = Time(0);
    for (number, &[flags, id, o0, o1, len, cut, fill]) in (1..).zip(bytes.as_chunks::<7>().0) {
        let (v6, more, protocol) = (flags & 1 != 0, flags & 2 != 0, if flags & 4 == 0 { 6 } else { flags });
        // Most offsets are small multiples of the usual lengths, so that datagrams are completed at all.
        let offset = u16::from_be_bytes([o0, o1]) & if flags & 8 == 0 { 0x000f } else { 0x1fff };
        let payload = vec![fill; usize::from(len) * if flags & 16 == 0 { 1 } else { 256 }];
        time = time.plus(i64::from(flags >> 5) * SECOND);
        let mut packet;
        if v6 {
            packet = vec![0x60, 0, 0, 0];
            packet.extend((payload.len() as u16).wrapping_add(8).to_be_bytes());
            packet.extend([44, 64]);
            packet.extend([0xfd; 31]);
            packet.push(id & 1);
            packet.extend([protocol, 0]);
            packet.extend((offset << 3 | u16::from(more)).to_be_bytes());
            packet.extend([0, 0, 0, id]);
        } else {
            packet = vec![0x45, 0];
            packet.extend((payload.len() as u16).wrapping_add(20).to_be_bytes());
            packet.extend([0, id]);
            packet.extend((offset | u16::from(more) << 13).to_be_bytes());
            packet.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, id & 1]);
        }
        packet.extend(payload);
        let wire_len = packet.len() as u32;
        packet.truncate(packet.len().saturating_sub(usize::from(cut)));
        let frame = Frame { time, number, link: LinkType(101), interface: 0, wire_len, data: &packet };
        if let Decoded::Segment(segment) = decoder.decode(&frame) {
            assert!(segment.payload.len() <= segment.payload_len as usize);
        }
    }
});
