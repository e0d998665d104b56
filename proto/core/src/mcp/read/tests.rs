//! What is read of a request, beyond whether it is read (that is `tests/vectors/attempts.json`).

extern crate std;
use super::*;
use crate::json::Json;
use crate::mcp::{is_read, is_stripped, stripped_headers};
use std::format;
use std::string::ToString;
use std::vec;

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1}}}"#;

fn head(method: &str, headers: &[(&str, &str)]) -> Head {
    let headers = headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
    Head { method: method.as_bytes().to_vec(), path: b"/mcp".to_vec(), headers }
}

fn post(version: &str) -> Head {
    head("POST", &[("content-type", "application/json"), ("mcp-protocol-version", version)])
}

fn rules() -> Rules {
    Rules { versions: Version::ALL.to_vec(), query_keys: vec![], limits: Limits::default() }
}

#[test]
fn a_call_is_read_whole() {
    let body = r#"{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call",
        "params":{"name":"add","arguments":{"b":1.50,"a":1}}}"#;
    let mut head = post("2025-11-25");
    head.headers.push((b"mcp-session-id".to_vec(), b"s-1".to_vec()));
    let message = read(&head, body.as_bytes(), &rules()).unwrap();
    assert_eq!(message.protocol, Protocol::Mcp(Version::V2025_11_25));
    assert_eq!(message.method, Method::ToolsCall);
    assert_eq!(message.target.as_deref(), Some("add"));
    assert_eq!(message.kind, Kind::Request(RequestId::Number("9007199254740993".to_string())));
    assert_eq!(message.arguments().unwrap().to_string(), r#"{"b":1.50,"a":1}"#);
    assert_eq!(message.handle.unwrap().as_str(), "s-1");
}

#[test]
fn the_version_is_the_headers_or_the_initialize_s_or_the_oldest() {
    let initialize =
        |version: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"protocolVersion":"{version}"}}}}"#);
    let bare = head("POST", &[("content-type", "application/json")]);
    for (head, body, version) in [
        (&bare, CALL.to_string(), Version::V2025_03_26),
        (&bare, initialize("2025-06-18"), Version::V2025_06_18),
        (&post("2025-06-18"), CALL.to_string(), Version::V2025_06_18),
    ] {
        assert_eq!(read(head, body.as_bytes(), &rules()).unwrap().protocol, Protocol::Mcp(version), "{body}");
    }
}

#[test]
fn an_answer_of_a_client_shows_its_content() {
    let body = r#"{"jsonrpc":"2.0","id":"q","result":{"action":"accept"}}"#;
    let message = read(&post("2025-11-25"), body.as_bytes(), &rules()).unwrap();
    assert_eq!((message.method, message.kind), (Method::Response, Kind::Response(RequestId::String("q".to_string()))));
    assert_eq!(message.params.unwrap().to_string(), r#"{"result":{"action":"accept"}}"#);
}

#[test]
fn streams_and_ends_have_no_body_and_no_id() {
    for (method, kind) in [("GET", Kind::Open), ("DELETE", Kind::End)] {
        let message = read(&head(method, &[("mcp-protocol-version", "2025-11-25")]), b"", &rules()).unwrap();
        assert_eq!((message.kind, message.params), (kind, None));
    }
}

#[test]
fn a_refusal_echoes_the_id_wherever_it_could_be_read() {
    let id = Some(RequestId::Number("1".to_string()));
    let unknown = CALL.replace("tools/call", "tools/destroy");
    for (head, body, reason, id) in [
        (post("2025-11-25"), unknown.as_str(), Malformed::UnknownMethod, id.clone()),
        (post("1999-01-01"), CALL, Malformed::UnsupportedVersion, id.clone()),
        (post("2025-11-25"), &CALL.replace("2.0", "3.0"), Malformed::JsonRpc, id.clone()),
        (head("PUT", &[]), CALL, Malformed::HttpMethod, id),
        (post("2025-11-25"), &CALL.replace(":1,", ":null,"), Malformed::IdType, None),
        (post("2025-11-25"), &CALL[1..], Malformed::Json(crate::json::Fault::TrailingData), None),
        (
            post("2025-11-25"),
            r#"{"jsonrpc":"2.0","id":1,"result":1}"#,
            Malformed::ResponseShape,
            Some(RequestId::Number("1".to_string())),
        ),
    ] {
        let unread = read(&head, body.as_bytes(), &rules()).unwrap_err();
        assert_eq!((unread.reason, unread.id), (reason, id), "{body}");
    }
}

#[test]
fn a_body_beyond_the_bound_is_not_read_even_for_its_id() {
    let rules = Rules { limits: Limits { body_bytes_max: CALL.len() - 1, ..Limits::default() }, ..rules() };
    let unread = read(&post("1999-01-01"), CALL.as_bytes(), &rules).unwrap_err();
    assert_eq!(unread.id, None);
}

#[test]
fn only_what_is_read_can_change_what_is_read() {
    let mut noisy = post("2025-11-25");
    noisy.headers.push((b"user-agent".to_vec(), b"\xff".to_vec()));
    noisy.headers.push((b"x-mcp-name".to_vec(), b"a".to_vec()));
    noisy.headers.push((b"connection".to_vec(), b"keep-alive".to_vec()));
    let plain = read(&post("2025-11-25"), CALL.as_bytes(), &rules());
    assert_eq!(read(&noisy, CALL.as_bytes(), &rules()), plain);
    noisy.headers.retain(|(name, _)| is_read(name));
    assert_eq!(read(&noisy, CALL.as_bytes(), &rules()), plain);
    for name in ["content-type", "content_type", "Mcp-Name", "mcp_param_x", "mcp-param-", "connection", "origin"] {
        assert!(is_read(name.as_bytes()), "{name}");
    }
    for name in ["accept", "authorization", "x-mcp-name", "mcp", "last-event-id"] {
        assert!(!is_read(name.as_bytes()), "{name}");
    }
}

#[test]
fn headers_that_change_the_request_elsewhere_are_stripped() {
    for name in stripped_headers().iter().chain(&["x-envoy-max-retries", "x-envoy-", "x-http-method-override"]) {
        assert!(is_stripped(name.as_bytes()) && !is_read(name.as_bytes()), "{name}");
    }
    for name in stripped_headers().iter().filter(|name| name.contains('-')).chain(&["x-envoy-max-retries"]) {
        for lookalike in [name.replace('-', "_"), name.replace('-', "."), name.replacen('-', "~", 1), name.to_ascii_uppercase()] {
            assert!(is_stripped(lookalike.as_bytes()), "{lookalike}");
        }
    }
    for name in ["x-envoyish", "x-request-id", "mcp-name", "x-forwarded-proto", "x-forwarded-for", "host", "x-hosts"] {
        assert!(!is_stripped(name.as_bytes()), "{name}");
    }
}

#[test]
fn every_method_is_found_by_its_name_in_its_versions_only() {
    for method in Method::ALL {
        assert!(Version::ALL.into_iter().any(|version| method.is_in(version)), "{method:?}");
        for version in Version::ALL {
            let found = (method.is_in(version) && method.is_on_the_wire()).then_some(method);
            assert_eq!(Method::parse(method.name(), version), found, "{method:?} {version:?}");
        }
        assert_eq!(method.is_notification(), method.name().starts_with("notifications/"));
    }
}

#[test]
fn arguments_are_only_an_object() {
    let message = read(&post("2025-11-25"), CALL.as_bytes(), &rules()).unwrap();
    assert!(matches!(message.arguments().and_then(|arguments| arguments.get("a")), Some(Json::Number(_))));
    assert!(message.request_id().is_some());
}
