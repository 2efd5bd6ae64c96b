//! See [`hbsniff_fuzz::decode`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hbsniff_fuzz::decode(bytes));
