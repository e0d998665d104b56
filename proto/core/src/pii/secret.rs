//! Secrets by their forms: private keys in PEM, JSON Web Tokens, bearer tokens, and keys that say by their beginning whose
//! they are. A key without a beginning of its own looks like any other word, and is not found.

use super::text::Text;
use super::{Hit, Kind};
use alloc::vec::Vec;

/// Beginnings of keys, and how many letters and digits, `_` and `-` stand behind them at least.
const BEGINNINGS: &[(&str, usize)] = &[
    ("AIza", 35),
    ("AKIA", 16),
    ("ASIA", 16),
    ("github_pat_", 22),
    ("ghp_", 36),
    ("gho_", 36),
    ("ghu_", 36),
    ("ghs_", 36),
    ("ghr_", 36),
    ("glpat-", 20),
    ("hf_", 30),
    ("npm_", 36),
    ("rk_live_", 16),
    ("sk_live_", 16),
    ("sk_test_", 16),
    ("sk-", 20),
    ("xoxa-", 10),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxr-", 10),
    ("xoxs-", 10),
];

/// A header of a JSON object, in base64: `{"`.
const JWT_BEGINNING: &str = "eyJ";
const BEARER: &str = "bearer";
/// Shorter words behind `bearer` are words.
const BEARER_BYTES_MIN: usize = 16;
const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";
const PEM_DASHES: &str = "-----";
const PEM_LABEL_BYTES_MAX: usize = 64;

pub(super) fn find(text: &Text<'_>, hits: &mut Vec<Hit>) {
    private_keys(text, hits);
    let mut at = 0;
    while let Some(byte) = text.at(at) {
        if !is_of_key(byte) {
            at += 1;
            continue;
        }
        let end = text.end_of(at, is_of_key);
        let word = text.slice(at, end);
        let found = match word {
            _ if word.starts_with(JWT_BEGINNING) => jwt_end(text, end).map(|end| (Kind::Jwt, at, end)),
            _ if word.eq_ignore_ascii_case(BEARER) => bearer(text, end).map(|(start, end)| (Kind::Bearer, start, end)),
            _ if begins(word) => Some((Kind::ApiKey, at, end)),
            _ => None,
        };
        match found {
            Some((kind, start, found_end)) => {
                hits.push(Hit { kind, start, end: found_end, normal: text.slice(start, found_end).into() });
                // What follows `bearer` may be of another kind as well: it is looked at for itself.
                at = if kind == Kind::Bearer { start } else { found_end };
            }
            None => at = end,
        }
    }
}

fn is_of_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn begins(word: &str) -> bool {
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    let is_long = |(beginning, min): &(&str, usize)| word.strip_prefix(beginning).is_some_and(|rest| rest.len() >= *min);
    has_digit && BEGINNINGS.iter().any(is_long)
}

/// Two dots, and an object again behind the first. What is signed by nothing has nothing behind the second.
fn jwt_end(text: &Text<'_>, header_end: usize) -> Option<usize> {
    let claims = header_end + 1;
    if !text.is(header_end, |byte| byte == b'.') || !text.slice(claims, claims + JWT_BEGINNING.len()).eq(JWT_BEGINNING) {
        return None;
    }
    let claims_end = text.end_of(claims, is_of_key);
    text.is(claims_end, |byte| byte == b'.').then(|| text.end_of(claims_end + 1, is_of_key))
}

/// The token behind the word.
fn bearer(text: &Text<'_>, word_end: usize) -> Option<(usize, usize)> {
    let start = word_end + 1;
    if !text.is(word_end, |byte| byte == b' ') {
        return None;
    }
    let end = text.end_of(start, |byte| is_of_key(byte) || matches!(byte, b'.' | b'~' | b'+' | b'/' | b'='));
    let token = text.slice(start, end);
    (token.len() >= BEARER_BYTES_MIN && token.bytes().any(|byte| byte.is_ascii_digit())).then_some((start, end))
}

/// One that is cut has no end: then all that follows is of it.
fn private_keys(text: &Text<'_>, hits: &mut Vec<Hit>) {
    let mut from = 0;
    while let Some(start) = text.find(from, PEM_BEGIN) {
        let label = start + PEM_BEGIN.len();
        from = label;
        let Some(is_private) = label_at(text, label) else { continue };
        if !is_private {
            continue;
        }
        let end = text.find(label, PEM_END).map(|end| {
            let dashes = text.end_of(end + PEM_END.len(), |byte| byte.is_ascii_uppercase() || byte == b' ');
            text.end_of(dashes, |byte| byte == b'-')
        });
        let end = end.unwrap_or(text.len());
        hits.push(Hit { kind: Kind::PrivateKey, start, end, normal: text.slice(start, end).into() });
        from = end;
    }
}

/// Whether this is the label of a private key; none where it is no label.
fn label_at(text: &Text<'_>, start: usize) -> Option<bool> {
    let end = text.end_of(start, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ');
    let label = text.slice(start, end);
    (label.len() <= PEM_LABEL_BYTES_MAX && text.slice(end, end + PEM_DASHES.len()) == PEM_DASHES)
        .then(|| label.contains("PRIVATE KEY"))
}
