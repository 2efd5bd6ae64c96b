//! What a person should know or change about a flow: few findings, each with its figures and its remedy.

use crate::summary::FlowSummary;

/// Nobody would notice the death of either side.
pub const NO_LIVENESS: &str = "no_liveness";
/// Only one side would notice the other's death.
pub const ONE_SIDED_LIVENESS: &str = "one_sided_liveness";

/// Whether a side of this open flow could die and the other would never know: it has one of the two findings that say so.
#[must_use]
pub fn unprotected(flow: &FlowSummary) -> bool {
    flow.findings.iter().any(|f| f.code == NO_LIVENESS || f.code == ONE_SIDED_LIVENESS)
}
