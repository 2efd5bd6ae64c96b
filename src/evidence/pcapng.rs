//! Writing pcapng (draft-ietf-opsawg-pcapng): one section, whose comment is filled in at the end, its interfaces as they
//! appear, and packets with comments. Three kinds of blocks do not need a crate that would hide which bytes they are.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};

use crate::packet::{LinkType, Time};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;

const COMMENT: u16 = 1;
const USER_APPLICATION: u16 = 4;
const TIME_RESOLUTION: u16 = 9;
/// Binary data of somebody's own, not to be copied to a new file.
const CUSTOM: u16 = 19_373;
/// The enterprise number of examples (RFC 5612): nobody finds a meaning in the filling.
const NOBODY: u32 = 32_473;

/// The section's header block, in which the comment can grow until the end.
const SECTION_LEN: usize = 4096;
/// The longest comment of the section, bytes: the rest of the block is the block's own.
pub const MAX_SECTION_COMMENT: usize = SECTION_LEN - 128;
/// The longest comment of a packet, bytes.
const MAX_COMMENT: usize = 4096;

/// A packet to write.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// When it was captured.
    pub time: Time,
    /// What its first bytes are.
    pub link: LinkType,
    /// The interface of the source that saw it.
    pub interface: u32,
    /// Its length on the wire.
    pub wire_len: u32,
    /// What is kept of it.
    pub data: &'a [u8],
    /// What it is.
    pub comment: &'a str,
}

/// A pcapng file being written.
#[derive(Debug)]
pub struct Writer {
    out: BufWriter<File>,
    /// Numbers of the interfaces in this file, by those of the source.
    interfaces: HashMap<(LinkType, u32), u32>,
}

impl Writer {
    /// Begins a section.
    ///
    /// # Errors
    /// What the file says.
    pub fn new(file: File, comment: &str) -> io::Result<Self> {
        let mut out = BufWriter::new(file);
        out.write_all(&section(comment))?;
        out.flush()?;
        Ok(Writer { out, interfaces: HashMap::new() })
    }

    /// Adds a packet.
    ///
    /// # Errors
    /// What the file says.
    pub fn packet(&mut self, packet: &Packet<'_>) -> io::Result<()> {
        let next = self.interfaces.len() as u32;
        let interface = *self.interfaces.entry((packet.link, packet.interface)).or_insert(next);
        if interface == next {
            let mut body = Vec::new();
            body.extend(packet.link.0.to_le_bytes());
            body.extend([0; 6]);
            option(&mut body, TIME_RESOLUTION, &[9]);
            end_of_options(&mut body);
            self.out.write_all(&block(INTERFACE, &body))?;
        }
        // The format has no time before 1970.
        let time = packet.time.0.max(0) as u64;
        let mut body = Vec::with_capacity(packet.data.len() + packet.comment.len() + 64);
        let len = packet.data.len() as u32;
        for word in [interface, (time >> 32) as u32, time as u32, len, packet.wire_len.max(len)] {
            body.extend(word.to_le_bytes());
        }
        body.extend(packet.data);
        pad(&mut body);
        option(&mut body, COMMENT, cut(packet.comment, MAX_COMMENT).as_bytes());
        end_of_options(&mut body);
        self.out.write_all(&block(ENHANCED_PACKET, &body))
    }

    /// Hands over what was written so far.
    ///
    /// # Errors
    /// What the file says.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Ends the file; its section gets this comment if the file is one in which that can be changed, no pipe.
    ///
    /// # Errors
    /// What the file says.
    pub fn finish(mut self, comment: &str) -> io::Result<()> {
        self.out.flush()?;
        let file = self.out.get_mut();
        if file.metadata()?.is_file() {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&section(comment))?;
        }
        file.flush()
    }
}

/// A section's header block of the same length whatever the comment.
fn section(comment: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(SECTION_LEN);
    body.extend(BYTE_ORDER.to_le_bytes());
    body.extend(1u16.to_le_bytes());
    body.extend(0u16.to_le_bytes());
    // The section's length is not known.
    body.extend((-1i64).to_le_bytes());
    option(&mut body, COMMENT, cut(comment, MAX_SECTION_COMMENT).as_bytes());
    option(&mut body, USER_APPLICATION, concat!("hbsniff ", env!("CARGO_PKG_VERSION")).as_bytes());
    // Around the body stand 12 bytes; the filling has a head of 4 and a number of 4, and the end of options takes 4.
    let filling = SECTION_LEN.saturating_sub(body.len() + 12 + 4 + 4);
    let mut custom = NOBODY.to_le_bytes().to_vec();
    custom.resize(filling.max(custom.len()), 0);
    option(&mut body, CUSTOM, &custom);
    end_of_options(&mut body);
    block(SECTION, &body)
}

fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32 + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &len, body, &len].concat()
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

/// Values and packets are followed by zeros up to a multiple of 32 bits.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

/// At most so many bytes of a text, whole characters.
fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_has_room_for_its_last_comment() {
        let long = "ü".repeat(5000);
        for comment in ["", "a", "four", &long] {
            let section = section(comment);
            assert_eq!(section.len(), SECTION_LEN, "{}", comment.len());
            assert_eq!(section[4..8], section[SECTION_LEN - 4..]);
        }
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("aü", 2), "a");
        assert_eq!(cut("aü", 3), "aü");
    }
}
