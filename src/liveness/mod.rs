//! What the packets of a flow mean: who watches whom, who gave up on whom.

pub mod findings;
pub mod heartbeat;
pub mod verdict;
