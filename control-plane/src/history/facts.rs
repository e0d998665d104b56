//! A decision on record, before the law again, with the policies that this journal has.

use crate::config::Limits;
use crate::decide::{Undecided, consult};
use crate::policy::InForce;
use agentgate_core::decide::{Decision, Facts};
use agentgate_core::time::Time;
use agentgate_proto::{facts, v1};
use thiserror::Error;

/// Why a decision cannot be taken again.
#[derive(Clone, Debug, Error)]
pub(super) enum NotAgain {
    #[error("the journal no longer has the policy that decided it")]
    PolicyGone,
    #[error(transparent)]
    Facts(#[from] facts::NotAgain),
    #[error(transparent)]
    Undecided(#[from] Undecided),
}

/// A recorded call as the law saw it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) facts: Facts,
    /// Its filter could not read it, though it can be read here.
    pub(super) refused_by_filter: bool,
}

// === impl Case ===

impl Case {
    /// The facts of a decision of `at`.
    ///
    /// # Errors
    /// When they are not all there, or another law decided on them.
    pub(super) fn of(
        at: Time,
        record: &v1::DecisionRecord,
        body: Option<&v1::DecisionBody>,
        limits: &Limits,
    ) -> Result<Self, NotAgain> {
        let facts::Case { facts, refused_by_filter } = facts::Case::of(at, record, body, limits.body_bytes_max as usize)?;
        Ok(Self { facts, refused_by_filter })
    }

    /// The same call, if nothing were killed, granted or denied: what the policy alone says of it.
    pub(super) fn before_the_policy(mut self) -> Self {
        (self.facts.kill, self.facts.grant, self.facts.denied) = (None, None, None);
        self
    }

    /// What the call comes to under `policy`.
    ///
    /// # Errors
    /// When the policy cannot be asked.
    pub(super) fn settle(&self, policy: Option<&InForce>) -> Result<Decision, Undecided> {
        if self.refused_by_filter && self.facts.reading.is_ok() {
            return Ok(facts::refused_by_filter());
        }
        consult(policy, &self.facts)
    }
}
