//! Any two streams, cut anywhere, to one recogniser with its parser and to the whole detector.
//!
//! One byte chooses the protocol, four are the ports; then pieces: one byte for whose it is (bit 0), whether bytes were
//! lost before it (bit 1) and how much time passed (the others), two for its length, its bytes.

#![no_main]

use hbsniff::liveness::heartbeat::protocols::{OPENING_LIMIT, Opening, Parser, Recognition, TABLE};
use hbsniff::liveness::heartbeat::{Chunk, Heartbeats};
use hbsniff::packet::{SECOND, Time};
use hbsniff::summary::{Both, Side};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let [protocol, p0, p1, p2, p3, pieces @ ..] = bytes else { return };
    let ports = Both([u16::from_be_bytes([*p0, *p1]), u16::from_be_bytes([*p2, *p3])]);
    let recognise = TABLE[usize::from(*protocol) % TABLE.len()].recognise;
    let mut heartbeats = Heartbeats::new(ports, true);
    let (mut heard, mut signs) = (Vec::new(), Vec::new());
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
        heartbeats.data(Chunk { time, frame, from, bytes: piece, len: len as u32 }, &mut heard);
        if let Some(parser) = &mut parser {
            parser.data(from, time, piece, &mut signs);
        } else {
            let room = OPENING_LIMIT - opening[from].len();
            opening[from].extend(&piece[..room.min(len)]);
            let bytes = Both([&opening[Side::Client][..], &opening[Side::Server][..]]);
            if let Recognition::Yes(mut p) = recognise(&Opening { ports, bytes, from_start: flags & 4 == 0 }) {
                for side in Side::BOTH {
                    p.data(side, time, &opening[side], &mut signs);
                }
                parser = Some(p);
            }
        }
    }
    assert!(signs.len() <= bytes.len());
    let _ = heartbeats.summaries(time);
});
