//! What a request is addressed to: the segments of its path, decoded once, and the pairs of its query, not yet decoded.
//!
//! It refuses what servers decode in different ways: a slash, a backslash or a semicolon that is encoded, an encoding inside of
//! an encoding, dot segments in any writing, empty segments, `+`.

use crate::fold::is_unseen;
use crate::mcp::Malformed;
use alloc::string::String;
use alloc::vec::Vec;

#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) segments: Vec<Segment<'a>>,
    /// None: no question mark.
    query: Option<&'a [u8]>,
}

#[derive(Debug)]
pub(super) struct Segment<'a> {
    pub(super) raw: &'a [u8],
    /// Decoded.
    pub(super) text: String,
}

// === impl Target ===

impl<'a> Target<'a> {
    pub(super) fn of(path: &'a [u8]) -> Result<Self, Malformed> {
        let (path, query) = match path.iter().position(|byte| *byte == b'?') {
            Some(at) => (path.get(..at).unwrap_or_default(), path.get(at.saturating_add(1)..)),
            None => (path, None),
        };
        let rest = path.strip_prefix(b"/").ok_or(Malformed::PathForm)?;
        let segments = rest.split(|byte| *byte == b'/').map(Segment::of).collect::<Result<Vec<_>, _>>()?;
        // Only a last slash makes one: some servers drop the others, and some do not.
        let before_last = segments.len().saturating_sub(1);
        if segments.iter().take(before_last).any(|segment| segment.text.is_empty()) {
            return Err(Malformed::PathForm);
        }
        Ok(Self { segments, query })
    }

    /// The pairs of the query, each as `key=value`: a key alone is nothing to one server and an empty text to the next.
    pub(super) fn pairs(&self) -> impl Iterator<Item = Result<(&'a [u8], &'a [u8]), Malformed>> {
        let pair = |pair: &'a [u8]| {
            let at = pair.iter().position(|byte| *byte == b'=').ok_or(Malformed::Query)?;
            let (key, value) = pair.split_at(at);
            // Some readers part pairs at `;` as well.
            let value = value.strip_prefix(b"=").filter(|value| !value.contains(&b';')).ok_or(Malformed::Query)?;
            Ok((key, value))
        };
        self.query.into_iter().flat_map(|query| query.split(|byte| *byte == b'&')).map(pair)
    }
}

/// The value of a query parameter, decoded. `+` is a space to most servers and a plus to others: it has to be written `%20` or `%2B`.
pub(super) fn decode_value(value: &[u8]) -> Result<String, Malformed> {
    let may_hold = |byte| Segment::may_hold(byte) || matches!(byte, b'/' | b'?');
    decode(value, may_hold).filter(|text| !text.contains('\0')).ok_or(Malformed::QueryEncoding)
}

/// One pass: what comes out is never decoded again.
fn decode(text: &[u8], may_hold: fn(u8) -> bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            out.push(u8::try_from(high << 4 | low).ok()?);
        } else if may_hold(byte) {
            out.push(byte);
        } else {
            return None;
        }
    }
    String::from_utf8(out).ok()
}

// === impl Segment ===

impl<'a> Segment<'a> {
    fn of(raw: &'a [u8]) -> Result<Self, Malformed> {
        if !raw.iter().all(|byte| Self::may_hold(*byte) || *byte == b'%') {
            return Err(Malformed::PathForm);
        }
        let text = decode(raw, Self::may_hold).ok_or(Malformed::PathEncoding)?;
        if text.contains(['/', '\\', ';', '%']) || text.chars().any(is_unseen) {
            return Err(Malformed::PathEncoding);
        }
        if matches!(text.as_str(), "." | "..") {
            return Err(Malformed::PathForm);
        }
        Ok(Self { raw, text })
    }

    /// What RFC 3986 lets stand in a segment unencoded, but for `;`, behind which some servers look for parameters, and `+`,
    /// which some take for a space.
    pub(super) const fn may_hold(byte: u8) -> bool {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b',' | b'=' | b':' | b'@'
            )
    }
}
