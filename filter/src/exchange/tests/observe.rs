//! What is only observed: nothing is changed or held back, and what happened is reported.

use super::response::{LIST, LIST_CALL, PROGRESS, RESULT};
use super::*;
use crate::count::Count;
use crate::exchange::claim;
use crate::standing::tests::{nobody, under};

const OBSERVING: &str = r#"{"routes":[{"path":"/mcp","server":"notes","mode":"observe","limits":{"body_bytes_max":400}}]}"#;
const OBSERVED: &str = "continue | report observed  with 71 bytes | calls_observed";
const ROOM: usize = 1 << 20;

fn check_observing(rows: &[Row<'_>]) {
    check_under(&under(""), OBSERVING, &Budget::new(ROOM), rows);
}

/// A call with headers that an enforcing route would take out.
fn adorned(end: bool) -> Event {
    let headers = [
        ("content-type", "application/json"),
        ("mcp-protocol-version", "2025-11-25"),
        ("accept-encoding", "gzip"),
        ("x-envoy-max-retries", "3"),
    ];
    request("POST", "/mcp", &headers, end)
}

fn observed_reason(reason: &str, bytes: usize) -> String {
    format!("continue | report observed {reason} with {bytes} bytes | calls_observed")
}

#[test]
fn an_observed_call_goes_on_at_once_and_untouched() {
    let config = Rc::new(Config::parse(OBSERVING.as_bytes()).unwrap());
    let mut exchange = Exchange::new(config, 9, "e-9".to_owned(), Budget::new(ROOM).hold());
    let mut effects = Vec::new();
    for event in [adorned(false), last(CALL)] {
        effects.extend(exchange.on(event, &under(""), Moment::default()).effects);
    }
    // Not even a header that `show` leaves out.
    let [Effect::Report(entry), Effect::Count(Count::CallsObserved)] = &effects[..] else { panic!("{effects:?}") };
    let Some(v1::entry::What::Observed(ask)) = &entry.what else { panic!("{entry:?}") };
    assert_eq!((entry.counter, ask.counter, ask.observe, ask.body.as_ref()), (9, 9, true, CALL.as_bytes()));
    assert_eq!((ask.server.as_str(), ask.peer.as_str()), ("notes", "spiffe://local/agent"));

    let size = RESULT.len();
    check_observing(&[
        (adorned(false), "pause"),
        (part(20), "pause"),
        (last(CALL), OBSERVED),
        (trailers(&["x"], CALL), "continue"),
        (response(&[(":status", "200"), ("content-type", "application/json"), ("content-encoding", "gzip")], false), "continue"),
        (chunk(RESULT, false), "continue"),
        (
            Event::ResponseTrailers { names: vec![b"t".to_vec()], bytes: Some(Vec::new()) },
            &format!("continue | unasked report completed 200 {size}B digest (encoded)"),
        ),
        (Event::Gone, "pause"),
    ]);
}

#[test]
fn what_becomes_of_an_observed_call_is_reported_as_of_any_other() {
    let cut = "(the stream ended before the answer did)";
    for (kind, body, wanted) in [
        ("application/json", RESULT.to_owned(), "completed 200 {}B digest"),
        ("application/json", r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#.to_owned(), "failed 200 {}B digest"),
        ("text/event-stream", format!("{PROGRESS}data: {RESULT}\n\n"), "completed 200 {}B digest"),
        ("text/event-stream", PROGRESS.to_owned(), "cut 200 {}B (the stream ended before the answer did)"),
        ("text/plain", "x".repeat(900), "completed 200 {}B digest"),
        ("application/json", "x".repeat(900), "completed 200 {}B digest (too large to look into)"),
    ] {
        check_observing(&[
            (adorned(false), "pause"),
            (last(CALL), OBSERVED),
            (head("200", kind), "continue"),
            (chunk(&body, false), "continue"),
            (chunk("", true), &format!("continue | unasked report {}", wanted.replace("{}", &body.len().to_string()))),
        ]);
    }
    check_observing(&[
        (adorned(false), "pause"),
        (last(CALL), OBSERVED),
        (Event::Gone, &format!("pause | unasked report cut 0 0B {cut}")),
    ]);
}

#[test]
fn trailers_end_an_observed_body_and_stay() {
    check_observing(&[(adorned(false), "pause"), (part(CALL.len()), "pause"), (trailers(&["x-one"], CALL), OBSERVED)]);
    let lookalike = observed_reason("header_lookalike", CALL.len());
    check_observing(&[(adorned(false), "pause"), (part(CALL.len()), "pause"), (trailers(&["mcp-name"], CALL), &lookalike)]);
}

#[test]
fn what_cannot_be_read_goes_on_where_all_is_only_observed() {
    for (body, reason) in [
        ("{", "truncated"),
        ("[]", "batch"),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, "duplicate_key"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"no/such"}"#, "unknown_method"),
    ] {
        check_observing(&[
            (adorned(false), "pause"),
            (last(body), &observed_reason(reason, body.len())),
            (head("200", "application/json"), "continue"),
            (chunk("{}", true), "continue | unasked report completed 200 2B digest"),
        ]);
    }
    let page = request("POST", "/mcp", &[("content-type", "application/json"), ("origin", "https://elsewhere.example")], false);
    check_observing(&[(page, &observed_reason("origin", 0)), (part(20), "continue"), (last(CALL), "continue")]);
    for (method, path) in [("PUT", "/mcp"), ("OPTIONS", "/mcp?x=1")] {
        check_observing(&[(request(method, path, &[], true), &observed_reason("http_method", 0))]);
    }
}

#[test]
fn a_body_over_the_limit_goes_on_from_there_without_its_copy() {
    check_observing(&[
        (adorned(false), "pause"),
        (part(400), "pause"),
        (part(401), &observed_reason("body_too_large", 0)),
        (part(30), "continue"),
        (last("x"), "continue"),
        (head("200", "application/json"), "continue"),
        (chunk(RESULT, true), "continue | unasked report completed 200 48B digest"),
    ]);
}

#[test]
fn a_call_of_which_no_copy_can_be_held_goes_on_and_is_counted() {
    let lost = "continue | calls_observed | unobserved";
    let rows = [
        (adorned(false), "pause"),
        (part(100), lost),
        (last(CALL), "continue"),
        (head("200", "application/json"), "continue"),
        (chunk(RESULT, true), "continue"),
        (Event::Gone, "pause"),
    ];
    check_under(&under(""), OBSERVING, &Budget::new(199), &rows);
    check_under(&under(""), OBSERVING, &Budget::new(9), &[(adorned(false), lost), (last(CALL), "continue")]);
    check_observing(&[
        (adorned(false), "pause"),
        (Event::RequestBody { size: CALL.len(), whole: Some(None) }, "continue | host_errors | calls_observed | unobserved"),
    ]);
}

#[test]
fn upgrades_and_tunnels_are_refused_on_a_route_that_observes_as_well() {
    let refused = "pause | requests_upgrade | refuse 403 id null error 403";
    check_observing(&[(request("GET", "/mcp", &[("upgrade", "websocket")], false), refused)]);
    check_observing(&[(request("CONNECT", "/mcp", &[], false), refused)]);
    check_observing(&[(request("POST", "/other", &[], false), "pause | requests_unnamed | refuse 403 id null error 403")]);
    // What calls nothing passes, and nobody need see its body.
    check_observing(&[
        (request("OPTIONS", "/mcp", &[("accept-encoding", "gzip")], false), "continue | requests_passed"),
        (part(9), "continue"),
    ]);
}

#[test]
fn one_enforced_tool_has_its_server_read_strictly() {
    let standing = under("notes/write enforce");
    let check = |rows: &[Row<'_>]| check_under(&standing, OBSERVING, &Budget::new(ROOM), rows);
    let cleaned = "pause | -request accept-encoding | -request x-envoy-max-retries";
    let refused = "pause | report refused truncated with 1 bytes | calls_malformed | refuse 400 id null error -32700";
    check(&[(adorned(false), cleaned), (last(CALL), OBSERVED)]);
    check(&[(adorned(false), cleaned), (last("{"), refused)]);
    check(&[
        (adorned(false), cleaned),
        (
            part(401),
            "pause | calls_too_large | report refused body_too_large with 0 bytes | calls_malformed | refuse 413 id null error -32600",
        ),
    ]);
    for tool in ["write", "Write"] {
        let call = CALL.replace("\"read\"", &format!("\"{tool}\""));
        let asked = format!("pause | ask 9 of notes for {call}");
        check(&[(adorned(false), cleaned), (last(&call), &asked), (Event::Gone, "pause | forget 9")]);
    }
}

#[test]
fn an_order_that_came_while_the_body_did_is_obeyed() {
    let config = Rc::new(Config::parse(OBSERVING.as_bytes()).unwrap());
    let mut exchange = Exchange::new(config, 9, "e-9".to_owned(), Budget::new(ROOM).hold());
    assert_eq!(exchange.on(adorned(false), &under(""), Moment::default()).effects, []);
    let step = exchange.on(last(CALL), &under("notes enforce"), Moment::default());
    let shown: Vec<String> = step.effects.iter().filter_map(show).collect();
    assert_eq!(shown.join(" | "), format!("-request accept-encoding | -request x-envoy-max-retries | {}", &ASKED[8..]));
    assert!(step.effects.contains(&Effect::SetRequestHeader("x-envoy-max-retries", "0")));
    assert_eq!(step.action, Action::Pause);
}

#[test]
fn a_consulted_call_waits_and_goes_on_where_its_answer_says_that_it_is_observed() {
    let standing = under("notes consult");
    let check = |answered: Answered, wanted: &str, rows: &[Row<'_>]| {
        let mut all = vec![(post(), "pause"), (last(CALL), ASKED), (Event::Answered(answered), wanted)];
        all.extend(rows.iter().map(|(event, wanted)| (clone(event), *wanted)));
        check_under(&standing, OBSERVING, &Budget::new(ROOM), &all);
    };
    check(
        Answered::Observed,
        "continue | calls_observed | resume request",
        &[
            (trailers(&["x"], CALL), "continue"),
            (head("200", "application/json"), "continue"),
            (chunk(RESULT, true), "continue | report completed 200 48B digest"),
        ],
    );
    check(Answered::Allow, RELEASED, &[(Event::Gone, CUT)]);
    let denied = Answered::Deny { rule: "r".to_owned(), reason: "x".to_owned() };
    check(denied, r#"pause | calls_denied | refuse 200 id 1 isError true {"verdict":"deny","rule":"r","call_id":"e-9"}"#, &[]);
    check(Answered::Undecided(undecided(Cause::NoAnswer)), "pause | undecided_no_answer | refuse 200 id 1 error 503", &[]);
}

#[test]
fn a_vm_that_knows_no_order_asks_first_and_lets_go_what_nobody_decides() {
    let fresh = Standing::default();
    for cause in [Cause::Unreachable, Cause::StreamLost, Cause::NoAnswer, Cause::Overloaded, Cause::Crowded] {
        let event = Event::Answered(Answered::Undecided(undecided(cause)));
        let on = format!("continue | undecided_{} | resume request | calls_observed | unobserved", cause.name());
        let rows = [
            (post(), "pause"),
            (last(CALL), ASKED),
            (event, on.as_str()),
            (head("200", "application/json"), "continue"),
            (chunk(RESULT, true), "continue"),
            (Event::Gone, "pause"),
        ];
        check_under(&fresh, OBSERVING, &Budget::new(ROOM), &rows);
    }
    // What cannot be read might be the call of a tool that is enforced.
    let refused = "pause | report refused truncated with 1 bytes | calls_malformed | refuse 400 id null error -32700";
    check_under(&fresh, OBSERVING, &Budget::new(ROOM), &[(post(), "pause"), (last("{"), refused)]);
    // A verdict is a verdict.
    let denied = Answered::Deny { rule: "r".to_owned(), reason: "x".to_owned() };
    let refused = r#"pause | calls_denied | refuse 200 id 1 isError true {"verdict":"deny","rule":"r","call_id":"e-9"}"#;
    check_under(
        &fresh,
        OBSERVING,
        &Budget::new(ROOM),
        &[(post(), "pause"), (last(CALL), ASKED), (Event::Answered(denied), refused)],
    );
    // Nobody is there: it goes on at once.
    check_under(&nobody(), OBSERVING, &Budget::new(ROOM), &[(adorned(false), "pause"), (last(CALL), OBSERVED)]);
    check_under(
        &nobody(),
        OBSERVING,
        &Budget::new(ROOM),
        &[(adorned(false), "pause"), (last("{"), &observed_reason("truncated", 1))],
    );
}

#[test]
fn an_order_that_came_while_nobody_decided_is_obeyed() {
    for (orders, goes_on) in [("", true), ("notes/write enforce", false), ("notes enforce", false), ("notes consult", false)] {
        let config = Rc::new(Config::parse(OBSERVING.as_bytes()).unwrap());
        let mut exchange = Exchange::new(config, 9, "e-9".to_owned(), Budget::new(ROOM).hold());
        for event in [post(), last(CALL)] {
            exchange.on(event, &Standing::default(), Moment::default());
        }
        let event = Event::Answered(Answered::Undecided(undecided(Cause::StreamLost)));
        let step = exchange.on(event, &under(orders), Moment::default());
        assert_eq!(step.effects.contains(&Effect::ResumeRequest), goes_on, "{orders}: {step:?}");
    }
}

#[test]
fn an_enforcing_route_obeys_an_order_to_observe_and_says_what_it_is_configured_for() {
    let standing = under("notes/read observe");
    check_under(&standing, CONFIG, &Budget::new(ROOM), &[(post(), "pause"), (last(CALL), OBSERVED)]);
    let config = Rc::new(Config::parse(CONFIG.as_bytes()).unwrap());
    let mut exchange = Exchange::new(config, 9, String::new(), Budget::new(ROOM).hold());
    exchange.on(post(), &standing, Moment::default());
    let step = exchange.on(last(CALL), &standing, Moment::default());
    let Some(Effect::Report(entry)) = step.effects.first() else { panic!("{step:?}") };
    let Some(v1::entry::What::Observed(ask)) = &entry.what else { panic!("{entry:?}") };
    assert!(!ask.observe);
    for (config, observe) in [(CONFIG, false), (OBSERVING, true)] {
        let config = Rc::new(Config::parse(config.as_bytes()).unwrap());
        let mut exchange = Exchange::new(config, 9, String::new(), Budget::new(ROOM).hold());
        exchange.on(post(), &Standing::default(), Moment::default());
        let step = exchange.on(last(CALL), &Standing::default(), Moment::default());
        let [.., Effect::Ask(ask)] = &step.effects[..] else { panic!("{step:?}") };
        assert_eq!(ask.observe, observe);
    }
}

#[test]
fn an_observed_list_is_not_held_nor_shortened_and_its_tools_are_told() {
    let tools = r#"shown 2 tools {"name":"a"}+{"name":"b","x":1e1}"#;
    let (observed, size) = (format!("continue | report observed  with {} bytes | calls_observed", LIST_CALL.len()), LIST.len());
    let rows = |kind: &'static str, body: String, wanted: String| {
        check_observing(&[
            (adorned(false), "pause"),
            (last(LIST_CALL), &observed),
            (head("200", kind), "continue"),
            (chunk(&body, false), "continue"),
            (chunk("", true), &wanted),
        ]);
    };
    rows("application/json", LIST.to_owned(), format!("continue | unasked report completed 200 {size}B digest {tools}"));
    let stream = format!("data: {LIST}\n\n");
    rows("text/event-stream", stream, format!("continue | unasked report completed 200 {}B digest {tools}", size + 8));
    let (odd, other) = (LIST.replace("\"name\":\"a\"", "\"Name\":\"a\""), LIST.replace("\"id\":1", "\"id\":2"));
    rows(
        "application/json",
        odd,
        format!("continue | unasked report completed 200 {size}B digest (the answer is no list of tools)"),
    );
    rows("application/json", other, format!("continue | unasked report completed 200 {size}B digest"));
}

#[test]
fn of_an_enforced_list_only_enforced_tools_are_hidden() {
    for (orders, hides, left) in [
        ("notes enforce", &["a", "b"][..], "hidden a+b"),
        ("notes enforce, notes/a observe", &["a", "b"], "hidden b shown 1"),
        ("notes enforce, notes/a observe, notes/b observe", &["a", "b"], "shown 2"),
    ] {
        let config = Rc::new(Config::parse(OBSERVING.as_bytes()).unwrap());
        let mut exchange = Exchange::new(config, 9, "e-9".to_owned(), Budget::new(ROOM).hold());
        let mut step = None;
        for event in [post(), last(LIST_CALL), allow(), head("200", "application/json"), chunk(LIST, true), hidden(hides, LIST)] {
            step = Some(exchange.on(event, &under(orders), Moment::default()));
        }
        let shown: Vec<String> = step.unwrap().effects.iter().filter_map(show).collect();
        let tools = r#"tools {"name":"a"}+{"name":"b","x":1e1}"#;
        assert_eq!(shown.last().unwrap(), &format!("report completed 200 {}B digest {left} {tools}", LIST.len()), "{orders}");
    }
}

#[test]
fn the_host_is_told_which_claims_to_read_and_they_travel_along() {
    let config = CONFIG.replace(r#""notes""#, r#""notes","claims":{"metadata":"jwt","names":["sub","tenant"]}"#);
    let config = Rc::new(Config::parse(config.as_bytes()).unwrap());
    let mut exchange = Exchange::new(Rc::clone(&config), 9, String::new(), Budget::new(ROOM).hold());
    let of = |path: &str| exchange.claims(&pairs(&[(":method", "POST"), (":path", path)]));
    let property = |name: &str| format!("metadata\0filter_metadata\0envoy.filters.http.jwt_authn\0jwt\0{name}");
    let both = [("sub".to_owned(), property("sub")), ("tenant".to_owned(), property("tenant"))];
    assert_eq!((of("/mcp"), of("/mcp?x=1"), of("/other")), (both.to_vec(), both.to_vec(), Vec::new()));
    let Event::RequestHeaders { headers, peer, end, .. } = post() else { panic!() };
    let claims = vec![claim("sub", Some(b"ann".to_vec())), claim("tenant", None)];
    exchange.on(Event::RequestHeaders { headers, peer, claims: claims.clone(), end }, &Standing::default(), Moment::default());
    let step = exchange.on(last(CALL), &Standing::default(), Moment::default());
    let [.., Effect::Ask(ask)] = &step.effects[..] else { panic!("{step:?}") };
    assert_eq!(ask.claims, claims);
}

#[test]
fn a_claim_is_text_or_it_is_only_there() {
    let long = vec![b'a'; agentgate_core::id::NAME_BYTES_MAX + 1];
    for (bytes, taken) in [
        (b"ann".to_vec(), true),
        ("ünn@example".as_bytes().to_vec(), true),
        (long[1..].to_vec(), true),
        (long, false),
        (Vec::new(), false),
        (7.0_f64.to_le_bytes().to_vec(), false),
        (1_700_000_000.0_f64.to_le_bytes().to_vec(), false),
        (0.0_f64.to_le_bytes().to_vec(), false),
        (vec![1], false),
        (b"\n\x03ann".to_vec(), false),
        (vec![0xff, 0xfe], false),
    ] {
        let value = if taken { String::from_utf8(bytes.clone()).unwrap() } else { String::new() };
        let wanted = v1::Claim { name: "sub".to_owned(), value, unreadable: !taken };
        assert_eq!(claim("sub", Some(bytes.clone())), wanted, "{bytes:?}");
    }
    assert_eq!(claim("sub", None), v1::Claim { name: "sub".to_owned(), value: String::new(), unreadable: true });
}
