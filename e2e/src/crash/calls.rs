//! The calls that are made while the control plane dies, and what their answers say. It knows the default policy's verdicts
//! only as kinds of calls to make: what was decided is read from the answer.

use agentgate_core::digest::Digest;
use agentgate_core::id::{Asker, CallId, Epoch};
use agentgate_proto::v1::Verdict;
use serde_json::{Value, json};

/// Arguments are as large as real ones.
const FILLER_BYTES: usize = 900;

pub(crate) const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"milk"}]}}"#;

/// Sessions that all agents behind the gate share: one principal.
const GATE_HANDLES: u64 = 4;

/// Principals of callers that are filters themselves. Each has one session: purged, nothing is left of it.
const PEERS: u64 = 5;

pub(crate) fn peer(draw: u64) -> u64 {
    draw % PEERS
}

pub(crate) fn handle_of_peer(peer: u64) -> String {
    format!("peer-{peer}")
}

pub(crate) fn handle_at_gate(draw: u64) -> String {
    format!("gate-{}", draw % GATE_HANDLES)
}

/// Some session that calls carry, or carried.
pub(crate) fn any_handle(draw: u64) -> String {
    match draw % (GATE_HANDLES + PEERS) {
        at_gate @ 0..GATE_HANDLES => handle_at_gate(at_gate),
        peer => handle_of_peer(peer - GATE_HANDLES),
    }
}

pub(crate) const SESSION: &str = "mcp-session-id";

pub(crate) fn headers(handle: &str) -> [(&'static str, &[u8]); 4] {
    [
        ("content-type", b"application/json"),
        ("accept", b"application/json, text/event-stream"),
        ("mcp-protocol-version", b"2025-11-25"),
        (SESSION, handle.as_bytes()),
    ]
}

/// What a call is known by, wherever it turns up: it begins with the handle of its session.
pub(crate) fn marked(handle: &str, call: &str) -> String {
    format!("{handle}/{call}")
}

/// The handle in a mark.
pub(crate) fn handle_in(mark: &str) -> &str {
    mark.split_once('/').map_or("", |(handle, _)| handle)
}

/// What an agent makes of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    Result,
    Refused {
        id: Digest,
        verdict: Verdict,
    },
    /// Nobody decided, as far as the caller knows.
    Undecided,
    /// Executed, and not shown.
    Withheld,
    Strange(String),
}

/// A call's body: seven in ten are allowed, two denied, one waits for a person.
pub(crate) fn body(draw: u64, mark: &str) -> Vec<u8> {
    let (tool, arguments) = match draw % 10 {
        0..=6 => ("search_notes", json!({ "query": format!("{mark} {}", "milk ".repeat(FILLER_BYTES / 5)) })),
        7 | 8 => ("delete_note", json!({ "id": draw >> 32 })),
        _ => ("send_note", json!({ "id": 1, "to": "a@example.com" })),
    };
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
        .to_string()
        .into_bytes()
}

/// The mark in a call's body; none: it is of a kind that has none.
pub(crate) fn mark(body: &[u8]) -> Option<String> {
    let call: Value = serde_json::from_slice(body).ok()?;
    let query = call.pointer("/params/arguments/query")?.as_str()?;
    query.split(' ').next().map(ToOwned::to_owned)
}

pub(crate) fn answered(status: u16, body: &[u8], asker: &Asker) -> Answered {
    let strange = || Answered::Strange(format!("status {status}: {}", String::from_utf8_lossy(body)));
    if status == 200 && body == RESULT.as_bytes() {
        return Answered::Result;
    }
    let Some(meta) = serde_json::from_slice(body).ok().and_then(|answer: Value| verdict(&answer).cloned()) else {
        // The filter's own word, or Envoy's, before there was any call to speak of.
        return if status == 503 { Answered::Undecided } else { strange() };
    };
    let said = |name: &str| meta.get(name).and_then(Value::as_str);
    let verdict = match said("verdict") {
        Some("deny") => Verdict::Deny,
        Some("pending") => Verdict::Pending,
        Some("undecided") => return Answered::Undecided,
        Some("withheld") => return Answered::Withheld,
        Some(_) | None => return strange(),
    };
    match said("call_id").and_then(|quoted| id(quoted, asker)) {
        Some(id) => Answered::Refused { id, verdict },
        None => strange(),
    }
}

/// The id under which the journal must know the call that people quote as `epoch-counter`.
fn id(quoted: &str, asker: &Asker) -> Option<Digest> {
    let (epoch, counter) = quoted.split_once('-')?;
    let epoch = u128::from_str_radix(epoch, 16).ok()?.to_be_bytes();
    Some(CallId { asker: asker.clone(), epoch: Epoch(epoch), counter: counter.parse().ok()? }.digest())
}

fn verdict(answer: &Value) -> Option<&Value> {
    match answer {
        Value::Object(members) => members.get("agentgate/verdict").or_else(|| members.values().find_map(verdict)),
        Value::Array(items) => items.iter().find_map(verdict),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
