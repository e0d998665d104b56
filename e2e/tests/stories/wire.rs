//! What must hold on the wire, whatever the policy says: nothing moves before the verdict, and one verdict is one execution.
//! The tool server behind the gate records every byte.

use agentgate_e2e::http1::{Connection, request};
use agentgate_e2e::upstream::{Arrived, Part, Protocol, Reply};
use agentgate_e2e::{Edit, Plain, World, WorldPlan, eventually, http1, http2};
use serde_json::{Value, json};

/// A readable call of the session era, which the policy of these worlds allows.
pub(crate) const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"milk"}}}"#;

/// The same with a second `name`: refused by every gate.
pub(crate) const REFUSED: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","name":"delete","arguments":{"query":"milk"}}}"#;

pub(crate) const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"milk"}]}}"#;

pub(crate) const HEADERS: [(&str, &[u8]); 3] = [
    ("content-type", b"application/json"),
    ("accept", b"application/json, text/event-stream"),
    ("mcp-protocol-version", b"2025-11-25"),
];

/// A call of a tool, as `post` sends it.
pub(crate) fn tools_call(id: u32, tool: &str, arguments: &Value) -> Vec<u8> {
    let params = json!({"name": tool, "arguments": arguments});
    post(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string())
}

pub(crate) fn post(body: &str) -> Vec<u8> {
    request("POST", "/mcp", &HEADERS, body.as_bytes())
}

/// What a server might take for `/mcp`, and what stands beside it.
const OTHER_PATHS: [&str; 21] = [
    "/",
    "/other",
    "/MCP",
    "/mcp/",
    "/mcp;x",
    "/mcp%00",
    "/mcp%2f",
    "/mcp%5c",
    "/mcp\\",
    "//mcp",
    "/%6dcp",
    "/x/../mcp",
    "/./mcp",
    "/mcp/..",
    "/messages",
    "/sse",
    "/mcp%20",
    "/mcp#x",
    "*",
    "http://tools.example/mcp",
    "/mcp/../mcp",
];

/// A recording server behind a gate that allows whatever can be read.
pub(crate) fn recording(script: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) -> WorldPlan {
    let mut plan = WorldPlan::recorder(Protocol::Http1, script).unwrap();
    plan.stack.policies = Some("e2e/policies/everything".into());
    plan
}

fn world() -> World {
    recording(|_| Reply::json(RESULT)).start().unwrap()
}

/// The same, spoken to over HTTP/2, so that trailers get through.
pub(crate) fn world_http2(script: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) -> World {
    let mut plan = WorldPlan::recorder(Protocol::Http2, script).unwrap();
    plan.stack.policies = Some("e2e/policies/everything".into());
    let server = "    - name: server\n      type: STRICT_DNS\n";
    let speaks_http2 = "      typed_extension_protocol_options:\n        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n          \
                        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n          \
                        explicit_http_config: {http2_protocol_options: {}}\n";
    plan.stack.edits.push(Edit::new(server, format!("{server}{speaks_http2}")));
    plan.start().unwrap()
}

#[test]
fn nothing_moves_before_the_end_of_the_body() {
    let world = world();
    let upstream = world.upstream().unwrap();
    let whole = post(CALL);
    let (most, last) = whole.split_at(whole.len() - 1);
    let mut connection = Connection::open(world.stack.gate).unwrap();
    connection.send(most).unwrap();
    // Envoy has read all that was sent: were it to release anything early, it would now.
    let read = || world.stack.envoy.stat("http.agents.downstream_cx_rx_bytes_total").ok();
    eventually("Envoy reads all but the last byte", || read().filter(|bytes| *bytes >= most.len() as u64)).unwrap();
    assert_eq!(upstream.take(), (vec![], vec![]));
    connection.send(last).unwrap();
    assert_eq!(connection.answer().unwrap().text(), RESULT);
    assert_eq!(upstream.take().0.len(), 1);
}

#[test]
fn trailers_end_a_body_and_never_carry_a_call_past_the_gate() {
    let world = world_http2(|_| Reply::json(RESULT).trailer("x-checksum", "1"));
    let upstream = world.upstream().unwrap();
    let headers = HEADERS.to_vec();
    // In pieces, as a body that is followed by trailers mostly is.
    let call = |body: &'static str, trailers| {
        let (first, second) = body.as_bytes().split_at(10);
        let stream =
            http2::Stream { method: "POST", path: "/mcp", headers: headers.clone(), body: vec![first, second], trailers };
        world.http2(&stream).unwrap()
    };

    let refused = call(REFUSED, vec![("x-checksum", &b"1"[..])]);
    assert_eq!(upstream.take(), (vec![], vec![]), "{refused:?}");

    let allowed = call(CALL, vec![("x-checksum", &b"1"[..])]);
    assert_eq!((allowed.status, allowed.text().as_str(), allowed.cut), (200, RESULT, false));
    let (arrived, _) = upstream.take();
    assert_eq!((arrived.len(), arrived[0].body.as_slice()), (1, CALL.as_bytes()));

    let renamed = call(CALL, vec![("mcp-name", &b"delete"[..])]);
    let (arrived, _) = upstream.take();
    assert!(arrived.iter().all(|request| request.trailers.is_empty()), "{renamed:?} {arrived:?}");
}

#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on_and_then_judged() {
    let world = world();
    let upstream = world.upstream().unwrap();
    for (body, arrives) in [(CALL, 1), (REFUSED, 0)] {
        let length = body.len().to_string();
        let mut headers = HEADERS.to_vec();
        headers.extend([("expect", &b"100-continue"[..]), ("content-length", length.as_bytes())]);
        let mut connection = Connection::open(world.stack.gate).unwrap();
        connection.send(&request("POST", "/mcp", &headers, b"")).unwrap();
        assert_eq!(connection.answer().unwrap().status, 100);
        assert_eq!(upstream.take(), (vec![], vec![]));
        connection.send(body.as_bytes()).unwrap();
        assert!(connection.answer().unwrap().status != 100);
        assert_eq!(upstream.take().0.len(), arrives, "{body}");
    }
}

#[test]
fn pipelined_calls_of_one_id_get_a_verdict_each() {
    let world = WorldPlan::recorder(Protocol::Http1, |_| Reply::json(RESULT)).unwrap().start().unwrap();
    let [denied, allowed] = ["delete_note", "list_notes"].map(|tool| post(&CALL.replace("search", tool)));
    let mut connection = Connection::open(world.stack.gate).unwrap();
    connection.send(&[&denied[..], &allowed, &denied, &allowed].concat()).unwrap();
    let answers: Vec<http1::Answer> = (0..4).map(|_| connection.answer().unwrap()).collect();
    let passed: Vec<bool> = answers.iter().map(|answer| answer.text() == RESULT).collect();
    assert_eq!(passed, [false, true, false, true], "{answers:?}");
    let arrived = world.upstream().unwrap().take().0;
    assert!(arrived.len() == 2 && arrived.iter().all(|request| request.json()["params"]["name"] == "list_notes"), "{arrived:?}");
}

#[test]
fn paths_that_a_server_might_take_for_the_gated_one_do_not_pass() {
    let world = world();
    for path in OTHER_PATHS {
        let answer = world.http1(&request("POST", path, &HEADERS, REFUSED.as_bytes()));
        let text = answer.map(|answer| answer.text());
        assert_eq!(world.upstream().unwrap().take(), (vec![], vec![]), "{path}: {text:?}");
    }
}

#[test]
fn a_head_is_bounded_for_it_may_cost_its_sender_next_to_nothing() {
    let world = world();
    for (size, status) in [(15 << 10, 200), (17 << 10, 431)] {
        let long = vec![b'a'; size];
        let headers = [&HEADERS[..], &[("x-long", long.as_slice())]].concat();
        let answer = world.http1(&request("POST", "/mcp", &headers, CALL.as_bytes())).unwrap();
        assert_eq!((answer.status, world.upstream().unwrap().take().0.len()), (status, usize::from(status == 200)));
    }
}

#[test]
fn a_preflight_passes_without_a_query_and_discovery_by_a_plain_path() {
    let world = world();
    let cases = [
        ("OPTIONS", "/mcp", 1),
        ("OPTIONS", "/mcp?method=tools/call&name=delete", 0),
        ("GET", "/.well-known/oauth-protected-resource/mcp", 1),
        ("GET", "/.well-known/oauth-x/%252e%252e/%252e%252e/mcp", 0),
        ("GET", "/.well-known/oauth-x;x", 0),
    ];
    for (method, path, arrive) in cases {
        let answer = world.http1(&request(method, path, &[], b""));
        assert_eq!(world.upstream().unwrap().take().0.len(), arrive, "{method} {path}: {answer:?}");
    }
}

#[test]
fn upgrades_and_tunnels_are_refused() {
    let world = world();
    let upgrade: [(&str, &[u8]); 4] = [
        ("connection", b"upgrade"),
        ("upgrade", b"websocket"),
        ("sec-websocket-version", b"13"),
        ("sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let h2c: [(&str, &[u8]); 3] =
        [("connection", b"upgrade, http2-settings"), ("upgrade", b"h2c"), ("http2-settings", b"AAMAAABkAAQAAP__")];
    let attempts = [
        request("GET", "/mcp", &upgrade, b""),
        request("POST", "/mcp", &[&HEADERS[..], &upgrade].concat(), CALL.as_bytes()),
        request("GET", "/mcp", &h2c, b""),
        request("CONNECT", "tools.example:80", &[], b""),
        request("CONNECT", "/mcp", &[], b""),
        request("TRACE", "/mcp", &[], b""),
    ];
    for attempt in attempts {
        let answer = world.http1(&attempt);
        let (arrived, bytes) = world.upstream().unwrap().take();
        // Envoy drops an h2c upgrade and goes on in HTTP/1.1: an ordinary GET, judged as one.
        let is_plain_get = arrived.iter().all(|request| request.method == "GET" && request.values("upgrade").is_empty());
        assert!(is_plain_get, "{}: {answer:?}; {}", String::from_utf8_lossy(&attempt), String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn one_verdict_is_one_execution_whatever_retries_the_route_or_the_client_asks_for() {
    let mut plan = recording(|_| Reply::json(RESULT).status(503));
    let route = "            timeout: 0s\n";
    plan.stack
        .edits
        .push(Edit::new(route, format!("{route}                            retry_policy: {{retry_on: 5xx, num_retries: 3}}\n")));
    let world = plan.start().unwrap();
    let asks: [(&str, &[u8]); 4] = [
        ("x-envoy-retry-on", b"5xx"),
        ("x-envoy-max-retries", b"5"),
        ("x-envoy-hedge-on-per-try-timeout", b"true"),
        ("x-forwarded-for", b"10.0.0.1"),
    ];
    for headers in [HEADERS.to_vec(), [&HEADERS[..], &asks].concat()] {
        let answer = world.http1(&request("POST", "/mcp", &headers, CALL.as_bytes())).unwrap();
        assert_eq!(answer.status, 503);
        assert_eq!(world.upstream().unwrap().take().0.len(), 1, "{headers:?}");
    }
}

#[test]
fn without_the_gate_a_route_with_retries_executes_one_call_four_times() {
    let route = "route: { cluster: tools, timeout: 0s }";
    let retries = "route: { cluster: tools, timeout: 0s, retry_policy: { retry_on: 5xx, num_retries: 3 } }";
    let plain = Plain::edited(vec![Edit::new(route, retries)], |_| Reply::json(RESULT).status(503)).unwrap();
    assert_eq!(http1::exchange(plain.address, &post(CALL)).unwrap().status, 503);
    assert_eq!(plain.upstream.take().0.len(), 4);
}

/// A mirror is made behind every filter, from the route alone: no header lets a filter allow a call and stop its mirror, and no
/// property tells it of one. So the shipped configuration has none, and this is what one would do.
#[test]
fn a_mirror_on_the_route_executes_an_allowed_call_twice_and_a_refused_one_never() {
    let mut plan = recording(|_| Reply::json(RESULT));
    let route = "            timeout: 0s\n";
    let mirror = "request_mirror_policies: [{cluster: server}]";
    plan.stack.edits.push(Edit::new(route, format!("{route}                            {mirror}\n")));
    let world = plan.start().unwrap();
    world.http1(&post(REFUSED)).unwrap();
    assert_eq!(world.upstream().unwrap().take(), (vec![], vec![]));
    assert_eq!(world.http1(&post(CALL)).unwrap().text(), RESULT);
    let arrived = world.upstream().unwrap().until_arrived(2).unwrap();
    assert!(arrived.len() == 2 && arrived.iter().all(|request| request.body == CALL.as_bytes()), "{arrived:?}");
}

#[test]
fn without_the_gate_all_of_this_reaches_the_tool() {
    let plain = Plain::start(|_| Reply::json(RESULT)).unwrap();
    let other_paths = OTHER_PATHS.iter().map(|path| request("POST", path, &HEADERS, REFUSED.as_bytes()));
    let underscore = request("POST", "/mcp", &[&HEADERS[..], &[("mcp_name", b"delete")]].concat(), CALL.as_bytes());
    let upgrade: [(&str, &[u8]); 2] = [("connection", b"upgrade"), ("upgrade", b"websocket")];
    for attempt in other_paths.chain([underscore, request("GET", "/mcp", &upgrade, b"")]) {
        // Where Envoy itself refuses it, straight to the tool server.
        let reaches = [plain.address, plain.upstream.address].into_iter().any(|address| {
            drop(http1::exchange(address, &attempt));
            !plain.upstream.take().0.is_empty()
        });
        assert!(reaches, "{}", String::from_utf8_lossy(&attempt));
    }

    let (first, second) = REFUSED.as_bytes().split_at(10);
    let trailers = vec![("x-checksum", &b"1"[..])];
    let stream = http2::Stream { method: "POST", path: "/mcp", headers: HEADERS.to_vec(), body: vec![first, second], trailers };
    http2::exchange(plain.address, &stream).unwrap();
    assert_eq!(plain.upstream.take().0[0].body, REFUSED.as_bytes());
}

#[test]
fn headers_that_steer_envoy_or_the_server_do_not_get_through() {
    let world = world();
    let steering: [(&str, &[u8]); 13] = [
        ("x-envoy-max-retries", b"3"),
        ("x-envoy-original-path", b"/other"),
        ("x-original-url", b"/other"),
        ("x-rewrite-url", b"/other"),
        ("x-forwarded-uri", b"/other"),
        ("x-http-method-override", b"DELETE"),
        ("x-method-override", b"DELETE"),
        ("x-http-method.override", b"DELETE"),
        ("x!http.method~override", b"DELETE"),
        ("x-original.url", b"/other"),
        ("x-envoy.retry-on", b"5xx"),
        ("x-forwarded-host", b"other.example"),
        ("forwarded", b"host=other.example"),
    ];
    world.http1(&request("POST", "/mcp", &[&HEADERS[..], &steering].concat(), CALL.as_bytes())).unwrap();
    for request in world.upstream().unwrap().take().0 {
        let passed: Vec<_> = steering.iter().filter(|(name, _)| request.values(name).iter().any(|value| value != "0")).collect();
        assert!(passed.is_empty(), "{passed:?}");
    }
    let underscore = [&HEADERS[..], &[("mcp_name", b"delete")]].concat();
    let answer = world.http1(&request("POST", "/mcp", &underscore, CALL.as_bytes()));
    assert_eq!(world.upstream().unwrap().take(), (vec![], vec![]), "{answer:?}");
}

#[test]
fn an_event_reaches_the_client_before_the_result_is_there() {
    let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}"#;
    let asks = r#"{"jsonrpc":"2.0","id":"e-1","method":"elicitation/create","params":{"message":"which?","requestedSchema":{}}}"#;
    for early in [progress, asks] {
        let world = recording(move |_| Reply::events([Part::event(early), Part::Wait, Part::event(RESULT)])).start().unwrap();
        let mut connection = Connection::open(world.stack.gate).unwrap();
        connection.send(&post(CALL)).unwrap();
        assert_eq!(connection.head().unwrap().status, 200);
        connection.until(early.as_bytes()).unwrap();
        world.upstream().unwrap().release();
        connection.until(RESULT.as_bytes()).unwrap();
    }
}

#[test]
fn an_answer_that_is_cut_is_passed_on_as_cut_and_recorded_so() {
    let world = recording(|_| Reply::events([Part::event(r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#), Part::Cut]))
        .start()
        .unwrap();
    let answer = world.http1(&post(CALL)).unwrap();
    assert!(answer.cut || answer.json()["error"]["code"] == 503, "{answer:?}");
    let outcome = eventually("the outcome is on record", || {
        let trace = world.newest_trace("search").ok()?;
        Some(trace["outcome"].clone()).filter(|outcome| !outcome.is_null())
    });
    assert_eq!(outcome.unwrap(), json!("cut"));
}
