//! What a check came to, in words: what was shown, what was wrong, and what nothing that was given shows.

use crate::failure::{Exit, Failure};
use crate::output::Desk;
use crate::screen::{Palette, Screen};
use crate::text::escape;
use agentgate_core::error::chain;
use agentgate_core::transparency::claim::{Conclusion, ranges};
use serde_json::json;
use std::ops::RangeInclusive;
use std::path::Path;

/// Sentences of a kind that a person is shown; JSON has all.
const SENTENCES_SHOWN: usize = 40;

/// What nothing shows of single records. JSON has a sentence for each, and a person one for all that are so for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OfRecords {
    of: Of,
    /// Why, of one and of many.
    why: [String; 2],
    sequences: Vec<u64>,
}

/// What of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// What its body says.
    Body,
    /// That its body is what the record committed to.
    Commitment,
    /// What was asked, as it was before something was taken out.
    Call,
    /// That a decision follows from its facts.
    Decision,
}

/// All that can be said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    what: &'static str,
    pub(super) shown: Vec<String>,
    pub(super) wrong: Vec<String>,
    pub(super) not_shown: Vec<String>,
    of_records: Vec<OfRecords>,
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
        // What is not shown of the log as a whole weighs more than what is not shown of a part of it.
        self.not_shown.splice(0..0, not_shown.iter().map(|not| chain(not)));
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

    /// Of this record, for a reason that is said in one way of one and in another of many.
    pub(crate) fn not_shown_of(&mut self, sequence: u64, of: Of, why: [&str; 2]) {
        match self.of_records.iter_mut().find(|known| known.of == of && known.why == why) {
            Some(known) => known.sequences.push(sequence),
            None => self.of_records.push(OfRecords { of, why: why.map(str::to_owned), sequences: vec![sequence] }),
        }
    }

    /// Each sentence: what is general first, then one for each record.
    pub(crate) fn all_not_shown(&self) -> Vec<String> {
        self.not_shown.iter().cloned().chain(self.of_records.iter().flat_map(OfRecords::each)).collect()
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
                "not_shown": self.all_not_shown(),
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
        let not_shown = self.not_shown.iter().cloned().chain(self.of_records.iter().map(OfRecords::folded)).collect();
        let parts = [
            ("Wrong", Palette::Bad, &self.wrong),
            ("Shown", Palette::Good, &self.shown),
            ("Not shown", Palette::Waiting, &not_shown),
        ];
        let verdict = match self.holds() {
            true => screen.paint(Palette::Good, &format!("{} holds", self.what)),
            false => screen.paint(Palette::Bad, &format!("{} does NOT hold", self.what)),
        };
        let mut text = format!("{verdict}\n");
        for (title, palette, said) in parts.into_iter().filter(|(_, _, said)| !said.is_empty()) {
            text += &format!("\n{}\n", screen.paint(palette, title));
            let lines = said.iter().take(SENTENCES_SHOWN).map(|line| format!("  {}\n", escape(line, screen.charset)));
            text.extend(lines);
            if said.len() > SENTENCES_SHOWN {
                text += &format!("  and {} more; --output json has all\n", said.len() - SENTENCES_SHOWN);
            }
        }
        text
    }
}

// === impl OfRecords ===

impl OfRecords {
    fn each(&self) -> impl Iterator<Item = String> {
        let [why, _] = &self.why;
        self.sequences.iter().map(move |sequence| match self.of {
            Of::Body => format!("what the body of record {sequence} said: {why}"),
            Of::Commitment => format!("that the body of record {sequence} is what the record committed to: {why}"),
            Of::Call => format!("what the call of record {sequence} said: {why}"),
            Of::Decision => format!("that decision {sequence} follows from its facts: {why}"),
        })
    }

    /// One sentence for all of them.
    fn folded(&self) -> String {
        if let [_] = self.sequences.as_slice() {
            return self.each().collect();
        }
        let ([_, why], count) = (&self.why, self.sequences.len());
        let records = listed(&self.sequences);
        match self.of {
            Of::Body => format!("what the bodies of {count} records said: {why} ({records})"),
            Of::Commitment => format!("that the bodies of {count} records are what they committed to: {why} ({records})"),
            Of::Call => format!("what the calls of {count} records said: {why} ({records})"),
            Of::Decision => format!("that {count} decisions follow from their facts: {why} ({records})"),
        }
    }
}

/// `2-28, 30`: sequences or counters that rise.
pub(super) fn listed(rising: &[u64]) -> String {
    let mut all: Vec<RangeInclusive<u64>> = Vec::new();
    for at in rising {
        match all.last_mut() {
            Some(last) if last.end().checked_add(1) == Some(*at) => *last = *last.start()..=*at,
            Some(_) | None => all.push(*at..=*at),
        }
    }
    ranges(&all)
}
