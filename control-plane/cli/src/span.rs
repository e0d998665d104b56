//! Spans and moments as a person types them: `90s`, `24h`, `-2h`, `2026-11-22T10:00:00Z`.
//!
//! It reads no clock: a moment that is given relative to now is resolved with a now that arrives as an argument.

use agentgate_core::time::Time;
use thiserror::Error;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What a date without a time lacks: its day begins in UTC.
const DAY_BEGINS: &str = "T00:00:00Z";

/// The longest span that can be asked for: a certificate that outlives its authority's machine is no certificate.
pub const SPAN_DAYS_MAX: u64 = 3_650;

const SECOND_US: u64 = 1_000_000;
const DAY_S: u64 = 86_400;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpanError {
    #[error("`{0}` is no span: write a whole number and s, m, h or d, like `90s` or `24h`")]
    Span(String),
    #[error("`{0}` is longer than {SPAN_DAYS_MAX} days")]
    TooLong(String),
    #[error("`{0}` is empty: it must last at least a second")]
    Zero(String),
    #[error("`{0}` is no moment: write `2026-11-22` (in UTC), `2026-11-22T10:00:00Z`, or a span from now like `-2h` or `+30m`")]
    Moment(String),
}

/// A span of whole seconds, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    seconds: u64,
}

/// A moment that was given as such, or by its distance from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    At(Time),
    Before(Span),
    After(Span),
}

// === impl Span ===

impl Span {
    #[must_use]
    pub const fn days(days: u32) -> Self {
        // A span of nothing cannot be made, here as little as from text.
        let days = if days == 0 { 1 } else { days };
        Self { seconds: days as u64 * DAY_S }
    }

    #[must_use]
    pub const fn micros(self) -> u64 {
        self.seconds * SECOND_US
    }

    /// By the notation of `--valid-for`.
    pub fn parse(text: &str) -> Result<Self, SpanError> {
        let no_span = || SpanError::Span(text.into());
        let Some((at, unit)) = text.char_indices().next_back() else {
            return Err(no_span());
        };
        let factor = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => DAY_S,
            _ => return Err(no_span()),
        };
        let number = text.get(..at).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let number: u64 = number.and_then(|digits| digits.parse().ok()).ok_or_else(no_span)?;
        match number.checked_mul(factor) {
            Some(0) => Err(SpanError::Zero(text.into())),
            Some(seconds) if seconds <= SPAN_DAYS_MAX * DAY_S => Ok(Self { seconds }),
            Some(_) | None => Err(SpanError::TooLong(text.into())),
        }
    }
}

// === impl Moment ===

impl Moment {
    /// By the notation of `--not-before`.
    pub fn parse(text: &str) -> Result<Self, SpanError> {
        if let Some(span) = text.strip_prefix('-') {
            return Span::parse(span).map(Self::Before);
        }
        if let Some(span) = text.strip_prefix('+') {
            return Span::parse(span).map(Self::After);
        }
        let whole = if text.contains(['T', 't', ' ']) { text.to_owned() } else { format!("{text}{DAY_BEGINS}") };
        let at = OffsetDateTime::parse(&whole, &Rfc3339).ok();
        let micros = at.and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1_000).ok());
        micros.map(|micros| Self::At(Time::from_micros(micros))).ok_or_else(|| SpanError::Moment(text.into()))
    }

    /// As `parse`, where only what is over is asked for: a bare span is one that is over.
    pub fn past(text: &str) -> Result<Self, SpanError> {
        Span::parse(text).map(Self::Before).or_else(|_| Self::parse(text))
    }

    #[must_use]
    pub const fn resolve(self, now: Time) -> Time {
        match self {
            Self::At(at) => at,
            Self::Before(span) => Time::from_micros(now.micros().saturating_sub(span.micros())),
            Self::After(span) => now.plus_micros(span.micros()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Moment, Span, SpanError, Time};

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        for (text, seconds) in [("1s", 1), ("90s", 90), ("5m", 300), ("24h", 86_400), ("3650d", 315_360_000)] {
            assert_eq!(Span::parse(text), Ok(Span { seconds }), "{text}");
        }
        let owned = |text: &str| text.to_owned();
        for text in ["", "s", "5", "5 m", "-5m", "+5m", "1.5h", "5w", "5M", "٣h", "18446744073709551616s"] {
            assert_eq!(Span::parse(text), Err(SpanError::Span(owned(text))), "{text}");
        }
        assert_eq!(Span::parse("0h"), Err(SpanError::Zero(owned("0h"))));
        for text in ["3651d", "315360001s", "18446744073709551615d"] {
            assert_eq!(Span::parse(text), Err(SpanError::TooLong(owned(text))), "{text}");
        }
    }

    #[test]
    fn a_moment_is_a_date_or_a_distance_from_now() {
        let now = Time::from_micros(1_000_000_000_000_000);
        for (text, micros) in [
            ("-2h", 999_992_800_000_000),
            ("+30m", 1_000_001_800_000_000),
            ("1970-01-01T00:00:01Z", 1_000_000),
            ("1970-01-02", 86_400_000_000),
            ("2026-11-22", 1_795_305_600_000_000),
            ("2026-11-22T00:00:00Z", 1_795_305_600_000_000),
            ("2026-11-22T20:05:52.5+01:00", 1_795_374_352_500_000),
        ] {
            assert_eq!(Moment::parse(text).map(|moment| moment.resolve(now).micros()), Ok(micros), "{text}");
        }
        for text in
            ["", "yesterday", "2026-11", "2026-11-31", "2026-11-22Z", "2026-11-22 10:00", "1969-12-31", "1969-12-31T23:59:59Z"]
        {
            assert_eq!(Moment::parse(text), Err(SpanError::Moment(text.to_owned())), "{text}");
            assert_eq!(Moment::past(text), Err(SpanError::Moment(text.to_owned())), "{text}");
        }
        assert_eq!(Moment::past("2h"), Moment::parse("-2h"));
        for text in ["-2h", "+30m", "2026-11-22", "2026-11-22T10:00:00Z"] {
            assert_eq!(Moment::past(text), Moment::parse(text), "{text}");
        }
    }
}
