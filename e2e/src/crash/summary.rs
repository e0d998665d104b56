//! What came of it: for people a table, for programs JSON. It judges nothing but whether there was a fault.

use super::{Checked, Crashes, FAULTS_SHOWN};
use crate::now;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
pub struct Summary {
    pub seed: u64,
    pub kills: u32,
    /// Of the kills, those before the control plane served.
    pub early: u32,
    /// The older control plane that took turns with this tree's.
    pub older: Option<PathBuf>,
    /// Of the lives that a kill ended, those of the older one.
    pub older_lives: u32,
    /// Journals that were begun, and checked whole.
    pub journals: u32,
    /// Purges that a kill left on record and not carried out.
    pub unfinished: u64,
    /// Calls that nobody decided: they came while nobody was there, or were cut off.
    pub undecided: u64,
    /// From a start to the first call that could be asked.
    pub restarts: Vec<Duration>,
    pub checked: Checked,
    /// Where journals with a fault were kept.
    pub kept: Vec<String>,
    begun: Instant,
    pub took: Duration,
}

// === impl Summary ===

impl Summary {
    pub(super) fn new(plan: &Crashes, begun: Instant) -> Self {
        Self {
            seed: plan.seed,
            kills: 0,
            early: 0,
            older: plan.older.clone(),
            older_lives: 0,
            journals: 0,
            unfinished: 0,
            undecided: 0,
            restarts: Vec::new(),
            checked: Checked::default(),
            kept: Vec::new(),
            begun,
            took: Duration::ZERO,
        }
    }

    pub(super) fn finish(&mut self) {
        self.took = now().duration_since(self.begun);
    }

    /// One line, while it goes on.
    #[must_use]
    pub fn line(&self) -> String {
        let Checked { verdicts, results, records, faults, .. } = &self.checked;
        let elapsed = now().duration_since(self.begun).as_secs();
        format!(
            "{elapsed:5}s  {} kills, {} acknowledged, {records} records, {} faults",
            self.kills,
            verdicts + results,
            faults.len()
        )
    }

    #[must_use]
    pub fn table(&self) -> String {
        let checked = &self.checked;
        let rows = [
            ("seed", self.seed.to_string()),
            ("kills", format!("{} ({} of them before it served)", self.kills, self.early)),
            ("journals checked whole", self.journals.to_string()),
            ("verdicts told with their call's id", checked.verdicts.to_string()),
            ("results that came through the gate", checked.results.to_string()),
            ("outcomes acknowledged", checked.outcomes.to_string()),
            ("executions at the tool server", checked.executed.to_string()),
            ("calls that nobody decided", self.undecided.to_string()),
            ("records read, with bodies", format!("{}, {}", checked.records, checked.bodies)),
            ("bodies that were given back", checked.discarded.to_string()),
            ("purges on record, acknowledged", format!("{}, {}", checked.purges, checked.acknowledged_purges)),
            ("purges that a kill left unfinished", self.unfinished.to_string()),
            ("sessions that were purged", checked.purged.to_string()),
            ("records under a signed root", checked.signed.to_string()),
            ("groups read", checked.groups.to_string()),
            ("writes cut off at a check", checked.torn.to_string()),
            ("start to serving, p50 and most", format!("{} ms, {} ms", self.restart_ms(50), self.restart_ms(100))),
            ("took", format!("{} s", self.took.as_secs())),
            ("faults", checked.faults.len().to_string()),
        ];
        let mut table = rows.iter().fold(String::new(), |table, (name, value)| table + &format!("{name:<36} {value}\n"));
        if self.older.is_some() {
            let lives = format!("{}, {}", self.older_lives, self.own_lives());
            table += &format!("{:<36} {lives}\n", "lives of the older program, of this");
        }
        for fault in checked.faults.iter().take(FAULTS_SHOWN) {
            table += &format!("FAULT {fault}\n");
        }
        for kept in &self.kept {
            table += &format!("the journal is kept in {kept}\n");
        }
        table
    }

    #[must_use]
    pub fn json(&self) -> Value {
        let checked = &self.checked;
        json!({
            "seed": self.seed, "kills": self.kills, "early": self.early, "journals": self.journals,
            "older": self.older, "older_lives": self.older_lives, "own_lives": self.own_lives(),
            "verdicts": checked.verdicts, "results": checked.results, "outcomes": checked.outcomes,
            "executed": checked.executed, "undecided": self.undecided, "records": checked.records, "bodies": checked.bodies,
            "discarded": checked.discarded, "purges": checked.purges,
            "acknowledged_purges": checked.acknowledged_purges, "purged": checked.purged, "unfinished": self.unfinished,
            "signed": checked.signed, "groups": checked.groups, "torn": checked.torn,
            "restart_p50_ms": self.restart_ms(50), "restart_most_ms": self.restart_ms(100),
            "took_s": self.took.as_secs(), "faults": checked.faults, "kept": self.kept,
        })
    }

    fn own_lives(&self) -> u32 {
        self.kills - self.older_lives
    }

    fn restart_ms(&self, percent: usize) -> u64 {
        let mut sorted = self.restarts.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).map_or(0, |took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
    }
}
