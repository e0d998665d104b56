//! Proposes rows of the tool table from what was seen of tools. What a server says of itself is a hint: unclear means gated.
//! It never changes the tag of a row that is there, takes no row away and puts nothing into force.

mod definition;

use crate::arguments::Arguments;
use crate::bundle::TABLE;
use crate::folder::FILE_BYTES_MAX;
use crate::table::{Row, Table, Tag};
use crate::table_edit::{self, EditError, NewTool};
use agentgate_core::decide::Scope;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

pub use definition::{DEFINITION_BYTES_MAX, Definition, DefinitionError, definition};

/// Tools in one proposal: more than a table has room for.
pub const SEEN_MAX: usize = 4_096;

/// So many names that no server lists are told of one server: whoever calls may make them up.
const UNLISTED_TOLD_MAX: usize = 8;

/// What a note quotes of a name.
const NAME_CHARS_MAX: usize = 64;

/// What was seen of one tool: by its server's list, by calls, or by both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenTool {
    pub server: String,
    pub tool: String,
    /// Its server listed it, or may have.
    pub is_listed: bool,
    /// What its server's list said of it, as far as that can be read.
    pub definition: Option<Definition>,
    pub calls: u64,
    /// What calls wrote.
    pub arguments: Arguments,
}

/// A tool table that has what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The whole new text of `tools.yaml`.
    pub table: String,
    /// Unified; empty when nothing is proposed.
    pub diff: String,
    /// What a person should know, and what could not be proposed.
    pub notes: Vec<String>,
    pub unchanged: bool,
}

#[derive(Debug, Error)]
pub enum LearnError {
    #[error("more than {SEEN_MAX} tools were seen; propose for fewer servers at once")]
    TooMany,
    #[error("`{TABLE}` would be larger than {FILE_BYTES_MAX} bytes; propose for fewer servers at once")]
    TooLarge,
    #[error("`{TABLE}` cannot be edited: {0}")]
    Edit(#[from] EditError),
}

/// All that was seen of each tool, by server and name.
type Seen<'a> = BTreeMap<(&'a str, &'a str), SeenTool>;

/// # Errors
/// When `table_yaml` is no tool table, is written as no edit can keep it, or would be too large.
pub fn propose(table_yaml: &str, seen: &[SeenTool]) -> Result<Proposal, LearnError> {
    if seen.len() > SEEN_MAX {
        return Err(LearnError::TooMany);
    }
    let known = Table::read(table_yaml).map_err(|error| EditError::Table(error.to_string()))?;
    let mut notes = Vec::new();
    let mut table = table_yaml.to_owned();
    let seen = united(seen, &mut notes);
    for tool in seen.values() {
        if let Some(row) = known.row(&tool.server, &tool.tool) {
            table = complete(table, row, tool, &mut notes)?;
        }
    }
    let new: Vec<&SeenTool> = seen.values().filter(|tool| known.row(&tool.server, &tool.tool).is_none()).collect();
    let listing: BTreeSet<&str> = seen.values().filter(|tool| tool.is_listed).map(|tool| tool.server.as_str()).collect();
    for of_server in new.chunk_by(|one, other| one.server == other.server) {
        // Where a server's list is known, a name that is not in it is one that an agent made up.
        let is_tool = |tool: &&SeenTool| tool.is_listed || !listing.contains(tool.server.as_str());
        let (tools, made_up): (Vec<&SeenTool>, Vec<&SeenTool>) = of_server.iter().copied().partition(is_tool);
        table = add(&table, &tools, &mut notes)?;
        notes.extend(not_listed(&made_up));
    }
    if table.len() > FILE_BYTES_MAX {
        return Err(LearnError::TooLarge);
    }
    let diff = table_edit::diff(table_yaml, &table, TABLE);
    Ok(Proposal { unchanged: table == table_yaml, table, diff, notes })
}

/// One for each tool whose name the table can hold, in order.
fn united<'a>(seen: &'a [SeenTool], notes: &mut Vec<String>) -> Seen<'a> {
    let mut all: Seen<'a> = BTreeMap::new();
    let mut bad = Vec::new();
    for tool in seen {
        if table_edit::check_name(&tool.server).and_then(|()| table_edit::check_name(&tool.tool)).is_err() {
            bad.push(format!("{} has a name that the table cannot hold, so every call of it is refused", called(tool)));
            continue;
        }
        let known = all.entry((&tool.server, &tool.tool));
        known.and_modify(|known| known.unite(tool)).or_insert_with(|| tool.clone());
    }
    bad.sort();
    bad.dedup();
    notes.extend(bad);
    all
}

/// The arguments of a row that has none, and what else is to be said of a row that is there.
fn complete(table: String, row: &Row, seen: &SeenTool, notes: &mut Vec<String>) -> Result<String, LearnError> {
    let Some(definition) = &seen.definition else { return Ok(table) };
    let table = match (&row.arguments, &definition.arguments) {
        (None, Some(arguments)) => table_edit::set_arguments(&table, &seen.server, &seen.tool, arguments)?,
        (Some(written), Some(arguments)) => {
            notes.extend(differences(written, arguments).map(|what| format!("{}: {what}", called(seen))));
            table
        }
        (None | Some(_), None) => {
            notes.extend(definition.notes.iter().map(|note| format!("{}: {note}", called(seen))));
            table
        }
    };
    notes.extend(seen.strangers(row.arguments.as_ref().or(definition.arguments.as_ref())));
    Ok(table)
}

/// What the row says otherwise than the schema.
fn differences<'a>(written: &'a Arguments, schema: &'a Arguments) -> impl Iterator<Item = String> + 'a {
    let gone = written.iter().filter(|(name, _)| schema.get(name).is_none());
    let gone = gone.map(|(name, _)| format!("its row has the argument {}, its schema has not", quoted(name)));
    let other = schema.iter().filter_map(|(name, types)| {
        let by_schema = types.names().join(" or ");
        match written.get(name) {
            None => Some(format!("its schema has the argument {} ({by_schema}), its row has not", quoted(name))),
            Some(own) if own != types => {
                Some(format!("{} is {} in its row, and {by_schema} in its schema", quoted(name), own.names().join(" or ")))
            }
            Some(_) => None,
        }
    });
    gone.chain(other)
}

/// Rows for tools of one server that the table does not have.
fn add(table: &str, tools: &[&SeenTool], notes: &mut Vec<String>) -> Result<String, LearnError> {
    let Some(first) = tools.first() else { return Ok(table.to_owned()) };
    let rows: Vec<(Row, String)> = tools.iter().map(|tool| (tool.row(), tool.evidence())).collect();
    for tool in tools {
        let arguments = tool.definition.as_ref().and_then(|definition| definition.arguments.as_ref());
        let own = tool.definition.iter().flat_map(|definition| &definition.notes);
        notes.extend(own.map(|note| format!("{}: {note}", called(tool))));
        notes.extend(tool.strangers(arguments));
    }
    let new: Vec<_> = tools
        .iter()
        .zip(&rows)
        .map(|(tool, (row, evidence))| NewTool { name: &tool.tool, row, comment: Some(evidence) })
        .collect();
    Ok(table_edit::add_tools(table, &first.server, &new)?)
}

/// `called, and not listed by its server `notes`: `nonexist` (1 call)`.
fn not_listed(tools: &[&SeenTool]) -> Option<String> {
    let server = quoted(&tools.first()?.server);
    let told = tools.iter().take(UNLISTED_TOLD_MAX).map(|tool| format!("{} ({})", quoted(&tool.tool), tool.times()));
    let more = tools.len().checked_sub(UNLISTED_TOLD_MAX).filter(|more| *more > 0).map(|more| format!("and {more} more"));
    let told = told.chain(more).collect::<Vec<_>>().join(", ");
    Some(format!("called, and not listed by its server {server}: {told}; no row is proposed, so every call of it is refused"))
}

fn called(seen: &SeenTool) -> String {
    format!("{} of {}", quoted(&seen.tool), quoted(&seen.server))
}

/// In backticks, escaped, and no longer than a person reads.
fn quoted(name: &str) -> String {
    let mut chars = name.chars();
    let head: String = chars.by_ref().take(NAME_CHARS_MAX).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!("`{}{more}`", head.escape_debug())
}

// === impl SeenTool ===

impl SeenTool {
    /// The same tool, seen again. Of two definitions the later one counts.
    fn unite(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.is_listed |= other.is_listed;
        self.definition = other.definition.clone().or_else(|| self.definition.take());
        for (name, types) in other.arguments.iter() {
            let both = self.arguments.get(name).map_or_else(|| types.clone(), |known| known.with(types));
            // What looks like another, or is one too many, is no evidence.
            drop(self.arguments.insert(name, both));
        }
    }

    fn row(&self) -> Row {
        match &self.definition {
            Some(definition) => Row { tag: definition.tag(), scope: definition.scope(), arguments: definition.arguments.clone() },
            None => Row { tag: Tag::Gated, scope: Scope::Write, arguments: None },
        }
    }

    fn times(&self) -> String {
        match self.calls {
            0 => "never called".to_owned(),
            1 => "1 call".to_owned(),
            calls => format!("{calls} calls"),
        }
    }

    /// `12 calls, listed; readOnlyHint`.
    fn evidence(&self) -> String {
        let calls = self.times();
        let Some(definition) = &self.definition else { return format!("{calls}, never listed") };
        let hint = |name: &'static str, hint: Option<bool>| match hint {
            Some(true) => Some(name.to_owned()),
            Some(false) => Some(format!("not {name}")),
            None => None,
        };
        let hints = [hint("readOnlyHint", definition.read_only), hint("destructiveHint", definition.destructive)];
        let hints: Vec<_> = hints.into_iter().flatten().collect();
        let hints = if hints.is_empty() { "no hint".to_owned() } else { hints.join(", ") };
        format!("{calls}, listed; {hints}")
    }

    /// What calls wrote and `known` has not.
    fn strangers(&self, known: Option<&Arguments>) -> Vec<String> {
        let Some(known) = known else { return Vec::new() };
        let strange = self.arguments.iter().filter(|(name, _)| known.get(name).is_none());
        strange
            .map(|(name, _)| format!("{} was called with {}, which is none of its arguments", called(self), quoted(name)))
            .collect()
    }
}

#[cfg(test)]
mod tests;
