//! One connection's two sequence spaces: what was sent, acknowledged, resent, and in which order.

pub mod connection;
pub mod duplicates;
pub mod prefetch;
pub mod reassembly;
pub mod sequence;
pub mod table;
