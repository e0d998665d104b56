//! Edits of a tool table's text, one place at a time: comments, order and style of the author stay. What was written is read
//! again, and an edit that says anything else than what was meant is an error and no text.

mod text;

use crate::arguments::{Arguments, ArgumentsError, Types};
use crate::table::{Row, Table, Tag, scope_name};
use agentgate_core::id::Server;
use agentgate_core::json::Json;
use similar::TextDiff;
use text::{Line, Text};
use thiserror::Error;

/// A key with its quotes: YAML ends a line's key at 1,024 characters, and the indent counts.
const KEY_CHARS_MAX: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EditError {
    #[error("it is no tool table: {0}")]
    Table(String),
    #[error("the table has no `{}` of the server `{}`", tool.escape_debug(), server.escape_debug())]
    Unknown { server: String, tool: String },
    #[error("the table has `{}` already", name.escape_debug())]
    Twice { name: String },
    #[error("`{}` is no name that the table can hold", name.escape_debug())]
    Name { name: String },
    #[error("the row's arguments: {0}")]
    Arguments(#[from] ArgumentsError),
    #[error("line {line} is written in a way that cannot be edited; write the row as `{{ tag: …, scope: … }}`")]
    Shape { line: usize },
}

/// One tool more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewTool<'a> {
    pub name: &'a str,
    pub row: &'a Row,
    pub comment: Option<&'a str>,
}

/// The table with another tag for one tool.
///
/// # Errors
/// When the table cannot be read or edited, or has no such tool.
pub fn set_tag(before: &str, server: &str, tool: &str, tag: Tag) -> Result<String, EditError> {
    let mut meant = read(before)?;
    let row = Row { tag, ..known(&meant, server, tool)?.clone() };
    meant.insert(server, Some((tool, row)));
    let mut text = Text::new(before)?;
    let row = text.row(server, tool)?;
    let old = text.member(&row, "tag").ok_or(EditError::Shape { line: row.line })?;
    text.replace_aligned(&old, tag.name())?;
    as_meant(text.finish(), &meant)
}

/// The table with one tool more; with its server, if that is not there yet. `comment` stands behind the row where a line
/// can hold one.
///
/// # Errors
/// When the table cannot be read or edited, or has the tool already.
pub fn add_tool(before: &str, server: &str, tool: &str, row: &Row, comment: Option<&str>) -> Result<String, EditError> {
    add_tools(before, server, &[NewTool { name: tool, row, comment }])
}

pub(crate) fn add_tools(before: &str, server: &str, tools: &[NewTool<'_>]) -> Result<String, EditError> {
    let mut meant = read(before)?;
    check_name(server)?;
    let is_new = !meant.has_server(server);
    for tool in tools {
        check_name(tool.name)?;
        if meant.row(server, tool.name).is_some() {
            return Err(EditError::Twice { name: tool.name.to_owned() });
        }
        meant.insert(server, Some((tool.name, tool.row.clone())));
    }
    let lines: Vec<Line> = tools.iter().map(|tool| Line::new(tool.name, row_text(tool.row), tool.comment)).collect();
    let mut text = Text::new(before)?;
    if is_new {
        text.add_server(server, &lines)?;
    } else {
        text.add_rows(server, &lines)?;
    }
    as_meant(text.finish(), &meant)
}

/// The table with these arguments of one tool. Arguments of the row that are not named here stay.
///
/// # Errors
/// As `set_tag`; and when two arguments would look alike.
pub fn set_arguments(before: &str, server: &str, tool: &str, arguments: &Arguments) -> Result<String, EditError> {
    let mut meant = read(before)?;
    let mut row = known(&meant, server, tool)?.clone();
    let mut all = row.arguments.take().unwrap_or_default();
    let changed: Vec<_> = arguments.iter().filter(|(name, types)| all.get(name) != Some(types)).collect();
    for (name, types) in &changed {
        all.insert(name, (*types).clone())?;
    }
    row.arguments = Some(all);
    meant.insert(server, Some((tool, row)));
    let mut text = Text::new(before)?;
    let row = text.row(server, tool)?;
    match text.member(&row, "arguments") {
        None => text.insert(&row, &[Line::new("arguments", arguments_text(arguments), None)])?,
        Some(old) => {
            let (there, new): (Vec<_>, Vec<_>) = changed.into_iter().partition(|(name, _)| text.member(&old, name).is_some());
            for (name, types) in there {
                if let Some(value) = text.member(&old, name) {
                    text.replace(&value, &types_text(types))?;
                }
            }
            let new: Vec<Line> = new.into_iter().map(|(name, types)| Line::new(name, types_text(types), None)).collect();
            text.insert(&old, &new)?;
        }
    }
    as_meant(text.finish(), &meant)
}

/// The table with one server more, which has no tools yet.
///
/// # Errors
/// When the table cannot be read or edited, or has the server already.
pub fn add_server(before: &str, server: &str) -> Result<String, EditError> {
    let mut meant = read(before)?;
    check_name(server)?;
    if meant.has_server(server) {
        return Err(EditError::Twice { name: server.to_owned() });
    }
    meant.insert(server, None);
    let mut text = Text::new(before)?;
    text.add_server(server, &[])?;
    as_meant(text.finish(), &meant)
}

/// What changed, as a unified diff of the file at `path`. Empty when nothing did.
#[must_use]
pub fn diff(before: &str, after: &str, path: &str) -> String {
    if before == after {
        return String::new();
    }
    let lines = TextDiff::from_lines(before, after);
    lines.unified_diff().header(&format!("a/{path}"), &format!("b/{path}")).to_string()
}

fn read(text: &str) -> Result<Table, EditError> {
    Table::read(text).map_err(|error| EditError::Table(error.to_string()))
}

fn known<'a>(table: &'a Table, server: &str, tool: &str) -> Result<&'a Row, EditError> {
    table.row(server, tool).ok_or_else(|| EditError::Unknown { server: server.to_owned(), tool: tool.to_owned() })
}

/// A name as `Table::read` takes it, and as a key of YAML can be.
pub(crate) fn check_name(name: &str) -> Result<(), EditError> {
    match Server::try_from(name) {
        Ok(_) if key_text(name).chars().count() <= KEY_CHARS_MAX => Ok(()),
        Ok(_) | Err(_) => Err(EditError::Name { name: name.chars().take(64).collect() }),
    }
}

/// INVARIANT: no text leaves this file that does not say what was meant.
fn as_meant(after: String, meant: &Table) -> Result<String, EditError> {
    match Table::read(&after) {
        Ok(table) if table == *meant => Ok(after),
        Ok(_) => Err(EditError::Shape { line: 1 }),
        Err(error) => Err(EditError::Shape { line: error.line }),
    }
}

fn row_text(row: &Row) -> String {
    let fixed = format!("tag: {}, scope: {}", row.tag.name(), scope_name(row.scope));
    match &row.arguments {
        None => format!("{{ {fixed} }}"),
        Some(arguments) => format!("{{ {fixed}, arguments: {} }}", arguments_text(arguments)),
    }
}

pub(crate) fn arguments_text(arguments: &Arguments) -> String {
    let all: Vec<_> = arguments.iter().map(|(name, types)| format!("{}: {}", key_text(name), types_text(types))).collect();
    if all.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", all.join(", ")) }
}

fn types_text(types: &Types) -> String {
    // A plain `null` is a text to us, and nothing at all to others who read the table.
    let names: Vec<_> = types.names().into_iter().map(|name| if name == "null" { "\"null\"" } else { name }).collect();
    match names.as_slice() {
        [one] => (*one).to_owned(),
        names => format!("[{}]", names.join(", ")),
    }
}

/// A key as every reader of YAML takes it for this very text.
fn key_text(name: &str) -> String {
    const TAKEN: [&str; 10] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan"];
    let is_word = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/'));
    if is_word && !TAKEN.contains(&name.to_ascii_lowercase().as_str()) { name.to_owned() } else { Json::from(name).to_string() }
}

#[cfg(test)]
mod tests;
