//! What a server's answer was like, seen while it flows by: nothing is held back and nothing is changed.

use super::Hold;
use agentgate_core::digest::Digest;
use agentgate_core::mcp::response::{self, Outcome, ServerMessage};
use agentgate_core::mcp::{Limits, sse};
use sha2::{Digest as _, Sha256};

/// Size and digest of a body that is never whole in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    sha256: Sha256,
    pub(super) bytes: u64,
}

/// What is looked for in the body.
#[derive(Debug)]
pub(super) enum Look {
    /// One message; the copy ends when the body is too large.
    Json(Vec<u8>),
    Sse(sse::Reader),
    /// No form that is known, or it was given up, for this reason.
    Away(&'static str),
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Result,
    Failure,
}

#[derive(Debug)]
pub(super) struct Observed {
    look: Look,
    found: Found,
    limits: Limits,
}

// === impl Tally ===

impl Tally {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
    }

    /// Counts bytes that were not looked at; the digest is void then.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// The digest of the body's SHA-256: the length of a stream is not known when its first byte is hashed.
    pub(super) fn digest(&self) -> Digest {
        Digest::of("agentgate/result/1", &self.sha256.clone().finalize())
    }
}

// === impl Observed ===

impl Observed {
    pub(super) fn new(look: Look, limits: Limits) -> Self {
        Self { look, found: Found::Nothing, limits }
    }

    pub(super) fn add(&mut self, bytes: &[u8], hold: &mut Hold) {
        match &mut self.look {
            Look::Json(copy) => {
                let size = copy.len().saturating_add(bytes.len());
                if size > self.limits.body_bytes_max || !hold.set(size) {
                    hold.release();
                    self.look = Look::Away("too large to look into");
                } else {
                    copy.extend_from_slice(bytes);
                }
            }
            Look::Sse(reader) => match reader.feed(bytes) {
                Ok(events) => {
                    for data in events.iter().filter_map(|event| event.data.as_deref()) {
                        self.found = look_into(data, self.found, &self.limits);
                    }
                    if !hold.set(reader.rest().len()) {
                        hold.release();
                        self.look = Look::Away("an event was too large to look into");
                    }
                }
                Err(_) => self.look = Look::Away("an event was too large to look into"),
            },
            Look::Away(_) => {}
        }
    }

    /// Whether a stream's answer has gone by, whole. What follows it, if anything, is no part of it.
    pub(super) fn has_answer(&self) -> bool {
        matches!(self.look, Look::Sse(_)) && self.found != Found::Nothing
    }

    /// At the end of the body: what was found, and what could not be looked into.
    pub(super) fn end(&self) -> (Found, &'static str) {
        match &self.look {
            Look::Json(copy) if copy.is_empty() => (self.found, ""),
            Look::Json(copy) => (look_into(copy, self.found, &self.limits), ""),
            Look::Sse(_) => (self.found, ""),
            Look::Away(why) => (self.found, why),
        }
    }
}

/// The worst that was seen stays.
fn look_into(message: &[u8], found: Found, limits: &Limits) -> Found {
    match response::read(message, limits) {
        Ok(ServerMessage::Response(response)) => match response.outcome {
            Outcome::Error | Outcome::ToolError => Found::Failure,
            Outcome::Result if found == Found::Failure => Found::Failure,
            Outcome::Result => Found::Result,
        },
        Ok(ServerMessage::Request { .. } | ServerMessage::Notification { .. }) | Err(_) => found,
    }
}
