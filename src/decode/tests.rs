//! Frames built by hand from the formats' documents around packets built by etherparse.

use std::fmt::Debug;

use etherparse::{IpNumber, Ipv4Header, PacketBuilder, TcpOptionElement};
use proptest::prelude::*;

use super::*;
use crate::packet::{Endpoint, Flags, IcmpError, LinkType, SECOND, Segment, Time};

const PAYLOAD: &[u8] = b"hello";
const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

fn frame(link: u16, data: &[u8]) -> Frame<'_> {
    Frame { time: Time(7), number: 3, link: LinkType(link), interface: 0, wire_len: data.len() as u32, data }
}

fn decode<'a>(decoder: &'a mut Decoder, link: u16, data: &'a [u8]) -> Decoded<'a> {
    decoder.decode(&frame(link, data))
}

fn skipped(link: u16, data: &[u8]) -> Option<Skip> {
    match decode(&mut Decoder::default(), link, data) {
        Decoded::Skipped(skip) => Some(skip),
        _ => None,
    }
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// 10.0.0.1:40000 to 10.0.0.2:443 with timestamps and five bytes.
fn inner4() -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 63)
        .tcp(40000, 443, 1000, 512)
        .ack(2000)
        .psh()
        .options(&[TcpOptionElement::Noop, TcpOptionElement::Noop, TcpOptionElement::Timestamp(11, 22)])
        .unwrap()
        .write(&mut bytes, PAYLOAD)
        .unwrap();
    bytes
}

/// The same over IPv6, from 2001:db8::1 to 2001:db8::2.
fn inner6() -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv6(host6(1), host6(2), 63)
        .tcp(40000, 443, 1000, 512)
        .ack(2000)
        .psh()
        .options(&[TcpOptionElement::Noop, TcpOptionElement::Noop, TcpOptionElement::Timestamp(11, 22)])
        .unwrap()
        .write(&mut bytes, PAYLOAD)
        .unwrap();
    bytes
}

fn host6(last: u8) -> [u8; 16] {
    [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

/// The TCP segment of [`inner4`] and [`inner6`], without IP.
fn tcp() -> Vec<u8> {
    inner4()[20..].to_vec()
}

/// `payload` in an IPv4 header with `options`, from 192.0.2.1 to 192.0.2.2.
fn outer4(protocol: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    ipv4([192, 0, 2, 1], [192, 0, 2, 2], protocol, options, payload)
}

fn ipv4(src: [u8; 4], dst: [u8; 4], protocol: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let len = (options.len() + payload.len()) as u16;
    let mut header = Ipv4Header::new(len, 63, IpNumber(protocol), src, dst).unwrap();
    header.options = options.try_into().unwrap();
    header.total_len = 20 + len;
    join(&[&header.to_bytes(), payload])
}

/// `payload` in an IPv6 header, from 2001:db8::1 to 2001:db8::2.
fn outer6(next: u8, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u16).to_be_bytes();
    join(&[&[0x60, 0, 0, 0, len[0], len[1], next, 63], &host6(1), &host6(2), payload])
}

/// `payload` in UDP from port 50000 in IPv4.
fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64).udp(50000, port).write(&mut bytes, payload).unwrap();
    bytes
}

fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    join(&[&MACS, &ether_type.to_be_bytes(), payload])
}

/// An NFLOG packet in either byte order (`put` is `to_le_bytes` or `to_be_bytes`).
fn nflog(put: fn(u16) -> [u8; 2], payload: &[u8]) -> Vec<u8> {
    let attribute = |kind: u16, value: &[u8]| {
        let mut bytes = join(&[&put(value.len() as u16 + 4), &put(kind), value]);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    join(&[
        &[2, 0, 0, 1],
        &attribute(1, &[8, 0, 1, 0]),
        &attribute(10, b"prefix\0"),
        &attribute(4, &[0, 0, 0, 2]),
        &attribute(9, payload),
    ])
}

/// A frame of every link type and tunnel around [`inner4`] or [`inner6`].
fn samples() -> Vec<(String, u16, Vec<u8>)> {
    let (v4, v6) = (inner4(), inner6());
    let e4 = ethernet(0x0800, &v4);
    let snap: &[u8] = &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    let snap4 = join(&[snap, &v4]);
    let pppoe = |len: usize| [0x11, 0, 0, 7, 0, len as u8];
    let wlan = |control: [u8; 2]| join(&[&control, &[0, 0], &[1; 6], &[2; 6], &[3; 6], &[0x10, 0]]);
    let mut samples: Vec<(String, u16, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, link: u16, parts: &[&[u8]]| samples.push((name.to_owned(), link, join(parts)));

    add("Ethernet", 1, &[&e4]);
    add("Ethernet, IPv6", 1, &[&ethernet(0x86dd, &v6)]);
    add("802.1Q", 1, &[&ethernet(0x8100, &[0, 5, 8, 0]), &v4]);
    add("802.1ad", 1, &[&ethernet(0x88a8, &[0, 9, 0x81, 0, 0, 5, 0x86, 0xdd]), &v6]);
    add("0x9100", 1, &[&ethernet(0x9100, &[0, 9, 0x81, 0, 0, 5, 8, 0]), &v4]);
    add("three tags", 1, &[&ethernet(0x8100, &[0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 8, 0]), &v4]);
    add("LLC and SNAP", 1, &[&ethernet(snap4.len() as u16, &snap4)]);
    add("LLC with IP's SAP", 1, &[&ethernet(v4.len() as u16 + 3, &[6, 6, 3]), &v4]);
    add("PPPoE", 1, &[&ethernet(0x8864, &pppoe(v4.len() + 2)), &[0, 0x21], &v4]);
    add("PPPoE, IPv6", 1, &[&ethernet(0x8864, &pppoe(v6.len() + 2)), &[0, 0x57], &v6]);
    add("PPPoE in VLAN", 1, &[&ethernet(0x8100, &[0, 7, 0x88, 0x64]), &pppoe(v4.len() + 1), &[0x21], &v4]);
    add("MPLS", 1, &[&ethernet(0x8847, &[0, 1, 0, 64, 0, 2, 1, 64]), &v4]);
    add("MPLS, IPv6", 1, &[&ethernet(0x8848, &[0, 2, 1, 64]), &v6]);
    add("MPLS pseudowire", 1, &[&ethernet(0x8847, &[0, 2, 1, 64]), &e4]);
    add("MPLS pseudowire, control word", 1, &[&ethernet(0x8847, &[0, 2, 1, 64, 0, 0, 0, 9]), &e4]);
    add("loopback, little-endian", 0, &[&[2, 0, 0, 0], &v4]);
    add("loopback, big-endian", 0, &[&[0, 0, 0, 2], &v4]);
    for family in [10, 24, 28, 30] {
        add("loopback, IPv6, little-endian", 0, &[&[family, 0, 0, 0], &v6]);
        add("loopback, IPv6, big-endian", 108, &[&[0, 0, 0, family], &v6]);
    }
    add("PPP", 9, &[&[0xff, 3, 0, 0x21], &v4]);
    add("PPP, IPv6", 9, &[&[0xff, 3, 0, 0x57], &v6]);
    add("PPP, compressed protocol", 9, &[&[0x21], &v4]);
    add("PPP, compressed protocol only", 9, &[&[0xff, 3, 0x57], &v6]);
    add("PPP, MPLS", 9, &[&[0x02, 0x81, 0, 2, 1, 64], &v4]);
    add("PPP with HDLC", 50, &[&[0xff, 3, 0, 0x21], &v4]);
    add("Cisco HDLC", 50, &[&[0x0f, 0, 8, 0], &v4]);
    add("Cisco HDLC, IPv6", 104, &[&[0x8f, 0, 0x86, 0xdd], &v6]);
    add("PPPoE alone", 51, &[&pppoe(v4.len() + 2), &[0, 0x21], &v4]);
    for raw in [12, 14, 101] {
        add("raw", raw, &[&v4]);
        add("raw, IPv6", raw, &[&v6]);
    }
    add("raw IPv4", 228, &[&v4]);
    add("raw IPv6", 229, &[&v6]);
    add("Linux cooked", 113, &[&[0, 4, 0, 1, 0, 6], &MACS[..6], &[0, 0, 8, 0], &v4]);
    add("Linux cooked, VLAN", 113, &[&[0, 4, 0, 1, 0, 6], &MACS[..6], &[0, 0, 0x81, 0, 0, 5, 0x86, 0xdd], &v6]);
    add("Linux cooked, LLC", 113, &[&[0, 4, 0, 1, 0, 6], &MACS[..6], &[0, 0, 0, 4], &snap4]);
    let sll2 = [&[0, 0, 0, 0, 0, 2, 0, 1, 4, 6], &MACS[..6], &[0, 0]].concat();
    add("Linux cooked 2", 276, &[&[8, 0], &sll2, &v4]);
    add("Linux cooked 2, IPv6", 276, &[&[0x86, 0xdd], &sll2, &v6]);
    add("802.11", 105, &[&wlan([0x08, 1]), &snap4]);
    add("802.11 with quality of service", 105, &[&wlan([0x88, 2]), &[0, 0], &snap4]);
    add("802.11 with HT control", 105, &[&wlan([0x88, 0x81]), &[0, 0, 0, 0, 0, 0], &snap4]);
    add("802.11 with four addresses", 105, &[&wlan([0x08, 3]), &[4; 6], &snap4]);
    let sub = [&MACS[..], &(snap4.len() as u16).to_be_bytes()].concat();
    add("802.11 aggregate", 105, &[&wlan([0x88, 1]), &[0x80, 0], &sub, &snap4, &[0, 0], &sub]);
    add("radiotap", 127, &[&[0, 0, 8, 0, 0, 0, 0, 0], &wlan([0x08, 1]), &snap4]);
    // Two bitmaps, a clock on a multiple of eight, flags that say that the header is padded.
    let radio = [0, 0, 26, 0, 3, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0x20, 0];
    add("radiotap, padded", 127, &[&radio, &wlan([0x88, 1]), &[0, 0], &[0, 0], &snap4]);
    add("per-packet information", 192, &[&[0, 0, 12, 0, 1, 0, 0, 0, 9, 9, 0, 0], &e4]);
    add("NFLOG, little-endian", 239, &[&nflog(u16::to_le_bytes, &v4)]);
    add("NFLOG, big-endian", 239, &[&nflog(u16::to_be_bytes, &v4)]);
    add("IP over InfiniBand", 242, &[&[0; 40], &[8, 0, 0, 0], &v4]);
    let mut pktap = [0; 108];
    (pktap[0], pktap[4], pktap[8]) = (108, 1, 1);
    add("pktap", 258, &[&pktap, &e4]);

    add("IPv4 options", 101, &[&ipv4([10, 0, 0, 1], [10, 0, 0, 2], 6, &[0x94, 4, 0, 0, 1, 1, 1, 0], &tcp())]);
    let hop: &[u8] = &[0, 0, 5, 2, 0, 0, 1, 0];
    let extension = |next: u8| [&[next], &hop[1..]].concat();
    add("hop-by-hop", 101, &[&outer6(0, &join(&[&extension(6), &tcp()]))]);
    add("routing", 101, &[&outer6(43, &join(&[&[6, 2, 4, 0, 0, 0, 0, 0], &host6(2), &tcp()]))]);
    add("destination options", 101, &[&outer6(60, &join(&[&extension(6), &tcp()]))]);
    add("atomic fragment", 101, &[&outer6(44, &join(&[&[6, 0, 0, 0, 0, 0, 0, 9], &tcp()]))]);
    let authentication = |next: u8| [next, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    add("authentication", 101, &[&outer6(51, &join(&[&authentication(6), &tcp()]))]);
    add(
        "authentication, IPv4",
        101,
        &[&ipv4([10, 0, 0, 1], [10, 0, 0, 2], 51, &[], &join(&[&authentication(6), &tcp()]))],
    );
    let chain = [&extension(60)[..], &extension(43), &[51, 0, 9, 0, 0, 0, 0, 0], &authentication(60), &extension(6)];
    add("a chain of extensions", 101, &[&outer6(0, &join(&[&chain.concat(), &tcp()]))]);

    add("IP in IP", 101, &[&outer4(4, &[], &v4)]);
    add("IPv6 in IPv4", 101, &[&outer4(41, &[], &v6)]);
    add("IPv4 in IPv6", 101, &[&outer6(4, &v4)]);
    add("IPv6 in IPv6", 101, &[&outer6(41, &v6)]);
    for flags in 0..16u8 {
        let mut gre = vec![flags << 4, 0, 8, 0];
        if flags & 0b1100 != 0 {
            gre.extend([0xab, 0xcd, 0, 0]);
        }
        if flags & 0b0010 != 0 {
            gre.extend([0, 0, 0, 77]);
        }
        if flags & 0b0001 != 0 {
            gre.extend([0, 0, 0, 1]);
        }
        if flags & 0b0100 != 0 {
            gre.extend([8, 0, 0, 4, 1, 2, 3, 4, 0, 0, 0, 0]);
        }
        add(&format!("GRE with flags {flags:04b}"), 101, &[&outer4(47, &[], &join(&[&gre, &v4]))]);
    }
    add("GRE, IPv6", 101, &[&outer6(47, &join(&[&[0, 0, 0x86, 0xdd], &v6]))]);
    add("GRE, bridging", 101, &[&outer4(47, &[], &join(&[&[0x20, 0, 0x65, 0x58, 0, 0, 1, 0], &e4]))]);
    add("GRE, MPLS", 101, &[&outer4(47, &[], &join(&[&[0, 0, 0x88, 0x47, 0, 2, 1, 64], &v4]))]);
    add(
        "PPTP",
        101,
        &[&outer4(
            47,
            &[],
            &join(&[&[0x30, 0x81, 0x88, 0x0b, 0, 60, 0, 7, 0, 0, 0, 1, 0, 0, 0, 1], &[0xff, 3, 0, 0x21], &v4]),
        )],
    );
    add("ERSPAN I", 101, &[&outer4(47, &[], &join(&[&[0, 0, 0x88, 0xbe], &e4]))]);
    add("ERSPAN II", 101, &[&outer4(47, &[], &join(&[&[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1], &[0x10; 8], &e4]))]);
    let erspan3: &[u8] = &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0];
    add("ERSPAN III", 101, &[&outer4(47, &[], &join(&[erspan3, &[0], &e4]))]);
    add("ERSPAN III, subheader", 101, &[&outer4(47, &[], &join(&[erspan3, &[1], &[0; 8], &e4]))]);
    add("MPLS in IP", 101, &[&outer4(137, &[], &join(&[&[0, 2, 1, 64], &v4]))]);
    add("EtherIP", 101, &[&outer4(97, &[], &join(&[&[0x30, 0], &e4]))]);
    add("Ethernet in IPv6", 101, &[&outer6(143, &e4)]);
    for port in [4789, 8472] {
        add("VXLAN", 101, &[&udp(port, &join(&[&[8, 0, 0, 0, 0, 0, 42, 0], &e4]))]);
    }
    add("Geneve", 101, &[&udp(6081, &join(&[&[0, 0, 0x65, 0x58, 0, 0, 42, 0], &e4]))]);
    add("Geneve with options, IP", 101, &[&udp(6081, &join(&[&[2, 0, 8, 0, 0, 0, 42, 0], &[1; 8], &v4]))]);
    add("MPLS in UDP", 101, &[&udp(6635, &join(&[&[0, 2, 1, 64], &v6]))]);
    add("GTP-U", 101, &[&udp(2152, &join(&[&[0x30, 255, 0, 57, 0, 0, 0, 1], &v4]))]);
    add("GTP-U with sequence", 101, &[&udp(2152, &join(&[&[0x32, 255, 0, 81, 0, 0, 0, 1, 0, 9, 0, 0], &v6]))]);
    let gtp: &[u8] = &[0x34, 255, 0, 69, 0, 0, 0, 1, 0, 0, 0, 0x85, 1, 0, 9, 0x40, 1, 0, 0, 0];
    add("GTP-U with extensions", 101, &[&udp(2152, &join(&[gtp, &v4]))]);
    add("L2TP", 101, &[&udp(1701, &join(&[&[0, 2, 0, 1, 0, 2, 0xff, 3, 0, 0x21], &v4]))]);
    let l2tp: &[u8] = &[0x4a, 2, 0, 95, 0, 1, 0, 2, 0, 3, 0, 4, 0, 2, 9, 9, 0, 0x57];
    add("L2TP with all fields", 101, &[&udp(1701, &join(&[l2tp, &v6]))]);
    add(
        "tunnels in a tunnel",
        1,
        &[&ethernet(
            0x0800,
            &udp(4789, &join(&[&[8, 0, 0, 0, 0, 0, 42, 0], &ethernet(0x86dd, &outer6(4, &outer4(4, &[], &v4)))])),
        )],
    );
    samples
}

/// Whether the segment is the one in [`inner4`] or [`inner6`], with as much payload as `captured` has.
#[track_caller]
fn assert_inner(name: &str, s: &Segment<'_>) {
    let v6 = s.src.address == Address::v6(host6(1));
    let host = |n| if v6 { Address::v6(host6(n)) } else { Address::v4([10, 0, 0, n]) };
    assert_eq!(s.src, Endpoint { address: host(1), port: 40000 }, "{name}");
    assert_eq!(s.dst, Endpoint { address: host(2), port: 443 }, "{name}");
    assert_eq!((s.time, s.frame), (Time(7), 3), "{name}");
    assert_eq!((s.seq, s.ack, s.window, s.ttl), (1000, 2000, 512, 63), "{name}");
    assert_eq!(s.flags, Flags(Flags::ACK | Flags::PSH), "{name}");
    assert_eq!(s.payload_len, 5, "{name}");
}

#[test]
fn every_link_type_and_tunnel_gives_the_segment() {
    for (name, link, bytes) in samples() {
        let mut decoder = Decoder::default();
        let Decoded::Segment(s) = decode(&mut decoder, link, &bytes) else {
            panic!("{name}: {:?}", decode(&mut Decoder::default(), link, &bytes))
        };
        assert_inner(&name, &s);
        assert_eq!(s.payload, PAYLOAD, "{name}");
        assert_eq!(s.options.timestamps, Some((11, 22)), "{name}");
        assert_eq!(s.wire_len, bytes.len() as u32, "{name}");
    }
}

#[test]
fn a_snaplen_leaves_the_headers_or_nothing() {
    for (name, link, bytes) in samples() {
        for cut in 0..bytes.len() {
            let mut decoder = Decoder::default();
            match decoder.decode(&Frame { data: &bytes[..cut], ..frame(link, &bytes) }) {
                Decoded::Segment(s) => {
                    assert_inner(&name, &s);
                    assert!(PAYLOAD.starts_with(s.payload), "{name} cut at {cut}");
                    assert!(s.options.timestamps.is_none_or(|t| t == (11, 22)), "{name} cut at {cut}");
                }
                other => assert!(matches!(other, Decoded::Skipped(Skip::Truncated)), "{name} cut at {cut}: {other:?}"),
            }
        }
    }
}

#[test]
fn the_short_way_and_the_patient_way_agree() {
    let mut plain_frames = Vec::new();
    for (name, link, bytes) in samples() {
        let frame = frame(link, &bytes);
        if let Some((mut segment, options)) = plain(&frame) {
            options.read_into(&mut segment);
            assert_eq!(text(&patient(&frame)), text(&Inner::Decoded(Decoded::Segment(segment))), "{name}");
            plain_frames.push((link, name));
        }
    }
    let over = |link: u16| plain_frames.iter().filter(move |(l, _)| *l == link).map(|(_, name)| name.as_str());
    assert!(over(1).eq(["Ethernet", "Ethernet, IPv6", "802.1Q"]));
    assert!(over(113).eq(["Linux cooked", "Linux cooked, VLAN", "Linux cooked, LLC"]));
}

#[test]
fn padding_is_not_payload() {
    for (ether_type, mut ip) in [(0x0800, inner4()), (0x86dd, inner6())] {
        ip.extend([0xee; 30]);
        let bytes = ethernet(ether_type, &ip);
        let mut decoder = Decoder::default();
        let Decoded::Segment(s) = decode(&mut decoder, 1, &bytes) else { panic!() };
        assert_eq!((s.payload, s.payload_len), (PAYLOAD, 5));
    }
}

#[test]
fn a_length_of_zero_means_the_frame() {
    let mut v4 = inner4();
    v4[2..4].fill(0);
    let mut v6 = inner6();
    v6[4..6].fill(0);
    let wire_len = 14 + 20 + 32 + 150_000;
    for (ether_type, ip, wire_len) in [(0x0800, v4, wire_len), (0x86dd, v6, wire_len + 20)] {
        let bytes = ethernet(ether_type, &ip);
        let mut decoder = Decoder::default();
        let Decoded::Segment(s) = decoder.decode(&Frame { wire_len, ..frame(1, &bytes) }) else { panic!() };
        assert_eq!((s.payload, s.payload_len), (PAYLOAD, 150_000));
    }
}

#[test]
fn a_jumbo_payload_option_tells_the_length() {
    // RFC 2675 §2: the length is without the IPv6 header, but with the hop-by-hop header.
    let jumbo = (8u32 + 32 + 100_000).to_be_bytes();
    let mut bytes = outer6(0, &join(&[&[6, 0, 0xc2, 4], &jumbo, &tcp()]));
    bytes[4..6].fill(0);
    let mut decoder = Decoder::default();
    let Decoded::Segment(s) = decode(&mut decoder, 101, &bytes) else { panic!() };
    assert_eq!((s.payload, s.payload_len), (PAYLOAD, 100_000));
}

#[test]
fn a_data_offset_outside_the_segment_is_malformed() {
    let e4 = ethernet(0x0800, &inner4());
    for (offset, malformed) in [(0, true), (4, true), (5, false), (8, false), (9, false), (10, true), (15, true)] {
        let mut bytes = e4.clone();
        bytes[14 + 20 + 12] = offset << 4;
        assert_eq!(skipped(1, &bytes) == Some(Skip::Malformed), malformed, "{offset}");
    }
}

#[test]
fn what_is_not_tcp_and_what_contradicts_itself() {
    assert_eq!(skipped(1, &ethernet(0x0806, &[0; 28])), Some(Skip::NotTcp));
    assert_eq!(skipped(1, &ethernet(0x88cc, &[0; 28])), Some(Skip::NotTcp));
    assert_eq!(skipped(101, &udp(53, &[0; 20])), Some(Skip::NotTcp));
    assert_eq!(skipped(101, &udp(4789, &[0; 20])), Some(Skip::NotTcp));
    assert_eq!(skipped(9999, &inner4()), Some(Skip::NotTcp));
    assert_eq!(skipped(113, &join(&[&[0, 4, 3, 56], &[0; 10], &[8, 0], &inner4()])), Some(Skip::NotTcp), "netlink");
    assert_eq!(skipped(101, &[0x50; 40]), Some(Skip::Malformed));
    assert_eq!(skipped(1, &ethernet(0x0800, &inner6())), Some(Skip::Malformed), "version");
    let mut short = inner4();
    (short[2], short[3]) = (0, 19);
    assert_eq!(skipped(101, &short), Some(Skip::Malformed), "total length below the header's");
    // An encrypted 802.11 frame.
    assert_eq!(skipped(105, &join(&[&[0x08, 0x41], &[0; 60]])), Some(Skip::NotTcp));
}

#[test]
fn tunnels_are_followed_to_a_depth() {
    let nested = |n| (0..n).fold(inner4(), |inner, _| outer4(4, &[], &inner));
    assert_eq!(skipped(101, &nested(20)), None);
    assert_eq!(skipped(101, &nested(40)), Some(Skip::Malformed));
    let tags = |n: usize| ethernet(0x8100, &join(&[&[0, 1, 0x81, 0].repeat(n), &[0, 1, 8, 0], &inner4()]));
    assert_eq!(skipped(1, &tags(20)), None);
    assert_eq!(skipped(1, &tags(40)), Some(Skip::Malformed));
}

#[test]
fn the_digest_tells_ways_apart_and_nothing_else() {
    let digest = |interface, bytes: &[u8]| match Decoder::default().decode(&Frame { interface, ..frame(1, bytes) }) {
        Decoded::Segment(s) => s.link_digest,
        other => panic!("{other:?}"),
    };
    let bytes = ethernet(0x0800, &inner4());
    let mut routed = bytes.clone();
    routed[3] ^= 1;
    let mut other_segment = bytes.clone();
    other_segment[14 + 5] ^= 1;
    assert_ne!(digest(0, &bytes), digest(0, &routed));
    assert_ne!(digest(0, &bytes), digest(1, &bytes));
    assert_ne!(digest(0, &bytes), digest(0, &ethernet(0x8100, &join(&[&[0, 5, 8, 0], &inner4()]))));
    assert_eq!(digest(0, &bytes), digest(0, &other_segment));
    // The outer header's identification and the sequence number of GRE change with every packet.
    let gre = |id, seq| {
        let mut ip = outer4(47, &[], &join(&[&[0x10, 0, 8, 0, 0, 0, 0, seq], &inner4()]));
        ip[5] = id;
        digest(0, &ethernet(0x0800, &ip))
    };
    assert_eq!(gre(1, 1), gre(2, 2));
}

/// `kind` and `code` about `quoted`.
fn icmp_error(kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
    join(&[&[kind, code, 0, 0, 0, 0, 0, 0], quoted])
}

#[test]
fn icmp_errors_name_the_quoted_segment() {
    let router4 = |icmp: &[u8]| ipv4([192, 0, 2, 9], [10, 0, 0, 1], 1, &[], icmp);
    // RFC 792: the header and eight bytes.
    let bytes = router4(&icmp_error(3, 1, &inner4()[..28]));
    let Decoded::Icmp(error) = decode(&mut Decoder::default(), 101, &bytes) else { panic!() };
    assert_eq!(
        error,
        IcmpError {
            time: Time(7),
            frame: 3,
            reporter: Address::v4([192, 0, 2, 9]),
            src: Endpoint { address: Address::v4([10, 0, 0, 1]), port: 40000 },
            dst: Endpoint { address: Address::v4([10, 0, 0, 2]), port: 443 },
            seq: 1000,
            kind: 3,
            code: 1,
            v6: false,
        }
    );
    assert!(error.unreachable());
    for cut in 0..bytes.len() {
        match Decoder::default().decode(&Frame { data: &bytes[..cut], ..frame(101, &bytes) }) {
            Decoded::Skipped(Skip::Truncated) => {}
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
    let quoting = |kind, quoted: &[u8]| skipped(101, &router4(&icmp_error(kind, 0, quoted)));
    assert_eq!(quoting(11, &inner4()), None, "time exceeded");
    assert_eq!(quoting(8, &inner4()), Some(Skip::NotTcp), "echo request");
    assert_eq!(quoting(3, &udp(53, &[0; 8])), Some(Skip::NotTcp));
    assert_eq!(quoting(3, &inner4()[..27]), Some(Skip::Malformed), "too short a quotation");
    let mut later_fragment = inner4();
    later_fragment[7] = 9;
    assert_eq!(quoting(3, &later_fragment), Some(Skip::NotTcp));
}

#[test]
fn icmpv6_errors_name_the_quoted_segment() {
    let quoted = outer6(60, &join(&[&[6, 0, 1, 4, 0, 0, 0, 0], &tcp()]));
    for quoted in [inner6(), quoted] {
        let bytes = outer6(58, &icmp_error(1, 3, &quoted));
        let Decoded::Icmp(error) = decode(&mut Decoder::default(), 101, &bytes) else { panic!() };
        assert_eq!((error.src.port, error.dst.port, error.seq), (40000, 443, 1000));
        assert_eq!((error.kind, error.code, error.v6), (1, 3, true));
        assert_eq!(error.src.address, Address::v6(host6(1)));
    }
    assert_eq!(skipped(101, &outer6(58, &icmp_error(135, 0, &inner6()))), Some(Skip::NotTcp));
}

/// Slices `payload` at multiples of eight as IPv4 fragments with this identification.
fn fragments4(id: u16, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let last = (payload.len() - 1) / size;
    payload
        .chunks(size)
        .enumerate()
        .map(|(n, piece)| {
            let mut bytes = ipv4([10, 0, 0, 1], [10, 0, 0, 2], 6, &[], piece);
            bytes[4..6].copy_from_slice(&id.to_be_bytes());
            let place = (n * size / 8) as u16 | if n == last { 0 } else { 0x2000 };
            bytes[6..8].copy_from_slice(&place.to_be_bytes());
            bytes
        })
        .collect()
}

/// The same in IPv6; `next` is what `payload` is.
fn fragments6(next: u8, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let last = (payload.len() - 1) / size;
    payload
        .chunks(size)
        .enumerate()
        .map(|(n, piece)| {
            let place = ((n * size) as u16 | u16::from(n != last)).to_be_bytes();
            outer6(44, &join(&[&[next, 0, place[0], place[1], 1, 2, 3, 4], piece]))
        })
        .collect()
}

/// Decodes all `packets` as raw IP; what the last gave, as text.
fn decode_all<'a>(decoder: &'a mut Decoder, packets: &'a [Vec<u8>]) -> Decoded<'a> {
    let (last, first) = packets.split_last().unwrap();
    for packet in first {
        let decoded = decode(decoder, 101, packet);
        assert!(matches!(decoded, Decoded::Skipped(Skip::Fragment)), "{decoded:?}");
    }
    decode(decoder, 101, last)
}

#[test]
fn fragments_in_a_tunnel_in_fragments() {
    let inner = fragments6(60, &join(&[&[6, 0, 1, 4, 0, 0, 0, 0], &tcp()]), 24);
    let packets: Vec<_> = inner
        .iter()
        .enumerate()
        .flat_map(|(n, packet)| {
            let mut outer = fragments4(n as u16, packet, 16);
            outer.iter_mut().for_each(|bytes| bytes[9] = 41);
            outer
        })
        .collect();
    let mut decoder = Decoder::default();
    let Decoded::Segment(s) = decode_all(&mut decoder, &packets) else { panic!() };
    assert_inner("nested fragments", &s);
    assert_eq!(s.payload, PAYLOAD);
    let counts = decoder.fragment_counts();
    assert_eq!(counts, FragmentCounts { reassembled: 1 + inner.len() as u64, ..FragmentCounts::default() });
}

#[test]
fn fragments_that_the_snaplen_cut_give_the_headers() {
    let packets = fragments4(1, &join(&[&tcp(), &[7; 200]]), 128);
    let mut decoder = Decoder::default();
    assert!(matches!(decode(&mut decoder, 101, &packets[1]), Decoded::Skipped(Skip::Fragment)));
    let cut = Frame { data: &packets[0][..60], ..frame(101, &packets[0]) };
    let Decoded::Segment(s) = decoder.decode(&cut) else { panic!() };
    assert_eq!((s.payload_len, s.payload), (205, &b"hello\x07\x07\x07"[..]));
}

#[test]
fn copies_of_fragments_seen_on_two_links_are_two_datagrams() {
    let mut decoder = Decoder::default();
    let mut segments = 0;
    for packet in fragments4(1, &tcp(), 24) {
        for interface in [0, 1] {
            let decoded = decoder.decode(&Frame { interface, ..frame(101, &packet) });
            segments += u32::from(matches!(decoded, Decoded::Segment(_)));
        }
    }
    assert_eq!(segments, 2);
}

#[test]
fn a_repeated_fragment_is_dropped_and_an_overlapping_one_costs_the_datagram() {
    let packets = fragments4(1, &join(&[&tcp(), &[7; 200]]), 64);
    let mut decoder = Decoder::default();
    let order = [0, 0, 2, 1, 2, 1, 0].map(|n: usize| packets[n].clone());
    decode_all(&mut decoder, &order);
    let Decoded::Segment(s) = decode(&mut decoder, 101, &packets[3]) else { panic!() };
    assert_eq!(s.payload_len, 205);

    let mut overlapping = packets[1].clone();
    overlapping[7] -= 1;
    let mut decoder = Decoder::default();
    decode_all(&mut decoder, &[packets[0].clone(), overlapping, packets[2].clone(), packets[3].clone()]);
    let counts = decoder.fragment_counts();
    assert_eq!(counts, FragmentCounts { overlapping: 1, ..FragmentCounts::default() });
}

#[test]
fn a_datagram_waits_thirty_seconds_of_packet_time() {
    for (wait, complete) in [(30 * SECOND, true), (30 * SECOND + 1, false), (-5 * SECOND, true)] {
        let packets = fragments4(1, &tcp(), 24);
        let mut decoder = Decoder::default();
        decode(&mut decoder, 101, &packets[0]);
        let later = Frame { time: Time(7 + wait), ..frame(101, &packets[1]) };
        assert_eq!(matches!(decoder.decode(&later), Decoded::Segment(_)), complete);
        assert_eq!(decoder.fragment_counts().expired, u64::from(!complete));
    }
}

#[test]
fn a_fragment_beyond_the_longest_datagram_is_malformed() {
    let mut packet = fragments4(1, &[1; 24], 24).remove(0);
    packet[6..8].copy_from_slice(&0x1fff_u16.to_be_bytes());
    assert_eq!(skipped(101, &packet), Some(Skip::Malformed));
    let mut uneven = fragments4(1, &[1; 21], 24).remove(0);
    uneven[6] = 0x20;
    assert_eq!(skipped(101, &uneven), Some(Skip::Malformed));
}

/// Any value printed, so that two results can be compared.
fn text(value: &impl Debug) -> String {
    format!("{value:?}")
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(link in 0u16..300, data in prop::collection::vec(any::<u8>(), 0..200), wire: u32) {
        let mut decoder = Decoder::default();
        let _ = decoder.decode(&Frame { wire_len: wire, ..frame(link, &data) });
    }

    #[test]
    fn damaged_frames_do_not_panic(
        sample in any::<prop::sample::Index>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let samples = samples();
        let (_, link, mut bytes) = samples[sample.index(samples.len())].clone();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let cut = cut.index(bytes.len() + 1);
        let mut decoder = Decoder::default();
        let decoded = decoder.decode(&Frame { data: &bytes[..cut], ..frame(link, &bytes) });
        if let Decoded::Segment(s) = decoded {
            prop_assert!(s.payload.len() <= s.payload_len as usize);
        }
        let whole = frame(link, &bytes);
        if let Some((mut segment, options)) = plain(&whole) {
            options.read_into(&mut segment);
            prop_assert_eq!(text(&patient(&whole)), text(&Inner::Decoded(Decoded::Segment(segment))));
        }
    }

    #[test]
    fn fragments_in_any_order_give_the_datagram(
        payload in prop::collection::vec(any::<u8>(), 1..600),
        size in 1usize..12,
        v6: bool,
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let datagram = join(&[&tcp(), &payload]);
        let packets = if v6 { fragments6(6, &datagram, size * 8) } else { fragments4(9, &datagram, size * 8) };
        let mut order: Vec<usize> = order.iter().map(|n| n.index(packets.len())).collect();
        // Whatever has not come by then comes last.
        order.extend(0..packets.len());
        let mut decoder = Decoder::default();
        let mut found = None;
        for n in order {
            match decode(&mut decoder, 101, &packets[n]) {
                Decoded::Segment(s) => {
                    found = Some((s.src.port, s.seq, s.payload_len, s.payload.to_vec()));
                    break;
                }
                other => prop_assert!(packets.len() > 1 && matches!(other, Decoded::Skipped(Skip::Fragment))),
            }
        }
        let expected = join(&[PAYLOAD, &payload]);
        prop_assert_eq!(found, Some((40000, 1000, expected.len() as u32, expected)));
    }
}
