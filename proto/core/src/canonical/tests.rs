//! The published vectors, and what does and does not make two calls the same.

extern crate std;
use super::*;
use crate::mcp::{Head, Limits, Rules, Version, read};
use std::format;

const META: &str = r#""io.modelcontextprotocol/clientCapabilities":{}"#;

/// The digest of a tool call with these params, by `tenant`, `principal` and `server`.
fn digest(tenant: &str, principal: &str, server: &str, method: &str, params: &str) -> Digest {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    let head = Head {
        method: b"POST".to_vec(),
        path: b"/mcp".to_vec(),
        headers: std::vec![
            (b"content-type".to_vec(), b"application/json".to_vec()),
            (b"mcp-protocol-version".to_vec(), b"2025-11-25".to_vec()),
        ],
    };
    let rules = Rules { versions: Version::ALL.to_vec(), query_keys: std::vec![], limits: Limits::default() };
    let message = read(&head, body.as_bytes(), &rules).unwrap();
    let principal = Principal::try_from(format!("spiffe://a/{principal}").as_str()).unwrap();
    call_digest(&Tenant::try_from(tenant).unwrap(), &principal, &Server::try_from(server).unwrap(), &message)
}

fn call(params: &str) -> Digest {
    digest("t", "p", "s", "tools/call", params)
}

#[test]
fn the_same_call_has_one_digest() {
    let plain = call(r#"{"name":"a","arguments":{"x":1,"y":"é"}}"#);
    for same in [
        r#"{"arguments":{"y":"\u00e9","x":1},"name":"a"}"#,
        r#"{ "name" : "a" , "arguments" : { "x" : 1 , "y" : "é" } }"#,
        r#"{"name":"a","arguments":{"x":1,"y":"é"},"_meta":{}}"#,
        r#"{"name":"a","arguments":{"x":1,"y":"é"},"_meta":{"progressToken":7,"traceparent":"00-1","tracestate":"a","baggage":"b"}}"#,
        r#"{"name":"a","arguments":{"x":1,"y":"é"},"_meta":{"io.modelcontextprotocol/clientInfo":{"name":"c"},"io.modelcontextprotocol/logLevel":"info"}}"#,
    ] {
        assert_eq!(call(same), plain, "{same}");
    }
}

#[test]
fn whatever_else_differs_makes_another_call() {
    let params = r#"{"name":"a","arguments":{"x":1}}"#;
    let plain = call(params);
    for other in [
        r#"{"name":"b","arguments":{"x":1}}"#,
        r#"{"name":"a","arguments":{"x":1.0}}"#,
        r#"{"name":"a","arguments":{"x":"1"}}"#,
        r#"{"name":"a","arguments":{"x":[1]}}"#,
        r#"{"name":"a","arguments":{"x":1,"y":null}}"#,
        r#"{"name":"a","arguments":{"x":1},"requestState":"s"}"#,
        r#"{"name":"a","arguments":{"x":1},"inputResponses":{}}"#,
        r#"{"name":"a","arguments":{"x":1},"_meta":{"unknown":1}}"#,
        r#"{"name":"a","arguments":{"x":1,"_meta":{"progressToken":1}}}"#,
        &format!(r#"{{"name":"a","arguments":{{"x":1}},"_meta":{{{META}}}}}"#),
    ] {
        assert_ne!(call(other), plain, "{other}");
    }
    for (tenant, principal, server, method) in [
        ("u", "p", "s", "tools/call"),
        ("t", "q", "s", "tools/call"),
        ("t", "p", "r", "tools/call"),
        ("t", "p", "s", "prompts/get"),
    ] {
        assert_ne!(digest(tenant, principal, server, method, params), plain);
    }
}

#[test]
fn digits_that_a_double_loses_count() {
    let digits = |text: &str| call(&format!(r#"{{"name":"a","arguments":{{"x":{text}}}}}"#));
    assert_ne!(digits("9007199254740993"), digits("9007199254740992"));
    assert_ne!(digits("1e2"), digits("100"));
}

#[test]
fn letters_that_look_alike_count() {
    let text = |text: &str| call(&format!(r#"{{"name":"a","arguments":{{"x":"{text}"}}}}"#));
    assert_ne!(text("\u{e9}"), text("e\u{301}"));
    assert_ne!(text("a"), text("\u{430}"));
}

#[test]
fn keys_are_ordered_by_their_utf_16_units() {
    // U+1F600 begins with the unit d83d, which is less than fb33: the order of bytes would be the other one.
    let value = Json::Object(Object::default().with("\u{fb33}", 1).with("\u{1f600}", 2).with("", 3).with("a", 4));
    assert_eq!(canonical(&value), "{\"\":3,\"a\":4,\"\u{1f600}\":2,\"\u{fb33}\":1}");
}
