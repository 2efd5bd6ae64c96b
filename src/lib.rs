//! hbsniff answers one question from packets: the client died; does the server know, when did it know, and would it
//! know if it died now?
//!
//! Data flows one way: [`capture`] gives frames, [`decode`] makes segments of them, [`flow`] puts segments in order on
//! their connection, [`liveness`] says what they mean, [`report`] tells it. The analysis reads no clock and does no I/O.

pub mod analysis;
pub mod analyzer;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod confine;
pub mod decode;
pub mod engine;
pub mod event;
pub mod evidence;
pub mod explain;
pub mod flow;
pub mod liveness;
pub mod metrics;
pub mod names;
pub mod packet;
pub mod phrase;
pub mod report;
pub mod run;
#[cfg(test)]
mod sample;
pub mod sockets;
pub mod summary;
pub mod tables;
pub mod timeline;
pub mod totals;
#[cfg(feature = "tui")]
pub mod tui;
#[cfg(not(feature = "tui"))]
#[path = "tui/absent.rs"]
pub mod tui;
pub mod watch;
pub mod whole;

/// What the build can do: a feature's name, whether it is in, what it gives.
const FEATURES: &[(&str, bool, &str)] = &[
    ("libpcap", cfg!(feature = "libpcap"), "tcpdump's filter expressions (--capture-filter) and -i any"),
    ("parquet", cfg!(feature = "parquet"), "tables for DuckDB and Spark (--parquet)"),
    ("tui", cfg!(feature = "tui"), "the live view (--tui)"),
];
