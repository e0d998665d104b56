//! Each decision of a pack, settled again from the facts that were recorded and the policy that decided it.
//!
//! Whoever agrees shows that the verdict follows from its facts. It does not show that the facts were so.

use super::report::{Of, Report};
use super::shape::is_own;
use crate::pack::{self, Body, Pack, Packed};
use agentgate_core::decide::{Decision, settle};
use agentgate_core::error::chain;
use agentgate_core::time::Time;
use agentgate_policies::{Bundle, ENGINE, Evaluator, Trouble};
use agentgate_proto::facts::{Case, altered_word};
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What one decision comes to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Again {
    Same,
    Differs(String),
    /// Why, of one and of many.
    Cannot([String; 2]),
}

/// By the decision's record.
pub(crate) type Answers = BTreeMap<u64, Again>;

/// Whoever settles these decisions of a pack, reading what was asked by this bound: another process, since policies are programs
/// that somebody else wrote.
pub(crate) type Settle = fn(&Pack, &BTreeSet<u64>, usize) -> Answers;

/// Which records a policy is run for: nobody's program is run for what he only says.
pub(super) struct Basis {
    /// In the log, and byte for byte what it has there.
    pub(super) logged: BTreeSet<u64>,
    /// Their bodies are what they committed to.
    pub(super) held: BTreeSet<u64>,
}

/// A pack's policies, each compiled when a decision that can be taken again needs it.
struct Policies<'a> {
    bundles: BTreeMap<&'a [u8], &'a [u8]>,
    compiled: BTreeMap<Vec<u8>, Result<Evaluator, String>>,
}

/// Names each decision that differs, and each that cannot be taken again: only bodies that are what their records committed to
/// say what the facts were.
pub(super) fn judge(pack: &Pack, basis: &Basis, body_bytes_max: Option<usize>, settle: Settle, report: &mut Report) {
    let Some(body_bytes_max) = body_bytes_max else {
        return report.not_shown("that its decisions follow from their facts: how they are read was not signed".into());
    };
    let (mut answers, mut wanted) = (Answers::new(), BTreeSet::new());
    for packed in pack.records.iter().filter(|packed| matches!(packed.what(), Some((_, What::Decision(_))))) {
        let sequence = packed.entry.sequence;
        match untold(packed, basis) {
            Some(why) => drop(answers.insert(sequence, Again::Cannot(why))),
            None => drop(wanted.insert(sequence)),
        }
    }
    answers.extend(settle(pack, &wanted, body_bytes_max));
    let mut same = 0_usize;
    for (sequence, again) in answers {
        match again {
            Again::Same => same = same.saturating_add(1),
            Again::Differs(why) => {
                report.wrong_of(
                    "decisions that come to another verdict",
                    format!("decision {sequence} comes to another verdict: {why}"),
                );
            }
            Again::Cannot([one, many]) => report.not_shown_of(sequence, Of::Decision, [&one, &many]),
        }
    }
    report.shown_of(same, "1 decision comes to the same verdict again, by the same rule", |same| {
        format!("{same} decisions come to the same verdict again, by the same rule")
    });
}

/// Settles them in this process, in the order of the log, and says what each comes to before the next one is begun.
pub(super) fn here(pack: &Pack, wanted: &BTreeSet<u64>, body_bytes_max: usize, said: &mut dyn FnMut(u64, Again)) {
    let bundles = pack.bundles.iter().map(|(digest, content)| (digest.as_slice(), content.as_slice())).collect();
    let mut policies = Policies { bundles, compiled: BTreeMap::new() };
    for packed in pack.records.iter().filter(|packed| wanted.contains(&packed.entry.sequence)) {
        let Some((at_us, What::Decision(decision))) = packed.what() else { continue };
        said(packed.entry.sequence, again(packed, Time::from_micros(at_us), &decision, body_bytes_max, &mut policies));
    }
}

/// Why its body does not say what was asked; none where it does, or was erased, which its facts say themselves.
fn untold(packed: &Packed, basis: &Basis) -> Option<[String; 2]> {
    let sequence = packed.entry.sequence;
    if !basis.logged.contains(&sequence) {
        return Some(alike("nothing shows that the log has such a record".into()));
    }
    match &packed.body {
        Body::None => Some(alike("the pack holds nothing of what was asked".into())),
        Body::Sealed(_) => Some(["its body is sealed", "their bodies are sealed"].map(str::to_owned)),
        Body::Altered { pii, .. } => {
            let said = packed.opened::<v1::DecisionBody>().and_then(|body| body.altered);
            let altered = said.unwrap_or_else(|| v1::Altered { pii: pack::pii(pii).into(), ..v1::Altered::default() });
            let word = altered_word(&altered);
            Some(["it is", "they are"].map(|is| format!("{is} no longer re-decidable: {word} for the pack")))
        }
        Body::Open { .. } if !basis.held.contains(&sequence) => Some(
            ["its body is not what its record committed to", "their bodies are not what their records committed to"]
                .map(str::to_owned),
        ),
        Body::Open { .. } | Body::Erased => None,
    }
}

/// A reason that is said of many as it is of one.
pub(super) fn alike(why: String) -> [String; 2] {
    [why.clone(), why]
}

fn again(packed: &Packed, at: Time, recorded: &v1::DecisionRecord, body_bytes_max: usize, policies: &mut Policies<'_>) -> Again {
    let body = packed.opened::<v1::DecisionBody>();
    let case = match Case::of(at, recorded, body.as_ref(), body_bytes_max) {
        Ok(case) => case,
        Err(error) => return Again::Cannot(alike(chain(&error))),
    };
    let settled = match case.without_a_policy() {
        Some(decision) => Ok(decision),
        None => policies.of(&recorded.policy_digest).and_then(|policy| asked(policy, &case)),
    };
    let rule = body.map(|body| body.rule).unwrap_or_default();
    match settled {
        Ok(decision) if v1::Verdict::from(decision.verdict) == recorded.verdict() && decision.rule.as_str() == rule => {
            Again::Same
        }
        Ok(_) if recorded.engine != ENGINE => {
            let by = format!("decided by the engine `{}`, and this program has `{ENGINE}`", recorded.engine);
            Again::Cannot(["it was", "they were"].map(|was| format!("{was} {by}")))
        }
        Ok(decision) => {
            Again::Differs(format!("it is recorded by `{rule}`, and comes to {:?} by `{}`", decision.verdict, decision.rule))
        }
        Err(why) => Again::Cannot(alike(why)),
    }
}

fn asked(policy: &mut Evaluator, case: &Case) -> Result<Decision, String> {
    match policy.opinion(&case.facts) {
        Ok(opinion) => Ok(settle(&case.facts, Ok(&opinion))),
        Err(Trouble::Evaluation(error)) => Ok(settle(&case.facts, Err(&error))),
        Err(Trouble::Unavailable(why)) => Err(why),
    }
}

// === impl Again ===

impl Again {
    pub(super) fn to_json(&self, sequence: u64) -> Value {
        match self {
            Self::Same => json!({ "decision": sequence }),
            Self::Differs(why) => json!({ "decision": sequence, "differs": why }),
            Self::Cannot(why) => json!({ "decision": sequence, "cannot": why }),
        }
    }

    /// None where it is no answer.
    pub(super) fn read(answer: &Value) -> Option<(u64, Self)> {
        let sequence = answer.get("decision")?.as_u64()?;
        let again = match (answer.get("differs"), answer.get("cannot")) {
            (None, None) => Self::Same,
            (Some(why), None) => Self::Differs(why.as_str()?.to_owned()),
            (None, Some(why)) => Self::Cannot([why.get(0)?.as_str()?.to_owned(), why.get(1)?.as_str()?.to_owned()]),
            (Some(_), Some(_)) => return None,
        };
        Some((sequence, again))
    }
}

// === impl Policies ===

impl Policies<'_> {
    /// The policy of this digest, where these bytes are it.
    fn of(&mut self, digest: &[u8]) -> Result<&mut Evaluator, String> {
        let content = self.bundles.get(digest);
        let compile = || {
            let own = content.filter(|content| is_own(digest, content));
            let content = own.ok_or("the pack has not the policy that decided it")?;
            let bundle = Bundle::from_bytes(content).map_err(|error| format!("its policy cannot be used: {}", chain(&error)))?;
            Evaluator::new(&bundle).map_err(|error| format!("its policy cannot be used: {}", chain(&error)))
        };
        self.compiled.entry(digest.to_vec()).or_insert_with(compile).as_mut().map_err(|why| why.clone())
    }
}
