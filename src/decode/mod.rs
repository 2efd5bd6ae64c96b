//! From a frame's bytes to a TCP segment or an ICMP error about one: links, VLANs, IP, fragments, tunnels.

use crate::packet::{Decoded, Frame, Skip};

/// Decodes frames; keeps the fragments that wait for their rest.
#[derive(Default)]
pub struct Decoder {}

impl Decoder {
    /// Decodes one frame. The result borrows the frame's bytes, or the decoder's own where fragments were put together.
    pub fn decode<'a>(&'a mut self, _frame: &Frame<'a>) -> Decoded<'a> {
        Decoded::Skipped(Skip::NotTcp)
    }
}
