//! The fields of a JSON file of ours, read by name. What is missing or of another kind is named with the way to it.

use super::Unreadable;
use super::once::{Budget, Once};
use agentgate_core::transparency::proof::{Proof, ProofError};
use agentgate_core::transparency::tree::Hash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeSeed as _;
use serde_json::Value;
use serde_json::error::Category;
use std::path::Path;

/// An object, and the way to it.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    path: &'a Path,
    way: String,
    value: &'a Value,
}

/// The value in a file's bytes. Two readers of one text could take different fields for the one that was meant, so none may
/// stand there twice.
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Value, Unreadable> {
    let budget = Budget::of(bytes.len());
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Once(&budget).deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|source| {
        let path = path.to_path_buf();
        match source.classify() {
            Category::Data if budget.is_spent() => Unreadable::Crowded { path },
            Category::Eof => Unreadable::Cut { path, source },
            Category::Data => Unreadable::Twice { path, source },
            Category::Syntax | Category::Io => Unreadable::Json { path, source },
        }
    })
}

/// As it stands in a file of ours.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

// === impl Fields ===

impl<'a> Fields<'a> {
    /// The whole file, which says of itself that it is of this form, and of a version up to `known`.
    pub(crate) fn of(path: &'a Path, value: &'a Value, form: &str, known: u64) -> Result<Self, Unreadable> {
        let fields = Self { path, way: String::new(), value };
        if value.get("form").and_then(Value::as_str) != Some(form) {
            return Err(Unreadable::Form { path: path.into() });
        }
        let found = fields.number("version")?;
        if found == 0 || found > known {
            return Err(Unreadable::Newer { path: path.into(), found, known });
        }
        Ok(fields)
    }

    /// # Errors
    /// Where it has a field of another name.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Unreadable> {
        let other = self.value.as_object().and_then(|fields| fields.keys().find(|name| !known.contains(&name.as_str())));
        other.map_or(Ok(()), |name| Err(self.wrong(name, "a field of its form")))
    }

    /// Whether there is such a field, whatever it holds.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.value.get(name).is_some()
    }

    pub(crate) fn number(&self, name: &str) -> Result<u64, Unreadable> {
        self.field(name).as_u64().ok_or_else(|| self.wrong(name, "a number"))
    }

    pub(crate) fn text(&self, name: &str) -> Result<&'a str, Unreadable> {
        self.field(name).as_str().ok_or_else(|| self.wrong(name, "text"))
    }

    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>, Unreadable> {
        self.decode(name, self.field(name))
    }

    pub(crate) fn all_bytes(&self, name: &str) -> Result<Vec<Vec<u8>>, Unreadable> {
        let values = self.field(name).as_array().ok_or_else(|| self.wrong(name, "a list"))?;
        values.iter().zip(0_usize..).map(|(value, at)| self.decode(&format!("{name}[{at}]"), value)).collect()
    }

    /// A proof's hashes, from the leaves up.
    pub(crate) fn proof(&self, name: &str) -> Result<Proof, Unreadable> {
        let whole = |hash: &Vec<u8>| hash.as_slice().try_into().map(Hash::from_bytes).map_err(|_| ProofError::Bytes(hash.len()));
        let hashes = self.all_bytes(name)?.iter().map(whole).collect::<Result<_, _>>();
        hashes.and_then(Proof::new).map_err(|source| Unreadable::Proof { path: self.path.into(), source })
    }

    pub(crate) fn hex(&self, name: &str) -> Result<Vec<u8>, Unreadable> {
        let text = self.text(name)?;
        let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(pair).collect();
        bytes.filter(|bytes| crate::text::hex(bytes) == text).ok_or_else(|| self.wrong(name, "bytes in hexadecimal digits"))
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Unreadable> {
        self.field(name).as_bool().ok_or_else(|| self.wrong(name, "true or false"))
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, Unreadable> {
        let texts = self.field(name).as_array().map(|all| all.iter().map(|text| text.as_str().map(str::to_owned)).collect());
        texts.flatten().ok_or_else(|| self.wrong(name, "a list of texts"))
    }

    /// The object of this name; none where it is null.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Fields<'a>>, Unreadable> {
        match self.value.get(name) {
            Some(Value::Null) => Ok(None),
            Some(value @ Value::Object(_)) => Ok(Some(Self { path: self.path, way: format!("{}{name}.", self.way), value })),
            Some(_) | None => Err(self.wrong(name, "an object or null")),
        }
    }

    pub(crate) fn objects(&self, name: &str) -> Result<Vec<Fields<'a>>, Unreadable> {
        let values = self.field(name).as_array().ok_or_else(|| self.wrong(name, "a list"))?;
        let object = |(value, at)| Self { path: self.path, way: format!("{}{name}[{at}].", self.way), value };
        Ok(values.iter().zip(0_usize..).map(object).collect())
    }

    pub(crate) fn wrong(&self, name: &str, wanted: &'static str) -> Unreadable {
        Unreadable::Field { path: self.path.into(), field: format!("{}{name}", self.way), wanted }
    }

    fn decode(&self, name: &str, value: &Value) -> Result<Vec<u8>, Unreadable> {
        let decoded = value.as_str().and_then(|text| STANDARD.decode(text).ok());
        decoded.ok_or_else(|| self.wrong(name, "bytes in base64"))
    }

    fn field(&self, name: &str) -> &'a Value {
        static NULL: Value = Value::Null;
        self.value.get(name).unwrap_or(&NULL)
    }
}
