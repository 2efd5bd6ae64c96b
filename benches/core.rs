//! What a packet costs: decoding, and the whole analysis, over the frames of all fixtures. `cargo bench`.
//! Compare two builds in alternating runs; a shared machine's single figures mean little. `benches/compare` times the
//! whole program against other readers.

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
fn frames() -> Vec<Kept> {
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
    let kept = frames();
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
    let kept = frames();
    let frames = borrow(&kept);
    bencher.counter(ItemsCount::new(frames.len())).bench_local(|| {
        let mut analyzer = Analyzer::new(Options::default());
        analyzer.frames(&frames, &mut None);
        analyzer.finish(None, &mut None).flows.len()
    });
}

fn main() {
    divan::main();
}
