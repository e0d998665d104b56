//! Envoy's YAML or JSON as plain values, with the line of each. The only file of this program that names a YAML parser.
//!
//! It is read as loosely as Envoy reads it, but for what would be read in two ways: a key twice, or a second document.

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;
use thiserror::Error;

/// Lists and maps inside each other. Envoy's deepest configuration has some thirty.
const DEPTH_MAX: usize = 64;

/// Values in one document: aliases of aliases grow without end, and a mesh's largest dump has some hundred thousand.
const VALUES_MAX: usize = 2_000_000;

/// A document, and where each of its values stands: by path, like `static_resources.listeners[0].name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) value: Value,
    pub(crate) lines: BTreeMap<String, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub(crate) struct YamlError {
    pub(crate) line: usize,
    pub(crate) what: String,
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    lines: BTreeMap<String, usize>,
    anchors: BTreeMap<usize, (Value, usize)>,
    values: usize,
}

/// # Errors
/// It is no YAML, or could be read in two ways.
pub(crate) fn read(text: &str) -> Result<Document, YamlError> {
    let parser = Parser::new_from_str(text);
    let mut reader = Reader { parser, lines: BTreeMap::new(), anchors: BTreeMap::new(), values: 0 };
    let mut document = None;
    loop {
        let (event, line) = reader.next()?;
        match event {
            Event::StreamEnd => break,
            Event::Nothing | Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
            Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd => {
                if document.is_some() {
                    return Err(wrong(line, "a second document; Envoy reads one"));
                }
                document = Some(reader.value(event, line, "", 0)?.0);
            }
        }
    }
    let value = document.ok_or_else(|| wrong(1, "nothing is written here"))?;
    Ok(Document { value, lines: reader.lines })
}

fn wrong(line: usize, what: impl Into<String>) -> YamlError {
    YamlError { line, what: what.into() }
}

/// A path one step deeper.
#[must_use]
pub(crate) fn step(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, usize), YamlError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => Err(wrong(error.marker().line(), error.info())),
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    /// The value, and how many values it is made of.
    fn value(&mut self, event: Event<'a>, line: usize, path: &str, depth: usize) -> Result<(Value, usize), YamlError> {
        if depth > DEPTH_MAX {
            return Err(wrong(line, format!("more than {DEPTH_MAX} lists and maps inside each other")));
        }
        self.lines.insert(path.to_owned(), line);
        let (anchor, value, inside) = match event {
            Event::Alias(anchor) => {
                let (value, size) = self.anchors.get(&anchor).cloned().ok_or_else(|| wrong(line, "an alias of nothing"))?;
                (0, value, size)
            }
            Event::Scalar(text, ScalarStyle::Plain, anchor, None) => (anchor, plain(&text), 1),
            Event::Scalar(text, _, anchor, _) => (anchor, Value::String(text.into_owned()), 1),
            Event::SequenceStart(anchor, _) => {
                let (list, size) = self.list(path, depth)?;
                (anchor, list, size)
            }
            Event::MappingStart(anchor, _) => {
                let (map, size) = self.map(path, depth)?;
                (anchor, map, size)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(wrong(line, "a value is missing")),
        };
        self.values += if inside > 1 { 1 } else { inside };
        if self.values.saturating_add(inside) > VALUES_MAX {
            return Err(wrong(line, format!("more than {VALUES_MAX} values")));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, (value.clone(), inside));
        }
        Ok((value, inside))
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<(Value, usize), YamlError> {
        let (mut list, mut size) = (Vec::new(), 1);
        loop {
            let (event, line) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok((Value::Array(list), size));
            }
            let (value, inside) = self.value(event, line, &format!("{path}[{}]", list.len()), depth + 1)?;
            size += inside;
            list.push(value);
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<(Value, usize), YamlError> {
        let (mut map, mut size) = (Map::new(), 1);
        loop {
            let (event, line) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok((Value::Object(map), size)),
                Event::Scalar(key, ..) => key.into_owned(),
                Event::Nothing
                | Event::StreamStart
                | Event::StreamEnd
                | Event::DocumentStart(_)
                | Event::DocumentEnd
                | Event::Alias(_)
                | Event::SequenceStart(..)
                | Event::SequenceEnd
                | Event::MappingStart(..) => return Err(wrong(line, "a key that is no word")),
            };
            let (event, line) = self.next()?;
            let (value, inside) = self.value(event, line, &step(path, &key), depth + 1)?;
            size += inside;
            if map.insert(key.clone(), value).is_some() {
                return Err(wrong(line, format!("`{key}` is here twice")));
            }
        }
    }
}

/// A scalar without quotes is what JSON would make of it, and else a text.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => serde_json::from_str::<Number>(text).map_or_else(|_| Value::String(text.to_owned()), Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::{DEPTH_MAX, read};
    use serde_json::json;

    #[test]
    fn yaml_and_json_are_read_to_the_same_values() {
        for text in
            ["a: [1, true, ~, x, \"1\"]\nb: {c: 0.5s}\n", "{\"a\": [1, true, null, \"x\", \"1\"], \"b\": {\"c\": \"0.5s\"}}"]
        {
            let document = read(text).expect(text);
            assert_eq!(document.value, json!({"a": [1, true, null, "x", "1"], "b": {"c": "0.5s"}}));
        }
        let document = read("a:\n  - b: 1\n  - c:\n      d: 2\n").expect("yaml");
        assert_eq!(document.lines.get("a[1].c.d"), Some(&4));
    }

    #[test]
    fn an_alias_is_what_it_stands_for() {
        let document = read("a: &x {b: 1}\nc: *x\n").expect("yaml");
        assert_eq!(document.value, json!({"a": {"b": 1}, "c": {"b": 1}}));
    }

    #[test]
    fn what_could_be_read_in_two_ways_or_has_no_end_is_refused() {
        let bomb: String = (1..40).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1)).collect();
        for (text, said) in [
            ("a: 1\na: 2\n", "line 2: `a` is here twice"),
            ("a: 1\n---\nb: 1\n", "a second document"),
            ("", "nothing is written"),
            ("a: [", "line"),
            (&("[".repeat(DEPTH_MAX + 2) + &"]".repeat(DEPTH_MAX + 2)), "inside each other"),
            (&format!("a0: &a0 1\n{bomb}"), "values"),
        ] {
            let error = read(text).expect_err(said).to_string();
            assert!(error.contains(said), "{error}");
        }
        assert!(read(&("[".repeat(DEPTH_MAX) + &"]".repeat(DEPTH_MAX))).is_ok());
    }
}
