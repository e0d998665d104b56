//! A schema as the type of an argument, and an object's schema as its members. What a type cannot say is left to the server.
//!
//! It looks no deeper than the members of a body: a schema that refers to itself below them is one that has an end here.

use super::document::{Document, NAMED_MAX, ReferenceError};
use agentgate_core::rest::{FIELDS_MAX, Type};
use serde_json::Value;

/// Schemas joined by `allOf`, one inside the other or side by side.
pub(super) const JOINED_MAX: usize = 64;

/// Members of one body that are looked at, those that only the server writes among them.
pub(super) const LOOKED_MAX: usize = 4 * FIELDS_MAX;

/// What a schema can say about members that no list of fields can.
const BEYOND: [&str; 7] = ["oneOf", "anyOf", "not", "patternProperties", "dependentSchemas", "if", "$dynamicRef"];

/// The members of a body.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) fields: Vec<(String, Type)>,
    pub(super) required: Vec<String>,
    /// Why any members have to be taken. None: these are all.
    pub(super) any: Option<String>,
    /// There are more than a tool can have: what was found is not all.
    pub(super) are_too_many: bool,
    pub(super) notes: Vec<String>,
    read_only: Vec<String>,
    looked: usize,
}

/// What a schema says of its type, with all that it is joined from.
#[derive(Debug, Default)]
struct Said {
    types: Vec<Type>,
    may_be_null: bool,
    /// Why a part of it says no type.
    why: Option<String>,
}

/// The type that `schema` comes to, and why it is `any`, where it had to be.
pub(super) fn type_of(document: &Document, schema: &Value) -> (Type, Option<String>) {
    let said = match Said::of(document, schema) {
        Ok(said) => said,
        Err(why) => return (Type::Any, Some(why)),
    };
    if said.may_be_null {
        return (Type::Any, Some("it may be null".to_owned()));
    }
    match said.types.as_slice() {
        [] => (Type::Any, Some(said.why.unwrap_or_else(|| "its schema names no type".to_owned()))),
        [holds] => (*holds, None),
        several => {
            let names: Vec<&str> = several.iter().map(|holds| holds.name()).collect();
            (Type::Any, Some(format!("its `allOf` is {} at once", names.join(" and "))))
        }
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
            members.any = Some(endless());
            break;
        }
        members.notes.extend(document.beside(schema).map(|keys| format!("{keys} beside a `$ref` in its body: not read")));
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
        if members.are_too_many {
            return members;
        }
    }
    if members.fields.is_empty() && members.any.is_none() {
        members.any = Some("its schema names no members".to_owned());
    }
    members.note_ghosts();
    members
}

fn endless() -> String {
    format!("more than {JOINED_MAX} schemas are joined in it, or it is a part of itself")
}

// === impl Said ===

impl Said {
    /// # Errors
    /// Why nothing can be said.
    fn of(document: &Document, schema: &Value) -> Result<Self, String> {
        let mut said = Self::default();
        let mut waiting = vec![schema];
        let mut joined = 0;
        while let Some(schema) = waiting.pop() {
            joined += 1;
            if joined > JOINED_MAX {
                return Err(endless());
            }
            let schema = document.resolve(schema).map_err(|error| error.to_string())?;
            said.may_be_null |= schema.get("nullable") == Some(&Value::Bool(true));
            match own_type(schema) {
                Ok(holds) if said.types.contains(&holds) => {}
                Ok(holds) => said.types.push(holds),
                Err(why) => said.why = said.why.or(why),
            }
            waiting.extend(schema.get("allOf").and_then(Value::as_array).into_iter().flatten().take(JOINED_MAX + 1));
        }
        Ok(said)
    }
}

/// What a schema says itself, or why it says nothing.
fn own_type(schema: &Value) -> Result<Type, Option<String>> {
    let named = |name: &str| Type::parse(name).ok_or_else(|| Some(format!("its type is `{name}`")));
    match schema.get("type") {
        Some(Value::String(name)) => named(name),
        Some(Value::Array(names)) => match names.as_slice() {
            [Value::String(name)] => named(name),
            _ => Err(Some("it has more than one type".to_owned())),
        },
        _ if schema.get("properties").is_some() => Ok(Type::Object),
        _ if schema.get("items").is_some() => Ok(Type::Array),
        _ if ["oneOf", "anyOf", "not"].iter().any(|key| schema.get(key).is_some()) => {
            Err(Some("it is one of several".to_owned()))
        }
        Some(_) | None => Err(None),
    }
}

// === impl Members ===

impl Members {
    fn join<'a>(&mut self, document: &Document, schema: &'a Value, waiting: &mut Vec<&'a Value>) {
        if let Some(kind) = schema.get("type").filter(|kind| *kind != "object" && **kind != serde_json::json!(["object"])) {
            self.any = Some(format!("its type is {kind}, and arguments are members of an object"));
        }
        if let Some(key) = BEYOND.into_iter().find(|key| schema.get(key).is_some()) {
            self.any = Some(format!("its schema has `{key}`"));
        }
        if schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false)) {
            self.any = Some("its schema has `additionalProperties`".to_owned());
        }
        if schema.get("properties").is_some_and(|properties| !properties.is_object()) {
            self.notes.push("the `properties` of its body are no map, and not read".to_owned());
        }
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            self.looked += 1;
            if self.looked > LOOKED_MAX || self.fields.len() > FIELDS_MAX {
                self.are_too_many = true;
                return;
            }
            self.add(document, name, property);
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        self.required.extend(required.filter_map(Value::as_str).map(ToOwned::to_owned).take(LOOKED_MAX + 1));
        self.are_too_many |= self.required.len() > LOOKED_MAX;
        waiting.extend(schema.get("allOf").and_then(Value::as_array).into_iter().flatten().take(JOINED_MAX + 1));
    }

    fn add(&mut self, document: &Document, name: &str, property: &Value) {
        if self.fields.iter().any(|(known, _)| known == name) {
            return;
        }
        // What only the server writes is no argument.
        if document.resolve(property).is_ok_and(|property| property.get("readOnly") == Some(&Value::Bool(true))) {
            self.read_only.push(name.to_owned());
            return;
        }
        let (holds, why) = type_of(document, property);
        self.notes.extend(why.map(|why| format!("its member `{name}` may be anything: {why}")));
        self.notes.extend(document.beside(property).map(|keys| format!("{keys} beside the `$ref` of `{name}`: not read")));
        self.fields.push((name.to_owned(), holds));
    }

    /// A member that must be there, and that nothing describes, cannot be asked for: it would be refused when it comes.
    fn note_ghosts(&mut self) {
        let is_known = |name: &String| self.read_only.contains(name) || self.fields.iter().any(|(known, _)| known == name);
        let ghosts: Vec<String> =
            self.required.iter().filter(|name| !is_known(name)).map(|name| format!("`{name}`")).take(NAMED_MAX).collect();
        if self.any.is_none() && !ghosts.is_empty() {
            self.notes
                .push(format!("its body requires {}, and describes no such member: refused when it comes", ghosts.join(", ")));
        }
    }
}
