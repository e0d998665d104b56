//! What is proposed for a whole document: the tools that can be mapped, and notes on all that cannot.

use super::document::{Document, DocumentError};
use super::operation::{METHODS, Place, Tool};
use super::overlap::{LeftOut, requests, would_take};
use agentgate_core::id::Server;
use agentgate_core::rest::{Parts, Rule};
use serde_json::Value;

/// As many as one route of the filter takes.
pub(super) const TOOLS_MAX: usize = 512;

/// As many as are looked at: each that is left out is compared with each tool. The largest public documents have some thousand.
pub(super) const OPERATIONS_MAX: usize = 4096;

/// What a path item has besides its methods.
const ITEM_KEYS: [&str; 5] = ["$ref", "summary", "description", "servers", "parameters"];

/// What the command line says in the document's place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted<'a> {
    pub(super) server: Option<&'a str>,
    pub(super) base_path: Option<&'a str>,
    pub(super) host: Option<&'a str>,
}

#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) server: String,
    pub(super) prefix: String,
    pub(super) host: Option<String>,
    pub(super) tools: Vec<Tool>,
    /// Operations that are not mapped, each with its reason.
    pub(super) left_out: Vec<LeftOut>,
    /// What is different from the document where something is mapped.
    pub(super) notes: Vec<String>,
}

// === impl Proposal ===

impl Proposal {
    /// # Errors
    /// When the document as a whole gives no mapping.
    pub(super) fn of(document: &Document, wanted: &Wanted<'_>) -> Result<Self, DocumentError> {
        let root = document.root();
        let server = wanted.server.map_or_else(|| slug(root), ToOwned::to_owned);
        Server::try_from(server.as_str()).map_err(|_| DocumentError::Server(server.clone()))?;
        let mut notes = Vec::new();
        let prefix = match wanted.base_path {
            Some("/") => String::new(),
            Some(path) => path.to_owned(),
            None => base_path(root, &mut notes),
        };
        check_base(&prefix, wanted.host)?;
        let host = wanted.host.map(ToOwned::to_owned);
        let mut proposal = Self { server, prefix, host, tools: Vec::new(), left_out: Vec::new(), notes };
        for key in ["webhooks"].into_iter().filter(|key| root.get(key).is_some()) {
            proposal.notes.push(format!("`{key}` are calls of the server, and not mapped"));
        }
        let paths = root.get("paths").and_then(Value::as_object).ok_or(DocumentError::NoPaths)?;
        if paths.len() > OPERATIONS_MAX {
            return Err(DocumentError::TooLarge(OPERATIONS_MAX));
        }
        for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
            proposal.add(document, path, item)?;
        }
        proposal.drop_overlaps();
        proposal.drop_takers();
        if proposal.tools.is_empty() {
            return Err(DocumentError::nothing(&proposal.reasons()));
        }
        Ok(proposal)
    }

    /// What is left out and why, a line each.
    pub(super) fn reasons(&self) -> Vec<String> {
        self.left_out.iter().map(|LeftOut { called, why, .. }| format!("{called}: {why}")).collect()
    }

    fn add(&mut self, document: &Document, path: &str, written: &Value) -> Result<(), DocumentError> {
        let item = document.resolve(written)?;
        if written.get("$ref").is_some() {
            self.look_at_keys(path, written, |_| Some("it stands beside a `$ref`, and one of the two counts"))?;
            self.notes.extend(document.beside(written).map(|keys| format!("`{path}`: {keys} beside a `$ref`: not read")));
        }
        let Some(keys) = item.as_object() else {
            self.notes.push(format!("`{path}` is no path item, and names no operation: a map is wanted"));
            return Ok(());
        };
        if keys.contains_key("servers") {
            self.notes.push(format!("`{path}` names servers of its own, which are not followed"));
        }
        self.look_at_keys(path, item, |key| (!METHODS.contains(&key)).then_some("OpenAPI writes its method in lower case"))?;
        for method in METHODS {
            let Some(operation) = item.get(method) else { continue };
            let called = format!("{} {path}", method.to_uppercase());
            let name = self.name(operation, method, path, &called);
            let place = Place { document, method, path, item, operation };
            match place.tool(&name, &self.prefix, self.host.as_deref())? {
                Ok(mut tool) => {
                    self.notes.extend(tool.notes.drain(..).map(|note| format!("{called}: {note}")));
                    self.tools.push(tool);
                }
                Err(why) => self.leave_out(method, path, why)?,
            }
            if self.tools.len() > TOOLS_MAX {
                return Err(DocumentError::TooMany(TOOLS_MAX));
            }
        }
        Ok(())
    }

    /// Methods that cannot count, and keys that mean nothing here, by name.
    fn look_at_keys(&mut self, path: &str, item: &Value, why: impl Fn(&str) -> Option<&str>) -> Result<(), DocumentError> {
        for key in item.as_object().into_iter().flat_map(|item| item.keys()) {
            let method = METHODS.into_iter().find(|method| method.eq_ignore_ascii_case(key));
            match (method, why(key)) {
                (Some(method), Some(why)) => self.leave_out(method, path, format!("`{key}`: {why}"))?,
                (Some(_), None) => {}
                (None, _) if ITEM_KEYS.contains(&key.as_str()) || key.starts_with("x-") => {}
                (None, _) if self.notes.len() > OPERATIONS_MAX => return Err(DocumentError::TooLarge(OPERATIONS_MAX)),
                (None, _) => self.notes.push(format!("`{path}` has the key `{key}`, which is not known, and not mapped")),
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, method: &str, path: &str, why: String) -> Result<(), DocumentError> {
        if self.left_out.len() >= OPERATIONS_MAX {
            return Err(DocumentError::TooLarge(OPERATIONS_MAX));
        }
        let rules = requests(method, self.host.as_deref(), &self.prefix, path);
        self.left_out.push(LeftOut { called: format!("{} {path}", method.to_uppercase()), why, rules });
        Ok(())
    }

    /// The operation's own name, or one made of method and path; never one that another tool has.
    fn name(&mut self, operation: &Value, method: &str, path: &str, called: &str) -> String {
        let named = operation.get("operationId").and_then(Value::as_str).filter(|name| is_name(name));
        let name = named.map_or_else(|| made(method, path), ToOwned::to_owned);
        let is_taken = |name: &str| self.tools.iter().any(|tool| tool.rule.parts().tool == name);
        if !is_taken(&name) {
            return name;
        }
        let free = (2..).map(|n| format!("{name}_{n}")).find(|name| !is_taken(name)).unwrap_or_default();
        self.notes.push(format!("{called}: it is the tool `{free}`, since another one is `{name}`"));
        free
    }

    /// Of two tools that one request could be taken for, the one goes that takes more paths, or comes later.
    fn drop_overlaps(&mut self) {
        let mut kept: Vec<Tool> = Vec::with_capacity(self.tools.len());
        let mut tools = std::mem::take(&mut self.tools);
        tools.sort_by_key(|tool| tool.path.matches('{').count());
        for tool in tools {
            match kept.iter().find(|other| other.rule.overlaps(&tool.rule)) {
                Some(other) => {
                    let why = format!("it overlaps with {}; a request could be taken for either", shown(&other.rule));
                    self.left_out.push(LeftOut { called: shown(&tool.rule), why, rules: vec![tool.rule] });
                }
                None => kept.push(tool),
            }
        }
        kept.sort_by(|one, other| key(one).cmp(&key(other)));
        self.tools = kept;
    }

    /// A tool that would take requests of what is left out goes as well: they would pass as its calls, and not be refused.
    fn drop_takers(&mut self) {
        let left_out = &self.left_out;
        let taken = |tool: &Tool| left_out.iter().find(|one| would_take(&tool.rule, one)).map(|one| one.called.clone());
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        for tool in std::mem::take(&mut self.tools) {
            match taken(&tool) {
                None => kept.push(tool),
                Some(other) => {
                    let why = format!(
                        "it would take requests for {other}, which is not mapped, as calls of `{}`; give its field a type that \
                         they do not fit, or write it into the route yourself where that may be",
                        tool.rule.parts().tool
                    );
                    dropped.push(LeftOut { called: shown(&tool.rule), why, rules: vec![tool.rule] });
                }
            }
        }
        self.tools = kept;
        self.left_out.extend(dropped);
    }
}

fn shown(rule: &Rule) -> String {
    format!("{} {}", rule.parts().method, rule.parts().path)
}

fn key(tool: &Tool) -> (&str, &str) {
    let Parts { path, method, .. } = tool.rule.parts();
    (path, method)
}

/// The path of the first server.
fn base_path(root: &Value, notes: &mut Vec<String>) -> String {
    let servers = root.get("servers").and_then(Value::as_array);
    let Some(url) = servers.and_then(|servers| servers.first()?.get("url")?.as_str()) else { return String::new() };
    if servers.is_some_and(|servers| servers.len() > 1) {
        notes.push(format!("it names several servers; the base path is that of `{url}`"));
    }
    let behind_host = |rest: &str| rest.find('/').and_then(|at| rest.get(at..).map(ToOwned::to_owned)).unwrap_or_default();
    let path = url.split_once("://").map_or_else(|| url.to_owned(), |(_, rest)| behind_host(rest));
    path.trim_end_matches('/').to_owned()
}

fn check_base(prefix: &str, host: Option<&str>) -> Result<(), DocumentError> {
    use agentgate_core::rest::{Body, RuleError};
    let is_prefix = prefix.is_empty() || (prefix.starts_with('/') && !prefix.ends_with('/') && !prefix.contains(['{', '}']));
    let method = "GET".to_owned();
    let (tool, host, path) = ("x".to_owned(), host.map(ToOwned::to_owned), format!("{prefix}/x"));
    match Rule::new(Parts { tool, method, host, path, query: Vec::new(), body: Body::None }) {
        Err(RuleError::Host(host)) => Err(DocumentError::Host(host)),
        Ok(_) if is_prefix => Ok(()),
        Ok(_) | Err(_) => Err(DocumentError::BasePath(prefix.to_owned())),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 128 && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `GET /invoices/{id}/lines` is `get_invoices_id_lines`.
fn made(method: &str, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    [method].into_iter().chain(words).collect::<Vec<_>>().join("_").to_lowercase()
}

/// The title as a name.
fn slug(root: &Value) -> String {
    let title = root.pointer("/info/title").and_then(Value::as_str).unwrap_or_default().to_lowercase();
    let words: Vec<&str> = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "rest".to_owned() } else { words.join("-") }
}
