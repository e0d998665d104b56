//! YAML read strictly, with the line of everything: YAML 1.2, one document, no anchors, aliases, tags or merge keys, and
//! no key twice. It decides nothing about types: a plain `no` is the text `no` until someone asks for more.

use agentgate_core::json::{Json, Number, Object};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};
use std::collections::BTreeSet;
use thiserror::Error;

/// Lists and maps inside each other. Far more than a case needs, far less than the stack has.
const DEPTH_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub(crate) struct YamlError {
    pub line: usize,
    pub what: String,
}

/// A place in the text: a line from 1, and characters before it in that line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub line: usize,
    pub column: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Yaml {
    pub line: usize,
    pub node: Node,
    pub start: Mark,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// Without quotes: a number, a boolean or a text, whatever is asked for.
    Plain(String),
    Quoted(String),
    List(Vec<Yaml>),
    Map(Map),
}

/// The members of a map in their order, no key twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Map(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub key: String,
    pub start: Mark,
    pub value: Yaml,
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
}

/// Reads the one document of `text`.
pub(crate) fn read(text: &str) -> Result<Yaml, YamlError> {
    read_if_any(text)?.ok_or_else(|| wrong(1, "nothing is written here"))
}

/// None: there is nothing but comments.
pub(crate) fn read_if_any(text: &str) -> Result<Option<Yaml>, YamlError> {
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    let mut document = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(document),
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd => {
                if document.is_some() {
                    return Err(wrong(span.start.line(), "a second document; keep one to a file"));
                }
                document = Some(reader.node(event, span, 0)?);
            }
        }
    }
}

fn wrong(line: usize, what: impl Into<String>) -> YamlError {
    YamlError { line, what: what.into() }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span)),
            Some(Err(error)) => Err(error.into()),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Yaml, YamlError> {
        let line = span.start.line();
        if depth > DEPTH_MAX {
            return Err(wrong(line, format!("more than {DEPTH_MAX} lists and maps inside each other")));
        }
        let node = match event {
            Event::Scalar(_, _, 1.., _) | Event::SequenceStart(1.., _) | Event::MappingStart(1.., _) | Event::Alias(_) => {
                return Err(wrong(line, "an anchor or an alias; write the value out"));
            }
            Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_)) => {
                return Err(wrong(line, "a tag; the type is known from the place"));
            }
            Event::Scalar(text, ScalarStyle::Plain, 0, None) => Node::Plain(text.into_owned()),
            Event::Scalar(text, _, 0, None) => Node::Quoted(text.into_owned()),
            Event::SequenceStart(0, None) => Node::List(self.list(depth)?),
            Event::MappingStart(0, None) => Node::Map(self.map(depth)?),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(wrong(line, "a value is missing")),
        };
        Ok(Yaml { line, node, start: Mark::of(span.start) })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Yaml>, YamlError> {
        let mut elements = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(elements);
            }
            elements.push(self.node(event, span, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Map, YamlError> {
        let mut map = Map::default();
        let mut seen = BTreeSet::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(map);
            }
            let (line, start) = (span.start.line(), Mark::of(span.start));
            let key = match self.node(event, span, depth + 1)?.node {
                Node::Plain(key) | Node::Quoted(key) => key,
                Node::List(_) | Node::Map(_) => return Err(wrong(line, "a key that is a list or a map")),
            };
            if !seen.insert(key.clone()) {
                return Err(wrong(line, format!("`{key}` is here twice")));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            map.0.push(Entry { key, start, value });
        }
    }
}

// === impl Mark ===

impl Mark {
    fn of(marker: Marker) -> Self {
        Self { line: marker.line(), column: marker.col() }
    }
}

impl From<ScanError> for YamlError {
    fn from(error: ScanError) -> Self {
        wrong(error.marker().line(), error.info())
    }
}

// === impl Yaml ===

impl Yaml {
    pub(crate) fn wrong(&self, what: impl Into<String>) -> YamlError {
        wrong(self.line, what)
    }

    pub(crate) fn text(&self) -> Result<&str, YamlError> {
        match &self.node {
            Node::Plain(text) | Node::Quoted(text) => Ok(text),
            Node::List(_) | Node::Map(_) => Err(self.wrong("a text is wanted here")),
        }
    }

    pub(crate) fn list(&self) -> Result<&[Yaml], YamlError> {
        match &self.node {
            Node::List(elements) => Ok(elements),
            Node::Plain(_) | Node::Quoted(_) | Node::Map(_) => Err(self.wrong("a list is wanted here")),
        }
    }

    pub(crate) fn map(&self) -> Result<&Map, YamlError> {
        match &self.node {
            Node::Map(map) => Ok(map),
            Node::Plain(_) | Node::Quoted(_) | Node::List(_) => Err(self.wrong("a map is wanted here")),
        }
    }

    /// A map with no other keys than `known`.
    pub(crate) fn fields(&self, known: &[&str]) -> Result<&Map, YamlError> {
        let map = self.map()?;
        match map.iter().find(|(key, _)| !known.contains(key)) {
            Some((key, value)) => Err(value.wrong(format!("`{key}` is no field here; there are `{}`", known.join("`, `")))),
            None => Ok(map),
        }
    }

    /// JSON of it. A plain scalar is null, a boolean or a number where JSON writes it so, and else a text.
    pub(crate) fn to_json(&self) -> Json {
        match &self.node {
            Node::Plain(text) => match text.as_str() {
                "null" => Json::Null,
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                text => Number::parse(text).map_or_else(|| Json::from(text), Json::Number),
            },
            Node::Quoted(text) => Json::from(text.as_str()),
            Node::List(elements) => Json::Array(elements.iter().map(Self::to_json).collect()),
            Node::Map(map) => Json::Object(map.to_json()),
        }
    }
}

// === impl Map ===

impl Map {
    pub(crate) fn get(&self, key: &str) -> Option<&Yaml> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Yaml)> {
        self.0.iter().map(|entry| (entry.key.as_str(), &entry.value))
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.0
    }

    pub(crate) fn to_json(&self) -> Object {
        self.iter().fold(Object::default(), |object, (key, value)| object.with(key, value.to_json()))
    }
}

#[cfg(test)]
mod tests;
