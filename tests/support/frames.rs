//! Builds Ethernet frames of TCP segments and ICMP errors.

use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6FlowLabel, Ipv6Header, TcpHeader, TcpOptionElement,
};
use hbsniff::packet::Flags;

/// One end of a connection: the last number of its address, and its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    pub number: u8,
    pub port: u16,
}

/// A TCP segment to be sent.
#[derive(Clone, Debug)]
pub struct Tcp {
    pub from: Host,
    pub to: Host,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub timestamps: Option<(u32, u32)>,
    pub window_scale: Option<u8>,
    pub payload: Vec<u8>,
    pub ip_id: u16,
    pub v6: bool,
}

/// Where the Ethernet header ends.
pub const ETHERNET: usize = 14;

impl Tcp {
    /// The segment in IPv4 (10.9.0.x) or IPv6 (2001:db8::x) on Ethernet.
    pub fn frame(&self) -> Vec<u8> {
        let mut tcp = TcpHeader::new(self.from.port, self.to.port, self.seq, self.window);
        tcp.acknowledgment_number = self.ack;
        tcp.fin = self.flags & Flags::FIN != 0;
        tcp.syn = self.flags & Flags::SYN != 0;
        tcp.rst = self.flags & Flags::RST != 0;
        tcp.psh = self.flags & Flags::PSH != 0;
        tcp.ack = self.flags & Flags::ACK != 0;
        let mut options = Vec::new();
        options.extend(self.window_scale.map(TcpOptionElement::WindowScale));
        options.extend(self.timestamps.map(|(val, ecr)| TcpOptionElement::Timestamp(val, ecr)));
        tcp.set_options(&options).unwrap();
        let length = tcp.header_len() + self.payload.len();
        let mut frame = ethernet(if self.v6 { EtherType::IPV6 } else { EtherType::IPV4 });
        if self.v6 {
            Ipv6Header {
                traffic_class: 0,
                flow_label: Ipv6FlowLabel::ZERO,
                payload_length: length as u16,
                next_header: IpNumber::TCP,
                hop_limit: 64,
                source: v6(self.from),
                destination: v6(self.to),
            }
            .write(&mut frame)
            .unwrap();
        } else {
            let mut ip = Ipv4Header::new(length as u16, 64, IpNumber::TCP, v4(self.from), v4(self.to)).unwrap();
            ip.identification = self.ip_id;
            ip.write(&mut frame).unwrap();
        }
        tcp.write(&mut frame).unwrap();
        frame.extend_from_slice(&self.payload);
        frame
    }
}

/// What a router answers to an IPv4 frame that it cannot deliver (RFC 792): destination unreachable, with that code.
pub fn unreachable(frame: &[u8], code: u8) -> Vec<u8> {
    // A router quotes the header and at least 8 bytes; today's quote as much as fits 576 (RFC 1812 §4.3.2.3).
    let quoted = &frame[ETHERNET..frame.len().min(ETHERNET + 548)];
    let to: [u8; 4] = quoted[12..16].try_into().unwrap();
    let mut out = ethernet(EtherType::IPV4);
    Ipv4Header::new(8 + quoted.len() as u16, 64, IpNumber::ICMP, [10, 9, 0, 254], to).unwrap().write(&mut out).unwrap();
    out.extend_from_slice(&[3, code, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(quoted);
    out
}

/// The same frame seen elsewhere: after `hops` routers, and between other stations if `other_link`.
pub fn copy(frame: &[u8], hops: u8, other_link: bool) -> Vec<u8> {
    let mut out = frame.to_vec();
    if other_link {
        out[5] ^= 0x40;
        out[11] ^= 0x40;
    }
    let ttl = if out[12..14] == [0x08, 0x00] { ETHERNET + 8 } else { ETHERNET + 7 };
    out[ttl] -= hops;
    out
}

fn ethernet(ether_type: EtherType) -> Vec<u8> {
    let mut out = Vec::new();
    let header = Ethernet2Header { source: [2, 0, 0, 0, 0, 1], destination: [2, 0, 0, 0, 0, 2], ether_type };
    header.write(&mut out).unwrap();
    out
}

fn v4(host: Host) -> [u8; 4] {
    [10, 9, 0, host.number]
}

fn v6(host: Host) -> [u8; 16] {
    let mut a = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    a[15] = host.number;
    a
}
