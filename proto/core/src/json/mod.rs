//! JSON read strictly (decision 0002). Numbers keep their text, objects their order; a key that could be read in two
//! ways is refused. It never repairs, and it never turns a number into a machine's.

mod number;
mod reader;
mod writer;

use alloc::string::String;
use alloc::vec::Vec;

pub use number::Number;
pub(crate) use reader::escaped;
pub use reader::{Bounds, DEPTH_MAX, Fault, Keys, read};
pub(crate) use writer::write_string;

/// A JSON value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Json>),
    Object(Object),
}

/// The members of an object in the order received. No two keys are equal; in a request no two are equal under folding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Vec<(String, Json)>);

// === impl Json ===

impl Json {
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Null | Self::Number(_) | Self::String(_) | Self::Array(_) | Self::Object(_) => None,
        }
    }

    #[must_use]
    pub fn as_array(&self) -> Option<&[Json]> {
        match self {
            Self::Array(elements) => Some(elements),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::Object(_) => None,
        }
    }

    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::Array(_) => None,
        }
    }

    /// Whether `wanted` holds for every number in this value, however deep.
    #[must_use]
    pub fn all_numbers(&self, wanted: fn(&Number) -> bool) -> bool {
        match self {
            Self::Null | Self::Bool(_) | Self::String(_) => true,
            Self::Number(number) => wanted(number),
            Self::Array(elements) => elements.iter().all(|element| element.all_numbers(wanted)),
            Self::Object(object) => object.all_numbers(wanted),
        }
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Self {
        Self::Number(value.into())
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<Vec<Json>> for Json {
    fn from(elements: Vec<Json>) -> Self {
        Self::Array(elements)
    }
}

impl From<Object> for Json {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

// === impl Object ===

impl Object {
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Json> {
        self.0.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_str())
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts `value` under `key`: in the place of what stood there, else at the end.
    pub fn set(&mut self, key: &str, value: impl Into<Json>) {
        match self.get_mut(key) {
            Some(old) => *old = value.into(),
            None => self.0.push((key.into(), value.into())),
        }
    }

    /// This object with `value` under `key`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Json>) -> Self {
        self.set(key, value);
        self
    }

    /// This object with the members of another behind its own. INVARIANT: no key is in both.
    pub(crate) fn followed_by(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Takes the member `key` out.
    pub fn remove(&mut self, key: &str) -> Option<Json> {
        let place = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.remove(place).1)
    }

    /// Whether `wanted` holds for every number in here, however deep.
    #[must_use]
    pub fn all_numbers(&self, wanted: fn(&Number) -> bool) -> bool {
        self.0.iter().all(|(_, value)| value.all_numbers(wanted))
    }
}

#[cfg(test)]
mod tests;
