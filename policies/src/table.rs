//! The tool table, `tools.yaml`: what each tool of each server may be used for. A policy reads it as `data.tools`.
//!
//! Names are compared byte for byte. Nothing has a default: a tool that is not in the table is unknown.

use crate::arguments::{Arguments, Type, Types};
use crate::engine::Document;
use crate::yaml::{self, Node, Yaml, YamlError};
use agentgate_core::decide::Scope;
use agentgate_core::id::Server;
use std::collections::BTreeMap;

/// Server, then tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table(BTreeMap<String, BTreeMap<String, Row>>);

/// One tool's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub tag: Tag,
    pub scope: Scope,
    /// None: not known.
    pub arguments: Option<Arguments>,
}

/// Who may call a tool: anyone, anyone with an approval, nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    Open,
    Gated,
    Blocked,
}

// === impl Table ===

impl Table {
    pub(crate) fn servers(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn read(text: &str) -> Result<Self, YamlError> {
        let mut table = Self::default();
        // A policy may begin without a tool: each is refused then.
        let Some(document) = yaml::read_if_any(text)? else { return Ok(table) };
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

    /// Puts a row in, or a server without rows.
    pub(crate) fn insert(&mut self, server: &str, row: Option<(&str, Row)>) {
        let rows = self.0.entry(server.to_owned()).or_default();
        rows.extend(row.map(|(tool, row)| (tool.to_owned(), row)));
    }

    pub(crate) fn has_server(&self, server: &str) -> bool {
        self.0.contains_key(server)
    }

    pub(crate) fn row(&self, server: &str, tool: &str) -> Option<&Row> {
        self.0.get(server)?.get(tool)
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
        let fields = row.fields(&["tag", "scope", "arguments"])?;
        let field = |name: &str| fields.get(name).ok_or_else(|| row.wrong(format!("`{name}` is missing")));
        let (tag, scope) = (field("tag")?, field("scope")?);
        Ok(Self {
            tag: Tag::parse(tag.text()?).ok_or_else(|| tag.wrong("a tag is `open`, `gated` or `blocked`"))?,
            scope: parse_scope(scope.text()?).ok_or_else(|| scope.wrong("a scope is `read` or `write`"))?,
            arguments: fields.get("arguments").map(read_arguments).transpose()?,
        })
    }

    fn document(&self) -> Document {
        let types = |types: &Types| Document::list(types.names().into_iter().map(Document::text));
        let arguments = self
            .arguments
            .as_ref()
            .map(|arguments| ("arguments", Document::object(arguments.iter().map(|(name, of)| (name, types(of))))));
        let fixed = [("tag", Document::text(self.tag.name())), ("scope", Document::text(scope_name(self.scope)))];
        Document::object(fixed.into_iter().chain(arguments))
    }
}

fn read_arguments(yaml: &Yaml) -> Result<Arguments, YamlError> {
    let mut arguments = Arguments::default();
    for (name, types) in yaml.map()?.iter() {
        arguments.insert(name, read_types(types)?).map_err(|error| types.wrong(error.to_string()))?;
    }
    Ok(arguments)
}

/// `string`, `any`, or `[string, "null"]`.
fn read_types(yaml: &Yaml) -> Result<Types, YamlError> {
    let kind = |yaml: &Yaml| {
        Type::parse(yaml.text()?).ok_or_else(|| {
            let names = Type::ALL.map(Type::name).join("`, `");
            yaml.wrong(format!("a type is `{names}`, a list of them, or `{}` alone", Types::ANY))
        })
    };
    match &yaml.node {
        Node::List(types) if types.is_empty() => {
            Err(yaml.wrong("an empty list of types; write `any`, or leave the argument out"))
        }
        Node::List(types) => Ok(Types::Of(types.iter().map(kind).collect::<Result<_, _>>()?)),
        Node::Plain(text) | Node::Quoted(text) if text == Types::ANY => Ok(Types::Any),
        Node::Plain(_) | Node::Quoted(_) | Node::Map(_) => Ok(Types::one(kind(yaml)?)),
    }
}

// === impl Tag ===

impl Tag {
    pub const ALL: [Self; 3] = [Self::Open, Self::Gated, Self::Blocked];

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tag| tag.name() == text)
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
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
