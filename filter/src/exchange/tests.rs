//! Exchanges as scripts: what happens, and what is to be done. Each table is one exchange; its rows are in order.

use super::{Action, Answerer, Budget, Effect, Event, Exchange};
use crate::clock::Moment;
use crate::conversation::{Answered, Cause, Listed, Undecided};
use crate::standing::Standing;
use agentgate_core::config::Config;
use agentgate_proto::v1;
use std::rc::Rc;

mod answer;
mod observe;
mod request;
mod response;
mod rest;

const CONFIG: &str = r#"{"routes":[{"path":"/mcp","server":"notes","limits":{"body_bytes_max":400}}]}"#;

/// What happens, and what is done: the action, then each effect that says something.
type Row<'a> = (Event, &'a str);

fn check(rows: &[Row<'_>]) {
    check_with(CONFIG, &Budget::new(1 << 20), rows);
}

fn check_with(config: &str, budget: &Rc<Budget>, rows: &[Row<'_>]) {
    check_under(&Standing::default(), config, budget, rows);
}

fn check_under(standing: &Standing, config: &str, budget: &Rc<Budget>, rows: &[Row<'_>]) {
    let config = Rc::new(Config::parse(config.as_bytes()).unwrap());
    let mut exchange = Exchange::new(config, 9, "e-9".to_owned(), budget.hold());
    for (at, (event, wanted)) in rows.iter().enumerate() {
        let now = Moment::from_micros(1_000 * at as u64);
        let step = exchange.on(clone(event), standing, now);
        let action = if step.action == Action::Continue { "continue" } else { "pause" };
        let shown: Vec<String> = std::iter::once(action.to_owned()).chain(step.effects.iter().filter_map(show)).collect();
        assert_eq!(shown.join(" | "), *wanted, "row {at}: {event:?}");
    }
    drop(exchange);
    assert_eq!(budget.held(), 0, "an exchange that ended holds nothing");
}

/// What every gated request gets is tested once and left out elsewhere.
fn show(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::SetRequestHeader("x-envoy-max-retries", "0") => return None,
        Effect::RemoveRequestHeader(name) => format!("-request {}", text(name)),
        Effect::SetRequestHeader(name, value) => format!("+request {name}: {value}"),
        Effect::RemoveRequestTrailer(name) => format!("-trailer {}", text(name)),
        Effect::RemoveResponseHeader(name) => format!("-response {name}"),
        Effect::SetResponseHeader(name, value) => format!("+response {name}: {value}"),
        Effect::RemoveResponseTrailer(name) => format!("-response-trailer {}", text(name)),
        Effect::ReplaceResponseBody(bytes) => format!("body={}", text(bytes)),
        Effect::Ask(ask) => format!("ask {} of {} for {}", ask.counter, ask.server, text(&ask.body)),
        Effect::Listing(listing) => format!("listing {}", listing.tools.join("+")),
        Effect::Forget(counter) => format!("forget {counter}"),
        Effect::ResumeRequest => "resume request".to_owned(),
        Effect::ResumeResponse => "resume response".to_owned(),
        Effect::Refuse(reply) => format!("refuse {} {}", reply.http_status, short(&text(&reply.body))),
        Effect::Report(entry) => show_entry(entry),
        Effect::Follow(entry) => format!("unasked {}", show_entry(entry)),
        Effect::Unobserved => "unobserved".to_owned(),
        Effect::Count(count) => count.name().trim_start_matches("agentgate.").to_owned(),
    })
}

fn show_entry(entry: &v1::Entry) -> String {
    match entry.what.as_ref().unwrap() {
        v1::entry::What::Refused(ask) => format!("report refused {} with {} bytes", entry.reason, ask.body.len()),
        v1::entry::What::Observed(ask) => format!("report observed {} with {} bytes", entry.reason, ask.body.len()),
        v1::entry::What::Outcome(outcome) => {
            let kind = outcome.kind().as_str_name().trim_start_matches("OUTCOME_KIND_").to_lowercase();
            let digest = if outcome.result_digest.is_empty() { "" } else { " digest" };
            let hidden = if outcome.hidden.is_empty() { String::new() } else { format!(" hidden {}", outcome.hidden.join("+")) };
            let shown = if outcome.shown == 0 { String::new() } else { format!(" shown {}", outcome.shown) };
            let detail = if outcome.detail.is_empty() { String::new() } else { format!(" ({})", outcome.detail) };
            let tools: Vec<String> = outcome.tools.iter().map(|tool| text(tool)).collect();
            let tools = if tools.is_empty() { String::new() } else { format!(" tools {}", tools.join("+")) };
            let cut = if outcome.tools_cut { " and more" } else { "" };
            let (status, bytes) = (outcome.http_status, outcome.result_bytes);
            format!("report {kind} {status} {bytes}B{digest}{hidden}{shown}{tools}{cut}{detail}")
        }
    }
}

/// The members of a refusal that matter: its id, and the code or the failed result.
fn short(body: &str) -> String {
    use agentgate_core::json::{Bounds, Json, Keys, read};
    let json = read(body.as_bytes(), Bounds { depth_max: 16, number_bytes_max: 30, values_max: 1_000 }, Keys::Exact).unwrap();
    let object = json.as_object().unwrap();
    // To a REST client: which no it is, and the reason where it was not read.
    if let Some(Json::String(error)) = object.get("error") {
        let reason = if error == "malformed" { object.get("reason").and_then(Json::as_str).unwrap() } else { "" };
        return format!("{error} {reason}");
    }
    let id = object.get("id").unwrap();
    match (object.get("error"), object.get("result")) {
        (Some(Json::Object(error)), None) => format!("id {id} error {}", error.get("code").unwrap()),
        (None, Some(Json::Object(result))) => {
            let kind = result.get("resultType").map_or(String::new(), |kind| format!(" {kind}"));
            let meta = result.get("_meta").unwrap().as_object().unwrap().get("agentgate/verdict").unwrap();
            format!("id {id} isError {}{kind} {meta}", result.get("isError").unwrap())
        }
        other => panic!("{other:?}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `Event` is not `Clone`: in the filter each happens once.
fn clone(event: &Event) -> Event {
    match event {
        Event::RequestHeaders { headers, peer, claims, end } => {
            Event::RequestHeaders { headers: headers.clone(), peer: peer.clone(), claims: claims.clone(), end: *end }
        }
        Event::RequestBody { size, whole } => Event::RequestBody { size: *size, whole: whole.clone() },
        Event::RequestTrailers { names, body } => Event::RequestTrailers { names: names.clone(), body: body.clone() },
        Event::Answered(answered) => Event::Answered(answered.clone()),
        Event::ResponseHeaders { headers, answerer, end } => {
            Event::ResponseHeaders { headers: headers.clone(), answerer: answerer.clone(), end: *end }
        }
        Event::ResponseBody { size, bytes, end } => Event::ResponseBody { size: *size, bytes: bytes.clone(), end: *end },
        Event::ResponseTrailers { names, bytes } => Event::ResponseTrailers { names: names.clone(), bytes: bytes.clone() },
        Event::Listed { listed, bytes } => Event::Listed { listed: listed.clone(), bytes: bytes.clone() },
        Event::Gone => Event::Gone,
    }
}

// What happens, in few words.

fn pairs(headers: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn request(method: &str, path: &str, more: &[(&str, &str)], end: bool) -> Event {
    let mut headers = pairs(&[(":method", method), (":path", path), (":authority", "server")]);
    headers.extend(pairs(more));
    Event::RequestHeaders { headers, peer: "spiffe://local/agent".to_owned(), claims: Vec::new(), end }
}

fn post() -> Event {
    request("POST", "/mcp", &[("content-type", "application/json"), ("mcp-protocol-version", "2025-11-25")], false)
}

fn part(size: usize) -> Event {
    Event::RequestBody { size, whole: None }
}

fn last(body: &str) -> Event {
    Event::RequestBody { size: body.len(), whole: Some(Some(body.as_bytes().to_vec())) }
}

fn trailers(names: &[&str], body: &str) -> Event {
    let names = names.iter().map(|name| name.as_bytes().to_vec()).collect();
    Event::RequestTrailers { names, body: Some(body.as_bytes().to_vec()) }
}

fn allow() -> Event {
    Event::Answered(Answered::Allow)
}

fn undecided(cause: Cause) -> Undecided {
    Undecided { cause, detail: String::new() }
}

fn head(status: &str, content_type: &str) -> Event {
    response(&[(":status", status), ("content-type", content_type)], false)
}

fn response(headers: &[(&str, &str)], end: bool) -> Event {
    Event::ResponseHeaders { headers: pairs(headers), answerer: Answerer::Upstream, end }
}

fn chunk(bytes: &str, end: bool) -> Event {
    Event::ResponseBody { size: bytes.len(), bytes: Some(bytes.as_bytes().to_vec()), end }
}

fn hidden(tools: &[&str], buffer: &str) -> Event {
    let tools = tools.iter().map(|tool| (*tool).to_owned()).collect();
    Event::Listed { listed: Listed::Hidden(tools), bytes: Some(buffer.as_bytes().to_vec()) }
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"}}"#;
const ASKED: &str = r#"pause | ask 9 of notes for {"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read"}}"#;
const RELEASED: &str = "continue | calls_allowed | resume request";
const CUT: &str = "pause | report cut 0 0B (the stream ended before the answer did)";
