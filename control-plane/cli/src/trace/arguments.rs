//! A call's arguments for people: read from the bytes that were received, and written out with one value a line.
//!
//! It changes no number and repairs nothing: what cannot be read is shown as the text it is, and says so.

use crate::screen::{Charset, Palette, Screen};
use crate::text::{escape, shorten};
use agentgate_core::json::{Bounds, Json, Keys, read};

/// A screenful or two; all of it is in `--output json`.
const LINES_MAX: usize = 200;

/// The longest line of text that is shown of one value, in columns.
const LINE_COLUMNS_MAX: usize = 2_000;

/// The largest body that any part of the gate takes has far fewer values; deeper ones were refused when they came.
const BOUNDS: Bounds = Bounds { depth_max: 64, number_bytes_max: 1_024, values_max: 1_000_000 };

/// The arguments (or the parameters, where a method has no arguments) of the JSON-RPC call in a body.
#[must_use]
pub(super) fn render(body: &[u8], screen: &Screen) -> String {
    if body.is_empty() {
        return screen.paint(Palette::Dim, "no body was read");
    }
    let read = match read(body, BOUNDS, Keys::Exact) {
        Ok(read) => read,
        Err(fault) => return unreadable(body, &fault.to_string(), screen),
    };
    let params = read.as_object().and_then(|call| call.get("params"));
    let arguments = params.and_then(Json::as_object).and_then(|params| params.get("arguments"));
    // Without either, the whole message says more than nothing.
    let shown = arguments.or(params).unwrap_or(&read);
    let mut lines = Vec::new();
    write(shown, 0, "", "", screen, &mut lines);
    let left_out = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    if left_out > 0 {
        lines.push(screen.paint(Palette::Dim, &format!("{left_out} more lines; all of them: --output json")));
    }
    lines.join("\n")
}

fn unreadable(body: &[u8], fault: &str, screen: &Screen) -> String {
    let text = String::from_utf8_lossy(body);
    let shown = shorten(&text, LINE_COLUMNS_MAX, screen.charset);
    format!("{}\n{shown}", screen.paint(Palette::Dim, &format!("{fault}; its {} bytes begin:", body.len())))
}

/// Writes one value; `before` is its key, `after` its comma.
fn write(value: &Json, depth: usize, before: &str, after: &str, screen: &Screen, lines: &mut Vec<String>) {
    // Beyond what is shown, lines are only counted.
    let indent = "  ".repeat(depth);
    let mut line = |text: &str| lines.push(if lines.len() < LINES_MAX { format!("{indent}{text}") } else { String::new() });
    match value {
        Json::Null => line(&format!("{before}null{after}")),
        Json::Bool(value) => line(&format!("{before}{value}{after}")),
        Json::Number(number) => line(&format!("{before}{}{after}", number.as_str())),
        Json::String(text) => line(&format!("{before}{}{after}", quote(text, screen.charset))),
        Json::Array(elements) if elements.is_empty() => line(&format!("{before}[]{after}")),
        Json::Object(object) if object.is_empty() => line(&format!("{before}{{}}{after}")),
        Json::Array(elements) => {
            line(&format!("{before}["));
            for (at, element) in elements.iter().enumerate() {
                let comma = if at + 1 < elements.len() { "," } else { "" };
                write(element, depth + 1, "", comma, screen, lines);
            }
            lines.push(format!("{indent}]{after}"));
        }
        Json::Object(object) => {
            line(&format!("{before}{{"));
            let count = object.iter().count();
            for (at, (key, member)) in object.iter().enumerate() {
                let key = format!("{}: ", quote(key, screen.charset));
                let comma = if at + 1 < count { "," } else { "" };
                write(member, depth + 1, &key, comma, screen, lines);
            }
            lines.push(format!("{indent}}}{after}"));
        }
    }
}

/// In quotes, with quotes and backslashes doubled as JSON does, and all else escaped like any text from outside.
fn quote(text: &str, charset: Charset) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    if text.len() > LINE_COLUMNS_MAX {
        return format!("\"{}\"", shorten(&text, LINE_COLUMNS_MAX, charset));
    }
    format!("\"{}\"", escape(&text, charset))
}

#[cfg(test)]
mod tests {
    use super::{LINE_COLUMNS_MAX, LINES_MAX, render};
    use crate::screen::{Charset, Screen};

    const SCREEN: Screen = Screen { color: false, charset: Charset::Unicode, columns: 80, terminal: false };

    fn check(body: &[u8], shown: &str) {
        assert_eq!(render(body, &SCREEN), shown, "{}", String::from_utf8_lossy(body));
    }

    #[test]
    fn arguments_are_shown_one_value_a_line_with_their_digits() {
        check(
            br#"{"params":{"name":"x","arguments":{"path":"a/b","n":9007199254740993.0,"list":[1,{}],"no":null,"e":[]}}}"#,
            "{\n  \"path\": \"a/b\",\n  \"n\": 9007199254740993.0,\n  \"list\": [\n    1,\n    {}\n  ],\n  \"no\": null,\n  \"e\": []\n}",
        );
        check(br#"{"method":"tools/list","params":{"cursor":true}}"#, "{\n  \"cursor\": true\n}");
        check(br#"{"method":"ping"}"#, "{\n  \"method\": \"ping\"\n}");
    }

    #[test]
    fn what_the_agent_wrote_is_escaped() {
        check(
            br#"{"params":{"arguments":{"a\nb":"\u001b[2J \"q\" \\ \u202e"}}}"#,
            "{\n  \"a\\nb\": \"\\u{1b}[2J \\\"q\\\" \\\\ \\u{202e}\"\n}",
        );
    }

    #[test]
    fn what_cannot_be_read_is_shown_as_it_is() {
        check(b"{\"a\":1,\x1b[2J", "the body is not JSON; its 11 bytes begin:\n{\"a\":1,\\u{1b}[2J");
        check(b"\xff\xfe", "the body is not UTF-8; its 2 bytes begin:\n\u{fffd}\u{fffd}");
        check(b"", "no body was read");
    }

    #[test]
    fn a_long_value_and_a_long_list_are_cut_and_say_so() {
        let list = |count: usize| format!("{{\"params\":[{}]}}", vec!["1"; count].join(","));
        let shown = render(list(LINES_MAX - 2).as_bytes(), &SCREEN);
        assert_eq!(shown.lines().count(), LINES_MAX);
        assert!(shown.ends_with("\n]"));
        let shown = render(list(LINES_MAX - 1).as_bytes(), &SCREEN);
        assert!(shown.ends_with("1 more lines; all of them: --output json"), "{shown}");
        let text = |count: usize| format!("{{\"params\":\"{}\"}}", "x".repeat(count));
        assert!(!render(text(LINE_COLUMNS_MAX).as_bytes(), &SCREEN).contains('…'));
        assert!(render(text(LINE_COLUMNS_MAX + 1).as_bytes(), &SCREEN).contains('…'));
    }
}
