//! The proposal as people paste it: the route in the filter's JSON, the rows in tools.yaml's YAML, and what was left out.

use super::operation::Tool;
use super::proposal::Proposal;
use crate::screen::{Palette, Screen};
use crate::text::escape;
use agentgate_core::rest::{Body, Field, Parts};
use serde_json::{Map, Value, json};

/// Words that YAML readers take for something else than a text.
const YAML_WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

pub(super) fn text(proposal: &Proposal, screen: &Screen) -> String {
    let title = |text: &str| format!("{}\n", screen.paint(Palette::Title, text));
    let mut out = title("A route, for `routes` in the filter's configuration. It observes to begin with:");
    out += &route_text(proposal);
    out += &title("\nRows, for tools.yaml. Look at each tag before you enforce:");
    out += &rows(proposal);
    let left_out = "\nLeft out. No tool above takes these, so the route refuses them once it enforces:";
    for (about, notes) in [(left_out, &proposal.reasons()), ("\nNotes:", &proposal.notes)] {
        if !notes.is_empty() {
            out += &title(about);
            notes.iter().for_each(|note| out += &format!("- {}\n", escape(note, screen.charset)));
        }
    }
    out
}

pub(super) fn json(proposal: &Proposal) -> Value {
    json!({
        "server": proposal.server,
        "route": route(proposal),
        "tools_yaml": rows(proposal),
        "left_out": proposal.reasons(),
        "notes": proposal.notes,
    })
}

/// A line a tool, as people would write it.
fn route_text(proposal: &Proposal) -> String {
    let mut route = route(proposal);
    let tools = route.pointer_mut("/rest/tools").map(Value::take).unwrap_or_default();
    let tool = |tool: &Value| format!("    {}", ordered(tool, &["tool", "method", "path", "query", "body", "required"]));
    let lines: Vec<String> = tools.as_array().into_iter().flatten().map(tool).collect();
    let rest = ordered(route.get("rest").unwrap_or(&Value::Null), &["host", "prefix"]);
    let rest = rest.trim_start_matches("{ ").trim_end_matches([' ', '}']);
    let comma = if rest.is_empty() { "" } else { ", " };
    let head = ordered(&route, &["server", "mode"]);
    let head = head.trim_end_matches([' ', '}']);
    format!("{head},\n  \"rest\": {{ {rest}{comma}\"tools\": [\n{} ] }} }}\n", lines.join(",\n"))
}

/// An object's members in this order, as far as they are there.
fn ordered(value: &Value, keys: &[&str]) -> String {
    let members = keys.iter().filter_map(|key| Some(format!("{}: {}", json!(key), value.get(key)?)));
    format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
}

fn route(proposal: &Proposal) -> Value {
    let mut rest = Map::new();
    if let Some(host) = &proposal.host {
        rest.insert("host".into(), json!(host));
    }
    if !proposal.prefix.is_empty() {
        rest.insert("prefix".into(), json!(proposal.prefix));
    }
    rest.insert("tools".into(), proposal.tools.iter().map(tool).collect());
    json!({ "server": proposal.server, "mode": "observe", "rest": rest })
}

fn tool(tool: &Tool) -> Value {
    let Parts { tool: name, method, query, body, .. } = tool.rule.parts();
    let mut out = Map::new();
    out.insert("tool".into(), json!(name));
    out.insert("method".into(), json!(method));
    out.insert("path".into(), json!(tool.path));
    let fields =
        |fields: &[Field]| fields.iter().map(|field| (field.name.clone(), json!(field.holds.name()))).collect::<Map<_, _>>();
    if !query.is_empty() {
        out.insert("query".into(), Value::Object(fields(query)));
    }
    let members = match body {
        Body::None => &[][..],
        Body::Any => {
            out.insert("body".into(), json!("any"));
            &[]
        }
        Body::Fields(members) => {
            out.insert("body".into(), Value::Object(fields(members)));
            members
        }
    };
    let required: Vec<&str> =
        query.iter().chain(members).filter(|field| field.required).map(|field| field.name.as_str()).collect();
    if !required.is_empty() {
        out.insert("required".into(), json!(required));
    }
    Value::Object(out)
}

fn rows(proposal: &Proposal) -> String {
    let mut out = format!("{}:\n", word(&proposal.server));
    for tool in &proposal.tools {
        let Parts { tool: name, method, .. } = tool.rule.parts();
        let (tag, scope) = if matches!(method.as_str(), "GET" | "HEAD") { ("open", "read") } else { ("gated", "write") };
        let arguments = arguments(tool).map_or_else(String::new, |arguments| format!(", arguments: {{{arguments}}}"));
        out += &format!("  {}: {{ tag: {tag}, scope: {scope}{arguments} }}\n", word(name));
    }
    out
}

/// None: any may come.
fn arguments(tool: &Tool) -> Option<String> {
    let arguments = tool.rule.arguments()?;
    let written: Vec<String> = arguments.map(|(name, holds)| format!("{}: {}", word(name), holds.name())).collect();
    Some(if written.is_empty() { String::new() } else { format!(" {} ", written.join(", ")) })
}

/// A key of YAML, in quotes where it could be something else than this text.
fn word(text: &str) -> String {
    let mut bytes = text.bytes();
    let is_plain = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    if is_plain && !YAML_WORDS.contains(&text.to_ascii_lowercase().as_str()) { text.to_owned() } else { json!(text).to_string() }
}
