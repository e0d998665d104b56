//! What an argument of a REST call may be. A text of a path or a query is compared with it as it stands, never converted.

use crate::json::{Json, Number};

/// What an argument is, in the words of JSON Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    String,
    /// A number without fraction and exponent.
    Integer,
    Number,
    Boolean,
    Array,
    Object,
    Any,
}

// === impl Type ===

impl Type {
    pub const ALL: [Self; 7] = [Self::String, Self::Integer, Self::Number, Self::Boolean, Self::Array, Self::Object, Self::Any];

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|holds| holds.name() == name)
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array => "array",
            Self::Object => "object",
            Self::Any => "any",
        }
    }

    /// Whether a path or a query can hold it, which know no other values than texts.
    #[must_use]
    pub const fn is_text(self) -> bool {
        match self {
            Self::String | Self::Integer | Self::Number | Self::Boolean => true,
            Self::Array | Self::Object | Self::Any => false,
        }
    }

    /// Whether `text`, in a path or a query, is written as one of these.
    pub(super) fn is_written(self, text: &str) -> bool {
        match self {
            Self::String => !text.is_empty(),
            Self::Integer => Number::parse(text).is_some_and(|number| number.is_integer()),
            Self::Number => Number::parse(text).is_some(),
            Self::Boolean => matches!(text, "true" | "false"),
            Self::Array | Self::Object | Self::Any => false,
        }
    }

    /// Whether some text is written as one of either.
    pub(super) const fn shares_texts(self, other: Self) -> bool {
        match (self, other) {
            (Self::Array | Self::Object | Self::Any, _) | (_, Self::Array | Self::Object | Self::Any) => false,
            (Self::String, _) | (_, Self::String) | (Self::Boolean, Self::Boolean) => true,
            (Self::Integer | Self::Number, Self::Integer | Self::Number) => true,
            (Self::Boolean, Self::Integer | Self::Number) | (Self::Integer | Self::Number, Self::Boolean) => false,
        }
    }

    /// Whether a value of a body is one of these. Null is only what may be anything.
    pub(super) fn holds(self, value: &Json) -> bool {
        match (self, value) {
            (Self::Any, _) => true,
            (Self::Integer, Json::Number(number)) => number.is_integer(),
            (Self::String, Json::String(_))
            | (Self::Number, Json::Number(_))
            | (Self::Boolean, Json::Bool(_))
            | (Self::Array, Json::Array(_))
            | (Self::Object, Json::Object(_)) => true,
            (Self::String | Self::Integer | Self::Number | Self::Boolean | Self::Array | Self::Object, _) => false,
        }
    }
}
