//! What the fuzz targets do with their bytes: one function for each layer that sees what strangers send. `tests/fuzzing.rs`
//! runs them too, on the kept seeds.

use std::io::Cursor;

use hbsniff::analyzer::{Analyzer, Options};
use hbsniff::capture::{Files, Progress, Source};
use hbsniff::decode::Decoder;
use hbsniff::event::{Event, Sink};
use hbsniff::liveness::heartbeat::protocols::{OPENING_LIMIT, Opening, Parser, Recognition, TABLE};
use hbsniff::liveness::heartbeat::{Chunk, Ear, Heartbeats};
use hbsniff::packet::{Decoded, Flags, Frame, LinkType, MILLISECOND, SECOND, Time};
use hbsniff::report::events::Lines;
use hbsniff::report::text::TextOptions;
use hbsniff::report::{CaptureInfo, json, text};
use hbsniff::summary::{Both, Side};

/// A fuzz target.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const TARGETS: [(&str, Target); 6] = [
    ("files", files),
    ("decode", decode),
    ("fragments", fragments),
    ("analyzer", analyzer),
    ("protocols", protocols),
    ("report", report),
];

/// Any bytes as a capture file, through every reader and on to the decoder.
pub fn files(bytes: &[u8]) {
    let mut files = Files::reading("fuzz", Box::new(Cursor::new(bytes.to_vec())));
    let mut decoder = Decoder::default();
    let mut number = 0;
    loop {
        let read = files.read(&mut |frames| {
            for frame in frames {
                number += 1;
                assert_eq!(frame.number, number);
                assert!(frame.wire_len as usize >= frame.data.len());
                let _ = decoder.decode(frame);
            }
        });
        if !matches!(read, Ok(Progress::More | Progress::Idle(_))) {
            break;
        }
    }
    assert!(files.warnings().len() <= 101);
}

/// One frame of any link type: its number in two bytes, how much longer it was on the wire in one, the frame.
pub fn decode(bytes: &[u8]) {
    let [l0, l1, cut, data @ ..] = bytes else { return };
    let frame = Frame {
        time: Time(0),
        number: 1,
        link: LinkType(u16::from_be_bytes([*l0, *l1])),
        interface: 0,
        wire_len: data.len() as u32 + u32::from(*cut),
        data,
    };
    if let Decoded::Segment(segment) = Decoder::default().decode(&frame) {
        assert!(segment.payload.len() <= segment.payload_len as usize);
        assert!(segment.payload.len() <= data.len());
    }
}

/// Fragments of IPv4 and IPv6 datagrams in any order, overlapping, cut and left waiting: seven bytes say what one is.
pub fn fragments(bytes: &[u8]) {
    let mut decoder = Decoder::default();
    let mut time = Time(0);
    for (number, &[flags, id, o0, o1, len, cut, fill]) in (1..).zip(bytes.as_chunks::<7>().0) {
        let (v6, more, protocol) = (flags & 1 != 0, flags & 2 != 0, if flags & 4 == 0 { 6 } else { flags });
        // Most offsets are small multiples of the usual lengths, so that datagrams are completed at all.
        let offset = u16::from_be_bytes([o0, o1]) & if flags & 8 == 0 { 0x000f } else { 0x1fff };
        let payload = vec![fill; usize::from(len) * if flags & 16 == 0 { 1 } else { 256 }];
        time = time.plus(i64::from(flags >> 5) * SECOND);
        let mut packet;
        if v6 {
            packet = vec![0x60, 0, 0, 0];
            packet.extend((payload.len() as u16).wrapping_add(8).to_be_bytes());
            packet.extend([44, 64]);
            packet.extend([0xfd; 31]);
            packet.push(id & 1);
            packet.extend([protocol, 0]);
            packet.extend((offset << 3 | u16::from(more)).to_be_bytes());
            packet.extend([0, 0, 0, id]);
        } else {
            packet = vec![0x45, 0];
            packet.extend((payload.len() as u16).wrapping_add(20).to_be_bytes());
            packet.extend([0, id]);
            packet.extend((offset | u16::from(more) << 13).to_be_bytes());
            packet.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, id & 1]);
        }
        packet.extend(payload);
        let wire_len = packet.len() as u32;
        packet.truncate(packet.len().saturating_sub(usize::from(cut)));
        let frame = Frame { time, number, link: LinkType(101), interface: 0, wire_len, data: &packet };
        if let Decoded::Segment(segment) = decoder.decode(&frame) {
            assert!(segment.payload.len() <= segment.payload_len as usize);
        }
    }
}

/// A capture of segments that make no sense: each is said by twelve bytes, relative to what its flow sent before.
pub fn analyzer(bytes: &[u8]) {
    let mut analyzer = Analyzer::new(Options::default());
    let (mut time, mut last) = (Time(1_700_000_000_000_000_000), Time(0));
    let mut show = |event: &Event| {
        let _ = format!("{event:?}");
    };
    let mut events: Sink<'_> = Some(&mut show);
    // SND.NXT of both sides of four flows.
    let mut next = [[1000u32, 0xffff_fff0]; 4];
    for (number, &[who, flags, s0, s1, a0, a1, w0, w1, len, cut, wait, fill]) in (1..).zip(bytes.as_chunks::<12>().0) {
        let (flow, side) = (usize::from(who & 3), usize::from(who >> 2 & 1));
        let ports = [40_000 + flow as u16, [80, 5672, 1883, 22][flow]];
        let seq = next[flow][side].wrapping_add(i32::from(i16::from_be_bytes([s0, s1])) as u32);
        let ack = next[flow][1 - side].wrapping_add(i32::from(i16::from_be_bytes([a0, a1])) as u32);
        let payload = vec![fill; usize::from(len) * if who & 8 == 0 { 1 } else { 100 }];
        // From a microsecond to days, and now and then back.
        let span = 1000i64 << (wait & 0x1f).min(38);
        time = time.plus(if wait & 0xe0 == 0xe0 { -span } else { span.saturating_mul(i64::from(wait >> 5) + 1) });
        if who & 16 != 0 {
            analyzer.advance(time, &mut events);
        }
        let mut packet = vec![0x45, 0];
        packet.extend((payload.len() as u16 + 40).to_be_bytes());
        packet.extend([0, number as u8, 0, 0, 64, 6, 0, 0, 10, 0, 0, side as u8, 10, 0, 0, 1 - side as u8]);
        packet.extend(ports[side].to_be_bytes());
        packet.extend(ports[1 - side].to_be_bytes());
        packet.extend(seq.to_be_bytes());
        packet.extend(ack.to_be_bytes());
        packet.extend([0x50, flags, w0, w1, 0, 0, 0, 0]);
        packet.extend(&payload);
        let wire_len = packet.len() as u32;
        packet.truncate(packet.len().saturating_sub(usize::from(cut)));
        let frame = Frame { time, number, link: LinkType(101), interface: 0, wire_len, data: &packet };
        analyzer.frames(&[frame], &mut events);
        let flags = Flags(flags);
        if s0 == 0 && s1 == 0 {
            next[flow][side] = seq.wrapping_add(payload.len() as u32 + u32::from(flags.syn()) + u32::from(flags.fin()));
        }
        last = last.max(time);
    }
    let now = bytes.first().is_some_and(|b| b & 32 != 0).then(|| last.plus(MILLISECOND));
    let analysis = analyzer.finish(now, &mut events);
    let _ = analysis.warnings;
}

/// Any two streams, cut anywhere, to one recogniser with its parser and to the whole detector.
///
/// One byte chooses the protocol, four are the ports; then pieces: one byte for whose it is (bit 0), whether bytes were
/// lost before it (bit 1) and how much time passed (the others), two for its length, its bytes.
pub fn protocols(bytes: &[u8]) {
    let [protocol, p0, p1, p2, p3, pieces @ ..] = bytes else { return };
    let ports = Both([u16::from_be_bytes([*p0, *p1]), u16::from_be_bytes([*p2, *p3])]);
    let recognise = TABLE[usize::from(*protocol) % TABLE.len()].recognise;
    let mut heartbeats = Heartbeats::new(ports, true);
    let (mut ear, mut signs) = (Ear::new(true), Vec::new());
    let mut parser: Option<Box<dyn Parser>> = None;
    let mut opening: Both<Vec<u8>> = Both([Vec::new(), Vec::new()]);
    let (mut rest, mut time, mut frame) = (pieces, Time(0), 0);
    while let [flags, l0, l1, more @ ..] = rest {
        let from = if flags & 1 == 0 { Side::Client } else { Side::Server };
        let len = usize::from(u16::from_be_bytes([*l0, *l1])).min(more.len());
        let (piece, more) = more.split_at(len);
        rest = more;
        frame += 1;
        time = time.plus(i64::from(flags >> 2) * SECOND);
        if flags & 2 != 0 {
            heartbeats.gap(from, 100);
            if let Some(parser) = &mut parser {
                parser.gap(from, 100);
            }
        }
        heartbeats.data(Chunk { time, frame, from, bytes: piece, len: len as u32 }, &mut ear);
        if let Some(parser) = &mut parser {
            parser.data(from, time, piece, &mut signs);
        } else {
            let room = OPENING_LIMIT - opening[from].len();
            opening[from].extend(&piece[..room.min(len)]);
            let bytes = Both([&opening[Side::Client][..], &opening[Side::Server][..]]);
            if let Recognition::Yes(mut p) = recognise(&Opening::new(ports, bytes, flags & 4 == 0)) {
                for side in Side::BOTH {
                    p.data(side, time, &opening[side], &mut signs);
                }
                parser = Some(p);
            }
        }
    }
    assert!(signs.len() <= bytes.len());
    let _ = heartbeats.summaries(time);
}

/// Any bytes as a capture file, through the whole analysis to every form of the report.
pub fn report(bytes: &[u8]) {
    let mut files = Files::reading("fuzz", Box::new(Cursor::new(bytes.to_vec())));
    let mut analyzer = Analyzer::new(Options { memory: Some(1 << 20), ..Options::default() });
    let mut lines = Lines::new(Vec::new());
    while let Ok(Progress::More | Progress::Idle(_)) = files.read(&mut |frames| {
        analyzer.frames(frames, &mut Some(&mut |event| lines.tell(event).expect("memory takes everything")));
    }) {}
    let info = CaptureInfo { warnings: files.warnings(), ..CaptureInfo::default() };
    let analysis = analyzer.finish(None, &mut Some(&mut |event| lines.tell(event).expect("memory takes everything")));
    let mut told = Vec::new();
    text::write(&mut told, &analysis, &info, &TextOptions { all: true, ..TextOptions::default() })
        .expect("memory takes everything");
    let told = String::from_utf8(told).expect("the report is UTF-8");
    assert!(told.chars().all(|c| c == '\n' || !c.is_control()), "{told:?}");
    json::write(&mut Vec::new(), &analysis, &info).expect("memory takes everything");
}
