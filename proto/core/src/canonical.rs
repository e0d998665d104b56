//! What two calls have in common when they are the same call: canonical JSON, and the digest over it.
//!
//! Keys and strings are as RFC 8785 has them; a number keeps its text, since a double cannot tell …992 from …993. Nothing is
//! normalised: two calls that differ in a digit or in one character never share an approval.

use crate::digest::{Digest, Digester};
use crate::endpoint::Endpoint;
use crate::id::{Asker, Principal, Server, Tenant};
use crate::json::{Json, Object, write_string};
use crate::mcp::{Kind, Message, RequestId};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;

/// The keys of `_meta` that are no part of a call: they trace it, or say who sends it and how it is to be reported, and
/// change from one attempt to the next. All other keys count, those that are not known here too.
pub const META_LEFT_OUT: [&str; 7] = [
    "baggage",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/logLevel",
    "io.modelcontextprotocol/protocolVersion",
    "progressToken",
    "traceparent",
    "tracestate",
];

/// What is called, by whom, through whom, and how: all that makes it this very call.
#[derive(Clone, Copy, Debug)]
pub struct Called<'a> {
    pub tenant: &'a Tenant,
    pub principal: &'a Principal,
    /// The filter: two of them may stand before two servers of one name.
    pub asker: &'a Asker,
    pub server: &'a Server,
    pub endpoint: &'a Endpoint,
    pub message: &'a Message,
}

/// `value` in canonical form.
#[must_use]
pub fn canonical(value: &Json) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

/// The digest of a call: who asks whom for what, through which filter, by which method of HTTP, at which host and path, with
/// which parameters. One tool may be mapped to several of these, and a grant for one is none for the next. The protocol's
/// version is no part of it (the same call in another version is the same call), nor is the handle, which the agent writes, nor
/// a request's id. The id of a client's answer is: it says what is answered.
#[must_use]
pub fn call_digest(called: &Called<'_>) -> Digest {
    let message = called.message;
    let mut digester = Digester::new("agentgate/call/3");
    digester.part(called.tenant.as_str().as_bytes());
    digester.part(called.principal.as_str().as_bytes());
    digester.part(called.asker.as_str().as_bytes());
    digester.part(called.server.as_str().as_bytes());
    digester.part(called.endpoint.method.as_bytes());
    digester.part(called.endpoint.host.as_bytes());
    digester.part(called.endpoint.path.as_bytes());
    digester.part(message.method.name().as_bytes());
    digester.part(message.target.as_deref().unwrap_or_default().as_bytes());
    digester.part(answers(message).unwrap_or_default().as_bytes());
    // No canonical JSON is empty: a message without params is not one with `{}`.
    digester.part(covered_params(message).as_bytes());
    digester.finish()
}

/// The id of the server's question that a client's answer is for, as JSON.
#[must_use]
pub fn answers(message: &Message) -> Option<String> {
    match &message.kind {
        Kind::Response(RequestId::Number(number)) => Some(number.clone()),
        Kind::Response(RequestId::String(text)) => Some(Json::String(text.clone()).to_string()),
        Kind::Request(_) | Kind::Notification | Kind::Open | Kind::End | Kind::Http => None,
    }
}

/// What of a message's parameters its digest covers, in canonical form: what an approver has to see, and all of it.
#[must_use]
pub fn covered_params(message: &Message) -> String {
    message.params.as_ref().map(|params| canonical(&Json::Object(counted(params)))).unwrap_or_default()
}

/// `params` without the keys that do not count. An empty `_meta` says as much as none.
fn counted(params: &Object) -> Object {
    let mut params = params.clone();
    if let Some(Json::Object(mut meta)) = params.remove("_meta") {
        for key in META_LEFT_OUT {
            meta.remove(key);
        }
        if !meta.is_empty() {
            params.set("_meta", meta);
        }
    }
    params
}

fn write(out: &mut String, value: &Json) {
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => out.push_str(&value.to_string()),
        Json::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                separate(out, index);
                write(out, element);
            }
            out.push(']');
        }
        Json::Object(object) => {
            let mut members: Vec<_> = object.iter().collect();
            members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
            out.push('{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                separate(out, index);
                // Writing to a string cannot fail.
                let _ = write_string(out, key);
                let _ = out.write_char(':');
                write(out, value);
            }
            out.push('}');
        }
    }
}

fn separate(out: &mut String, index: usize) {
    if index > 0 {
        out.push(',');
    }
}

#[cfg(test)]
mod tests;
