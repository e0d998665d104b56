//! One call, or one flood, in one line: what lists, tails and memory hold of it. It reads nothing, and its size is bounded.

use super::{Ended, Found, Recorded};
use crate::body::SessionId;
use crate::journal::Sequence;
use agentgate_core::approval::id_text;
use agentgate_core::digest::Digest;
use agentgate_core::time::Time;
use agentgate_proto::v1;

/// What a line says of a target and of a reason, at most. A caller may name a tool with as many bytes as a call may have;
/// the whole name is in the body, and so is the whole reason.
const TARGET_BYTES_MAX: usize = 2_048;
const REASON_BYTES_MAX: usize = 4_096;

/// One call in one line.
pub(super) fn of(recorded: &Recorded) -> v1::CallTrace {
    let body = &recorded.body;
    v1::CallTrace {
        sequence: recorded.sequence,
        at_us: recorded.at.micros(),
        call_id: recorded.call.to_string(),
        tenant: body.tenant.clone(),
        principal: body.principal.clone(),
        server: body.ask.as_ref().map(|ask| ask.server.clone()).unwrap_or_default(),
        method: body.method.clone(),
        target: beginning(&body.target, TARGET_BYTES_MAX),
        handle: body.handle.clone(),
        verdict: recorded.record.verdict,
        rule: body.rule.clone(),
        reason: beginning(&body.reason, REASON_BYTES_MAX),
        outcome: v1::OutcomeKind::Unspecified.into(),
        duration_us: None,
        flood: None,
        observed: !recorded.record.enforced,
        approval: Digest::try_from(recorded.record.approval.as_ref()).map(|id| id_text(&id)).unwrap_or_default(),
        no_outcome: recorded.record.no_outcome,
        session: session_of(recorded.record.body.as_ref()),
    }
}

/// The line of a call whose body may be gone: then it says when and what, and no more.
pub(super) fn of_found(found: &Found) -> v1::CallTrace {
    match found.clone().recorded() {
        Some(recorded) => of(&recorded),
        None => v1::CallTrace {
            sequence: found.sequence,
            at_us: found.at.micros(),
            verdict: found.record.verdict,
            observed: !found.record.enforced,
            no_outcome: found.record.no_outcome,
            session: session_of(found.record.body.as_ref()),
            ..v1::CallTrace::default()
        },
    }
}

fn session_of(reference: Option<&v1::BodyRef>) -> String {
    reference.and_then(SessionId::of).map(|session| session.to_string()).unwrap_or_default()
}

/// The text, or what of it fits before an ellipsis.
pub(crate) fn beginning(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.into();
    }
    let end = text.floor_char_boundary(bytes_max - '…'.len_utf8());
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// A flood in one line: what it stands for, and what all of it was refused for.
pub(super) fn flood(sequence: Sequence, at: Time, flood: &v1::FloodRecord, names: &v1::FloodBody) -> v1::CallTrace {
    v1::CallTrace {
        sequence,
        at_us: at.micros(),
        tenant: names.tenant.clone(),
        principal: names.principal.clone(),
        verdict: v1::Verdict::Deny.into(),
        rule: format!("gate.{}", flood.reason),
        reason: "unreadable calls beyond the rate up to which each has a record of its own".into(),
        session: session_of(flood.body.as_ref()),
        flood: Some(v1::Flood { count: flood.count, from_us: flood.from_us, to_us: flood.to_us }),
        ..v1::CallTrace::default()
    }
}

/// What is left of a line when its body is erased.
pub(super) fn erase(trace: &mut v1::CallTrace) {
    *trace = v1::CallTrace {
        sequence: trace.sequence,
        at_us: trace.at_us,
        verdict: trace.verdict,
        outcome: trace.outcome,
        duration_us: trace.duration_us,
        flood: trace.flood.take(),
        observed: trace.observed,
        no_outcome: trace.no_outcome,
        session: std::mem::take(&mut trace.session),
        ..v1::CallTrace::default()
    };
}

/// A report amends the unknown, and never the other way round.
pub(super) fn amend(trace: &mut v1::CallTrace, ended: &Ended) {
    if ended.kind != v1::OutcomeKind::Unknown || trace.outcome() == v1::OutcomeKind::Unspecified {
        end(trace, ended);
    }
}

/// The line of a call that ended so.
pub(super) fn end(trace: &mut v1::CallTrace, ended: &Ended) {
    trace.set_outcome(ended.kind);
    trace.duration_us = known(ended.duration_us);
}

/// A duration as people read it. Records write zero where there is none to know: nothing was released, or nobody reported.
pub(super) fn known(duration_us: u64) -> Option<u64> {
    (duration_us != 0).then_some(duration_us)
}
