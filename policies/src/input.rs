//! The input document, version 1: what a rule of a policy sees of one call. It is made of the facts alone.
//!
//! `policies/README.md` writes it down for authors, and a test holds the two together. A field that is not there is absent,
//! never null.

use crate::engine::{Document, Inexact};
use crate::syntax::Step;
use agentgate_core::decide::Facts;
use agentgate_core::mcp::{Kind, Message, Method};

/// Raised whenever a field changes its meaning or goes; a field more is no new version.
pub(crate) const VERSION: u64 = 1;

/// A field of the document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub name: &'static str,
    pub holds: Holds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// One value: nothing is below it.
    Scalar,
    /// What the agent wrote: anything may be below it.
    Anything,
    /// The names that a `tools/list` answer holds, below `tools`.
    List,
}

const fn field(name: &'static str, holds: Holds) -> Field {
    Field { name, holds }
}

pub(crate) const FIELDS: [Field; 22] = [
    field("version", Holds::Scalar),
    field("at", Holds::Scalar),
    field("at_us", Holds::Scalar),
    field("tenant", Holds::Scalar),
    field("principal", Holds::Scalar),
    field("agent", Holds::Scalar),
    field("user", Holds::Scalar),
    field("issuer", Holds::Scalar),
    field("asker", Holds::Scalar),
    field("server", Holds::Scalar),
    field("path", Holds::Scalar),
    field("protocol_version", Holds::Scalar),
    field("kind", Holds::Scalar),
    field("method", Holds::Scalar),
    field("handle", Holds::Scalar),
    field("tool", Holds::Scalar),
    field("prompt", Holds::Scalar),
    field("resource", Holds::Scalar),
    field("task", Holds::Scalar),
    field("params", Holds::Anything),
    field("arguments", Holds::Anything),
    field("list", Holds::List),
];

/// Whether a path below `input` can be there at all.
pub(crate) fn check_path(steps: &[Step]) -> Result<(), String> {
    let [Step::Name(name), below @ ..] = steps else { return Ok(()) };
    let Some(field) = FIELDS.iter().find(|field| field.name == name) else {
        return Err(format!("`input.{name}` is no field of the input document; policies/README.md lists them"));
    };
    match (field.holds, below) {
        (Holds::Scalar | Holds::Anything | Holds::List, []) | (Holds::Anything, _) => Ok(()),
        (Holds::List, [Step::Name(tools), ..]) if tools == "tools" => Ok(()),
        (Holds::Scalar, _) => Err(format!("`input.{name}` is one value: nothing is below it")),
        (Holds::List, _) => Err(format!("`input.{name}` holds `tools` and nothing else")),
    }
}

/// The document of one call.
pub(crate) fn document(facts: &Facts, message: &Message) -> Result<Document, Inexact> {
    Ok(Document::object(members(facts, message)?))
}

/// The document of a list that is to be shown: that of its call, and the names in it.
pub(crate) fn document_of_list(facts: &Facts, message: &Message, tools: &[String]) -> Result<Document, Inexact> {
    let names = Document::list(tools.iter().map(|tool| Document::text(tool)));
    let list = Document::object([("tools", names)]);
    Ok(Document::object(members(facts, message)?.into_iter().chain([("list", list)])))
}

fn members(facts: &Facts, message: &Message) -> Result<Vec<(&'static str, Document)>, Inexact> {
    let mut members = vec![
        ("version", Document::whole(VERSION)),
        ("at", Document::text(&facts.at.to_string())),
        ("at_us", Document::whole(facts.at.micros())),
        ("tenant", Document::text(facts.tenant.as_str())),
        ("principal", Document::text(facts.principal.as_str())),
        ("asker", Document::text(facts.asker.as_str())),
        ("server", Document::text(facts.server.as_str())),
        ("path", Document::text(&facts.endpoint.path)),
        ("protocol_version", Document::text(message.protocol.as_str())),
        ("kind", Document::text(kind_name(&message.kind))),
        ("method", Document::text(message.method.name())),
    ];
    if let Some(agent) = facts.principal.agent() {
        members.push(("agent", Document::text(agent.as_str())));
    }
    if let Some(user) = facts.principal.user() {
        members.push(("user", Document::text(user.subject())));
        members.push(("issuer", Document::text(user.issuer())));
    }
    if let Some(handle) = &message.handle {
        members.push(("handle", Document::text(handle.as_str())));
    }
    if let (Some(name), Some(target)) = (target_name(message.method), &message.target) {
        members.push((name, Document::text(target)));
    }
    let params = message.params.as_ref().map(Document::of_object).transpose()?;
    if takes_arguments(message.method) {
        // A call without arguments has none, as if it had written `{}`.
        let written = params.as_ref().and_then(|params| params.member("arguments"));
        members.push(("arguments", written.unwrap_or_else(|| Document::object([]))));
    }
    members.extend(params.map(|params| ("params", params)));
    Ok(members)
}

const fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Request(_) | Kind::Http => "request",
        Kind::Notification => "notification",
        Kind::Response(_) => "response",
        Kind::Open => "open",
        Kind::End => "end",
    }
}

/// The field that holds what the method acts on.
pub(crate) const fn target_name(method: Method) -> Option<&'static str> {
    match method {
        Method::ToolsCall => Some("tool"),
        Method::PromptsGet => Some("prompt"),
        Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => Some("resource"),
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel | Method::TasksResult => Some("task"),
        Method::ToolsList
        | Method::ResourcesList
        | Method::ResourcesTemplatesList
        | Method::PromptsList
        | Method::CompletionComplete
        | Method::TasksList
        | Method::SubscriptionsListen
        | Method::ServerDiscover
        | Method::LoggingSetLevel
        | Method::Ping
        | Method::Initialize
        | Method::NotificationsInitialized
        | Method::NotificationsCancelled
        | Method::NotificationsProgress
        | Method::NotificationsRootsListChanged
        | Method::Response
        | Method::Open
        | Method::End => None,
    }
}

const fn takes_arguments(method: Method) -> bool {
    matches!(method, Method::ToolsCall | Method::PromptsGet)
}

#[cfg(test)]
pub(crate) mod tests;
