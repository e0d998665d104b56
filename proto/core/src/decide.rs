//! The law: what the facts and the policies' opinion come to. `settle` is the only place that can make an `Allow`.
//!
//! It is pure: it reads no clock, no table and no store, so that a decision can be settled again years later.

use crate::approval::{Denied, Grant};
use crate::canonical::{Called, call_digest};
use crate::digest::Digest;
use crate::endpoint::Endpoint;
use crate::id::{Asker, Principal, RuleName, Server, Tenant};
use crate::kill::Kill;
use crate::mcp::{Malformed, Message};
use crate::time::Time;
use alloc::string::String;
use alloc::vec::Vec;
use thiserror::Error;

/// Raised whenever the same facts and opinion could settle otherwise than before.
pub const SETTLE_VERSION: u32 = 3;

/// Everything a decision may depend on. What is not in here has no influence.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// When the control plane decided; never before the journal's last `at`.
    pub at: Time,
    pub tenant: Tenant,
    /// On whose behalf the call is made, verified by certificate, by token, or by both.
    pub principal: Principal,
    /// The filter that asks.
    pub asker: Asker,
    pub server: Server,
    /// Of the request, as the filter received it.
    pub endpoint: Endpoint,
    /// What was read of the call, or why it could not be read.
    pub reading: Result<Message, Malformed>,
    /// The highest kill in force that covers the call.
    pub kill: Option<Kill>,
    /// The live grant for a call like this one.
    pub grant: Option<Grant>,
    /// The standing denial of a call like this one.
    pub denied: Option<Denied>,
}

/// What one rule of a policy contributed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub rule: RuleName,
    /// For people; may quote the call, so it is personal data.
    pub reason: String,
    pub scope: Option<Scope>,
}

/// What a tool does to the world, as its table entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Read,
    Write,
}

/// The three sets that all policies in force contributed to, united. Nothing in any of them is a refusal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opinion {
    pub deny: Vec<Finding>,
    pub require_approval: Vec<Finding>,
    pub allow: Vec<Finding>,
}

/// Why a policy gave no opinion, reproducibly. What could not be reproduced (time, memory) never comes here:
/// it makes the call unavailable and yields no verdict.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EvaluationError {
    #[error("the policy failed: {0}")]
    Failed(String),
    #[error("the policy needed more than its instruction limit")]
    Instructions,
}

/// What was decided, by which rule, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub verdict: Verdict,
    pub rule: RuleName,
    pub reason: String,
    pub scope: Option<Scope>,
    /// The approval by whose grant the call is let through. It is spent with this decision.
    pub approval: Option<Digest>,
}

/// The three answers. There is no default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allow(Allow),
    /// A person has to grant this very call first.
    Pending,
    Deny(Denial),
}

/// Proof that `settle` let a call through. It cannot be made anywhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allow(());

/// Which step of the law refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The call could not be read.
    Malformed,
    /// Somebody ordered it to stop.
    Killed,
    /// A policy said no.
    Policy,
    /// An approver said no.
    Approver,
    /// No policy said yes.
    Unmatched,
    /// A policy failed, and an error is a refusal.
    PolicyFailed,
}

/// Settles one call. The order is the law: malformed, kill, policy (deny, then approval, then allow), nothing. A grant lets
/// through what would wait for it, and never what is denied or killed; an approver's no
/// stands against the call for a while.
///
/// Holds, budgets, taint and exceptions will stand before and after `policy` where design §1 puts them.
#[must_use]
pub fn settle(facts: &Facts, opinion: Result<&Opinion, &EvaluationError>) -> Decision {
    let message = match &facts.reading {
        Ok(message) => message,
        Err(malformed) => return deny(Denial::Malformed, malformed.reason(), alloc::format!("{malformed}")),
    };
    if let Some(kill) = &facts.kill {
        return deny(Denial::Killed, "killed", alloc::format!("{} is stopped: {}", kill.target, kill.reason));
    }
    let opinion = match opinion {
        Ok(opinion) => opinion,
        Err(error) => return deny(Denial::PolicyFailed, "policy_failed", alloc::format!("{error}")),
    };
    // The least finding of a set speaks for it, so that the order in which rules ran never shows.
    if let Some(finding) = opinion.deny.iter().min() {
        return decided(Verdict::Deny(Denial::Policy), finding);
    }
    if let Some(finding) = opinion.require_approval.iter().min() {
        let call = || call_digest(&facts.called(message));
        if let Some(denied) = facts.denied.as_ref().filter(|denied| denied.covers(&call(), facts.at)) {
            let why = if denied.reason.is_empty() { "no reason was given" } else { &denied.reason };
            let reason = alloc::format!("an approver denied this very call, until {}: {why}", denied.until);
            return Decision { scope: finding.scope, ..deny(Denial::Approver, "approval_denied", reason) };
        }
        return match facts.grant.as_ref().filter(|grant| grant.covers(&call(), facts.at)) {
            Some(grant) => Decision { approval: Some(grant.approval), ..decided(Verdict::Allow(Allow(())), finding) },
            None => decided(Verdict::Pending, finding),
        };
    }
    if let Some(finding) = opinion.allow.iter().min() {
        return decided(Verdict::Allow(Allow(())), finding);
    }
    deny(Denial::Unmatched, "unmatched", String::from("no rule allows this call"))
}

fn decided(verdict: Verdict, finding: &Finding) -> Decision {
    Decision { verdict, rule: finding.rule.clone(), reason: finding.reason.clone(), scope: finding.scope, approval: None }
}

fn deny(denial: Denial, rule: &'static str, reason: String) -> Decision {
    Decision { verdict: Verdict::Deny(denial), rule: RuleName::of_gate(rule), reason, scope: None, approval: None }
}

// === impl Facts ===

impl Facts {
    /// What is called, if `message` is what was read.
    #[must_use]
    pub fn called<'a>(&'a self, message: &'a Message) -> Called<'a> {
        let Self { tenant, principal, asker, server, endpoint, .. } = self;
        Called { tenant, principal, asker, server, endpoint, message }
    }
}

// === impl Denial ===

impl Denial {
    /// The one spelling of this step, in records, metrics and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Killed => "killed",
            Self::Policy => "policy",
            Self::Approver => "approver",
            Self::Unmatched => "unmatched",
            Self::PolicyFailed => "policy_failed",
        }
    }
}

#[cfg(test)]
mod tests;
