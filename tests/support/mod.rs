//! What several test files need: frames as a network would carry them, and what must hold for every capture.
#![allow(dead_code, clippy::unwrap_used)] // Each test file uses a part of it.

pub mod frames;
pub mod invariants;
pub mod scenario;
