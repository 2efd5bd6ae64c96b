//! See [`hbsniff_fuzz::report`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hbsniff_fuzz::report(bytes));
