//! How a verb ends: its exit code, and, when it did not go well, what happened and what to do next.
//!
//! It is the one place where an error and its causes become text; nothing below it prints.

use crate::screen::{Palette, Screen};
use crate::text::{escape, wrapped};
use clap::error::{ContextKind, ContextValue};
use std::error::Error;
use unicode_width::UnicodeWidthStr as _;

/// Exit codes. They are part of the interface: scripts branch on them, so they never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done,
    /// An answer, and it is no: something is not found, a case fails, a key would be overwritten.
    Refused,
    /// The command line was not understood.
    Usage,
    /// No control plane could be reached, or it cannot answer now.
    Unreachable,
    /// It was reached and does not know us as an operator, or we do not trust it.
    NotPermitted,
    /// A file of this machine could not be read or written.
    Local,
}

/// The table of `--help`.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused: not found, a case fails, nobody said yes, or a file would be overwritten
  2  the command line was not understood
  3  no control plane could be reached, or it cannot answer now
  4  not permitted: a certificate was not accepted, or is not an operator's
  5  a file on this machine could not be read or written";

/// What a line that is broken goes on behind.
const BELOW: &str = "    ";

/// How clap names the argument of `verify` and `evidence list` that whoever gives it before the verb gives to another.
const LOG_KEY: &str = "--key <VERIFIER>";

const LOG_KEY_NEXT: [&str; 2] = [
    "write it behind the verb, like `agentgate verify PATH --key VERIFIER`; before the verb `--key` is the operator's TLS key",
    "ask whoever runs the log for the verifier key: `agentgate log show` prints it there",
];

/// Why a verb did not do its work.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    error: Box<dyn Error + Send + Sync>,
    next: Vec<String>,
}

/// Words of ours over a cause of somebody else.
#[derive(Debug, thiserror::Error)]
#[error("{said}")]
struct Because {
    said: String,
    #[source]
    cause: Box<dyn Error + Send + Sync>,
}

// === impl Exit ===

impl Exit {
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::NotPermitted => 4,
            Self::Local => 5,
        }
    }

    /// The one spelling of this end, in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::NotPermitted => "not_permitted",
            Self::Local => "local",
        }
    }
}

// === impl Failure ===

impl Failure {
    pub fn new(exit: Exit, error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { exit, error: error.into(), next: Vec::new() }
    }

    /// Adds a cause below what was said.
    #[must_use]
    pub fn because(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.error = Box::new(Because { said: self.error.to_string(), cause: Box::new(cause) });
        self
    }

    /// Adds one thing that the reader can do about it.
    #[must_use]
    pub fn then(mut self, advice: impl Into<String>) -> Self {
        self.next.push(advice.into());
        self
    }

    /// The error with its causes, outermost first. A cause that only repeats what stands above it is left out.
    #[must_use]
    pub fn chain(&self) -> Vec<String> {
        let mut chain = vec![self.error.to_string()];
        let mut cause = self.error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if chain.last().is_none_or(|last| !last.contains(&text)) {
                chain.push(text);
            }
            cause = error.source();
        }
        chain
    }

    #[must_use]
    pub fn next(&self) -> &[String] {
        &self.next
    }

    /// For people, on standard error. What a server said is escaped like everything that comes from outside.
    #[must_use]
    pub fn render(&self, screen: &Screen) -> String {
        let mut text = String::new();
        let chain = self.chain();
        let causes = chain.iter().skip(1).map(|cause| ("  because:", Palette::Dim, cause));
        let advice = self.next.iter().map(|advice| ("  next:", Palette::Title, advice));
        for (name, palette, said) in chain.iter().take(1).map(|said| ("error:", Palette::Bad, said)).chain(causes).chain(advice) {
            let line = fitted(&format!("{name} {}", escape(said, screen.charset)), screen);
            // Of the name alone, wherever the line was broken.
            let bare = name.trim_start();
            text += &line.replacen(bare, &screen.paint(palette, bare), 1);
            text.push('\n');
        }
        text
    }
}

/// A line that the terminal would break within a word, broken between two; as it is where programs read, or where it fits.
fn fitted(line: &str, screen: &Screen) -> String {
    let columns = usize::from(screen.columns);
    if !screen.terminal || line.width() <= columns {
        return line.to_owned();
    }
    let indent = &line[..line.len() - line.trim_start().len()];
    let lines = wrapped(line, columns.saturating_sub(indent.len() + BELOW.len()));
    format!("{indent}{}", lines.join(&format!("\n{indent}{BELOW}")))
}

/// What clap says of a command line that it did not understand, and what to write instead where it cannot know.
#[must_use]
pub fn misspoken(mut error: clap::Error, screen: &Screen) -> String {
    let missing = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.iter().any(|arg| arg == LOG_KEY),
        Some(_) | None => false,
    };
    if missing {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(LOG_KEY_NEXT.map(Into::into).to_vec()));
    }
    let said = error.render();
    let said = if screen.color { said.ansi().to_string() } else { said.to_string() };
    said.lines().map(|line| fitted(line, screen) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::{Exit, Failure, misspoken};
    use crate::arguments::command;
    use crate::screen::{Charset, Screen};

    const SCREEN: Screen = Screen { color: false, charset: Charset::Unicode, columns: 40, terminal: true };

    #[test]
    fn an_error_is_broken_between_words_and_only_where_a_person_reads_it() {
        let failure = Failure::new(Exit::Refused, "no call `9999` that anybody has ever heard of")
            .because(std::io::Error::other("short"))
            .then("agentgate trace list --limit 1000 shows all");
        for (screen, said) in [
            (
                SCREEN,
                "error: no call `9999` that anybody\n    has ever heard of\n  because: short\n  next: agentgate trace list --limit\n      1000 shows all\n",
            ),
            (
                Screen { terminal: false, ..SCREEN },
                "error: no call `9999` that anybody has ever heard of\n  because: short\n  next: agentgate trace list --limit 1000 shows all\n",
            ),
            (
                Screen { color: true, columns: 80, ..SCREEN },
                "\x1b[31merror:\x1b[0m no call `9999` that anybody has ever heard of\n  \
                 \x1b[2mbecause:\x1b[0m short\n  \x1b[1mnext:\x1b[0m agentgate trace list --limit 1000 shows all\n",
            ),
        ] {
            assert_eq!(failure.render(&screen), said);
        }
    }

    #[test]
    fn a_verifier_key_that_is_not_behind_the_verb_is_answered_with_where_it_goes() {
        let screen = Screen { terminal: false, ..SCREEN };
        for (line, told) in [
            (&["agentgate", "verify", "pack"][..], true),
            (&["agentgate", "--key", "k", "verify", "pack"], true),
            (&["agentgate", "--key", "k", "evidence", "list", "archive"], true),
            (&["agentgate", "evidence", "policy", "pack"], false),
        ] {
            let error = command().try_get_matches_from(line).expect_err("something is missing");
            let said = misspoken(error, &screen);
            assert_eq!(said.contains("agentgate verify PATH --key VERIFIER"), told, "{line:?}: {said}");
        }
    }
}
