//! One message: what approvers are told of one event, as JSON. The arguments of the call are never in it: they stay behind
//! the gate, where `agentgate approve show` shows them to somebody who may see them.

use crate::approval::News;
use crate::privacy::Privacy;
use agentgate_core::digest::Digest;
use agentgate_core::time::Time;
use agentgate_proto::v1::{Approval, ApprovalRequest, ApprovalState};
use prost::Message as _;
use serde::Serialize;
use std::time::Duration;

/// A message and how it fared.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// The same for the same event, in whatever life of the process it is told.
    pub(super) id: String,
    /// What it tells of.
    pub(super) approval: Digest,
    /// Exactly the bytes that are signed and sent.
    pub(super) body: String,
    /// It tells how an approval was decided.
    pub(super) is_decision: bool,
    /// In the order in which messages came; 0: not put in yet.
    pub(super) number: u64,
    pub(super) attempts: u32,
    /// Monotonic: when it is tried next, and until when it is worth it.
    pub(super) due: Duration,
    pub(super) until: Duration,
}

#[derive(Debug, Serialize)]
struct Told<'a> {
    id: &'a str,
    event: String,
    at: String,
    tenant: &'a str,
    principal: &'a str,
    server: &'a str,
    method: &'a str,
    tool: &'a str,
    scope: &'a str,
    rule: &'a str,
    reason: &'a str,
    expires_at: String,
    /// Who decided, and what they said.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'a str>,
    /// What somebody wrote is not in it, since it could not be altered as it had to be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    left_out: bool,
    decide: String,
}

// === impl Message ===

impl Message {
    /// None: approvers are not told of this. `now` and `elapsed` are the same moment. What it says was altered as its tenant's
    /// records are, or else what somebody wrote is left out.
    pub(super) async fn of(news: &News, privacy: &Privacy, (now, elapsed): (Time, Duration)) -> Option<Self> {
        let event = event(&news.approval)?;
        let request = ApprovalRequest::decode(news.approval.request.clone()).ok()?;
        let shown = privacy.shown(news.approval.clone()).await;
        let left_out = shown.is_err();
        let approval = &shown.unwrap_or_else(|error| {
            tracing::warn!(%error, "the key of a tenant cannot be had; approvers are told without the words of a call");
            without_words(&news.approval, request)
        });
        let request = ApprovalRequest::decode(approval.request.clone()).ok()?;
        let body = serde_json::to_string(&Told { left_out, ..told(approval, &request, event) }).ok()?;
        let left_us = Time::from_micros(approval.expires_at_us).micros_since(now);
        Some(Self {
            id: format!("{}_{event}", approval.id),
            approval: news.id,
            body,
            is_decision: approval.state() != ApprovalState::Pending,
            number: 0,
            attempts: 0,
            due: elapsed,
            until: elapsed.saturating_add(Duration::from_micros(left_us)),
        })
    }
}

fn event(approval: &Approval) -> Option<&'static str> {
    match approval.state() {
        ApprovalState::Pending => Some("requested"),
        ApprovalState::Granted => Some("granted"),
        ApprovalState::Denied => Some("denied"),
        ApprovalState::Unspecified | ApprovalState::Used | ApprovalState::Voided | ApprovalState::Lapsed => None,
    }
}

/// Without what an agent, a policy or an approver wrote.
fn without_words(approval: &Approval, request: ApprovalRequest) -> Approval {
    let mut approval = approval.clone();
    let without = ApprovalRequest { target: String::new(), reason: String::new(), ..request };
    approval.request = without.encode_to_vec().into();
    approval.steps.iter_mut().for_each(|step| step.reason.clear());
    approval
}

fn told<'a>(approval: &'a Approval, request: &'a ApprovalRequest, event: &str) -> Told<'a> {
    let step = approval.steps.last();
    let at_us = step.map_or(request.requested_at_us, |step| step.at_us);
    Told {
        id: &approval.id,
        event: format!("approval.{event}"),
        at: Time::from_micros(at_us).to_string(),
        tenant: &request.tenant,
        principal: &request.principal,
        server: &request.server,
        method: &request.method,
        tool: &request.target,
        scope: &request.scope,
        rule: &request.rule,
        reason: &request.reason,
        expires_at: Time::from_micros(approval.expires_at_us).to_string(),
        by: step.map(|step| step.by.as_str()),
        answer: step.map(|step| step.reason.as_str()),
        left_out: false,
        decide: format!("agentgate approve show {}", approval.id),
    }
}
