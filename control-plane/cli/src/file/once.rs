//! Any JSON value, of which no object holds a key twice, and which is not much larger in memory than in its file: a list of
//! zeros would be sixteen times as large, and objects of one key three hundred times.

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt;

/// A value takes one part, which is 32 bytes of memory, and text one more for where it lies.
pub(crate) const TEXT_PARTS: usize = 2;

/// An object takes memory for so many keys at once.
pub(crate) const OBJECT_KEYS: usize = 6;
pub(crate) const OBJECT_PARTS: usize = 20;

/// Files of ours have 12 bytes and more for each part: mostly base64, and indented.
pub(crate) const PART_BYTES_MIN: usize = 6;

/// Whatever a file's size.
pub(crate) const PARTS_FREE: usize = 16_384;

/// What may still be read.
#[derive(Debug)]
pub(super) struct Budget(Cell<Option<usize>>);

/// Reads one value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Once<'a>(pub(super) &'a Budget);

// === impl Budget ===

impl Budget {
    /// For a file of so many bytes.
    pub(crate) const fn of(bytes: usize) -> Self {
        Self(Cell::new(Some(PARTS_FREE + bytes / PART_BYTES_MIN)))
    }

    pub(crate) const fn is_spent(&self) -> bool {
        self.0.get().is_none()
    }

    fn take<E: Error>(&self, parts: usize) -> Result<(), E> {
        self.0.set(self.0.get().and_then(|left| left.checked_sub(parts)));
        if self.is_spent() { Err(E::custom("it holds too many values")) } else { Ok(()) }
    }
}

// === impl Once ===

impl<'de> DeserializeSeed<'de> for Once<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.0.take(1).map(|()| Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.0.take(1).map(|()| Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.0.take(1).map(|()| Value::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.0.take(1).map(|()| Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.0.take(1).map(|()| Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        self.0.take(TEXT_PARTS).map(|()| Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        self.0.take(1)?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.0.take(1)?;
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if object.len().is_multiple_of(OBJECT_KEYS) {
                self.0.take(OBJECT_PARTS)?;
            }
            let value = map.next_value_seed(self)?;
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("`{key}`")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
