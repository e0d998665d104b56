//! Where answers go: text for people or JSON for programs, on standard output; failures on standard error.
//!
//! JSON is part of the interface: names are those of the contract, moments are RFC 3339, digests are hexadecimal, and what
//! is absent is null. Fields are added, never renamed.

use crate::failure::{Exit, Failure};
use crate::screen::Screen;
use crate::text::is_hidden;
use agentgate_core::time::Time;
use serde_json::{Value, json};
use std::io::{self, Write};

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    #[default]
    Table,
    Json,
}

/// What every verb is given: where to write, how, and what time it is.
pub struct Desk<'a> {
    pub screen: Screen,
    pub output: Output,
    pub now: Time,
    pub out: &'a mut dyn Write,
}

// === impl Desk ===

impl std::fmt::Debug for Desk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("screen", &self.screen).field("output", &self.output).finish_non_exhaustive()
    }
}

impl Desk<'_> {
    /// Writes the answer in the form that was asked for; only that one is made.
    pub fn answer(&mut self, text: impl FnOnce(&Screen) -> String, json: impl FnOnce() -> Value) -> Result<(), Failure> {
        match self.output {
            Output::Table => self.write(&text(&self.screen)),
            Output::Json => self.write(&line(&json())),
        }
    }

    /// Writes and flushes, so that a reader of a live answer waits for nothing.
    pub fn write(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|error| {
            // `agentgate trace list | head` is no failure: the reader has what it wanted.
            let exit = if error.kind() == io::ErrorKind::BrokenPipe { Exit::Done } else { Exit::Local };
            Failure::new(exit, error)
        })
    }
}

/// A failure as programs read it, in a line.
#[must_use]
pub fn failure_line(failure: &Failure) -> String {
    line(&json!({ "error": { "exit": failure.exit.name(), "messages": failure.chain(), "next": failure.next() } }))
}

/// One object, one line. JSON may end up on a terminal too, so what hides there is written as JSON's own escapes: outside of
/// strings there is no such character, and inside they mean the same.
fn line(value: &Value) -> String {
    let mut line = String::new();
    for c in value.to_string().chars() {
        if is_hidden(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                line.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

/// A moment for programs; null where there is none.
#[must_use]
pub fn moment_json(micros: u64) -> Value {
    if micros == 0 { Value::Null } else { Value::String(Time::from_micros(micros).to_string()) }
}

#[cfg(test)]
mod tests {
    use super::{line, moment_json};
    use serde_json::{Value, json};

    #[test]
    fn json_holds_the_exact_text_and_hides_nothing() {
        let value = json!({ "a": "\u{202e}\u{9b}2J\u{e0041}\u{7f} größe\n" });
        let written = line(&value);
        assert_eq!(written, "{\"a\":\"\\u202e\\u009b2J\\udb40\\udc41\\u007f größe\\n\"}\n");
        assert_eq!(serde_json::from_str::<Value>(&written).expect("JSON"), value);
    }

    #[test]
    fn a_moment_that_is_none_is_null() {
        assert_eq!(moment_json(0), Value::Null);
        assert_eq!(moment_json(1_795_374_352_123_000), json!("2026-11-22T19:05:52.123Z"));
    }
}
