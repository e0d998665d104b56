//! The published vectors, and what does and does not make two calls the same.

extern crate std;
use super::*;
use crate::mcp::{Head, Limits, Method, Rules, Version, read};
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
    let (tenant, server) = (Tenant::try_from(tenant).unwrap(), Server::try_from(server).unwrap());
    let asker = Asker::try_from("spiffe://a/filter").unwrap();
    let endpoint = Endpoint::of(&head);
    let called =
        Called { tenant: &tenant, principal: &principal, asker: &asker, server: &server, endpoint: &endpoint, message: &message };
    call_digest(&called)
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

#[test]
fn the_endpoint_the_filter_and_what_is_answered_make_another_call_too() {
    let (tenant, server) = (Tenant::try_from("t").unwrap(), Server::try_from("s").unwrap());
    let principal = Principal::try_from("spiffe://a/p").unwrap();
    let digest = |asker: &str, endpoint: &str, kind: Kind, method: Method| {
        let protocol = crate::mcp::Protocol::Mcp(Version::V2025_11_25);
        let message = Message { protocol, kind, method, target: None, params: None, handle: None };
        let asker = Asker::try_from(asker).unwrap();
        let [http_method, host, path] = endpoint.split(' ').collect::<Vec<_>>()[..] else { panic!("{endpoint}") };
        let endpoint = Endpoint { method: http_method.into(), host: host.into(), path: path.into() };
        call_digest(&Called {
            tenant: &tenant,
            principal: &principal,
            asker: &asker,
            server: &server,
            endpoint: &endpoint,
            message: &message,
        })
    };
    let number = |id: &str| RequestId::Number(id.into());
    let request = |id| digest("spiffe://a/f", "PUT a.example /items/7", Kind::Request(number(id)), Method::ToolsCall);
    assert_eq!(request("1"), request("2"), "a retry has another id");
    for (asker, endpoint) in [
        ("spiffe://a/g", "PUT a.example /items/7"),
        ("spiffe://a/f", "DELETE a.example /items/7"),
        ("spiffe://a/f", "PUT b.example /items/7"),
        ("spiffe://a/f", "PUT  /items/7"),
        ("spiffe://a/f", "PUT a.example /items/7?workspace=prod"),
        ("spiffe://a/f", "PUT a.example /items/8"),
    ] {
        assert_ne!(digest(asker, endpoint, Kind::Request(number("1")), Method::ToolsCall), request("1"), "{asker} {endpoint}");
    }
    let answer = |id: RequestId| digest("spiffe://a/f", "POST a.example /mcp", Kind::Response(id), Method::Response);
    assert_ne!(answer(number("1")), answer(number("2")), "another question is answered");
    assert_ne!(answer(number("1")), answer(RequestId::String("1".into())));
}
