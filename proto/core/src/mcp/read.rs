//! Reads one request: the head, then the whole body, then one against the other.

use super::envelope::{self, Envelope};
use super::headers::{Headers, Verb, decode, taken};
use super::params;
use crate::json::Object;
use crate::mcp::{Era, Head, Kind, Malformed, Message, Method, Protocol, RequestId, Unread, Version};
use alloc::string::String;
use alloc::vec::Vec;

/// What bounds one request. Every limit has a test on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The whole body.
    pub body_bytes_max: usize,
    /// Objects and arrays inside each other, the envelope included; never above [`crate::json::DEPTH_MAX`].
    pub depth_max: usize,
    /// The text of one number: digits, sign, point and exponent.
    pub number_bytes_max: usize,
    /// Members and elements of the whole body.
    pub values_max: usize,
}

/// What a route takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub versions: Vec<Version>,
    /// Query parameters that are let through; any other makes the request malformed.
    pub query_keys: Vec<String>,
    pub limits: Limits,
}

/// Reads one request. `body` is the whole of it: never call this before its end.
///
/// # Errors
/// The first reason, in a fixed order (head, body, one against the other), for which the request cannot be read without
/// guessing; with the id to echo where the body holds one.
pub fn read(head: &Head, body: &[u8], rules: &Rules) -> Result<Message, Unread> {
    let headers = match Headers::read(head, body, rules) {
        Ok(headers) => headers,
        Err(reason) => return Err(Unread { reason, id: id_of(body, rules), version: None }),
    };
    let unread = |reason, id| Unread { reason, id, version: headers.version };
    match headers.verb {
        Verb::Get => stream(Kind::Open, Method::Open, &headers, rules).map_err(|reason| unread(reason, None)),
        Verb::Delete => stream(Kind::End, Method::End, &headers, rules).map_err(|reason| unread(reason, None)),
        Verb::Post if body.len() > rules.limits.body_bytes_max => Err(unread(Malformed::BodyTooLarge, None)),
        Verb::Post => match envelope::read(body, &rules.limits).map_err(|(reason, id)| unread(reason, id))? {
            Envelope::Call { id, method, params } => {
                call(id.clone(), &method, params, &headers, rules).map_err(|reason| unread(reason, id))
            }
            Envelope::Response { id, outcome } => response(id, outcome, &headers, rules).map_err(|reason| unread(reason, None)),
        },
    }
}

fn call(
    id: Option<RequestId>,
    name: &str,
    params: Option<Object>,
    headers: &Headers<'_>,
    rules: &Rules,
) -> Result<Message, Malformed> {
    let version = version_of(name, params.as_ref(), headers, rules)?;
    let method = Method::parse(name, version).ok_or(Malformed::UnknownMethod)?;
    let kind = match (id, method.is_notification()) {
        (Some(id), false) => Kind::Request(id),
        (None, true) => Kind::Notification,
        (Some(_), true) => return Err(Malformed::IdUnexpected),
        (None, false) => return Err(Malformed::IdMissing),
    };
    let target = params::read(method, version, params.as_ref())?;
    check_handle(version, headers)?;
    check_method(name, version, headers)?;
    check_target(target.as_deref(), version, headers)?;
    Ok(Message { protocol: Protocol::Mcp(version), kind, method, target, params, handle: headers.handle.clone() })
}

/// A client's answer to the server. The policy sees `result` or `error` as the one member of `params`.
fn response(id: RequestId, outcome: Object, headers: &Headers<'_>, rules: &Rules) -> Result<Message, Malformed> {
    let version = session_version(headers, rules)?;
    params::check_numbers(Some(&outcome))?;
    if headers.method.is_some() {
        return Err(Malformed::MethodMismatch);
    }
    check_target(None, version, headers)?;
    let (kind, method) = (Kind::Response(id), Method::Response);
    Ok(Message {
        protocol: Protocol::Mcp(version),
        kind,
        method,
        target: None,
        params: Some(outcome),
        handle: headers.handle.clone(),
    })
}

/// GET and DELETE.
fn stream(kind: Kind, method: Method, headers: &Headers<'_>, rules: &Rules) -> Result<Message, Malformed> {
    let version = session_version(headers, rules)?;
    if headers.method.is_some() {
        return Err(Malformed::MethodMismatch);
    }
    check_target(None, version, headers)?;
    Ok(Message { protocol: Protocol::Mcp(version), kind, method, target: None, params: None, handle: headers.handle.clone() })
}

fn session_version(headers: &Headers<'_>, rules: &Rules) -> Result<Version, Malformed> {
    let version = headers.version.map_or_else(|| taken(UNNAMED.as_str().as_bytes(), rules), Ok)?;
    if version.era() == Era::Session { Ok(version) } else { Err(Malformed::WrongEra) }
}

/// The version of a request whose header is missing, by the protocol's own rule.
const UNNAMED: Version = Version::V2025_03_26;

/// The version that head and body agree on. A server that speaks both eras may go by either.
fn version_of(method: &str, params: Option<&Object>, headers: &Headers<'_>, rules: &Rules) -> Result<Version, Malformed> {
    match (headers.version, params::meta_version(params)?) {
        (Some(version), Some(said)) if said != version.as_str() => Err(Malformed::VersionMismatch),
        (Some(version), _) => Ok(version),
        (None, Some(_)) => Err(Malformed::VersionHeaderMissing),
        // The first request of a session knows no negotiated version yet: it says in its body which one it would have.
        (None, None) if method == Method::Initialize.name() => {
            let version = taken(params::asked_version(params)?.as_bytes(), rules)?;
            if version.era() == Era::Session { Ok(version) } else { Err(Malformed::UnsupportedVersion) }
        }
        (None, None) => taken(UNNAMED.as_str().as_bytes(), rules),
    }
}

fn check_handle(version: Version, headers: &Headers<'_>) -> Result<(), Malformed> {
    match version.era() {
        Era::Stateless if headers.handle.is_some() => Err(Malformed::WrongEra),
        Era::Stateless | Era::Session => Ok(()),
    }
}

fn check_method(name: &str, version: Version, headers: &Headers<'_>) -> Result<(), Malformed> {
    match (headers.method, version.era()) {
        (Some(said), _) if said == name => Ok(()),
        (Some(_), _) => Err(Malformed::MethodMismatch),
        (None, Era::Stateless) => Err(Malformed::MethodHeaderMissing),
        (None, Era::Session) => Ok(()),
    }
}

fn check_target(target: Option<&str>, version: Version, headers: &Headers<'_>) -> Result<(), Malformed> {
    match (headers.name, target, version.era()) {
        (Some(said), Some(target), _) if decode(said).as_deref() == Some(target) => Ok(()),
        (Some(_), _, _) => Err(Malformed::NameMismatch),
        (None, Some(_), Era::Stateless) => Err(Malformed::NameHeaderMissing),
        (None, None, _) | (None, Some(_), Era::Session) => Ok(()),
    }
}

/// What a refusal of the head can still echo. Bounded like any other reading.
fn id_of(body: &[u8], rules: &Rules) -> Option<RequestId> {
    if body.len() > rules.limits.body_bytes_max {
        return None;
    }
    match envelope::read(body, &rules.limits) {
        Ok(Envelope::Call { id, .. }) => id,
        Ok(Envelope::Response { .. }) => None,
        Err((_, id)) => id,
    }
}

// === impl Limits ===

impl Default for Limits {
    /// What the control plane reads with; a route may set less, and more would be refused there.
    fn default() -> Self {
        Self {
            // Envoy's own buffer holds 1 MiB unless it is told otherwise.
            body_bytes_max: 1 << 20,
            // Schemas and documents in arguments seldom pass 20.
            depth_max: 64,
            // A double's longest exact text has some 770 digits, of which 17 count.
            number_bytes_max: 64,
            // A body of a megabyte that is nothing but brackets would cost hundreds of megabytes.
            values_max: 100_000,
        }
    }
}

#[cfg(test)]
mod tests;
