//! The vectors of canonical JSON and of event streams.

use crate::attempts::bytes_of;
use agentgate_core::canonical::canonical;
use agentgate_core::json::{Bounds, Keys, read};
use agentgate_core::mcp::sse::Reader;
use serde_json::Value;

const CANONICAL: &str = include_str!("../vectors/rfc8785.json");
const STREAMS: &str = include_str!("../vectors/streams.json");

fn lines(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

#[test]
fn keys_and_strings_are_canonical_as_rfc_8785_publishes_them() {
    let bounds = Bounds { depth_max: 64, number_bytes_max: 64, values_max: 1_000 };
    for line in lines(CANONICAL) {
        // Exact: its examples hold keys that differ only by case.
        let json = read(&bytes_of(&line["input"]), bounds, Keys::Exact).unwrap();
        assert_eq!(canonical(&json), line["canonical"].as_str().unwrap(), "{}", line["name"]);
    }
}

#[test]
fn every_stream_has_the_events_of_its_line() {
    for line in lines(STREAMS) {
        let events = Reader::new(10_000).feed(&bytes_of(&line["input"])).unwrap();
        let found: Vec<_> = events.into_iter().map(|event| event.data).collect();
        let data = |event: &Value| (!event.is_null()).then(|| bytes_of(event));
        let expected: Vec<_> = line["events"].as_array().unwrap().iter().map(data).collect();
        assert_eq!(found, expected, "{}", line["name"]);
    }
}
