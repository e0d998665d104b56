//! Which of a server's messages is the answer, and what is reported of a stream that ends with it, or without it.

use super::response::{LIST, LIST_CALL, PROGRESS, RESULT, SHORT, TOLD, after, withheld};
use super::*;

/// A stream with this body: what is reported where it ends, by its last bytes and by trailers, and where the client leaves it.
fn stream_of(call: &str, status: &str, body: &str, at_end: &str, at_leaving: &str) {
    let trailers = || Event::ResponseTrailers { names: Vec::new(), bytes: Some(Vec::new()) };
    for (last, action, wanted) in
        [(chunk("", true), "continue", at_end), (trailers(), "continue", at_end), (Event::Gone, "pause", at_leaving)]
    {
        let report = format!("{action} | report {wanted}");
        after(call, &[(head(status, "text/event-stream"), "continue"), (chunk(body, false), "continue"), (last, &report)]);
    }
}

fn event(message: &str) -> String {
    format!("data: {message}\n\n")
}

const ERROR: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#;
const UNADDRESSED: &str = r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}"#;

#[test]
fn only_a_response_with_the_requests_own_id_is_its_answer() {
    let (result, error, null) = (event(RESULT), event(ERROR), event(UNADDRESSED));
    let with = |message: &str, id: &str| event(&message.replace("\"id\":1", &format!("\"id\":{id}")));
    for (body, kind) in [
        (result.clone(), "completed"),
        (error.clone(), "failed"),
        (with(RESULT, "\"other\""), "cut"),
        (with(RESULT, "\"1\""), "cut"),
        (with(RESULT, "1.0"), "cut"),
        (with(RESULT, "1e0"), "cut"),
        (with(RESULT, "2"), "cut"),
        (with(ERROR, "2"), "cut"),
        (with(RESULT, "2") + &error, "failed"),
        (with(ERROR, "2") + &result, "completed"),
        (result.clone() + &with(ERROR, "2"), "completed"),
        (null.clone(), "failed"),
        (null.clone() + &result, "completed"),
        (null.clone() + &error, "failed"),
        (null.clone() + &with(RESULT, "2"), "failed"),
        (result.clone() + &null, "completed"),
        (PROGRESS.to_owned(), "cut"),
        (event(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), "cut"),
    ] {
        let rest = if kind == "cut" { " (the stream ended before the answer did)" } else { " digest" };
        let report = format!("{kind} 200 {}B{rest}", body.len());
        stream_of(CALL, "200", &body, &report, &report);
    }
    // A string stays a string, whatever its escapes.
    let (call, result) = (CALL.replace("\"id\":1", "\"id\":\"a\""), with(RESULT, r#""\u0061""#));
    let report = format!("completed 200 {}B digest", result.len());
    stream_of(&call, "200", &result, &report, &report);
}

#[test]
fn a_status_of_failure_is_an_answer_and_so_is_the_end_of_a_stream_that_owes_none() {
    let size = PROGRESS.len();
    let cut = format!("cut 200 {size}B (the stream ended before the answer did)");
    stream_of(CALL, "500", PROGRESS, &format!("failed 500 {size}B digest"), &cut.replace(" 200 ", " 500 "));
    let theirs = event(&ERROR.replace("\"id\":1", "\"id\":7"));
    for call in [r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#] {
        for body in [PROGRESS, &theirs] {
            let size = body.len();
            let cut = format!("cut 200 {size}B (the stream ended before the answer did)");
            stream_of(call, "200", body, &format!("completed 200 {size}B digest"), &cut);
        }
    }
    check(&[
        (request("GET", "/mcp", &[("mcp-protocol-version", "2025-11-25")], true), "pause | ask 9 of notes for "),
        (allow(), RELEASED),
        (head("200", "text/event-stream"), "continue"),
        (chunk(PROGRESS, false), "continue"),
        (chunk("", true), &format!("continue | report completed 200 {size}B digest")),
    ]);
    let head = |kind| response(&[(":status", "200"), ("content-type", kind)], true);
    after(CALL, &[(head("text/event-stream"), "continue | report cut 200 0B (the stream ended before the answer did)")]);
    after(CALL, &[(head("application/json"), "continue | report completed 200 0B")]);
}

#[test]
fn a_json_body_without_the_answer_is_judged_by_its_status() {
    for (status, body, kind) in [
        ("200", ERROR.replace("\"id\":1", "\"id\":2"), "completed"),
        ("200", ERROR.replace("\"id\":1", "\"id\":\"1\""), "completed"),
        ("200", UNADDRESSED.to_owned(), "failed"),
        ("200", RESULT.replace("\"id\":1", "\"id\":2"), "completed"),
        ("404", RESULT.replace("\"id\":1", "\"id\":2"), "failed"),
    ] {
        let report = format!("continue | report {kind} {status} {}B digest", body.len());
        after(CALL, &[(head(status, "application/json"), "continue"), (chunk(&body, true), &report)]);
    }
}

#[test]
fn a_streamed_answer_that_names_no_tool_is_reported_as_the_call_of_any_tool_is() {
    let empty = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#;
    let cut = "report cut 200 {}B (the stream ended before the answer did)";
    for (body, wanted) in [
        (event(empty), "lists_filtered | report completed 200 {}B digest"),
        (event(ERROR), "report failed 200 {}B digest"),
        (event(UNADDRESSED), "report failed 200 {}B digest"),
        (event(UNADDRESSED) + &event(empty), "lists_filtered | report completed 200 {}B digest"),
        (event(&empty.replace("\"id\":1", "\"id\":2")), cut),
        (event(&ERROR.replace("\"id\":1", "\"id\":2")), cut),
        (PROGRESS.to_owned(), cut),
    ] {
        let wanted = wanted.replace("{}", &body.len().to_string());
        let trailers = Event::ResponseTrailers { names: Vec::new(), bytes: Some(Vec::new()) };
        for (last, before) in [(chunk("", true), "continue | body= | "), (trailers, "continue | "), (Event::Gone, "pause | ")] {
            after(
                LIST_CALL,
                &[
                    (head("200", "text/event-stream"), "continue | -response content-length"),
                    (chunk(&body, false), &format!("continue | body={body}")),
                    (last, &format!("{before}{wanted}")),
                    (Event::Gone, "pause"),
                ],
            );
        }
    }
}

#[test]
fn what_comes_while_a_list_is_asked_about_is_part_of_the_servers_body() {
    use sha2::Digest as _;
    let (list, short) = (event(LIST), event(SHORT));
    let later = format!("{PROGRESS}: half");
    let body = format!("{list}{later}\n\n{PROGRESS}");
    // The first bytes end within an event: what is held of it is counted once.
    for first in [list.len(), list.len() + 3] {
        let config = Rc::new(Config::parse(CONFIG.as_bytes()).unwrap());
        let budget = Budget::new(1 << 20);
        let mut exchange = Exchange::new(config, 9, String::new(), budget.hold());
        let until = list.len() + later.len();
        let buffer = format!("{list}{}", &body[first..until]);
        let mut effects = Vec::new();
        for happens in [
            post(),
            last(LIST_CALL),
            allow(),
            head("200", "text/event-stream"),
            chunk(&body[..first], false),
            chunk(&buffer, false),
            hidden(&["b"], &buffer),
            chunk(&body[until..], true),
        ] {
            effects = exchange.on(happens, &Standing::default(), Moment::default()).effects;
        }
        let Some(Effect::Report(entry)) = effects.pop() else { panic!("{effects:?}") };
        let Some(v1::entry::What::Outcome(outcome)) = entry.what else { panic!("{entry:?}") };
        let wanted = agentgate_core::digest::Digest::of("agentgate/result/1", &sha2::Sha256::digest(&body));
        assert_eq!((outcome.result_bytes, outcome.result_digest.as_ref()), (body.len() as u64, &wanted.as_bytes()[..]));
        assert_eq!((outcome.hidden.as_slice(), outcome.shown), (&["b".to_owned()][..], 1));
    }
    // Trailers end it meanwhile, and the answer is withheld: the bytes are the server's all the same.
    let buffer = format!("{list}{later}");
    let ended = || Event::ResponseTrailers { names: Vec::new(), bytes: Some(buffer.clone().into()) };
    let asked = format!("pause | body={list} | listing a+b");
    let nobody = Event::Listed { listed: Listed::Undecided(undecided(Cause::NoAnswer)), bytes: Some(buffer.clone().into()) };
    let why = "nobody could say which tools may be shown (no_answer)";
    let refused = format!(
        "continue | undecided_no_answer | responses_withheld | body=event: message\ndata: {}\n\n | resume response | report withheld 200 {}B ({why})",
        withheld(why),
        buffer.len()
    );
    let shown = format!(
        "continue | body={short}{later}\n\n | resume response | lists_filtered | report completed 200 {}B digest hidden b shown 1{TOLD}",
        buffer.len()
    );
    for (listed, wanted) in [(nobody, refused), (hidden(&["b"], &buffer), shown)] {
        after(
            LIST_CALL,
            &[
                (head("200", "text/event-stream"), "continue | -response content-length"),
                (chunk(&list, false), &asked),
                (chunk(&buffer, false), "pause"),
                (ended(), "pause"),
                (listed, &wanted),
                (Event::Gone, "pause"),
            ],
        );
    }
}

#[test]
fn a_client_that_leaves_while_its_list_is_asked_about_had_no_answer() {
    let list = event(LIST);
    after(
        LIST_CALL,
        &[
            (head("200", "text/event-stream"), "continue | -response content-length"),
            (chunk(&list, false), &format!("pause | body={list} | listing a+b")),
            (Event::Gone, &format!("pause | forget 9 | report cut 200 {}B (the stream ended before the answer did)", list.len())),
        ],
    );
}
