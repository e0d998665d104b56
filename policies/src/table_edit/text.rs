//! The text of a tool table with the place of everything in it, and what is to be changed there. It knows how maps are
//! written, in brackets or by lines, and nothing of what a row means.

use super::{EditError, key_text};
use crate::yaml::{self, Mark, Node, Yaml};
use std::ops::Range;

/// What a server's rows stand farther in than its name.
const INDENT: usize = 2;

pub(super) struct Text<'a> {
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
    root: Option<Yaml>,
    changes: Vec<(Range<usize>, String)>,
    newline: &'static str,
}

/// One member of a map that is to be written: `key: value  # comment`.
pub(super) struct Line {
    key: String,
    value: String,
    comment: String,
}

// === impl Line ===

impl Line {
    pub(super) fn new(key: &str, value: String, comment: Option<&str>) -> Self {
        let one_line = |comment: &str| comment.chars().filter(|c| !c.is_control()).collect::<String>();
        Self {
            key: key_text(key),
            value,
            comment: comment.map(|comment| format!(" # {}", one_line(comment))).unwrap_or_default(),
        }
    }

    fn in_brackets(&self) -> String {
        format!("{}: {}", self.key, self.value)
    }

    fn by_line(&self, newline: &str, indent: usize) -> String {
        format!("{newline}{:indent$}{}: {}{}", "", self.key, self.value, self.comment)
    }
}

// === impl Text ===

impl<'a> Text<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self, EditError> {
        let root = yaml::read_if_any(text).map_err(|error| EditError::Table(error.to_string()))?;
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        Ok(Self { text, lines, root, changes: Vec::new(), newline })
    }

    pub(super) fn row(&self, server: &str, tool: &str) -> Result<Yaml, EditError> {
        let unknown = || EditError::Unknown { server: server.to_owned(), tool: tool.to_owned() };
        let rows = self.server(server).ok_or_else(unknown)?;
        self.member(&rows, tool).ok_or_else(unknown)
    }

    fn server(&self, server: &str) -> Option<Yaml> {
        self.member(self.root.as_ref()?, server)
    }

    pub(super) fn member(&self, map: &Yaml, key: &str) -> Option<Yaml> {
        map.map().ok()?.get(key).cloned()
    }

    /// Puts `new` in the place of a value.
    pub(super) fn replace(&mut self, old: &Yaml, new: &str) -> Result<(), EditError> {
        let range = self.start(old)?..self.end(old)?;
        self.changes.push((range, new.to_owned()));
        Ok(())
    }

    /// As `replace`, and what stands in a column behind it stays there if it can.
    pub(super) fn replace_aligned(&mut self, old: &Yaml, new: &str) -> Result<(), EditError> {
        let range = self.start(old)?..self.end(old)?;
        let rest = self.text.get(range.end..).unwrap_or_default();
        let behind = rest.strip_prefix(',').unwrap_or_default();
        let spaces = behind.len() - behind.trim_start_matches(' ').len();
        if spaces < 2 {
            self.changes.push((range, new.to_owned()));
            return Ok(());
        }
        let width = (range.len() + spaces).saturating_sub(new.len()).max(1);
        self.changes.push((range.start..range.end + 1 + spaces, format!("{new},{:width$}", "")));
        Ok(())
    }

    /// Puts members at the end of a map.
    pub(super) fn insert(&mut self, map: &Yaml, lines: &[Line]) -> Result<(), EditError> {
        if lines.is_empty() {
            return Ok(());
        }
        let entries = map.map().map_err(|error| EditError::Shape { line: error.line })?.entries();
        let last = entries.last().map(|entry| self.end(&entry.value)).transpose()?;
        let in_brackets = lines.iter().map(Line::in_brackets).collect::<Vec<_>>().join(", ");
        match (self.is_flow(map)?, last) {
            (true, Some(last)) => self.changes.push((last..last, format!(", {in_brackets}"))),
            (true, None) => {
                let at = self.start(map)? + 1;
                let space = if self.text.get(at..).is_some_and(|rest| rest.starts_with('}')) { " " } else { "" };
                self.changes.push((at..at, format!(" {in_brackets}{space}")));
            }
            (false, Some(last)) => {
                let indent = entries.first().map_or(0, |entry| entry.start.column);
                let at = self.end_of_line(last);
                self.changes.push((at..at, self.by_line(lines, indent)));
            }
            (false, None) => return Err(EditError::Shape { line: map.line }),
        }
        Ok(())
    }

    /// Puts rows at the end of a server's.
    pub(super) fn add_rows(&mut self, server: &str, lines: &[Line]) -> Result<(), EditError> {
        let rows = self.server(server).ok_or(EditError::Shape { line: 1 })?;
        let root_by_line = self.root.as_ref().map(|root| self.is_flow(root)).transpose()? == Some(false);
        let is_empty = rows.map().is_ok_and(|map| map.entries().is_empty());
        if !(root_by_line && is_empty) {
            return self.insert(&rows, lines);
        }
        // `notes: {}`: the brackets go, and the rows stand below.
        let (start, end) = (self.start(&rows)?, self.end(&rows)?);
        let line_end = self.end_of_line(end);
        let kept = self.text.get(end..line_end).unwrap_or_default();
        let before = self.text.get(..start).unwrap_or_default();
        let from = if kept.trim().is_empty() { before.trim_end_matches(' ').len() } else { start };
        let indent = self.root.iter().filter_map(|root| root.map().ok()?.entries().first()).map(|entry| entry.start.column);
        let below = self.by_line(lines, indent.sum::<usize>() + INDENT);
        self.changes.push((from..line_end, format!("{}{below}", kept.trim())));
        Ok(())
    }

    pub(super) fn add_server(&mut self, server: &str, lines: &[Line]) -> Result<(), EditError> {
        let key = key_text(server);
        let below = |indent: usize| match lines {
            [] => format!("{key}: {{}}"),
            lines => format!("{key}:{}", self.by_line(lines, indent + INDENT)),
        };
        let change = match &self.root {
            None => {
                let gap = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { self.newline };
                let gap = if self.text.trim().is_empty() { gap.to_owned() } else { format!("{gap}{}", self.newline) };
                (self.text.len()..self.text.len(), format!("{gap}{}{}", below(0), self.newline))
            }
            Some(root) => {
                let entries = root.map().map_err(|error| EditError::Shape { line: error.line })?.entries();
                match (self.is_flow(root)?, entries) {
                    (true, []) => (self.start(root)?..self.end(root)?, below(0)),
                    (true, [.., last]) => {
                        let rows = lines.iter().map(Line::in_brackets).collect::<Vec<_>>().join(", ");
                        let at = self.end(&last.value)?;
                        (at..at, format!(", {key}: {{ {rows} }}"))
                    }
                    (false, [first, .., last]) | (false, [first @ last]) => {
                        let (indent, at) = (first.start.column, self.end_of_line(self.end(&last.value)?));
                        let gap = self.newline.repeat(2);
                        (at..at, format!("{gap}{:indent$}{}", "", below(indent)))
                    }
                    (false, []) => return Err(EditError::Shape { line: root.line }),
                }
            }
        };
        self.changes.push(change);
        Ok(())
    }

    pub(super) fn finish(mut self) -> String {
        self.changes.sort_by_key(|(range, _)| (range.start, range.end));
        let mut text = self.text.to_owned();
        for (range, new) in self.changes.into_iter().rev() {
            if text.is_char_boundary(range.start) && text.is_char_boundary(range.end) {
                text.replace_range(range, &new);
            }
        }
        text
    }

    fn by_line(&self, lines: &[Line], indent: usize) -> String {
        lines.iter().map(|line| line.by_line(self.newline, indent)).collect()
    }

    fn is_flow(&self, yaml: &Yaml) -> Result<bool, EditError> {
        Ok(self.text.get(self.start(yaml)?..).is_some_and(|rest| rest.starts_with(['{', '['])))
    }

    fn start(&self, yaml: &Yaml) -> Result<usize, EditError> {
        self.offset(yaml.start).ok_or(EditError::Shape { line: yaml.line })
    }

    /// Behind the last character of a value.
    fn end(&self, yaml: &Yaml) -> Result<usize, EditError> {
        let shape = EditError::Shape { line: yaml.line };
        let start = self.start(yaml)?;
        let rest = self.text.get(start..).unwrap_or_default();
        match &yaml.node {
            Node::Plain(text) if rest.starts_with(text.as_str()) => Ok(start + text.len()),
            Node::Plain(_) => Err(shape),
            Node::List(elements) if !rest.starts_with('[') => elements.last().map_or(Err(shape), |last| self.end(last)),
            Node::Map(map) if !rest.starts_with('{') => map.entries().last().map_or(Err(shape), |last| self.end(&last.value)),
            Node::Quoted(_) => quoted_length(rest).map(|length| start + length).ok_or(shape),
            Node::List(elements) => self.behind_bracket(start + 1, elements.last()),
            Node::Map(map) => self.behind_bracket(start + 1, map.entries().last().map(|last| &last.value)),
        }
    }

    /// Behind the bracket that closes a list or a map: after its last value there are commas, space and comments.
    fn behind_bracket(&self, opened: usize, last: Option<&Yaml>) -> Result<usize, EditError> {
        let mut at = last.map_or(Ok(opened), |last| self.end(last))?;
        loop {
            let rest = self.text.get(at..).unwrap_or_default();
            let found = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ',');
            at += rest.len() - found.len();
            match found.chars().next() {
                Some('}' | ']') => return Ok(at + 1),
                Some('#') => at += found.find('\n').unwrap_or(found.len()),
                Some(_) | None => return Err(EditError::Shape { line: last.map_or(1, |last| last.line) }),
            }
        }
    }

    fn end_of_line(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        at + rest.split('\n').next().map_or(0, |line| line.trim_end_matches('\r').len())
    }

    fn offset(&self, mark: Mark) -> Option<usize> {
        let start = *self.lines.get(mark.line.checked_sub(1)?)?;
        let rest = self.text.get(start..)?;
        let column = rest.char_indices().map(|(at, _)| at).chain([rest.len()]).nth(mark.column)?;
        Some(start + column)
    }
}

/// Up to and with the closing quote. None: it is no text in quotes.
fn quoted_length(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        let escapes = if quote == '"' { c == '\\' } else { c == quote && chars.peek().is_some_and(|(_, next)| *next == quote) };
        if escapes {
            chars.next();
        } else if c == quote {
            return Some(at + 1);
        }
    }
    None
}
