//! See [`hbsniff_fuzz::protocols`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hbsniff_fuzz::protocols(bytes));
