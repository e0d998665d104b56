//! Every attempt of `vectors/rest.json` is read, or refused, as its line says; by its own rule alone it is read the same.

use crate::attempts::{bytes_of, head_of};
use agentgate_core::canonical::canonical;
use agentgate_core::json::Json;
use agentgate_core::mcp::{Head, Kind, Limits, Message, Protocol, is_stripped};
use agentgate_core::rest::{Body, Field, Parts, Rule, Type, read};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use std::collections::BTreeSet;
use std::slice::from_ref;

const VECTORS: &str = include_str!("../vectors/rest.json");

/// The rules and the attempts.
pub(crate) fn vectors() -> (Vec<Rule>, Vec<Value>) {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let (rest, attempts) = (&vectors["rest"], vectors["attempts"].as_array().unwrap().clone());
    (rest["tools"].as_array().unwrap().iter().map(|tool| rule(rest, tool)).collect(), attempts)
}

/// As the filter's configuration writes it.
fn rule(rest: &Value, tool: &Value) -> Rule {
    let text = |of: &Value, name: &str| of[name].as_str().unwrap().to_owned();
    let fields = |of: &str| {
        let required = |name: &str| tool["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
        let field = |(name, holds): (&String, &Value)| {
            let holds = Type::parse(holds.as_str().unwrap()).unwrap();
            Field { name: name.clone(), holds, required: required(name) }
        };
        tool[of].as_object().into_iter().flatten().map(field).collect::<Vec<_>>()
    };
    let parts = Parts {
        tool: text(tool, "tool"),
        method: text(tool, "method"),
        host: Some(text(rest, "host")),
        path: text(rest, "prefix") + &text(tool, "path"),
        query: fields("query"),
        body: match &tool["body"] {
            Value::Null => Body::None,
            Value::Object(_) => Body::Fields(fields("body")),
            Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Array(_) => Body::Any,
        },
    };
    Rule::new(parts).unwrap()
}

fn shown(message: &Message) -> (Option<&str>, String) {
    assert_eq!((message.protocol, &message.kind, &message.handle), (Protocol::Rest, &Kind::Http, &None));
    let arguments = message.arguments().map(|arguments| canonical(&Json::Object(arguments.clone()))).unwrap();
    let named = message.params.as_ref().and_then(|params| params.get("name")?.as_str());
    assert_eq!(named, message.target.as_deref());
    (message.target.as_deref(), arguments)
}

#[test]
fn every_attempt_is_read_or_refused_as_its_line_says() {
    let (rules, attempts) = vectors();
    let mut wrong = Vec::new();
    for attempt in attempts {
        let (head, body) = (head_of(&attempt), bytes_of(&attempt["body"]));
        let reading = read(&head, &body, &rules, &Limits::default());
        let right = match &reading.message {
            Ok(message) => {
                let (tool, arguments) = shown(message);
                attempt["expect"] == "ok" && attempt["tool"].as_str() == tool && attempt["arguments"] == arguments
            }
            Err(malformed) => attempt["expect"] == malformed.reason(),
        };
        if !right {
            wrong.push(format!("{}: {}, {:?}", attempt["name"], attempt["expect"], reading.message));
        }
        for name in attempt["stripped"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            assert!(is_stripped(name.as_bytes()), "{}: {name}", attempt["name"]);
        }
        let alone = read(&head, &body, reading.rule.map_or(&[], from_ref), &Limits::default());
        assert_eq!(alone.message, reading.message, "{}", attempt["name"]);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_two_attempts_are_named_alike() {
    let (_, attempts) = vectors();
    let names: BTreeSet<_> =
        attempts.iter().map(|attempt| (attempt["name"].to_string(), attempt["expect"].to_string())).collect();
    assert_eq!(names.len(), attempts.len());
}

/// Pieces that readers of addresses trip over.
const PIECES: [&str; 28] = [
    "/",
    "//",
    "/api",
    "/invoices",
    "/documents",
    "7",
    "-1",
    "a",
    ".",
    "..",
    "%2e",
    "%2f",
    "%25",
    "%00",
    "%",
    "%c3",
    "%a9",
    ";",
    "\\",
    "+",
    "?",
    "&",
    "=",
    "limit",
    "q",
    "paid=true",
    "#",
    "é",
];

proptest! {
    /// Whatever was read says the same when it is written again as a client that leaves no doubt would write it.
    #[test]
    fn an_address_is_read_as_one_thing_or_refused(pieces in proptest::collection::vec(select(&PIECES[..]), 0..12)) {
        let (rules, _) = vectors();
        let path = format!("/api{}", pieces.concat());
        let head = |path: &str| Head {
            method: b"GET".to_vec(),
            path: path.as_bytes().to_vec(),
            headers: vec![(b"host".to_vec(), b"billing.example".to_vec())],
        };
        let reading = read(&head(&path), b"", &rules, &Limits::default());
        if let (Some(rule), Ok(message)) = (reading.rule, &reading.message) {
            let arguments = message.arguments().unwrap();
            let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            let mut plain = rule.parts().path.clone();
            let mut query = Vec::new();
            for (name, value) in arguments.iter() {
                let written: String = text(value).bytes().map(|byte| format!("%{byte:02X}")).collect();
                match [format!("{{{name}}}"), format!("{{{name}:integer}}")].iter().find(|field| plain.contains(*field)) {
                    Some(field) => plain = plain.replace(field.as_str(), &written),
                    None => query.push(format!("{name}={written}")),
                }
            }
            let again = if query.is_empty() { plain } else { format!("{plain}?{}", query.join("&")) };
            let written = read(&head(&again), b"", &rules, &Limits::default());
            prop_assert_eq!(&written.message, &reading.message, "{} {}", path, again);
        }
    }
}
