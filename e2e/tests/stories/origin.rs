//! Web pages: what a browser sends for one reaches a tool only where the route names that page. An agent names none, and is served
//! (every other story). The attempts hold each way to write an origin; here stands what its sender is told, and what is on record.

use crate::wire::{CALL, HEADERS, RESULT, recording};
use agentgate_e2e::http1::{Answer, request};
use agentgate_e2e::upstream::Reply;
use agentgate_e2e::{Edit, Plain, World, eventually, http1, http2};
use serde_json::{Value, json};
use std::net::SocketAddr;

const TAKEN: &str = "https://tools.example";
const OTHER: &str = "https://elsewhere.example";

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Served,
    Refused,
}

/// The first route names a page, the second none.
fn world() -> World {
    let mut plan = recording(|_| Reply::json(RESULT));
    let route = r#"{ "path": "/mcp", "server": "notes" }"#;
    let with_origins = route.replace(" }", r#", "origins": ["https://tools.example"] }"#);
    plan.stack.edits.push(Edit::new(route, format!("{with_origins}, {}", route.replace("/mcp", "/bare"))));
    plan.start().unwrap()
}

fn headers<'a>(origins: &[&'a str]) -> Vec<(&'a str, &'a [u8])> {
    let named = origins.iter().map(|origin| ("origin", origin.as_bytes()));
    HEADERS.into_iter().chain(named).collect()
}

fn over_http1(address: SocketAddr, method: &str, path: &str, origins: &[&str]) -> Answer {
    let body = if method == "POST" { CALL } else { "" };
    http1::exchange(address, &request(method, path, &headers(origins), body.as_bytes())).unwrap()
}

fn over_http2(address: SocketAddr, method: &str, path: &str, origins: &[&str]) -> Answer {
    let body = if method == "POST" { vec![CALL.as_bytes()] } else { Vec::new() };
    http2::exchange(address, &http2::Stream { method, path, headers: headers(origins), body, trailers: Vec::new() }).unwrap()
}

const CASES: [(&str, &str, &[&str], Fate); 12] = [
    ("POST", "/mcp", &[], Fate::Served),
    ("POST", "/mcp", &[TAKEN], Fate::Served),
    ("POST", "/mcp", &[OTHER], Fate::Refused),
    ("POST", "/mcp", &[TAKEN, TAKEN], Fate::Refused),
    ("POST", "/mcp", &["null"], Fate::Refused),
    ("GET", "/mcp", &[TAKEN], Fate::Served),
    ("GET", "/mcp", &[OTHER], Fate::Refused),
    ("POST", "/bare", &[], Fate::Served),
    ("POST", "/bare", &[TAKEN], Fate::Refused),
    ("DELETE", "/bare", &[TAKEN], Fate::Refused),
    // What a browser asks first calls nothing: the server answers it as it likes.
    ("OPTIONS", "/bare", &[OTHER], Fate::Served),
    ("GET", "/.well-known/oauth-protected-resource", &[OTHER], Fate::Served),
];

#[test]
fn a_page_that_the_route_does_not_name_is_refused_and_named_on_record() {
    let world = world();
    let upstream = world.upstream().unwrap();
    let mut refused = 0;
    for over in [over_http1, over_http2] {
        for (method, path, origins, fate) in CASES {
            let answer = over(world.stack.gate, method, path, origins);
            let (arrived, bytes) = upstream.take();
            let said = format!("{method} {path} {origins:?}: {} {}", answer.status, answer.text());
            match fate {
                Fate::Served => assert_eq!((answer.status, arrived.len()), (200, 1), "{said}"),
                Fate::Refused => {
                    refused += 1;
                    let told = (&answer.json()["error"]["data"]["reason"], &answer.json()["id"]);
                    assert_eq!((answer.status, told), (403, (&json!("origin"), &Value::Null)), "{said}");
                    assert_eq!((arrived, bytes), (vec![], vec![]), "{said}");
                }
            }
        }
    }
    every_refusal_is_on_record(&world, refused);
}

fn every_refusal_is_on_record(world: &World, wanted: usize) {
    let refused = eventually("every refusal is on record", || {
        let refused: Vec<Value> = world.traces().ok()?.into_iter().filter(|trace| trace["verdict"] == "deny").collect();
        (refused.len() >= wanted).then_some(refused)
    });
    let refused = refused.unwrap();
    assert_eq!(refused.len(), wanted, "{refused:?}");
    for trace in refused {
        let shown = world.stack.cli.json(&["trace", "show", trace["call_id"].as_str().unwrap()]).unwrap();
        assert_eq!(shown["body"]["malformed"], "origin", "{shown}");
        let headers = shown["body"]["ask"]["headers"].as_array().unwrap();
        assert!(headers.iter().any(|header| header[0] == "origin"), "{shown}");
    }
}

#[test]
fn without_the_gate_every_one_of_these_pages_reaches_the_tool() {
    let plain = Plain::start(|_| Reply::json(RESULT)).unwrap();
    for over in [over_http1, over_http2] {
        for (method, path, origins, _) in CASES {
            over(plain.address, method, path, origins);
            assert_eq!(plain.upstream.take().0.len(), 1, "{method} {path} {origins:?}");
        }
    }
}
