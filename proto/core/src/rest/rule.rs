//! Which requests are calls of a tool, and which of their parts are its arguments. A rule that could be read in two ways is none.

use super::kind::Type;
use super::template::{Template, TemplateError};
use crate::fold;
use crate::id::NAME_BYTES_MAX;
use alloc::string::String;
use alloc::vec::Vec;
use thiserror::Error;

/// Arguments of one tool. Each is looked for in every call of it.
pub const FIELDS_MAX: usize = 128;

/// The methods that a rule may name. OPTIONS asks about a resource and calls nothing, TRACE and CONNECT are not for tools.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
/// Those whose body means nothing by HTTP: one server reads it, and the next drops it.
const BODILESS: [&str; 3] = ["GET", "HEAD", "DELETE"];

/// A rule as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    pub tool: String,
    /// Of HTTP, in capitals.
    pub method: String,
    /// Lower case, without port. None: whatever host is asked for.
    pub host: Option<String>,
    /// Whole, the route's prefix included.
    pub path: String,
    pub query: Vec<Field>,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A body makes the request malformed.
    None,
    /// An object with these members and no others.
    Fields(Vec<Field>),
    /// An object: whatever it holds are arguments.
    Any,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub holds: Type,
    pub required: bool,
}

/// A rule that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    parts: Parts,
    pub(super) path: Template,
}

/// Why a rule is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    #[error("`{0}` is no name of a tool")]
    Tool(String),
    #[error("the HTTP method `{method}` cannot be mapped: take one of {known}", known = METHODS.join(", "))]
    Method { method: String },
    #[error("`{0}` is no host: write it in lower case and without a port")]
    Host(String),
    #[error("the path `{path}` cannot be read")]
    Path {
        path: String,
        #[source]
        source: TemplateError,
    },
    #[error("a {method} has no body to take arguments from")]
    Bodiless { method: String },
    #[error("`{0}` is no name of an argument that can stand there")]
    Name(String),
    #[error("the query parameter `{name}` cannot be of type `{holds}`: take one of string, integer, number, boolean")]
    QueryType { name: String, holds: &'static str },
    #[error("`{one}` and `{other}` would be one argument from two places")]
    Twice { one: String, other: String },
    #[error("it has more than {FIELDS_MAX} arguments")]
    TooMany,
}

// === impl Rule ===

impl Rule {
    /// # Errors
    /// The first thing that could be read in two ways, or not at all.
    pub fn new(parts: Parts) -> Result<Self, RuleError> {
        if !fold::is_plain(&parts.tool) || parts.tool.len() > NAME_BYTES_MAX {
            return Err(RuleError::Tool(parts.tool));
        }
        if !METHODS.contains(&parts.method.as_str()) {
            return Err(RuleError::Method { method: parts.method });
        }
        if let Some(host) = parts.host.as_ref().filter(|host| !is_host(host)) {
            return Err(RuleError::Host(host.clone()));
        }
        let path = match Template::parse(&parts.path) {
            Ok(path) => path,
            Err(source) => return Err(RuleError::Path { path: parts.path, source }),
        };
        if BODILESS.contains(&parts.method.as_str()) && parts.body != Body::None {
            return Err(RuleError::Bodiless { method: parts.method });
        }
        check_query(&parts.query)?;
        check_names(&path, &parts)?;
        Ok(Self { parts, path })
    }

    #[must_use]
    pub const fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Whether some request could be taken for a call of both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let hosts = match (&self.parts.host, &other.parts.host) {
            (Some(one), Some(other)) => one == other,
            (None, _) | (_, None) => true,
        };
        hosts && self.parts.method == other.parts.method && self.path.overlaps(&other.path)
    }

    /// Whether a request to `path`, which is no template, could be taken for a call of this.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        Template::parse(path).is_ok_and(|path| self.path.overlaps(&path))
    }

    /// The names of all arguments and what each holds: path, query, body. None: the body may have any others.
    #[must_use]
    pub fn arguments(&self) -> Option<impl Iterator<Item = (&str, Type)>> {
        let others = self.parts.query.iter().chain(self.body_fields());
        let all = self.path.fields().chain(others.map(|field| (field.name.as_str(), field.holds)));
        (self.parts.body != Body::Any).then_some(all)
    }

    pub(super) fn body_fields(&self) -> &[Field] {
        match &self.parts.body {
            Body::None | Body::Any => &[],
            Body::Fields(fields) => fields,
        }
    }
}

fn check_query(query: &[Field]) -> Result<(), RuleError> {
    for Field { name, holds, required: _ } in query {
        // What is compared with the bytes of a key: nothing in it may be encoded, or part one pair from the next.
        if !name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'&' | b'=' | b'#' | b';' | b'+' | b'%')) {
            return Err(RuleError::Name(name.clone()));
        }
        if !holds.is_text() {
            return Err(RuleError::QueryType { name: name.clone(), holds: holds.name() });
        }
    }
    Ok(())
}

/// No two arguments may look like one: which of them would a rule of a policy see?
fn check_names(path: &Template, parts: &Parts) -> Result<(), RuleError> {
    let body = match &parts.body {
        Body::None | Body::Any => &[][..],
        Body::Fields(fields) => fields,
    };
    let others = parts.query.iter().chain(body).map(|field| field.name.as_str());
    let names: Vec<&str> = path.fields().map(|(name, _)| name).chain(others).collect();
    if names.len() > FIELDS_MAX {
        return Err(RuleError::TooMany);
    }
    let mut folded: Vec<(String, &str)> = Vec::with_capacity(names.len());
    for name in names {
        if !fold::is_plain(name) || name.len() > NAME_BYTES_MAX {
            return Err(RuleError::Name(name.into()));
        }
        let key = fold::form_key(name);
        if let Some((_, one)) = folded.iter().find(|(known, _)| *known == key) {
            return Err(RuleError::Twice { one: (*one).into(), other: name.into() });
        }
        folded.push((key, name));
    }
    Ok(())
}

fn is_host(text: &str) -> bool {
    let may_hold = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_');
    let is_name = !text.is_empty() && text.bytes().all(may_hold);
    let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    is_name || inside.is_some_and(|text| !text.is_empty() && text.bytes().all(|byte| may_hold(byte) || byte == b':'))
}

#[cfg(test)]
mod tests;
