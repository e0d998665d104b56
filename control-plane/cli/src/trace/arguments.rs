//! A call's arguments for people: read from the bytes that were received, and written out with one value a line.
//!
//! It changes no number and repairs nothing: what cannot be read is shown as the text it is, and says so. For an approver
//! nothing is cut.

use crate::screen::{Charset, Palette, Screen};
use crate::text::{escape, is_covert, mark, shorten};
use agentgate_core::json::{Bounds, Json, Keys, read};
use agentgate_core::mcp::Limits;
use agentgate_core::rest;
use agentgate_proto::{ask, v1};
use std::slice::from_ref;
use unicode_width::UnicodeWidthStr as _;

/// A screenful or two; all of it is in `--output json`.
const LINES_MAX: usize = 200;

/// The longest line of text that is shown of one value, in columns.
const LINE_COLUMNS_MAX: usize = 2_000;

/// Where the lines go, and how many of them are wanted.
struct Page<'a> {
    screen: &'a Screen,
    lines: Vec<String>,
    lines_max: usize,
    value_columns_max: usize,
    /// A value was cut.
    cut: bool,
}

/// The largest body that any part of the gate takes has far fewer values; deeper ones were refused when they came.
const BOUNDS: Bounds = Bounds { depth_max: 64, number_bytes_max: 1_024, values_max: 1_000_000 };

/// A call's arguments as a report has them: so many lines of them, and no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Brief {
    pub(crate) lines: Vec<String>,
    /// Something of them is left out.
    pub(crate) cut: bool,
}

/// Of the call in an ask, in plain text in which nothing hides. No lines: no body was read.
#[must_use]
pub(crate) fn brief(ask: &v1::Ask, lines_max: usize, columns_max: usize) -> Brief {
    let screen = &Screen { color: false, charset: Charset::Unicode, columns: u16::MAX, terminal: false };
    let mut page = Page { screen, lines: Vec::new(), lines_max, value_columns_max: columns_max, cut: false };
    match rest_arguments(ask) {
        Some(arguments) => page.write(&arguments, 0, "", ""),
        None if ask.body.is_empty() => {}
        None => match read(&ask.body, BOUNDS, Keys::Exact) {
            Ok(read) => page.write(arguments_in(&read), 0, "", ""),
            Err(fault) => {
                page.lines.push(format!("{fault}; its {} bytes begin:", ask.body.len()));
                let text = String::from_utf8_lossy(&ask.body);
                page.cut |= escape(&text, screen.charset).width() > columns_max;
                page.lines.push(shorten(&text, columns_max, screen.charset));
            }
        },
    }
    page.cut |= page.lines.len() > lines_max;
    page.lines.truncate(lines_max);
    Brief { lines: page.lines, cut: page.cut }
}

/// The arguments of the call in an ask. Those of a REST call stand in its path and its query as well.
#[must_use]
pub(super) fn of(ask: &v1::Ask, screen: &Screen) -> String {
    match rest_arguments(ask) {
        Some(arguments) => page(&arguments, screen),
        None => render(&ask.body, screen),
    }
}

/// Read again by the rule by which the call was decided. None: it is no REST call, or could not be read.
fn rest_arguments(ask: &v1::Ask) -> Option<Json> {
    let rule = ask::rest_from_wire(ask.rest.as_ref()?).ok()??;
    let head = ask::head_from_wire(ask.head.as_ref()?);
    let message = rest::read(&head, &ask.body, from_ref(&rule), &Limits::default()).message.ok()?;
    message.arguments().cloned().map(Json::Object)
}

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
    page(arguments_in(&read), screen)
}

fn arguments_in(read: &Json) -> &Json {
    let params = read.as_object().and_then(|call| call.get("params"));
    let arguments = params.and_then(Json::as_object).and_then(|params| params.get("arguments"));
    // Without either, the whole message says more than nothing.
    arguments.or(params).unwrap_or(read)
}

fn page(shown: &Json, screen: &Screen) -> String {
    let mut page = Page { screen, lines: Vec::new(), lines_max: LINES_MAX, value_columns_max: LINE_COLUMNS_MAX, cut: false };
    page.write(shown, 0, "", "");
    let left_out = page.lines.len().saturating_sub(LINES_MAX);
    page.lines.truncate(LINES_MAX);
    if left_out > 0 {
        page.lines.push(screen.paint(Palette::Dim, &format!("{left_out} more lines; all of them: --output json")));
    }
    page.lines.join("\n")
}

/// All of a JSON text, whatever its length; and whether something in it is not seen.
#[must_use]
pub(crate) fn whole(json: &str, screen: &Screen) -> (String, bool) {
    let covert = |text: &str| text.chars().any(is_covert);
    match read(json.as_bytes(), BOUNDS, Keys::Exact) {
        Ok(value) => {
            let mut page = Page { screen, lines: Vec::new(), lines_max: usize::MAX, value_columns_max: usize::MAX, cut: false };
            page.write(&value, 0, "", "");
            (page.lines.join("\n"), covert(json) || any_text(&value, &covert))
        }
        Err(_) => (mark(json, screen), covert(json)),
    }
}

/// Whether some text in a value is so. In JSON's own escapes nothing is hidden; in what they stand for it is.
fn any_text(value: &Json, is_so: &impl Fn(&str) -> bool) -> bool {
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
        Json::String(text) => is_so(text),
        Json::Array(elements) => elements.iter().any(|element| any_text(element, is_so)),
        Json::Object(object) => object.iter().any(|(key, member)| is_so(key) || any_text(member, is_so)),
    }
}

fn unreadable(body: &[u8], fault: &str, screen: &Screen) -> String {
    let text = String::from_utf8_lossy(body);
    let shown = shorten(&text, LINE_COLUMNS_MAX, screen.charset);
    format!("{}\n{shown}", screen.paint(Palette::Dim, &format!("{fault}; its {} bytes begin:", body.len())))
}

// === impl Page ===

impl Page<'_> {
    fn line(&mut self, depth: usize, text: &str) {
        // Beyond what is shown, lines are only counted.
        let is_shown = self.lines.len() < self.lines_max;
        self.lines.push(if is_shown { format!("{}{text}", "  ".repeat(depth)) } else { String::new() });
    }

    /// Writes one value; `before` is its key, `after` its comma.
    fn write(&mut self, value: &Json, depth: usize, before: &str, after: &str) {
        match value {
            Json::Null => self.line(depth, &format!("{before}null{after}")),
            Json::Bool(value) => self.line(depth, &format!("{before}{value}{after}")),
            Json::Number(number) => self.line(depth, &format!("{before}{}{after}", number.as_str())),
            Json::String(text) => {
                let text = self.quote(text);
                self.line(depth, &format!("{before}{text}{after}"));
            }
            Json::Array(elements) if elements.is_empty() => self.line(depth, &format!("{before}[]{after}")),
            Json::Object(object) if object.is_empty() => self.line(depth, &format!("{before}{{}}{after}")),
            Json::Array(elements) => {
                self.line(depth, &format!("{before}["));
                for (at, element) in elements.iter().enumerate() {
                    let comma = if at + 1 < elements.len() { "," } else { "" };
                    self.write(element, depth + 1, "", comma);
                }
                self.line(depth, &format!("]{after}"));
            }
            Json::Object(object) => {
                self.line(depth, &format!("{before}{{"));
                let count = object.iter().count();
                for (at, (key, member)) in object.iter().enumerate() {
                    let key = format!("{}: ", self.quote(key));
                    let comma = if at + 1 < count { "," } else { "" };
                    self.write(member, depth + 1, &key, comma);
                }
                self.line(depth, &format!("}}{after}"));
            }
        }
    }

    /// In quotes, with quotes and backslashes doubled as JSON does, and all else escaped like any text from outside.
    fn quote(&mut self, text: &str) -> String {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        if text.len() > self.value_columns_max {
            self.cut |= escape(&text, self.screen.charset).width() > self.value_columns_max;
            return format!("\"{}\"", shorten(&text, self.value_columns_max, self.screen.charset));
        }
        format!("\"{}\"", mark(&text, self.screen))
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_COLUMNS_MAX, LINES_MAX, render, whole};
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

    #[test]
    fn an_approver_sees_all_of_it_and_is_told_what_is_not_seen() {
        let long = format!("[\"{}\"{}]", "x".repeat(LINE_COLUMNS_MAX * 2), ",1".repeat(LINES_MAX * 2));
        let (shown, covert) = whole(&long, &SCREEN);
        assert_eq!((shown.lines().count(), covert), (LINES_MAX * 2 + 3, false));
        assert!(shown.contains(&"x".repeat(LINE_COLUMNS_MAX * 2)));
        for (json, shown, covert) in [
            (r#"{"to":"a\nb"}"#, "{\n  \"to\": \"a\\nb\"\n}", false),
            (r#"{"to":"\u202egpj"}"#, "{\n  \"to\": \"\\u{202e}gpj\"\n}", true),
            ("{\"t\u{200b}o\":1}", "{\n  \"t\\u{200b}o\": 1\n}", true),
            ("no JSON\u{1b}", "no JSON\\u{1b}", true),
        ] {
            assert_eq!(whole(json, &SCREEN), (shown.to_owned(), covert), "{json}");
        }
    }
}
