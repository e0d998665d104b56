//! Reads `params`: the protocol's own keys, what the method acts on, and what every request of its era must say.

use super::envelope::check_keys;
use crate::fold;
use crate::json::{Json, Number, Object};
use crate::mcp::{Era, Malformed, Method, Version};
use alloc::string::String;

/// Every key that some method's `params` has.
const KEYS: [&str; 24] = [
    "_meta",
    "argument",
    "arguments",
    "capabilities",
    "clientInfo",
    "context",
    "cursor",
    "inputResponses",
    "level",
    "message",
    "name",
    "notifications",
    "progress",
    "progressToken",
    "protocolVersion",
    "reason",
    "ref",
    "requestId",
    "requestState",
    "task",
    "taskId",
    "total",
    "ttl",
    "uri",
];

/// The keys that the protocol has in `_meta`, beside all that begins with [`META_PREFIX`].
const META_KEYS: [&str; 10] = [
    "baggage",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/logLevel",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/related-task",
    "io.modelcontextprotocol/subscriptionId",
    "progressToken",
    "traceparent",
    "tracestate",
];

const META_PREFIX: &str = "io.modelcontextprotocol/";
const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// The version that `_meta` names, if it names one.
pub(super) fn meta_version(params: Option<&Object>) -> Result<Option<&str>, Malformed> {
    match meta(params)?.and_then(|meta| meta.get(META_VERSION)) {
        None => Ok(None),
        Some(version) => version.as_str().map(Some).ok_or(Malformed::MetaMissing),
    }
}

/// The version that an `initialize` asks for.
pub(super) fn asked_version(params: Option<&Object>) -> Result<&str, Malformed> {
    params.and_then(|params| params.get("protocolVersion")?.as_str()).ok_or(Malformed::ProtocolVersionType)
}

/// Checks `params` and returns what the method acts on.
pub(super) fn read(method: Method, version: Version, params: Option<&Object>) -> Result<Option<String>, Malformed> {
    let meta = meta(params)?;
    if let Some(params) = params {
        check_keys(params, &KEYS)?;
        check_types(params)?;
    }
    if let Some(meta) = meta {
        check_keys(meta, &META_KEYS)?;
        let lookalike = |key: &str| !key.starts_with(META_PREFIX) && fold::key(key).starts_with(META_PREFIX);
        if meta.keys().any(lookalike) {
            return Err(Malformed::LookalikeKey);
        }
    }
    if version.era() == Era::Stateless && !method.is_notification() {
        check_meta(meta)?;
    }
    if method == Method::Initialize {
        asked_version(params)?;
    }
    let target = method.target_key().map(|key| read_target(params, key)).transpose()?;
    check_numbers(params)?;
    Ok(target)
}

/// A policy engine compares numbers as 64 bits: one that they cannot hold would be taken for its neighbour.
pub(super) fn check_numbers(params: Option<&Object>) -> Result<(), Malformed> {
    if params.is_none_or(|params| params.all_numbers(Number::is_exact)) { Ok(()) } else { Err(Malformed::NumberInexact) }
}

fn meta(params: Option<&Object>) -> Result<Option<&Object>, Malformed> {
    match params.and_then(|params| params.get("_meta")) {
        None => Ok(None),
        Some(meta) => meta.as_object().map(Some).ok_or(Malformed::MetaType),
    }
}

fn check_types(params: &Object) -> Result<(), Malformed> {
    if params.get("arguments").is_some_and(|arguments| arguments.as_object().is_none()) {
        return Err(Malformed::ArgumentsType);
    }
    if params.get("inputResponses").is_some_and(|responses| responses.as_object().is_none()) {
        return Err(Malformed::InputResponsesType);
    }
    if params.get("requestState").is_some_and(|state| state.as_str().is_none()) {
        return Err(Malformed::RequestStateType);
    }
    Ok(())
}

fn check_meta(meta: Option<&Object>) -> Result<(), Malformed> {
    let said = meta.is_some_and(|meta| {
        meta.get(META_VERSION).and_then(Json::as_str).is_some() && meta.get(META_CAPABILITIES).and_then(Json::as_object).is_some()
    });
    if said { Ok(()) } else { Err(Malformed::MetaMissing) }
}

fn read_target(params: Option<&Object>, key: &str) -> Result<String, Malformed> {
    let target = params.and_then(|params| params.get(key)?.as_str()).ok_or(Malformed::TargetType)?;
    if fold::is_plain(target) { Ok(target.into()) } else { Err(Malformed::TargetForm) }
}
