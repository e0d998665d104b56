//! Every attempt of `vectors/attempts.json` is read, or refused, as its line says; and every reason has a line.

use agentgate_core::mcp::{Head, Limits, Malformed, Rules, Version, check_origin, read};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeSet;

const ATTEMPTS: &str = include_str!("../vectors/attempts.json");

/// Texts, `{"base64"}` and `{"repeat", "times"}`, alone or in an array.
pub(crate) fn bytes_of(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.as_bytes().to_vec(),
        Value::Array(parts) => parts.iter().flat_map(bytes_of).collect(),
        Value::Object(_) if value["base64"].is_string() => STANDARD.decode(value["base64"].as_str().unwrap()).unwrap(),
        Value::Object(_) => {
            let times = usize::try_from(value["times"].as_u64().unwrap()).unwrap();
            value["repeat"].as_str().unwrap().repeat(times).into_bytes()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => panic!("no bytes: {value}"),
    }
}

pub(crate) fn attempts() -> Vec<Value> {
    serde_json::from_str(ATTEMPTS).unwrap()
}

pub(crate) fn head_of(attempt: &Value) -> Head {
    let headers = attempt["headers"].as_array().unwrap();
    Head {
        method: bytes_of(&attempt["method"]),
        path: bytes_of(&attempt["path"]),
        headers: headers.iter().map(|pair| (bytes_of(&pair[0]), bytes_of(&pair[1]))).collect(),
    }
}

/// The texts of a list that the route of an attempt may have.
fn texts(attempt: &Value, field: &str) -> Option<Vec<String>> {
    Some(attempt.get(field)?.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect())
}

fn rules_of(attempt: &Value) -> Rules {
    let version = |text: &String| Version::parse(text.as_bytes()).unwrap();
    Rules {
        versions: texts(attempt, "versions").map_or(Version::ALL.to_vec(), |names| names.iter().map(version).collect()),
        query_keys: texts(attempt, "query_keys").unwrap_or_default(),
        limits: Limits::default(),
    }
}

fn reading_of(attempt: &Value) -> Result<(), Malformed> {
    let head = head_of(attempt);
    check_origin(&head, &texts(attempt, "origins").unwrap_or_default())?;
    read(&head, &bytes_of(&attempt["body"]), &rules_of(attempt))?;
    Ok(())
}

#[test]
fn every_attempt_is_read_or_refused_as_its_line_says() {
    let mut wrong = Vec::new();
    for attempt in attempts() {
        let reason = match reading_of(&attempt) {
            Ok(()) => "ok",
            Err(malformed) => malformed.reason(),
        };
        if attempt["expect"] != reason {
            wrong.push(format!("{}: expected {}, found {reason}", attempt["name"], attempt["expect"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_reason_has_an_attempt() {
    let tried = attempts().into_iter().chain(crate::rest::vectors().1);
    let tried: BTreeSet<String> = tried.map(|a| a["expect"].as_str().unwrap().to_owned()).collect();
    let missing: Vec<_> = Malformed::all().map(Malformed::reason).filter(|reason| !tried.contains(*reason)).collect();
    assert!(missing.is_empty(), "no attempt for {missing:?}");
}
