//! A text as JSON reads it, and that once more: JSON is often written within a string of JSON. An escape that cannot be read
//! stands for what is no letter, or for itself, and hides nothing of what is around it.
//!
//! It refuses to read deeper than `NESTED_MAX`: what is written deeper is not found.

use super::{Hit, find as find_hits};
use crate::json;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// How many strings may stand within one another below the first. Each costs a pass over the text; agents send one or two.
pub(super) const NESTED_MAX: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// A text: what is written is what it says.
    Plain,
    /// The inside of a string of JSON: what is written is only how it is said.
    Escaped,
}

/// What a text says, and where each of its bytes is written.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) text: Cow<'a, str>,
    /// None: each at its own place.
    places: Option<Vec<usize>>,
}

/// Everything personal in `text` at any depth, by where it is written.
pub(super) fn find(text: &str, written: Written) -> Vec<Hit> {
    let readings = readings(text, written);
    let deepest = readings.last();
    let mut hits = Vec::new();
    let mut is_quoted = false;
    for (depth, reading) in readings.iter().enumerate() {
        // Where nothing is quoted, `\n` is more likely of a name than the end of a line: the depth above says what it is.
        let depth = if is_quoted { depth } else { 0 };
        is_quoted = reading.text.contains('"');
        for hit in find_hits(&reading.text) {
            let (start, end) = (reading.place(hit.start, text.len()), reading.place(hit.end, text.len()));
            // An escape goes whole, or what is left of it would spoil the string around it.
            let (start, end) = deepest.map_or((start, end), |deepest| deepest.around(start, end, text.len()));
            hits.push((depth, Hit { start, end, ..hit }));
        }
    }
    apart(hits)
}

/// From the first depth that says something on; there is always one.
pub(super) fn readings(text: &str, written: Written) -> Vec<Reading<'_>> {
    let mut reading = Reading { text: Cow::Borrowed(text), places: None };
    let mut readings = Vec::new();
    for depth in 0..=NESTED_MAX {
        let Some(next) = reading.unescaped() else { break };
        if depth > 0 || written == Written::Plain {
            readings.push(reading);
        }
        reading = next;
    }
    readings.push(reading);
    readings
}

/// What a string of JSON says.
pub(super) fn unescaped(inner: &str) -> Cow<'_, str> {
    let reading = Reading { text: Cow::Borrowed(inner), places: None };
    reading.unescaped().map_or(Cow::Borrowed(inner), |reading| Cow::Owned(reading.text.into_owned()))
}

/// What overlaps becomes one. The deepest says what it is: above, an escape's own letter was taken for one of it.
fn apart(mut hits: Vec<(usize, Hit)>) -> Vec<Hit> {
    hits.sort_by_key(|(depth, hit)| (hit.start, Reverse(hit.end), Reverse(*depth)));
    let mut apart: Vec<(usize, Hit)> = Vec::with_capacity(hits.len());
    for (depth, hit) in hits {
        match apart.last_mut().filter(|(_, last)| hit.start < last.end) {
            Some((known, last)) => {
                last.end = last.end.max(hit.end);
                if depth > *known {
                    (*known, last.kind, last.normal) = (depth, hit.kind, hit.normal);
                }
            }
            None => apart.push((depth, hit)),
        }
    }
    apart.into_iter().map(|(_, hit)| hit).collect()
}

// === impl Reading ===

impl Reading<'_> {
    /// Where the byte at `at` is written, of a text of `len` bytes.
    fn place(&self, at: usize, len: usize) -> usize {
        self.places.as_ref().map_or(at, |places| places.get(at).copied().unwrap_or(len))
    }

    /// From where the character that `start` is of begins to where the one before `end` ends.
    fn around(&self, start: usize, end: usize, len: usize) -> (usize, usize) {
        let Some(places) = &self.places else { return (start, end) };
        let first = places.partition_point(|place| *place <= start).checked_sub(1).and_then(|at| places.get(at));
        let behind = places.get(places.partition_point(|place| *place < end));
        (first.copied().unwrap_or(start), behind.copied().unwrap_or(len))
    }

    /// One depth further down. None: there is none.
    fn unescaped<'b>(&self) -> Option<Reading<'b>> {
        if !self.text.contains('\\') {
            return None;
        }
        let (mut text, mut places) = (String::with_capacity(self.text.len()), Vec::with_capacity(self.text.len()));
        let mut rest: &str = &self.text;
        while let Some(first) = rest.chars().next() {
            let at = self.text.len() - rest.len();
            let (c, len) = if first == '\\' { escaped(rest) } else { None }.unwrap_or((first, first.len_utf8()));
            text.push(c);
            places.resize(text.len(), self.place(at, at));
            rest = rest.get(len..).unwrap_or_default();
        }
        Some(Reading { text: Cow::Owned(text), places: Some(places) })
    }
}

/// What the escape that `text` begins with stands for, and how many bytes it is written in. None: it is none.
fn escaped(text: &str) -> Option<(char, usize)> {
    match text.as_bytes().get(1)? {
        b'u' => coded(text),
        letter => json::escaped(*letter).map(|c| (c, 2)),
    }
}

/// Half of a pair without the other stands for no letter.
fn coded(text: &str) -> Option<(char, usize)> {
    let first = unit(text)?;
    if let Some(c) = char::from_u32(first) {
        return Some((c, 6));
    }
    let low = text.get(6..).and_then(unit).and_then(|second| second.checked_sub(0xdc00)).filter(|low| *low < 0x400);
    let high = first.checked_sub(0xd800).filter(|high| *high < 0x400);
    let pair = high.zip(low).and_then(|(high, low)| char::from_u32(0x1_0000 + (high << 10) + low));
    Some(pair.map_or((char::REPLACEMENT_CHARACTER, 6), |c| (c, 12)))
}

fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.chars().try_fold(0, |unit, c| Some(unit * 16 + c.to_digit(16)?))
}
