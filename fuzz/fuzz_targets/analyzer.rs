//! See [`hbsniff_fuzz::analyzer`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hbsniff_fuzz::analyzer(bytes));
