//! What comes back: answers that are no list pass as they are, a list that cannot be read or is too large is withheld, and what a client
//! needs to log in passes untouched. The tool server speaks HTTP/2 here, with trailers.

use crate::wire::{CALL, HEADERS, RESULT, post, world_http2};
use agentgate_e2e::http1::{Answer, Connection, request};
use agentgate_e2e::upstream::{Arrived, Part, Protocol, Reply};
use agentgate_e2e::{World, WorldPlan, eventually, http2};
use serde_json::Value;

/// Two tools, the second of which only the control run may show where the list is withheld.
const LIST: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a","inputSchema":{}},{"name":"secret","inputSchema":{}}]}}"#;

/// Larger than what a list may hold, and larger than what Envoy would hold.
const LARGE_BYTES: usize = 3_000_000;

/// What a story asks for by the name of the case.
fn script(request: &Arrived) -> Reply {
    let case = request.json()["params"]["_case"].as_str().unwrap_or_default().to_owned();
    let list = request.json()["method"] == "tools/list";
    let body = if list { LIST } else { RESULT };
    let padded = format!("{{\"pad\":\"{}\",{}", "p".repeat(LARGE_BYTES), &body[1..]);
    match (case.as_str(), request.path.as_str()) {
        (_, "/.well-known/oauth-protected-resource") => Reply::json(r#"{"resource":"http://tools.example/mcp"}"#),
        _ if request.method == "OPTIONS" => Reply::json("").status(204).header("access-control-allow-methods", "POST"),
        ("challenge", _) => Reply::json("{}").status(401).header("www-authenticate", r#"Bearer realm="tools""#),
        ("large", _) => Reply::json(padded),
        ("large event", _) => Reply::events([Part::event(&padded)]),
        ("encoded", _) => Reply::json(body).header("content-encoding", "gzip"),
        ("page", _) => Reply::new("text/html", [Part::Bytes(body.into())]).status(500),
        ("two types", _) => Reply::json(body).header("content-type", "text/event-stream"),
        ("twice", _) => Reply::json(body.replace(r#""tools":["#, r#""tools":[],"tools":["#)),
        ("failure", _) => Reply::json(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"broken"}}"#),
        ("trailers", _) => Reply::json(body).trailer("x-checksum", "secret"),
        ("event and trailers", _) => Reply::events([Part::event(body)]).trailer("x-checksum", "secret"),
        ("waits", _) => Reply::events([Part::event(r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#), Part::Wait]),
        _ => Reply::json(body),
    }
}

/// What becomes of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passes {
    AsItIs,
    Withheld,
}

#[test]
fn answers_pass_as_they_are_and_lists_that_cannot_be_read_do_not() {
    use Passes::{AsItIs, Withheld};
    let world = world_http2(script);
    let calls = [
        ("plain", AsItIs, "completed"),
        ("large", AsItIs, "completed"),
        ("large event", AsItIs, "completed"),
        ("encoded", AsItIs, "completed"),
        ("challenge", AsItIs, "failed"),
        ("page", AsItIs, "failed"),
        ("failure", AsItIs, "failed"),
        ("trailers", AsItIs, "completed"),
        ("event and trailers", AsItIs, "completed"),
    ];
    let lists = [
        ("plain", AsItIs, "completed"),
        ("trailers", AsItIs, "completed"),
        ("event and trailers", AsItIs, "completed"),
        ("challenge", AsItIs, "failed"),
        ("failure", AsItIs, "failed"),
        ("large", Withheld, "withheld"),
        ("large event", Withheld, "withheld"),
        ("encoded", Withheld, "withheld"),
        ("page", Withheld, "withheld"),
        ("two types", Withheld, "withheld"),
        ("twice", Withheld, "withheld"),
    ];
    for (method, cases) in [("tools/call", &calls[..]), ("tools/list", &lists)] {
        for (case, passes, outcome) in cases {
            check(&world, method, case, *passes, outcome);
        }
    }
    a_client_that_leaves_after_the_verdict_cuts_the_answer(&world);
    what_a_client_needs_to_log_in_passes_untouched(&world);
}

fn check(world: &World, method: &str, case: &str, passes: Passes, outcome: &str) {
    let body = asking(method, case);
    let stream = http2::Stream {
        method: "POST",
        path: "/mcp",
        headers: [&HEADERS[..], &[("accept-encoding", b"gzip")]].concat(),
        body: vec![body.as_bytes()],
        trailers: Vec::new(),
    };
    let gated = world.http2(&stream).unwrap();
    let control = http2::exchange(world.tool_server(), &stream).unwrap();
    let said = || format!("{method} {case}: {} {:.300}", gated.status, gated.text());
    let asked_for_encoding = |request: &Arrived| !request.values("accept-encoding").is_empty();
    let encodings: Vec<bool> = world.upstream().unwrap().take().0.iter().map(asked_for_encoding).collect();
    assert_eq!(encodings, [false, true], "{}", said());
    assert_eq!(gated.trailers, [], "{}", said());
    match passes {
        Passes::AsItIs => assert_eq!((gated.status, told(&gated)), (control.status, told(&control)), "{}", said()),
        Passes::Withheld => {
            assert!(control.text().contains("secret") && !gated.text().contains("secret"), "{}", said());
            assert!(
                case == "large event" || gated.json()["error"]["message"].as_str().unwrap().contains("withheld"),
                "{}",
                said()
            );
        }
    }
    let trace = reported(world, method);
    assert_eq!(trace["outcome"], outcome, "{}: {trace}", said());
}

/// What of an answer must come through: its body, and the headers that tell a client what it is. A list that is shown
/// whole may be written anew.
fn told(answer: &Answer) -> (Value, Vec<u8>, Option<&str>, Option<&str>) {
    let body = if answer.text().contains("secret") { Vec::new() } else { answer.body.clone() };
    (answer.json(), body, answer.header("www-authenticate"), answer.header("content-type"))
}

fn asking(method: &str, case: &str) -> String {
    CALL.replace("tools/call", method).replace(r#""params":{"#, &format!(r#""params":{{"_case":"{case}","#))
}

/// The newest trace of this method, once its outcome is there.
fn reported(world: &World, method: &str) -> Value {
    let found = eventually(format_args!("the outcome of {method} is on record"), || {
        let trace = world.traces().ok()?.into_iter().find(|trace| trace["method"] == method)?;
        (!trace["outcome"].is_null()).then_some(trace)
    });
    found.unwrap()
}

fn a_client_that_leaves_after_the_verdict_cuts_the_answer(world: &World) {
    let mut connection = Connection::open(world.stack.gate).unwrap();
    connection.send(&post(&asking("tools/call", "waits"))).unwrap();
    connection.until(b"notifications/progress").unwrap();
    drop(connection);
    assert_eq!(reported(world, "tools/call")["outcome"], "cut");
}

fn what_a_client_needs_to_log_in_passes_untouched(world: &World) {
    let upstream = world.upstream().unwrap();
    upstream.take();
    let preflight: [(&str, &[u8]); 2] = [("origin", b"http://tools.example"), ("access-control-request-method", b"POST")];
    for (method, path, headers, status) in [
        ("GET", "/.well-known/oauth-protected-resource", &[][..], 200),
        ("OPTIONS", "/mcp", &preflight, 204),
        ("OPTIONS", "/.well-known/oauth-protected-resource", &preflight, 200),
    ] {
        let answer = world.http1(&request(method, path, headers, b"")).unwrap();
        let arrived = upstream.take().0;
        assert_eq!((answer.status, arrived.len()), (status, 1), "{method} {path}: {answer:?}");
        assert_eq!((arrived[0].method.as_str(), arrived[0].path.as_str()), (method, path));
        let sent_on = |(name, value): &(&str, &[u8])| arrived[0].values(name) == [String::from_utf8_lossy(value)];
        assert!(headers.iter().all(sent_on), "{arrived:?}");
    }
    // The same paths carry no call, and no other path is named.
    for (method, path, body) in [
        ("POST", "/.well-known/oauth-protected-resource", CALL),
        ("GET", "/.well-known/oauth-protected-resource", CALL),
        ("GET", "/.well-known/other", CALL),
        ("OPTIONS", "/mcp", CALL),
        ("POST", "/register", CALL),
        ("GET", "/health", ""),
    ] {
        let answer = world.http1(&request(method, path, &HEADERS, body.as_bytes())).unwrap();
        assert_eq!(upstream.take().0, [], "{method} {path}: {answer:?}");
        assert!(matches!(answer.status, 400 | 403), "{method} {path}: {answer:?}");
    }
}

/// Hiding is a courtesy: nothing on a session's own stream says which request an answer belongs to, so no list is looked for there.
/// What protects is the verdict on the call, whoever told the client of the tool.
#[test]
fn a_list_that_is_replayed_is_not_shortened_and_its_hidden_tool_is_refused_all_the_same() {
    let list = LIST.replace(r#""secret""#, r#""delete_note""#);
    let script = move |request: &Arrived| match request.method.as_str() {
        "GET" => Reply::events([Part::event(&list)]),
        _ if request.json()["method"] == "tools/list" => Reply::json(list.clone()),
        _ => Reply::json(RESULT),
    };
    let world = WorldPlan::recorder(Protocol::Http1, script).unwrap().start().unwrap();
    let listed = world.http1(&post(&CALL.replace("tools/call", "tools/list"))).unwrap();
    assert!(listed.status == 200 && !listed.text().contains("delete_note"), "{listed:?}");

    let resumed = [&HEADERS[..], &[("mcp-session-id", b"s-1"), ("last-event-id", b"7")]].concat();
    let replayed = world.http1(&request("GET", "/mcp", &resumed, b"")).unwrap();
    assert!(replayed.status == 200 && replayed.text().contains("delete_note"), "{replayed:?}");

    world.upstream().unwrap().take();
    let refused = world.http1(&post(&CALL.replace("search", "delete_note"))).unwrap();
    assert_eq!(refused.json()["result"]["_meta"]["agentgate/verdict"]["verdict"], "deny", "{refused:?}");
    assert_eq!(world.upstream().unwrap().take(), (vec![], vec![]));
}
