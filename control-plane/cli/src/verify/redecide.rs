//! Each decision of a pack, settled again from the facts that were recorded and the policy that decided it.
//!
//! Whoever agrees shows that the verdict follows from its facts. It does not show that the facts were so.

use super::report::{Of, Report};
use crate::evidence::pack::{Pack, Packed};
use agentgate_core::decide::{Decision, settle};
use agentgate_core::error::chain;
use agentgate_core::time::Time;
use agentgate_policies::{Bundle, ENGINE, Evaluator, Trouble};
use agentgate_proto::facts::Case;
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use std::collections::BTreeMap;

/// What one decision comes to.
enum Again {
    Same,
    Differs(String),
    Cannot(String),
}

/// Names each decision that differs, and each that cannot be taken again.
pub(super) fn judge(pack: &Pack, body_bytes_max: Option<usize>, report: &mut Report) {
    let Some(body_bytes_max) = body_bytes_max else {
        return report.not_shown("that its decisions follow from their facts: how they are read was not signed".into());
    };
    let loaded = pack.bundles.iter().filter_map(|(digest, content)| {
        let bundle = Bundle::from_bytes(content).ok().filter(|bundle| bundle.digest().as_bytes().as_slice() == digest)?;
        Some((digest.clone(), Evaluator::new(&bundle).ok()?))
    });
    let mut policies: BTreeMap<Vec<u8>, Evaluator> = loaded.collect();
    let mut same = 0_usize;
    for packed in &pack.records {
        let Some((at_us, What::Decision(decision))) = packed.what() else { continue };
        let sequence = packed.entry.sequence;
        match again(packed, Time::from_micros(at_us), &decision, body_bytes_max, &mut policies) {
            Again::Same => same = same.saturating_add(1),
            Again::Differs(why) => report.wrong(format!("decision {sequence} comes to another verdict: {why}")),
            Again::Cannot(why) => report.not_shown_of(sequence, Of::Decision, [&why, &why]),
        }
    }
    report.shown(format!("{same} decisions come to the same verdict again, by the same rule"));
}

fn again(
    packed: &Packed,
    at: Time,
    recorded: &v1::DecisionRecord,
    body_bytes_max: usize,
    policies: &mut BTreeMap<Vec<u8>, Evaluator>,
) -> Again {
    if packed.body.is_sealed() {
        return Again::Cannot("its body is sealed".into());
    }
    let body = packed.opened::<v1::DecisionBody>();
    let case = match Case::of(at, recorded, body.as_ref(), body_bytes_max) {
        Ok(case) => case,
        Err(error) => return Again::Cannot(chain(&error)),
    };
    let settled = match case.without_a_policy() {
        Some(decision) => Ok(decision),
        None => match policies.get_mut(recorded.policy_digest.as_ref()) {
            Some(policy) => asked(policy, &case),
            None => Err("the pack has not the policy that decided it".into()),
        },
    };
    let rule = body.map(|body| body.rule).unwrap_or_default();
    match settled {
        Ok(decision) if v1::Verdict::from(decision.verdict) == recorded.verdict() && decision.rule.as_str() == rule => {
            Again::Same
        }
        Ok(_) if recorded.engine != ENGINE => {
            Again::Cannot(format!("it was decided by the engine `{}`, and this program has `{ENGINE}`", recorded.engine))
        }
        Ok(decision) => {
            Again::Differs(format!("it is recorded by `{rule}`, and comes to {:?} by `{}`", decision.verdict, decision.rule))
        }
        Err(why) => Again::Cannot(why),
    }
}

fn asked(policy: &mut Evaluator, case: &Case) -> Result<Decision, String> {
    match policy.opinion(&case.facts) {
        Ok(opinion) => Ok(settle(&case.facts, Ok(&opinion))),
        Err(Trouble::Evaluation(error)) => Ok(settle(&case.facts, Err(&error))),
        Err(Trouble::Unavailable(why)) => Err(why),
    }
}
