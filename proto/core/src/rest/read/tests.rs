//! What the vectors do not show: hosts, the headers that are looked at, and the limits on both sides.

extern crate std;
use super::{is_host, is_read, read};
use crate::mcp::{Head, Limits, Malformed};
use crate::rest::{Body, Parts, Rule};
use std::format;
use std::vec;

#[test]
fn a_host_is_compared_without_its_port_and_in_any_case() {
    for (authority, host, is_it) in [
        ("billing.example", "billing.example", true),
        ("BILLING.example:8443", "billing.example", true),
        ("billing.example:", "billing.example", false),
        ("billing.example:80a", "billing.example", false),
        ("billing.example:80:90", "billing.example", false),
        ("billing.example.", "billing.example", false),
        ("me@billing.example", "billing.example", false),
        ("[::1]:80", "[::1]", true),
        ("[::1]", "[::1]", true),
        ("", "billing.example", false),
    ] {
        assert_eq!(is_host(authority.as_bytes(), host), is_it, "{authority} {host}");
    }
}

#[test]
fn only_what_says_something_of_the_body_or_of_who_sends_it_is_read() {
    for (name, read) in [
        ("host", true),
        ("content-type", true),
        ("content_type", true),
        ("content-encoding", true),
        ("connection", true),
        ("origin", true),
        ("mcp-name", false),
        ("authorization", false),
        ("accept", false),
    ] {
        assert_eq!(is_read(name.as_bytes()), read, "{name}");
    }
}

#[test]
fn a_body_is_bounded() {
    let parts = Parts { tool: "put".into(), method: "PUT".into(), host: None, path: "/a".into(), query: vec![], body: Body::Any };
    let rules = [Rule::new(parts).unwrap()];
    let headers = vec![(b"content-type".to_vec(), b"application/json".to_vec())];
    let head = Head { method: b"PUT".to_vec(), path: b"/a".to_vec(), headers };
    let limits = Limits { body_bytes_max: 20, depth_max: 3, number_bytes_max: 4, values_max: 5 };
    for (body, wanted) in [
        (format!("{{{}}}", " ".repeat(18)), Ok(())),
        (format!("{{{}}}", " ".repeat(19)), Err("body_too_large")),
        ("{\"a\":{\"b\":{}}}".into(), Ok(())),
        ("{\"a\":{\"b\":[[]]}}".into(), Err("too_deep")),
        ("{\"a\":1234}".into(), Ok(())),
        ("{\"a\":12345}".into(), Err("number_too_long")),
        ("{\"a\":[1,2,3]}".into(), Ok(())),
        ("{\"a\":[1,2,3,4]}".into(), Err("too_many_values")),
    ] {
        let said = read(&head, body.as_bytes(), &rules, &limits).message.map(|_| ()).map_err(Malformed::reason);
        assert_eq!(said, wanted, "{body}");
    }
}
