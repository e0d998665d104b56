//! What was found: a check, where it fired, and in which words. It judges nothing.

use super::place::Place;
use super::table::{Check, Severity};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) check: Check,
    /// `listener agents, route 1 of virtual host server`.
    pub(crate) at: String,
    /// In the file that was read.
    pub(crate) line: Option<usize>,
    /// What stands there, where the check's own words do not say it.
    pub(crate) said: String,
}

/// All that was found, what was looked at, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) list: Vec<Finding>,
    /// What was looked at, where the command line does not say it.
    pub(crate) seen: Vec<String>,
    pub(crate) unseen: Vec<String>,
    /// There was no configuration of an Envoy, so that no hole could be found in it.
    pub(crate) no_gate: bool,
}

// === impl Findings ===

impl Findings {
    pub(crate) fn add(&mut self, check: Check, at: &str, line: Option<usize>, said: impl Into<String>) {
        let finding = Finding { check, at: at.to_owned(), line, said: said.into() };
        if !self.list.contains(&finding) {
            self.list.push(finding);
        }
    }

    /// What stands at this place of the configuration.
    pub(crate) fn at(&mut self, check: Check, at: &str, place: &Place<'_>, said: impl Into<String>) {
        self.add(check, at, place.line(), said);
    }

    /// What was said of this place by its configuration alone, and is not so.
    pub(crate) fn withdraw(&mut self, check: Check, at: &str, said: &str) {
        self.list.retain(|finding| finding.check != check || finding.at != at || finding.said != said);
    }

    /// Whether it was found already, in whichever words.
    #[must_use]
    pub(crate) fn has(&self, check: Check, at: &str, said: &str) -> bool {
        self.list.iter().any(|finding| finding.check == check && finding.at == at && finding.said == said)
    }

    pub(crate) fn unseen(&mut self, what: impl Into<String>) {
        self.unseen.push(what.into());
    }

    /// The gravest first; the order in which they were found within that.
    pub(crate) fn sort(&mut self) {
        self.list.sort_by_key(|finding| finding.check.severity());
    }

    #[must_use]
    pub(crate) fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|finding| finding.check.severity() == severity).count()
    }
}
