//! How to say no: the answer that a refused request gets instead of the server's, in the same words whoever stands in its way.
//!
//! Every word of a policy or a caller goes through the JSON writer, and none into a header.

mod rest;

use crate::json::{Json, Number, Object};
use crate::mcp::{Era, Malformed, Message, Method, Protocol, RequestId, Unread, Version};
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

/// How a call that was denied or is pending is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// As a tool's result with `isError`, where the call has one: the model reads it and goes on.
    Result,
    /// As a JSON-RPC error: many clients end the agent's run.
    Error,
    /// As HTTP 403: many clients hang or die.
    Http403,
}

/// A whole HTTP answer. Its body is always JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub http_status: u16,
    pub body: Vec<u8>,
    /// The Retry-After header, in seconds.
    pub retry_after_s: Option<&'static str>,
}

/// A verdict that lets nothing through, in the words of the rule that made it.
#[derive(Clone, Copy, Debug)]
pub struct No<'a> {
    pub pending: bool,
    pub rule: &'a str,
    pub reason: &'a str,
    /// What to quote to an approver; empty where there is nothing.
    pub approval: &'a str,
}

/// Why there is no verdict.
#[derive(Clone, Copy, Debug)]
pub struct Undecided<'a> {
    /// Its name.
    pub cause: &'a str,
    /// In words; may be empty.
    pub detail: &'a str,
    /// The same again gets the same, until a person mends the gate.
    pub is_lasting: bool,
}

/// JSON-RPC codes of our own stay outside of those that the protocols reserve.
pub const DENIED: i32 = 403;
const PENDING: i32 = 428;
const UNDECIDED: i32 = 503;
/// When an undecided or pending call is worth another try.
const RETRY_AFTER_MS: u64 = 1_000;
/// The key under which clients find what was decided.
const VERDICT_KEY: &str = "agentgate/verdict";
/// Longer words of the control plane are cut: they are for a model's context.
const WORDS_CHARS_MAX: usize = 500;

#[must_use]
pub fn decided(denied: Denied, message: &Message, no: No<'_>, call_id: &str) -> Reply {
    let version = match message.protocol {
        Protocol::Rest => return rest::decided(no, call_id),
        Protocol::Mcp(version) => version,
    };
    let verdict = if no.pending { "pending" } else { "deny" };
    let mut meta = Object::default().with("verdict", verdict).with("rule", words(no.rule)).with("call_id", call_id);
    if no.pending {
        if !no.approval.is_empty() {
            meta.set("approval", no.approval);
        }
        meta.set("retry_after_ms", RETRY_AFTER_MS);
    }
    let text = no.text();
    let code = if no.pending { PENDING } else { DENIED };
    let Some(id) = message.request_id() else { return Reply::error(403, None, code, &text, meta) };
    match denied {
        Denied::Result if message.method == Method::ToolsCall => Reply::result(version, id, &text, meta),
        Denied::Result | Denied::Error => Reply::error(200, Some(id), code, &text, meta),
        Denied::Http403 => Reply::error(403, Some(id), code, &text, meta),
    }
}

/// Nobody decided. Never a tool's result: the call may be tried again, and nothing was done.
#[must_use]
pub fn undecided(denied: Denied, message: &Message, undecided: Undecided<'_>, call_id: &str) -> Reply {
    if message.protocol == Protocol::Rest {
        return rest::undecided(undecided, call_id);
    }
    let text = undecided_text(undecided);
    let id = message.request_id();
    let http_status = match denied {
        Denied::Result | Denied::Error if id.is_some() => 200,
        Denied::Result | Denied::Error | Denied::Http403 => 503,
    };
    Reply::error(http_status, id, UNDECIDED, &text, undecided_meta(undecided, call_id))
}

/// `taken`: the protocol versions that the route takes. None: it is one of a REST server.
#[must_use]
pub fn malformed(unread: &Unread, taken: Option<&[Version]>, call_id: &str) -> Reply {
    let Some(versions) = taken else { return rest::malformed(unread, call_id) };
    let answer = unread.answer();
    let mut data = Object::default().with("reason", unread.reason.reason()).with("call_id", call_id);
    if unread.reason == Malformed::UnsupportedVersion {
        let supported = versions.iter().map(|version| Json::from(version.as_str())).collect::<Vec<_>>();
        data.set("supported", supported);
    }
    let text = unread_text(unread);
    Reply::with_data(answer.http_status, unread.id.as_ref(), answer.code, &text, data)
}

/// A refusal that is not about a call: no route names the path, or the request wants to be something else.
#[must_use]
pub fn plain(http_status: u16, text: &str) -> Reply {
    Reply::with_data(http_status, None, DENIED, text, Object::default())
}

/// Nothing was read, for a reason of ours.
#[must_use]
pub fn unavailable(is_rest: bool, text: &str) -> Reply {
    if is_rest { rest::unavailable(text) } else { plain(503, text) }
}

/// What stands in the place of an answer that could not be passed on. The call itself was made.
#[must_use]
pub fn withheld(id: Option<&RequestId>, why: &str, call_id: &str) -> Vec<u8> {
    let meta = Object::default().with("verdict", "withheld").with("call_id", call_id);
    let text = format!("the server's answer was withheld: {why}");
    Reply::error(200, id, UNDECIDED, &text, meta).body
}

fn unread_text(unread: &Unread) -> String {
    format!("this request was refused unread: {unread}")
}

fn undecided_text(undecided: Undecided<'_>) -> String {
    let cause = undecided.cause;
    let detail = if undecided.detail.is_empty() { String::new() } else { format!(": {}", words(undecided.detail)) };
    let next = if undecided.is_lasting {
        "Sending it again does not help: whoever runs this gate has to mend it first."
    } else {
        "Wait a moment, then send the same again."
    };
    format!("this was not done: nobody could decide whether it may be ({cause}{detail}). Nothing was changed. {next}")
}

fn undecided_meta(undecided: Undecided<'_>, call_id: &str) -> Object {
    let mut meta =
        Object::default().with("verdict", "undecided").with("rule", "").with("cause", undecided.cause).with("call_id", call_id);
    if !undecided.is_lasting {
        meta.set("retry_after_ms", RETRY_AFTER_MS);
    }
    meta
}

fn words(text: &str) -> String {
    text.chars().take(WORDS_CHARS_MAX).collect()
}

// === impl No ===

impl No<'_> {
    fn text(&self) -> String {
        let (rule, reason) = (words(self.rule), words(self.reason));
        if self.pending {
            let approval = match self.approval {
                "" => String::new(),
                id => format!(" It is approval `{id}`: an approver runs `agentgate approve show {id}`."),
            };
            format!(
                "This was not done: an approver must grant it first (rule `{rule}`: {reason}).{approval} Tell the user so. \
                 When it is granted, send the same arguments again; other arguments need another approval."
            )
        } else {
            format!(
                "This was not done: the policy refuses it (rule `{rule}`: {reason}). \
                 Sending the same arguments again will be refused again: choose another way, or tell the user."
            )
        }
    }
}

// === impl Reply ===

impl Reply {
    /// A tool's result that says it failed, so that the model reads it and goes on.
    fn result(version: Version, id: &RequestId, text: &str, meta: Object) -> Self {
        let content = Object::default().with("type", "text").with("text", text);
        let mut result = Object::default();
        if version.era() == Era::Stateless {
            result.set("resultType", "complete");
        }
        let result = result
            .with("content", vec![Json::from(content)])
            .with("isError", true)
            .with("_meta", Object::default().with(VERDICT_KEY, meta));
        Self::json(200, &envelope(Some(id)).with("result", result))
    }

    fn error(http_status: u16, id: Option<&RequestId>, code: i32, text: &str, meta: Object) -> Self {
        Self::with_data(http_status, id, code, text, Object::default().with(VERDICT_KEY, meta))
    }

    fn with_data(http_status: u16, id: Option<&RequestId>, code: i32, text: &str, data: Object) -> Self {
        let code = Number::parse(&code.to_string()).map_or(Json::Null, Json::Number);
        let mut error = Object::default().with("code", code).with("message", text);
        if !data.is_empty() {
            error.set("data", data);
        }
        Self::json(http_status, &envelope(id).with("error", error))
    }

    fn json(http_status: u16, body: &Object) -> Self {
        Self { http_status, body: body.to_string().into_bytes(), retry_after_s: None }
    }
}

fn envelope(id: Option<&RequestId>) -> Object {
    let id = match id {
        Some(RequestId::String(text)) => Json::from(text.as_str()),
        Some(RequestId::Number(text)) => Number::parse(text).map_or(Json::Null, Json::Number),
        None => Json::Null,
    };
    Object::default().with("jsonrpc", "2.0").with("id", id)
}
