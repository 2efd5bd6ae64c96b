//! See [`hbsniff_fuzz::fragments`].

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hbsniff_fuzz::fragments(bytes));
