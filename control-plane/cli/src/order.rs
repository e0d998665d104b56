//! What all orders of an operator have in common: where they stand in the journal, and which filter VMs obey them already.
//!
//! An order is in force for every decision once it is acknowledged. What is waited for here concerns only calls that a route
//! in observe sends on without asking.

use crate::client::Client;
use crate::failure::Failure;
use crate::output::Desk;
use crate::screen::Palette;
use crate::table::Pairs;
use crate::text::hex;
use agentgate_proto::v1;
use serde_json::{Value, json};
use std::time::Duration;

/// A filter keeps a standing within a heartbeat or two; who waits longer waits for one that is gone.
const WAIT_S_MAX: u64 = 5;

/// How often it is looked whether they have.
const LOOK_MS: u64 = 200;

/// A VM that was not heard of for so long is waited for no more.
const HEARD_US: u64 = 10_000_000;

/// A VM that lost its control plane opens its next stream within 2 s. Of a control plane that is younger than this, nobody knows
/// yet who is still coming back, and would go on without the order.
const COMING_BACK_US: u64 = 3_000_000;

/// Which filter VMs obey an order.
#[derive(Clone, Debug, Default)]
pub struct Confirmation {
    confirmed: usize,
    behind: Vec<v1::FilterStatus>,
    /// Why it is not known.
    trouble: Vec<String>,
    /// There may be other replicas, with filters that this one does not hear of.
    others: bool,
}

/// Waits until all filter VMs that are there obey the orders of this epoch, for at most some seconds.
pub async fn confirm(client: &Client, epoch: u64, desk: &mut Desk<'_>) -> Result<Confirmation, Failure> {
    let mut seen = Confirmation::default();
    let watched = tokio::time::timeout(Duration::from_secs(WAIT_S_MAX), watch(client, epoch, desk, &mut seen)).await;
    desk.progress_over()?;
    // Late is an answer too: who is behind is named.
    watched.unwrap_or(Ok(()))?;
    Ok(seen)
}

async fn watch(client: &Client, epoch: u64, desk: &mut Desk<'_>, seen: &mut Confirmation) -> Result<(), Failure> {
    loop {
        let young = match client.show_status().await {
            Ok(status) => {
                *seen = Confirmation::read(&status, epoch);
                is_young(&status)
            }
            // The order is in force; only who obeys it is not known.
            Err(failure) => {
                seen.trouble = failure.chain();
                return Ok(());
            }
        };
        if seen.behind.is_empty() && !young {
            return Ok(());
        }
        let awaited = match seen.behind.len() {
            0 => "those that are still coming back".to_owned(),
            behind => behind.to_string(),
        };
        desk.progress(&format!("confirmed by {} filter VMs, waiting for {awaited}", seen.share()))?;
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
}

/// Whether filters that its last life knew may still be on their way.
fn is_young(status: &v1::ShowStatusResponse) -> bool {
    status.now_us.saturating_sub(status.started_at_us) < COMING_BACK_US
}

/// Where the order stands and who obeys it, as pairs below what was ordered.
pub fn render(order: &v1::OrderResponse, seen: &Confirmation, pairs: &mut Pairs<'_>) {
    let force = "in force for every decision from here on";
    if order.changed {
        let place = format!("#{}, epoch {}: {force}", order.sequence, order.epoch);
        pairs.pair("committed", Palette::Good, &place);
    } else {
        pairs.pair("unchanged", Palette::Waiting, &format!("it was so already, in epoch {}; nothing was written", order.epoch));
    }
    if !seen.trouble.is_empty() {
        pairs.pair("confirmed", Palette::Waiting, &format!("not known: {}", seen.trouble.join(": ")));
        return;
    }
    match (seen.heard(), seen.behind.is_empty()) {
        (0, _) if seen.others => pairs.pair("confirmed", Palette::Waiting, "by nobody here: no filter VM speaks to this replica"),
        (0, _) => pairs.pair(
            "confirmed",
            Palette::Waiting,
            "by nobody: no filter VM was heard of in the last 10 s; a gate through ext_authz has none, and obeys at once",
        ),
        (_, true) => pairs.pair("confirmed", Palette::Good, &format!("by {} filter VMs", seen.share())),
        (_, false) => {
            pairs.pair("confirmed", Palette::Waiting, &format!("by {} filter VMs only", seen.share()));
            for vm in &seen.behind {
                let who = format!("{} (node {}, VM {}) keeps epoch {}", vm.asker, vm.node, hex(&vm.epoch), vm.kept_epoch);
                pairs.pair("not by", Palette::Waiting, &who);
            }
            let slip = "only a call that its route in observe sends on unasked can slip until they hear of it";
            pairs.pair("warning", Palette::Waiting, slip);
        }
    }
    if seen.others {
        let elsewhere = "the filters of other replicas are told too; whether they obey, `agentgate status` says at each of those";
        pairs.pair("elsewhere", Palette::Waiting, elsewhere);
    }
}

/// The same for programs, beside what was ordered, and what makes its names doubtful.
#[must_use]
pub fn to_json(what: &Value, order: &v1::OrderResponse, seen: &Confirmation, doubts: &[String]) -> Value {
    let unconfirmed = seen
        .behind
        .iter()
        .map(|vm| json!({ "asker": vm.asker, "node": vm.node, "epoch": hex(&vm.epoch), "kept_epoch": vm.kept_epoch }));
    json!({
        "order": what,
        "sequence": order.sequence,
        "epoch": order.epoch,
        "changed": order.changed,
        "filters_heard": seen.heard(),
        "filters_confirmed": seen.confirmed,
        "other_replicas": seen.others,
        "unconfirmed": unconfirmed.collect::<Vec<_>>(),
        "warnings": doubts,
        "trouble": Some(seen.trouble.join(": ")).filter(|trouble| !trouble.is_empty()),
    })
}

// === impl Confirmation ===

impl Confirmation {
    fn read(status: &v1::ShowStatusResponse, epoch: u64) -> Self {
        let heard = status.filters.iter().filter(|vm| status.now_us.saturating_sub(vm.last_heard_us) <= HEARD_US);
        let (kept, behind): (Vec<_>, Vec<_>) = heard.cloned().partition(|vm| vm.kept_epoch >= epoch);
        let others = status.journal.as_ref().is_some_and(|journal| journal.shared);
        Self { confirmed: kept.len(), behind, trouble: Vec::new(), others }
    }

    fn heard(&self) -> usize {
        self.confirmed + self.behind.len()
    }

    /// `3 of 4`.
    fn share(&self) -> String {
        format!("{} of {}", self.confirmed, self.heard())
    }
}

#[cfg(test)]
mod tests {
    use super::{COMING_BACK_US, Confirmation, is_young, to_json};
    use agentgate_proto::v1;

    #[test]
    fn what_only_other_replicas_know_is_not_claimed() {
        for shared in [false, true] {
            let journal = Some(v1::JournalStatus { shared, ..Default::default() });
            let seen = Confirmation::read(&v1::ShowStatusResponse { journal, ..Default::default() }, 1);
            let json = to_json(&serde_json::Value::Null, &v1::OrderResponse::default(), &seen, &[]);
            assert_eq!(json["other_replicas"], shared);
        }
    }

    #[test]
    fn whoever_may_still_come_back_is_waited_for() {
        let up = |us: u64| v1::ShowStatusResponse { started_at_us: 7, now_us: 7 + us, ..Default::default() };
        assert!(is_young(&up(0)) && is_young(&up(COMING_BACK_US - 1)));
        assert!(!is_young(&up(COMING_BACK_US)));
    }
}
