//! A path with names in it: `/invoices/{id:integer}/lines`. A segment is fixed or a field, never half of each.

use super::kind::Type;
use super::target::Segment;
use crate::fold;
use alloc::string::String;
use alloc::vec::Vec;
use thiserror::Error;

/// Segments of one path. Each is compared with every request of its route.
pub const SEGMENTS_MAX: usize = 32;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Byte for byte. Empty only at the end, for a path with a slash behind it.
    Fixed(String),
    Field {
        name: String,
        holds: Type,
    },
}

/// Why a text is no path template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    #[error("it must begin with a slash")]
    NoSlash,
    #[error("it has more than {SEGMENTS_MAX} segments")]
    TooLong,
    #[error("it has an empty segment, a dot segment, a query, or a character that has to be encoded")]
    Form,
    #[error("`{0}` is neither fixed nor one name in braces: `{{id}}`, `{{id:integer}}`")]
    Mixed(String),
    #[error("`{0}` is no type of a segment: take one of string, integer, number, boolean")]
    Type(String),
}

// === impl Template ===

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        let segments: Vec<&str> = text.strip_prefix('/').ok_or(TemplateError::NoSlash)?.split('/').collect();
        if segments.len() > SEGMENTS_MAX {
            return Err(TemplateError::TooLong);
        }
        let last = segments.len().saturating_sub(1);
        segments.into_iter().enumerate().map(|(at, text)| Part::parse(text, at == last)).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, Type)> {
        self.0.iter().filter_map(|part| match part {
            Part::Fixed(_) => None,
            Part::Field { name, holds } => Some((name.as_str(), *holds)),
        })
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        self.0.iter()
    }

    /// Whether the path has this form, whatever its fields hold.
    pub(super) fn takes(&self, segments: &[Segment<'_>]) -> bool {
        self.0.len() == segments.len() && self.0.iter().zip(segments).all(|(part, segment)| part.takes(segment))
    }

    /// Whether the fields hold what they must, where the path has this form.
    pub(super) fn fits(&self, segments: &[Segment<'_>]) -> bool {
        self.0.iter().zip(segments).all(|(part, segment)| match part {
            Part::Fixed(_) => true,
            Part::Field { holds, .. } => holds.is_written(&segment.text),
        })
    }

    /// Whether some path could be taken for both: by this reader, or by a server that folds case or drops a last slash.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let (one, other) = (self.without_slash(), other.without_slash());
        one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.overlaps(other))
    }

    fn without_slash(&self) -> &[Part] {
        match self.0.split_last() {
            Some((Part::Fixed(last), rest)) if last.is_empty() => rest,
            Some(_) | None => &self.0,
        }
    }
}

// === impl Part ===

impl Part {
    fn parse(text: &str, is_last: bool) -> Result<Self, TemplateError> {
        if !text.contains(['{', '}']) {
            let is_plain = text.bytes().all(|byte| Segment::may_hold(byte) && byte != b'%') && !matches!(text, "." | "..");
            return if is_plain && (is_last || !text.is_empty()) {
                Ok(Self::Fixed(text.into()))
            } else {
                Err(TemplateError::Form)
            };
        }
        let mixed = || TemplateError::Mixed(text.into());
        let field = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or_else(mixed)?;
        let (name, holds) = field.split_once(':').unwrap_or((field, Type::String.name()));
        if name.contains(['{', '}']) || holds.contains(['{', '}']) {
            return Err(mixed());
        }
        let holds = Type::parse(holds).filter(|holds| holds.is_text()).ok_or_else(|| TemplateError::Type(holds.into()))?;
        Ok(Self::Field { name: name.into(), holds })
    }

    fn takes(&self, segment: &Segment<'_>) -> bool {
        match self {
            Self::Fixed(text) => text.as_bytes() == segment.raw,
            Self::Field { .. } => !segment.text.is_empty(),
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fixed(one), Self::Fixed(other)) => fold::key(one) == fold::key(other),
            (Self::Fixed(text), Self::Field { holds, .. }) | (Self::Field { holds, .. }, Self::Fixed(text)) => {
                // `TRUE` is no boolean here, and may be one to a server.
                holds.is_written(&fold::key(text))
            }
            (Self::Field { holds: one, .. }, Self::Field { holds: other, .. }) => one.shares_texts(*other),
        }
    }
}

#[cfg(test)]
mod tests;
