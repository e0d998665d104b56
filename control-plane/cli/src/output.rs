//! Where answers go: text for people or JSON for programs, on standard output; failures on standard error.
//!
//! JSON is part of the interface: names are those of the contract, moments are RFC 3339, digests are hexadecimal, and what
//! is absent is null. Fields are added, never renamed.

use crate::failure::{Exit, Failure};
use crate::screen::{Palette, Screen};
use crate::text::{is_hidden, shorten};
use agentgate_core::time::Time;
use serde_json::{Value, json};
use std::io::{self, BufRead, Write};

/// A yes is short.
const ANSWER_BYTES_MAX: u64 = 256;

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    #[default]
    Table,
    Json,
}

/// What every verb is given: where to write, how, what time it is, and whom it may ask.
pub struct Desk<'a> {
    pub screen: Screen,
    pub output: Output,
    pub now: Time,
    pub out: &'a mut dyn Write,
    /// What the person types who sits here; none where nobody does.
    pub person: Option<&'a mut dyn BufRead>,
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

    /// Whether lines may be written over: a person watches, and no program reads.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.output == Output::Table && self.screen.terminal
    }

    /// Whether a line is written over the one before: it takes escapes, which whoever wants no colours did not ask for either.
    fn writes_over(&self) -> bool {
        self.is_live() && self.screen.color
    }

    /// Says in one line what is under way, over what was said before. Nobody else hears of it.
    pub fn progress(&mut self, text: &str) -> Result<(), Failure> {
        if !self.writes_over() {
            return Ok(());
        }
        // A line that is broken by the terminal cannot be written over.
        let room = usize::from(self.screen.columns).saturating_sub(1);
        let line = self.screen.paint(Palette::Dim, &shorten(text, room, self.screen.charset));
        self.write(&format!("\r\x1b[2K{line}"))
    }

    /// Takes the line away again.
    pub fn progress_over(&mut self) -> Result<(), Failure> {
        if self.writes_over() { self.write("\r\x1b[2K") } else { Ok(()) }
    }

    /// Whether somebody can be asked.
    #[must_use]
    pub fn has_person(&self) -> bool {
        self.is_live() && self.person.is_some()
    }

    /// Asks for a yes; all else is a no, and so is silence.
    pub fn ask(&mut self, question: &str) -> Result<bool, Failure> {
        let question = self.screen.paint(Palette::Title, question);
        self.write(&format!("{question} [y/N] "))?;
        let Some(person) = self.person.as_mut() else { return Ok(false) };
        let mut typed = String::new();
        let mut room = io::Read::take(person, ANSWER_BYTES_MAX);
        room.read_line(&mut typed).map_err(|error| Failure::new(Exit::Local, error))?;
        Ok(matches!(typed.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
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
    use super::{Desk, Output, line, moment_json};
    use crate::screen::{Charset, Screen};
    use agentgate_core::time::Time;
    use serde_json::{Value, json};

    #[test]
    fn only_a_yes_is_a_yes() {
        for (typed, is_yes) in
            [("y\n", true), ("Yes\n", true), (" y \r\n", true), ("\n", false), ("", false), ("yy\n", false), ("n\n", false)]
        {
            let (mut out, mut person) = (Vec::new(), typed.as_bytes());
            let screen = Screen { color: false, charset: Charset::Unicode, columns: 80, terminal: true };
            let now = Time::from_micros(0);
            let mut desk = Desk { screen, output: Output::Table, now, out: &mut out, person: Some(&mut person) };
            assert!(desk.has_person());
            assert_eq!(desk.ask("Grant this call?").expect("asked"), is_yes, "{typed:?}");
            assert_eq!(out, b"Grant this call? [y/N] ");
        }
    }

    #[test]
    fn what_is_under_way_is_written_over_only_where_escapes_are_wanted() {
        for (terminal, color, output, said) in [
            (true, true, Output::Table, "\r\x1b[2K\x1b[2mhalf of it\x1b[0m\r\x1b[2K"),
            (true, false, Output::Table, ""),
            (false, true, Output::Table, ""),
            (true, true, Output::Json, ""),
        ] {
            let mut out = Vec::new();
            let screen = Screen { color, charset: Charset::Unicode, columns: 80, terminal };
            let mut desk = Desk { screen, output, now: Time::from_micros(0), out: &mut out, person: None };
            desk.progress("half of it").and_then(|()| desk.progress_over()).expect("written");
            assert_eq!(String::from_utf8(out).expect("text"), said, "terminal {terminal}, color {color}, {output:?}");
        }
    }

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
