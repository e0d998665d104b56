//! Numbers of people: payment cards, phones, and social security numbers of the United States. Digits stand in groups; what is
//! found begins and ends where a group does.

use super::text::Text;
use super::{Hit, Kind};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

const CARD_DIGITS: core::ops::RangeInclusive<usize> = 13..=19;
/// E.164, with the country.
const PHONE_DIGITS: core::ops::RangeInclusive<usize> = 8..=15;
/// Of what separates two groups: `) ` has two, ` (` as well.
const JOINT_CHARS_MAX: usize = 2;
/// Of the groups before a card's last: 4-4-4-4, 4-6-5, 6-13.
const CARD_GROUP_DIGITS_MIN: usize = 4;

/// Digits that stand together.
#[derive(Clone, Copy, Debug)]
struct Group {
    start: usize,
    end: usize,
    /// What separates it from the group before. None: it is the first of its chain.
    joint: Option<char>,
}

pub(super) fn find(text: &Text<'_>, hits: &mut Vec<Hit>) {
    let mut chain: Vec<Group> = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.at(at) {
        if !byte.is_ascii_digit() {
            at += 1;
            continue;
        }
        let (start, end) = (at, text.end_of(at, |byte| byte.is_ascii_digit()));
        let joint = chain.last().and_then(|last| joint(text, last.end, start));
        if joint.is_none() {
            search(text, &chain, hits);
            chain.clear();
        }
        chain.push(Group { start, end, joint });
        at = end;
    }
    search(text, &chain, hits);
}

/// What separates two groups of one number: the widest of its characters. None: they are of two.
fn joint(text: &Text<'_>, from: usize, to: usize) -> Option<char> {
    let mut at = from;
    let mut found = None;
    for _ in 0..JOINT_CHARS_MAX {
        let c = match text.char_at(at)? {
            space @ (' ' | '\u{a0}' | '\u{2009}' | '\u{202f}') => (' ', space),
            dash @ ('-' | '\u{2010}' | '\u{2011}' | '\u{2013}') => ('-', dash),
            other @ ('.' | '(' | ')') => (other, other),
            _ => return None,
        };
        found = match found {
            None => Some(c.0),
            Some(_) => Some('('),
        };
        at += c.1.len_utf8();
        if at == to {
            return found;
        }
    }
    None
}

fn search(text: &Text<'_>, chain: &[Group], hits: &mut Vec<Hit>) {
    let mut from = 0;
    while let Some(groups) = chain.get(from..).filter(|groups| !groups.is_empty()) {
        let card = card(text, groups).map(|found| (Kind::Card, found));
        let found = card.or_else(|| ssn(text, groups).map(|found| (Kind::Ssn, found)));
        let found = found.or_else(|| phone(text, groups).map(|found| (Kind::Phone, found)));
        let Some((kind, Found { start, groups, end, normal })) = found else {
            from += 1;
            continue;
        };
        hits.push(Hit { kind, start, end, normal });
        from += groups;
    }
}

/// A number, and of how many groups it is.
struct Found {
    start: usize,
    groups: usize,
    end: usize,
    normal: String,
}

// === impl Group ===

impl Group {
    fn len(&self) -> usize {
        self.end - self.start
    }

    fn text<'a>(&self, text: &Text<'a>) -> &'a str {
        text.slice(self.start, self.end)
    }
}

fn is_joined(group: Option<&Group>, by: &[char]) -> bool {
    group.and_then(|group| group.joint).is_some_and(|joint| by.contains(&joint))
}

/// The longest that begins here and passes Luhn's check.
fn card(text: &Text<'_>, groups: &[Group]) -> Option<Found> {
    let first = groups.first()?;
    // Digits behind a point are a fraction, and no issuer's numbers begin with another digit.
    let begins = matches!(text.at(first.start)?, b'2'..=b'6') && text.before(first.start) != Some('.');
    if !begins || !text.begins_word(first.start) {
        return None;
    }
    let (mut digits, mut found) = (String::new(), None);
    for (count, group) in groups.iter().enumerate() {
        let is_apart = count > 0 && !matches!(group.joint, Some(' ' | '-'));
        if is_apart || digits.len() + group.len() > *CARD_DIGITS.end() {
            break;
        }
        digits.push_str(group.text(text));
        if CARD_DIGITS.contains(&digits.len())
            && passes_luhn(&digits)
            && (text.ends_word(group.end) || ends_whole(text, group.end))
        {
            found = Some(Found { start: first.start, groups: count + 1, end: group.end, normal: digits.clone() });
        }
        if group.len() < CARD_GROUP_DIGITS_MIN {
            break;
        }
    }
    found
}

/// Whether an exponent stands here that changes nothing.
fn ends_whole(text: &Text<'_>, at: usize) -> bool {
    let sign = at + 1;
    let from = sign + usize::from(text.is(sign, |byte| matches!(byte, b'+' | b'-')));
    let end = text.end_of(from, |byte| byte == b'0');
    text.is(at, |byte| matches!(byte, b'e' | b'E')) && end > from && text.ends_word(end)
}

/// The digits of what a number of JSON is without its fraction, as far as a card's would be. None: it has more, or none.
pub(super) fn whole(raw: &str) -> Option<String> {
    let (mantissa, exponent) = raw.split_once(['e', 'E']).unwrap_or((raw, "0"));
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let before = before.trim_start_matches('-');
    let shift: isize = exponent.parse().ok()?;
    let len = before.len().checked_add_signed(shift)?;
    let zeros = before.chars().chain(behind.chars()).take_while(|c| *c == '0').count();
    let digits = before.chars().chain(behind.chars()).chain(core::iter::repeat('0'));
    CARD_DIGITS.contains(&len.checked_sub(zeros)?).then(|| digits.take(len).skip(zeros).collect())
}

fn passes_luhn(digits: &str) -> bool {
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, byte)| {
            let digit = u32::from(byte.wrapping_sub(b'0'));
            if at % 2 == 1 { doubled(digit) } else { digit }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// 123-45-6789, and neither more nor less.
fn ssn(text: &Text<'_>, groups: &[Group]) -> Option<Found> {
    let [area, group, serial, rest @ ..] = groups else { return None };
    let by = group.joint.filter(|joint| matches!(joint, ' ' | '-'))?;
    let is_one = serial.joint == Some(by) && area.joint.is_none_or(|joint| joint != by) && !is_joined(rest.first(), &[by]);
    let has_form = (area.len(), group.len(), serial.len()) == (3, 2, 4);
    if !is_one || !has_form || !text.begins_word(area.start) || !text.ends_word(serial.end) {
        return None;
    }
    let (first, second, third) = (area.text(text), group.text(text), serial.text(text));
    let is_given_out = !matches!(first, "000" | "666") && !first.starts_with('9') && second != "00" && third != "0000";
    is_given_out.then(|| Found { start: area.start, groups: 3, end: serial.end, normal: format!("{first}{second}{third}") })
}

fn phone(text: &Text<'_>, groups: &[Group]) -> Option<Found> {
    international(text, groups).or_else(|| north_american(text, groups))
}

/// +49 170 1234567, or 0049 170 1234567.
fn international(text: &Text<'_>, groups: &[Group]) -> Option<Found> {
    let first = groups.first()?;
    let bracket = usize::from(text.before(first.start) == Some('('));
    let sign = first.start - bracket;
    let (start, skipped) = if text.before(sign) == Some('+') && text.begins_word(sign - 1) {
        (sign - 1, 0)
    } else if first.text(text).starts_with("00") && groups.len() > 1 && text.begins_word(first.start) {
        (first.start, 2)
    } else {
        return None;
    };
    let (mut digits, mut found) = (String::from("+"), None);
    for (count, group) in groups.iter().enumerate() {
        let own = group.text(text).get(if count == 0 { skipped } else { 0 }..).unwrap_or_default();
        if digits.len() - 1 + own.len() > *PHONE_DIGITS.end() {
            break;
        }
        digits.push_str(own);
        if PHONE_DIGITS.contains(&(digits.len() - 1)) && text.ends_word(group.end) {
            found = Some(Found { start, groups: count + 1, end: group.end, normal: digits.clone() });
            // Numbers of this plan all have as many digits.
            if digits.starts_with("+1") && digits.len() == 12 {
                break;
            }
        }
    }
    found.filter(|found| !found.normal.starts_with("+0"))
}

/// (555) 123-4567, with a 1 before it or without.
fn north_american(text: &Text<'_>, groups: &[Group]) -> Option<Found> {
    let (country, own) = match groups {
        [country, own @ ..] if country.text(text) == "1" => (Some(country), own),
        own => (None, own),
    };
    let [area, exchange, line, rest @ ..] = own else { return None };
    let has_form = (area.len(), exchange.len(), line.len()) == (3, 3, 4);
    let is_of_plan = |group: &Group| text.is(group.start, |byte| matches!(byte, b'2'..=b'9'));
    let first = country.unwrap_or(area);
    let is_one = !is_joined(Some(first), &['-', '.']) && !is_joined(rest.first(), &['-', '.']);
    let is_apart = text.begins_word(first.start) && text.ends_word(line.end);
    if !has_form || !is_of_plan(area) || !is_of_plan(exchange) || !is_one || !is_apart {
        return None;
    }
    let start = first.start - usize::from(text.before(first.start) == Some('('));
    let normal = format!("+1{}{}{}", area.text(text), exchange.text(text), line.text(text));
    Some(Found { start, groups: 3 + usize::from(country.is_some()), end: line.end, normal })
}
