//! A schema as the type of an argument, and an object's schema as its members. What a type cannot say is left to the server.
//!
//! It looks no deeper than the members of a body: a schema that refers to itself below them is one that has an end here.

use super::document::{Document, ReferenceError};
use agentgate_core::rest::Type;
use serde_json::Value;

/// Schemas joined by `allOf`, one inside the other or side by side.
const JOINED_MAX: usize = 64;

/// The members of a body.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) fields: Vec<(String, Type)>,
    pub(super) required: Vec<String>,
    /// Why any members have to be taken. None: these are all.
    pub(super) any: Option<String>,
    pub(super) notes: Vec<String>,
}

/// The type that `schema` comes to, and why it is `any`, where it had to be.
pub(super) fn type_of(document: &Document, schema: &Value) -> (Type, Option<String>) {
    let schema = match document.resolve(schema) {
        Ok(schema) => schema,
        Err(error) => return (Type::Any, Some(error.to_string())),
    };
    if schema.get("nullable") == Some(&Value::Bool(true)) {
        return (Type::Any, Some("it may be null".to_owned()));
    }
    match schema.get("type") {
        Some(Value::String(name)) => match Type::parse(name) {
            Some(holds) => (holds, None),
            None => (Type::Any, Some(format!("its type is `{name}`"))),
        },
        Some(Value::Array(names)) => match names.as_slice() {
            [Value::String(name)] => (Type::parse(name).unwrap_or(Type::Any), None),
            _ => (Type::Any, Some("it has more than one type".to_owned())),
        },
        _ if schema.get("properties").is_some() || schema.get("allOf").is_some() => (Type::Object, None),
        _ if schema.get("items").is_some() => (Type::Array, None),
        _ if ["oneOf", "anyOf", "not"].iter().any(|key| schema.get(key).is_some()) => {
            (Type::Any, Some("it is one of several".to_owned()))
        }
        Some(_) | None => (Type::Any, Some("its schema names no type".to_owned())),
    }
}

/// The members that the schema of a body names, those of all that it is joined from.
pub(super) fn members(document: &Document, schema: &Value) -> Members {
    let mut members = Members::default();
    let mut waiting = vec![schema];
    let mut joined = 0;
    while let Some(schema) = waiting.pop() {
        joined += 1;
        if joined > JOINED_MAX {
            members.any = Some(format!("more than {JOINED_MAX} schemas are joined in it, or it is a part of itself"));
            break;
        }
        match document.resolve(schema) {
            Ok(schema) => members.join(document, schema, &mut waiting),
            Err(
                error @ (ReferenceError::Loop(_)
                | ReferenceError::TooLong(_)
                | ReferenceError::Outside(_)
                | ReferenceError::Nothing(_)),
            ) => {
                members.any = Some(error.to_string());
            }
        }
    }
    if members.fields.is_empty() && members.any.is_none() {
        members.any = Some("its schema names no members".to_owned());
    }
    members
}

// === impl Members ===

impl Members {
    fn join<'a>(&mut self, document: &Document, schema: &'a Value, waiting: &mut Vec<&'a Value>) {
        if let Some(kind) = schema.get("type").filter(|kind| *kind != "object" && **kind != serde_json::json!(["object"])) {
            self.any = Some(format!("its type is {kind}, and arguments are members of an object"));
        }
        if let Some(key) = ["oneOf", "anyOf", "not", "patternProperties"].into_iter().find(|key| schema.get(key).is_some()) {
            self.any = Some(format!("its schema has `{key}`"));
        }
        if schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false)) {
            self.any = Some("its schema has `additionalProperties`".to_owned());
        }
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if self.fields.iter().any(|(known, _)| known == name) {
                continue;
            }
            // What only the server writes is no argument.
            if document.resolve(property).is_ok_and(|property| property.get("readOnly") == Some(&Value::Bool(true))) {
                continue;
            }
            let (holds, why) = type_of(document, property);
            self.notes.extend(why.map(|why| format!("its member `{name}` may be anything: {why}")));
            self.fields.push((name.clone(), holds));
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        self.required.extend(required.filter_map(Value::as_str).map(ToOwned::to_owned));
        waiting.extend(schema.get("allOf").and_then(Value::as_array).into_iter().flatten());
    }
}
