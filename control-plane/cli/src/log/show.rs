//! `agentgate log show`: how far the log is, and how old what it shows.

use crate::client::Client;
use crate::failure::Failure;
use crate::moment::{absolute, grouped, relative};
use crate::output::{Desk, moment_json};
use crate::screen::{Palette, Screen};
use crate::table::Pairs;
use crate::text::hex;
use agentgate_core::time::Time;
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::note::Note;
use agentgate_core::transparency::tree::Hash;
use agentgate_proto::v1;
use prost::Message as _;
use serde_json::{Value, json};

/// What is signed, and when its last record was written.
struct Shown {
    log: v1::ShowLogResponse,
    root: String,
    newest_us: u64,
    witnessed: Option<Witnessed>,
}

/// What witnesses say that they saw. Whoever wants to know whether they did asks `agentgate verify`.
pub(crate) struct Witnessed {
    pub(crate) size: u64,
    /// Who, and when.
    pub(crate) by: Vec<(String, u64)>,
}

pub(super) async fn run(client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let log = client.show_log().await?;
    let newest_us = match log.size {
        0 => 0,
        size => match client.prove_record(size).await {
            Ok(proved) => v1::Record::decode(proved.record).map(|record| record.at_us).unwrap_or_default(),
            // What is stopped is shown all the same: that is what whoever asks has to hear.
            Err(_) if !log.stopped.is_empty() => 0,
            Err(failure) => return Err(failure),
        },
    };
    let (root, witnessed) = (hash(&log.root), Witnessed::read(&log.witnessed));
    let (shown, now) = (Shown { log, root, newest_us, witnessed }, desk.now);
    desk.answer(|screen| shown.render(now, screen), || shown.to_json())
}

/// As checkpoints write it; empty where it is none.
fn hash(bytes: &[u8]) -> String {
    bytes.try_into().map(|bytes| Hash::from_bytes(bytes).to_string()).unwrap_or_default()
}

/// Who knows that more was signed than the journal had.
pub(crate) fn remembered(log: &v1::ShowLogResponse, pairs: &mut Pairs<'_>) {
    for v1::Remembered { remembers, name, size, at_us } in &log.remembered {
        // A copied file has the time of its copy.
        let at = match (*at_us, remembers.as_str()) {
            (0, _) => ", signed".to_owned(),
            (at_us, "directory") => format!(", by its file of {}", absolute(at_us)),
            (at_us, _) => format!(", signed at {}", absolute(at_us)),
        };
        let who = match remembers.as_str() {
            "slot" => "the journal's own checkpoint".to_owned(),
            "directory" => format!("`{name}`"),
            other => format!("the {other} {name}"),
        };
        pairs.pair("rolled back", Palette::Bad, &format!("{who} knows of {} records{at}", grouped(*size)));
    }
}

/// Why nothing is signed, and what the start found.
pub(crate) fn trouble(log: &v1::ShowLogResponse, pairs: &mut Pairs<'_>) {
    if !log.trouble.is_empty() {
        let told = format!("since {}: {}; it is tried again", absolute(log.trouble_since_us), log.trouble);
        pairs.pair("not signed", Palette::Bad, &told);
    }
    for notice in &log.notices {
        pairs.pair("log notice", Palette::Bad, notice);
    }
}

pub(crate) fn trouble_json(log: &v1::ShowLogResponse) -> Value {
    let told = Some(&log.trouble).filter(|trouble| !trouble.is_empty());
    told.map_or(Value::Null, |trouble| json!({ "why": trouble, "since": moment_json(log.trouble_since_us) }))
}

pub(crate) fn remembered_json(log: &v1::ShowLogResponse) -> Value {
    let one = |v1::Remembered { remembers, name, size, at_us }: &v1::Remembered| {
        json!({
            "remembers": remembers,
            "name": Some(name).filter(|name| !name.is_empty()),
            "size": size,
            "signed_at": moment_json(*at_us),
        })
    };
    log.remembered.iter().map(one).collect()
}

// === impl Witnessed ===

impl Witnessed {
    pub(crate) fn read(note: &[u8]) -> Option<Self> {
        let note = Note::parse(note).ok()?;
        let checkpoint = Checkpoint::parse(note.text()).ok()?;
        let by_others = note.signatures().iter().filter(|signature| signature.by.name != checkpoint.origin);
        let by = by_others.filter_map(|signature| {
            let (at_s, _) = signature.bytes.split_first_chunk()?;
            Some((signature.by.to_string(), u64::from_be_bytes(*at_s).saturating_mul(1_000_000)))
        });
        Some(Self { size: checkpoint.size, by: by.collect() })
    }
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
        pairs.pair("stopped", Palette::Bad, &log.stopped);
        remembered(log, &mut pairs);
        trouble(log, &mut pairs);
        if !log.stopped.is_empty() {
            pairs.pair("next", Palette::Plain, "docs/operating.md says what to do, under The transparency log");
        }
        match &self.witnessed {
            None if log.witnesses.is_empty() => {
                pairs.pair("witnessed", Palette::Waiting, "not at all: the configuration names no witness");
            }
            None => pairs.pair("witnessed", Palette::Waiting, "no cosignature is kept"),
            Some(witnessed) => {
                let by: Vec<String> = witnessed.by.iter().map(|(by, at_us)| format!("{by} {}", relative(now, *at_us))).collect();
                pairs.pair("witnessed", Palette::Good, &format!("{} records, by {}", grouped(witnessed.size), by.join(", ")));
            }
        }
        for witness in log.witnesses.iter().filter(|witness| !witness.trouble.is_empty()) {
            let palette = if witness.fork { Palette::Bad } else { Palette::Waiting };
            pairs.pair(
                if witness.fork { "FORK" } else { "no answer" },
                palette,
                &format!("{}: {}", witness.name, witness.trouble),
            );
        }
        if let Some(newest) = log.anchors.first() {
            let said = format!("{} records, {}, at {}", grouped(newest.size), relative(now, newest.at_us), newest.url);
            pairs.pair("anchored", Palette::Good, &said);
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
            "rolled_back": remembered_json(log),
            "trouble": trouble_json(log),
            "notices": log.notices,
            "checkpoint": String::from_utf8_lossy(&log.checkpoint),
            "witnessed": self.witnessed.as_ref().map(|witnessed| json!({
                "size": witnessed.size,
                "by": witnessed.by.iter().map(|(by, at_us)| json!({"key": by, "at": moment_json(*at_us)})).collect::<Vec<_>>(),
                "checkpoint": String::from_utf8_lossy(&log.witnessed),
            })),
            "witnesses": log.witnesses.iter().map(|witness| json!({
                "name": witness.name,
                "trouble": Some(&witness.trouble).filter(|trouble| !trouble.is_empty()),
                "fork": witness.fork,
            })).collect::<Vec<_>>(),
            "anchors": log.anchors.iter().map(|anchor| json!({
                "size": anchor.size,
                "root": hash(&anchor.root),
                "at": moment_json(anchor.at_us),
                "receipt": hex(&anchor.receipt),
                "url": anchor.url,
            })).collect::<Vec<_>>(),
        })
    }
}
