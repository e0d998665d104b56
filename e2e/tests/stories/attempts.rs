//! Every attempt of the golden vectors, as raw bytes over HTTP/1.1 and over HTTP/2, against a server that records every byte:
//! of a refused one not one byte arrives, an allowed one arrives as it was sent, and without the gate all of them arrive.

use agentgate_e2e::upstream::{Arrived, Protocol, Reply};
use agentgate_e2e::{Edit, Plain, World, WorldPlan, http1, http2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// One line of the vectors.
struct Attempt {
    name: String,
    method: String,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    expect: String,
    /// What the gate says instead, where Envoy joined or removed headers before it looked.
    behind_envoy: Option<String>,
    http1_only: bool,
}

/// What a route must take for its attempts to mean what they say, in the words of the filter's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Route {
    versions: Option<String>,
    query_keys: Option<String>,
    origins: Option<String>,
}

/// How an attempt is sent.
type Way = fn(&Attempt, SocketAddr) -> Option<http1::Answer>;

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
        for attempt in attempts.iter().filter(|attempt| attempt.is_refused()) {
            assert!(reaches(&plain, attempt), "{attempt} reaches no tool even without the gate: then its refusal shows nothing");
        }
    }
}

fn check(route: &Route, attempts: &[Attempt]) {
    let world = world(route);
    let upstream = world.upstream().unwrap();
    let mut wrong = Vec::new();
    for attempt in attempts {
        let refused = attempt.is_refused();
        for over in attempt.ways() {
            let answer = over(attempt, world.stack.gate).unwrap_or_default();
            let (arrived, bytes) = upstream.take();
            let right = if refused {
                bytes.is_empty() && attempt.is_named_in(&answer)
            } else {
                answer.status == 200 && attempt.is_all_of(&arrived)
            };
            if !right {
                let bytes = String::from_utf8_lossy(&bytes);
                wrong.push(format!("{attempt}: {} {}; at the tool: {bytes:.200}", answer.status, answer.text()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} attempts:\n{}", wrong.len(), attempts.len(), wrong.join("\n"));
}

/// Through an Envoy without the gate; where Envoy itself refuses it, straight to the tool server.
fn reaches(plain: &Plain, attempt: &Attempt) -> bool {
    [plain.address, plain.upstream.address].into_iter().any(|address| {
        drop(attempt.over_http1(address));
        attempt.is_in(&plain.upstream.take().1)
    })
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
        let attempt = Attempt::of(line);
        if attempt.can_be_sent() {
            routes.entry(Route::of(line)).or_default().push(attempt);
        }
    }
    routes
}

// === impl Route ===

impl Route {
    fn of(line: &Value) -> Self {
        let list = |name: &str| line.get(name).map(ToString::to_string);
        Self { versions: list("versions"), query_keys: list("query_keys"), origins: list("origins") }
    }

    fn edits(&self) -> Vec<Edit> {
        let field = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!(r#", "{name}": {value}"#));
        let fields = [field("versions", &self.versions), field("query_keys", &self.query_keys), field("origins", &self.origins)];
        let server = r#""server": "notes""#;
        vec![Edit::new(server, fields.into_iter().flatten().fold(server.to_owned(), |all, field| all + &field))]
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
            behind_envoy: line["behind_envoy"].as_str().map(ToOwned::to_owned),
            http1_only: line["http1_only"] == true,
        }
    }

    fn headers(&self) -> Vec<(&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect()
    }

    /// No client can send a header name in capitals: in HTTP/1.1 they mean the same as small letters, and HTTP/2 has none.
    fn can_be_sent(&self) -> bool {
        !self.headers.iter().any(|(name, _)| name.contains(|letter: char| letter.is_ascii_uppercase()))
    }

    /// A browser asks with a bodiless OPTIONS whether it may call: the gate lets that pass, and the parser never sees it.
    fn is_refused(&self) -> bool {
        let is_preflight = self.method == "OPTIONS" && self.body.is_empty();
        self.expect != "ok" && !is_preflight
    }

    fn ways(&self) -> &'static [Way] {
        if self.http1_only { &[Self::over_http1] } else { &[Self::over_http1, Self::over_http2] }
    }

    /// None: no answer at all.
    fn over_http1(&self, address: SocketAddr) -> Option<http1::Answer> {
        http1::exchange(address, &http1::request(&self.method, &self.path, &self.headers(), &self.body)).ok()
    }

    /// None: no answer at all, or the library cannot say it.
    fn over_http2(&self, address: SocketAddr) -> Option<http1::Answer> {
        let body = if self.body.is_empty() { Vec::new() } else { vec![self.body.as_slice()] };
        let stream =
            http2::Stream { method: &self.method, path: &self.path, headers: self.headers(), body, trailers: Vec::new() };
        http2::exchange(address, &stream).ok()
    }

    /// Whether the gate says why it refused this one. Envoy's own refusals name nothing.
    fn is_named_in(&self, answer: &http1::Answer) -> bool {
        let said = &answer.json()["error"]["data"]["reason"];
        said.is_null() || said == self.behind_envoy.as_ref().unwrap_or(&self.expect)
    }

    /// Whether it arrived once, as it was sent, and nothing beside it.
    fn is_all_of(&self, arrived: &[Arrived]) -> bool {
        let is_it = |it: &Arrived| (&it.method, &it.path, &it.body) == (&self.method, &self.path, &self.body);
        matches!(arrived, [it] if is_it(it))
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
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
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
