//! IBANs: a country, two check digits, as many characters as that country's have, and the remainder by 97.

use super::text::Text;
use super::{Hit, Kind};
use alloc::string::String;
use alloc::vec::Vec;

/// Countries and the length of their IBANs (SWIFT's registry).
const LENGTHS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 \
FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 \
LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 \
SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30";

pub(super) fn find(text: &Text<'_>, hits: &mut Vec<Hit>) {
    let mut at = 0;
    while let Some(byte) = text.at(at) {
        if byte.is_ascii_alphabetic()
            && text.is(at + 1, |byte| byte.is_ascii_alphabetic())
            && text.is(at + 2, |byte| byte.is_ascii_digit())
            && text.is(at + 3, |byte| byte.is_ascii_digit())
            && text.begins_word(at)
            && let Some(hit) = iban(text, at)
        {
            at = hit.end;
            hits.push(hit);
        } else {
            at += 1;
        }
    }
}

fn iban(text: &Text<'_>, start: usize) -> Option<Hit> {
    let length = length_of(text.slice(start, start + 2))?;
    let mut normal = String::with_capacity(length);
    let mut at = start;
    while normal.len() < length {
        let byte = text.at(at)?;
        if byte.is_ascii_alphanumeric() {
            normal.push(char::from(byte.to_ascii_uppercase()));
        } else if !matches!(byte, b' ' | b'-') || !text.is(at + 1, |next| next.is_ascii_alphanumeric()) {
            return None;
        }
        at += 1;
    }
    (text.ends_word(at) && remainder(&normal) == Some(1)).then_some(Hit { kind: Kind::Iban, start, end: at, normal })
}

fn length_of(country: &str) -> Option<usize> {
    let of = |entry: &str| {
        let (name, length) = entry.split_at_checked(2)?;
        name.eq_ignore_ascii_case(country).then(|| length.parse().ok())?
    };
    LENGTHS.split(' ').find_map(of)
}

/// Of the whole, its first four behind the rest, letters as 10 to 35.
fn remainder(iban: &str) -> Option<u32> {
    let (first, rest) = iban.split_at_checked(4)?;
    rest.chars().chain(first.chars()).try_fold(0, |sum, c| {
        let digit = c.to_digit(36)?;
        Some((sum * if digit > 9 { 100 } else { 10 } + digit) % 97)
    })
}
