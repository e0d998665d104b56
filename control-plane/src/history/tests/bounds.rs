//! Every bound of what is kept of the past, from both sides.

use super::*;
use crate::history::impact::{ROWS_BYTES_MAX, ROWS_MAX, Rows};
use crate::history::learn::{DEFINITIONS_BYTES_MAX, NAMES_BYTES_MAX, Seen, TOOLS_MAX};
use agentgate_core::decide::{Facts, Opinion, settle};
use agentgate_core::endpoint::Endpoint;
use agentgate_core::json::{Json, Object};
use agentgate_core::mcp::Malformed;
use agentgate_policies::ARGUMENTS_MAX;

const AT: Time = Time::from_micros(1);

fn key(tool: impl Into<String>) -> (String, String) {
    ("s".to_owned(), tool.into())
}

fn defined(name: &str, words: usize) -> Bytes {
    format!(r#"{{"name":"{name}","description":"{}"}}"#, "x".repeat(words)).into()
}

fn seen() -> Seen {
    Seen::new(String::new())
}

#[test]
fn one_tool_too_many_is_counted_and_a_listed_one_takes_the_place_of_one_that_nobody_lists() {
    let mut seen = seen();
    for number in 0..TOOLS_MAX {
        seen.call(&key(format!("made_up_{number}")), AT, None);
    }
    seen.call(&key("one_more"), AT, None);
    seen.list("s", &defined("listed", 1));
    seen.call(&key("listed"), AT, None);
    let learned = seen.finish();
    assert_eq!((learned.tools.len(), learned.sightings_left_out), (TOOLS_MAX, 2));
    assert!(learned.tools.iter().any(|tool| tool.tool == "listed" && tool.calls == 1));
    assert!(learned.tools.iter().all(|tool| tool.tool != "one_more"));
    assert_eq!(learned.calls_read, TOOLS_MAX as u64 + 2);
}

#[test]
fn names_of_tools_have_a_length_and_a_weight() {
    let mut seen = seen();
    seen.call(&key("x".repeat(2_048)), AT, None);
    seen.call(&key("x".repeat(2_049)), AT, None);
    let learned = seen.finish();
    assert_eq!((learned.tools.len(), learned.sightings_left_out), (1, 1));

    let mut seen = super::bounds::seen();
    let each = NAMES_BYTES_MAX / 1_024;
    for number in 0..=each {
        seen.call(&key(format!("{number:0>927}")), AT, None);
    }
    let learned = seen.finish();
    assert_eq!((learned.tools.len(), learned.sightings_left_out), (each, 1), "1,024 bytes each, with its server");
}

#[test]
fn arguments_of_one_tool_are_bounded_and_so_are_their_names() {
    for (count, left_out) in [(ARGUMENTS_MAX, false), (ARGUMENTS_MAX + 1, true)] {
        let mut arguments = Object::default();
        (0..count).for_each(|number| arguments.set(&format!("argument_{number}"), true));
        let mut seen = seen();
        seen.call(&key("tool"), AT, Some(&arguments));
        let tool = seen.finish().tools.remove(0);
        assert_eq!((tool.arguments.len(), tool.arguments_left_out), (ARGUMENTS_MAX, left_out));
    }
    let mut seen = seen();
    let mut arguments = Object::default();
    (0..ARGUMENTS_MAX).for_each(|number| arguments.set(&format!("{number:0>250}"), Json::Null));
    for tool in 10..24 {
        seen.call(&key(tool.to_string()), AT, Some(&arguments));
    }
    let learned = seen.finish();
    let (first, last) = (&learned.tools[0], learned.tools.last().unwrap());
    assert_eq!((first.arguments.len(), first.arguments_left_out), (ARGUMENTS_MAX, false));
    assert!(last.arguments.len() < ARGUMENTS_MAX && last.arguments_left_out);
    assert_eq!(learned.tools.len() as u64 + learned.sightings_left_out, 14);
    let bytes: usize = learned.tools.iter().flat_map(|tool| &tool.arguments).map(|argument| argument.name.len()).sum();
    assert!(bytes <= NAMES_BYTES_MAX, "{bytes}");
}

#[test]
fn definitions_are_bounded_together_and_what_has_no_room_is_said() {
    let mut seen = seen();
    let large = defined("n", 200_000).len();
    let room = DEFINITIONS_BYTES_MAX / large;
    for number in 0..=room {
        seen.list("s", &defined(&number.to_string(), 200_000));
    }
    seen.list("s", &defined("too_large", 300_000));
    for words in 0..20 {
        seen.list("s", &defined("0", words));
    }
    let learned = seen.finish();
    assert_eq!((learned.tools.len(), learned.sightings_left_out), (room + 1, 1));
    let left_out: Vec<_> = learned.tools.iter().filter(|tool| tool.definition_left_out).collect();
    assert!(matches!(left_out.as_slice(), [tool] if tool.tool == room.to_string() && tool.definition.is_empty()));
    let often = learned.tools.iter().find(|tool| tool.tool == "0").unwrap();
    assert_eq!((often.definitions, &often.definition), (16, &defined("0", 19)), "the newest, of 16 and more");
}

fn denied() -> agentgate_core::decide::Decision {
    let facts = Facts {
        at: AT,
        tenant: "t".try_into().unwrap(),
        principal: "spiffe://a/x".try_into().unwrap(),
        asker: "spiffe://a/y".try_into().unwrap(),
        server: "s".try_into().unwrap(),
        reading: Err(Malformed::Batch),
        endpoint: Endpoint::default(),
        kill: None,
        grant: None,
        denied: None,
    };
    settle(&facts, Ok(&Opinion::default()))
}

#[test]
fn rows_of_an_impact_are_bounded_by_number_and_by_weight() {
    let record = v1::DecisionRecord::default();
    for (count, tenant, cut) in [(ROWS_MAX, 1, false), (ROWS_MAX + 1, 1, true), (600, 2_000, false), (ROWS_MAX, 2_000, true)] {
        let mut rows = Rows::default();
        for number in (0..count).chain([0]) {
            let target = number.to_string() + &"x".repeat(1_000);
            let body = v1::DecisionBody { tenant: "t".repeat(tenant), target, ..v1::DecisionBody::default() };
            rows.count(AT, &record, body, &denied());
        }
        let impact = rows.finish();
        assert_eq!((impact.calls, impact.rows_cut), (count as u64 + 1, cut), "{count} rows");
        assert_eq!((impact.rows[0].calls, impact.rows[0].target.len() <= 512), (2, true), "the most frequent first, cut short");
        assert!(impact.rows.len() <= ROWS_MAX && impact.encoded_len() <= ROWS_BYTES_MAX);
    }
}
