//! What holds for all bytes. Called by the properties here and by the fuzz target, so that both hunt for the same faults.

use agentgate_core::canonical::canonical;
use agentgate_core::json::{Bounds, Json, Keys, read as read_json};
use agentgate_core::mcp::sse::{Event, Reader};
use agentgate_core::mcp::{Head, Kind, Limits, RequestId, Rules, Version, is_read, read, response};
use serde_json::Value;

const BOUNDS: Bounds = Bounds { depth_max: 64, number_bytes_max: 64, values_max: 10_000 };

/// Whatever is accepted, another parser reads as the same value; and it comes back from its own text.
pub(crate) fn json(bytes: &[u8]) {
    let exact = read_json(bytes, BOUNDS, Keys::Exact);
    let folded = read_json(bytes, BOUNDS, Keys::Folded);
    if let Ok(json) = &folded {
        assert_eq!(exact.as_ref(), Ok(json), "folding accepts less, and nothing else");
    }
    let Ok(json) = exact else { return };
    // Numbers beyond all doubles are the one thing that we read and the other parser refuses.
    if json.all_numbers(|number| number.as_str().parse::<f64>().is_ok_and(f64::is_finite)) {
        assert!(same(&json, &serde_json::from_slice(bytes).unwrap()), "another parser reads another value");
    }
    let text = json.to_string();
    assert_eq!(read_json(text.as_bytes(), BOUNDS, Keys::Exact).as_ref(), Ok(&json), "written, and read again");
    let sorted = canonical(&json);
    let again = read_json(sorted.as_bytes(), BOUNDS, Keys::Exact).unwrap();
    assert_eq!(canonical(&again), sorted, "canonical is canonical");
}

fn same(ours: &Json, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Json::Null, Value::Null) => true,
        (Json::Bool(one), Value::Bool(other)) => one == other,
        (Json::String(one), Value::String(other)) => one == other,
        (Json::Number(one), Value::Number(other)) => {
            other.as_f64() == one.as_str().parse().ok()
                && other.as_u64().is_none_or(|integer| one.as_str() == integer.to_string())
        }
        (Json::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Json::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| same(one, other)))
        }
        _ => false,
    }
}

/// A request that is read says what any other parser would find in it, and no header that is not read changes that.
pub(crate) fn request(head: &Head, body: &[u8]) {
    let rules = Rules { versions: Version::ALL.to_vec(), query_keys: vec!["tenant".to_owned()], limits: Limits::default() };
    let found = read(head, body, &rules);
    let mut travelled = head.clone();
    travelled.headers.retain(|(name, _)| is_read(name));
    assert_eq!(read(&travelled, body, &rules), found, "filter and control plane read the same");
    let message = match found {
        Ok(message) => message,
        Err(unread) => {
            assert!((200..500).contains(&unread.answer().http_status) && !unread.reason.reason().is_empty());
            return;
        }
    };
    if matches!(message.kind, Kind::Open | Kind::End) {
        assert!(body.is_empty());
        return;
    }
    let theirs: Value = serde_json::from_slice(body).unwrap();
    if let Kind::Request(id) | Kind::Response(id) = &message.kind {
        match (id, &theirs["id"]) {
            (RequestId::String(ours), Value::String(theirs)) => assert_eq!(ours, theirs),
            (RequestId::Number(ours), Value::Number(theirs)) => assert_eq!(ours.parse().ok(), theirs.as_f64()),
            (ours, theirs) => panic!("{ours:?} is not {theirs}"),
        }
    }
    if message.method.is_on_the_wire() {
        assert_eq!(theirs["method"], message.method.name());
    }
    if let Some(key) = message.method.target_key() {
        assert_eq!(theirs["params"][key].as_str(), message.target.as_deref());
    }
    if let (Some(params), true) = (&message.params, message.method.is_on_the_wire()) {
        assert!(same(&Json::Object(params.clone()), &theirs["params"]));
    }
}

/// A server's message that is read is one that another parser reads; a list without hidden tools holds none.
pub(crate) fn answer(bytes: &[u8]) {
    let Ok(response::ServerMessage::Response(response)) = response::read(bytes, &Limits::default()) else { return };
    let Ok(tools) = response.tools() else { return };
    let hidden: Vec<String> = tools.iter().step_by(2).map(|name| (*name).to_owned()).collect();
    let shown = response.without(&hidden, agentgate_core::mcp::Era::Stateless).unwrap();
    let Ok(response::ServerMessage::Response(shown)) = response::read(shown.as_bytes(), &Limits::default()) else {
        panic!("a shortened list cannot be read");
    };
    assert!(shown.tools().unwrap().iter().all(|name| !hidden.iter().any(|hidden| hidden == name)));
}

/// A stream has the same events however it is cut, and loses no byte.
pub(crate) fn stream(bytes: &[u8], cut: usize) {
    let feed = |chunks: &[&[u8]]| -> (Vec<Event>, Vec<u8>) {
        let mut reader = Reader::new(usize::MAX);
        let events = chunks.iter().flat_map(|chunk| reader.feed(chunk).unwrap()).collect();
        (events, reader.rest().to_vec())
    };
    let whole = feed(&[bytes]);
    assert_eq!(feed(&bytes.chunks(cut.max(1)).collect::<Vec<_>>()), whole, "cut every {cut} bytes");
    let raw: Vec<u8> = whole.0.iter().flat_map(|event| event.raw.clone()).chain(whole.1).collect();
    assert_eq!(raw, bytes, "no byte is lost");
    for event in whole.0 {
        if let Some(data) = &event.data {
            let written = event.with_data(data);
            let again = feed(&[&written]).0;
            let lines = |data: &[u8]| data.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
            assert_eq!(again.len(), 1);
            assert_eq!(again[0].data.as_deref().map(lines), Some(lines(data)), "data is written as it was read");
        }
    }
}
