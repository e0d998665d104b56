//! Email addresses: from each `@` (and `%40`) back to where a local part begins, and on to where a domain ends.
//!
//! A quoted local part and an address at a bare number are no hits.

use super::text::Text;
use super::{Hit, Kind};
use alloc::format;
use alloc::vec::Vec;

pub(super) fn find(text: &Text<'_>, hits: &mut Vec<Hit>) {
    // No local part begins before: nothing is looked at twice.
    let (mut floor, mut at) = (0, 0);
    while let Some(byte) = text.at(at) {
        let sign = match byte {
            b'@' => 1,
            b'%' if text.is(at + 1, |byte| byte == b'4') && text.is(at + 2, |byte| byte == b'0') => 3,
            _ => {
                at += 1;
                continue;
            }
        };
        let (start, end) = (begin(text, floor, at), domain_end(text, at + sign));
        floor = at + sign;
        if let Some(end) = end.filter(|_| start < at) {
            let (local, domain) = (text.slice(start, at), text.slice(at + sign, end));
            hits.push(Hit { kind: Kind::Email, start, end, normal: format!("{local}@{}", domain.to_lowercase()) });
            floor = end;
        }
        at = floor;
    }
}

/// Where the local part begins that ends at `end`.
fn begin(text: &Text<'_>, floor: usize, end: usize) -> usize {
    let mut start = end;
    while start > floor
        && let Some(c) = text.before(start)
        && (c.is_alphanumeric() || matches!(c, '.' | '_' | '+' | '-' | '\'' | '~'))
    {
        start -= c.len_utf8();
    }
    // What quotes it, or lists it, is no part of it.
    while start < end && text.is(start, |byte| matches!(byte, b'.' | b'-' | b'\'' | b'~')) {
        start += 1;
    }
    start
}

/// Where the domain ends that begins at `start`: two labels or more, the last one of letters.
fn domain_end(text: &Text<'_>, start: usize) -> Option<usize> {
    let (mut end, mut label, mut labels) = (None, start, 0_usize);
    let mut at = start;
    loop {
        let c = text.char_at(at);
        if let Some(c) = c.filter(|c| c.is_alphanumeric() || *c == '-') {
            at += c.len_utf8();
            continue;
        }
        let name = text.slice(label, at).trim_end_matches('-');
        if name.is_empty() {
            return end;
        }
        labels += 1;
        if labels > 1 && is_top(name) {
            end = Some(label + name.len());
        }
        if c != Some('.') || name.len() < at - label {
            return end;
        }
        at += 1;
        label = at;
    }
}

fn is_top(label: &str) -> bool {
    let is_coded = label.len() > 4 && label.get(..4).is_some_and(|beginning| beginning.eq_ignore_ascii_case("xn--"));
    is_coded || label.len() >= 2 && label.chars().all(char::is_alphabetic)
}
