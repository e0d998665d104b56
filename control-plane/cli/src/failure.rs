//! How a verb ends: its exit code, and, when it did not go well, what happened and what to do next.
//!
//! It is the one place where an error and its causes become text; nothing below it prints.

use crate::screen::{Palette, Screen};
use crate::text::escape;
use std::error::Error;
use std::fmt::Write as _;

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
        let mut lines = self.chain().into_iter();
        let first = escape(&lines.next().unwrap_or_default(), screen.charset);
        let _ = writeln!(text, "{} {first}", screen.paint(Palette::Bad, "error:"));
        for cause in lines {
            let _ = writeln!(text, "  {} {}", screen.paint(Palette::Dim, "because:"), escape(&cause, screen.charset));
        }
        for advice in &self.next {
            let _ = writeln!(text, "  {} {}", screen.paint(Palette::Title, "next:"), escape(advice, screen.charset));
        }
        text
    }
}
