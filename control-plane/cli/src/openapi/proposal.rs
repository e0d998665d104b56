//! What is proposed for a whole document: the tools that can be mapped, and notes on all that cannot.

use super::document::{Document, DocumentError};
use super::operation::{METHODS, Place, Tool};
use agentgate_core::id::Server;
use agentgate_core::rest::{Parts, Rule};
use serde_json::Value;

/// As many as one route of the filter takes.
pub(super) const TOOLS_MAX: usize = 512;

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
    pub(super) left_out: Vec<String>,
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
        for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
            proposal.add(document, path, item)?;
        }
        proposal.drop_overlaps();
        if proposal.tools.is_empty() {
            return Err(DocumentError::Nothing(proposal.left_out.join("; ")));
        }
        Ok(proposal)
    }

    fn add(&mut self, document: &Document, path: &str, item: &Value) -> Result<(), DocumentError> {
        let item = document.resolve(item)?;
        if item.get("servers").is_some() {
            self.notes.push(format!("`{path}` names servers of its own, which are not followed"));
        }
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
                Err(why) => self.left_out.push(format!("{called}: {why}")),
            }
            if self.tools.len() > TOOLS_MAX {
                return Err(DocumentError::TooMany(TOOLS_MAX));
            }
        }
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
                    let shown = |rule: &Rule| format!("{} {}", rule.parts().method, rule.parts().path);
                    let (one, other) = (shown(&tool.rule), shown(&other.rule));
                    self.left_out.push(format!("{one}: it overlaps with {other}; a request could be taken for either"));
                }
                None => kept.push(tool),
            }
        }
        kept.sort_by(|one, other| key(one).cmp(&key(other)));
        self.tools = kept;
    }
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
