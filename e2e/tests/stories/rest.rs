//! REST behind the gate: every attempt of the golden vectors against a server that records each byte, and the mapping that
//! `agentgate openapi` proposes before a server that we can also ask without the gate.

use crate::attempts::bytes;
use agentgate_e2e::http1::Answer;
use agentgate_e2e::upstream::{Arrived, Protocol, Reply};
use agentgate_e2e::{Doing, Edit, Places, Process, World, WorldPlan, eventually, http1, http2};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// The bootstrap's route, once the server has its name.
const ROUTE: &str = r#"{ "path": "/mcp", "server": "billing" }"#;

/// What every client here calls the gate, since HTTP/2's does.
const HOST: &str = "tools.example";

type Headers = Vec<(String, Vec<u8>)>;

/// One line of the vectors.
struct Attempt {
    line: Value,
    headers: Headers,
    body: Vec<u8>,
}

fn vectors() -> (Value, Vec<Attempt>) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/core/tests/vectors/rest.json");
    let text = fs::read_to_string(file).unwrap().replace("billing.example", HOST).replace("Billing.Example", "Tools.Example");
    let vectors: Value = serde_json::from_str(&text).unwrap();
    let attempts = vectors["attempts"].as_array().unwrap().iter().filter(|line| line["offline"] != true);
    let attempt = |line: &Value| Attempt {
        headers: line["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair[0].as_str().unwrap().into(), bytes(&pair[1])))
            .collect(),
        body: bytes(&line["body"]),
        line: line.clone(),
    };
    (vectors["rest"].clone(), attempts.map(attempt).collect())
}

// === impl Attempt ===

impl Attempt {
    fn text(&self, name: &str) -> &str {
        self.line[name].as_str().unwrap_or_default()
    }

    /// Refused, with nothing at the server; or there, once and as it was sent.
    fn is_answered_rightly(&self, answer: &Answer, arrived: &[Arrived], bytes: &[u8]) -> bool {
        let is_refused = bytes.is_empty() && !(200..400).contains(&answer.status) && self.is_named_in(answer);
        let is_it = |one: &Arrived| (one.method.as_str(), &one.body) == (self.text("method"), &self.body);
        let is_there = answer.status == 200 && matches!(arrived, [one] if is_it(one));
        let stripped = || self.line["stripped"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let is_clean = |one: &Arrived| stripped().all(|name| one.values(name).is_empty());
        let as_sent = is_there && arrived.iter().all(|one| one.path == self.text("path") && is_clean(one));
        match (self.text("expect"), self.text("behind_envoy")) {
            ("ok", _) => as_sent,
            (_, "rewritten") => is_refused || (is_there && !as_sent),
            (_, _) => is_refused,
        }
    }

    /// None: no answer at all.
    fn over_http1(&self, address: SocketAddr) -> Option<Answer> {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let request = http1::request(self.text("method"), self.text("path"), &headers, &self.body);
        http1::exchange(address, &request).ok()
    }

    /// None: the library, or HTTP/2, cannot say it.
    fn over_http2(&self, address: SocketAddr) -> Option<Answer> {
        let is_host = self.headers.iter().all(|(name, value)| name != "host" || value == HOST.as_bytes());
        if !is_host || self.line["http1_only"] == true {
            return None;
        }
        let others = self.headers.iter().filter(|(name, _)| name != "host");
        let headers = others.map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let body = if self.body.is_empty() { Vec::new() } else { vec![self.body.as_slice()] };
        let (method, path) = (self.text("method"), self.text("path"));
        http2::exchange(address, &http2::Stream { method, path, headers, body, trailers: Vec::new() }).ok()
    }

    /// Whether the gate says why. Envoy's own refusals name nothing, and neither does a host that no route has.
    fn is_named_in(&self, answer: &Answer) -> bool {
        let reason = answer.json()["reason"].clone();
        let behind = self.text("behind_envoy");
        reason.is_null()
            || matches!(behind, "*" | "rewritten")
            || reason == *(if behind.is_empty() { self.text("expect") } else { behind })
    }
}

fn recording(rest: &Value, mode: &str) -> World {
    let mut plan = WorldPlan::recorder(Protocol::Http1, |_| Reply::json("[]")).unwrap();
    plan.stack.policies = Some("e2e/policies/everything".into());
    plan.stack.server = "billing";
    let route = json!({"server": "billing", "mode": mode, "rest": rest});
    plan.stack.edits.push(Edit::new(ROUTE, route.to_string()));
    plan.start().unwrap()
}

/// How an attempt is sent.
type Way = fn(&Attempt, SocketAddr) -> Option<Answer>;

#[test]
fn a_refused_rest_attempt_leaves_no_byte_at_the_server_and_an_allowed_one_arrives() {
    let (rest, attempts) = vectors();
    let world = recording(&rest, "enforce");
    let upstream = world.upstream().unwrap();
    let mut wrong = Vec::new();
    for attempt in &attempts {
        for over in [Attempt::over_http1 as Way, Attempt::over_http2] {
            let Some(answer) = over(attempt, world.stack.gate) else { continue };
            let (arrived, bytes) = upstream.take();
            if !attempt.is_answered_rightly(&answer, &arrived, &bytes) {
                let bytes = String::from_utf8_lossy(&bytes);
                wrong.push(format!("{}: {} {}; at the server: {bytes:.80}", attempt.line["name"], answer.status, answer.text()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} attempts:\n{}", wrong.len(), attempts.len(), wrong.join("\n"));
}

#[test]
fn an_observed_route_sends_everything_on_and_records_what_it_would_have_refused() {
    let (rest, attempts) = vectors();
    let world = recording(&rest, "observe");
    let upstream = world.upstream().unwrap();
    for reason in ["unmapped_request", "argument_type", "argument_unknown", "content_encoding", "ok"] {
        let attempt = attempts.iter().find(|attempt| attempt.text("expect") == reason).unwrap();
        let answer = attempt.over_http1(world.stack.gate).unwrap();
        assert_eq!((answer.status, upstream.take().0.len()), (200, 1), "{}", attempt.line);
        let recorded = eventually(format_args!("`{reason}` is on record"), || {
            let trace = world.traces().ok()?.into_iter().next()?;
            let shown = world.stack.cli.json(&["trace", "show", trace["call_id"].as_str()?]).ok()?;
            let malformed = shown["body"]["malformed"].as_str().unwrap_or("ok");
            (malformed == reason && trace["outcome"] == "completed").then_some(trace)
        });
        assert_eq!(recorded.unwrap()["verdict"], if reason == "ok" { "allow" } else { "deny" });
    }
}

/// The proposal for the demo's document, as a program reads it.
fn proposed(places: &Places) -> Value {
    let mut command = Command::new(&places.agentgate);
    let output = command.args(["openapi", "--output", "json"]).arg(places.demo("billing.yaml")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The default policy, with the proposed rows for its table; what deletes is blocked.
fn policies(directory: &Path, places: &Places, rows: &str) -> std::path::PathBuf {
    let folder = directory.join("proposed");
    for part in ["rego", "cases"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    for file in ["rego/platform.rego", "rego/methods.rego"] {
        fs::copy(places.policies().join(file), folder.join(file)).unwrap();
    }
    let gated = "delete_invoice: { tag: gated";
    assert!(rows.contains(gated), "{rows}");
    fs::write(folder.join("tools.yaml"), rows.replace(gated, "delete_invoice: { tag: blocked")).unwrap();
    let case = "- name: a REST call is decided like any other
  given: { server: billing, method: tools/call, tool: get_invoice, arguments: { id: 1 }, version: rest }
  want: { verdict: allow, rule: tool_open, scope: read }
";
    fs::write(folder.join("cases/rest.yaml"), case).unwrap();
    folder
}

/// The demo's server behind the mapping that was proposed for it, enforced.
fn billing() -> (World, Process) {
    let mut server = None;
    let mut plan = WorldPlan::own(|places, directory| {
        let ready = directory.join("port");
        let mut command = Command::new(&places.python);
        command.arg(places.demo("billing_server.py")).arg("--ready-file").arg(&ready).env("PYTHONDONTWRITEBYTECODE", "1");
        let mut process = Process::start("the billing server", command, &directory.join("billing.log"))?;
        let port: u16 = process.until("it listens", || fs::read_to_string(&ready).ok()?.parse().ok())?;
        fs::write(directory.join("folder"), directory.display().to_string()).doing("its folder")?;
        server = Some((process, directory.to_owned()));
        Ok(SocketAddr::from(([127, 0, 0, 1], port)))
    })
    .unwrap();
    let (process, directory) = server.unwrap();
    let proposed = proposed(&plan.places);
    plan.stack.policies = Some(policies(&directory, &plan.places, proposed["tools_yaml"].as_str().unwrap()));
    plan.stack.server = "billing";
    let mut route = proposed["route"].clone();
    assert_eq!(route["mode"], "observe");
    route["mode"] = json!("enforce");
    plan.stack.edits.push(Edit::new(ROUTE, route.to_string()));
    (plan.start().unwrap(), process)
}

fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> Answer {
    let headers: &[(&str, &[u8])] = if body.is_empty() { &[] } else { &[("content-type", b"application/json")] };
    http1::exchange(address, &http1::request(method, path, headers, body.as_bytes())).unwrap()
}

#[test]
fn a_proposed_mapping_works_before_a_real_server() {
    let (world, _server) = billing();
    let through = |method: &str, path: &str, body: &str| send(world.stack.gate, method, path, body);
    for (method, path, body, status, said) in [
        ("GET", "/api/invoices", "", 200, Value::Null),
        ("GET", "/api/invoices?customer=ada&limit=1", "", 200, Value::Null),
        ("GET", "/api/invoices/2", "", 200, Value::Null),
        ("GET", "/api/invoices/77", "", 404, json!("no such invoice")),
        ("GET", "/api/invoices/two", "", 400, json!("malformed")),
        ("GET", "/api/invoices?states=open", "", 400, json!("malformed")),
        ("GET", "/api/admin", "", 403, json!("malformed")),
        ("PUT", "/api/invoices/1/attachment", "x", 403, json!("malformed")),
        ("POST", "/api/invoices", r#"{"customer":"ada"}"#, 400, json!("malformed")),
        ("POST", "/api/invoices", r#"{"customer":"ada","amount":"1"}"#, 400, json!("malformed")),
        ("POST", "/api/invoices", r#"{"customer":"ada","amount":1,"paid":true}"#, 400, json!("malformed")),
        ("DELETE", "/api/invoices/1", "", 403, json!("denied")),
        ("POST", "/api/invoices", r#"{"customer":"ada","amount":1}"#, 428, json!("pending")),
    ] {
        let answer = through(method, path, body);
        assert_eq!((answer.status, &answer.json()["error"]), (status, &said), "{method} {path} {body}: {}", answer.text());
    }
    assert_eq!(through("GET", "/api/invoices?customer=ada", "").json(), json!([{"id": 1, "customer": "ada", "amount": 10}]));

    let trace = world.newest_trace("delete_invoice").unwrap();
    let denied = through("DELETE", "/api/invoices/1", "");
    assert_eq!(denied.json()["rule"], trace["rule"], "{}", denied.text());
    assert_eq!((&trace["method"], &trace["verdict"]), (&json!("tools/call"), &json!("deny")));
    let explained = world.stack.cli.text(&["explain", trace["call_id"].as_str().unwrap()]).unwrap();
    assert!(explained.contains("tool_blocked") && explained.contains("tools.yaml"), "{explained}");

    let shown = world
        .stack
        .cli
        .text(&["trace", "show", world.newest_trace("create_invoice").unwrap()["call_id"].as_str().unwrap()])
        .unwrap();
    for words in ["POST /api/invoices", "tools/call", "rest", "amount", "\"ada\""] {
        assert!(shown.contains(words), "`{words}` is missing:\n{shown}");
    }
    let shown = world.newest_trace("get_invoice").unwrap()["call_id"].as_str().unwrap().to_owned();
    let shown = world.stack.cli.text(&["trace", "show", &shown]).unwrap();
    assert!(shown.contains("GET /api/invoices/") && shown.contains("id"), "{shown}");
}

#[test]
fn a_rest_call_that_waits_passes_once_when_it_is_granted() {
    let (world, _server) = billing();
    let create = |body: &str| send(world.stack.gate, "POST", "/api/invoices", body);
    let (body, same) = (r#"{"customer":"ada","amount":1.50}"#, "{ \"amount\":1.50, \"customer\":\"ada\" }");
    let pending = create(body);
    assert_eq!(pending.status, 428, "{}", pending.text());
    let id = pending.json()["approval"].as_str().unwrap().to_owned();
    let shown = world.stack.cli.text(&["approve", "show", &id]).unwrap();
    assert!(shown.contains("create_invoice") && shown.contains("1.50"), "{shown}");
    world.stack.cli.text(&["approve", "grant", &id, "--yes", "--reason", "agreed"]).unwrap();
    assert_eq!(create(r#"{"customer":"ada","amount":1.5}"#).status, 428, "another number is another call");
    let granted = create(same);
    assert_eq!((granted.status, &granted.json()["id"]), (201, &json!(3)), "{}", granted.text());
    assert_eq!(create(body).status, 428, "a grant is for one call");
}

#[test]
fn without_the_gate_every_one_of_these_calls_is_carried_out() {
    let (world, _server) = billing();
    let straight = |method: &str, path: &str, body: &str| send(world.tool_server(), method, path, body).status;
    assert_eq!(straight("POST", "/api/invoices", r#"{"customer":"ada","amount":"1","paid":true}"#), 201);
    assert_eq!(straight("DELETE", "/api/invoices/1", ""), 204);
    assert_eq!(straight("GET", "/api/invoices?states=open", ""), 200);
}

#[test]
fn a_rest_client_is_told_when_nobody_can_decide() {
    let (mut world, _server) = billing();
    world.stack.control_plane.kill();
    let answer = eventually("the gate notices", || {
        let answer = send(world.stack.gate, "GET", "/api/invoices/1", "");
        (answer.status == 503).then_some(answer)
    });
    let answer = answer.unwrap();
    assert_eq!((answer.header("retry-after"), &answer.json()["error"]), (Some("1"), &json!("undecided")), "{}", answer.text());
}
