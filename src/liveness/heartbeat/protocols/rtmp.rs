//! RTMP (Adobe's specification 1.0, §5.3, §5.4, §7.1.7): User Control messages, event 6 "ping request", as a rule from the server, and 7
//! "ping response". They stand among chunks of audio and video, which are skipped.

use super::frames::{beat, bytes};
use super::{Opening, Parser, Recognition, Role, Sign};
use crate::packet::Time;
use crate::summary::{Both, Side};

const PORTS: &[u16] = &[1935];
/// The version byte that opens each side's handshake.
const VERSION: u8 = 3;
/// The version, and two packets of 1536 bytes, from each side.
const HANDSHAKE: u32 = 1 + 2 * 1536;
/// Bytes from each side that are long for an opening.
const LONG: usize = 512;
const SET_CHUNK_SIZE: u8 = 1;
const USER_CONTROL: u8 = 4;
/// A ping as all programs send it: a full header on chunk stream 2, then event and time.
const PING: usize = 18;
/// Chunk streams remembered; programs use half a dozen.
const CHUNK_STREAMS: usize = 10;
/// Basic header, message header and extended time of a chunk, and as much of a control message.
const HEAD: usize = 18;

/// What later chunks of a chunk stream leave out.
#[derive(Clone, Copy, Default)]
struct ChunkStream {
    id: u32,
    kind: u8,
    extended: bool,
    len: u32,
    /// Bytes of the message still to come.
    left: u32,
}

#[derive(Clone)]
struct Stream {
    /// Bytes of handshake still to come.
    handshake: u32,
    chunk_size: u32,
    chunk_streams: [ChunkStream; CHUNK_STREAMS],
    /// The chunk's header, then the bytes of a control message.
    head: [u8; HEAD],
    have: usize,
    /// Index of the chunk's stream and bytes of the chunk still to come, once its header is complete.
    chunk: Option<(usize, u32)>,
    control: [u8; 6],
    lost: bool,
}

impl Default for Stream {
    fn default() -> Self {
        Stream {
            handshake: HANDSHAKE,
            chunk_size: 128,
            chunk_streams: Default::default(),
            head: [0; HEAD],
            have: 0,
            chunk: None,
            control: [0; 6],
            lost: false,
        }
    }
}

/// Recognises RTMP by its version byte or a ping on its port, and by the long handshake elsewhere.
pub fn recognise(opening: &Opening) -> Recognition {
    let known_port = opening.port_in(PORTS);
    if !opening.from_start {
        let pings = known_port && opening.bytes.0.iter().any(|stream| ping(stream).is_some());
        let possible = known_port && opening.bytes.0.iter().all(|stream| stream.len() < PING);
        return match (pings, possible) {
            (true, _) => {
                Recognition::Yes(Box::new(Rtmp(Both([(); 2].map(|()| Stream { lost: true, ..Stream::default() })))))
            }
            (false, true) => Recognition::Undecided,
            (false, false) => Recognition::No,
        };
    }
    let Both([client, server]) = opening.bytes;
    if [client, server].iter().any(|stream| stream.first().is_some_and(|&b| b != VERSION)) {
        return Recognition::No;
    }
    // TPKT begins with this byte too. Behind the client's time stand four zeros, and nobody else says so much unasked.
    let zeros = client.get(5..9).is_some_and(|field| field == [0; 4]);
    let long = client.len() >= LONG && server.len() >= LONG;
    match client.len() {
        9.. if known_port || (zeros && long) => Recognition::Yes(Box::new(Rtmp::default())),
        9.. if !zeros => Recognition::No,
        _ => Recognition::Undecided,
    }
}

/// The event of a segment that is a ping: chunk stream 2, six bytes of User Control on message stream 0.
fn ping(bytes: &[u8]) -> Option<u16> {
    match bytes.first_chunk::<PING>()? {
        [2, _, _, _, 0, 0, 6, USER_CONTROL, 0, 0, 0, 0, 0, event @ 6..=7, ..] => Some(u16::from(*event)),
        _ => None,
    }
}

/// What a chunk's header says.
enum Header {
    /// It needs this many bytes.
    Need(usize),
    Chunk {
        id: u32,
        format: u8,
        len: usize,
    },
}

fn header(head: &[u8], streams: &[ChunkStream]) -> Header {
    let Some(&first) = head.first() else { return Header::Need(1) };
    let format = first >> 6;
    // Ids from 64 on take one or two bytes more.
    let (id, basic) = match (first & 0x3F, head.get(1), head.get(2)) {
        (0, None, _) => return Header::Need(2),
        (0, Some(&low), _) => (64 + u32::from(low), 2),
        (1, _, None) => return Header::Need(3),
        (1, Some(&low), Some(&high)) => (64 + u32::from(low) + 256 * u32::from(high), 3),
        (id, ..) => (u32::from(id), 1),
    };
    let message = [11, 7, 3, 0][usize::from(format)];
    if head.len() < basic + message {
        return Header::Need(basic + message);
    }
    let extended = match format {
        3 => streams.iter().any(|stream| stream.id == id && stream.extended),
        _ => head[basic..basic + 3] == [0xFF; 3],
    };
    let len = basic + message + if extended { 4 } else { 0 };
    if head.len() < len { Header::Need(len) } else { Header::Chunk { id, format, len: basic } }
}

impl Stream {
    /// Takes the chunk whose header is complete; `false` where it cannot be followed.
    fn start_chunk(&mut self, id: u32, format: u8, basic: usize) -> bool {
        let free = self.chunk_streams.iter().position(|s| s.id == id).or_else(|| {
            // No chunk stream has the id 0.
            self.chunk_streams.iter().position(|s| s.id == 0)
        });
        let Some(index) = free else { return false };
        let stream = &mut self.chunk_streams[index];
        if stream.id == 0 && format != 0 {
            return false;
        }
        stream.id = id;
        if format < 3 {
            stream.extended = self.head[basic..basic + 3] == [0xFF; 3];
            // A header in the middle of a message: the sender gave the message up.
            stream.left = 0;
        }
        if format < 2 {
            let field = &self.head[basic + 3..basic + 7];
            stream.len = u32::from_be_bytes([0, field[0], field[1], field[2]]);
            stream.kind = field[3];
        }
        if stream.left == 0 {
            stream.left = stream.len;
        }
        self.chunk = Some((index, stream.left.min(self.chunk_size)));
        true
    }

    fn push(&mut self, mut bytes: &[u8], signs: &mut Vec<Sign>) {
        if self.lost {
            if let Some(event) = ping(bytes) {
                signs.push(beat("rtmp", role(event), PING as u64, &bytes[..PING]));
            }
            return;
        }
        let skip = (self.handshake as usize).min(bytes.len());
        self.handshake -= skip as u32;
        bytes = &bytes[skip..];
        while !bytes.is_empty() {
            let Some((index, left)) = self.chunk else {
                match header(&self.head[..self.have], &self.chunk_streams) {
                    Header::Need(n) if n > HEAD => return self.lost = true,
                    Header::Need(n) => {
                        let take = (n - self.have).min(bytes.len());
                        self.head[self.have..self.have + take].copy_from_slice(&bytes[..take]);
                        self.have += take;
                        bytes = &bytes[take..];
                    }
                    Header::Chunk { .. } => {}
                }
                if let Header::Chunk { id, format, len } = header(&self.head[..self.have], &self.chunk_streams) {
                    if !self.start_chunk(id, format, len) {
                        return self.lost = true;
                    }
                    self.end_chunk(signs);
                }
                continue;
            };
            let take = left.min(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            let (part, rest) = bytes.split_at(take as usize);
            bytes = rest;
            let stream = &mut self.chunk_streams[index];
            if matches!(stream.kind, SET_CHUNK_SIZE | USER_CONTROL) {
                let done = stream.len.saturating_sub(stream.left) as usize;
                for (place, &byte) in self.control.iter_mut().skip(done).zip(part) {
                    *place = byte;
                }
            }
            stream.left -= take;
            self.chunk = Some((index, left - take));
            self.end_chunk(signs);
        }
    }

    /// Where the chunk is complete, and perhaps its message.
    fn end_chunk(&mut self, signs: &mut Vec<Sign>) {
        let Some((index, 0)) = self.chunk else { return };
        let stream = self.chunk_streams[index];
        if stream.left == 0 {
            let value = bytes(&self.control, 0).map_or(0, u32::from_be_bytes);
            match (stream.kind, stream.len) {
                // The first bit is zero and the least size is 1.
                (SET_CHUNK_SIZE, 4) => self.chunk_size = (value & 0x7FFF_FFFF).max(1),
                (USER_CONTROL, 6) if matches!(value >> 16, 6 | 7) => {
                    let sample = [&self.head[..self.have], &self.control].concat();
                    signs.push(beat("rtmp", role((value >> 16) as u16), sample.len() as u64, &sample));
                }
                _ => {}
            }
        }
        (self.chunk, self.have) = (None, 0);
    }

    fn gap(&mut self, len: u64) {
        let (handshake, chunk) = (u64::from(self.handshake), self.chunk);
        if len <= handshake {
            self.handshake -= len as u32;
        } else if let Some((index, left)) = chunk.filter(|&(_, left)| len < u64::from(left)) {
            self.chunk_streams[index].left -= len as u32;
            self.chunk = Some((index, left - len as u32));
        } else {
            self.lost = true;
        }
    }
}

fn role(event: u16) -> Role {
    if event == 6 { Role::Request } else { Role::Reply }
}

/// Follows both sides' chunk streams.
#[derive(Default)]
struct Rtmp(Both<Stream>);

impl Parser for Rtmp {
    fn data(&mut self, from: Side, _time: Time, bytes: &[u8], signs: &mut Vec<Sign>) {
        self.0[from].push(bytes, signs);
    }

    fn gap(&mut self, from: Side, len: u64) {
        self.0[from].gap(len);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// The specification's layouts by hand: Set Chunk Size to 4096, a video message of 300 bytes whose chunks are interleaved with a
    /// ping, and the ping's answer.
    #[test]
    fn pings_among_chunks() {
        let mut handshake = vec![0; HANDSHAKE as usize];
        handshake[0] = VERSION;
        let video = [
            &hex("06 000000 00012C 09 01000000")[..],
            &[0xAA; 128],
            &hex("02 000000 000006 04 00000000 0006 000003E8"),
            &hex("C6"),
            &[0xAA; 128],
            &hex("02 000000 000004 01 00000000 00001000"),
            &hex("C6"),
            &[0xAA; 44],
            &hex("46 000010 000200 09"),
            &[0xAA; 512],
            &hex("42 000010 000006 04 0006 000007D0"),
        ]
        .concat();
        let answer = hex("02 000000 000006 04 00000000 0007 000003E8");
        let turns: Turns = &[(Client, &handshake), (Server, &handshake), (Server, &video), (Client, &answer)];
        let got = signs(recognise, 1935, turns);
        let request = (Server, "rtmp", Role::Request);
        assert_eq!(beats(&got), [(Client, "rtmp", Role::Reply), request, request]);
    }

    #[test]
    fn a_ping_in_the_middle_of_a_capture() {
        let ask = hex("02 000000 000006 04 00000000 0006 000003E8");
        let got = beats(&signs_in_segments(recognise, 1935, &[(Server, &ask), (Server, &ask)]));
        assert_eq!(got, [(Server, "rtmp", Role::Request); 2]);
    }
}
