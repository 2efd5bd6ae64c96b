//! Captures made by arithmetic.

/// Flags of a segment (RFC 9293 §3.1).
pub const SYN: u8 = 0x02;
/// See [`SYN`].
pub const RST: u8 = 0x04;
/// See [`SYN`].
pub const ACK: u8 = 0x10;

/// A capture of bare IPv4 packets with times in nanoseconds.
pub struct Pcap(Vec<u8>);

impl Pcap {
    /// One without packets.
    pub fn new() -> Self {
        let header = [0xa1b2_3c4du32, 0x0004_0002, 0, 0, 65_535, 101];
        Pcap(header.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// Adds a packet so many nanoseconds after 2023-11-14T22:13:20Z.
    pub fn packet(&mut self, at: i64, packet: &[u8]) {
        let (s, ns) = (1_700_000_000 + at.div_euclid(1_000_000_000), at.rem_euclid(1_000_000_000));
        let len = packet.len() as u32;
        self.0.extend([s as u32, ns as u32, len, len].iter().flat_map(|v| v.to_le_bytes()));
        self.0.extend(packet);
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What was added since the last time, to write a long one piece by piece.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

const SERVER: ([u8; 4], u16) = ([192, 0, 2, 1], 5000);

fn client(number: u32) -> ([u8; 4], u16) {
    ((0x0a00_0000 + number).to_be_bytes(), 40_000)
}

fn packet(from: ([u8; 4], u16), to: ([u8; 4], u16), flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    let mut out = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    out.extend(from.0);
    out.extend(to.0);
    out.extend(from.1.to_be_bytes());
    out.extend(to.1.to_be_bytes());
    out.extend(seq.to_be_bytes());
    out.extend(ack.to_be_bytes());
    out.extend([0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    out
}

/// A segment without payload from client `number`, at most 2^24, to the server; checksums are left out.
pub fn segment(number: u32, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    packet(client(number), SERVER, flags, seq, ack)
}

/// A segment without payload from the server to client `number`.
pub fn reply(number: u32, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    packet(SERVER, client(number), flags, seq, ack)
}

/// The segment with a payload.
pub fn with(mut segment: Vec<u8>, payload: &[u8]) -> Vec<u8> {
    segment.extend(payload);
    let len = (segment.len() as u16).to_be_bytes();
    segment[2..4].copy_from_slice(&len);
    segment
}
