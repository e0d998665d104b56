//! Verdicts, core → wire. There is no way back: nothing on the wire can make core's `Allow`.

use crate::v1;
use agentgate_core::decide::Verdict;

impl From<Verdict> for v1::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allow(_) => Self::Allow,
            Verdict::Pending => Self::Pending,
            Verdict::Deny(_) => Self::Deny,
        }
    }
}
