//! A unified diff for people: what comes and what goes in colours, escaped line by line. It makes no diff.

use crate::screen::{Palette, Screen};
use crate::text::escape;

#[must_use]
pub fn render(diff: &str, screen: &Screen) -> String {
    let mut text = String::new();
    for line in diff.lines() {
        let palette = match line.as_bytes() {
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => Palette::Title,
            [b'+', ..] => Palette::Good,
            [b'-', ..] => Palette::Bad,
            [b'@', ..] => Palette::Dim,
            _ => Palette::Plain,
        };
        text += &screen.paint(palette, &escape(line, screen.charset));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::screen::{Charset, Screen};

    #[test]
    fn each_line_is_escaped_by_itself() {
        let screen = Screen { color: true, charset: Charset::Unicode, columns: 80, terminal: true };
        let shown = render("--- a\n+++ b\n@@ -1 +1 @@\n-x\n+y\u{1b}[2J\n z\n", &screen);
        let wanted = "\x1b[1m--- a\x1b[0m\n\x1b[1m+++ b\x1b[0m\n\x1b[2m@@ -1 +1 @@\x1b[0m\n\x1b[31m-x\x1b[0m\n\
                      \x1b[32m+y\\u{1b}[2J\x1b[0m\n z\n";
        assert_eq!(shown, wanted);
    }
}
