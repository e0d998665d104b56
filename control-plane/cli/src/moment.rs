//! How moments and spans are shown: in full, and by their distance from a now that arrives as an argument.

use agentgate_core::time::Time;

const SECOND_US: u64 = 1_000_000;
const MINUTE_US: u64 = 60 * SECOND_US;
const HOUR_US: u64 = 60 * MINUTE_US;
const DAY_US: u64 = 24 * HOUR_US;

/// In UTC, to the millisecond, with a space so that the day is seen at a glance.
#[must_use]
pub fn absolute(micros: u64) -> String {
    Time::from_micros(micros).to_string().replace('T', " ")
}

/// As short as it can be said: the clock alone for today, the day and the minute for other days.
#[must_use]
pub fn brief(now: Time, micros: u64) -> String {
    let (text, today) = (absolute(micros), absolute(now.micros()));
    match (text.split_once(' '), today.split_once(' ')) {
        (Some((day, clock)), Some((today, _))) if day == today => clock.to_owned(),
        (Some((day, clock)), _) => format!("{day} {}", clock.get(..5).unwrap_or(clock)),
        (None, _) => text,
    }
}

/// `12s ago`, `in 3h`, `now`.
#[must_use]
pub fn relative(now: Time, micros: u64) -> String {
    let (past, future) = (now.micros().saturating_sub(micros), micros.saturating_sub(now.micros()));
    match (past >= SECOND_US, future >= SECOND_US) {
        (true, _) => format!("{} ago", span(past)),
        (_, true) => format!("in {}", span(future)),
        (false, false) => "now".to_owned(),
    }
}

/// A span in its largest fitting unit, rounded down: `1.5ms`, `12s`, `3m`, `2h`, `5d`.
#[must_use]
pub fn span(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..100_000 => format!("{}.{}ms", micros / 1_000, micros / 100 % 10),
        100_000..SECOND_US => format!("{}ms", micros / 1_000),
        SECOND_US..MINUTE_US => format!("{}s", micros / SECOND_US),
        MINUTE_US..HOUR_US => format!("{}m", micros / MINUTE_US),
        HOUR_US..DAY_US => format!("{}h", micros / HOUR_US),
        DAY_US.. => format!("{}d", micros / DAY_US),
    }
}

/// A size: `512 B`, `1.5 KiB`, `20.0 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in UNITS {
        if bytes >> shift > 0 {
            let tenths = ((bytes >> (shift - 10)) * 10) >> 10;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

/// A count that is read at a glance: `1,204`.
#[must_use]
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `1 call`, `1,204 calls`.
#[must_use]
pub fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{} {what}s", grouped(count)) }
}

#[cfg(test)]
mod tests {
    use super::{DAY_US, SECOND_US, absolute, brief, counted, grouped, relative, size, span};
    use agentgate_core::time::Time;

    #[test]
    fn spans_are_shown_in_their_largest_unit() {
        for (micros, shown) in [
            (0, "0us"),
            (999, "999us"),
            (1_000, "1.0ms"),
            (12_345, "12.3ms"),
            (123_456, "123ms"),
            (59_999_999, "59s"),
            (3_599_999_999, "59m"),
            (3_600_000_000, "1h"),
            (86_399_999_999, "23h"),
            (172_800_000_000, "2d"),
        ] {
            assert_eq!(span(micros), shown);
        }
    }

    #[test]
    fn a_moment_is_shown_by_its_distance_from_the_now_that_is_given() {
        let now = Time::from_micros(1_795_374_352_123_000);
        for (micros, shown) in [
            (1_795_374_352_123_000, "now"),
            (1_795_374_351_123_001, "now"),
            (1_795_374_340_000_000, "12s ago"),
            (1_795_374_952_123_000, "in 10m"),
        ] {
            assert_eq!(relative(now, micros), shown);
        }
        assert_eq!(brief(now, now.micros() - SECOND_US), "19:05:51.123Z");
        assert_eq!(brief(now, now.micros() - DAY_US), "2026-11-21 19:05");
        assert_eq!(absolute(now.micros()), "2026-11-22 19:05:52.123Z");
    }

    #[test]
    fn counts_are_shown_in_groups_of_three() {
        for (count, shown) in [(0, "0"), (999, "999"), (1_204, "1,204"), (100_000, "100,000"), (1_000_000, "1,000,000")] {
            assert_eq!(grouped(count), shown);
        }
        for (count, shown) in [(0, "0 calls"), (1, "1 call"), (2, "2 calls"), (1_204, "1,204 calls")] {
            assert_eq!(counted(count, "call"), shown);
        }
    }

    #[test]
    fn sizes_are_shown_in_powers_of_1024() {
        for (bytes, shown) in
            [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (20 << 20, "20.0 MiB"), (u64::MAX, "16777215.9 TiB")]
        {
            assert_eq!(size(bytes), shown);
        }
    }
}
