//! A capture of segments that make no sense: each is said by twelve bytes, relative to what its flow sent before.

#![no_main]

use hbsniff::analyzer::{Analyzer, Options};
use hbsniff::packet::{Flags, Frame, LinkType, MILLISECOND, Time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut analyzer = Analyzer::new(Options::default());
    let (mut time, mut last) = (Time(1_700_000_000_000_000_000), Time(0));
    let mut events = |event: &hbsniff::event::Event| {
        let _ = format!("{event:?}");
    };
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
});
