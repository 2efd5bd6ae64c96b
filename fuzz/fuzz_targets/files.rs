//! Any bytes as a capture file, through every reader and on to the decoder.

#![no_main]

use std::io::Cursor;

use hbsniff::capture::{Files, Progress, Source};
use hbsniff::decode::Decoder;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
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
});
