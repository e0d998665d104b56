//! Takes members out of a JSON object, each by name and type, with an error that says where it stood.

use super::ConfigError;
use crate::json::{Json, Object};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// An object of the configuration, and where it stands in it.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    at: String,
    /// None: the object is not there, and every field has its default.
    object: Option<&'a Object>,
}

// === impl Fields ===

impl<'a> Fields<'a> {
    pub(super) fn of(at: &str, json: &'a Json) -> Result<Self, ConfigError> {
        let field = if at.is_empty() { "configuration" } else { at };
        let object = json.as_object().ok_or_else(|| wrong(field, "an object"))?;
        Ok(Self { at: at.to_owned(), object: Some(object) })
    }

    /// The full name of one of these fields, e.g. `routes[0].server`.
    pub(super) fn name(&self, field: &str) -> String {
        if self.at.is_empty() { field.to_owned() } else { format!("{}.{field}", self.at) }
    }

    /// Where this object stands.
    pub(super) fn place(&self) -> &str {
        &self.at
    }

    pub(super) fn only(&self, known: &[&str]) -> Result<(), ConfigError> {
        match self.object.into_iter().flat_map(Object::keys).find(|key| !known.contains(key)) {
            Some(key) => Err(ConfigError::Unknown { field: self.name(key), known: known.join(", ") }),
            None => Ok(()),
        }
    }

    pub(super) fn object(&self, field: &str) -> Result<Self, ConfigError> {
        let at = self.name(field);
        match self.json(field) {
            Some(json) => Self::of(&at, json),
            None => Ok(Self { at, object: None }),
        }
    }

    /// None: it is not there.
    pub(super) fn object_there(&self, field: &str) -> Result<Option<Self>, ConfigError> {
        self.json(field).map(|json| Self::of(&self.name(field), json)).transpose()
    }

    pub(super) fn objects(&self, field: &str) -> Result<Option<Vec<Self>>, ConfigError> {
        let Some(elements) = self.elements(field)? else { return Ok(None) };
        let at = |index| format!("{}[{index}]", self.name(field));
        elements.iter().enumerate().map(|(index, json)| Self::of(&at(index), json)).collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn text(&self, field: &str) -> Result<Option<&'a str>, ConfigError> {
        let Some(json) = self.json(field) else { return Ok(None) };
        let text = json.as_str().ok_or_else(|| wrong(&self.name(field), "a string"))?;
        if text.is_empty() {
            return Err(ConfigError::Empty { field: self.name(field) });
        }
        Ok(Some(text))
    }

    pub(super) fn texts(&self, field: &str) -> Result<Option<Vec<String>>, ConfigError> {
        let Some(elements) = self.elements(field)? else { return Ok(None) };
        let text = |json: &Json| match json.as_str() {
            Some("") => Err(ConfigError::Empty { field: self.name(field) }),
            Some(text) => Ok(text.to_owned()),
            None => Err(wrong(&self.name(field), "a list of strings")),
        };
        elements.iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn number(&self, field: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, ConfigError> {
        let Some(json) = self.json(field) else { return Ok(None) };
        let value = match json {
            Json::Number(number) => number.as_str().parse::<u64>().ok(),
            Json::Null | Json::Bool(_) | Json::String(_) | Json::Array(_) | Json::Object(_) => None,
        };
        let value = value.ok_or_else(|| wrong(&self.name(field), "a whole number"))?;
        if !range.contains(&value) {
            let (min, max) = range.into_inner();
            return Err(ConfigError::Range { field: self.name(field), value, min, max });
        }
        Ok(Some(value))
    }

    /// The members of an object of texts, in their order.
    pub(super) fn pairs(&self, field: &str) -> Result<Vec<(&'a str, &'a str)>, ConfigError> {
        let Some(json) = self.json(field) else { return Ok(Vec::new()) };
        let object = json.as_object().ok_or_else(|| wrong(&self.name(field), "an object"))?;
        let pair = |(key, value): (&'a str, &'a Json)| {
            let text = value.as_str().ok_or_else(|| wrong(&format!("{}.{key}", self.name(field)), "a string"))?;
            Ok((key, text))
        };
        object.iter().map(pair).collect()
    }

    pub(super) fn is_text(&self, field: &str) -> bool {
        self.json(field).is_some_and(|json| json.as_str().is_some())
    }

    pub(super) fn choice<T: Copy>(&self, field: &str, known: &[(&str, T)]) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.text(field)? else { return Ok(None) };
        match known.iter().find(|(name, _)| *name == value) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => Err(ConfigError::Choice {
                field: self.name(field),
                value: value.to_owned(),
                known: known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    fn elements(&self, field: &str) -> Result<Option<&'a [Json]>, ConfigError> {
        let Some(json) = self.json(field) else { return Ok(None) };
        json.as_array().map(Some).ok_or_else(|| wrong(&self.name(field), "a list"))
    }

    fn json(&self, field: &str) -> Option<&'a Json> {
        self.object.and_then(|object| object.get(field))
    }
}

fn wrong(field: &str, wanted: &'static str) -> ConfigError {
    ConfigError::Type { field: field.to_owned(), wanted }
}
