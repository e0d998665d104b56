//! Words of a person, put into YAML, JSON or TOML so that they mean themselves: whatever is in them, they stay one value.
//!
//! What hides on a screen is written as an escape; nothing is dropped.

use crate::text::is_hidden;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

/// Plain words that YAML takes for something else than text.
const NOT_TEXT: [&str; 11] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];

/// A scalar of YAML: as it is where that is safe, and else in quotes.
#[must_use]
pub(crate) fn yaml(text: &str) -> String {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let goes_on = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-/".contains(&b));
    let word = begins && goes_on && !NOT_TEXT.iter().any(|word| text.eq_ignore_ascii_case(word));
    if word || text.parse::<Ipv4Addr>().is_ok() { text.to_owned() } else { quoted(text, yaml_escape) }
}

/// A string of JSON.
#[must_use]
pub(crate) fn json(text: &str) -> String {
    quoted(text, json_escape)
}

/// A basic string of TOML, whose escapes are those of YAML.
#[must_use]
pub(crate) fn toml(text: &str) -> String {
    quoted(text, yaml_escape)
}

fn quoted(text: &str, escape: impl Fn(char, &mut String)) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            // A surrogate's neighbours and what no editor shows: the parsers differ on them.
            c if is_hidden(c) || matches!(c, '\u{fdd0}'..='\u{fdef}' | '\u{fffe}' | '\u{ffff}') || u32::from(c) > 0xffff => {
                escape(c, &mut quoted);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn yaml_escape(c: char, out: &mut String) {
    let code = u32::from(c);
    let _ = if code > 0xffff { write!(out, "\\U{code:08x}") } else { write!(out, "\\u{code:04x}") };
}

fn json_escape(c: char, out: &mut String) {
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        let _ = write!(out, "\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use super::{json, yaml};

    #[test]
    fn what_is_safe_stays_plain_and_all_else_is_quoted() {
        for (text, written) in [
            ("notes", "notes"),
            ("127.0.0.1", "127.0.0.1"),
            ("certs/filter.pem", "certs/filter.pem"),
            ("::1", "\"::1\""),
            ("No", "\"No\""),
            ("1e5", "\"1e5\""),
            ("a: b", "\"a: b\""),
            ("a\nb\"\\", "\"a\\u000ab\\\"\\\\\""),
            ("\u{e0041}", "\"\\U000e0041\""),
            ("", "\"\""),
        ] {
            assert_eq!(yaml(text), written);
        }
        assert_eq!(json("\u{e0041}é\u{85}"), "\"\\udb40\\udc41é\\u0085\"");
    }
}
