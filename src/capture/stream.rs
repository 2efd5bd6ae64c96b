//! Bytes for the file formats: opened files and pipes, unpacked by content, in a buffer that is used again and again.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How much is asked of the system in one read: larger buffers fall out of the processor's second-level cache.
const CHUNK: usize = 256 * 1024;
/// How long a read from a pipe waits before it gives the caller a chance to stop, milliseconds.
const PATIENCE_MS: u16 = 50;

/// Raw bytes of one input, counted, so that a progress bar knows how far it is.
pub(super) struct Raw<R> {
    inner: R,
    count: Arc<AtomicU64>,
    /// Whether bytes may take their time to arrive, as on a pipe: then a read that finds none fails with `WouldBlock`.
    waits: bool,
}

impl<R: Read + AsFd> Read for Raw<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.waits {
            let mut ready = [PollFd::new(self.inner.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, PollTimeout::from(PATIENCE_MS)) {
                Ok(0) | Err(nix::errno::Errno::EINTR) => return Err(io::ErrorKind::WouldBlock.into()),
                Ok(_) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let n = self.inner.read(into)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Where bytes come from, whatever unpacks them on the way.
pub(super) type Bytes = Box<dyn Read + Send>;

/// Opens `path`, or standard input for `-`; every byte read is added to `count`.
///
/// # Errors
/// The system's, also for a directory, which some systems open without complaint.
pub(super) fn open(path: &Path, count: Arc<AtomicU64>) -> io::Result<Bytes> {
    if path == Path::new("-") {
        // `io::stdin` would put a buffer of its own between us and the pipe.
        let inner = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let waits = !inner.metadata()?.is_file();
        return Ok(Box::new(Raw { inner, count, waits }));
    }
    let inner = File::open(path)?;
    let kind = inner.metadata()?;
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    Ok(Box::new(Raw { inner, count, waits: !kind.is_file() }))
}

/// What packed an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Packing {
    /// Recognises a packed stream by its first four bytes.
    pub(super) fn of(head: &[u8]) -> Option<Packing> {
        match head {
            [0x1f, 0x8b, ..] => Some(Packing::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Packing::Zstd),
            _ => None,
        }
    }

    /// Its name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
        }
    }

    /// Unpacks `head`, which was read already, and what follows in `rest`; all members or frames, one after another.
    ///
    /// # Errors
    /// Where the unpacker cannot be set up.
    pub(super) fn unpack(self, head: Vec<u8>, rest: Bytes) -> io::Result<Bytes> {
        let packed = io::Cursor::new(head).chain(rest);
        Ok(match self {
            Packing::Gzip => {
                let packed = io::BufReader::with_capacity(CHUNK, packed);
                Box::new(flate2::bufread::MultiGzDecoder::new(packed))
            }
            Packing::Zstd => Box::new(zstd::Decoder::new(packed)?),
        })
    }
}

/// What asking for more bytes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// There are more.
    Some,
    /// None for now.
    Waiting,
    /// None ever.
    End,
}

/// The window of a stream that is being parsed. It moves, and grows only for a record longer than itself.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    offset: u64,
}

impl Buffer {
    /// An empty one.
    pub(super) fn new() -> Self {
        Buffer { bytes: vec![0; CHUNK], start: 0, end: 0, offset: 0 }
    }

    /// What was read and not yet consumed.
    #[inline]
    pub(super) fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Where [`Buffer::data`] begins in the unpacked stream.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Drops the first `n` bytes, at most all.
    pub(super) fn consume(&mut self, n: usize) {
        let n = n.min(self.end - self.start);
        self.start += n;
        self.offset += n as u64;
    }

    /// Begins a new stream; returns what was left of the old.
    pub(super) fn restart(&mut self) -> Vec<u8> {
        let left = self.data().to_vec();
        (self.start, self.end, self.offset) = (0, 0, 0);
        left
    }

    /// Reads once from `source`, after making room for `want` bytes in all.
    ///
    /// # Errors
    /// The source's own, but for interruptions and time-outs.
    pub(super) fn fill(&mut self, source: &mut dyn Read, want: usize) -> io::Result<Filled> {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if want > self.bytes.len() {
            // Zeroed pages cost nothing until they are written; resize() would write every one.
            let mut wider = vec![0; want.next_power_of_two()];
            wider[..self.end].copy_from_slice(&self.bytes[..self.end]);
            self.bytes = wider;
        }
        match source.read(&mut self.bytes[self.end..]) {
            Ok(0) => Ok(Filled::End),
            Ok(n) => {
                self.end += n;
                Ok(Filled::Some)
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(Filled::Waiting),
            Err(e) => Err(e),
        }
    }
}

/// Captures in formats that are not read, by what they begin with.
const OTHER_CAPTURES: [(&[u8], &str); 6] = [
    (b"btsnoop\0", "a btsnoop log (Bluetooth)"),
    (b"TRSNIFF", "a capture of the DOS Sniffer"),
    (b"XCP\0", "a capture of NetXRay or the Windows Sniffer"),
    (b"GMBU", "a capture of Microsoft Network Monitor 2"),
    (b"RTSS", "a capture of Microsoft Network Monitor 1"),
    (b"\x7fver", "a capture of Savvius OmniPeek"),
];

/// Says in words what bytes that are no capture look like.
pub(super) fn describe(head: &[u8]) -> Cow<'static, str> {
    let capture = OTHER_CAPTURES.iter().find(|(magic, _)| head.starts_with(magic)).map(|&(_, name)| name);
    if let Some(name) = capture.or_else(|| looks_like_erf(head).then_some("a capture in Endace's ERF")) {
        return format!("it looks like {name}; convert it with `editcap -F pcap IN OUT`").into();
    }
    Cow::Borrowed(match head {
        [0x7f, b'E', b'L', b'F', ..] => "it looks like an ELF program or core file",
        [b'P', b'K', 3, 4, ..] => "it looks like a zip archive; unpack it first",
        [b'B', b'Z', b'h', ..] => "it is packed by bzip2; unpack it first: bzip2 -dc FILE | hbsniff -",
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "it is packed by xz; unpack it first: xz -dc FILE | hbsniff -",
        [0x04, 0x22, 0x4d, 0x18, ..] => "it is packed by lz4; unpack it first: lz4 -dc FILE | hbsniff -",
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => "it is packed twice; unpack it first",
        _ if looks_like_text(head) => match head.iter().find(|b| !b.is_ascii_whitespace()) {
            Some(b'{' | b'[') => "it looks like JSON",
            Some(b'<') => "it looks like HTML or XML",
            _ => "it looks like text",
        },
        _ if head.iter().all(|&b| b == 0) => "it holds zeros",
        _ => "its first bytes are those of no known format",
    })
}

/// An ERF record: little-endian time, type, flags, big-endian record length, loss counter, wire length.
fn looks_like_erf(head: &[u8]) -> bool {
    let &[_, _, _, _, s0, s1, s2, s3, kind, _, r0, r1, _, _, w0, w1, ..] = head else { return false };
    let seconds = u32::from_le_bytes([s0, s1, s2, s3]);
    let (record, wire) = (u16::from_be_bytes([r0, r1]), u16::from_be_bytes([w0, w1]));
    let since_2000 = 946_684_800..2_208_988_800;
    since_2000.contains(&seconds) && (1..=48).contains(&(kind & 0x7f)) && record >= 16 && wire > 0 && wire < 10_000
}

/// Whether bytes are text, as far as 512 of them tell.
pub(super) fn looks_like_text(head: &[u8]) -> bool {
    let head = &head[..head.len().min(512)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The cut may have fallen into a character.
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&head[..e.valid_up_to()]).unwrap_or_default(),
        Err(_) => return false,
    };
    !text.is_empty() && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\x0c' | '\x1b'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_content_is_named() {
        assert!(describe(b"\x7fELF\x02\x01").contains("ELF"));
        assert!(describe(b" {\"a\": 1}").contains("JSON"));
        assert!(describe(b"10:00:00.1 IP a > b").contains("text"));
        assert!(describe(b"<html>").contains("HTML"));
        assert!(describe("é".repeat(600).as_bytes()).contains("text"));
        assert!(describe(&[0; 16]).contains("zeros"));
        assert!(describe(b"\xfd7zXZ\0").contains("xz"));
        assert!(describe(b"GMBU\x00\x02").contains("Network Monitor 2; convert it with `editcap -F pcap IN OUT`"));
        assert!(describe(&[0x80, 0x81, 0x82, 0x83]).contains("no known format"));
        // An ERF record of Ethernet (type 2), 80 bytes with its header, 60 on the wire, at 2020-01-01.
        let mut erf = vec![0, 0, 0, 0];
        erf.extend(1_577_836_800u32.to_le_bytes());
        erf.extend([2, 4, 0, 80, 0, 0, 0, 60]);
        assert!(describe(&erf).contains("ERF"));
    }

    #[test]
    fn buffer_keeps_the_rest_and_grows_for_a_long_record() {
        let mut source = io::Cursor::new((0..CHUNK as u32 * 2).map(|i| i as u8).collect::<Vec<_>>());
        let mut buffer = Buffer::new();
        assert_eq!(buffer.fill(&mut source, 1).unwrap(), Filled::Some);
        assert_eq!(buffer.data().len(), CHUNK);
        buffer.consume(CHUNK - 3);
        assert_eq!(buffer.data(), [253, 254, 255]);
        assert_eq!(buffer.fill(&mut source, CHUNK + 1).unwrap(), Filled::Some);
        assert_eq!(buffer.data().len(), CHUNK + 3);
        assert_eq!(buffer.offset(), CHUNK as u64 - 3);
        assert_eq!(buffer.data()[..5], [253, 254, 255, 0, 1]);
        assert_eq!(buffer.fill(&mut source, 1).unwrap(), Filled::End);
    }
}
