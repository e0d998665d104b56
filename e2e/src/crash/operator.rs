//! An operator who purges sessions of the load without a pause, by the command line. What is ordered is written down before it is
//! asked for, and what was acknowledged after it. The rest was cut by a kill, and may be on record or not.

use super::ledger::{Phase, Shared, Told, What};
use super::seeded::Seeded;
use super::{calls, purges};
use crate::{Cli, clock};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Between two orders: nothing to much of what a session says in a life.
const PAUSE_MAX: Duration = Duration::from_millis(40);

pub(crate) struct Operator {
    pub(crate) caller: usize,
    pub(crate) cli: Cli,
    pub(crate) shared: Arc<Shared>,
    pub(crate) seeded: Seeded,
}

// === impl Operator ===

impl Operator {
    pub(crate) fn start(mut self) -> JoinHandle<()> {
        thread::spawn(move || self.run())
    }

    fn run(&mut self) {
        for number in 1_u64.. {
            match self.shared.phase() {
                Phase::Call => self.order(number),
                Phase::Rest => self.shared.rest(),
                Phase::Leave => return,
            }
        }
    }

    fn order(&mut self, number: u64) {
        let handle = calls::any_handle(self.seeded.next());
        let order = purges::order_of(number, &handle);
        self.shared.ordered(order.clone());
        let purge = ["purge", "--session", &handle, "--tenant", "default", "--reason", &order, "--yes"];
        // Without an answer nothing was acknowledged: the kill came, or nobody is there.
        if let Ok(purged) = self.cli.json(&purge) {
            self.take(order, &purged);
        }
        clock::pause(self.seeded.instant_within(PAUSE_MAX));
    }

    fn take(&self, order: String, purged: &Value) {
        let sequences = purged.get("sequences").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_u64);
        let sequences: Vec<u64> = sequences.collect();
        // Of this session nothing was kept.
        if sequences.is_empty() {
            return;
        }
        let finished = purged.get("finished").and_then(Value::as_bool).unwrap_or_default();
        self.shared.tell(self.caller, Told { what: What::Purge { order, sequences, finished }, asked_after: 0 });
        self.shared.purged.fetch_add(1, Ordering::AcqRel);
    }
}
