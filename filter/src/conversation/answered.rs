//! What came of a question. Only a verdict that says allow, in so many words, is `Allow`, and only one that is not to be
//! enforced, in so many words, is `Observed`.

use crate::count::Count;
use agentgate_core::reply;
use agentgate_proto::v1;

/// Of an approval's id, in hex.
const APPROVAL_DIGITS: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    Allow,
    /// There is a verdict, whatever it is, and the control plane's orders say that it is not enforced.
    Observed,
    /// `approval` is the id to quote to an approver; empty where there is none.
    Pending {
        rule: String,
        reason: String,
        approval: String,
    },
    Deny {
        rule: String,
        reason: String,
    },
    Undecided(Undecided),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// These tools must not be shown.
    Hidden(Vec<String>),
    Undecided(Undecided),
}

/// There is no verdict, and so no release. It may be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecided {
    pub cause: Cause,
    pub detail: String,
}

/// Why there is no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    // Theirs, as the control plane says.
    Overloaded,
    Expired,
    Contended,
    Journal,
    Policy,
    Draining,
    Identity,
    Reused,
    QuotaExceeded,
    // Ours.
    /// An answer that says nothing that this contract knows.
    Unreadable,
    NoAnswer,
    StreamLost,
    Unreachable,
    /// Too many wait already.
    Crowded,
}

// === impl Answered ===

impl Answered {
    /// Whether the call goes on to the server.
    #[must_use]
    pub const fn releases(&self) -> bool {
        match self {
            Self::Allow | Self::Observed => true,
            Self::Pending { .. } | Self::Deny { .. } | Self::Undecided(_) => false,
        }
    }
}

impl From<v1::Answer> for Answered {
    fn from(answer: v1::Answer) -> Self {
        let decided = match answer.result {
            Some(v1::answer::Result::Decided(decided)) => decided,
            Some(v1::answer::Result::Undecided(undecided)) => return Self::Undecided(undecided.into()),
            None => return Self::Undecided(Undecided::unreadable()),
        };
        let v1::Decided { verdict, rule, reason, observed, approval, sequence: _ } = decided;
        match v1::Verdict::try_from(verdict) {
            Ok(v1::Verdict::Allow | v1::Verdict::Pending | v1::Verdict::Deny) if observed => Self::Observed,
            Ok(v1::Verdict::Allow) => Self::Allow,
            Ok(v1::Verdict::Pending) => Self::Pending { rule, reason, approval: id_of(approval) },
            Ok(v1::Verdict::Deny) => Self::Deny { rule, reason },
            Ok(v1::Verdict::Unspecified) | Err(_) => Self::Undecided(Undecided::unreadable()),
        }
    }
}

/// What is shown to be typed by a person is an id and nothing else.
fn id_of(approval: String) -> String {
    let is_id = approval.len() == APPROVAL_DIGITS && approval.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_id { approval } else { String::new() }
}

// === impl Listed ===

impl From<v1::Listed> for Listed {
    fn from(listed: v1::Listed) -> Self {
        match listed.result {
            Some(v1::listed::Result::Hidden(hidden)) => Self::Hidden(hidden.tools),
            Some(v1::listed::Result::Undecided(undecided)) => Self::Undecided(undecided.into()),
            None => Self::Undecided(Undecided::unreadable()),
        }
    }
}

// === impl Undecided ===

impl Undecided {
    fn unreadable() -> Self {
        Self { cause: Cause::Unreadable, detail: String::new() }
    }

    /// As whoever is refused is told.
    #[must_use]
    pub fn told(&self) -> reply::Undecided<'_> {
        reply::Undecided { cause: self.cause.name(), detail: &self.detail, is_lasting: self.cause.is_lasting() }
    }
}

impl From<v1::Undecided> for Undecided {
    fn from(undecided: v1::Undecided) -> Self {
        use v1::undecided::Cause as Wire;
        let cause = match undecided.cause() {
            Wire::Unspecified => Cause::Unreadable,
            Wire::Overloaded => Cause::Overloaded,
            Wire::Expired => Cause::Expired,
            Wire::Contended => Cause::Contended,
            Wire::Journal => Cause::Journal,
            Wire::Policy => Cause::Policy,
            Wire::Draining => Cause::Draining,
            Wire::Identity => Cause::Identity,
            Wire::Reused => Cause::Reused,
            Wire::QuotaExceeded => Cause::QuotaExceeded,
        };
        Self { cause, detail: undecided.detail }
    }
}

// === impl Cause ===

impl Cause {
    /// The one spelling of this cause, in messages and in the names of counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::Expired => "expired",
            Self::Contended => "contended",
            Self::Journal => "journal",
            Self::Policy => "policy",
            Self::Draining => "draining",
            Self::Identity => "identity",
            Self::Reused => "reused",
            Self::QuotaExceeded => "quota_exceeded",
            Self::Unreadable => "unreadable",
            Self::NoAnswer => "no_answer",
            Self::StreamLost => "stream_lost",
            Self::Unreachable => "unreachable",
            Self::Crowded => "crowded",
        }
    }

    /// Whether only a person can end it, or the next day: the filter may not ask for this, its tenant's quota is used up, or
    /// the two do not speak the same contract.
    #[must_use]
    pub const fn is_lasting(self) -> bool {
        match self {
            Self::Identity | Self::QuotaExceeded | Self::Unreadable => true,
            Self::Overloaded
            | Self::Expired
            | Self::Contended
            | Self::Journal
            | Self::Policy
            | Self::Draining
            | Self::Reused
            | Self::NoAnswer
            | Self::StreamLost
            | Self::Unreachable
            | Self::Crowded => false,
        }
    }

    #[must_use]
    pub const fn count(self) -> Count {
        match self {
            Self::Overloaded => Count::UndecidedOverloaded,
            Self::Expired => Count::UndecidedExpired,
            Self::Contended => Count::UndecidedContended,
            Self::Journal => Count::UndecidedJournal,
            Self::Policy => Count::UndecidedPolicy,
            Self::Draining => Count::UndecidedDraining,
            Self::Identity => Count::UndecidedIdentity,
            Self::Reused => Count::UndecidedReused,
            Self::QuotaExceeded => Count::UndecidedQuotaExceeded,
            Self::Unreadable => Count::UndecidedUnreadable,
            Self::NoAnswer => Count::UndecidedNoAnswer,
            Self::StreamLost => Count::UndecidedStreamLost,
            Self::Unreachable => Count::UndecidedUnreachable,
            Self::Crowded => Count::UndecidedCrowded,
        }
    }
}
