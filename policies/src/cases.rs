//! Cases: what a policy is given and what it has to answer, written by its author beside it. Here they are read; `trial`
//! tries them.

use crate::input;
use crate::table::parse_scope;
use crate::yaml::{self, Map, Yaml, YamlError};
use agentgate_core::decide::{Facts, Scope};
use agentgate_core::endpoint::Endpoint;
use agentgate_core::id::{Asker, Handle, Principal, Server, Tenant};
use agentgate_core::json::{Json, Object};
use agentgate_core::mcp::{Kind, Message, Method, Protocol, RequestId, Version};
use agentgate_core::time::Time;
use std::collections::BTreeMap;

const GIVEN: [&str; 16] = [
    "path",
    "at_us",
    "tenant",
    "principal",
    "asker",
    "server",
    "version",
    "method",
    "handle",
    "tool",
    "prompt",
    "resource",
    "task",
    "params",
    "arguments",
    "list",
];
const WANT: [&str; 5] = ["verdict", "rule", "reason", "scope", "hidden"];

/// What is given where a case leaves it out: 2026-01-01T00:00:00Z, and names that mean nothing.
const AT_US: u64 = 1_767_225_600_000_000;
const TENANT: &str = "default";
const PATH: &str = "/mcp";
const PRINCIPAL: &str = "spiffe://agentgate.local/agent/case";
const ASKER: &str = "spiffe://agentgate.local/filter/case";

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub file: String,
    pub line: usize,
    pub name: String,
    pub facts: Facts,
    pub want: Want,
}

#[derive(Clone, Debug)]
pub(crate) enum Want {
    Decision {
        verdict: String,
        rule: String,
        reason: Option<String>,
        scope: Option<Scope>,
    },
    /// Of the tools of `list`, those that are not shown.
    Hidden {
        list: Vec<String>,
        hidden: Vec<String>,
    },
}

/// Reads one file of cases: a list.
pub(crate) fn read(path: &str, text: &str) -> Result<Vec<Case>, YamlError> {
    let document = yaml::read(text)?;
    let mut lines = BTreeMap::new();
    let mut cases = Vec::new();
    for yaml in document.list()? {
        let case = read_case(path, yaml)?;
        if let Some(line) = lines.insert(case.name.clone(), case.line) {
            return Err(yaml.wrong(format!("`{}` is the name of the case in line {line} already", case.name)));
        }
        cases.push(case);
    }
    Ok(cases)
}

fn read_case(path: &str, yaml: &Yaml) -> Result<Case, YamlError> {
    let fields = yaml.fields(&["name", "given", "want"])?;
    let field = |name: &str| fields.get(name).ok_or_else(|| yaml.wrong(format!("`{name}` is missing")));
    let name = field("name")?.text()?.to_owned();
    let in_case = |error: YamlError| YamlError { line: error.line, what: format!("case `{name}`: {}", error.what) };
    let given = field("given")?;
    let facts = read_given(given).map_err(in_case)?;
    let list = given.map()?.get("list");
    let want = read_want(field("want")?, list).map_err(in_case)?;
    Ok(Case { file: path.to_owned(), line: yaml.line, name, facts, want })
}

fn read_given(yaml: &Yaml) -> Result<Facts, YamlError> {
    let fields = yaml.fields(&GIVEN)?;
    let at = match fields.get("at_us") {
        Some(at) => at.text()?.parse().map_err(|_| at.wrong("`at_us` is a number of microseconds"))?,
        None => AT_US,
    };
    let server = fields.get("server").ok_or_else(|| yaml.wrong("`server` is missing"))?;
    Ok(Facts {
        at: Time::from_micros(at),
        tenant: named::<Tenant>(fields, "tenant", TENANT, yaml)?,
        principal: named::<Principal>(fields, "principal", PRINCIPAL, yaml)?,
        asker: named::<Asker>(fields, "asker", ASKER, yaml)?,
        server: named::<Server>(fields, "server", server.text()?, yaml)?,
        endpoint: Endpoint { path: fields.get("path").map_or(Ok(PATH), Yaml::text)?.to_owned(), ..Endpoint::default() },
        reading: Ok(read_message(fields, yaml)?),
        kill: None,
        grant: None,
        denied: None,
    })
}

fn named<'a, N>(fields: &'a Map, field: &str, default: &'a str, yaml: &Yaml) -> Result<N, YamlError>
where
    N: TryFrom<&'a str>,
    N::Error: std::fmt::Display,
{
    let (text, place) = match fields.get(field) {
        Some(value) => (value.text()?, value),
        None => (default, yaml),
    };
    N::try_from(text).map_err(|error| place.wrong(error.to_string()))
}

fn read_message(fields: &Map, yaml: &Yaml) -> Result<Message, YamlError> {
    let place = fields.get("method").ok_or_else(|| yaml.wrong("`method` is missing"))?;
    let method = method_of(place.text()?).ok_or_else(|| place.wrong("this is no method"))?;
    let protocol = read_protocol(fields, method, place)?;
    let target = read_target(fields, method)?;
    let params = read_params(fields, method, target.as_deref())?;
    let handle = match fields.get("handle") {
        Some(handle) => Some(Handle::try_from(handle.text()?).map_err(|error| handle.wrong(error.to_string()))?),
        None => None,
    };
    Ok(Message { protocol, kind: kind_of(method), method, target, params, handle })
}

fn method_of(name: &str) -> Option<Method> {
    Method::ALL.into_iter().find(|method| method.name() == name)
}

/// The newest that has the method, if the case names none.
fn read_protocol(fields: &Map, method: Method, place: &Yaml) -> Result<Protocol, YamlError> {
    let Some(version) = fields.get("version") else {
        let newest = Version::ALL.into_iter().rev().find(|version| method.is_in(*version));
        return newest.map(Protocol::Mcp).ok_or_else(|| place.wrong("no version has this method"));
    };
    let known = Protocol::parse(version.text()?.as_bytes()).ok_or_else(|| version.wrong("this is no version that is read"))?;
    let is_in = match known {
        Protocol::Mcp(version) => method.is_in(version),
        // Whatever is asked of a REST server is a tool's call.
        Protocol::Rest => method == Method::ToolsCall,
    };
    if !is_in {
        return Err(version.wrong(format!("{} has no `{}`", known.as_str(), method.name())));
    }
    Ok(known)
}

/// What form a message of this method has.
pub(crate) fn kind_of(method: Method) -> Kind {
    let id = RequestId::Number("1".to_owned());
    if method == Method::Response {
        Kind::Response(id)
    } else if method == Method::Open {
        Kind::Open
    } else if method == Method::End {
        Kind::End
    } else if method.is_notification() {
        Kind::Notification
    } else {
        Kind::Request(id)
    }
}

/// What the method acts on, under the name that the input document has for it.
fn read_target(fields: &Map, method: Method) -> Result<Option<String>, YamlError> {
    for name in ["tool", "prompt", "resource", "task"] {
        if let Some(value) = fields.get(name) {
            if input::target_name(method) != Some(name) {
                return Err(value.wrong(format!("`{}` acts on no `{name}`", method.name())));
            }
            return Ok(Some(value.text()?.to_owned()));
        }
    }
    Ok(None)
}

/// `params` as the message would carry them: the target and the arguments are in them.
fn read_params(fields: &Map, method: Method, target: Option<&str>) -> Result<Option<Object>, YamlError> {
    let mut params = match fields.get("params") {
        Some(params) => Some(params.map()?.to_json()),
        None => None,
    };
    if let (Some(key), Some(target)) = (method.target_key(), target) {
        params.get_or_insert_default().set(key, target);
    }
    if let Some(arguments) = fields.get("arguments") {
        params.get_or_insert_default().set("arguments", Json::Object(arguments.map()?.to_json()));
    }
    Ok(params)
}

fn read_want(yaml: &Yaml, list: Option<&Yaml>) -> Result<Want, YamlError> {
    let fields = yaml.fields(&WANT)?;
    match (list, fields.get("hidden")) {
        (Some(list), Some(hidden)) => {
            if fields.iter().count() > 1 {
                return Err(yaml.wrong("a case about a list wants `hidden` and nothing else"));
            }
            return Ok(Want::Hidden { list: texts(list)?, hidden: texts(hidden)? });
        }
        (Some(list), None) => return Err(list.wrong("a case with a `list` wants `hidden`")),
        (None, Some(hidden)) => return Err(hidden.wrong("`hidden` needs a `list` that is given")),
        (None, None) => {}
    }
    let field = |name: &str| fields.get(name).ok_or_else(|| yaml.wrong(format!("`{name}` is missing")));
    let verdict = field("verdict")?;
    if !["allow", "pending", "deny"].contains(&verdict.text()?) {
        return Err(verdict.wrong("a verdict is `allow`, `pending` or `deny`"));
    }
    let scope = match fields.get("scope") {
        Some(scope) => Some(parse_scope(scope.text()?).ok_or_else(|| scope.wrong("a scope is `read` or `write`"))?),
        None => None,
    };
    let reason = fields.get("reason").map(Yaml::text).transpose()?.map(ToOwned::to_owned);
    Ok(Want::Decision { verdict: verdict.text()?.to_owned(), rule: field("rule")?.text()?.to_owned(), reason, scope })
}

fn texts(yaml: &Yaml) -> Result<Vec<String>, YamlError> {
    yaml.list()?.iter().map(|element| Ok(element.text()?.to_owned())).collect()
}

#[cfg(test)]
mod tests;
