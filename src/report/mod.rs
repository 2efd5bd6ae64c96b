//! What is said, and how: the document's model and one file for each form of output.

pub mod events;
pub mod html;
pub mod json;
pub mod model;
pub mod schema;
pub mod state;
pub mod text;

use crate::confine::Confinement;

use std::net::IpAddr;

/// What the report tells of the input and the core cannot know.
#[derive(Clone, Debug, Default)]
pub struct CaptureInfo {
    /// Files or interfaces, as the user named them.
    pub sources: Vec<String>,
    /// Link-layer types by name (`EN10MB`), in order of appearance.
    pub link_types: Vec<String>,
    /// Packets that the kernel dropped for want of buffer; `None` where it cannot be known.
    pub dropped_by_kernel: Option<u64>,
    /// Names of hosts that the input tells.
    pub names: Vec<(IpAddr, String)>,
    /// What was wrong with the input, in sentences.
    pub warnings: Vec<String>,
    /// By what a live capture was held; `None` for files.
    pub confinement: Option<Confinement>,
}
