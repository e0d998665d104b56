//! The wire: messages generated from `agentgate/v1/*.proto`, and the only conversions between them and core's nouns.
//!
//! It refuses to decide anything: what cannot be converted is an error that names the field.

pub mod ask;
pub mod facts;
pub mod order;
pub mod reading;
pub mod retention;
#[cfg(feature = "transparency")]
pub mod transparency;
pub mod verdict;

/// The generated messages, clients and servers.
#[allow(
    missing_debug_implementations,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::wildcard_enum_match_arm,
    reason = "generated"
)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/agentgate.v1.rs"));
}

impl v1::record::What {
    /// Where the record's body is, if it has one.
    #[must_use]
    pub fn body_ref(&self) -> Option<&v1::BodyRef> {
        match self {
            Self::Decision(decision) => decision.body.as_ref(),
            Self::Outcome(outcome) => outcome.body.as_ref(),
            Self::Flood(flood) => flood.body.as_ref(),
            Self::Approval(approval) => approval.body.as_ref(),
            Self::Kill(kill) => kill.body.as_ref(),
            Self::Mode(mode) => mode.body.as_ref(),
            Self::Hold(hold) => hold.body.as_ref(),
            Self::Purge(purge) => purge.body.as_ref(),
            Self::Policy(_) => None,
        }
    }

    /// The approval that a record is a step of, or that its call asked for or used.
    #[must_use]
    pub fn approval(&self) -> Option<&prost::bytes::Bytes> {
        let approval = match self {
            Self::Decision(decision) => &decision.approval,
            Self::Approval(step) => &step.approval,
            Self::Outcome(_)
            | Self::Flood(_)
            | Self::Kill(_)
            | Self::Mode(_)
            | Self::Hold(_)
            | Self::Purge(_)
            | Self::Policy(_) => return None,
        };
        Some(approval).filter(|approval| !approval.is_empty())
    }
}

impl v1::Pii {
    /// As people write it, and as it stands in what is signed.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "",
            Self::Off => "off",
            Self::Redact => "redact",
            Self::Tokenise => "tokenise",
        }
    }
}

/// The address of a body: the digest of its stored bytes, which are ciphertext.
#[must_use]
pub fn body_address(stored: &[u8]) -> agentgate_core::digest::Digest {
    agentgate_core::digest::Digest::of("agentgate/body/1", stored)
}

/// What every write that is refused for good begins with. Clients look for it: the code beside it is that of other refusals as well.
pub const HALTED: &str = "nothing is written any more: ";

/// The same of a log that can prove nothing of what was asked.
pub const LOG_STOPPED: &str = "the log is stopped: ";

/// The descriptors of all files, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Raised when a filter and a control plane of different ages could misunderstand each other.
pub const CONTRACT: u32 = 2;
