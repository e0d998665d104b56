//! What a check came to, in words: what was shown, what was wrong, and what nothing that was given shows.

use crate::failure::{Exit, Failure};
use crate::output::Desk;
use crate::screen::{Palette, Screen};
use crate::text::{escape, fitted};
use agentgate_core::error::chain;
use agentgate_core::transparency::claim::{Conclusion, NotShown, ranges};
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

/// Sentences of a kind that a person is shown; JSON has all.
const SENTENCES_SHOWN: usize = 40;

/// Records that one sentence names, and sentences that say the same wrong of one record each. How many more there are is said.
pub(super) const LISTED: usize = 20;

/// Of the lines of a sentence below its first one.
const INDENT: &str = "    ";

/// What gives an auditor the page and the paper where those of the pack show nothing.
const ANEW: &str = "`agentgate evidence report PACK --out DIR`";

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
    /// That its body is the one that was given.
    Given,
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
    /// What a person would read of it, and nobody could compare: whoever reads no further is told so.
    unmade: Vec<String>,
    /// By kind: how often it was said, and where it stands how often more it is so.
    said: BTreeMap<&'static str, (usize, usize)>,
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
        // Whoever names witnesses asks for their quorum, and does not want to hear that it holds without.
        let is_asked = |not: &NotShown| matches!(not, NotShown::Witnessed { quorum, .. } if *quorum > 0);
        let (asked, not_shown): (Vec<_>, Vec<_>) = not_shown.into_iter().partition(is_asked);
        self.wrong.extend(asked.iter().map(|not| chain(not)));
        // What is not shown of the log as a whole weighs more than what is not shown of a part of it.
        let what = self.what;
        self.not_shown.splice(0..0, not_shown.iter().map(|not| unshown(what, not)));
    }

    pub(crate) fn shown(&mut self, said: String) {
        self.shown.push(said);
    }

    pub(crate) fn wrong(&mut self, said: String) {
        self.wrong.push(said);
    }

    /// Of one of many: the first ones have a sentence each, and the others of this kind are counted in one.
    pub(crate) fn wrong_of(&mut self, kind: &'static str, said: String) {
        let (count, at) = self.said.entry(kind).or_default();
        *count = count.saturating_add(1);
        let more = count.saturating_sub(LISTED);
        match more {
            0 => self.wrong.push(said),
            1 => {
                *at = self.wrong.len();
                self.wrong.push(format!("and 1 more: {kind}"));
            }
            more => {
                if let Some(counted) = self.wrong.get_mut(*at) {
                    *counted = format!("and {more} more: {kind}");
                }
            }
        }
    }

    pub(crate) fn not_shown(&mut self, said: String) {
        self.not_shown.push(said);
    }

    /// This is to be read of it, and may say anything.
    pub(super) fn unmade(&mut self, what: &str) {
        self.unmade.push(what.to_owned());
    }

    /// What it came to, in one line: no more than was looked at.
    pub(super) fn verdict(&self) -> String {
        let what = self.what;
        match (self.holds(), self.unmade.as_slice()) {
            (false, _) => format!("{what} does NOT hold"),
            (true, []) => format!("{what} holds"),
            (true, [one]) => format!("the records hold; {one} is not shown: make it anew with {ANEW}"),
            (true, [first @ .., last]) => {
                format!("the records hold; {} and {last} are not shown: make them anew with {ANEW}", first.join(", "))
            }
        }
    }

    /// Shows nothing where nothing was counted, and says one in another way than many.
    pub(crate) fn shown_of(&mut self, count: usize, one: &str, many: impl FnOnce(usize) -> String) {
        match count {
            0 => {}
            1 => self.shown.push(one.to_owned()),
            count => self.shown.push(many(count)),
        }
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

    /// What is general first, then one sentence for all records that are so for one reason.
    pub(crate) fn folded_not_shown(&self) -> Vec<String> {
        self.not_shown.iter().cloned().chain(self.of_records.iter().map(OfRecords::folded)).collect()
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
                "verdict": self.verdict(),
                "shown": self.shown,
                "wrong": self.wrong,
                "not_shown": self.all_not_shown(),
            })
        };
        desk.answer(|screen| self.render(screen), json)?;
        if self.holds() {
            return Ok(());
        }
        let things = match self.wrong.len() {
            1 => "1 thing in it is wrong".to_owned(),
            things => format!("{things} things in it are wrong"),
        };
        let said = format!("{} does not hold: {things}", path.display());
        Err(Failure::new(Exit::Refused, said).then("keep it as it is, and ask whoever gave it to you"))
    }

    pub(super) fn render(&self, screen: &Screen) -> String {
        let not_shown = self.folded_not_shown();
        let parts = [
            ("Wrong", Palette::Bad, &self.wrong),
            ("Shown", Palette::Good, &self.shown),
            ("Not shown", Palette::Waiting, &not_shown),
        ];
        let palette = match (self.holds(), self.unmade.is_empty()) {
            (false, _) => Palette::Bad,
            (true, true) => Palette::Good,
            (true, false) => Palette::Waiting,
        };
        let mut text = format!("{}\n", screen.paint(palette, &self.verdict()));
        for (title, palette, said) in parts.into_iter().filter(|(_, _, said)| !said.is_empty()) {
            text += &format!("\n{}\n", screen.paint(palette, title));
            text.extend(said.iter().take(SENTENCES_SHOWN).map(|line| sentence(line, screen)));
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
            Of::Given => format!("that the body of record {sequence} is as the control plane gave it: {why}"),
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
            Of::Given => format!("that the bodies of {count} records are as the control plane gave them: {why} ({records})"),
            Of::Call => format!("what the calls of {count} records said: {why} ({records})"),
            Of::Decision => format!("that {count} decisions follow from their facts: {why} ({records})"),
        }
    }
}

/// Below its title.
fn sentence(line: &str, screen: &Screen) -> String {
    let line = escape(line, screen.charset);
    let lines = fitted(&line, usize::from(screen.columns).saturating_sub(INDENT.len()), screen);
    format!("  {}\n", lines.join(&format!("\n{INDENT}")))
}

/// What the log's own audit did not show, in the words of this program where they say what to do.
fn unshown(what: &str, not: &NotShown) -> String {
    match not {
        NotShown::Witnessed { quorum: 0, .. } => {
            "not witnessed: no --witness key was given, so that others may have been shown another log".into()
        }
        NotShown::Run => format!(
            "that nothing is missing from the log: a {what} is only a part of it; `agentgate verify --log URL`, or of an exported log, reads all of it"
        ),
        NotShown::Consistent { .. } => format!("{}; `agentgate log prove --since` makes a proof, for --growth", chain(not)),
        NotShown::Witnessed { .. }
        | NotShown::WitnessedFrom { .. }
        | NotShown::Earlier { .. }
        | NotShown::Older
        | NotShown::Start(_)
        | NotShown::Short { .. }
        | NotShown::Gap { .. }
        | NotShown::Before { .. }
        | NotShown::Scattered(_) => chain(not),
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
