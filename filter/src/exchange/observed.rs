//! What a server's answer was like, seen while it flows by: nothing is held back and nothing is changed.

use super::Hold;
use super::definitions::Definitions;
use agentgate_core::digest::Digest;
use agentgate_core::mcp::response::{self, Outcome, Response, ServerMessage};
use agentgate_core::mcp::{Limits, RequestId, sse};
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
    /// Nothing that says more than the HTTP status does.
    Nothing,
    /// The stream is over, and the answer that it owed was not in it.
    Missing,
    /// An error about a request whose id its server could not read: ours, unless a better answer follows.
    Unaddressed,
    Result,
    Failure,
}

/// The one answer that a request has: a response with its id. What answers somebody else's request is not it.
#[derive(Debug)]
pub(super) struct Answer {
    /// None: the client's message wants no answer.
    id: Option<RequestId>,
    found: Found,
}

#[derive(Debug)]
pub(super) struct Observed {
    look: Look,
    answer: Answer,
    limits: Limits,
    /// Of a list of tools: those that it names. None: it is none.
    definitions: Option<Definitions>,
    /// It should be a list of tools, and is not.
    no_list: bool,
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

// === impl Answer ===

impl Answer {
    pub(super) fn to(id: Option<RequestId>) -> Self {
        Self { id, found: Found::Nothing }
    }

    pub(super) fn is(&self, response: &Response) -> bool {
        self.id.is_some() && self.id == response.id
    }

    /// The worst that was said under the request's own id stays.
    pub(super) fn see(&mut self, response: &Response, failed: bool) {
        let Some(wanted) = &self.id else { return };
        match &response.id {
            Some(id) if id == wanted => {
                let worst = failed || self.found == Found::Failure;
                self.found = if worst { Found::Failure } else { Found::Result };
            }
            None if failed && self.found == Found::Nothing => self.found = Found::Unaddressed,
            Some(_) | None => {}
        }
    }

    pub(super) fn found(&self) -> Found {
        self.found
    }

    /// What was found, where the stream that was to bring the answer is over.
    pub(super) fn found_in_stream(&self) -> Found {
        if self.found == Found::Nothing && self.id.is_some() { Found::Missing } else { self.found }
    }
}

// === impl Observed ===

impl Observed {
    pub(super) fn new(look: Look, answer: Answer, limits: Limits, lists: bool) -> Self {
        Self { look, answer, limits, definitions: lists.then(Definitions::default), no_list: false }
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
                    let rest = reader.rest().len();
                    for data in events.iter().filter_map(|event| event.data.as_deref()) {
                        self.look_into(data);
                    }
                    if !hold.set(rest) {
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
        matches!(self.look, Look::Sse(_)) && self.answer.found() != Found::Nothing
    }

    /// At the end of the body: what was found, and what could not be looked into.
    pub(super) fn end(&mut self) -> (Found, &'static str) {
        let (found, why) = match &mut self.look {
            Look::Json(copy) => {
                let copy = std::mem::take(copy);
                self.look_into(&copy);
                (self.answer.found(), "")
            }
            Look::Sse(_) => (self.answer.found_in_stream(), ""),
            Look::Away(why) => (self.answer.found(), *why),
        };
        (found, if self.no_list { "the answer is no list of tools" } else { why })
    }

    pub(super) fn definitions(&mut self) -> Definitions {
        self.definitions.take().unwrap_or_default()
    }

    fn look_into(&mut self, message: &[u8]) {
        match response::read(message, &self.limits) {
            Ok(ServerMessage::Response(response)) => {
                let failed = match response.outcome {
                    Outcome::Error | Outcome::ToolError => true,
                    Outcome::Result => false,
                };
                self.answer.see(&response, failed);
                if let Some(definitions) = &mut self.definitions
                    && response.result().is_some()
                    && self.answer.is(&response)
                {
                    match response.tools() {
                        Ok(_) => definitions.add(&response),
                        Err(_) => self.no_list = true,
                    }
                }
            }
            Ok(ServerMessage::Request { .. } | ServerMessage::Notification { .. }) | Err(_) => {}
        }
    }
}
