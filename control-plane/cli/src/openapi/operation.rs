//! One operation of a document as the rule of a tool, with what it had to leave out.

use super::document::{Document, NAMED_MAX, ReferenceError};
use super::overlap::takes_several;
use super::schema::{members, type_of};
use agentgate_core::rest::{Body, FIELDS_MAX, Field, Parts, Rule, RuleError, Type};
use serde_json::Value;

/// The methods of a path item, in the order in which they are proposed.
pub(super) const METHODS: [&str; 8] = ["get", "head", "post", "put", "patch", "delete", "options", "trace"];

/// A proposed tool.
#[derive(Debug)]
pub(super) struct Tool {
    pub(super) rule: Rule,
    /// The path as the route writes it: without its prefix, with types.
    pub(super) path: String,
    pub(super) notes: Vec<String>,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) document: &'a Document,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) item: &'a Value,
    pub(super) operation: &'a Value,
}

/// A parameter, its own or its path's.
struct Parameter<'a> {
    name: &'a str,
    place: &'a str,
    written: &'a Value,
}

// === impl Place ===

impl Place<'_> {
    /// The tool, or why there is none.
    ///
    /// # Errors
    /// When references run in a loop.
    pub(super) fn tool(&self, name: &str, prefix: &str, host: Option<&str>) -> Result<Result<Tool, String>, ReferenceError> {
        if !self.operation.is_object() {
            return Ok(Err("it is no operation: a map is wanted".to_owned()));
        }
        let mut notes = Vec::new();
        if self.operation.get("servers").is_some() {
            notes.push("it names servers of its own, which are not followed".to_owned());
        }
        let parameters = match self.parameters(&mut notes) {
            Ok(Ok(parameters)) => parameters,
            Ok(Err(why)) => return Ok(Err(why)),
            Err(error) => return left_out(error),
        };
        let path = match self.template(&parameters, &mut notes) {
            Ok(path) => path,
            Err(why) => return Ok(Err(why)),
        };
        let query = match self.query(&parameters, &mut notes) {
            Ok(query) => query,
            Err(why) => return Ok(Err(why)),
        };
        let body = match self.body(&mut notes) {
            Ok(Ok(body)) => body,
            Ok(Err(why)) => return Ok(Err(why)),
            Err(error) => return left_out(error),
        };
        let method = self.method.to_uppercase();
        let host = host.map(ToOwned::to_owned);
        let parts = Parts { tool: name.to_owned(), method, host, path: format!("{prefix}{path}"), query, body };
        Ok(match Rule::new(parts) {
            Ok(rule) => Ok(Tool { rule, path, notes }),
            Err(error) => Err(agentgate_core::error::chain(&error)),
        })
    }

    /// Those of the path, and in their place those of the operation itself; or why they cannot be arguments.
    fn parameters(&self, notes: &mut Vec<String>) -> Result<Result<Vec<Parameter<'_>>, String>, ReferenceError> {
        let mut all: Vec<Parameter<'_>> = Vec::new();
        for written in [self.operation, self.item].into_iter().filter_map(|of| of.get("parameters")) {
            let Some(list) = written.as_array() else {
                notes.push("its `parameters` are no list, and not read: they are refused when they come".to_owned());
                continue;
            };
            for written in list {
                let beside = self.document.beside(written);
                let written = self.document.resolve(written)?;
                let text = |key: &str| written.get(key).and_then(Value::as_str).unwrap_or_default();
                let (name, place) = (text("name"), text("in"));
                notes.extend(beside.map(|keys| format!("{keys} beside the `$ref` of the parameter `{name}`: not read")));
                if !all.iter().any(|known| known.name == name && known.place == place) {
                    all.push(Parameter { name, place, written });
                }
                if all.len() > FIELDS_MAX {
                    return Ok(Err(format!("it has more than {FIELDS_MAX} parameters")));
                }
            }
        }
        Ok(Ok(all))
    }

    /// The path with the types of its parameters, or why it would be read as something else than it says.
    fn template(&self, parameters: &[Parameter<'_>], notes: &mut Vec<String>) -> Result<String, String> {
        if !self.path.starts_with('/') {
            return Err("a path begins with a slash".to_owned());
        }
        let named = |segment: &str| segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).map(ToOwned::to_owned);
        let mut segments: Vec<String> = Vec::new();
        for segment in self.path.split('/') {
            if takes_several(segment) {
                return Err(format!("`{segment}` takes several segments of the path, and an argument takes one"));
            }
            let Some(name) = named(segment) else {
                segments.push(segment.to_owned());
                continue;
            };
            if name.contains(':') {
                return Err(format!("`{name}` is a name with a colon, and what stands behind it would be read as a type"));
            }
            let parameter = parameters.iter().find(|parameter| parameter.place == "path" && parameter.name == name);
            segments.push(parameter.map_or_else(|| segment.to_owned(), |parameter| self.typed(parameter, notes)));
        }
        let is_there = |name: &str| self.path.split('/').any(|segment| named(segment).is_some_and(|known| known == name));
        for Parameter { name, .. } in parameters.iter().filter(|one| one.place == "path" && !is_there(one.name)) {
            notes.push(format!("the parameter `{name}` is said to be in the path, and no segment is `{{{name}}}`"));
        }
        Ok(segments.join("/"))
    }

    /// A segment that is this parameter.
    fn typed(&self, parameter: &Parameter<'_>, notes: &mut Vec<String>) -> String {
        let Parameter { name, .. } = parameter;
        match parameter.holds(self.document).0 {
            Type::String | Type::Any => format!("{{{name}}}"),
            holds @ (Type::Integer | Type::Number | Type::Boolean) => format!("{{{name}:{}}}", holds.name()),
            holds @ (Type::Array | Type::Object) => {
                notes.push(format!("`{name}` in the path is a text here: it is written as {}", holds.name()));
                format!("{{{name}}}")
            }
        }
    }

    fn query(&self, parameters: &[Parameter<'_>], notes: &mut Vec<String>) -> Result<Vec<Field>, String> {
        let mut query = Vec::new();
        for parameter in parameters {
            let Parameter { name, place, .. } = parameter;
            match *place {
                "path" => {}
                "query" => {
                    let (holds, why) = parameter.holds(self.document);
                    let holds = if holds == Type::Any { Type::String } else { holds };
                    if holds.is_text() {
                        notes.extend(why.map(|why| format!("the parameter `{name}` is taken as a text: {why}")));
                        query.push(Field { name: (*name).to_owned(), holds, required: parameter.is_required() });
                    } else if parameter.is_required() {
                        return Err(format!("its required parameter `{name}` is {} in the query", holds.name()));
                    } else {
                        notes.push(format!(
                            "the parameter `{name}` is not mapped, and refused: it is {} in the query",
                            holds.name()
                        ));
                    }
                }
                "header" | "cookie" => notes.push(format!("the {place} `{name}` is no argument: rules do not see it")),
                _ => notes.push(format!("the parameter `{name}` is in `{place}`, which is unknown")),
            }
        }
        Ok(query)
    }

    fn body(&self, notes: &mut Vec<String>) -> Result<Result<Body, String>, ReferenceError> {
        let Some(written) = self.operation.get("requestBody") else { return Ok(Ok(Body::None)) };
        notes.extend(self.document.beside(written).map(|keys| format!("{keys} beside the `$ref` of its body: not read")));
        let written = self.document.resolve(written)?;
        if matches!(self.method, "get" | "head" | "delete") {
            notes.push("its body is not mapped, and refused: by HTTP it means nothing with this method".to_owned());
            return Ok(Ok(Body::None));
        }
        let is_json =
            |kind: &str| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
        let content = || written.get("content").and_then(Value::as_object).into_iter().flatten();
        let others: Vec<&str> = content().map(|(kind, _)| kind.as_str()).filter(|kind| !is_json(kind)).take(NAMED_MAX).collect();
        let Some((_, json)) = content().find(|(kind, _)| is_json(kind)) else {
            let is = if others.is_empty() { "of no type that is named".to_owned() } else { others.join(" or ") };
            return Ok(Err(format!("its body is {is}, and only application/json is read")));
        };
        if !others.is_empty() {
            notes.push(format!("a body of {} is refused: only application/json is read", others.join(" or ")));
        }
        let members = members(self.document, json.get("schema").unwrap_or(&Value::Null));
        if members.are_too_many {
            return Ok(Err(RuleError::TooMany.to_string()));
        }
        notes.extend(members.notes);
        if let Some(why) = members.any {
            notes.push(format!("its body may have any members: {why}"));
            return Ok(Ok(Body::Any));
        }
        let required = |name: &str| members.required.iter().any(|required| required == name);
        let field = |(name, holds): (String, Type)| Field { required: required(&name), name, holds };
        Ok(Ok(Body::Fields(members.fields.into_iter().map(field).collect())))
    }
}

/// A loop is the document's; what leads nowhere is this operation's.
fn left_out<T>(error: ReferenceError) -> Result<Result<T, String>, ReferenceError> {
    match error {
        ReferenceError::Loop(_) | ReferenceError::TooLong(_) => Err(error),
        ReferenceError::Outside(_) | ReferenceError::Nothing(_) => Ok(Err(error.to_string())),
    }
}

// === impl Parameter ===

impl Parameter<'_> {
    fn holds(&self, document: &Document) -> (Type, Option<String>) {
        match self.written.get("schema") {
            Some(schema) => type_of(document, schema),
            // With `content` it is a text in which something else is written.
            None => (Type::Any, Some("it has no schema of its own".to_owned())),
        }
    }

    fn is_required(&self) -> bool {
        self.written.get("required") == Some(&Value::Bool(true))
    }
}
