//! What is read of a server's messages, and how a list is shortened.

extern crate std;
use super::*;
use std::format;
use std::string::ToString;
use std::vec;

fn check(text: &str) -> Result<ServerMessage, Unreadable> {
    read(text.as_bytes(), &Limits::default())
}

fn response(text: &str) -> Response {
    match check(text).unwrap() {
        ServerMessage::Response(response) => response,
        other @ (ServerMessage::Request { .. } | ServerMessage::Notification { .. }) => panic!("{other:?}"),
    }
}

#[test]
fn each_kind_of_message_is_told_from_the_others() {
    let number = |text: &str| RequestId::Number(text.to_string());
    for (text, id, outcome) in [
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Some(number("1")), Outcome::Result),
        (r#"{"jsonrpc":"2.0","id":1.0,"result":{"isError":false}}"#, Some(number("1.0")), Outcome::Result),
        (r#"{"jsonrpc":"2.0","id":1,"result":{"isError":true}}"#, Some(number("1")), Outcome::ToolError),
        (r#"{"jsonrpc":"2.0","id":"a","error":{"code":1}}"#, Some(RequestId::String("a".to_string())), Outcome::Error),
        (r#"{"jsonrpc":"2.0","id":null,"error":{"code":1}}"#, None, Outcome::Error),
        (r#"{"jsonrpc":"2.0","error":{"code":1}}"#, None, Outcome::Error),
    ] {
        let response = response(text);
        assert_eq!((response.id, response.outcome), (id, outcome), "{text}");
    }
    assert_eq!(
        check(r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#),
        Ok(ServerMessage::Notification { method: "notifications/progress".to_string() })
    );
    assert_eq!(
        check(r#"{"jsonrpc":"2.0","id":3,"method":"elicitation/create"}"#),
        Ok(ServerMessage::Request { id: number("3"), method: "elicitation/create".to_string() })
    );
}

#[test]
fn what_is_not_one_message_is_unreadable() {
    for (text, fault) in [
        ("", Unreadable::Json(Fault::Empty)),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"result":{}}"#, Unreadable::Json(Fault::DuplicateKey)),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}{}"#, Unreadable::Json(Fault::TrailingData)),
        ("[]", Unreadable::Shape),
        ("1", Unreadable::Shape),
        (r#"{"id":1,"result":{}}"#, Unreadable::Shape),
        (r#"{"jsonrpc":"2.0","id":1,"Result":{}}"#, Unreadable::Shape),
        (r#"{"jsonrpc":"2.0","id":1}"#, Unreadable::Shape),
        (r#"{"jsonrpc":"2.0","result":{}}"#, Unreadable::Shape),
        (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, Unreadable::Shape),
        (r#"{"jsonrpc":"2.0","id":[1],"result":{}}"#, Unreadable::Shape),
        (r#"{"jsonrpc":"2.0","id":1,"result":[]}"#, Unreadable::Shape),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, Unreadable::Shape),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"method":"a"}"#, Unreadable::Shape),
        (r#"{"jsonrpc":"2.0","id":1,"method":["a"]}"#, Unreadable::Shape),
    ] {
        assert_eq!(check(text), Err(fault), "{text}");
    }
}

#[test]
fn an_answer_beyond_the_bound_is_not_read() {
    let text = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let limits = |body_bytes_max| Limits { body_bytes_max, ..Limits::default() };
    assert!(read(text.as_bytes(), &limits(text.len())).is_ok());
    assert_eq!(read(text.as_bytes(), &limits(text.len() - 1)), Err(Unreadable::TooLarge));
}

#[test]
fn a_result_may_hold_any_maps_and_numbers() {
    let text = r#"{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"a":1e999,"A":{"__proto__":18446744073709551616}}}}"#;
    assert_eq!(response(text).outcome, Outcome::Result);
}

#[test]
fn hidden_tools_leave_the_list_and_nothing_else_changes() {
    let list = |tools: &str, tail: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":"7","result":{{"tools":[{tools}],"nextCursor":"é\n","n":1.50{tail}}},"x":0}}"#)
    };
    let (one, two, three) = (r#"{"name":"one","inputSchema":{"b":1e400,"a":2}}"#, r#"{"name":"two"}"#, r#"{"name":"three"}"#);
    let all = response(&list(&[one, two, three].join(","), ""));
    assert_eq!(all.tools().unwrap(), ["one", "two", "three"]);
    let hidden = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (names, left) in [
        (vec![], vec![one, two, three]),
        (vec!["two", "none"], vec![one, three]),
        (vec!["one", "two", "three"], vec![]),
        (vec!["Two"], vec![one, two, three]),
    ] {
        assert_eq!(all.without(&hidden(&names), Era::Session).unwrap(), list(&left.join(","), ""));
    }
    let private = r#","cacheScope":"private""#;
    assert_eq!(all.without(&hidden(&["two", "three"]), Era::Stateless).unwrap(), list(one, private));
    let public = response(&list(two, r#","cacheScope":"public""#));
    assert_eq!(public.without(&[], Era::Stateless).unwrap(), list(two, private));
}

#[test]
fn a_list_that_a_client_could_read_otherwise_is_unreadable() {
    for result in [
        r#"{}"#,
        r#"{"tools":{}}"#,
        r#"{"tools":["one"]}"#,
        r#"{"tools":[{"title":"one"}]}"#,
        r#"{"tools":[{"name":1}]}"#,
        r#"{"tools":[],"Tools":[{"name":"hidden"}]}"#,
        r#"{"tools":[{"name":"shown","Name":"hidden"}]}"#,
    ] {
        let response = response(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#));
        assert_eq!(response.tools(), Err(Unreadable::Tools), "{result}");
        assert_eq!(response.without(&[], Era::Session), Err(Unreadable::Tools), "{result}");
    }
    assert_eq!(response(r#"{"jsonrpc":"2.0","id":1,"error":{}}"#).tools(), Err(Unreadable::Tools));
}

#[test]
fn the_type_of_a_result_is_read() {
    let typed = |kind: &str| response(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"{kind}"}}}}"#));
    assert_eq!(typed("input_required").result_type(), Some("input_required"));
    assert_eq!(response(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).result_type(), None);
}
