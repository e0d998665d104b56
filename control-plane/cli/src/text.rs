//! Text from outside, made harmless: what an agent wrote may not move the cursor, hide, reverse or break a line.
//!
//! Nothing is dropped: every character that is not shown as itself is shown as an escape. Exact bytes are in `--output json`.

use crate::screen::{Charset, Palette, Screen};
use agentgate_core::fold;
use std::fmt::Write as _;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// So many combining marks on one character are writing; more are paint over the neighbouring lines.
const MARKS_MAX: usize = 2;

/// Shows control, invisible and direction-changing characters as escapes, and in ASCII everything beyond it too.
#[must_use]
pub fn escape(text: &str, charset: Charset) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut marks = 0;
    for (at, c) in text.char_indices() {
        let mark = !c.is_control() && c.width() == Some(0);
        marks = if mark { marks + 1 } else { 0 };
        // A mark that has nothing to stand on would change our own text before it.
        let painted = mark && (marks > MARKS_MAX || at == 0);
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            _ if painted || is_hidden(c) || (charset == Charset::Ascii && !c.is_ascii()) => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            _ => shown.push(c),
        }
    }
    shown
}

/// Escaped, and cut to so many columns with a sign that something is missing.
#[must_use]
pub fn shorten(text: &str, columns: usize, charset: Charset) -> String {
    let shown = escape(text, charset);
    if shown.width() <= columns {
        return shown;
    }
    let sign = match charset {
        Charset::Unicode => "…",
        Charset::Ascii => "~",
    };
    let mut cut = String::new();
    let mut width = sign.width();
    for c in shown.chars() {
        width += c.width().unwrap_or(0);
        if width > columns {
            break;
        }
        cut.push(c);
    }
    cut.push_str(sign);
    cut
}

/// In lines of so many columns, each broken at a blank; what has none is left whole, to be copied.
#[must_use]
pub fn wrapped(words: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// On a terminal in as many lines as it takes, and in one for whoever searches for it.
#[must_use]
pub fn fitted(words: &str, columns: usize, screen: &Screen) -> Vec<String> {
    if screen.terminal { wrapped(words, columns) } else { vec![words.to_owned()] }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Characters that are not seen, or are seen as something else than they are.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    let blank = c.is_whitespace() && c != ' ';
    blank || c == '\u{2800}' || fold::is_unseen(c)
}

/// Hidden, and no ordinary break of a line either: whoever decides about a text has to be told of it.
#[must_use]
pub fn is_covert(c: char) -> bool {
    is_hidden(c) && !matches!(c, '\n' | '\r' | '\t')
}

/// As [`escape`], with what is covert in a colour.
#[must_use]
pub fn mark(text: &str, screen: &Screen) -> String {
    let mut marked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_covert(*c)) {
        let (before, from) = rest.split_at(at);
        let (covert, after) = from.split_at(c.len_utf8());
        marked += &escape(before, screen.charset);
        marked += &screen.paint(Palette::Bad, &escape(covert, screen.charset));
        rest = after;
    }
    marked + &escape(rest, screen.charset)
}

/// A word as a shell takes it back.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::{Charset, Screen, escape, hex, mark, shell_word, shorten};
    use unicode_width::UnicodeWidthStr as _;

    #[test]
    fn what_could_deceive_is_shown_as_an_escape() {
        for (written, shown) in [
            ("notes.read", "notes.read"),
            ("größe 漢字 🙂", "größe 漢字 🙂"),
            ("\u{1b}[2Jgone", "\\u{1b}[2Jgone"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{7f}\0\u{8}", "\\u{7f}\\u{0}\\u{8}"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("\u{2066}x\u{2069}", "\\u{2066}x\\u{2069}"),
            ("pass\u{200b}word\u{feff}", "pass\\u{200b}word\\u{feff}"),
            ("\u{e0041}\u{fe0f}", "\\u{e0041}\\u{fe0f}"),
            ("a\u{a0}b\u{2028}c\u{3000}d", "a\\u{a0}b\\u{2028}c\\u{3000}d"),
            ("\u{3164}\u{2800}", "\\u{3164}\\u{2800}"),
            ("\u{301}x", "\\u{301}x"),
            ("e\u{301}\u{302}\u{303}\u{304}", "e\u{301}\u{302}\\u{303}\\u{304}"),
        ] {
            assert_eq!(escape(written, Charset::Unicode), shown, "{written:?}");
            let again = escape(shown, Charset::Unicode);
            assert_eq!(again, shown, "what was escaped stays as it is");
        }
        assert_eq!(escape("größe\n", Charset::Ascii), "gr\\u{f6}\\u{df}e\\n");
    }

    #[test]
    fn what_is_covert_is_marked_and_an_ordinary_break_of_a_line_is_not() {
        let mut screen = Screen { color: true, charset: Charset::Unicode, columns: 80, terminal: true };
        for (written, marked) in [
            ("a\nb\tc ö", "a\\nb\\tc ö"),
            ("a\u{202e}b", "a\x1b[31m\\u{202e}\x1b[0mb"),
            ("\u{200d}\u{fe0f}", "\x1b[31m\\u{200d}\x1b[0m\x1b[31m\\u{fe0f}\x1b[0m"),
            ("\u{fff3}", "\x1b[31m\\u{fff3}\x1b[0m"),
        ] {
            assert_eq!(mark(written, &screen), marked, "{written:?}");
        }
        screen.color = false;
        assert_eq!(mark("a\u{202e}b", &screen), "a\\u{202e}b");
    }

    #[test]
    fn a_word_comes_back_from_a_shell_as_it_went() {
        for (word, written) in [
            ("notes", "notes"),
            ("spiffe://a/x+user:u@i", "spiffe://a/x+user:u@i"),
            ("", "''"),
            ("o'clock $x", r"'o'\''clock $x'"),
        ] {
            assert_eq!(shell_word(word), written);
        }
    }

    #[test]
    fn no_escape_leaves_a_character_that_moves_the_cursor() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let shown = escape(&c.to_string(), Charset::Ascii);
            assert!(shown.bytes().all(|b| (0x20..0x7f).contains(&b)), "{c:?}");
            let shown = escape(&c.to_string(), Charset::Unicode);
            assert!(!shown.chars().any(|c| c.is_control() || agentgate_core::id::is_format(c)), "{c:?}");
        }
    }

    #[test]
    fn a_cut_text_is_never_wider_than_its_room() {
        for (text, columns, shown) in
            [("short", 5, "short"), ("longer", 5, "long…"), ("漢字漢字", 5, "漢字…"), ("漢字漢字", 4, "漢…"), ("a\nb", 3, "a\\…")]
        {
            let cut = shorten(text, columns, Charset::Unicode);
            assert_eq!(cut, shown);
            assert!(cut.width() <= columns);
        }
        assert_eq!(shorten("longer", 5, Charset::Ascii), "long~");
    }

    #[test]
    fn bytes_are_written_in_lower_case_hexadecimal() {
        assert_eq!(hex(&[0, 0x1f, 0xff]), "001fff");
    }
}
