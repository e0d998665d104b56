//! The one map from the three kinds of no to gRPC's codes: refused (an answer), malformed (theirs), unavailable (ours).

use crate::approval::ApprovalError;
use crate::control::OrderError;
use crate::evidence::EvidenceError;
use crate::history::HistoryError;
use crate::identity;
use crate::journal::AppendError;
use crate::retention::RetentionError;
use crate::session::TraceError;
use crate::transparency::{LogError, TransparencyError};
use agentgate_core::error::causes;
use std::error::Error;
use tonic::{Code, Status};

impl From<identity::Refused> for Status {
    fn from(refused: identity::Refused) -> Self {
        Self::permission_denied(refused.to_string())
    }
}

impl From<TraceError> for Status {
    fn from(error: TraceError) -> Self {
        let code = match &error {
            TraceError::Malformed(_) => Code::InvalidArgument,
            TraceError::Absent(_) | TraceError::NotAmongNewest { .. } => Code::NotFound,
            TraceError::Ambiguous { .. } => Code::FailedPrecondition,
            TraceError::Crowded { .. } => Code::ResourceExhausted,
            TraceError::Unavailable(_) => Code::Unavailable,
            TraceError::Damaged(_) => Code::DataLoss,
        };
        Self::new(code, agentgate_core::error::chain(&error))
    }
}

impl From<OrderError> for Status {
    fn from(error: OrderError) -> Self {
        let code = match &error {
            OrderError::Malformed(_) | OrderError::StandIn { .. } => Code::InvalidArgument,
            OrderError::Crowded { .. } => Code::ResourceExhausted,
            OrderError::Journal(_) | OrderError::Read(_) | OrderError::Keys(_) => Code::Unavailable,
            // Whoever repeats it looks first.
            OrderError::Unknown(_) => Code::Unknown,
            OrderError::Contended => Code::Aborted,
        };
        told(code, &error)
    }
}

impl From<ApprovalError> for Status {
    fn from(error: ApprovalError) -> Self {
        let code = match &error {
            ApprovalError::Malformed(_) => Code::InvalidArgument,
            ApprovalError::Absent(_) => Code::NotFound,
            ApprovalError::Ambiguous { .. } | ApprovalError::Refused(_) => Code::FailedPrecondition,
            ApprovalError::Erased => Code::DataLoss,
            ApprovalError::Journal(_) | ApprovalError::Read(_) | ApprovalError::Unaltered(_) | ApprovalError::Keys(_) => {
                Code::Unavailable
            }
            ApprovalError::Unknown(_) => Code::Unknown,
        };
        told(code, &error)
    }
}

impl From<HistoryError> for Status {
    fn from(error: HistoryError) -> Self {
        let code = match error {
            HistoryError::Past(past) => return TraceError::from(past).into(),
            HistoryError::Trace(error) => return error.into(),
            HistoryError::Crowded { .. } => Code::ResourceExhausted,
            HistoryError::Candidate(_) => Code::InvalidArgument,
            HistoryError::NoPolicy => Code::FailedPrecondition,
            HistoryError::Policy(_) | HistoryError::Leaving => Code::Unavailable,
            HistoryError::Left => Code::Cancelled,
            HistoryError::Failed => Code::Internal,
        };
        Self::new(code, agentgate_core::error::chain(&error))
    }
}

impl From<TransparencyError> for Status {
    fn from(error: TransparencyError) -> Self {
        let code = match &error {
            TransparencyError::Absent(_) => Code::NotFound,
            TransparencyError::Log(LogError::Proof(_)) => Code::InvalidArgument,
            TransparencyError::Unread(_)
            | TransparencyError::Spoiled
            | TransparencyError::Log(LogError::Tile(_) | LogError::Write(_) | LogError::Full)
            | TransparencyError::Read(_)
            | TransparencyError::Keep(_)
            | TransparencyError::Shown { .. }
            | TransparencyError::Sign(_) => Code::Unavailable,
            TransparencyError::Stranger(_) | TransparencyError::Leaf(_) => Code::FailedPrecondition,
            TransparencyError::Contradiction(_) | TransparencyError::RolledBack(_) | TransparencyError::Stopped(_) => {
                Code::DataLoss
            }
        };
        Self::new(code, agentgate_core::error::chain(&error))
    }
}

impl From<EvidenceError> for Status {
    fn from(error: EvidenceError) -> Self {
        let code = match error {
            EvidenceError::Log(error) => return error.into(),
            EvidenceError::Past(past) => return TraceError::from(past).into(),
            EvidenceError::Read(_) | EvidenceError::Body(_) | EvidenceError::Key(_) => Code::Unavailable,
            EvidenceError::Another(_) | EvidenceError::Unaltered => Code::DataLoss,
            EvidenceError::Crowded { .. } => Code::ResourceExhausted,
            EvidenceError::Everything
            | EvidenceError::Principal(_)
            | EvidenceError::Pii
            | EvidenceError::SealedPii
            | EvidenceError::Names
            | EvidenceError::Files { .. }
            | EvidenceError::Bodies { .. }
            | EvidenceError::Sealed(_) => Code::InvalidArgument,
            EvidenceError::TooMany { .. } | EvidenceError::Unsigned => Code::FailedPrecondition,
            EvidenceError::Leaving => Code::Unavailable,
            EvidenceError::Left => Code::Cancelled,
            EvidenceError::Slow => Code::ResourceExhausted,
            EvidenceError::NoFile(_) => Code::NotFound,
            EvidenceError::Failed => Code::Internal,
        };
        Self::new(code, agentgate_core::error::chain(&error))
    }
}

impl From<RetentionError> for Status {
    fn from(error: RetentionError) -> Self {
        let code = match error {
            RetentionError::Order(error) => return error.into(),
            RetentionError::Partly { ref why, .. } => Self::from((**why).clone()).code(),
            RetentionError::Malformed(_) | RetentionError::Redacted(_) | RetentionError::OtherName(_) => Code::InvalidArgument,
            RetentionError::Absent(_) | RetentionError::Stranger(_) | RetentionError::NoHold(_) => Code::NotFound,
            RetentionError::Tenants { .. } | RetentionError::Held { .. } | RetentionError::TooMany => Code::FailedPrecondition,
            RetentionError::Crowded => Code::ResourceExhausted,
            RetentionError::Contended | RetentionError::Moved => Code::Aborted,
            RetentionError::Key(_) | RetentionError::Read(_) | RetentionError::GiveBack(_) => Code::Unavailable,
        };
        told(code, &error)
    }
}

/// An order that a journal refuses which writes nothing any more will not be taken by trying again.
fn told(code: Code, error: &(dyn Error + 'static)) -> Status {
    let is_halted = causes(Some(error)).any(|cause| matches!(cause.downcast_ref(), Some(AppendError::Halted(_))));
    Status::new(if is_halted { Code::DataLoss } else { code }, agentgate_core::error::chain(error))
}

/// Why a conversation ends before its filter wants it to.
#[derive(Debug, thiserror::Error)]
pub enum Hangup {
    #[error("the first message of a conversation is a hello")]
    NoHello,
    #[error(transparent)]
    Refused(#[from] identity::Refused),
    #[error("a conversation has one hello")]
    SecondHello,
    #[error("a message without content; the filter may be newer than this control plane")]
    Empty,
    #[error("`{field}` {why}")]
    Malformed { field: &'static str, why: &'static str },
    #[error("the filter speaks contract {theirs}, this control plane {ours}; bring both to one release")]
    Contract { theirs: u32, ours: u32 },
    #[error("the connection reached its age of {age_s} s; open the next one")]
    Age { age_s: u64 },
    #[error("this replica leaves; open the next conversation elsewhere")]
    Gone,
}

impl From<Hangup> for Status {
    fn from(hangup: Hangup) -> Self {
        let code = match &hangup {
            Hangup::NoHello | Hangup::SecondHello | Hangup::Empty | Hangup::Malformed { .. } => Code::InvalidArgument,
            Hangup::Refused(_) => Code::PermissionDenied,
            Hangup::Contract { .. } => Code::FailedPrecondition,
            Hangup::Age { .. } | Hangup::Gone => Code::Unavailable,
        };
        Self::new(code, hangup.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, OrderError, Status};
    use crate::approval::ApprovalError;
    use crate::body::KeyError;
    use crate::journal::{AppendError, Halting, Journal, Memory};
    use crate::retention::RetentionError;
    use agentgate_proto::HALTED;
    use std::sync::Arc;

    #[tokio::test]
    async fn an_order_that_a_halted_journal_refuses_is_not_to_be_tried_again() {
        let journal = Halting::new(Arc::new(Memory::new()));
        journal.halt("the journal contradicts what was signed".into());
        let halted = journal.keep(bytes::Bytes::new()).await.unwrap_err();
        let busy = AppendError::Unavailable("overloaded".into());
        let orders: [fn(AppendError) -> Status; 4] = [
            |error| OrderError::Journal(error).into(),
            |error| ApprovalError::Journal(error).into(),
            |error| RetentionError::Order(OrderError::Journal(error)).into(),
            |error| RetentionError::Key(KeyError::Keep(error)).into(),
        ];
        for order in orders {
            let (told, tried_again) = (order(halted.clone()), order(busy.clone()));
            assert_eq!((told.code(), tried_again.code()), (Code::DataLoss, Code::Unavailable), "{told:?}");
            assert!(told.message().ends_with(&format!("{HALTED}the journal contradicts what was signed")), "{told:?}");
        }
    }
}
