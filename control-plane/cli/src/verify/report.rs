//! What a check came to, in words: what was shown, what was wrong, and what nothing that was given shows.

use crate::failure::{Exit, Failure};
use crate::output::Desk;
use crate::screen::{Palette, Screen};
use crate::text::escape;
use agentgate_core::error::chain;
use agentgate_core::transparency::claim::Conclusion;
use serde_json::json;
use std::path::Path;

/// Sentences of a kind that a person is shown; JSON has all.
const SENTENCES_SHOWN: usize = 40;

/// All that can be said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    what: &'static str,
    pub(super) shown: Vec<String>,
    pub(super) wrong: Vec<String>,
    pub(super) not_shown: Vec<String>,
}

// === impl Report ===

impl Report {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, ..Self::default() }
    }

    pub(crate) fn of(what: &'static str, conclusion: Conclusion) -> Self {
        let mut report = Self::new(what);
        report.conclude(conclusion);
        report
    }

    pub(crate) fn conclude(&mut self, conclusion: Conclusion) {
        let Conclusion { shown, wrong, not_shown } = conclusion;
        self.shown.extend(shown.iter().map(ToString::to_string));
        self.wrong.extend(wrong.iter().map(|wrong| chain(wrong)));
        self.not_shown.extend(not_shown.iter().map(|not| chain(not)));
    }

    pub(crate) fn shown(&mut self, said: String) {
        self.shown.push(said);
    }

    pub(crate) fn wrong(&mut self, said: String) {
        self.wrong.push(said);
    }

    pub(crate) fn not_shown(&mut self, said: String) {
        self.not_shown.push(said);
    }

    /// Where it cannot even be read.
    pub(crate) fn refused(what: &'static str, why: String) -> Self {
        Self { wrong: vec![why], ..Self::new(what) }
    }

    #[must_use]
    pub fn all_wrong(&self) -> &[String] {
        &self.wrong
    }

    /// Nothing that was given is wrong. It does not say that enough was given.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.wrong.is_empty()
    }

    /// Says all of it, and ends as it ended.
    pub(crate) fn say(&self, path: &Path, desk: &mut Desk<'_>) -> Result<(), Failure> {
        let json = || {
            json!({
                "file": path.display().to_string(),
                "what": self.what,
                "holds": self.holds(),
                "shown": self.shown,
                "wrong": self.wrong,
                "not_shown": self.not_shown,
            })
        };
        desk.answer(|screen| self.render(screen), json)?;
        if self.holds() {
            return Ok(());
        }
        let said = format!("{} does not hold: {} of what it says is wrong", path.display(), self.wrong.len());
        Err(Failure::new(Exit::Refused, said).then("keep it as it is, and ask whoever gave it to you"))
    }

    fn render(&self, screen: &Screen) -> String {
        let parts = [
            ("Wrong", Palette::Bad, &self.wrong),
            ("Shown", Palette::Good, &self.shown),
            ("Not shown", Palette::Waiting, &self.not_shown),
        ];
        let mut text = String::new();
        for (title, palette, said) in parts.into_iter().filter(|(_, _, said)| !said.is_empty()) {
            if !text.is_empty() {
                text.push('\n');
            }
            text += &format!("{}\n", screen.paint(palette, title));
            let lines = said.iter().take(SENTENCES_SHOWN).map(|line| format!("  {}\n", escape(line, screen.charset)));
            text.extend(lines);
            if said.len() > SENTENCES_SHOWN {
                text += &format!("  and {} more; --output json has all\n", said.len() - SENTENCES_SHOWN);
            }
        }
        text
    }
}
