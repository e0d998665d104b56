//! REST routes: asked for by the rule that took the request, refused as HTTP refuses, and reported by their status.

use super::*;
use crate::standing::tests::nobody;

const REST: &str = r#"{"routes":[{"server":"billing","rest":{"prefix":"/api","tools":[
    {"tool":"get_invoice","method":"GET","path":"/invoices/{id:integer}"},
    {"tool":"pay","method":"POST","path":"/invoices/{id:integer}/payments","body":{"amount":"number"}}
]},"limits":{"body_bytes_max":400}}]}"#;

fn check(rows: &[Row<'_>]) {
    check_with(REST, &Budget::new(1 << 20), rows);
}

fn get(path: &str) -> Event {
    request("GET", path, &[], true)
}

fn pay() -> Event {
    request("POST", "/api/invoices/7/payments", &[("content-type", "application/json")], false)
}

fn observing() -> String {
    REST.replace(r#""server":"billing""#, r#""server":"billing","mode":"observe""#)
}

const ASKED: &str = "pause | ask 9 of billing for ";

#[test]
fn a_call_is_asked_for_by_its_rule_and_told_by_its_status() {
    for (status, kind) in [("200", "completed"), ("204", "completed"), ("304", "completed"), ("404", "failed"), ("500", "failed")]
    {
        check(&[
            (get("/api/invoices/7"), ASKED),
            (allow(), RELEASED),
            (head(status, "application/json"), "continue"),
            (chunk("{\"jsonrpc\"", false), "continue"),
            (chunk(":", true), &format!("continue | report {kind} {status} 11B digest")),
        ]);
    }
    check(&[
        (pay(), "pause"),
        (last(r#"{"amount":1}"#), r#"pause | ask 9 of billing for {"amount":1}"#),
        (allow(), RELEASED),
        (response(&[(":status", "204")], true), "continue | report completed 204 0B"),
    ]);
}

#[test]
fn the_ask_holds_the_rule_and_the_host() {
    let config = Rc::new(Config::parse(REST.as_bytes()).unwrap());
    for (path, wanted) in [
        ("/api/invoices/7", "get_invoice GET /api/invoices/{id:integer}"),
        ("/api/invoices/x", "get_invoice GET /api/invoices/{id:integer}"),
        ("/api/other", "  "),
        ("/api/invoices%2f7", "  "),
    ] {
        let mut exchange = Exchange::new(Rc::clone(&config), 9, String::new(), Budget::new(1 << 20).hold());
        let step = exchange.on(get(path), &Standing::default(), Moment::default());
        let ask = step.effects.iter().find_map(|effect| match effect {
            Effect::Ask(ask) => Some(ask.as_ref().clone()),
            Effect::Report(entry) => match entry.what.clone() {
                Some(v1::entry::What::Refused(ask)) => Some(ask),
                _ => None,
            },
            _ => None,
        });
        let ask = ask.unwrap();
        let rest = ask.rest.unwrap();
        assert_eq!(format!("{} {} {}", rest.tool, rest.method, rest.path), wanted, "{path}");
        let headers = ask.head.unwrap().headers;
        assert_eq!(headers, [v1::Header { name: "host".into(), value: "server".into() }]);
        assert!(ask.versions.is_empty());
    }
}

#[test]
fn what_no_tool_is_mapped_to_is_refused_and_reported() {
    let refused = |reason: &str, status: u16, bytes: usize| {
        format!("pause | report refused {reason} with {bytes} bytes | calls_malformed | refuse {status} malformed {reason}")
    };
    for (event, reason, status) in [
        (get("/api"), "unmapped_request", 403),
        (get("/api/admin"), "unmapped_request", 403),
        (request("HEAD", "/api/invoices/7", &[], true), "unmapped_request", 403),
        (request("OPTIONS", "/api/invoices/7", &[], true), "unmapped_request", 403),
        (get("/api/invoices/x"), "argument_type", 400),
        (get("/api/invoices/7?x=1"), "query", 400),
        (get("/api/invoices/%2f"), "path_encoding", 400),
    ] {
        check(&[(event, &refused(reason, status, 0))]);
    }
    check(&[(get("/apis"), "pause | requests_unnamed | refuse 403 id null error 403")]);
    check(&[(pay(), "pause"), (last("{}x"), &refused("trailing_data", 400, 3))]);
    let large = "pause | calls_too_large | report refused body_too_large with 0 bytes | calls_malformed | refuse 413 malformed body_too_large";
    check(&[(pay(), "pause"), (part(401), large)]);
    let page = request("GET", "/api/invoices/7", &[("origin", "https://elsewhere.example")], true);
    check(&[(page, &refused("origin", 403, 0))]);
}

#[test]
fn a_verdict_that_lets_nothing_through_is_told_as_http() {
    let told = |answered: Answered| {
        let config = Rc::new(Config::parse(REST.as_bytes()).unwrap());
        let mut exchange = Exchange::new(config, 9, "e-9".to_owned(), Budget::new(1 << 20).hold());
        exchange.on(get("/api/invoices/7"), &Standing::default(), Moment::default());
        let step = exchange.on(Event::Answered(answered), &Standing::default(), Moment::default());
        let reply = step.effects.into_iter().find_map(|effect| match effect {
            Effect::Refuse(reply) => Some(reply),
            _ => None,
        });
        let reply = reply.unwrap();
        (reply.http_status, reply.retry_after_s, text(&reply.body))
    };
    let (rule, reason) = ("r".to_owned(), "why \"so\"".to_owned());
    let denied = told(Answered::Deny { rule: rule.clone(), reason: reason.clone() });
    assert_eq!((denied.0, denied.1), (403, None));
    assert!(denied.2.starts_with(r#"{"error":"denied","message":"This was not done: the policy refuses it"#), "{}", denied.2);
    assert!(denied.2.ends_with(r#""rule":"r","reason":"why \"so\"","call_id":"e-9"}"#), "{}", denied.2);
    let pending = told(Answered::Pending { rule, reason, approval: "a-1".to_owned() });
    assert_eq!((pending.0, pending.1), (428, None));
    assert!(pending.2.starts_with(r#"{"error":"pending""#), "{}", pending.2);
    assert!(pending.2.ends_with(r#""call_id":"e-9","approval":"a-1","retry_after_ms":1000}"#), "{}", pending.2);
    let undecided = told(Answered::Undecided(undecided(Cause::Journal)));
    assert_eq!((undecided.0, undecided.1), (503, Some("1")));
    assert!(undecided.2.starts_with(r#"{"error":"undecided""#), "{}", undecided.2);
    assert!(undecided.2.contains("Wait a moment, then send the same again."), "{}", undecided.2);
    let lasting = told(Answered::Undecided(self::undecided(Cause::Identity)));
    assert_eq!((lasting.0, lasting.1), (503, None), "who may not ask is not helped by another try");
    assert!(lasting.2.contains("Sending it again does not help"), "{}", lasting.2);
}

#[test]
fn what_the_gate_cannot_hold_is_told_as_http() {
    let crowded = "pause | calls_too_large | refuse 503 unavailable ";
    check_with(REST, &Budget::new(100), &[(pay(), "pause"), (part(100), crowded)]);
    check(&[
        (pay(), "pause"),
        (Event::RequestBody { size: 9, whole: Some(None) }, "pause | host_errors | refuse 503 unavailable "),
    ]);
}

#[test]
fn an_observing_route_sends_everything_on() {
    for (event, reason) in
        [(get("/api/invoices/7"), ""), (get("/api/admin"), "unmapped_request"), (get("/api/a%2fb"), "path_encoding")]
    {
        check_under(
            &nobody(),
            &observing(),
            &Budget::new(1 << 20),
            &[
                (event, &format!("continue | report observed {reason} with 0 bytes | calls_observed")),
                (head("500", "text/html"), "continue"),
                (chunk("x", true), "continue | unasked report failed 500 1B digest"),
            ],
        );
    }
}
