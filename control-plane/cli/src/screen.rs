//! What the terminal can show: colours, characters and columns; and the palette.
//!
//! It decides once, from the surroundings that arrive as an argument. Without colour every meaning is still in the words.

use std::io::IsTerminal as _;

/// The width of tables where nothing tells it: piped into a file or another program.
pub const COLUMNS_DEFAULT: u16 = 160;

/// Narrower terminals are served as if they had this many columns.
const COLUMNS_MIN: u16 = 40;

/// Whether colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal that is not dumb, and where NO_COLOR is not set.
    #[default]
    Auto,
    Always,
    Never,
}

/// Which characters the terminal takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    Unicode,
    Ascii,
}

/// What the process finds around itself.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Values of environment variables, read once.
    pub no_color: Option<String>,
    pub term: Option<String>,
    pub locale: Option<String>,
    pub columns: Option<u16>,
    pub terminal: bool,
    /// As `terminal`, of standard error.
    pub errors_terminal: bool,
    /// Somebody can type an answer.
    pub person: bool,
}

/// What can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    pub color: bool,
    pub charset: Charset,
    pub columns: u16,
    /// A person is watching: lines may be written over.
    pub terminal: bool,
}

/// Meanings, not colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    Plain,
    Good,
    Waiting,
    Bad,
    Title,
    Dim,
}

// === impl Surroundings ===

impl Surroundings {
    /// Asks the process. The only place of this program that reads display settings from the environment.
    #[must_use]
    pub fn of_process() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        // POSIX: the first of these that is not empty decides.
        let locale = variable("LC_ALL").or_else(|| variable("LC_CTYPE")).or_else(|| variable("LANG"));
        let asked = variable("COLUMNS").and_then(|columns| columns.parse().ok());
        let found = terminal_size::terminal_size().map(|(width, _)| width.0);
        Self {
            no_color: variable("NO_COLOR"),
            term: variable("TERM"),
            locale,
            columns: asked.or(found),
            terminal: std::io::stdout().is_terminal(),
            errors_terminal: std::io::stderr().is_terminal(),
            person: std::io::stdin().is_terminal(),
        }
    }

    /// Those of standard error, which may be another file than the answer's.
    #[must_use]
    pub fn of_errors(&self) -> Self {
        Self { terminal: self.errors_terminal, ..self.clone() }
    }
}

// === impl Screen ===

impl Screen {
    #[must_use]
    pub fn new(surroundings: &Surroundings, choice: ColorChoice) -> Self {
        let dumb = surroundings.term.as_deref() == Some("dumb");
        let color = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => surroundings.terminal && !dumb && surroundings.no_color.is_none(),
        };
        let utf8 = surroundings.locale.as_deref().is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        let columns = surroundings.columns.unwrap_or(COLUMNS_DEFAULT).max(COLUMNS_MIN);
        let charset = if utf8 { Charset::Unicode } else { Charset::Ascii };
        Self { color, charset, columns, terminal: surroundings.terminal && !dumb }
    }

    #[must_use]
    pub fn paint(&self, palette: Palette, text: &str) -> String {
        let code = match palette {
            _ if !self.color => return text.to_owned(),
            Palette::Plain => return text.to_owned(),
            Palette::Good => "32",
            Palette::Waiting => "33",
            Palette::Bad => "31",
            Palette::Title => "1",
            Palette::Dim => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// One of our own signs, in the characters that the terminal takes.
    #[must_use]
    pub const fn sign<'a>(&self, unicode: &'a str, ascii: &'a str) -> &'a str {
        match self.charset {
            Charset::Unicode => unicode,
            Charset::Ascii => ascii,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS_DEFAULT, Charset, ColorChoice, Palette, Screen, Surroundings};

    fn check(no_color: Option<&str>, term: &str, terminal: bool, choice: ColorChoice) -> bool {
        let surroundings = Surroundings {
            no_color: no_color.map(str::to_owned),
            term: Some(term.to_owned()),
            locale: None,
            columns: None,
            terminal,
            errors_terminal: !terminal,
            person: false,
        };
        let errors = Screen::new(&surroundings.of_errors(), choice);
        assert_eq!((errors.terminal, errors.color), {
            let terminal = !terminal && term != "dumb";
            (terminal, choice == ColorChoice::Always || terminal && no_color.is_none() && choice == ColorChoice::Auto)
        });
        Screen::new(&surroundings, choice).color
    }

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        for (no_color, term, terminal, choice, color) in [
            (None, "xterm", true, ColorChoice::Auto, true),
            (None, "xterm", false, ColorChoice::Auto, false),
            (None, "dumb", true, ColorChoice::Auto, false),
            (Some("1"), "xterm", true, ColorChoice::Auto, false),
            (Some("1"), "dumb", false, ColorChoice::Always, true),
            (None, "xterm", true, ColorChoice::Never, false),
        ] {
            assert_eq!(check(no_color, term, terminal, choice), color, "{no_color:?} {term} {terminal} {choice:?}");
        }
    }

    #[test]
    fn only_a_utf_8_locale_gets_more_than_ascii() {
        for (locale, columns, charset, width) in [
            (Some("en_GB.UTF-8"), Some(80), Charset::Unicode, 80),
            (Some("C.utf8"), Some(10), Charset::Unicode, 40),
            (Some("de_DE.ISO-8859-1"), None, Charset::Ascii, COLUMNS_DEFAULT),
            (Some("C"), Some(300), Charset::Ascii, 300),
            (None, Some(40), Charset::Ascii, 40),
        ] {
            let locale = locale.map(str::to_owned);
            let (no_color, term) = (None, None);
            let surroundings =
                Surroundings { no_color, term, locale, columns, terminal: true, errors_terminal: true, person: false };
            let screen = Screen::new(&surroundings, ColorChoice::Auto);
            assert_eq!((screen.charset, screen.columns), (charset, width), "{surroundings:?}");
        }
    }

    #[test]
    fn paint_without_colour_is_no_paint() {
        let mut screen = Screen { color: false, charset: Charset::Ascii, columns: 80, terminal: false };
        assert_eq!(screen.paint(Palette::Bad, "deny"), "deny");
        screen.color = true;
        assert_eq!(screen.paint(Palette::Bad, "deny"), "\x1b[31mdeny\x1b[0m");
    }
}
