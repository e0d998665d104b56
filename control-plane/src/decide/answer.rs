//! What an ask is answered on the wire, and under which names answers are counted. It decides nothing.

use super::{Decided, Undecided};
use agentgate_proto::v1::{self, undecided::Cause};
use std::time::Duration;

pub(super) fn answer_to_wire(counter: u64, answer: Result<Decided, Undecided>) -> v1::Answer {
    let result = match answer {
        Ok(decided) => v1::answer::Result::Decided(decided),
        Err(undecided) => v1::answer::Result::Undecided(undecided_to_wire(&undecided)),
    };
    v1::Answer { counter, result: Some(result) }
}

pub(super) fn undecided_to_wire(undecided: &Undecided) -> v1::Undecided {
    let cause = match undecided {
        Undecided::Overloaded { .. } => Cause::Overloaded,
        Undecided::Expired => Cause::Expired,
        Undecided::Contended => Cause::Contended,
        Undecided::Journal(_) | Undecided::Privacy(_) => Cause::Journal,
        Undecided::Policy(_) => Cause::Policy,
        Undecided::Draining => Cause::Draining,
        Undecided::Identity(_) => Cause::Identity,
        Undecided::Reused => Cause::Reused,
        Undecided::QuotaExceeded => Cause::QuotaExceeded,
        Undecided::Unreadable(_) => Cause::Unspecified,
    };
    v1::Undecided { cause: cause.into(), detail: undecided.to_string() }
}

fn verdict(verdict: v1::Verdict) -> &'static str {
    match verdict {
        v1::Verdict::Unspecified => "unspecified",
        v1::Verdict::Allow => "allow",
        v1::Verdict::Pending => "pending",
        v1::Verdict::Deny => "deny",
    }
}

fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Unspecified => "unspecified",
        Cause::Overloaded => "overloaded",
        Cause::Expired => "expired",
        Cause::Contended => "contended",
        Cause::Journal => "journal",
        Cause::Policy => "policy",
        Cause::Draining => "draining",
        Cause::Identity => "identity",
        Cause::Reused => "reused",
        Cause::QuotaExceeded => "quota_exceeded",
    }
}

/// The one name of why there is no verdict.
pub(super) fn cause_of(undecided: &Undecided) -> &'static str {
    cause(undecided_to_wire(undecided).cause())
}

/// Whether only a person can end it, or the next day.
pub(super) const fn is_lasting(undecided: &Undecided) -> bool {
    match undecided {
        Undecided::Identity(_) | Undecided::QuotaExceeded | Undecided::Unreadable(_) => true,
        Undecided::Overloaded { .. }
        | Undecided::Expired
        | Undecided::Contended
        | Undecided::Journal(_)
        | Undecided::Policy(_)
        | Undecided::Privacy(_)
        | Undecided::Draining
        | Undecided::Reused => false,
    }
}

/// Counts an answer, and how long it took.
pub(super) fn count(answer: &Result<Decided, Undecided>, took: Duration) {
    let label = match answer {
        Ok(decided) => verdict(decided.verdict()),
        Err(undecided) => cause_of(undecided),
    };
    metrics::counter!("agentgate_asks_total", "answer" => label).increment(1);
    metrics::histogram!("agentgate_ask_duration_seconds").record(took.as_secs_f64());
}
