//! What is personal, or secret, in a text: where it stands, of which kind it is, and one spelling of it. And what is written in
//! its place.
//!
//! It finds forms and knows no names: a form that is not listed here is not found. Each kind is looked for in one pass, so that
//! a hostile text costs no more than any other of its length.

mod email;
mod iban;
mod number;
mod place;
mod reading;
mod rewrite;
mod secret;
mod text;

use alloc::string::String;
use alloc::vec::Vec;

pub use rewrite::{How, Rewriter};
use text::Text;

/// What is done with what is personal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pii {
    #[default]
    Off,
    /// `[redacted:email]`
    Redact,
    /// `[email:TOKEN]`: the same for the same.
    Tokenise,
}

/// What stands before the kind where nothing else is told.
const REDACTED: &str = "redacted";

/// Kinds, those that win first: of two that begin and end at the same place the first one names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    PrivateKey,
    Jwt,
    Bearer,
    ApiKey,
    Email,
    Iban,
    Card,
    Ssn,
    Phone,
}

/// Where something personal stands, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    /// The same for each way to write the same.
    pub normal: String,
}

/// Everything personal in `text`, in order; no two of them overlap.
#[must_use]
pub fn find(text: &str) -> Vec<Hit> {
    find_in(&Text::new(text))
}

fn find_in(text: &Text<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    email::find(text, &mut hits);
    number::find(text, &mut hits);
    iban::find(text, &mut hits);
    secret::find(text, &mut hits);
    apart(text, hits)
}

/// What stands within another is part of it, and what overlaps becomes one: nothing of either is left over.
fn apart(text: &Text<'_>, mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by(|one, other| (one.start, other.end, one.kind).cmp(&(other.start, one.end, other.kind)));
    let mut apart: Vec<Hit> = Vec::with_capacity(hits.len());
    for hit in hits {
        match apart.last_mut().filter(|last| hit.start < last.end) {
            Some(last) if hit.end > last.end => {
                last.end = hit.end;
                last.normal = text.slice(last.start, last.end).into();
            }
            Some(_) => {}
            None => apart.push(hit),
        }
    }
    apart
}

/// Whether `text` holds what is written in the place of something personal: `[redacted:KIND]` or `[KIND:TOKEN]`.
#[must_use]
pub fn holds_stand_in(text: &str) -> bool {
    text.split('[').skip(1).any(|rest| stand_in(rest).is_some())
}

/// Whether two texts may have been written alike, though each may have been kept in a way of its own. Within one way, whatever
/// differs was written differently.
#[must_use]
pub fn may_be_the_same(one: &str, other: &str) -> bool {
    one == other || way(one) != way(other) && redacted(one) == redacted(other)
}

/// What stands behind a `[`, if it is a stand-in: how it was altered, its kind, and the text behind it.
fn stand_in(rest: &str) -> Option<(Pii, &str, &str)> {
    let (kind, end) = rest.split_once(':')?;
    let (name, behind) = end.split_once(']')?;
    let is_kind = |name: &str| Kind::ALL.iter().any(|kind| kind.name() == name);
    let is_token = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match () {
        () if kind == REDACTED && is_kind(name) => Some((Pii::Redact, name, behind)),
        () if is_kind(kind) && is_token => Some((Pii::Tokenise, kind, behind)),
        () => None,
    }
}

/// How it seems to have been altered.
fn way(text: &str) -> Pii {
    text.split('[').skip(1).filter_map(stand_in).map(|(way, _, _)| way).max().unwrap_or_default()
}

/// As redaction leaves it, whatever became of it before.
fn redacted(text: &str) -> String {
    let text = Rewriter::new(How::Redact).text(text).unwrap_or_else(|| text.into());
    let mut parts = text.split('[');
    let mut redacted = String::from(parts.next().unwrap_or_default());
    for part in parts {
        match stand_in(part) {
            Some((_, kind, behind)) => redacted.extend(["[", REDACTED, ":", kind, "]", behind]),
            None => redacted.extend(["[", part]),
        }
    }
    redacted
}

// === impl Pii ===

impl Pii {
    pub const ALL: [Self; 3] = [Self::Off, Self::Redact, Self::Tokenise];

    /// The one spelling, in configuration, on the command line and in what is signed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Redact => "redact",
            Self::Tokenise => "tokenise",
        }
    }

    /// None: it is none of them.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pii| pii.name() == name)
    }
}

// === impl Kind ===

impl Kind {
    pub const ALL: [Self; 9] =
        [Self::PrivateKey, Self::Jwt, Self::Bearer, Self::ApiKey, Self::Email, Self::Iban, Self::Card, Self::Ssn, Self::Phone];

    /// The one spelling, in records, metrics and what is written in its place.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PrivateKey => "private_key",
            Self::Jwt => "jwt",
            Self::Bearer => "bearer",
            Self::ApiKey => "api_key",
            Self::Email => "email",
            Self::Iban => "iban",
            Self::Card => "card",
            Self::Ssn => "ssn",
            Self::Phone => "phone",
        }
    }
}

#[cfg(test)]
mod tests;
