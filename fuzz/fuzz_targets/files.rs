//! See [`hbsniff_fuzz::files`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hbsniff_fuzz::files(bytes));
