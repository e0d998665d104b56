//! `agentgate log show`: how far the log is, and how old what it shows.

use crate::client::Client;
use crate::failure::Failure;
use crate::moment::{absolute, grouped, relative};
use crate::output::{Desk, moment_json};
use crate::screen::{Palette, Screen};
use crate::table::Pairs;
use agentgate_core::time::Time;
use agentgate_core::transparency::tree::Hash;
use agentgate_proto::v1;
use prost::Message as _;
use serde_json::{Value, json};

/// What is signed, and when its last record was written.
struct Shown {
    log: v1::ShowLogResponse,
    root: String,
    newest_us: u64,
}

pub(super) async fn run(client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let log = client.show_log().await?;
    let newest_us = match log.size {
        0 => 0,
        size => v1::Record::decode(client.prove_record(size).await?.record).map(|record| record.at_us).unwrap_or_default(),
    };
    let root = log.root.as_ref().try_into().map(|root| Hash::from_bytes(root).to_string()).unwrap_or_default();
    let (shown, now) = (Shown { log, root, newest_us }, desk.now);
    desk.answer(|screen| shown.render(now, screen), || shown.to_json())
}

// === impl Shown ===

impl Shown {
    fn render(&self, now: Time, screen: &Screen) -> String {
        let log = &self.log;
        let mut pairs = Pairs::new(screen);
        pairs.heading("Transparency log");
        pairs.pair("signed", Palette::Plain, &format!("{} records", grouped(log.size)));
        pairs.pair("root", Palette::Plain, &self.root);
        if self.newest_us > 0 {
            let newest = format!("{} ({})", absolute(self.newest_us), relative(now, self.newest_us));
            pairs.pair("newest", Palette::Plain, &newest);
        }
        match log.head.saturating_sub(log.size) {
            0 => pairs.pair("journal", Palette::Good, "all of it is signed"),
            behind => {
                let behind = format!("{} records, {} of them not signed as yet", grouped(log.head), grouped(behind));
                pairs.pair("journal", Palette::Waiting, &behind);
            }
        }
        match log.stopped.as_str() {
            "" => {}
            why => pairs.pair("stopped", Palette::Bad, why),
        }
        match log.witnessed.is_empty() {
            true => pairs.pair("witnesses", Palette::Waiting, "none cosigned it"),
            false => pairs.pair("witnesses", Palette::Good, "cosigned; `agentgate verify --witness` says by whom"),
        }
        pairs.heading("Verifier keys");
        pairs.block(&log.keys.join("\n"));
        pairs.finish()
    }

    fn to_json(&self) -> Value {
        let log = &self.log;
        json!({
            "size": log.size,
            "root": Some(&self.root).filter(|root| !root.is_empty()),
            "head": log.head,
            "newest_at": moment_json(self.newest_us),
            "keys": log.keys,
            "stopped": Some(&log.stopped).filter(|stopped| !stopped.is_empty()),
            "checkpoint": String::from_utf8_lossy(&log.checkpoint),
            "witnessed": !log.witnessed.is_empty(),
        })
    }
}
