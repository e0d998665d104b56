//! Every attempt of the golden vectors, as raw bytes over HTTP/1.1 and over HTTP/2, against a server that records every byte:
//! of a refused one not one byte arrives, an allowed one arrives as it was sent, and without the gate all of them arrive.

use agentgate_e2e::upstream::{Protocol, Reply};
use agentgate_e2e::{Edit, Plain, World, WorldPlan, http1, http2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// One line of the vectors.
struct Attempt {
    name: String,
    method: String,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    expect: String,
    http1_only: bool,
}

/// What a route must take for its attempts to mean what they say, in the words of the filter's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    versions: Option<String>,
    query_keys: Option<String>,
}

#[test]
fn a_refused_attempt_leaves_no_byte_at_the_tool_and_an_allowed_one_arrives() {
    for (route, attempts) in attempts() {
        check(&route, &attempts);
    }
}

#[test]
fn without_the_gate_every_refused_attempt_reaches_the_tool() {
    let plain = Plain::start(|_| answer()).unwrap();
    for (_, attempts) in attempts() {
        for attempt in attempts.iter().filter(|attempt| attempt.expect != "ok") {
            reaches(&plain, attempt);
        }
    }
}

fn check(route: &Route, attempts: &[Attempt]) {
    let world = world(route);
    let upstream = world.upstream().unwrap();
    for attempt in attempts.iter().filter(|attempt| attempt.expect != "ok") {
        let over_http1 = attempt.over_http1(world.stack.gate).map(|answer| answer.text());
        assert!(upstream.bytes().is_empty(), "{attempt} over HTTP/1.1 reached the tool; the client got {over_http1:?}");
        let over_http2 = attempt.over_http2(world.stack.gate).map(|answer| answer.map(|answer| answer.text()));
        assert!(upstream.bytes().is_empty(), "{attempt} over HTTP/2 reached the tool; the client got {over_http2:?}");
    }
    for attempt in attempts.iter().filter(|attempt| attempt.expect == "ok") {
        let before = upstream.arrived().len();
        let answer = attempt.over_http1(world.stack.gate).unwrap();
        assert_eq!(answer.status, 200, "{attempt} over HTTP/1.1 was answered {}", answer.text());
        let answer = attempt.over_http2(world.stack.gate).unwrap().unwrap();
        assert_eq!(answer.status, 200, "{attempt} over HTTP/2 was answered {}", answer.text());
        let arrived = upstream.until_arrived(before + 2).unwrap();
        for request in &arrived[before..] {
            assert_eq!(
                (&request.method, &request.path, &request.body),
                (&attempt.method, &attempt.path, &attempt.body),
                "{attempt}"
            );
        }
    }
}

/// Through an Envoy without the gate; where Envoy itself refuses it, straight to the tool server.
fn reaches(plain: &Plain, attempt: &Attempt) {
    for address in [plain.address, plain.upstream.address] {
        let before = plain.upstream.bytes().len();
        drop(attempt.over_http1(address));
        let bytes = plain.upstream.bytes();
        if bytes.len() > before && attempt.is_in(&bytes[before..]) {
            return;
        }
    }
    panic!("{attempt} reaches no tool server even without the gate: then its refusal shows nothing");
}

fn world(route: &Route) -> World {
    let mut plan = WorldPlan::recorder(Protocol::Http1, |_| answer()).unwrap();
    plan.stack.policies = Some("e2e/policies/everything".into());
    plan.stack.edits.extend(route.edits());
    plan.start().unwrap()
}

fn answer() -> Reply {
    Reply::json(r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#)
}

fn attempts() -> BTreeMap<Route, Vec<Attempt>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/core/tests/vectors/attempts.json");
    let lines: Vec<Value> = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let mut routes: BTreeMap<Route, Vec<Attempt>> = BTreeMap::new();
    for line in &lines {
        routes.entry(Route::of(line)).or_default().push(Attempt::of(line));
    }
    routes
}

// === impl Route ===

impl Route {
    fn of(line: &Value) -> Self {
        let list = |name: &str| line.get(name).map(ToString::to_string);
        Self { versions: list("versions"), query_keys: list("query_keys") }
    }

    fn edits(&self) -> Vec<Edit> {
        let field = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!(r#", "{name}": {value}"#));
        let fields = [field("versions", &self.versions), field("query_keys", &self.query_keys)].into_iter().flatten();
        let server = r#""server": "notes""#;
        vec![Edit::new(server, fields.fold(server.to_owned(), |all, field| all + &field))]
    }
}

// === impl Attempt ===

impl Attempt {
    fn of(line: &Value) -> Self {
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let headers = line["headers"].as_array().unwrap().iter();
        Self {
            name: text("name"),
            method: text("method"),
            path: text("path"),
            headers: headers.map(|header| (header[0].as_str().unwrap().to_owned(), bytes(&header[1]))).collect(),
            body: line.get("body").map(bytes).unwrap_or_default(),
            expect: text("expect"),
            http1_only: line["http1_only"] == true,
        }
    }

    fn headers(&self) -> Vec<(&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
    }

    fn over_http1(&self, address: std::net::SocketAddr) -> Option<http1::Answer> {
        http1::exchange(address, &http1::request(&self.method, &self.path, &self.headers(), &self.body)).ok()
    }

    fn over_http2(&self, address: std::net::SocketAddr) -> Option<Option<http1::Answer>> {
        if self.http1_only {
            return None;
        }
        let body = if self.body.is_empty() { Vec::new() } else { vec![self.body.as_slice()] };
        let stream =
            http2::Stream { method: &self.method, path: &self.path, headers: self.headers(), body, trailers: Vec::new() };
        Some(http2::exchange(address, &stream).ok())
    }

    /// Whether its body, or without one its path, is among these bytes.
    fn is_in(&self, bytes: &[u8]) -> bool {
        let wanted = if self.body.is_empty() { self.path.as_bytes() } else { &self.body };
        bytes.windows(wanted.len()).any(|window| window == wanted)
    }
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "`{}` ({})", self.name, self.expect)
    }
}

/// A text, `{"base64": …}`, `{"repeat": text, "times": n}`, or an array of these.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(parts) => parts.iter().flat_map(bytes).collect(),
        Value::Object(one) if one.contains_key("base64") => STANDARD.decode(one["base64"].as_str().unwrap()).unwrap(),
        Value::Object(one) => {
            one["repeat"].as_str().unwrap().repeat(usize::try_from(one["times"].as_u64().unwrap()).unwrap()).into_bytes()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => panic!("{value} is no body"),
    }
}
