//! What one HTTP request said, once it was read.

use crate::id::Handle;
use crate::json::{Json, Object};
use crate::mcp::{Method, Protocol};
use alloc::string::String;

/// One message of a client, read whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub protocol: Protocol,
    pub kind: Kind,
    pub method: Method,
    /// What the method acts on: the tool, the prompt, the resource's URI or the task's id.
    pub target: Option<String>,
    /// `params` whole, numbers and key order as received. None where the message has none.
    pub params: Option<Object>,
    pub handle: Option<Handle>,
}

/// What form the message has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Wants an answer under this id.
    Request(RequestId),
    Notification,
    /// A client's answer to a request of the server (session era only): the id is the server's.
    Response(RequestId),
    /// GET: opens the server's stream (session era only).
    Open,
    /// DELETE: ends the session (session era only).
    End,
    /// A request of HTTP itself, as REST has them: its answer is HTTP's, and no id stands in either.
    Http,
}

/// A JSON-RPC id, echoed exactly: a string stays a string and a number keeps its digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestId {
    String(String),
    /// The number's text as received, e.g. `1` or `9007199254740993`.
    Number(String),
}

// === impl Message ===

impl Message {
    /// `params.arguments` of a tool call or a prompt.
    #[must_use]
    pub fn arguments(&self) -> Option<&Object> {
        match self.params.as_ref()?.get("arguments")? {
            Json::Object(arguments) => Some(arguments),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => None,
        }
    }

    /// The id that an answer to this message carries.
    #[must_use]
    pub fn request_id(&self) -> Option<&RequestId> {
        match &self.kind {
            Kind::Request(id) => Some(id),
            Kind::Notification | Kind::Response(_) | Kind::Open | Kind::End | Kind::Http => None,
        }
    }
}
