//! What a value of the plugin's configuration may be, as a table's entry, and the words for one that is something else.
//!
//! The words are the filter's own: whoever reads both must not wonder whether they are two faults.

use agentgate_core::json::{Json, Object};

/// One field of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) needed: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Text,
    /// From and to.
    Number(u64, u64),
    Choice(&'static [&'static str]),
    /// No other fields than these.
    Object(&'static [Member]),
    /// What has a rule of its own.
    Own(fn(&str, &Json) -> Result<(), String>),
}

// === impl Member ===

impl Member {
    pub(super) const fn needed(name: &'static str, shape: Shape) -> Self {
        Self { name, shape, needed: true }
    }

    pub(super) const fn optional(name: &'static str, shape: Shape) -> Self {
        Self { name, shape, needed: false }
    }
}

// === impl Shape ===

impl Shape {
    /// # Errors
    /// It is something else; with its full name.
    pub(super) fn check(&self, at: &str, json: &Json) -> Result<(), String> {
        match self {
            Self::Text => text(at, json).map(|_| ()),
            Self::Number(from, to) => number(at, json, *from, *to),
            Self::Choice(known) => {
                let value = text(at, json)?;
                if known.contains(&value) { Ok(()) } else { Err(choice(at, value, &known.join(", "))) }
            }
            Self::Object(members) => object(at, json, members).map(|_| ()),
            Self::Own(check) => check(at, json),
        }
    }
}

/// The full name of a field: `routes[0].server`.
#[must_use]
pub(super) fn name(at: &str, field: &str) -> String {
    if at.is_empty() { field.to_owned() } else { format!("{at}.{field}") }
}

pub(super) fn object<'a>(at: &str, json: &'a Json, members: &[Member]) -> Result<&'a Object, String> {
    let shown = if at.is_empty() { "configuration" } else { at };
    let object = json.as_object().ok_or_else(|| wrong(shown, "an object"))?;
    if let Some(key) = object.keys().find(|key| !members.iter().any(|member| member.name == *key)) {
        let known: Vec<&str> = members.iter().map(|member| member.name).collect();
        return Err(format!("`{}` is unknown: {} are known here", name(at, key), known.join(", ")));
    }
    for member in members {
        match object.get(member.name) {
            Some(json) => member.shape.check(&name(at, member.name), json)?,
            None if member.needed => return Err(format!("`{}` is missing", name(at, member.name))),
            None => {}
        }
    }
    Ok(object)
}

pub(super) fn text<'a>(at: &str, json: &'a Json) -> Result<&'a str, String> {
    match json.as_str() {
        Some("") => Err(empty(at)),
        Some(text) => Ok(text),
        None => Err(wrong(at, "a string")),
    }
}

pub(super) fn texts<'a>(at: &str, json: &'a Json) -> Result<Vec<&'a str>, String> {
    let text = |json: &'a Json| match json.as_str() {
        Some("") => Err(empty(at)),
        Some(text) => Ok(text),
        None => Err(wrong(at, "a list of strings")),
    };
    elements(at, json)?.iter().map(text).collect()
}

pub(super) fn elements<'a>(at: &str, json: &'a Json) -> Result<&'a [Json], String> {
    json.as_array().ok_or_else(|| wrong(at, "a list"))
}

/// Not empty, and not more than so many.
pub(super) fn bounded<T>(at: &str, list: &[T], max: usize) -> Result<(), String> {
    match list.len() {
        0 => Err(empty(at)),
        len if len > max => Err(too_many(at, max)),
        _ => Ok(()),
    }
}

pub(super) fn short(at: &str, text: &str, bytes_max: usize) -> Result<(), String> {
    if text.len() > bytes_max { Err(format!("`{at}` is longer than {bytes_max} bytes")) } else { Ok(()) }
}

fn number(at: &str, json: &Json, from: u64, to: u64) -> Result<(), String> {
    let written = match json {
        Json::Number(number) => number.as_str().parse::<u64>().ok(),
        Json::Null | Json::Bool(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => None,
    };
    let value = written.ok_or_else(|| wrong(at, "a whole number"))?;
    if (from..=to).contains(&value) { Ok(()) } else { Err(format!("`{at}` is {value}: it must be {from} to {to}")) }
}

/// The first that is there before.
pub(super) fn twice(at: &str, list: &[&str]) -> Result<(), String> {
    let again = list.iter().enumerate().find(|(index, value)| list.iter().take(*index).any(|other| other == *value));
    again.map_or(Ok(()), |(_, value)| Err(format!("`{at}` is named twice: `{value}`")))
}

pub(super) fn choice(at: &str, value: &str, known: &str) -> String {
    format!("`{at}` is `{value}`: take one of {known}")
}

pub(super) fn path(at: &str, value: &str) -> String {
    format!("`{at}`: `{value}` must begin with a slash and have no query, fragment, `;`, `%`, `//` or dot segment")
}

pub(super) fn too_many(at: &str, max: usize) -> String {
    format!("`{at}` has more than {max} entries")
}

pub(super) fn wrong(at: &str, wanted: &str) -> String {
    format!("`{at}` is not {wanted}")
}

fn empty(at: &str) -> String {
    format!("`{at}` is empty")
}
