//! The reader: bytes in, one value or one named fault out, in one pass.
//!
//! It refuses whatever two readers could take for different things: bytes that are not UTF-8, a byte order mark, trailing
//! data, a repeated key, keys that differ only by case or by characters that are not seen, half a surrogate pair.

use super::number::grammatical;
use super::{Json, Number, Object};
use crate::fold;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use thiserror::Error;

/// Objects and arrays inside each other, whatever the caller's own bound: reading, writing, comparing and dropping a value
/// go down one stack frame for each, and the smallest stack is a wasm VM's.
pub const DEPTH_MAX: usize = 128;

/// What bounds one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Objects and arrays inside each other; never above [`DEPTH_MAX`].
    pub depth_max: usize,
    /// The text of one number.
    pub number_bytes_max: usize,
    /// Members and elements of the whole text, the outermost value included.
    pub values_max: usize,
}

/// When two keys of one object are one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// When they are equal: for what servers write, where arbitrary maps are data.
    Exact,
    /// When they are equal under folding, and `__proto__` always: for what clients write.
    Folded,
}

/// Why a text cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    #[error("the body is not UTF-8")]
    NotUtf8,
    #[error("the body begins with a byte order mark")]
    ByteOrderMark,
    #[error("the body is empty")]
    Empty,
    #[error("the body ends in the middle of its JSON")]
    Truncated,
    #[error("the body is not JSON")]
    NotJson,
    #[error("the body goes on after its JSON")]
    TrailingData,
    #[error("a string holds half a surrogate pair")]
    LoneSurrogate,
    #[error("an object holds the same key twice")]
    DuplicateKey,
    #[error("an object holds two keys that differ only by case or by characters that are not seen")]
    FoldedKey,
    #[error("an object holds the key `__proto__`")]
    ProtoKey,
    #[error("objects and arrays lie too deep inside each other")]
    TooDeep,
    #[error("a number is too long")]
    NumberTooLong,
    #[error("the body holds too many values")]
    TooManyValues,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    bounds: Bounds,
    keys: Keys,
    values: usize,
}

/// Reads `bytes` as exactly one JSON value.
///
/// # Errors
/// The first fault met, left to right.
pub fn read(bytes: &[u8], bounds: Bounds, keys: Keys) -> Result<Json, Fault> {
    let text = core::str::from_utf8(bytes).map_err(|_| Fault::NotUtf8)?;
    if text.starts_with('\u{feff}') {
        return Err(Fault::ByteOrderMark);
    }
    let mut reader = Reader { text, at: 0, bounds, keys, values: 0 };
    reader.space();
    if reader.peek().is_none() {
        return Err(Fault::Empty);
    }
    let value = reader.value(0)?;
    reader.space();
    if reader.peek().is_some() {
        return Err(Fault::TrailingData);
    }
    Ok(value)
}

// === impl Fault ===

impl Fault {
    /// The one spelling of this fault, in records, metrics and answers.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::ByteOrderMark => "byte_order_mark",
            Self::Empty => "body_empty",
            Self::Truncated => "truncated",
            Self::NotJson => "not_json",
            Self::TrailingData => "trailing_data",
            Self::LoneSurrogate => "lone_surrogate",
            Self::DuplicateKey => "duplicate_key",
            Self::FoldedKey => "folded_key",
            Self::ProtoKey => "proto_key",
            Self::TooDeep => "too_deep",
            Self::NumberTooLong => "number_too_long",
            Self::TooManyValues => "too_many_values",
        }
    }

    pub const ALL: [Self; 13] = [
        Self::NotUtf8,
        Self::ByteOrderMark,
        Self::Empty,
        Self::Truncated,
        Self::NotJson,
        Self::TrailingData,
        Self::LoneSurrogate,
        Self::DuplicateKey,
        Self::FoldedKey,
        Self::ProtoKey,
        Self::TooDeep,
        Self::NumberTooLong,
        Self::TooManyValues,
    ];
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Steps over `byte`, or says whether the text ended or went wrong.
    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        match self.peek() {
            Some(found) if found == byte => {
                self.at += 1;
                Ok(())
            }
            Some(_) => Err(Fault::NotJson),
            None => Err(Fault::Truncated),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json, Fault> {
        self.values += 1;
        if self.values > self.bounds.values_max {
            return Err(Fault::TooManyValues);
        }
        match self.peek() {
            Some(b'{') => self.object(self.deeper(depth)?).map(Json::Object),
            Some(b'[') => self.array(self.deeper(depth)?).map(Json::Array),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(_) => Err(Fault::NotJson),
            None => Err(Fault::Truncated),
        }
    }

    fn deeper(&self, depth: usize) -> Result<usize, Fault> {
        if depth >= self.bounds.depth_max.min(DEPTH_MAX) { Err(Fault::TooDeep) } else { Ok(depth + 1) }
    }

    fn word(&mut self, word: &'static str, value: Json) -> Result<Json, Fault> {
        if self.rest().starts_with(word) {
            self.at += word.len();
            return Ok(value);
        }
        Err(if word.starts_with(self.rest()) { Fault::Truncated } else { Fault::NotJson })
    }

    fn number(&mut self) -> Result<Number, Fault> {
        let rest = self.rest();
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(rest.len());
        let text = rest.get(..end).unwrap_or_default();
        if text.len() > self.bounds.number_bytes_max {
            return Err(Fault::NumberTooLong);
        }
        if grammatical(text.as_bytes()) != Some(text.len()) {
            let cut = end == rest.len() && !text.ends_with(|c: char| c.is_ascii_digit());
            return Err(if cut { Fault::Truncated } else { Fault::NotJson });
        }
        self.at += end;
        Ok(Number(text.into()))
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Json>, Fault> {
        self.expect(b'[')?;
        let mut elements = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(elements);
        }
        loop {
            self.space();
            elements.push(self.value(depth)?);
            self.space();
            if self.peek() == Some(b',') {
                self.at += 1;
                continue;
            }
            self.expect(b']')?;
            return Ok(elements);
        }
    }

    fn object(&mut self, depth: usize) -> Result<Object, Fault> {
        self.expect(b'{')?;
        let mut members = Vec::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Object(members));
        }
        loop {
            self.space();
            let key = self.string()?;
            self.space();
            self.expect(b':')?;
            self.space();
            members.push((key, self.value(depth)?));
            self.space();
            if self.peek() == Some(b',') {
                self.at += 1;
                continue;
            }
            self.expect(b'}')?;
            self.distinct(&members)?;
            return Ok(Object(members));
        }
    }

    /// Sorting finds two equal keys in n log n: a body made of keys alone costs no more than any other.
    fn distinct(&self, members: &[(String, Json)]) -> Result<(), Fault> {
        let mut keys: Vec<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        if repeats(&keys) {
            return Err(Fault::DuplicateKey);
        }
        if self.keys == Keys::Exact {
            return Ok(());
        }
        let mut folded: Vec<Cow<'_, str>> = keys.into_iter().map(fold::key).collect();
        if folded.iter().any(|key| key == "__proto__") {
            return Err(Fault::ProtoKey);
        }
        folded.sort_unstable();
        if repeats(&folded) { Err(Fault::FoldedKey) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<String, Fault> {
        self.expect(b'"')?;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let Some(end) = rest.bytes().position(|byte| byte < b' ' || byte == b'"' || byte == b'\\') else {
                return Err(Fault::Truncated);
            };
            out.push_str(rest.get(..end).unwrap_or_default());
            self.at += end;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                // A bare control character: JSON wants it escaped.
                Some(_) | None => return Err(Fault::NotJson),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let byte = self.peek().ok_or(Fault::Truncated)?;
        self.at += 1;
        if byte == b'u' {
            return self.unit();
        }
        escaped(byte).ok_or_else(|| {
            // INVARIANT: `at` stays on a character's first byte; the fault ends the reading anyway.
            self.at -= 1;
            Fault::NotJson
        })
    }

    fn unit(&mut self) -> Result<char, Fault> {
        let first = self.four_hex()?;
        let scalar = match first {
            0xd800..=0xdbff => {
                if !self.rest().starts_with("\\u") {
                    let cut = "\\u".starts_with(self.rest());
                    return Err(if cut { Fault::Truncated } else { Fault::LoneSurrogate });
                }
                self.at += 2;
                let second = self.four_hex()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(Fault::LoneSurrogate);
                }
                0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            unit => unit,
        };
        // Only the second half of a pair, standing alone, is no scalar here.
        char::from_u32(scalar).ok_or(Fault::LoneSurrogate)
    }

    fn four_hex(&mut self) -> Result<u32, Fault> {
        let mut unit = 0;
        for _ in 0..4 {
            let byte = self.peek().ok_or(Fault::Truncated)?;
            unit = unit * 16 + char::from(byte).to_digit(16).ok_or(Fault::NotJson)?;
            self.at += 1;
        }
        Ok(unit)
    }
}

/// What a backslash and this letter stand for together, but for `u`, which needs more.
pub(crate) const fn escaped(letter: u8) -> Option<char> {
    Some(match letter {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        _ => return None,
    })
}

fn repeats<T: PartialEq>(sorted: &[T]) -> bool {
    sorted.windows(2).any(|pair| matches!(pair, [one, other] if one == other))
}
