//! What a packet costs: decoding, the analysis, and both with reading from either format, over the frames of all fixtures.
//! `cargo bench`.
//! Compare two builds in alternating runs; a shared machine's single figures mean little. `benches/compare` times the
//! whole program against other readers.

use std::io::Cursor;

use divan::Bencher;
use divan::counter::ItemsCount;
use hbsniff::analyzer::{Analyzer, Options};
use hbsniff::capture::{Files, Progress, Source};
use hbsniff::decode::Decoder;
use hbsniff::packet::{Frame, LinkType, Time};

/// A frame that owns its bytes.
struct Kept {
    time: Time,
    number: u64,
    link: LinkType,
    wire_len: u32,
    data: Vec<u8>,
}

/// The frames of all fixtures.
fn all_frames() -> Vec<Kept> {
    let fixtures = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures")).expect("fixtures/ can be read");
    let mut paths: Vec<_> = fixtures
        .filter_map(|folder| std::fs::read_dir(folder.ok()?.path()).ok())
        .flatten()
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "pcap"))
        .collect();
    paths.sort();
    let mut source = Files::new(paths).expect("the fixtures are captures");
    let mut kept = Vec::new();
    let mut keep = |frames: &[Frame<'_>]| {
        kept.extend(frames.iter().map(|f| {
            let Frame { time, number, link, wire_len, .. } = *f;
            Kept { time, number, link, wire_len, data: f.data.to_vec() }
        }));
    };
    while source.read(&mut keep).expect("the fixtures can be read") != Progress::End {}
    kept
}

fn borrow(kept: &[Kept]) -> Vec<Frame<'_>> {
    let frame = |k: &'_ Kept| Frame {
        time: k.time,
        number: k.number,
        link: k.link,
        interface: 0,
        wire_len: k.wire_len,
        data: &[],
    };
    kept.iter().map(|k| Frame { data: &k.data, ..frame(k) }).collect()
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let kept = all_frames();
    let frames = borrow(&kept);
    bencher.counter(ItemsCount::new(frames.len())).bench_local(|| {
        let mut decoder = Decoder::default();
        for frame in &frames {
            divan::black_box(decoder.decode(frame));
        }
    });
}

#[divan::bench]
fn analyse(bencher: Bencher<'_, '_>) {
    let kept = all_frames();
    let frames = borrow(&kept);
    bencher.counter(ItemsCount::new(frames.len())).bench_local(|| {
        let mut analyzer = Analyzer::new(Options::default());
        analyzer.frames(&frames, &mut None);
        analyzer.finish(None, &mut None).flows.len()
    });
}

#[divan::bench(args = ["pcap", "pcapng"])]
fn read(bencher: Bencher<'_, '_>, format: &str) {
    let (mut file, mut frames) = (beginning(format), 0usize);
    for kept in all_frames().iter().filter(|kept| kept.link == LinkType(1)) {
        record(&mut file, format, kept);
        frames += 1;
    }
    bencher.counter(ItemsCount::new(frames)).bench_local(|| {
        let mut source = Files::reading(format, Box::new(Cursor::new(file.clone())));
        let mut analyzer = Analyzer::new(Options::default());
        while source.read(&mut |frames| analyzer.frames(frames, &mut None)).expect("it can be read") != Progress::End {}
        analyzer.finish(None, &mut None).flows.len()
    });
}

/// How a file of Ethernet frames with times in nanoseconds begins.
fn beginning(format: &str) -> Vec<u8> {
    let words: &[u32] = if format == "pcap" {
        &[0xa1b2_3c4d, 2 | 4 << 16, 0, 0, 0x4_0000, 1]
    } else {
        // A section header, and an interface with its if_tsresol.
        &[0x0a0d_0d0a, 28, 0x1a2b_3c4d, 1, u32::MAX, u32::MAX, 28, 1, 32, 1, 0x4_0000, 9 | 1 << 16, 9, 0, 32]
    };
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Adds a frame.
fn record(file: &mut Vec<u8>, format: &str, kept: &Kept) {
    let (time, len) = (kept.time.0 as u64, kept.data.len() as u32);
    let padded = len.next_multiple_of(4);
    let head = if format == "pcap" {
        vec![(time / 1_000_000_000) as u32, (time % 1_000_000_000) as u32, len, kept.wire_len]
    } else {
        vec![6, 32 + padded, 0, (time >> 32) as u32, time as u32, len, kept.wire_len]
    };
    file.extend(head.iter().flat_map(|word| word.to_le_bytes()));
    file.extend(&kept.data);
    if format != "pcap" {
        file.resize(file.len() + (padded - len) as usize, 0);
        file.extend((32 + padded).to_le_bytes());
    }
}

fn main() {
    divan::main();
}
