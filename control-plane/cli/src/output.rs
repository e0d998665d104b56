//! Where answers go: text for people or JSON for programs, on standard output; failures on standard error.
//!
//! JSON is part of the interface: names are those of the contract, moments are RFC 3339 with a `_us` twin nowhere, digests
//! are hexadecimal, and what is absent is null. Fields are added, never renamed.

use crate::failure::{Exit, Failure};
use crate::screen::Screen;
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
            Output::Json => self.write(&format!("{}\n", json())),
        }
    }

    /// Writes and flushes, so that a reader of a live answer waits for nothing.
    pub fn write(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|error| match error.kind() {
            // `agentgate trace list | head` is no failure: the reader has what it wanted.
            io::ErrorKind::BrokenPipe => Failure::new(Exit::Done, error),
            _ => Failure::new(Exit::Local, error),
        })
    }
}

/// A failure as programs read it.
#[must_use]
pub fn failure_json(failure: &Failure) -> Value {
    json!({ "error": { "exit": failure.exit.name(), "messages": failure.chain(), "next": failure.next() } })
}

/// A moment for programs; null where there is none.
#[must_use]
pub fn moment_json(micros: u64) -> Value {
    if micros == 0 { Value::Null } else { Value::String(Time::from_micros(micros).to_string()) }
}
