//! Reads the body as one JSON-RPC message: a request, a notification or a client's answer. Never a batch, never a guess.

use crate::fold;
use crate::json::{Bounds, Json, Keys, Object, read as read_json};
use crate::mcp::{Limits, Malformed, RequestId};
use alloc::string::String;
use alloc::vec::Vec;

/// The members of a message. No other may stand in it.
const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// Keys by which JavaScript reaches an object's prototype.
const POLLUTING: [&str; 2] = ["constructor", "prototype"];

/// Ids are counters and UUIDs. One that fills a body would be kept, and sent back, for as long as its call is open.
const ID_BYTES_MAX: usize = 1_024;

/// A JSON-RPC message, its method not yet looked up.
#[derive(Debug)]
pub(super) enum Envelope {
    /// With an id a request, without one a notification.
    Call { id: Option<RequestId>, method: String, params: Option<Object> },
    /// `outcome` holds the one member `result` or `error`.
    Response { id: RequestId, outcome: Object },
}

/// Reads the body. The id comes beside a failure wherever it could be read.
pub(super) fn read(body: &[u8], limits: &Limits) -> Result<Envelope, (Malformed, Option<RequestId>)> {
    let bounds = Bounds { depth_max: limits.depth_max, number_bytes_max: limits.number_bytes_max, values_max: limits.values_max };
    let object = match read_json(body, bounds, Keys::Folded) {
        Ok(Json::Object(object)) => object,
        Ok(Json::Array(_)) => return Err((Malformed::Batch, None)),
        Ok(Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_)) => return Err((Malformed::NotObject, None)),
        Err(fault) => return Err((fault.into(), None)),
    };
    let id = match object.get("id").map(read_id).transpose() {
        Ok(id) => id,
        Err(malformed) => return Err((malformed, None)),
    };
    Envelope::of(object, id.clone()).map_err(|malformed| (malformed, id))
}

/// Refuses a key that some reader would take for one of `known`, and is not; and the keys that pollute prototypes.
pub(super) fn check_keys(object: &Object, known: &[&str]) -> Result<(), Malformed> {
    let mut unknown = object.keys().filter(|key| !known.contains(key)).peekable();
    if unknown.peek().is_none() {
        return Ok(());
    }
    // Folded once, however many keys a client sends.
    let names: Vec<String> = known.iter().map(|name| fold::protocol_key(name)).collect();
    for key in unknown {
        let folded = fold::protocol_key(key);
        if POLLUTING.contains(&folded.as_str()) {
            return Err(Malformed::PollutingKey);
        }
        if names.contains(&folded) {
            return Err(Malformed::LookalikeKey);
        }
    }
    Ok(())
}

// === impl Envelope ===

impl Envelope {
    fn of(mut object: Object, id: Option<RequestId>) -> Result<Self, Malformed> {
        check_keys(&object, &MEMBERS)?;
        if object.keys().any(|key| !MEMBERS.contains(&key)) {
            return Err(Malformed::UnknownMember);
        }
        if object.get("jsonrpc").and_then(Json::as_str) != Some("2.0") {
            return Err(Malformed::JsonRpc);
        }
        let (result, error) = (object.remove("result"), object.remove("error"));
        let Some(method) = object.remove("method") else {
            return Self::response(id, &object, result, error);
        };
        if result.is_some() || error.is_some() {
            return Err(Malformed::ResultBesideMethod);
        }
        let Json::String(method) = method else {
            return Err(Malformed::MethodType);
        };
        if !fold::is_plain(&method) {
            return Err(Malformed::MethodForm);
        }
        let params = match object.remove("params") {
            None => None,
            Some(Json::Object(params)) => Some(params),
            Some(Json::Array(_)) => return Err(Malformed::ParamsPositional),
            Some(Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_)) => return Err(Malformed::ParamsType),
        };
        Ok(Self::Call { id, method, params })
    }

    fn response(id: Option<RequestId>, object: &Object, result: Option<Json>, error: Option<Json>) -> Result<Self, Malformed> {
        let outcome = match (result, error) {
            (Some(result @ Json::Object(_)), None) => Object::default().with("result", result),
            (None, Some(error @ Json::Object(_))) => Object::default().with("error", error),
            (None, None) => return Err(Malformed::MethodType),
            (Some(_), _) | (None, Some(_)) => return Err(Malformed::ResponseShape),
        };
        if object.get("params").is_some() {
            return Err(Malformed::ResponseShape);
        }
        Ok(Self::Response { id: id.ok_or(Malformed::IdMissing)?, outcome })
    }
}

/// A short string, or a number without point and exponent. JSON-RPC's null is no id here: MCP forbids it.
fn read_id(id: &Json) -> Result<RequestId, Malformed> {
    match id {
        Json::String(text) if text.len() <= ID_BYTES_MAX => Ok(RequestId::String(text.clone())),
        Json::Number(number) if number.is_integer() => Ok(RequestId::Number(number.as_str().into())),
        Json::String(_) | Json::Number(_) | Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => {
            Err(Malformed::IdType)
        }
    }
}
