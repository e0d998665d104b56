//! The way out: results flow untouched and are reported once; lists of tools are shortened or withheld.

use super::*;

pub(super) const LIST_CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
pub(super) const LIST: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"},{"name":"b","x":1e1}],"nextCursor":"c"}}"#;
/// What is reported of its tools.
pub(super) const TOLD: &str = r#" tools {"name":"a"}+{"name":"b","x":1e1}"#;
pub(super) const SHORT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"}],"nextCursor":"c"}}"#;
pub(super) const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
pub(super) const PROGRESS: &str = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n";

/// A released call, and what comes of it.
pub(super) fn after(body: &str, rows: &[Row<'_>]) {
    after_with(CONFIG, 1 << 20, body, rows);
}

fn after_with(config: &str, budget: usize, body: &str, rows: &[Row<'_>]) {
    let config = Rc::new(Config::parse(config.as_bytes()).unwrap());
    let budget = Budget::new(budget);
    let mut exchange = Exchange::new(config, 9, "e-9".to_owned(), budget.hold());
    for event in [post(), last(body), allow()] {
        exchange.on(event, &Standing::default(), Moment::default());
    }
    for (at, (event, wanted)) in rows.iter().enumerate() {
        let step = exchange.on(clone(event), &Standing::default(), Moment::default());
        let action = if step.action == Action::Continue { "continue" } else { "pause" };
        let shown: Vec<String> = std::iter::once(action.to_owned()).chain(step.effects.iter().filter_map(show)).collect();
        assert_eq!(shown.join(" | "), *wanted, "row {at}: {event:?}");
    }
    drop(exchange);
    assert_eq!(budget.held(), 0);
}

pub(super) fn withheld(why: &str) -> String {
    let verdict = r#"{"agentgate/verdict":{"verdict":"withheld","call_id":"e-9"}}"#;
    let message = format!("the server's answer was withheld: {why}");
    format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":503,"message":"{message}","data":{verdict}}}}}"#)
}

#[test]
fn a_result_flows_untouched_and_is_reported_once() {
    for (status, body, wanted) in [
        ("200", RESULT, "completed 200"),
        ("200", r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true}}"#, "failed 200"),
        ("200", r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#, "failed 200"),
        ("200", "not JSON", "completed 200"),
        ("503", RESULT, "failed 503"),
    ] {
        let (first, second) = body.split_at(body.len() / 2);
        let report = format!("continue | report {wanted} {}B digest", body.len());
        after(
            CALL,
            &[
                (head(status, "application/json; charset=utf-8"), "continue"),
                (chunk(first, false), "continue"),
                (chunk(second, true), &report),
                (Event::Gone, "pause"),
            ],
        );
        after(
            CALL,
            &[
                (head(status, "application/json"), "continue"),
                (chunk(body, false), "continue"),
                (
                    Event::ResponseTrailers { names: vec![b"t".to_vec()], bytes: Some(Vec::new()) },
                    &report.replace("continue |", "continue | -response-trailer t |"),
                ),
                (Event::Gone, "pause"),
            ],
        );
    }
}

#[test]
fn the_digest_is_that_of_the_whole_body_however_it_is_cut() {
    let digest = |parts: &[&str]| {
        let config = Rc::new(Config::parse(CONFIG.as_bytes()).unwrap());
        let mut exchange = Exchange::new(config, 9, String::new(), Budget::new(1 << 20).hold());
        for event in [post(), last(CALL), allow(), head("200", "application/json")] {
            exchange.on(event, &Standing::default(), Moment::default());
        }
        let mut steps =
            parts.iter().map(|part| exchange.on(chunk(part, false), &Standing::default(), Moment::default())).collect::<Vec<_>>();
        steps.push(exchange.on(chunk("", true), &Standing::default(), Moment::default()));
        let Some(Effect::Report(entry)) = steps.pop().unwrap().effects.pop() else { panic!() };
        let Some(v1::entry::What::Outcome(outcome)) = entry.what else { panic!() };
        outcome.result_digest
    };
    use sha2::Digest as _;
    let wanted = agentgate_core::digest::Digest::of("agentgate/result/1", &sha2::Sha256::digest(RESULT));
    for at in 0..RESULT.len() {
        let (one, two) = RESULT.split_at(at);
        assert_eq!(digest(&[one, two]).as_ref(), wanted.as_bytes());
    }
}

#[test]
fn progress_flows_before_the_result_and_the_worst_message_counts() {
    let failed = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"isError\":true}}\n\n";
    let size = PROGRESS.len() + failed.len();
    after(
        CALL,
        &[
            (head("200", "text/event-stream"), "continue"),
            (chunk(PROGRESS, false), "continue"),
            (chunk(failed, false), "continue"),
            (chunk("", true), &format!("continue | report failed 200 {size}B digest")),
        ],
    );
}

#[test]
fn a_client_that_leaves_a_stream_once_it_has_its_answer_had_it() {
    let answer = format!("data: {RESULT}\n\n");
    let failure = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":1,\"message\":\"m\"}}\n\n";
    let cut = |size: usize| format!("cut 200 {size}B (the stream ended before the answer did)");
    for (body, report) in [
        (answer.as_str(), format!("completed 200 {}B digest", answer.len())),
        (failure, format!("failed 200 {}B digest", failure.len())),
        (PROGRESS, cut(PROGRESS.len())),
        (&answer[..answer.len() - 1], cut(answer.len() - 1)),
        ("", cut(0)),
    ] {
        after(
            CALL,
            &[
                (head("200", "text/event-stream"), "continue"),
                (chunk(body, false), "continue"),
                (Event::Gone, &format!("pause | report {report}")),
            ],
        );
    }
    // A body of a stated length ends with its length.
    after(
        CALL,
        &[
            (head("200", "application/json"), "continue"),
            (chunk(RESULT, false), "continue"),
            (Event::Gone, &format!("pause | report {}", cut(RESULT.len()))),
        ],
    );
    let (list, short) = (format!("data: {LIST}\n\n"), format!("data: {SHORT}\n\n"));
    after(
        LIST_CALL,
        &[
            (head("200", "text/event-stream"), "continue | -response content-length"),
            (chunk(&list, false), &format!("pause | body={list} | listing a+b")),
            (hidden(&["b"], &list), &format!("continue | body={short} | resume response")),
            (
                Event::Gone,
                &format!("pause | lists_filtered | report completed 200 {}B digest hidden b shown 1{TOLD}", list.len()),
            ),
        ],
    );
}

#[test]
fn a_result_too_large_to_look_into_still_flows() {
    let large = "x".repeat(401);
    after(
        CALL,
        &[
            (head("200", "application/json"), "continue"),
            (chunk(&large, true), "continue | report completed 200 401B digest (too large to look into)"),
        ],
    );
    after_with(
        CONFIG,
        300,
        CALL,
        &[
            (head("200", "application/json"), "continue"),
            (chunk(&large[..300], false), "continue"),
            (chunk(&large[..1], true), "continue | report completed 200 301B digest (too large to look into)"),
        ],
    );
}

#[test]
fn an_answer_of_envoy_itself_is_no_result() {
    let local = Event::ResponseHeaders {
        headers: pairs(&[(":status", "503"), ("content-type", "application/json")]),
        answerer: Answerer::Local("upstream_reset_before_response_started".to_owned()),
        end: false,
    };
    for body in [CALL, LIST_CALL] {
        after(
            body,
            &[
                (clone(&local), "continue | report cut 0 0B (no answer of the server: upstream_reset_before_response_started)"),
                (chunk("{}", true), "continue"),
                (Event::Gone, "pause"),
            ],
        );
    }
}

#[test]
fn an_answer_that_is_cut_says_so() {
    after(
        CALL,
        &[
            (head("200", "application/json"), "continue"),
            (chunk("{", false), "continue"),
            (Event::Gone, "pause | report cut 200 1B (the stream ended before the answer did)"),
        ],
    );
}

#[test]
fn a_challenge_passes_unchanged() {
    let challenge = response(&[(":status", "401"), ("www-authenticate", "Bearer"), ("content-type", "text/html")], false);
    after(LIST_CALL, &[(challenge, "continue"), (chunk("<html>", true), "continue | report failed 401 6B digest")]);
}

#[test]
fn an_event_that_is_not_complete_counts_as_held_and_is_given_up_where_there_is_no_room() {
    let half = format!("data: {}", "x".repeat(294));
    let (size, rooms) = (
        half.len() + 2,
        [
            (300, "cut", " (the stream ended before the answer did)"),
            (299, "completed", " digest (an event was too large to look into)"),
        ],
    );
    for (room, kind, rest) in rooms {
        after_with(
            CONFIG,
            room,
            CALL,
            &[
                (head("200", "text/event-stream"), "continue"),
                (chunk(&half, false), "continue"),
                (chunk("\n\n", true), &format!("continue | report {kind} 200 {size}B{rest}")),
            ],
        );
    }
}

#[test]
fn a_list_is_held_whole_and_shortened() {
    let size = LIST.len();
    after(
        LIST_CALL,
        &[
            (head("200", "application/json"), "pause | -response content-length"),
            (chunk(&LIST[..9], false), "pause"),
            (chunk(LIST, true), "pause | listing a+b"),
            (
                hidden(&["b"], LIST),
                &format!(
                    "continue | body={SHORT} | resume response | lists_filtered | report completed 200 {size}B digest hidden b shown 1{TOLD}"
                ),
            ),
            (Event::Gone, "pause"),
        ],
    );
    after(
        LIST_CALL,
        &[
            (head("200", "application/json"), "pause | -response content-length"),
            (chunk(LIST, false), "pause"),
            (
                Event::ResponseTrailers { names: vec![b"t".to_vec()], bytes: Some(LIST.into()) },
                "pause | -response-trailer t | listing a+b",
            ),
            (Event::Gone, "pause | forget 9 | report cut 200 96B (the stream ended before the answer did)"),
        ],
    );
}

#[test]
fn a_list_without_tools_and_an_error_need_no_question() {
    let empty = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#;
    let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#;
    for (body, wanted) in [(empty, "lists_filtered | report completed 200 46B digest"), (error, "report failed 200 57B digest")] {
        after(
            LIST_CALL,
            &[
                (head("200", "application/json"), "pause | -response content-length"),
                (chunk(body, true), &format!("continue | {wanted}")),
            ],
        );
    }
    after(LIST_CALL, &[(response(&[(":status", "202")], true), "continue | report completed 202 0B")]);
}

#[test]
fn a_list_that_nobody_answers_for_is_withheld() {
    let nobody = Event::Listed { listed: Listed::Undecided(undecided(Cause::NoAnswer)), bytes: Some(LIST.into()) };
    let why = "nobody could say which tools may be shown (no_answer)";
    after(
        LIST_CALL,
        &[
            (head("200", "application/json"), "pause | -response content-length"),
            (chunk(LIST, true), "pause | listing a+b"),
            (
                nobody,
                &format!(
                    "continue | undecided_no_answer | responses_withheld | +response content-type: application/json | body={} | resume response | report withheld 200 {}B ({why})",
                    withheld(why),
                    LIST.len()
                ),
            ),
        ],
    );
}

#[test]
fn a_list_that_cannot_be_read_is_withheld() {
    for (body, why) in [
        ("nonsense", "the answer cannot be read as JSON"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "the answer is no list of tools"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"tools":[{"name":"a"}]}}"#, "the answer cannot be read as JSON"),
        (r#"[{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}]"#, "the answer is not one JSON-RPC message"),
        (r#"{"jsonrpc":"2.0","method":"x"}"#, "the answer is not one JSON-RPC message"),
    ] {
        after(
            LIST_CALL,
            &[
                (head("200", "application/json"), "pause | -response content-length"),
                (
                    chunk(body, true),
                    &format!(
                        "continue | responses_withheld | -response content-encoding | +response content-type: application/json | body={} | report withheld 200 {}B ({why})",
                        withheld(why),
                        body.len()
                    ),
                ),
            ],
        );
    }
}

#[test]
fn a_list_in_another_form_is_withheld_to_its_end() {
    for (headers, why) in [
        (vec![(":status", "200"), ("content-type", "application/json"), ("content-encoding", "gzip")], "it is encoded"),
        (vec![(":status", "200"), ("content-type", "text/html")], "its content type is no list's"),
        (vec![(":status", "200")], "its content type is no list's"),
        (
            vec![(":status", "200"), ("content-type", "text/html"), ("content-type", "application/json")],
            "its content type is no list's",
        ),
    ] {
        after(
            LIST_CALL,
            &[
                (response(&headers, false), "pause | -response content-length | responses_withheld"),
                (chunk("12345", false), "pause | body="),
                (
                    chunk("67", true),
                    &format!(
                        "continue | -response content-encoding | +response content-type: application/json | body={} | report withheld 200 7B ({why})",
                        withheld(why)
                    ),
                ),
            ],
        );
    }
}

#[test]
fn a_list_that_is_too_large_is_withheld_in_every_callback() {
    let why = "it is too large";
    let end = format!(
        "continue | -response content-encoding | +response content-type: application/json | body={} | report withheld 200 411B ({why})",
        withheld(why)
    );
    after(
        LIST_CALL,
        &[
            (head("200", "application/json"), "pause | -response content-length"),
            (chunk(&"x".repeat(400), false), "pause"),
            (chunk(&"x".repeat(401), false), "pause | responses_withheld | body="),
            (chunk(&"x".repeat(10), true), &end),
        ],
    );
    after_with(
        CONFIG,
        300,
        LIST_CALL,
        &[
            (head("200", "application/json"), "pause | -response content-length"),
            (chunk(&"x".repeat(100), false), "pause"),
            (chunk(&"x".repeat(101), false), "pause | responses_withheld | body="),
            (Event::Gone, "pause | report withheld 200 101B (it is too large)"),
        ],
    );
}

#[test]
fn a_streamed_list_is_shortened_wherever_its_chunks_are_cut() {
    let stream = format!(": c\n\n{PROGRESS}id: 5\ndata: {LIST}\n\n{PROGRESS}");
    let wanted = format!(": c\n\n{PROGRESS}id: 5\ndata: {SHORT}\n\n{PROGRESS}");
    for first in 0..stream.len() {
        for second in [first, (first + 1).min(stream.len()), (first + 40).min(stream.len())] {
            assert_eq!(
                through(&[&stream[..first], &stream[first..second], &stream[second..]], &["b"]),
                wanted,
                "{first} {second}"
            );
        }
    }
    let bytes: Vec<String> = stream.chars().map(String::from).collect();
    assert_eq!(through(&bytes.iter().map(String::as_str).collect::<Vec<_>>(), &["b"]), wanted);
}

/// Plays the host: its buffer holds what was paused, and is flushed by a continue. The answer comes after one more chunk.
fn through(chunks: &[&str], hides: &[&str]) -> String {
    let config = CONFIG.replace("400", "4000");
    let config = Rc::new(Config::parse(config.as_bytes()).unwrap());
    let budget = Budget::new(1 << 20);
    let mut exchange = Exchange::new(config, 9, String::new(), budget.hold());
    for event in [post(), last(LIST_CALL), allow(), head("200", "text/event-stream")] {
        exchange.on(event, &Standing::default(), Moment::default());
    }
    let (mut buffer, mut out, mut asked) = (String::new(), String::new(), None);
    let mut play = |exchange: &mut Exchange, event: Event, buffer: &mut String, asked: &mut Option<usize>| {
        let step = exchange.on(event, &Standing::default(), Moment::default());
        for effect in step.effects {
            match effect {
                Effect::ReplaceResponseBody(bytes) => *buffer = text(&bytes),
                Effect::Listing(_) => *asked = Some(0),
                _ => {}
            }
        }
        if step.action == Action::Continue {
            out.push_str(&std::mem::take(buffer));
        }
    };
    for (at, bytes) in chunks.iter().enumerate() {
        buffer.push_str(bytes);
        let event = Event::ResponseBody { size: buffer.len(), bytes: Some(buffer.clone().into()), end: at + 1 == chunks.len() };
        play(&mut exchange, event, &mut buffer, &mut asked);
        let answer = match &mut asked {
            Some(waited) => {
                *waited += 1;
                *waited == 2 || at + 1 == chunks.len()
            }
            None => false,
        };
        if answer {
            asked = None;
            let event = hidden(hides, &buffer);
            play(&mut exchange, event, &mut buffer, &mut asked);
        }
    }
    drop(exchange);
    assert_eq!(budget.held(), 0);
    out
}

#[test]
fn a_second_list_in_one_stream_shows_only_what_was_asked_about() {
    let second = LIST.replace("\"a\"", "\"z\"");
    let stream = format!("data: {LIST}\n\n");
    let shown = through(&[&stream, &format!("data: {second}\n\n"), &format!("data: {second}\n\n"), PROGRESS], &[]);
    assert!(shown.contains("\"name\":\"a\"") && shown.contains("\"name\":\"b\""));
    assert!(!shown.contains("\"z\""), "{shown}");
}

#[test]
fn a_streamed_list_that_its_server_left_unfinished_is_judged_as_well() {
    let shown = through(&[&format!("data: {LIST}\n")], &["b"]);
    assert!(shown.contains("\"a\"") && !shown.contains("\"b\""), "{shown}");
}

#[test]
fn a_stream_that_cannot_be_read_ends_in_a_refusal() {
    let event = |why: &str| format!("body=event: message\ndata: {}\n\n", withheld(why));
    let why = "the answer cannot be read as JSON";
    after(
        LIST_CALL,
        &[
            (head("200", "text/event-stream"), "continue | -response content-length"),
            (chunk(PROGRESS, false), &format!("continue | body={PROGRESS}")),
            (chunk("data: no\n\n", false), &format!("continue | responses_withheld | {}", event(why))),
            (chunk(&format!("data: {LIST}\n\n"), false), "continue | body="),
            (
                chunk("x", true),
                &format!("continue | body= | report withheld 200 {}B ({why})", PROGRESS.len() + 10 + LIST.len() + 8 + 1),
            ),
        ],
    );
    after(
        LIST_CALL,
        &[
            (head("200", "text/event-stream"), "continue | -response content-length"),
            (chunk(&"y".repeat(401), false), &format!("continue | responses_withheld | {}", event("the answer is too large"))),
            (Event::Gone, "pause | report withheld 200 401B (the answer is too large)"),
        ],
    );
}

#[test]
fn a_streamed_list_that_nobody_answers_for_is_withheld() {
    let nobody = || Event::Listed { listed: Listed::Undecided(undecided(Cause::StreamLost)), bytes: None };
    let why = "nobody could say which tools may be shown (stream_lost)";
    let stream = format!("data: {LIST}\n\n");
    let refused = format!(
        "continue | undecided_stream_lost | responses_withheld | body=event: message\ndata: {}\n\n | resume response",
        withheld(why)
    );
    after(
        LIST_CALL,
        &[
            (head("200", "text/event-stream"), "continue | -response content-length"),
            (chunk(&stream, false), &format!("pause | body={stream} | listing a+b")),
            (chunk(&stream, false), "pause"),
            (nobody(), &refused),
            (chunk(&stream, true), &format!("continue | body= | report withheld 200 {}B ({why})", stream.len() * 2)),
        ],
    );
    after(
        LIST_CALL,
        &[
            (head("200", "text/event-stream"), "continue | -response content-length"),
            (chunk(&stream, true), &format!("pause | body={stream} | listing a+b")),
            (nobody(), &format!("{refused} | report withheld 200 {}B ({why})", stream.len())),
        ],
    );
}
