//! Reads what a server sends back: a result, an error, or a message of its own; and shortens a list of tools.
//!
//! What it cannot read is an error, and the filter withholds it. It looks at no result's content.

use super::envelope::check_keys;
use crate::json::{Bounds, Fault, Json, Keys, Object, read as read_json};
use crate::mcp::{Era, Limits, RequestId};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use thiserror::Error;

/// The members of a JSON-RPC message.
const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
/// The members of a `tools/list` result that the gate reads or writes.
const LIST_MEMBERS: [&str; 3] = ["cacheScope", "resultType", "tools"];
const TOOL_MEMBERS: [&str; 1] = ["name"];

/// One message of a server.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerMessage {
    /// Answers a client's request.
    Response(Response),
    /// Wants an answer of the client (session era): sampling, elicitation, roots, ping.
    Request { id: RequestId, method: String },
    /// Progress, logging, a list that changed.
    Notification { method: String },
}

/// A server's answer, whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// None: an error about a request whose id the server could not read.
    pub id: Option<RequestId>,
    pub outcome: Outcome,
    message: Object,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Result,
    /// A result that says of itself that the tool failed.
    ToolError,
    /// A JSON-RPC error.
    Error,
}

/// Why a server's message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    #[error("the answer is too large")]
    TooLarge,
    #[error("the answer cannot be read as JSON")]
    Json(#[from] Fault),
    #[error("the answer is not one JSON-RPC message")]
    Shape,
    #[error("the answer is no list of tools")]
    Tools,
}

/// Reads one message of a server.
///
/// # Errors
/// When it is not exactly one JSON-RPC message. Its keys are only asked to be distinct: maps in results are data.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<ServerMessage, Unreadable> {
    if bytes.len() > limits.body_bytes_max {
        return Err(Unreadable::TooLarge);
    }
    let bounds = Bounds { depth_max: limits.depth_max, number_bytes_max: limits.number_bytes_max, values_max: limits.values_max };
    let Json::Object(message) = read_json(bytes, bounds, Keys::Exact)? else {
        return Err(Unreadable::Shape);
    };
    check_keys(&message, &MEMBERS).map_err(|_| Unreadable::Shape)?;
    if message.get("jsonrpc").and_then(Json::as_str) != Some("2.0") {
        return Err(Unreadable::Shape);
    }
    let id = match message.get("id") {
        None | Some(Json::Null) => None,
        Some(Json::String(text)) => Some(RequestId::String(text.clone())),
        Some(Json::Number(number)) => Some(RequestId::Number(number.to_string())),
        Some(Json::Bool(_) | Json::Array(_) | Json::Object(_)) => return Err(Unreadable::Shape),
    };
    match (message.get("method"), message.get("result"), message.get("error")) {
        (Some(Json::String(method)), None, None) => Ok(match id {
            Some(id) => ServerMessage::Request { id, method: method.clone() },
            None => ServerMessage::Notification { method: method.clone() },
        }),
        (None, Some(Json::Object(result)), None) if id.is_some() => {
            let failed = result.get("isError").and_then(Json::as_bool).unwrap_or(false);
            let outcome = if failed { Outcome::ToolError } else { Outcome::Result };
            Ok(ServerMessage::Response(Response { id, outcome, message }))
        }
        (None, None, Some(Json::Object(_))) => Ok(ServerMessage::Response(Response { id, outcome: Outcome::Error, message })),
        _ => Err(Unreadable::Shape),
    }
}

// === impl Response ===

impl Response {
    /// The result; none where the server answered with an error.
    #[must_use]
    pub fn result(&self) -> Option<&Object> {
        self.message.get("result").and_then(Json::as_object)
    }

    /// `resultType` of the stateless era: `complete`, `input_required` or `task`.
    #[must_use]
    pub fn result_type(&self) -> Option<&str> {
        self.result()?.get("resultType")?.as_str()
    }

    /// The names in the result of a `tools/list`, in order.
    ///
    /// # Errors
    /// When the result is no list of tools, or a client could read another list in it.
    pub fn tools(&self) -> Result<Vec<&str>, Unreadable> {
        let result = self.result().ok_or(Unreadable::Tools)?;
        check_keys(result, &LIST_MEMBERS).map_err(|_| Unreadable::Tools)?;
        let tools = result.get("tools").and_then(Json::as_array).ok_or(Unreadable::Tools)?;
        tools.iter().map(tool_name).collect()
    }

    /// The message without the tools named in `hidden`. All else stays as it was, but for white space and escapes; in the
    /// stateless era the list says that it was made for one caller, so that no cache shows it to another.
    ///
    /// # Errors
    /// As [`Response::tools`].
    pub fn without(&self, hidden: &[String], era: Era) -> Result<String, Unreadable> {
        self.tools()?;
        let mut message = self.message.clone();
        let Some(Json::Object(result)) = message.get_mut("result") else {
            return Err(Unreadable::Tools);
        };
        let Some(Json::Array(tools)) = result.get_mut("tools") else {
            return Err(Unreadable::Tools);
        };
        tools.retain(|tool| tool_name(tool).is_ok_and(|name| !hidden.iter().any(|hidden| hidden == name)));
        if era == Era::Stateless {
            result.set("cacheScope", "private");
        }
        Ok(message.to_string())
    }
}

fn tool_name(tool: &Json) -> Result<&str, Unreadable> {
    let tool = tool.as_object().ok_or(Unreadable::Tools)?;
    check_keys(tool, &TOOL_MEMBERS).map_err(|_| Unreadable::Tools)?;
    tool.get("name").and_then(Json::as_str).ok_or(Unreadable::Tools)
}

#[cfg(test)]
mod tests;
