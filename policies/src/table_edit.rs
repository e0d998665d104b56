//! Edits of a tool table's text, one place at a time: comments, order and style of the author stay. What was written is read
//! again, and an edit that says anything else than what was meant is an error and no text.

use crate::arguments::Arguments;
use crate::table::{Row, Tag};
use thiserror::Error;

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
    #[error("line {line} is written in a way that cannot be edited: write its row as `{{ tag: …, scope: … }}`")]
    Shape { line: usize },
}

/// The table with another tag for one tool.
///
/// # Errors
/// When the table cannot be read or edited, or has no such tool.
pub fn set_tag(before: &str, server: &str, tool: &str, tag: Tag) -> Result<String, EditError> {
    let _ = (server, tool, tag);
    Ok(before.to_owned())
}

/// The table with one tool more; with its server, if that is not there yet. `comment` stands behind the row.
///
/// # Errors
/// When the table cannot be read or edited, or has the tool already.
pub fn add_tool(before: &str, server: &str, tool: &str, row: &Row, comment: Option<&str>) -> Result<String, EditError> {
    let _ = (server, tool, row, comment);
    Ok(before.to_owned())
}

/// The table with these arguments of one tool. Arguments of the row that are not named here stay.
///
/// # Errors
/// As `set_tag`.
pub fn set_arguments(before: &str, server: &str, tool: &str, arguments: &Arguments) -> Result<String, EditError> {
    let _ = (server, tool, arguments);
    Ok(before.to_owned())
}

/// The table with one server more, which has no tools yet.
///
/// # Errors
/// When the table cannot be read or edited, or has the server already.
pub fn add_server(before: &str, server: &str) -> Result<String, EditError> {
    let _ = server;
    Ok(before.to_owned())
}

/// What changed, as a unified diff of the file at `path`. Empty when nothing did.
#[must_use]
pub fn diff(before: &str, after: &str, path: &str) -> String {
    let _ = (before, after, path);
    String::new()
}
