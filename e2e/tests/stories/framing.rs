//! How a body is framed and how long it may be: two requests are never read as one, and of a body beyond its bound no byte passes.

use crate::wire::{CALL, HEADERS, RESULT, post, recording};
use agentgate_e2e::http1::{Answer, Connection, request};
use agentgate_e2e::upstream::Reply;
use agentgate_e2e::{Edit, Plain, World, eventually, http1, http2};
use serde_json::json;
use std::net::SocketAddr;

/// A request that one reader takes for one and another for two, and the words in which Envoy refuses it.
struct Framing {
    name: &'static str,
    length: Vec<(&'static str, &'static str)>,
    body: &'static str,
    envoy_says: &'static str,
}

fn framings() -> [Framing; 4] {
    let framing = |name, length: &[_], body, envoy_says| Framing { name, length: length.to_vec(), body, envoy_says };
    let (both, codec) = ("http1.content_length_and_chunked_not_allowed", "http1.codec_error");
    [
        framing("both framings", &[("content-length", "102"), ("transfer-encoding", "chunked")], "0\r\n\r\n", both),
        framing("two lengths", &[("content-length", "0"), ("content-length", "102")], CALL, codec),
        framing("an obsolete fold", &[("content-length", "0\r\n 5")], CALL, codec),
        framing("a length with a sign", &[("content-length", "+5")], CALL, codec),
    ]
}

/// Envoy tells its reason in the body of its refusal, so that a story can see who refused. The gate's own reasons have no such name.
fn telling(stat_prefix: &str) -> Edit {
    let line = format!("stat_prefix: {stat_prefix}\n");
    let reason = "local_reply_config: {body_format: {text_format_source: {inline_string: \"%RESPONSE_CODE_DETAILS%\"}}}";
    Edit::new(&line, format!("{line}                {reason}\n"))
}

/// Sends this request, with a call behind it on the same connection.
fn sent(address: SocketAddr, framing: &Framing) -> Connection {
    let length: Vec<(&str, &[u8])> = framing.length.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let first = request("POST", "/mcp", &[&HEADERS[..], &length].concat(), framing.body.as_bytes());
    let mut connection = Connection::open(address).unwrap();
    connection.send(&[first, post(CALL)].concat()).unwrap();
    connection
}

#[test]
fn two_requests_framed_as_one_are_refused_by_envoy_itself_with_the_gate_and_without() {
    assert_eq!(CALL.len(), 102);
    let mut plan = recording(|_| Reply::json(RESULT));
    plan.stack.edits.push(telling("agents"));
    let world = plan.start().unwrap();
    let plain = Plain::edited(vec![telling("plain")], |_| Reply::json(RESULT)).unwrap();
    for framing in framings() {
        for (envoy, upstream) in [(world.stack.gate, world.upstream().unwrap()), (plain.address, &plain.upstream)] {
            let answer = sent(envoy, &framing).answer().unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (400, framing.envoy_says), "{}", framing.name);
            assert_eq!(upstream.take(), (vec![], vec![]), "{}", framing.name);
        }
        // So the refusal shows nothing of the gate. That there is something to refuse shows the tool server alone, which takes
        // these bytes for two requests: what it finds behind the first one holds the whole call.
        let connection = sent(plain.upstream.address, &framing);
        let arrived = eventually(framing.name, || {
            let arrived = plain.upstream.arrived();
            (arrived.last()?.body == CALL.as_bytes()).then_some(arrived)
        });
        assert!(arrived.unwrap().len() >= 2, "{}", framing.name);
        drop(connection);
        plain.upstream.take();
    }
    assert_eq!(world.stack.envoy.stat("wasmcustom.agentgate.calls_malformed").unwrap(), 0, "the filter saw one of them");
    assert_eq!(world.traces().unwrap(), [json!(null); 0]);
}

#[test]
fn a_chunked_call_is_read_whole() {
    let world = recording(|_| Reply::json(RESULT)).start().unwrap();
    let (first, second) = CALL.split_at(20);
    let headers = [&HEADERS[..], &[("transfer-encoding", b"chunked")]].concat();
    let answer = world.http1(&request("POST", "/mcp", &headers, &chunked(&[first, second]))).unwrap();
    assert_eq!(answer.text(), RESULT);
    assert_eq!(world.upstream().unwrap().take().0[0].body, CALL.as_bytes());
}

fn chunked(pieces: &[&str]) -> Vec<u8> {
    let chunks = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len()));
    chunks.chain(["0\r\n\r\n".to_owned()]).collect::<String>().into_bytes()
}

/// How a body comes.
#[derive(Clone, Copy, Debug)]
enum Way {
    Http1Length,
    Http1Chunks,
    Http2,
    Http2Length,
    Http2Trailers,
    Http2LengthAndTrailers,
}

impl Way {
    const ALL: [Self; 6] =
        [Self::Http1Length, Self::Http1Chunks, Self::Http2, Self::Http2Length, Self::Http2Trailers, Self::Http2LengthAndTrailers];

    fn send(self, address: SocketAddr, path: &str, body: &str) -> Answer {
        let (first, second) = body.split_at(body.len() / 2);
        let length = body.len().to_string();
        let has_length = matches!(self, Self::Http2Length | Self::Http2LengthAndTrailers);
        let has_trailers = matches!(self, Self::Http2Trailers | Self::Http2LengthAndTrailers);
        let length: &[(&str, &[u8])] = if has_length { &[("content-length", length.as_bytes())] } else { &[] };
        match self {
            Self::Http1Length => http1::exchange(address, &request("POST", path, &HEADERS, body.as_bytes())).unwrap(),
            Self::Http1Chunks => {
                let headers = [&HEADERS[..], &[("transfer-encoding", b"chunked")]].concat();
                http1::exchange(address, &request("POST", path, &headers, &chunked(&[first, second]))).unwrap()
            }
            Self::Http2 | Self::Http2Length | Self::Http2Trailers | Self::Http2LengthAndTrailers => {
                let stream = http2::Stream {
                    method: "POST",
                    path,
                    headers: [&HEADERS[..], length].concat(),
                    body: vec![first.as_bytes(), second.as_bytes()],
                    trailers: if has_trailers { vec![("x-checksum", b"1")] } else { Vec::new() },
                };
                http2::exchange(address, &stream).unwrap()
            }
        }
    }
}

/// The default, which Envoy holds in many pieces, and one that comes in a single piece.
const BOUNDS: [(&str, usize); 2] = [("/mcp", 1_048_576), ("/small", 200)];

#[test]
fn a_body_may_have_as_many_bytes_as_its_route_takes_and_not_one_more() {
    let mut plan = recording(|_| Reply::json(RESULT));
    let route = r#"{ "path": "/mcp", "server": "notes" }"#;
    let small = r#"{ "path": "/small", "server": "notes", "limits": { "body_bytes_max": 200 } }"#;
    plan.stack.edits.push(Edit::new(route, format!("{route}, {small}")));
    let world = plan.start().unwrap();
    for (path, most) in BOUNDS {
        for way in Way::ALL {
            let whole = padded(most);
            let answer = way.send(world.stack.gate, path, &whole);
            assert_eq!((answer.status, answer.text().as_str()), (200, RESULT), "{way:?} {path}: {:.300}", answer.text());
            let arrived = world.upstream().unwrap().take().0;
            assert!(matches!(&arrived[..], [one] if one.body == whole.as_bytes()), "{way:?} {path}");

            let answer = way.send(world.stack.gate, path, &padded(most + 1));
            let said = &answer.json()["error"]["data"]["reason"];
            assert_eq!((answer.status, said), (413, &json!("body_too_large")), "{way:?} {path}: {answer:?}");
            assert_eq!(world.upstream().unwrap().take(), (vec![], vec![]), "{way:?} {path}");
        }
    }
    every_refusal_is_on_record(&world);
}

/// A call of this many bytes.
fn padded(bytes: usize) -> String {
    CALL.replace("milk", &"m".repeat(bytes + "milk".len() - CALL.len()))
}

fn every_refusal_is_on_record(world: &World) {
    let wanted = BOUNDS.len() * Way::ALL.len();
    let refused = eventually("every refusal is on record", || {
        let refused = world.traces().ok()?.into_iter().filter(|trace| trace["verdict"] == "deny").collect::<Vec<_>>();
        (refused.len() >= wanted).then_some(refused)
    });
    let refused = refused.unwrap();
    assert!(refused.len() == wanted && refused.iter().all(|trace| trace.to_string().contains("body_too_large")), "{refused:?}");
}

#[test]
fn without_the_gate_one_byte_more_reaches_the_tool() {
    let plain = Plain::start(|_| Reply::json(RESULT)).unwrap();
    for (path, most) in BOUNDS {
        for way in Way::ALL {
            let long = padded(most + 1);
            way.send(plain.address, path, &long);
            let arrived = plain.upstream.take().0;
            assert!(matches!(&arrived[..], [one] if one.body == long.as_bytes()), "{way:?} {path}");
        }
    }
}
