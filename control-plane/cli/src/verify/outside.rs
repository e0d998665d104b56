//! Records of another time than the one that the control plane signed as asked for. What became of a call belongs to it, and so does
//! who agreed to it, whenever that was; what belongs to nothing of the time contradicts the list that names it.

use super::manifest::Asked;
use super::report::Report;
use crate::moment::absolute;
use crate::pack::Pack;
use agentgate_proto::v1;
use agentgate_proto::v1::approval_record::What as Step;
use agentgate_proto::v1::record::What;
use std::collections::BTreeSet;

/// What records of the time bring with them.
#[derive(Debug, Default)]
struct Linked {
    decisions: BTreeSet<u64>,
    /// Those that a record of the time names.
    approvals: BTreeSet<Vec<u8>>,
    /// Calls that asked for one of these.
    askers: BTreeSet<Vec<u8>>,
}

/// A control plane chooses by each record's own time, so no clock is allowed for.
pub(super) fn judge(pack: &Pack, asked: Option<&Asked>, report: &mut Report) {
    let Some(asked) = asked else { return };
    let linked = Linked::of(pack, asked);
    let mut decisions = 0_usize;
    for packed in &pack.records {
        let Some((at_us, what)) = packed.what().filter(|(at_us, _)| !asked.covers(*at_us)) else { continue };
        if !linked.brings(&what) {
            let (sequence, at) = (packed.entry.sequence, absolute(at_us));
            report.wrong_of(
                "records of another time than was asked for",
                format!("record {sequence} is of {at}, which was not asked for, and it belongs to nothing that was"),
            );
        } else if matches!(what, What::Decision(_)) {
            decisions = decisions.saturating_add(1);
        }
    }
    report.shown_of(
        decisions,
        "1 decision is of another time: it asked for an approval that what was asked for names",
        |count| format!("{count} decisions are of another time: they asked for approvals that what was asked for names"),
    );
}

// === impl Linked ===

impl Linked {
    fn of(pack: &Pack, asked: &Asked) -> Self {
        let mut linked = Self::default();
        for packed in &pack.records {
            let Some((at_us, what)) = packed.what() else { continue };
            if matches!(what, What::Decision(_)) {
                linked.decisions.insert(packed.entry.sequence);
            }
            linked.approvals.extend(what.approval().filter(|_| asked.covers(at_us)).map(|approval| approval.to_vec()));
        }
        for packed in &pack.records {
            let Some((_, What::Approval(v1::ApprovalRecord { approval, what: Some(Step::Requested(asks)), .. }))) = packed.what()
            else {
                continue;
            };
            if linked.approvals.contains(approval.as_ref()) {
                linked.askers.insert(asks.call_id.to_vec());
            }
        }
        linked
    }

    fn brings(&self, what: &What) -> bool {
        match what {
            What::Decision(decision) => self.askers.contains(decision.call_id.as_ref()),
            What::Approval(step) => self.approvals.contains(step.approval.as_ref()),
            What::Outcome(outcome) => self.decisions.contains(&outcome.decision),
            What::Flood(_) | What::Kill(_) | What::Mode(_) | What::Hold(_) => false,
            // What decided a call, and what erased one: neither says of itself that something happened in the time.
            What::Policy(_) | What::Purge(_) => true,
        }
    }
}
