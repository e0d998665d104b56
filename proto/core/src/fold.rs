//! When two keys, or two names, look like one: by letter case, or by characters that are not seen.
//!
//! Only comparisons use this. Nothing is ever rewritten to its folded form, and nothing is normalised.

use crate::id::is_format;
use alloc::borrow::Cow;
use alloc::string::String;
use unicode_normalization::UnicodeNormalization as _;

/// `key` without the characters that are not seen, and with every letter in one case. Two keys that any reader could take
/// for one under Unicode's simple case folding have the same fold: lower, upper and lower again is coarser than the
/// standard's table (`ſ`, `K` and dotless `ı` fall on `s`, `k` and `i`), as a test over all of Unicode shows.
#[must_use]
pub fn key(key: &str) -> Cow<'_, str> {
    // Nearly every key there is.
    if key.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        let folded = !key.bytes().any(|byte| byte.is_ascii_uppercase());
        return if folded { Cow::Borrowed(key) } else { Cow::Owned(key.to_ascii_lowercase()) };
    }
    let seen = key.chars().filter(|c| !is_unseen(*c));
    Cow::Owned(seen.flat_map(fold).collect())
}

/// As [`key`], and without `_` and `-`: libraries that generate names take `task_id` for `taskId`. For the keys of the
/// protocol's own objects only, where nothing else may stand.
#[must_use]
pub fn protocol_key(text: &str) -> String {
    key(text).chars().filter(|c| !matches!(c, '_' | '-')).collect()
}

/// As [`key`], and with `_` for what PHP, for one, makes `_` of in the name of a parameter: `a.b` and `a b` come to `a_b` there.
#[must_use]
pub fn form_key(name: &str) -> String {
    key(name).chars().map(|c| if matches!(c, '.' | ' ' | '[') { '_' } else { c }).collect()
}

/// As [`protocol_key`], over the compatibility form: what a server that is loose with a tool's name could take it for. Only to
/// refuse more, where one spelling is stopped or enforced.
#[must_use]
pub fn loosely(name: &str) -> String {
    let compatible: String = name.nfkc().collect();
    key(&compatible).chars().filter(|c| !matches!(c, '_' | '-' | '.') && !c.is_whitespace()).collect()
}

/// Not shown, but there: controls, format characters, and what Unicode's own comparisons ignore (fillers, variation selectors).
#[must_use]
pub fn is_unseen(c: char) -> bool {
    let ignorable = matches!(c,
        '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}');
    c.is_control() || is_format(c) || ignorable
}

/// Whether `name` is as it should be: in normal form C, without unseen characters and line separators, no space around it.
#[must_use]
pub fn is_plain(name: &str) -> bool {
    if name.is_empty() || name.trim() != name || name.chars().any(|c| is_unseen(c) || matches!(c, '\u{2028}' | '\u{2029}')) {
        return false;
    }
    name.is_ascii() || name.nfc().eq(name.chars())
}

fn fold(c: char) -> impl Iterator<Item = char> {
    // Java compares letter by letter, and its small letter for the dotted capital is a plain `i`.
    let c = if c == '\u{130}' { 'i' } else { c };
    c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests;
