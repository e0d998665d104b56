//! Places that are written in a way of their own: the path of a request, with `%` before bytes, and values of headers.

use super::rewrite::Rewriter;
use super::text::Text;
use super::{Hit, apart, find};
use alloc::string::String;
use alloc::vec::Vec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How a value that is no plain ASCII is written in a header of MCP.
const ENCODED: (&str, &str) = ("=?base64?", "?=");

// === impl Rewriter ===

impl Rewriter<'_> {
    /// The path and query of a request. A `+` of the query is a space or itself: both are looked at.
    pub fn path(&mut self, path: &[u8]) -> Option<Vec<u8>> {
        let (decoded, places) = decode(path);
        let (mut out, mut copied, mut from) = (Vec::new(), 0, 0);
        for chunk in decoded.utf8_chunks() {
            for hit in in_path(chunk.valid()) {
                let place = |at: usize| places.get(from + at).copied().unwrap_or(path.len());
                out.extend_from_slice(path.get(copied..place(hit.start)).unwrap_or_default());
                out.extend(self.instead(&hit).bytes().flat_map(encode).flatten());
                copied = place(hit.end);
            }
            from += chunk.valid().len() + chunk.invalid().len();
        }
        if copied == 0 {
            return None;
        }
        out.extend_from_slice(path.get(copied..).unwrap_or_default());
        Some(out)
    }

    /// A header's value, `=?base64?…?=` decoded.
    pub fn header(&mut self, value: &[u8]) -> Option<Vec<u8>> {
        let text = core::str::from_utf8(value).ok();
        let encoded = text.and_then(|text| text.strip_prefix(ENCODED.0)?.strip_suffix(ENCODED.1));
        if let Some(decoded) = encoded.and_then(|encoded| STANDARD.decode(encoded).ok()) {
            let rewritten = STANDARD.encode(self.bytes(&decoded)?);
            return Some([ENCODED.0, &rewritten, ENCODED.1].concat().into_bytes());
        }
        self.bytes(value)
    }
}

fn in_path(text: &str) -> Vec<Hit> {
    let mut hits = find(text);
    if text.contains('+') {
        let spaced: String = text.chars().map(|c| if c == '+' { ' ' } else { c }).collect();
        hits.extend(find(&spaced));
    }
    apart(&Text::new(text), hits)
}

/// The bytes that it stands for, and where each of them is written.
fn decode(path: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let (mut decoded, mut places, mut at) = (Vec::with_capacity(path.len()), Vec::with_capacity(path.len()), 0);
    while let Some(byte) = path.get(at) {
        places.push(at);
        let digit = |at: usize| path.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let coded = if *byte == b'%' { digit(at + 1).zip(digit(at + 2)) } else { None };
        match coded.and_then(|(high, low)| u8::try_from(high * 16 + low).ok()) {
            Some(coded) => {
                decoded.push(coded);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    (decoded, places)
}

/// Of what stands in its place only brackets and colons cannot stand in a path.
fn encode(byte: u8) -> [Option<u8>; 3] {
    match byte {
        b'[' => [Some(b'%'), Some(b'5'), Some(b'B')],
        b']' => [Some(b'%'), Some(b'5'), Some(b'D')],
        b':' => [Some(b'%'), Some(b'3'), Some(b'A')],
        plain => [Some(plain), None, None],
    }
}
