//! The mapping of a REST route: the rules are core's, so that what passes here the filter takes.

use super::shape::Shape::{Own, Text};
use super::shape::{Member, bounded, choice, elements, name, object, path, text, texts, wrong};
use crate::envoy::plain_path;
use agentgate_core::error::chain;
use agentgate_core::json::{Json, Object};
use agentgate_core::rest::{Body, Field, Parts, Rule, Type};

/// The filter's own, like those of the other fields.
const TOOLS_MAX: usize = 512;

pub(super) const REST: &[Member] =
    &[Member::optional("host", Text), Member::optional("prefix", Own(prefix)), Member::needed("tools", Own(tools))];

const TOOL: &[Member] = &[
    Member::needed("tool", Text),
    Member::needed("method", Text),
    Member::needed("path", Text),
    Member::optional("query", Own(|at, json| fields(at, json, &[]).map(|_| ()))),
    Member::optional("body", Own(|at, json| body(at, json, &[]).map(|_| ()))),
    Member::optional("required", Own(|at, json| texts(at, json).map(|_| ()))),
];

/// A mapping whose rules do not overlap.
pub(super) struct Rest {
    host: Option<String>,
    pub(super) prefix: String,
    rules: Vec<Rule>,
}

pub(super) fn overlap(one: &str, other: &str) -> String {
    format!("`{one}` overlaps with `{other}`: a request could be taken for either")
}

fn prefix(at: &str, json: &Json) -> Result<(), String> {
    let value = text(at, json)?;
    let plain = plain_path(value).is_ok() && !value.ends_with('/') && !value.contains(['{', '}']);
    if plain { Ok(()) } else { Err(path(at, value)) }
}

fn tools(at: &str, json: &Json) -> Result<(), String> {
    let all = elements(at, json)?;
    bounded(at, all, TOOLS_MAX)?;
    all.iter().enumerate().try_for_each(|(index, json)| object(&format!("{at}[{index}]"), json, TOOL).map(|_| ()))
}

// === impl Rest ===

impl Rest {
    /// Of an object whose fields are what they must be.
    pub(super) fn of(at: &str, rest: &Object) -> Result<Self, String> {
        let text = |field: &str| rest.get(field).and_then(Json::as_str).map(ToOwned::to_owned);
        let mut mapping = Self { host: text("host"), prefix: text("prefix").unwrap_or_default(), rules: Vec::new() };
        let tools = rest.get("tools").and_then(Json::as_array).unwrap_or_default();
        for (index, tool) in tools.iter().filter_map(Json::as_object).enumerate() {
            mapping.add(&format!("{at}.tools[{index}]"), tool)?;
        }
        Ok(mapping)
    }

    fn add(&mut self, at: &str, tool: &Object) -> Result<(), String> {
        let parts = parts(at, tool, self.host.clone(), &self.prefix)?;
        let rule = Rule::new(parts).map_err(|error| format!("`{at}` is no mapping: {}", chain(&error)))?;
        let shown = |rule: &Rule| format!("{} {}", rule.parts().method, rule.parts().path);
        if let Some(other) = self.rules.iter().find(|other| other.overlaps(&rule)) {
            return Err(overlap(&shown(&rule), &shown(other)));
        }
        self.rules.push(rule);
        Ok(())
    }

    pub(super) fn covers(&self, path: &str) -> bool {
        self.rules.iter().any(|rule| rule.covers(path))
    }

    /// Whether both take what is below one prefix of one host.
    pub(super) fn shares(&self, other: &Self) -> bool {
        let below =
            |path: &str, prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let hosts = self.host.is_none() || other.host.is_none() || self.host == other.host;
        hosts && (below(&self.prefix, &other.prefix) || below(&other.prefix, &self.prefix))
    }
}

fn parts(at: &str, tool: &Object, host: Option<String>, prefix: &str) -> Result<Parts, String> {
    let text = |field: &str| tool.get(field).and_then(Json::as_str).unwrap_or_default().to_owned();
    let (own, required) = (text("path"), name(at, "required"));
    // What has no slash of its own is not mended by the prefix.
    let path = if prefix.is_empty() || own.starts_with('/') { format!("{prefix}{own}") } else { own };
    let names = tool.get("required").map_or_else(|| Ok(Vec::new()), |json| texts(&required, json))?;
    let body = tool.get("body").map_or(Ok(Body::None), |json| body(&name(at, "body"), json, &names))?;
    let query = tool.get("query").map_or_else(|| Ok(Vec::new()), |json| fields(&name(at, "query"), json, &names))?;
    let members = match &body {
        Body::None | Body::Any => &[][..],
        Body::Fields(members) => members,
    };
    if let Some(name) = names.iter().find(|name| !query.iter().chain(members).any(|field| field.name == **name)) {
        return Err(format!(
            "`{required}`: `{name}` is neither in `query` nor in `body`; what stands in the path is always there"
        ));
    }
    Ok(Parts { tool: text("tool"), method: text("method"), host, path, query, body })
}

fn body(at: &str, json: &Json, required: &[&str]) -> Result<Body, String> {
    if json.as_str().is_some() {
        return match text(at, json)? {
            "any" => Ok(Body::Any),
            other => Err(choice(at, other, "any")),
        };
    }
    let members = fields(at, json, required)?;
    Ok(if members.is_empty() { Body::None } else { Body::Fields(members) })
}

/// The members of an object, each with its type.
fn fields(at: &str, json: &Json, required: &[&str]) -> Result<Vec<Field>, String> {
    let object = json.as_object().ok_or_else(|| wrong(at, "an object"))?;
    let known = || Type::ALL.map(Type::name).join(", ");
    let field = |(key, json): (&str, &Json)| {
        let at = name(at, key);
        let holds = json.as_str().ok_or_else(|| wrong(&at, "a string"))?;
        let holds = Type::parse(holds).ok_or_else(|| choice(&at, holds, &known()))?;
        Ok(Field { name: key.to_owned(), holds, required: required.contains(&key) })
    };
    object.iter().map(field).collect()
}
