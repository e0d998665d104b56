//! The tools of a REST route. Two that one request could be taken for are no configuration, here and across routes.
//!
//! ```json
//! { "server": "billing",
//!   "rest": { "host": "billing.example", "prefix": "/api",
//!             "tools": [ { "tool": "get_invoice", "method": "GET", "path": "/invoices/{id:integer}",
//!                          "query": { "lines": "boolean" } },
//!                        { "tool": "pay_invoice", "method": "POST", "path": "/invoices/{id:integer}/payments",
//!                          "body": { "amount": "number", "note": "string" }, "required": ["amount"] } ] } }
//! ```
//! `tools` must be there, each with `tool`, `method` and `path`. Without `host` any is taken, without `prefix` all paths are.
//! A segment of `path` is fixed or a field; a field's type is `string`, if it says no other. A segment holds what is not its
//! type as little as another path: `/invoices/{id:integer}` and `/invoices/new` do not overlap.
//! `query` and `body` name the parameters and the members that a request may have, each with its type; `"body": "any"` takes
//! any object, and without `body` there must be none. `required` names those that must be there.
//!
//! The names of all three are the arguments of the tool: none may be there twice.

use super::field::Fields;
use super::{ConfigError, Route, is_plain};
use crate::fold;
use crate::rest::{Body, Field, Parts, Rule, Type, is_host};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Tools of one route. Each is compared with every request below its prefix.
pub const TOOLS_MAX: usize = 512;

/// Which requests of a route are calls of which tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    pub host: Option<String>,
    /// No two overlap.
    pub rules: Vec<Rule>,
}

/// What stands before the path of each tool; empty: nothing does.
pub(super) fn prefix<'a>(fields: &Fields<'a>) -> Result<&'a str, ConfigError> {
    let Some(prefix) = fields.text("prefix")? else { return Ok("") };
    if is_plain(prefix) && !prefix.ends_with('/') && !prefix.contains(['{', '}']) {
        Ok(prefix)
    } else {
        Err(ConfigError::Path { field: fields.name("prefix"), value: prefix.to_owned() })
    }
}

/// Whether both routes could take one request.
pub(super) fn overlap(one: &Route, other: &Route) -> bool {
    match (&one.rest, &other.rest) {
        // Names of one path that a server may not tell apart; the same name twice is told otherwise.
        (None, None) => fold::key(&one.path) == fold::key(&other.path),
        (Some(rest), None) => rest.covers(&other.path),
        (None, Some(rest)) => rest.covers(&one.path),
        (Some(a), Some(b)) => {
            let hosts = a.host.is_none() || b.host.is_none() || a.host == b.host;
            hosts && (is_below(&one.path, &other.path) || is_below(&other.path, &one.path))
        }
    }
}

/// In whatever case: to many servers `/V` is `/v`.
fn is_below(path: &str, prefix: &str) -> bool {
    below(fold::key(path).as_bytes(), &fold::key(prefix))
}

/// Of a path without query: whether it is the prefix, or goes on behind it with a slash.
fn below(path: &[u8], prefix: &str) -> bool {
    path.strip_prefix(prefix.as_bytes()).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

// === impl Rest ===

impl Rest {
    pub(super) fn of(fields: &Fields<'_>, prefix: &str) -> Result<Self, ConfigError> {
        fields.only(&["host", "prefix", "tools"])?;
        let host = fields.text("host")?.map(ToOwned::to_owned);
        let tools = fields.objects("tools")?.ok_or_else(|| ConfigError::Missing { field: fields.name("tools") })?;
        if tools.is_empty() {
            return Err(ConfigError::Empty { field: fields.name("tools") });
        }
        if tools.len() > TOOLS_MAX {
            return Err(ConfigError::TooMany { field: fields.name("tools"), max: TOOLS_MAX });
        }
        let mut rules: Vec<Rule> = Vec::with_capacity(tools.len());
        for tool in tools {
            let parts = parts(&tool, host.clone(), prefix)?;
            let rule = Rule::new(parts).map_err(|source| ConfigError::Rule { field: tool.place().to_owned(), source })?;
            if let Some(other) = rules.iter().find(|other| other.overlaps(&rule)) {
                let other = format!("{} {}", other.parts().method, other.parts().path);
                return Err(ConfigError::Overlap { field: format!("{} {}", rule.parts().method, rule.parts().path), other });
            }
            rules.push(rule);
        }
        Ok(Self { host, rules })
    }

    pub(super) fn takes(&self, prefix: &str, path: &[u8], authority: &[u8]) -> bool {
        below(path, prefix) && self.host.as_ref().is_none_or(|host| is_host(authority, host))
    }

    fn covers(&self, path: &str) -> bool {
        self.rules.iter().any(|rule| rule.covers(path))
    }
}

fn parts(fields: &Fields<'_>, host: Option<String>, prefix: &str) -> Result<Parts, ConfigError> {
    fields.only(&["tool", "method", "path", "query", "body", "required"])?;
    let text = |field: &str| fields.text(field)?.ok_or_else(|| ConfigError::Missing { field: fields.name(field) });
    let (tool, method, path) = (text("tool")?.to_owned(), text("method")?.to_owned(), text("path")?);
    let path = if prefix.is_empty() || path.starts_with('/') { format!("{prefix}{path}") } else { path.to_owned() };
    let required = fields.texts("required")?.unwrap_or_default();
    let body = body(fields, &required)?;
    let query = arguments(fields, "query", &required)?;
    let body_fields = match &body {
        Body::None | Body::Any => &[][..],
        Body::Fields(members) => members,
    };
    for name in &required {
        if !query.iter().chain(body_fields).any(|field| field.name == *name) {
            return Err(ConfigError::Required { field: fields.name("required"), value: name.clone() });
        }
    }
    Ok(Parts { tool, method, host, path, query, body })
}

fn body(fields: &Fields<'_>, required: &[String]) -> Result<Body, ConfigError> {
    if fields.is_text("body") {
        return Ok(fields.choice("body", &[("any", ())])?.map_or(Body::None, |()| Body::Any));
    }
    let members = arguments(fields, "body", required)?;
    Ok(if members.is_empty() { Body::None } else { Body::Fields(members) })
}

fn arguments(fields: &Fields<'_>, of: &str, required: &[String]) -> Result<Vec<Field>, ConfigError> {
    let field = |(name, holds): (&str, &str)| {
        let known = || Type::ALL.map(Type::name).join(", ");
        let field = || format!("{}.{name}", fields.name(of));
        let holds =
            Type::parse(holds).ok_or_else(|| ConfigError::Choice { field: field(), value: holds.to_owned(), known: known() })?;
        Ok(Field { name: name.to_owned(), holds, required: required.iter().any(|required| required == name) })
    };
    fields.pairs(of)?.into_iter().map(field).collect()
}

#[cfg(test)]
mod tests;
