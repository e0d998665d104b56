//! A record as the journal keeps it, and the name of the stream it stands in.

use super::{Sequence, Version};
use agentgate_core::digest::Digest;
use bytes::Bytes;

/// The name of a stream: a digest, so that the journal's own files name nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream(pub Digest);

/// One stored record: opaque bytes and where they stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub sequence: Sequence,
    pub stream: Stream,
    pub version: Version,
    pub id: Digest,
    pub bytes: Bytes,
}

// === impl Stream ===

impl Stream {
    /// What everybody obeys: the policy in force, kills and modes. Its version is the global control epoch.
    #[must_use]
    pub fn global() -> Self {
        Self(Digest::of("agentgate/stream/global/1", b""))
    }

    /// What is asked of approvers, and what became of it.
    #[must_use]
    pub fn approvals() -> Self {
        Self(Digest::of("agentgate/stream/approvals/1", b""))
    }
}
