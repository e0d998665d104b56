//! One call before the law: the facts that the rooms give, what the policy says of them, and what follows for the call's
//! approval. It waits for nobody and writes nothing.

use super::{Decide, Question, Undecided};
use crate::approval::{Asked, Live, Step};
use crate::body::{Scope, Seal};
use crate::control::Now;
use crate::identity::Caller;
use crate::policy::{self, InForce};
use agentgate_core::approval::Use;
use agentgate_core::canonical::call_digest;
use agentgate_core::decide::{Decision, Denial, Facts, Opinion, Verdict, settle};
use agentgate_core::digest::Digest;
use agentgate_core::mcp::{Malformed, Message, Method};
use agentgate_core::mode::Mode;
use agentgate_policies::Trouble;
use agentgate_proto::facts::{REFUSED_BY_FILTER, refused_by_filter};
use agentgate_proto::reading::endpoint_of;
use agentgate_proto::v1::ApprovalUse;
use std::sync::OnceLock;

/// How the call came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// Its filter waits for the verdict.
    Asked,
    /// Its filter refused it already, since it could not read it.
    Refused,
    /// Its filter sent it on already, since its route observes.
    Observed,
}

#[derive(Debug)]
pub(super) struct Hearing<'a> {
    pub(super) question: &'a Question,
    pub(super) caller: &'a Caller,
    reading: Result<Message, Malformed>,
    treatment: Treatment,
    digest: OnceLock<Option<Digest>>,
}

/// What a hearing came to.
#[derive(Debug)]
pub(super) struct Weighed {
    pub(super) facts: Facts,
    pub(super) decision: Decision,
    /// Of the canonical call; none where it could not be read.
    pub(super) call: Option<Digest>,
    /// False: the call goes on whatever the verdict says.
    pub(super) enforced: bool,
    pub(super) approval: Option<(Digest, ApprovalUse)>,
    /// What the decision does to its approval, in the same append.
    pub(super) step: Option<Step>,
}

// === impl Weighed ===

impl Weighed {
    /// It is for a person to decide.
    pub(super) fn waits(&self) -> bool {
        self.enforced && self.decision.verdict == Verdict::Pending
    }
}

// === impl Hearing ===

impl<'a> Hearing<'a> {
    pub(super) fn new(
        question: &'a Question,
        caller: &'a Caller,
        reading: Result<Message, Malformed>,
        treatment: Treatment,
    ) -> Self {
        Self { question, caller, reading, treatment, digest: OnceLock::new() }
    }

    /// The session that the call is of.
    pub(super) fn scope(&self) -> Scope {
        let handle = self.reading.as_ref().ok().and_then(|message| message.handle.as_ref());
        Scope::Calls {
            tenant: self.caller.subject.tenant.clone(),
            principal: self.caller.subject.principal.clone(),
            handle: handle.map(|handle| handle.as_str().into()).unwrap_or_default(),
        }
    }

    /// Settles the call under what is in force now.
    pub(super) fn weigh(&self, decide: &Decide, now: &Now, policy: Option<&InForce>, seal: &Seal) -> Result<Weighed, Undecided> {
        let mut facts = self.caller.facts(decide.session.moment(), endpoint_of(&self.question.ask), self.reading.clone());
        facts.kill = now.kill(&facts);
        let enforced = self.is_enforced(now, &facts);
        let call = self.call_digest(&facts);
        // What is not enforced needs no grant, and must not use one up.
        let live = match call.filter(|_| enforced) {
            Some(call) => decide.approvals.live(&call, facts.at),
            None => Live::None,
        };
        match &live {
            Live::Granted(grant) => facts.grant = Some(grant.clone()),
            Live::Denied(denied) => facts.denied = Some(denied.clone()),
            Live::None | Live::Pending(_) => {}
        }
        let decision = self.settle(&facts, policy)?;
        let mut weighed = Weighed { facts, decision, call, enforced, approval: None, step: None };
        if enforced {
            self.approve(decide, (policy, seal), live, &mut weighed)?;
        }
        Ok(weighed)
    }

    fn settle(&self, facts: &Facts, policy: Option<&InForce>) -> Result<Decision, Undecided> {
        if self.treatment == Treatment::Refused {
            // Whatever can be read of it here, it did not reach the tool.
            return Ok(if facts.reading.is_err() { settle(facts, Ok(&Opinion::default())) } else { refused_by_filter() });
        }
        consult(policy, facts)
    }

    fn is_enforced(&self, now: &Now, facts: &Facts) -> bool {
        match self.treatment {
            Treatment::Refused => true,
            Treatment::Observed => false,
            Treatment::Asked => {
                let route = if self.question.ask.observe { Mode::Observe } else { Mode::Enforce };
                facts.kill.is_some() || now.mode(&facts.server, tool(facts), route) == Mode::Enforce
            }
        }
    }

    /// What the decision asks of approvals, or does to one.
    fn approve(
        &self,
        decide: &Decide,
        (policy, seal): (Option<&InForce>, &Seal),
        live: Live,
        weighed: &mut Weighed,
    ) -> Result<(), Undecided> {
        let (at, call) = (weighed.facts.at, &self.question.call);
        match (weighed.decision.verdict, live) {
            (Verdict::Pending, Live::Pending(id)) => weighed.approval = Some((id, ApprovalUse::Waited)),
            (Verdict::Pending, Live::None | Live::Granted(_) | Live::Denied(_)) => {
                let Some(call_digest) = weighed.call else { return Ok(()) };
                let policy = policy.map(|policy| policy.bundle.digest());
                let asked = Asked { call, call_digest, facts: &weighed.facts, decision: &weighed.decision, policy };
                let step = decide.approvals.request(&asked, seal);
                let step = step.map_err(|crowded| Undecided::Overloaded { what: crowded.what, max: crowded.max })?;
                let step = step.map_err(Undecided::Journal)?;
                weighed.approval = Some((step.approval(), ApprovalUse::Requested));
                weighed.step = Some(step);
            }
            (Verdict::Allow(_), _) => {
                if let Some(id) = weighed.decision.approval {
                    weighed.approval = Some((id, ApprovalUse::Used));
                    weighed.step = Some(decide.approvals.spend(id, Use::Used, call, at, seal).map_err(Undecided::Journal)?);
                }
            }
            (Verdict::Deny(Denial::Approver), Live::Denied(denied)) => {
                weighed.approval = Some((denied.approval, ApprovalUse::Refused));
            }
            // A policy that denies the call takes the grant back. What failed, or was stopped, says nothing of the call.
            (Verdict::Deny(Denial::Policy | Denial::Unmatched), Live::Granted(grant)) => {
                weighed.approval = Some((grant.approval, ApprovalUse::Voided));
                weighed.step =
                    Some(decide.approvals.spend(grant.approval, Use::Voided, call, at, seal).map_err(Undecided::Journal)?);
            }
            (Verdict::Deny(_), Live::None | Live::Pending(_) | Live::Granted(_) | Live::Denied(_)) => {}
        }
        Ok(())
    }

    fn call_digest(&self, facts: &Facts) -> Option<Digest> {
        let digest = || {
            let message = facts.reading.as_ref().ok()?;
            Some(call_digest(&facts.called(message)))
        };
        *self.digest.get_or_init(digest)
    }
}

/// The tool that is called, where one is.
pub(super) fn tool(facts: &Facts) -> Option<&str> {
    let message = facts.reading.as_ref().ok()?;
    message.target.as_deref().filter(|_| message.method == Method::ToolsCall)
}

/// The law, over what the policy in force says. A call that cannot be read needs no policy to be refused.
pub(crate) fn consult(policy: Option<&InForce>, facts: &Facts) -> Result<Decision, Undecided> {
    if facts.reading.is_err() || facts.kill.is_some() {
        return Ok(settle(facts, Ok(&Opinion::default())));
    }
    let policy = policy.ok_or_else(|| Undecided::Policy("no policy is in force; `agentgate status` says why".into()))?;
    match policy::opinion(policy, facts) {
        Ok(opinion) => Ok(settle(facts, Ok(&opinion))),
        Err(Trouble::Evaluation(error)) => Ok(settle(facts, Err(&error))),
        Err(Trouble::Unavailable(why)) => Err(Undecided::Policy(why)),
    }
}

/// The reason under which refusals of this call are counted.
pub(super) fn refusal(reading: &Result<Message, Malformed>) -> &'static str {
    reading.as_ref().map_or_else(|malformed| malformed.reason(), |_| REFUSED_BY_FILTER)
}
