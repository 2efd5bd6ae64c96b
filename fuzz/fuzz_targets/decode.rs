//! One frame of any link type: its number in two bytes, how much longer it was on the wire in one, the frame.

#![no_main]

use hbsniff::decode::Decoder;
use hbsniff::packet::{Decoded, Frame, LinkType, Time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
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
});
