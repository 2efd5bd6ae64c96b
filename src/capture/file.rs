//! Captures in files or arriving on standard input: several in order are one capture.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::format::{Format, Next, REACH, Tally};
use super::netscreen::{self, NetScreen};
use super::pcap::{self, Pcap};
use super::pcapng::{self, Pcapng};
use super::snoop::{self, Snoop};
use super::stream::{self, Buffer, Bytes, Filled, Packing};
use super::{CaptureError, Progress, Source};
use crate::packet::{Frame, LinkType};
use crate::phrase::printable;

/// Bytes that tell a binary format, and at most what tells one that is text.
const MAGIC: usize = 16;
const TEXT_MAGIC: usize = 4096;
/// Damaged places in a file that are passed over; a file with more of them is no capture any more.
const MAX_GAPS: u32 = 1000;
/// Bytes that are searched for a good record after damage.
const MAX_SEARCH: u64 = 256 * 1024 * 1024;
/// Bytes that are searched at once.
const SEARCH_WINDOW: usize = 2 * REACH;
/// What can be read, for those who came with something else.
const READ: &str = "pcap, pcapng, snoop and ScreenOS text dumps are read, also packed by gzip or zstd";
/// Warnings that are kept; a run over thousands of damaged files need not print them all.
const MAX_WARNINGS: usize = 100;

/// Reads capture files, plain or packed by gzip or zstd, one after another.
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
    /// Damage after which a good record is being sought.
    damage: Option<Damage>,
    /// Damaged places passed over so far.
    gaps: u32,
    /// What is to be told of the last one.
    gap: Option<String>,
    /// The frame number before its first.
    first: u64,
}

/// What ends the reading of one file before its end.
enum Trouble {
    /// It is no capture at all.
    Foreign(String),
    /// It was one up to here.
    Damaged(Damage),
}

/// A place from where a file cannot be understood.
struct Damage {
    /// Why, in a phrase.
    what: String,
    /// Where, in the unpacked stream.
    at: u64,
    /// Where the search for a good record began.
    search: u64,
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
        Ok(Files { size, ..Files::over(paths.into(), None) })
    }

    /// A capture that comes from anywhere, under this name.
    #[must_use]
    pub fn reading(name: &str, bytes: Box<dyn Read + Send>) -> Self {
        Files::over(VecDeque::new(), Some(Input::new(name.to_owned(), bytes, 0)))
    }

    fn over(pending: VecDeque<PathBuf>, current: Option<Input>) -> Self {
        Files {
            pending,
            current,
            buffer: Buffer::new(),
            tally: Tally::default(),
            warnings: Vec::new(),
            warnings_left_out: 0,
            dropped: None,
            read: Arc::default(),
            size: None,
        }
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
        self.current = Some(Input {
            name,
            bytes,
            packing: None,
            format: None,
            damage: None,
            gaps: 0,
            gap: None,
            first: self.tally.frames,
        });
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
            Some(Trouble::Damaged(damage)) => {
                let what = format!("{}: {}", input.name, input.place(&damage, &self.tally));
                if input.format.is_none() {
                    return Err(CaptureError::Unusable(format!("{what}: nothing can be read")));
                }
                let rest = match self.tally.frames - input.first {
                    0 => "no packet could be read",
                    _ => "what was read before it is analysed",
                };
                self.warn(format!("{what}; {rest}."));
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
            if let Some(gap) = input.gap.take() {
                let name = input.name.clone();
                self.warn(format!("{name}: {gap}."));
            }
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

    fn names(&self) -> Vec<(IpAddr, String)> {
        self.tally.names.clone()
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
    /// A stream of which nothing is known yet, after `first` frames of others.
    fn new(name: String, bytes: Bytes, first: u64) -> Self {
        Input { name, bytes, packing: None, format: None, damage: None, gaps: 0, gap: None, first }
    }

    /// Reads once and gives all frames that came with it.
    fn step(
        &mut self,
        buffer: &mut Buffer,
        tally: &mut Tally,
        sink: &mut dyn FnMut(&[Frame<'_>]),
    ) -> Result<Filled, Trouble> {
        let want;
        if self.damage.is_some() {
            if buffer.data().len() >= SEARCH_WINDOW && self.search(buffer, tally, false)? {
                return Ok(Filled::Some);
            }
            want = SEARCH_WINDOW;
        } else if let Some(format) = &mut self.format {
            let walked = format.walk(buffer.data(), tally, sink);
            match walked.next {
                Next::Fill(n) => {
                    buffer.consume(walked.used);
                    want = n;
                }
                Next::Damaged { what, search } => {
                    let at = buffer.offset() + walked.used as u64;
                    buffer.consume(search);
                    self.damage = Some(Damage { what: format!("damaged: {what}"), at, search: buffer.offset() });
                    return Ok(Filled::Some);
                }
            }
        } else {
            want = self.recognise(buffer, tally, false)?;
            if want == 0 {
                return Ok(Filled::Some);
            }
        }
        match buffer.fill(&mut self.bytes, want) {
            Ok(Filled::End) => self.ended(buffer, want, tally, sink),
            Ok(filled) => Ok(filled),
            Err(e) => {
                let what = match self.packing {
                    Some(p) if e.kind() == io::ErrorKind::UnexpectedEof => {
                        format!("its {} data is cut short", p.name())
                    }
                    Some(p) => format!("its {} data is damaged ({e})", p.name()),
                    None => format!("reading failed ({e})"),
                };
                let at = buffer.offset();
                Err(Trouble::Damaged(Damage { what, at, search: at }))
            }
        }
    }

    /// Chooses the format by the first bytes; returns how many it needs in all, or 0 if it can go on.
    fn recognise(&mut self, buffer: &mut Buffer, tally: &mut Tally, ended: bool) -> Result<usize, Trouble> {
        let head = buffer.data();
        if let (Some(packing), None) = (Packing::of(head), self.packing) {
            let head = buffer.restart();
            let rest = std::mem::replace(&mut self.bytes, Box::new(io::empty()));
            self.bytes = packing.unpack(head, rest).map_err(|e| Trouble::Foreign(e.to_string()))?;
            self.packing = Some(packing);
            return Ok(0);
        }
        let header = if pcap::is_pcap(head) {
            pcap::FILE_HEADER
        } else if snoop::is_snoop(head) {
            snoop::FILE_HEADER
        } else if pcapng::is_pcapng(head) || netscreen::is_netscreen(head) {
            0
        } else if ended || head.len() >= TEXT_MAGIC {
            return Err(Trouble::Foreign(self.foreign(head)));
        } else {
            let text = head.len() < MAGIC || stream::looks_like_text(head);
            return if text { Ok(TEXT_MAGIC) } else { Err(Trouble::Foreign(self.foreign(head))) };
        };
        if head.len() < header && ended {
            let what = format!("cut short: {} bytes of a capture's file header of {header}", head.len());
            return Err(Trouble::Foreign(what));
        }
        if head.len() < header {
            return Ok(header);
        }
        let format: Box<dyn Format + Send> = if pcap::is_pcap(head) {
            let format = Pcap::new(&head[..header]).map_err(Trouble::Foreign)?;
            tally.link_type(format.link_type());
            Box::new(format)
        } else if snoop::is_snoop(head) {
            let format = Snoop::new(&head[..header]).map_err(Trouble::Foreign)?;
            tally.link_type(format.link_type());
            Box::new(format)
        } else if pcapng::is_pcapng(head) {
            Box::new(Pcapng::default())
        } else {
            Box::new(NetScreen::default())
        };
        buffer.consume(header);
        self.format = Some(format);
        Ok(0)
    }

    /// Seeks the next good record after damage; whether it was found.
    fn search(&mut self, buffer: &mut Buffer, tally: &Tally, ended: bool) -> Result<bool, Trouble> {
        let (Some(format), Some(damage)) = (&self.format, &self.damage) else { return Ok(false) };
        let last = (tally.frames > self.first).then_some(tally.last);
        let data = buffer.data();
        let found = if self.gaps < MAX_GAPS { format.resume(data, ended, last) } else { None };
        buffer.consume(found.unwrap_or(if ended { data.len() } else { data.len().saturating_sub(REACH) }));
        if found.is_some() {
            let skipped = match buffer.offset().saturating_sub(damage.at) {
                1 => "1 byte was skipped".to_owned(),
                n => format!("{n} bytes were skipped"),
            };
            self.gap = Some(format!("{}; {skipped}", self.place(damage, tally)));
            self.damage = None;
            self.gaps += 1;
            return Ok(true);
        }
        let given_up = ended || self.gaps >= MAX_GAPS || buffer.offset() - damage.search > MAX_SEARCH;
        match self.damage.take_if(|_| given_up) {
            Some(damage) => Err(Trouble::Damaged(damage)),
            None => Ok(false),
        }
    }

    /// Tells what is wrong, and where, in bytes and in frames.
    fn place(&self, damage: &Damage, tally: &Tally) -> String {
        let unpacked = if self.packing.is_some() { " of the unpacked stream" } else { "" };
        let after = match tally.frames - self.first {
            0 => "before its first packet".to_owned(),
            _ => format!("after frame {}", tally.frames),
        };
        format!("{}, at byte {}{unpacked}, {after}", damage.what, damage.at)
    }

    fn foreign(&self, head: &[u8]) -> String {
        let inside = match self.packing {
            Some(packing) => format!("unpacked by {}, ", packing.name()),
            None => String::new(),
        };
        let looks = stream::describe(head);
        format!("not a capture: {inside}{looks} ({READ})")
    }

    /// The stream ended where `want` bytes were wanted: is that a place to end?
    fn ended(
        &mut self,
        buffer: &mut Buffer,
        want: usize,
        tally: &mut Tally,
        sink: &mut dyn FnMut(&[Frame<'_>]),
    ) -> Result<Filled, Trouble> {
        let left = buffer.data();
        if let Some(format) = &mut self.format {
            if self.damage.is_none() {
                if format.finish(left, tally, sink) {
                    return Ok(Filled::End);
                }
                let (at, len) = (buffer.offset(), left.len());
                buffer.consume(1);
                let what = format!("cut short: the last record has {len} of {want} bytes");
                self.damage = Some(Damage { what, at, search: at });
            }
            // What seems to miss its end may be a record that claims too much.
            self.search(buffer, tally, true)?;
            return Ok(Filled::Some);
        }
        let what = if left.is_empty() && self.packing.is_none() {
            "the file is empty".to_owned()
        } else if left.is_empty() {
            "nothing is packed in it".to_owned()
        } else {
            self.recognise(buffer, tally, true)?;
            return Ok(Filled::Some);
        };
        Err(Trouble::Foreign(what))
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
    let mut head = Vec::with_capacity(TEXT_MAGIC);
    let file = fs::File::open(path).map_err(|source| cannot(path, source))?;
    file.take(TEXT_MAGIC as u64).read_to_end(&mut head).map_err(|source| cannot(path, source))?;
    if head.is_empty() {
        return Err(CaptureError::Unusable(format!("{}: the file is empty", name_of(path))));
    }
    let known = pcap::is_pcap(&head)
        || pcapng::is_pcapng(&head)
        || snoop::is_snoop(&head)
        || netscreen::is_netscreen(&head)
        || Packing::of(&head).is_some();
    if !known {
        let looks = stream::describe(&head);
        let name = name_of(path);
        return Err(CaptureError::Unusable(format!("{name}: not a capture: {looks} ({READ})")));
    }
    Ok(Some(kind.len()))
}

/// What a file is called before people; `-` is standard input.
#[must_use]
pub fn name_of(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        printable(&path.display().to_string()).into_owned()
    }
}

fn cannot(path: &Path, source: io::Error) -> CaptureError {
    CaptureError::Io { what: format!("cannot read {}", name_of(path)), source }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::netscreen::tests::DUMP;
    use super::super::pcap::tests::file as pcap_file;
    use super::super::pcapng::tests::Builder;
    use super::super::snoop::tests::file as snoop_file;
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
            ("short", &small_pcap()[..20], "20 bytes of a capture's file header of 24"),
            ("short snoop", b"snoop\0\0\0\0\0\0\x02\0\0", "14 bytes of a capture's file header of 16"),
            ("cut gzip", &gzip(&small_pcap())[..15], "its gzip data is cut short"),
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

    /// Twelve packets of different lengths, the times a second apart.
    fn packets() -> Vec<Vec<u8>> {
        (0..12u8).map(|i| vec![0x40 + i; 20 + 3 * usize::from(i)]).collect()
    }

    /// The same packets in each format that has records, with the places where records begin.
    fn with_records() -> Vec<(&'static str, Vec<u8>, Vec<usize>)> {
        let packets = packets();
        let timed: Vec<_> = packets.iter().zip(1_700_000_000..).map(|(p, t)| (t, 500_000, &p[..])).collect();
        let places = |first: usize, len: &dyn Fn(usize) -> usize| -> Vec<usize> {
            let after = packets.iter().scan(first, |at, p| {
                *at += len(p.len());
                Some(*at)
            });
            std::iter::once(first).chain(after).collect()
        };
        let mut ng = Builder::new(false);
        ng.interface(1, 0, None, None);
        let mut ng_places = vec![ng.bytes.len()];
        for (seconds, micros, packet) in &timed {
            ng.enhanced(0, u64::from(*seconds) * 1_000_000 + u64::from(*micros), packet);
            ng_places.push(ng.bytes.len());
        }
        vec![
            ("pcap", pcap_file(false, false, false, 65535, &timed), places(24, &|n| 16 + n)),
            ("big-endian", pcap_file(true, true, false, 65535, &timed), places(24, &|n| 16 + n)),
            ("modified", pcap_file(false, false, true, 65535, &timed), places(24, &|n| 24 + n)),
            ("snoop", snoop_file(4, &timed), places(16, &|n| 24 + n.next_multiple_of(4))),
            ("pcapng", ng.bytes, ng_places),
        ]
    }

    /// Which of [`packets`] were read, by their first byte and whole length.
    fn whole(seen: &Seen) -> Vec<usize> {
        let all = packets();
        seen.iter().filter_map(|(_, data)| all.iter().position(|p| p == data)).collect()
    }

    #[test]
    fn garbage_between_records_is_skipped_and_all_packets_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let noise: Vec<u8> = (0..1000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 | 0x80).collect();
        for (name, bytes, places) in with_records() {
            for garbage in [&noise[..], &noise[..1], &noise[..37], &[0; 200], &[0xff; 5000]] {
                let mut bytes = bytes.clone();
                bytes.splice(places[5]..places[5], garbage.iter().copied());
                let (seen, warnings) = read(vec![write(&dir, name, &bytes)]).unwrap();
                assert_eq!(whole(&seen), (0..12).collect::<Vec<_>>(), "{name}, {} bytes: {warnings:?}", garbage.len());
                assert!(!warnings.is_empty() && warnings.iter().all(|w| w.contains("skipped")), "{warnings:?}");
            }
        }
    }

    #[test]
    fn a_record_that_lies_about_its_length_loses_itself_only() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes, places) in with_records() {
            let at = match name {
                "pcap" | "big-endian" | "modified" => places[4] + 8,
                "snoop" => places[4] + 8,
                _ => places[4] + 4,
            };
            for (i, value) in [(0, 0xff), (1, 0x7f), (2, 0x7f), (3, 0x60), (3, 1), (0, 0x60), (0, 1)] {
                let mut bytes = bytes.clone();
                bytes[at + i] = value;
                let (seen, warnings) = read(vec![write(&dir, name, &bytes)]).unwrap();
                let mut read = whole(&seen);
                read.retain(|&n| n != 4);
                assert_eq!(read, [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11], "{name}, byte {i} is {value:#x}: {warnings:?}");
                assert!(!warnings.is_empty(), "{name}, byte {i} is {value:#x}");
            }
        }
    }

    #[test]
    fn any_damaged_byte_costs_little() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes, places) in with_records() {
            for at in places[3]..places[6] {
                for value in [0xff, bytes[at] ^ 1] {
                    let mut bytes = bytes.clone();
                    bytes[at] = value;
                    let (seen, warnings) = read(vec![write(&dir, name, &bytes)]).unwrap();
                    let read = whole(&seen);
                    assert!(
                        read.len() >= 11 && read.is_sorted(),
                        "{name}, byte {at} is {value:#x}: {read:?} {warnings:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_only_unusual_is_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let packets = packets();
        // Times years apart and out of order, fractions over a second, packets longer than the snaplen and empty ones.
        for seconds in [[1, 2, 3], [1_700_000_000, 1, 1_600_000_000], [0, 4_000_000_000, 0]] {
            for (micros, snaplen) in [(5, 65535), (1_011_041, 65535), (4_000_000_000, 65535), (5, 30)] {
                for empty in [false, true] {
                    let records = packets.iter().zip(seconds.iter().cycle()).enumerate().map(|(i, (p, &seconds))| {
                        let odd = i % 4 == 2;
                        (seconds, if odd { micros } else { 5 }, if odd && empty { &[] } else { &p[..] })
                    });
                    let bytes = pcap_file(false, false, false, snaplen, &records.collect::<Vec<_>>());
                    let (seen, warnings) = read(vec![write(&dir, "odd", &bytes)]).unwrap();
                    assert_eq!((seen.len(), warnings), (12, vec![]), "{seconds:?} {micros} {snaplen}");
                }
            }
        }
    }

    #[test]
    fn nothing_good_after_damage_ends_the_search() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mut bytes, places) in with_records() {
            bytes.truncate(places[3]);
            bytes.extend(std::iter::repeat_n(0xff, 3 * SEARCH_WINDOW));
            let (seen, warnings) = read(vec![write(&dir, name, &bytes)]).unwrap();
            assert_eq!((seen.len(), warnings.len()), (3, 1), "{name} {warnings:?}");
            assert!(warnings[0].contains(&format!("at byte {}, after frame 3", places[3])), "{warnings:?}");
        }
    }

    #[test]
    fn damaged_places_are_counted_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut ng = Builder::new(false);
        ng.interface(1, 0, None, None);
        for i in 0..MAX_GAPS + 10 {
            ng.enhanced(0, u64::from(i), b"packet");
            ng.bytes.push(0xff);
        }
        let (seen, warnings) = read(vec![write(&dir, "gaps", &ng.bytes)]).unwrap();
        assert_eq!(seen.len(), MAX_GAPS as usize + 1);
        assert_eq!(warnings.len(), MAX_WARNINGS + 1);
    }

    #[test]
    fn text_dumps_and_snoop_files_are_told_by_their_content() {
        let dir = tempfile::tempdir().unwrap();
        let (seen, warnings) = read(vec![
            write(&dir, "screenos.txt", DUMP.as_bytes()),
            write(&dir, "screenos.txt.gz", &gzip(DUMP.as_bytes())),
            write(&dir, "solaris.snoop", &snoop_file(4, &[(1, 0, b"packet")])),
        ])
        .unwrap();
        assert_eq!(seen.len(), 9);
        assert_eq!((&seen[8], warnings), (&(9, b"packet".to_vec()), vec![]));
    }

    #[test]
    fn damage_in_one_of_several_files_is_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        let mut bad = small_pcap();
        bad.truncate(24 + 16 + 3);
        bad[24 + 11] = 0xff;
        let paths = vec![write(&dir, "bad", &bad), write(&dir, "good", &small_pcap())];
        let (seen, warnings) = read(paths).unwrap();
        assert_eq!(seen.len(), 3);
        assert!(warnings[0].contains("before its first packet; no packet could be read"), "{warnings:?}");
    }
}
