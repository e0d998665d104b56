//! A number as text. It refuses to be a double: what has to be compared is compared digit by digit.

use alloc::string::{String, ToString};
use core::fmt;

/// A number's own text, checked against JSON's grammar: `1.0`, `1` and `1e0` are three different numbers here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Number(pub(super) String);

/// 2^53 - 1: up to here every integer is one double, and no two are the same.
const DOUBLE_INTEGER_MAX: u64 = 9_007_199_254_740_991;

/// The digits of a decimal without zeros at either end, and the power of ten of the last one.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

// === impl Number ===

impl Number {
    /// None when `text` is no number by JSON's grammar.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (grammatical(text.as_bytes()) == Some(text.len())).then(|| Self(text.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Written without point and exponent.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        !self.0.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
    }

    /// Whether 64 bits hold this number to the last digit: an integer within `i64` or `u64`, or a decimal whose nearest
    /// double, written as short as it can be, is the same decimal again. `0.1` is exact, `9007199254740993.0` is not.
    /// What is not exact would be compared with a neighbour by a policy engine.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        if self.is_integer() {
            return self.0.parse::<i64>().is_ok() || self.0.parse::<u64>().is_ok();
        }
        match self.0.parse::<f64>() {
            Ok(double) if double.is_finite() => Decimal::of(&self.0) == Decimal::of(&alloc::format!("{double:e}")),
            Ok(_) | Err(_) => false,
        }
    }

    /// As [`Number::is_exact`], and for readers too that keep every number as a double: to JavaScript 9007199254740993 is the
    /// number before it, and then that one is not told from it either.
    #[must_use]
    pub fn is_exact_everywhere(&self) -> bool {
        let is_small = |integer: i64| integer.unsigned_abs() <= DOUBLE_INTEGER_MAX;
        self.is_exact() && (!self.is_integer() || self.0.parse().is_ok_and(is_small))
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self(value.to_string())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many of the first bytes are a number: `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`. None: none are.
pub(super) fn grammatical(bytes: &[u8]) -> Option<usize> {
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(bytes, at);
    if whole == 0 || (whole > 1 && bytes.get(at) == Some(&b'0')) {
        return None;
    }
    at += whole;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(bytes, at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let power = digits(bytes, at + 1 + sign);
        if power == 0 {
            return None;
        }
        at += 1 + sign + power;
    }
    Some(at)
}

fn digits(bytes: &[u8], from: usize) -> usize {
    bytes.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
}

// === impl Decimal ===

impl Decimal {
    /// Of a text that is a number by the grammar.
    fn of(text: &str) -> Self {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        let kept = all.trim_end_matches('0');
        // A power that 64 bits cannot hold belongs to no double: the far end is as good as any.
        let power = power.parse::<i64>().unwrap_or(if power.starts_with('-') { i64::MIN } else { i64::MAX });
        let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
        let exponent = power.saturating_sub(length(fraction)).saturating_add(length(&all) - length(kept));
        let digits = String::from(kept.trim_start_matches('0'));
        // Zero has no sign and no power.
        if digits.is_empty() { Self { negative: false, digits, exponent: 0 } } else { Self { negative, digits, exponent } }
    }
}
