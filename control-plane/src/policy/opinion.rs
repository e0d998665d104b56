//! Opinions: one evaluator a thread, on the thread that asks. No call waits for the evaluation of another, and there is no
//! queue between them that would need a bound.

use super::InForce;
use agentgate_core::decide::{Facts, Opinion};
use agentgate_core::digest::Digest;
use agentgate_policies::{Bundle, Evaluator, Trouble};
use std::cell::RefCell;

thread_local! {
    static EVALUATOR: RefCell<Option<(Digest, Evaluator)>> = const { RefCell::new(None) };
}

/// What the policy in force says of these facts.
///
/// # Errors
/// When it failed: reproducibly, which settles as a denial, or not, and then there is no verdict.
pub fn opinion(policy: &InForce, facts: &Facts) -> Result<Opinion, Trouble> {
    with(&policy.bundle, |evaluator| evaluator.opinion(facts))
}

/// Those of `tools` that the policy in force refuses to this caller whatever their arguments.
///
/// # Errors
/// As `opinion`.
pub fn hidden(policy: &InForce, facts: &Facts, tools: &[String]) -> Result<Vec<String>, Trouble> {
    with(&policy.bundle, |evaluator| evaluator.hidden(facts, tools))
}

fn with<T>(bundle: &Bundle, ask: impl FnOnce(&mut Evaluator) -> Result<T, Trouble>) -> Result<T, Trouble> {
    EVALUATOR.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(digest, _)| *digest != bundle.digest()) {
            let evaluator = Evaluator::new(bundle).map_err(|error| Trouble::Unavailable(error.to_string()))?;
            *slot = Some((bundle.digest(), evaluator));
        }
        match slot {
            Some((_, evaluator)) => ask(evaluator),
            None => Err(Trouble::Unavailable("there is no evaluator".into())),
        }
    })
}
