//! Writes something else in the place of what is personal. JSON stays JSON: strings and names are looked at as they are read,
//! all other bytes stay as they were.

use super::reading::{self, Written};
use super::{Hit, Kind, REDACTED, find, number};
use crate::fold;
use crate::json::write_string;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What stands in its place.
pub enum How<'a> {
    Redact,
    /// What a value of this kind is called, by its one spelling.
    Tokenise(&'a dyn Fn(Kind, &str) -> String),
}

/// Rewrites the parts of one body, and counts.
#[derive(Debug)]
pub struct Rewriter<'a> {
    how: How<'a>,
    counts: BTreeMap<Kind, u64>,
}

/// A piece of JSON in which something could stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Name,
    String,
    Number,
}

/// Where a piece stands; a string with its quotes.
#[derive(Clone, Copy, Debug)]
struct Place {
    piece: Piece,
    start: usize,
    end: usize,
}

/// Goes through JSON piece by piece. What is no JSON gives pieces as well, or it ends early: then `at` says where.
struct Pieces<'a> {
    bytes: &'a [u8],
    at: usize,
}

// === impl Rewriter ===

impl<'a> Rewriter<'a> {
    #[must_use]
    pub fn new(how: How<'a>) -> Self {
        Self { how, counts: BTreeMap::new() }
    }

    /// How often something of each kind was rewritten.
    pub fn counts(&self) -> impl Iterator<Item = (Kind, u64)> + '_ {
        self.counts.iter().map(|(kind, count)| (*kind, *count))
    }

    /// None: there is nothing personal in it.
    pub fn text(&mut self, text: &str) -> Option<String> {
        self.written(text, Written::Plain)
    }

    fn written(&mut self, text: &str, written: Written) -> Option<String> {
        let hits = reading::find(text, written);
        (!hits.is_empty()).then(|| self.splice(text, &hits))
    }

    /// A text that may hold what is no UTF-8.
    pub fn bytes(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (mut out, mut changed) = (Vec::with_capacity(bytes.len()), false);
        for chunk in bytes.utf8_chunks() {
            let rewritten = self.text(chunk.valid());
            changed |= rewritten.is_some();
            out.extend_from_slice(rewritten.as_deref().unwrap_or(chunk.valid()).as_bytes());
            out.extend_from_slice(chunk.invalid());
        }
        changed.then_some(out)
    }

    /// JSON, or whatever stands where JSON should: that is looked at as a text as well.
    pub fn json(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (mut out, mut changed) = (Vec::with_capacity(bytes.len()), false);
        for chunk in bytes.utf8_chunks() {
            let rewritten = self.pieces(chunk.valid());
            changed |= rewritten.is_some();
            out.extend_from_slice(rewritten.as_deref().unwrap_or(chunk.valid()).as_bytes());
            out.extend_from_slice(chunk.invalid());
        }
        changed.then_some(out)
    }

    fn pieces(&mut self, text: &str) -> Option<String> {
        let (mut out, mut copied, mut from, mut is_json, mut has_name) = (String::new(), 0, 0, true, false);
        for Place { piece, start, end } in (Pieces { bytes: text.as_bytes(), at: 0 }) {
            is_json &= text.get(from..start).unwrap_or_default().bytes().all(is_between);
            from = end;
            let raw = text.get(start..end).unwrap_or_default();
            let rewritten = match piece {
                Piece::Name | Piece::String => self.string(raw),
                Piece::Number => self.number(raw),
            };
            if let Some(rewritten) = rewritten {
                out.push_str(text.get(copied..start).unwrap_or_default());
                out.push_str(&rewritten);
                copied = end;
                has_name |= piece == Piece::Name;
            }
        }
        let rest = text.get(copied..).unwrap_or_default();
        is_json &= text.get(from..).unwrap_or_default().bytes().all(is_between);
        let rewritten = (copied > 0).then(|| out + rest);
        let rewritten = if has_name { rewritten.map(|json| apart(&json)) } else { rewritten };
        if is_json {
            return rewritten;
        }
        self.text(rewritten.as_deref().unwrap_or(text)).or(rewritten)
    }

    /// A string of JSON, as it is read. What stands in a place has nothing to escape, however deep it is.
    fn string(&mut self, raw: &str) -> Option<String> {
        let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
        self.written(inner, Written::Escaped).map(|text| format!("\"{text}\""))
    }

    /// A number that is a card's becomes a string.
    fn number(&mut self, raw: &str) -> Option<String> {
        let card = |text: &str| find(text).into_iter().find(|hit| hit.kind == Kind::Card);
        let hit = card(raw).or_else(|| number::whole(raw).and_then(|digits| card(&digits)))?;
        let whole = Hit { start: 0, end: raw.len(), ..hit };
        Some(format!("\"{}\"", self.splice(raw, &[whole])))
    }

    pub(super) fn splice(&mut self, text: &str, hits: &[Hit]) -> String {
        let (mut out, mut from) = (String::with_capacity(text.len()), 0);
        for hit in hits {
            out.push_str(text.get(from..hit.start).unwrap_or_default());
            out.push_str(&self.instead(hit));
            from = hit.end;
        }
        out.push_str(text.get(from..).unwrap_or_default());
        out
    }

    pub(super) fn instead(&mut self, hit: &Hit) -> String {
        let count = self.counts.entry(hit.kind).or_default();
        *count = count.saturating_add(1);
        match &self.how {
            How::Redact => format!("[{REDACTED}:{}]", hit.kind.name()),
            How::Tokenise(token) => format!("[{}:{}]", hit.kind.name(), token(hit.kind, &hit.normal)),
        }
    }
}

/// What stands between the pieces of JSON, the letters of its three words included.
fn is_between(byte: u8) -> bool {
    byte.is_ascii_lowercase() || matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'{' | b'}' | b'[' | b']' | b',' | b':')
}

/// Two names that differed in nothing else get a number, so that no reader takes the object for another one.
fn apart(json: &str) -> String {
    let (mut out, mut copied) = (String::with_capacity(json.len()), 0);
    let mut open: Vec<BTreeSet<String>> = Vec::new();
    let mut from = 0;
    for Place { piece, start, end } in (Pieces { bytes: json.as_bytes(), at: 0 }) {
        for byte in json.get(from..start).unwrap_or_default().bytes() {
            match byte {
                b'{' => open.push(BTreeSet::new()),
                b'}' => drop(open.pop()),
                _ => {}
            }
        }
        from = end;
        if piece != Piece::Name {
            continue;
        }
        let raw = json.get(start + 1..end.saturating_sub(1)).unwrap_or_default();
        let Some(names) = open.last_mut() else { continue };
        let name = reading::unescaped(raw);
        if names.insert(fold::key(&name).into_owned()) {
            continue;
        }
        let numbered =
            (2_usize..).map(|number| format!("{name}#{number}")).find(|name| names.insert(fold::key(name).into_owned()));
        out.push_str(json.get(copied..start).unwrap_or_default());
        let _ = write_string(&mut out, &numbered.unwrap_or_default());
        copied = end;
    }
    out.push_str(json.get(copied..).unwrap_or_default());
    out
}

// === impl Pieces ===

impl Pieces<'_> {
    fn peek(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn end_of(&self, from: usize, wanted: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(from..).unwrap_or_default();
        from + rest.iter().position(|byte| !wanted(*byte)).unwrap_or(rest.len())
    }

    /// Behind the quote that ends the string which begins at `start`.
    fn string_end(&self, start: usize) -> Option<usize> {
        let mut at = start + 1;
        loop {
            at = self.end_of(at, |byte| byte != b'"' && byte != b'\\');
            match self.peek(at)? {
                b'"' => return Some(at + 1),
                _ => at += 2,
            }
        }
    }
}

impl Iterator for Pieces<'_> {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        let start = self.end_of(self.at, |byte| byte != b'"' && byte != b'-' && !byte.is_ascii_digit());
        self.at = start;
        let place = match self.peek(start)? {
            b'"' => {
                let end = self.string_end(start)?;
                let behind = self.end_of(end, |byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
                let piece = if self.peek(behind) == Some(b':') { Piece::Name } else { Piece::String };
                Place { piece, start, end }
            }
            _ => {
                let end = self.end_of(start, |byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
                Place { piece: Piece::Number, start, end }
            }
        };
        self.at = place.end;
        Some(place)
    }
}

impl fmt::Debug for How<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redact => "Redact",
            Self::Tokenise(_) => "Tokenise",
        })
    }
}
