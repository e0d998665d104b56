//! Reads what a server says of one of its tools in `tools/list`: its arguments and its hints. Whatever it cannot take for
//! certain it calls unknown, and says why.

use crate::arguments::{Arguments, Type, Types};
use crate::table::Tag;
use agentgate_core::decide::Scope;
use agentgate_core::json::{self, Bounds, Fault, Json, Keys, Object};
use thiserror::Error;

/// One tool's definition. A description may be long; its schema has to be read by a person too.
pub const DEFINITION_BYTES_MAX: usize = 256 * 1_024;

/// Far more than a schema that a person wrote, far less than what takes long.
const BOUNDS: Bounds = Bounds { depth_max: 64, number_bytes_max: 64, values_max: 16_384 };

/// With one of these a schema may have more properties than `properties` names.
const OPENING: [&str; 12] = [
    "$ref",
    "$dynamicRef",
    "$recursiveRef",
    "allOf",
    "anyOf",
    "oneOf",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependencies",
    "patternProperties",
];

/// What a tool's definition says, as far as a tool table asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definition {
    /// None: its schema does not say which arguments there are.
    pub arguments: Option<Arguments>,
    /// `readOnlyHint`.
    pub read_only: Option<bool>,
    /// `destructiveHint`.
    pub destructive: Option<bool>,
    /// Why something was left out.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DefinitionError {
    #[error("the definition is larger than {DEFINITION_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the definition cannot be read")]
    Json(#[source] Fault),
    #[error("the definition is no object")]
    NoObject,
}

/// Reads an element of `tools` as a server wrote it.
///
/// # Errors
/// When `json` is no JSON object, or is too much.
pub fn definition(json: &[u8]) -> Result<Definition, DefinitionError> {
    if json.len() > DEFINITION_BYTES_MAX {
        return Err(DefinitionError::TooLarge);
    }
    let Json::Object(tool) = json::read(json, BOUNDS, Keys::Exact).map_err(DefinitionError::Json)? else {
        return Err(DefinitionError::NoObject);
    };
    let hints = tool.get("annotations").and_then(Json::as_object);
    let mut notes = Vec::new();
    let mut hint = |name: &str| {
        let written = hints?.get(name)?;
        if written.as_bool().is_none() {
            notes.push(format!("`{name}` is of type {}, which is no hint", Type::of(written).name()));
        }
        written.as_bool()
    };
    let (read_only, destructive) = (hint("readOnlyHint"), hint("destructiveHint"));
    let arguments = match arguments(&tool) {
        Ok(arguments) => Some(arguments),
        Err(why) => {
            notes.push(format!("its arguments are left out: {why}"));
            None
        }
    };
    Ok(Definition { arguments, read_only, destructive, notes })
}

// === impl Definition ===

impl Definition {
    /// Unclear means gated: only what says that it reads, and not that it destroys, is proposed as open.
    #[must_use]
    pub fn tag(&self) -> Tag {
        if self.reads_only() { Tag::Open } else { Tag::Gated }
    }

    #[must_use]
    pub fn scope(&self) -> Scope {
        if self.reads_only() { Scope::Read } else { Scope::Write }
    }

    fn reads_only(&self) -> bool {
        self.read_only == Some(true) && self.destructive != Some(true)
    }
}

/// The names and types of the schema's properties, or why they are not all that a call may have.
fn arguments(tool: &Object) -> Result<Arguments, String> {
    let Some(Json::Object(schema)) = tool.get("inputSchema") else {
        return Err("there is no `inputSchema`".to_owned());
    };
    if schema.get("type").and_then(Json::as_str) != Some("object") {
        return Err("the schema's `type` is not `object`".to_owned());
    }
    if let Some(key) = OPENING.into_iter().find(|key| schema.get(key).is_some()) {
        return Err(format!("the schema has `{key}`, which may allow other arguments than `properties` names"));
    }
    let closed = match schema.get("additionalProperties") {
        None => false,
        Some(Json::Bool(false)) => true,
        Some(_) => return Err("the schema's `additionalProperties` allow any other argument".to_owned()),
    };
    let mut arguments = Arguments::default();
    match schema.get("properties") {
        Some(Json::Object(properties)) => {
            for (name, property) in properties.iter() {
                arguments.insert(name, types(property)).map_err(|error| error.to_string())?;
            }
            Ok(arguments)
        }
        None if closed => Ok(arguments),
        None => Err("the schema names no `properties` and allows any".to_owned()),
        Some(_) => Err("the schema's `properties` are no object".to_owned()),
    }
}

/// What `type` says, or each schema of `anyOf`; anything else may be anything.
fn types(property: &Json) -> Types {
    let Json::Object(schema) = property else { return Types::Any };
    if let Some(plain) = plain_type(schema) {
        return plain;
    }
    let choices = ["anyOf", "oneOf"].into_iter().find_map(|key| schema.get(key)).and_then(Json::as_array);
    let of_choice = |choice: &Json| choice.as_object().and_then(plain_type);
    let all: Option<Vec<Types>> =
        choices.filter(|_| schema.get("type").is_none()).and_then(|all| all.iter().map(of_choice).collect());
    all.and_then(|all| all.into_iter().reduce(|one, other| one.with(&other))).unwrap_or(Types::Any)
}

fn plain_type(schema: &Object) -> Option<Types> {
    match schema.get("type")? {
        Json::String(name) => Type::parse(name).map(Types::one),
        Json::Array(names) if !names.is_empty() => {
            names.iter().map(|name| Type::parse(name.as_str()?)).collect::<Option<_>>().map(Types::Of)
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

#[cfg(test)]
mod tests;
