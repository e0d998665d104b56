//! A value of Envoy's configuration that knows where it stands. It is read loosely: names in both of protobuf's spellings,
//! numbers as text, and what is absent is nothing.

use super::yaml::{Document, step};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

const NULL: &Value = &Value::Null;

#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) value: &'a Value,
    path: String,
    lines: &'a BTreeMap<String, usize>,
}

// === impl Place ===

impl<'a> Place<'a> {
    #[must_use]
    pub(crate) fn root(document: &'a Document) -> Self {
        Self { value: &document.value, path: String::new(), lines: &document.lines }
    }

    /// The field, or a null that stands where it would.
    #[must_use]
    pub(crate) fn field(&self, name: &str) -> Self {
        let camel = camel(name);
        let found = [name, &camel].into_iter().find_map(|key| Some((key.to_owned(), self.value.get(key)?)));
        let (key, value) = found.unwrap_or_else(|| (name.to_owned(), NULL));
        Self { value, path: step(&self.path, &key), lines: self.lines }
    }

    /// Field by field, `a.b.c`.
    #[must_use]
    pub(crate) fn at(&self, path: &str) -> Self {
        path.split('.').fold(self.clone(), |place, name| place.field(name))
    }

    /// The elements of a list; none where there is no list.
    #[must_use]
    pub(crate) fn items(&self) -> Vec<Self> {
        let list = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        let item = |(at, value)| Self { value, path: format!("{}[{at}]", self.path), lines: self.lines };
        list.iter().enumerate().map(item).collect()
    }

    /// The members of a map.
    #[must_use]
    pub(crate) fn members(&self) -> Vec<(&'a str, Self)> {
        let members = self.value.as_object().into_iter().flatten();
        members.map(|(key, value)| (key.as_str(), Self { value, path: step(&self.path, key), lines: self.lines })).collect()
    }

    #[must_use]
    pub(crate) fn is_there(&self) -> bool {
        !self.value.is_null()
    }

    #[must_use]
    pub(crate) fn text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    #[must_use]
    pub(crate) fn number(&self) -> Option<u64> {
        self.value.as_u64().or_else(|| self.text()?.parse().ok())
    }

    /// As Envoy's YAML has it: `yes` and `on` are true as well.
    #[must_use]
    pub(crate) fn is_true(&self) -> bool {
        let word = |text: &str| ["true", "yes", "on", "y"].iter().any(|word| text.eq_ignore_ascii_case(word));
        self.value.as_bool().unwrap_or_else(|| self.text().is_some_and(word))
    }

    /// `1.5s`.
    #[must_use]
    pub(crate) fn duration(&self) -> Option<Duration> {
        let seconds = self.text()?.strip_suffix('s')?.parse::<f64>().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The protobuf message that stands here, by its last name: `HttpConnectionManager`.
    #[must_use]
    pub(crate) fn kind(&self) -> &'a str {
        let kind = self.field("@type").text().unwrap_or_default();
        let kind = if kind.ends_with("TypedStruct") { self.field("type_url").text().unwrap_or_default() } else { kind };
        kind.rsplit(['.', '/']).next().unwrap_or_default()
    }

    /// What is inside of a `TypedStruct`; else this itself.
    #[must_use]
    pub(crate) fn opened(&self) -> Self {
        let wrapped = self.field("@type").text().is_some_and(|kind| kind.ends_with("TypedStruct"));
        if wrapped { self.field("value") } else { self.clone() }
    }

    /// The line in the file; that of the nearest value around it where it is absent.
    #[must_use]
    pub(crate) fn line(&self) -> Option<usize> {
        let mut path = self.path.as_str();
        loop {
            if let Some(line) = self.lines.get(path) {
                return Some(*line).filter(|_| !path.is_empty());
            }
            path = path.rfind(['.', '[']).and_then(|at| path.get(..at)).unwrap_or_default();
            if path.is_empty() {
                return None;
            }
        }
    }

    /// Every value under this name, at any depth.
    #[must_use]
    pub(crate) fn all(&self, name: &str) -> Vec<Self> {
        let camel = camel(name);
        let mut found = Vec::new();
        let mut open = vec![self.clone()];
        while let Some(place) = open.pop() {
            for (key, member) in place.members() {
                if key == name || key == camel {
                    found.push(member.clone());
                }
                open.push(member);
            }
            open.extend(place.items());
        }
        found
    }
}

/// `merge_slashes` as `mergeSlashes`.
fn camel(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                camel.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => camel.push(c),
        }
    }
    camel
}
