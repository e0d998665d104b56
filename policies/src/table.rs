//! The tool table, `tools.yaml`: what each tool of each server may be used for. A policy reads it as `data.tools`.
//!
//! Names are compared byte for byte. Nothing has a default: a tool that is not in the table is unknown.

use crate::engine::Document;
use crate::yaml::{self, Yaml, YamlError};
use agentgate_core::decide::Scope;
use agentgate_core::id::Server;
use std::collections::BTreeMap;

/// Server, then tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table(BTreeMap<String, BTreeMap<String, Row>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub tag: Tag,
    pub scope: Scope,
}

/// Who may call a tool: anyone, anyone with an approval, nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    Open,
    Gated,
    Blocked,
}

// === impl Table ===

impl Table {
    pub(crate) fn read(text: &str) -> Result<Self, YamlError> {
        let document = yaml::read(text)?;
        let mut table = Self::default();
        for (server, tools) in document.map()?.iter() {
            Server::try_from(server).map_err(|error| tools.wrong(error.to_string()))?;
            let mut rows = BTreeMap::new();
            for (tool, row) in tools.map()?.iter() {
                rows.insert(check_tool(tool, row)?.to_owned(), Row::read(row)?);
            }
            table.0.insert(server.to_owned(), rows);
        }
        Ok(table)
    }

    /// What a policy sees as `data.tools`.
    pub(crate) fn document(&self) -> Document {
        Document::object(self.0.iter().map(|(server, rows)| {
            let rows = rows.iter().map(|(tool, row)| (tool.as_str(), row.document()));
            (server.as_str(), Document::object(rows))
        }))
    }
}

/// A name that the parser would not let into a call could never match.
fn check_tool<'a>(tool: &'a str, row: &Yaml) -> Result<&'a str, YamlError> {
    Server::try_from(tool).map_err(|_| row.wrong(format!("`{}` is no name of a tool", tool.escape_debug())))?;
    Ok(tool)
}

// === impl Row ===

impl Row {
    fn read(row: &Yaml) -> Result<Self, YamlError> {
        let fields = row.fields(&["tag", "scope"])?;
        let field = |name: &str| fields.get(name).ok_or_else(|| row.wrong(format!("`{name}` is missing")));
        let (tag, scope) = (field("tag")?, field("scope")?);
        Ok(Self {
            tag: Tag::parse(tag.text()?).ok_or_else(|| tag.wrong("a tag is `open`, `gated` or `blocked`"))?,
            scope: parse_scope(scope.text()?).ok_or_else(|| scope.wrong("a scope is `read` or `write`"))?,
        })
    }

    fn document(self) -> Document {
        Document::object([("tag", Document::text(self.tag.name())), ("scope", Document::text(scope_name(self.scope)))])
    }
}

// === impl Tag ===

impl Tag {
    const ALL: [Self; 3] = [Self::Open, Self::Gated, Self::Blocked];

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tag| tag.name() == text)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Gated => "gated",
            Self::Blocked => "blocked",
        }
    }
}

pub(crate) fn parse_scope(text: &str) -> Option<Scope> {
    [Scope::Read, Scope::Write].into_iter().find(|scope| scope_name(*scope) == text)
}

pub(crate) const fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Write => "write",
    }
}

#[cfg(test)]
mod tests;
