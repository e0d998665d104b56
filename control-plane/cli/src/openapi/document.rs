//! An OpenAPI document as values, and what its references stand for. It opens no other file, and a chain of references that
//! comes back to itself is an error that shows it.

use crate::check::yaml::{self, YamlError};
use serde_json::{Map, Value};
use thiserror::Error;

/// References behind each other. Documents that people write have two or three.
pub(super) const REFERENCES_MAX: usize = 32;

/// So many reasons are told where nothing can be mapped, and so much of each: a document may have thousands.
pub(super) const REASONS_MAX: usize = 8;
pub(super) const REASON_CHARS_MAX: usize = 300;

/// So many keys of a document are named in one note.
pub(super) const NAMED_MAX: usize = 4;

/// What may stand beside a `$ref` and changes nothing here.
const BESIDE: [&str; 3] = ["$ref", "description", "summary"];

#[derive(Debug)]
pub(super) struct Document(Value);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum DocumentError {
    #[error("it is neither YAML nor JSON")]
    Yaml(#[from] YamlError),
    #[error("it is Swagger {0}; convert it to OpenAPI 3.0 or 3.1 first")]
    Swagger(String),
    #[error("it names no `openapi` version of 3.0 or 3.1")]
    Version,
    #[error("it has no `paths`")]
    NoPaths,
    #[error("`{0}` is no name of a server: give one with --server")]
    Server(String),
    #[error("the base path `{0}` must begin with a slash and have no slash at its end: give one with --base-path")]
    BasePath(String),
    #[error("`{0}` is no host: write it in lower case and without a port")]
    Host(String),
    #[error("`{0}` has the key `<<`, which OpenAPI does not know and readers take in two ways: write out what it merges")]
    Merge(String),
    #[error("it has more than {0} operations that can be mapped, and a route takes no more: split the document")]
    TooMany(usize),
    #[error("it has more than {0} operations, and no more are looked at: split the document")]
    TooLarge(usize),
    #[error("nothing in it can be mapped: {0}")]
    Nothing(String),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
}

/// What a `$ref` does not lead to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum ReferenceError {
    #[error("its references run in a loop: {0}")]
    Loop(String),
    #[error("more than {REFERENCES_MAX} references stand behind each other: {0}")]
    TooLong(String),
    #[error("`{0}` leads out of the document, and other files are not opened")]
    Outside(String),
    #[error("`{0}` leads to nothing")]
    Nothing(String),
}

// === impl DocumentError ===

impl DocumentError {
    /// The first of the reasons, and how many more there are.
    pub(super) fn nothing(reasons: &[String]) -> Self {
        let told = reasons.iter().take(REASONS_MAX).map(|reason| reason.chars().take(REASON_CHARS_MAX).collect::<String>());
        let more = (reasons.len() > REASONS_MAX).then(|| format!("and {} more", reasons.len() - REASONS_MAX));
        Self::Nothing(told.chain(more).collect::<Vec<_>>().join("; "))
    }
}

// === impl Document ===

impl Document {
    pub(super) fn parse(text: &str) -> Result<Self, DocumentError> {
        let value = yaml::read(text)?.value;
        if let Some(version) = value.get("swagger") {
            return Err(DocumentError::Swagger(version.as_str().map_or_else(|| version.to_string(), ToOwned::to_owned)));
        }
        // Unquoted, `3.0` would be a number: both name a version.
        let version = value.get("openapi").map(|version| version.as_str().map_or_else(|| version.to_string(), ToOwned::to_owned));
        if !version.is_some_and(|version| {
            ["3.0", "3.1"].iter().any(|known| version == *known || version.starts_with(&format!("{known}.")))
        }) {
            return Err(DocumentError::Version);
        }
        if let Some(place) = merged("", &value) {
            return Err(DocumentError::Merge(place));
        }
        Ok(Self(value))
    }

    pub(super) const fn root(&self) -> &Value {
        &self.0
    }

    /// What `value` is, or stands for.
    pub(super) fn resolve<'a>(&'a self, value: &'a Value) -> Result<&'a Value, ReferenceError> {
        let mut seen: Vec<&str> = Vec::new();
        let mut value = value;
        while let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let chain = |seen: &[&str]| [seen, &[reference]].concat().join(" → ");
            if seen.contains(&reference) {
                return Err(ReferenceError::Loop(chain(&seen)));
            }
            if seen.len() >= REFERENCES_MAX {
                return Err(ReferenceError::TooLong(chain(&seen)));
            }
            seen.push(reference);
            let pointer = reference.strip_prefix('#').ok_or_else(|| ReferenceError::Outside(reference.to_owned()))?;
            value = self.0.pointer(&unescaped(pointer)).ok_or_else(|| ReferenceError::Nothing(reference.to_owned()))?;
        }
        Ok(value)
    }

    /// The keys beside the references on the way from `value`, which are not followed: what they say is lost.
    pub(super) fn beside(&self, value: &Value) -> Option<String> {
        let mut keys: Vec<String> = Vec::new();
        let mut value = value;
        for _ in 0..REFERENCES_MAX {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { break };
            let others = value.as_object().into_iter().flat_map(Map::keys);
            let others = others.filter(|key| !BESIDE.contains(&key.as_str()) && !key.starts_with("x-"));
            keys.extend(others.take(NAMED_MAX).map(|key| format!("`{key}`")));
            let Some(next) = reference.strip_prefix('#').and_then(|pointer| self.0.pointer(&unescaped(pointer))) else { break };
            value = next;
        }
        keys.truncate(NAMED_MAX);
        (!keys.is_empty()).then(|| keys.join(", "))
    }
}

/// Where a key `<<` stands.
fn merged(place: &str, value: &Value) -> Option<String> {
    match value {
        Value::Object(map) if map.contains_key("<<") => Some(if place.is_empty() { "/".to_owned() } else { place.to_owned() }),
        Value::Object(map) => map.iter().find_map(|(key, value)| merged(&yaml::step(place, key), value)),
        Value::Array(list) => list.iter().find_map(|value| merged(place, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// A pointer in a URI may be percent-encoded, and braces of path templates are.
fn unescaped(pointer: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = pointer.bytes();
    while let Some(byte) = bytes.next() {
        let mut rest = bytes.clone();
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match (byte, digit(rest.next()), digit(rest.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high << 4 | low).unwrap_or_default());
                bytes = rest;
            }
            (byte, _, _) => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
