//! The arguments of a tool: their names, and of which JSON types each may be. It says what a value is and judges no call.

use agentgate_core::fold;
use agentgate_core::json::{Json, Object};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Names that one tool may have: more than a person reviews in one row.
pub const ARGUMENTS_MAX: usize = 256;

/// The name of one: a key of YAML may have no more than 1,024 characters, and quotes and escapes count.
pub const ARGUMENT_BYTES_MAX: usize = 256;

/// The types of JSON Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    Null,
    Boolean,
    /// A number that is written without fraction and exponent.
    Integer,
    Number,
    String,
    Array,
    Object,
}

/// Of which types one argument may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Types {
    Any,
    /// Of one of these; never empty.
    Of(BTreeSet<Type>),
}

/// All arguments of one tool, by name. No two names look alike, and each is plain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments(BTreeMap<String, Types>);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ArgumentsError {
    #[error("`{}` is no name of an argument: it is empty, too long, not in normal form C or holds characters that are not seen", name.escape_debug())]
    Name { name: String },
    #[error("the arguments `{}` and `{}` look alike", one.escape_debug(), other.escape_debug())]
    Alike { one: String, other: String },
    #[error("more than {ARGUMENTS_MAX} arguments")]
    TooMany,
}

// === impl Type ===

impl Type {
    pub const ALL: [Self; 7] = [Self::Null, Self::Boolean, Self::Integer, Self::Number, Self::String, Self::Array, Self::Object];

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == text)
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::String => "string",
            Self::Array => "array",
            Self::Object => "object",
        }
    }

    /// The narrowest type of a value.
    #[must_use]
    pub fn of(value: &Json) -> Self {
        match value {
            Json::Null => Self::Null,
            Json::Bool(_) => Self::Boolean,
            Json::Number(number) if number.is_integer() => Self::Integer,
            Json::Number(_) => Self::Number,
            Json::String(_) => Self::String,
            Json::Array(_) => Self::Array,
            Json::Object(_) => Self::Object,
        }
    }
}

// === impl Types ===

impl Types {
    /// `any` in a table.
    pub const ANY: &'static str = "any";

    #[must_use]
    pub fn one(kind: Type) -> Self {
        Self::Of(BTreeSet::from([kind]))
    }

    /// Whether `value` is of one of them. Every integer is a number.
    #[must_use]
    pub fn takes(&self, value: &Json) -> bool {
        let Self::Of(types) = self else { return true };
        let kind = Type::of(value);
        types.contains(&kind) || (kind == Type::Integer && types.contains(&Type::Number))
    }

    /// These and those of `other`.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Of(these), Self::Of(those)) => Self::Of(these.union(those).copied().collect()),
            (Self::Any, _) | (_, Self::Any) => Self::Any,
        }
    }

    /// Their names in one order; `any` alone for any.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        match self {
            Self::Any => vec![Self::ANY],
            Self::Of(types) => types.iter().map(|kind| kind.name()).collect(),
        }
    }
}

// === impl Arguments ===

impl Arguments {
    /// # Errors
    /// When a name is not plain, two look alike, or there are too many.
    pub fn new(arguments: impl IntoIterator<Item = (String, Types)>) -> Result<Self, ArgumentsError> {
        let mut all = Self::default();
        for (name, types) in arguments {
            all.insert(&name, types)?;
        }
        Ok(all)
    }

    /// Puts one in, in the place of what had its name.
    ///
    /// # Errors
    /// As `new`.
    pub fn insert(&mut self, name: &str, types: Types) -> Result<(), ArgumentsError> {
        if !fold::is_plain(name) || name.len() > ARGUMENT_BYTES_MAX {
            return Err(ArgumentsError::Name { name: name.chars().take(64).collect() });
        }
        if !self.0.contains_key(name) {
            if let Some(other) = self.alike(name) {
                return Err(ArgumentsError::Alike { one: other.to_owned(), other: name.to_owned() });
            }
            if self.0.len() >= ARGUMENTS_MAX {
                return Err(ArgumentsError::TooMany);
            }
        }
        self.0.insert(name.to_owned(), types);
        Ok(())
    }

    /// Widens them by what one call wrote. What no table could hold is left out, and so is what is too much.
    pub fn see(&mut self, arguments: &Object) {
        for (name, value) in arguments.iter() {
            let seen = Types::one(Type::of(value));
            let types = self.get(name).map_or_else(|| seen.clone(), |known| known.with(&seen));
            // A name that no table can hold is no evidence for a row.
            drop(self.insert(name, types));
        }
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Types> {
        self.0.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Types)> {
        self.0.iter().map(|(name, types)| (name.as_str(), types))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// A name here that `name` could be taken for.
    #[must_use]
    pub fn alike(&self, name: &str) -> Option<&str> {
        let folded = fold::key(name);
        self.0.keys().map(String::as_str).find(|known| *known != name && fold::key(known) == folded)
    }
}

#[cfg(test)]
mod tests;
