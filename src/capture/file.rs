//! Captures in files or arriving on standard input: several in order are one capture.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::format::{Format, Next, Tally};
use super::pcap::{self, Pcap};
use super::pcapng::{self, Pcapng};
use super::stream::{self, Buffer, Bytes, Filled, Packing};
use super::{CaptureError, Progress, Source};
use crate::packet::{Frame, LinkType};

/// Bytes that tell a format.
const MAGIC: usize = 4;
/// Warnings that are kept; a run over thousands of damaged files need not print them all.
const MAX_WARNINGS: usize = 100;

/// Reads pcap and pcapng files, plain or packed by gzip or zstd, one after another.
pub struct Files {
    pending: VecDeque<PathBuf>,
    current: Option<Input>,
    buffer: Buffer,
    tally: Tally,
    warnings: Vec<String>,
    warnings_left_out: u64,
    dropped: Option<u64>,
    read: Arc<AtomicU64>,
    /// Bytes of all files; `None` if one is a pipe.
    size: Option<u64>,
}

/// One open file.
struct Input {
    name: String,
    bytes: Bytes,
    packing: Option<Packing>,
    format: Option<Box<dyn Format + Send>>,
    /// Bytes still to be passed over.
    skip: u64,
    /// The frame number before its first.
    first: u64,
}

/// What ends the reading of one file before its end.
enum Trouble {
    /// It is no capture at all.
    Foreign(String),
    /// It was one up to here.
    Damaged(String),
}

impl Files {
    /// A capture of these files in this order; `-` is standard input. Looks into each regular file at once, so that a
    /// mistake in the last name is told before the first file's hour of reading.
    ///
    /// # Errors
    /// If one cannot be opened, is empty, or begins as no known format does.
    pub fn new(paths: Vec<PathBuf>) -> Result<Self, CaptureError> {
        let mut size = Some(0);
        for path in &paths {
            let regular = if path == Path::new("-") { None } else { probe(path)? };
            size = size.zip(regular).map(|(a, b)| a + b);
        }
        Ok(Files {
            pending: paths.into(),
            current: None,
            buffer: Buffer::new(),
            tally: Tally::default(),
            warnings: Vec::new(),
            warnings_left_out: 0,
            dropped: None,
            read: Arc::default(),
            size,
        })
    }

    fn warn(&mut self, sentence: String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(sentence);
        } else {
            self.warnings_left_out += 1;
        }
    }

    /// Opens the next file, if there is one.
    fn open_next(&mut self) -> Result<bool, CaptureError> {
        let Some(path) = self.pending.pop_front() else { return Ok(false) };
        let name = name_of(&path);
        let bytes = stream::open(&path, self.read.clone()).map_err(|source| cannot(&path, source))?;
        self.buffer.restart();
        self.current = Some(Input { name, bytes, packing: None, format: None, skip: 0, first: self.tally.frames });
        Ok(true)
    }

    /// Ends the current file, well or with `trouble`.
    fn close(&mut self, trouble: Option<Trouble>) -> Result<(), CaptureError> {
        let Some(input) = self.current.take() else { return Ok(()) };
        if let Some(format) = &input.format {
            self.dropped = format.dropped().into_iter().chain(self.dropped).reduce(u64::saturating_add);
            for remark in format.remarks() {
                self.warn(format!("{}: {remark}.", input.name));
            }
        }
        match trouble {
            None => Ok(()),
            Some(Trouble::Foreign(what)) => Err(CaptureError::Unusable(format!("{}: {what}", input.name))),
            Some(Trouble::Damaged(what)) => {
                let at = self.buffer.offset();
                let unpacked = if input.packing.is_some() { " of the unpacked stream" } else { "" };
                let frames = self.tally.frames - input.first;
                let after = match (frames, self.tally.frames) {
                    (0, _) => "before its first packet".to_owned(),
                    (_, last) => format!("after frame {last}"),
                };
                let what = format!("{}: {what}, at byte {at}{unpacked}, {after}", input.name);
                if self.tally.frames == 0 && self.pending.is_empty() {
                    return Err(CaptureError::Unusable(format!("{what}: nothing can be read")));
                }
                self.warn(format!("{what}; what was read before it is analysed."));
                Ok(())
            }
        }
    }
}

impl Source for Files {
    fn read(&mut self, sink: &mut dyn FnMut(&[Frame<'_>])) -> Result<Progress, CaptureError> {
        loop {
            let Some(input) = &mut self.current else {
                if self.open_next()? {
                    continue;
                }
                return Ok(Progress::End);
            };
            let before = self.tally.frames;
            let filled = input.step(&mut self.buffer, &mut self.tally, sink);
            match filled {
                Ok(Filled::End) => self.close(None)?,
                Ok(Filled::Waiting) => return Ok(Progress::More),
                Ok(Filled::Some) => {}
                Err(trouble) => self.close(Some(trouble))?,
            }
            if self.tally.frames > before {
                return Ok(Progress::More);
            }
        }
    }

    fn link_types(&self) -> Vec<LinkType> {
        self.tally.link_types.clone()
    }

    fn dropped(&mut self) -> Option<u64> {
        self.dropped
    }

    fn size(&self) -> Option<u64> {
        self.size
    }

    fn position(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    fn warnings(&self) -> Vec<String> {
        let mut out = self.warnings.clone();
        if self.warnings_left_out > 0 {
            out.push(format!("{} more warnings about the input are left out.", self.warnings_left_out));
        }
        out
    }
}

impl Input {
    /// Reads once and gives all frames that came with it.
    fn step(
        &mut self,
        buffer: &mut Buffer,
        tally: &mut Tally,
        sink: &mut dyn FnMut(&[Frame<'_>]),
    ) -> Result<Filled, Trouble> {
        let mut want = MAGIC;
        if let Some(format) = &mut self.format {
            let available = buffer.data().len() as u64;
            let skipped = self.skip.min(available);
            buffer.consume(skipped as usize);
            self.skip -= skipped;
            want = 1;
            if self.skip == 0 {
                let walked = format.walk(buffer.data(), tally, sink);
                buffer.consume(walked.used);
                match walked.next {
                    Next::Fill(n) => want = n,
                    Next::Skip(n) => self.skip = n,
                    Next::Damaged(what) => return Err(Trouble::Damaged(format!("damaged: {what}"))),
                }
                if self.skip > 0 {
                    return Ok(Filled::Some);
                }
            }
        } else if buffer.data().len() >= MAGIC {
            want = self.recognise(buffer, tally)?;
            if want == 0 {
                return Ok(Filled::Some);
            }
        }
        match buffer.fill(&mut self.bytes, want) {
            Ok(Filled::End) => self.ended(buffer, want),
            Ok(filled) => Ok(filled),
            Err(e) => {
                let what = match self.packing {
                    Some(p) if e.kind() == io::ErrorKind::UnexpectedEof => {
                        format!("its {} data is cut short", p.name())
                    }
                    Some(p) => format!("its {} data is damaged ({e})", p.name()),
                    None => format!("reading failed ({e})"),
                };
                Err(Trouble::Damaged(what))
            }
        }
    }

    /// Chooses the format by the first bytes; returns how many it needs in all, or 0 if it can go on.
    fn recognise(&mut self, buffer: &mut Buffer, tally: &mut Tally) -> Result<usize, Trouble> {
        let head = buffer.data();
        if pcap::is_pcap(head) {
            if head.len() < pcap::FILE_HEADER {
                return Ok(pcap::FILE_HEADER);
            }
            let format = Pcap::new(&head[..pcap::FILE_HEADER]).map_err(Trouble::Foreign)?;
            tally.link_type(format.link_type());
            buffer.consume(pcap::FILE_HEADER);
            self.format = Some(Box::new(format));
        } else if pcapng::is_pcapng(head) {
            self.format = Some(Box::new(Pcapng::default()));
        } else if let (Some(packing), None) = (Packing::of(head), self.packing) {
            let head = buffer.restart();
            let rest = std::mem::replace(&mut self.bytes, Box::new(io::empty()));
            self.bytes = packing.unpack(head, rest).map_err(|e| Trouble::Foreign(e.to_string()))?;
            self.packing = Some(packing);
        } else {
            return Err(Trouble::Foreign(self.foreign(head)));
        }
        Ok(0)
    }

    fn foreign(&self, head: &[u8]) -> String {
        let inside = match self.packing {
            Some(packing) => format!("unpacked by {}, ", packing.name()),
            None => String::new(),
        };
        let looks = stream::describe(head);
        format!("not a capture: {inside}{looks} (pcap and pcapng are read, also packed by gzip or zstd)")
    }

    /// The stream ended where `want` bytes were wanted: is that a place to end?
    fn ended(&self, buffer: &Buffer, want: usize) -> Result<Filled, Trouble> {
        let left = buffer.data();
        match &self.format {
            Some(_) if left.is_empty() && self.skip == 0 => Ok(Filled::End),
            Some(_) if self.skip > 0 => Err(Trouble::Damaged(format!("cut short: {} bytes are missing", self.skip))),
            Some(_) => {
                Err(Trouble::Damaged(format!("cut short: the last record has {} of {} bytes", left.len(), want)))
            }
            None if left.is_empty() && self.packing.is_none() => Err(Trouble::Foreign("the file is empty".to_owned())),
            None if left.is_empty() => Err(Trouble::Foreign("nothing is packed in it".to_owned())),
            None if pcap::is_pcap(left) => Err(Trouble::Foreign(format!(
                "cut short: {} bytes of a pcap file's header of {}",
                left.len(),
                pcap::FILE_HEADER
            ))),
            None => Err(Trouble::Foreign(self.foreign(left))),
        }
    }
}

/// Looks into a file; its size, if it is a regular one.
fn probe(path: &Path) -> Result<Option<u64>, CaptureError> {
    let kind = fs::metadata(path).map_err(|source| cannot(path, source))?;
    if kind.is_dir() {
        return Err(cannot(path, io::ErrorKind::IsADirectory.into()));
    }
    if !kind.is_file() {
        return Ok(None);
    }
    let mut head = Vec::with_capacity(512);
    let file = fs::File::open(path).map_err(|source| cannot(path, source))?;
    file.take(512).read_to_end(&mut head).map_err(|source| cannot(path, source))?;
    if head.is_empty() {
        return Err(CaptureError::Unusable(format!("{}: the file is empty", name_of(path))));
    }
    let known = pcap::is_pcap(&head) || pcapng::is_pcapng(&head) || Packing::of(&head).is_some();
    if !known {
        let looks = stream::describe(&head);
        let name = name_of(path);
        return Err(CaptureError::Unusable(format!(
            "{name}: not a capture: {looks} (pcap and pcapng are read, also packed by gzip or zstd)"
        )));
    }
    Ok(Some(kind.len()))
}

fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

fn cannot(path: &Path, source: io::Error) -> CaptureError {
    CaptureError::Io { what: format!("cannot read {}", name_of(path)), source }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::pcap::tests::file as pcap_file;
    use super::super::pcapng::tests::Builder;
    use super::*;

    fn write(dir: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    type Seen = Vec<(u64, Vec<u8>)>;

    /// All frames' numbers and bytes, and the warnings; or why nothing could be read.
    fn read(paths: Vec<PathBuf>) -> Result<(Seen, Vec<String>), String> {
        let mut files = Files::new(paths).map_err(|e| e.to_string())?;
        let mut seen = Seen::new();
        while files
            .read(&mut |frames| seen.extend(frames.iter().map(|f| (f.number, f.data.to_vec()))))
            .map_err(|e| e.to_string())?
            != Progress::End
        {}
        Ok((seen, files.warnings()))
    }

    fn small_pcap() -> Vec<u8> {
        pcap_file(false, false, false, 65535, &[(1, 0, b"one"), (2, 0, b""), (3, 0, b"three")])
    }

    fn small_pcapng() -> Vec<u8> {
        let mut b = Builder::new(false);
        b.interface(1, 0, None, None);
        b.enhanced(0, 1, b"one");
        b.block(0x0bad, b"custom");
        b.enhanced(0, 2, b"");
        b.enhanced(0, 3, b"three");
        b.bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut z = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        z.write_all(bytes).unwrap();
        z.finish().unwrap()
    }

    #[test]
    fn several_files_of_any_packing_are_one_capture() {
        let dir = tempfile::tempdir().unwrap();
        let (pcap, ng) = (small_pcap(), small_pcapng());
        let zstd = [
            &[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9][..], // a skippable frame
            &zstd::encode_all(&pcap[..30], 3).unwrap(),
            &zstd::encode_all(&pcap[30..], 3).unwrap(),
        ]
        .concat();
        let paths = vec![
            write(&dir, "a.pcap", &pcap),
            write(&dir, "b.gz.is.no.gz", &ng),
            write(&dir, "c.pcap", &[gzip(&pcap[..50]), gzip(&pcap[50..])].concat()),
            write(&dir, "d", &zstd),
        ];
        let (seen, warnings) = read(paths).unwrap();
        assert_eq!(warnings, [""; 0]);
        let want: Vec<_> = (1..=12).zip([&b"one"[..], b"", b"three"].map(<[u8]>::to_vec).into_iter().cycle()).collect();
        assert_eq!(seen, want);
    }

    #[test]
    fn cut_at_every_byte_gives_what_came_before() {
        let dir = tempfile::tempdir().unwrap();
        for whole in [small_pcap(), small_pcapng()] {
            let mut most = 0;
            for len in 0..=whole.len() {
                let result = read(vec![write(&dir, "cut", &whole[..len])]);
                let Ok((seen, warnings)) = result else {
                    assert_eq!(most, 0, "an error after {most} frames at {len}");
                    continue;
                };
                assert!(seen.len() >= most, "{len}");
                most = seen.len();
                assert!(warnings.len() <= 1, "{warnings:?}");
            }
            assert_eq!(most, 3);
            // Cut in the last record: a warning, and everything before it.
            let (seen, warnings) = read(vec![write(&dir, "cut", &whole[..whole.len() - 1])]).unwrap();
            assert_eq!(seen.len(), 2);
            assert!(warnings[0].contains("cut short") && warnings[0].contains("after frame 2"), "{warnings:?}");
        }
    }

    #[test]
    fn packed_data_cut_or_damaged_gives_what_came_before() {
        let dir = tempfile::tempdir().unwrap();
        let packets: Vec<Vec<u8>> =
            (0..2000u32).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes().repeat(64)).collect();
        let packets: Vec<(u32, u32, &[u8])> = packets.iter().map(|p| (0, 0, &p[..])).collect();
        let whole = pcap_file(false, false, false, 65535, &packets);
        for packed in [gzip(&whole), zstd::encode_all(&whole[..], 3).unwrap()] {
            let (seen, warnings) = read(vec![write(&dir, "z", &packed)]).unwrap();
            assert_eq!((seen.len(), warnings.len()), (2000, 0));
            let (seen, warnings) = read(vec![write(&dir, "z", &packed[..packed.len() - 9])]).unwrap();
            assert!(seen.len() > 100, "{}", seen.len());
            assert_eq!(warnings.len(), 1);
            let mut bad = packed.clone();
            bad.extend(b"rubbish");
            assert_eq!(read(vec![write(&dir, "z", &bad)]).unwrap().0.len(), 2000);
        }
    }

    #[test]
    fn what_is_no_capture_is_told_before_anything_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let good = write(&dir, "good", &small_pcap());
        for (name, bytes, word) in [
            ("empty", &b""[..], "empty"),
            ("notes", b"just some text\n", "text"),
            ("zip", &gzip(b"{\"json\": true}"), "unpacked by gzip, it looks like JSON"),
            ("zipped nothing", &gzip(b""), "nothing is packed"),
            ("short", &small_pcap()[..20], "20 bytes of a pcap file's header of 24"),
            ("first record cut", &small_pcap()[..30], "nothing can be read"),
        ] {
            let path = write(&dir, name, bytes);
            let error = read(vec![path.clone()]).unwrap_err();
            assert!(error.contains(word) && error.contains(name), "{error}");
        }
        let missing = dir.path().join("missing");
        let mut reader = Files::new(vec![good.clone(), missing]);
        assert!(matches!(reader, Err(CaptureError::Io { .. })));
        reader = Files::new(vec![good, dir.path().to_owned()]);
        assert!(matches!(reader, Err(CaptureError::Io { .. })));
    }

    #[test]
    fn damage_in_one_of_several_files_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let mut bad = small_pcap();
        bad[24 + 11] = 0xff;
        let paths = vec![write(&dir, "bad", &bad), write(&dir, "good", &small_pcap())];
        let (seen, warnings) = read(paths).unwrap();
        assert_eq!(seen.len(), 3);
        assert!(warnings[0].contains("before its first packet"), "{warnings:?}");
    }
}
