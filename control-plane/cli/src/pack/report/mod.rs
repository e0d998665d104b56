//! What a person reads: a page without scripts and without anything from elsewhere, and the same on paper. Both are made from the
//! pack alone, so that the same pack gives the same bytes.

mod chart;
mod paper;
mod print;

use super::Pack;
use super::reading::Reading;
use crate::failure::{Exit, Failure};
use crate::screen::Charset;
use crate::text::{escape, hex};
use agentgate_core::error::chain;
use agentgate_core::time::Time;
use askama::Template;
use chart::Chart;
use serde_json::Value;
use std::collections::BTreeMap;

/// What both begin with, and what they say where there is nothing to list.
const FOREWORD: &str =
    "What AgentGate recorded of the calls below. This is for reading; agentgate verify checks pack.json, from which it was made.";
const ORDINARY: &str =
    "Nothing that this report looks for: rapid fire, a tool that is unusual for its subject, a refusal after a grant.";
const NO_WRITES: &str = "No call that is known to write was let through.";
const AFTERWORD: &str = "Nothing here shows that the facts were so: a gate reported them, and a tool's own logs may say otherwise. \
    Nothing here shows that nobody else was given another log: only witnesses whom many people ask can show that. \
    Nothing here shows that this is all that there was to give: the control plane says so, and signed it.";

/// Below the policies, where their text is in the pack.
const POLICY_TEXT: &str = "agentgate evidence policy PACK --out DIR writes the files of each policy whose text is in pack.json.";

const CUT: &str = "Cut here: the whole is in the body of the record, in pack.json.";

/// So many characters of a root are not those of another pack's.
const ROOT_CHARS: usize = 12;

/// What both say beside the reading.
#[derive(Debug)]
struct Cover {
    /// What was asked for, by whom, when, and of which log: names and values.
    lines: Vec<(&'static str, String)>,
    manifest: String,
    checkpoint: String,
    policies: Vec<Policy>,
    /// Which pack it is, for a page that lies alone: the beginning of the checkpoint's root, and what was asked for.
    pack: String,
}

/// A policy that decided calls of the pack.
#[derive(Debug, Default)]
struct Policy {
    digest: String,
    decided: usize,
    packed: bool,
}

#[derive(Debug, Template)]
#[template(path = "evidence.html")]
struct Page<'a> {
    cover: &'a Cover,
    reading: &'a Reading,
    chart: &'a Chart,
    cards: Vec<(usize, &'static str, &'static str)>,
    notices: Vec<String>,
    unread: Option<String>,
    is_read: bool,
    policy_text: Option<&'static str>,
    foreword: &'static str,
    ordinary: &'static str,
    no_writes: &'static str,
    afterword: &'static str,
    cut: &'static str,
}

/// # Errors
/// Never, as long as memory can be had.
pub fn html(pack: &Pack) -> Result<String, Failure> {
    let (reading, cover) = (Reading::of(pack), Cover::of(pack));
    let page = Page {
        cover: &cover,
        chart: &Chart::of(&reading),
        cards: cards(&reading),
        notices: notices(&reading),
        unread: unread(&reading),
        is_read: is_read(&reading),
        policy_text: cover.policy_text(),
        foreword: FOREWORD,
        ordinary: ORDINARY,
        no_writes: NO_WRITES,
        afterword: AFTERWORD,
        cut: CUT,
        reading: &reading,
    };
    page.render().map_err(|error| Failure::new(Exit::Local, chain(&error)))
}

/// # Errors
/// Where the font cannot be read, which is a fault of this program.
pub fn pdf(pack: &Pack) -> Result<Vec<u8>, Failure> {
    let (reading, cover) = (Reading::of(pack), Cover::of(pack));
    print::pdf(&cover, &reading, &Chart::of(&reading)).map_err(|error| Failure::new(Exit::Local, error))
}

/// What stands on each page of the paper.
#[cfg(test)]
pub(crate) fn texts(pack: &Pack) -> Vec<Vec<String>> {
    let reading = Reading::of(pack);
    let paper = print::written(&Cover::of(pack), &reading, &Chart::of(&reading)).expect("paper");
    paper.texts().into_iter().map(|page| page.into_iter().map(str::to_owned).collect()).collect()
}

/// What stands under each page of it.
#[cfg(test)]
pub(crate) fn foot(pack: &Pack) -> String {
    print::foot(&Cover::of(pack))
}

/// Counts that are seen first: each with its name, and the verdict that it is of.
fn cards(reading: &Reading) -> Vec<(usize, &'static str, &'static str)> {
    let mut cards = vec![
        (reading.calls(), "calls", ""),
        (reading.allow, "allowed", "allow"),
        (reading.pending, "pending", "pending"),
        (reading.deny, "denied", "deny"),
        (reading.lines.len(), "records", ""),
        (reading.erased, "bodies erased", ""),
    ];
    let more = [(reading.sealed, "bodies sealed"), (reading.observed, "only observed"), (reading.altered, "bodies altered")];
    cards.extend(more.into_iter().filter(|(count, _)| *count > 0).map(|(count, name)| (count, name, "")));
    cards
}

/// Nobody is to take a verdict that was not enforced for what became of the call, nor what was left of words for the words.
fn notices(reading: &Reading) -> Vec<String> {
    let observed = match reading.observed {
        0 => None,
        1 => {
            Some("1 call was only observed: whatever its verdict, it was not enforced, and the call went on to its tool.".into())
        }
        count => Some(format!(
            "{count} calls were only observed: whatever their verdicts, they were not enforced, and the calls went on to their tools."
        )),
    };
    let altered = match reading.altered {
        0 => None,
        1 => Some("1 body was altered for this pack: its record did not commit to what is left of it.".into()),
        count => {
            Some(format!("{count} bodies were altered for this pack: their records did not commit to what is left of them."))
        }
    };
    [observed, altered].into_iter().flatten().collect()
}

/// Nobody is to take what cannot be read for something that did not happen.
fn unread(reading: &Reading) -> Option<String> {
    match untold(reading) {
        0 => None,
        1 => Some("1 call could not be looked at: its body is erased or sealed.".into()),
        count => Some(format!("{count} calls could not be looked at: their bodies are erased or sealed.")),
    }
}

/// Whether there is anything that can be looked at: where nothing was, that nothing was found says nothing.
fn is_read(reading: &Reading) -> bool {
    untold(reading) == 0 || untold(reading) < reading.calls()
}

fn untold(reading: &Reading) -> usize {
    reading.lines.iter().filter(|line| line.kind == "decision" && !line.is_told()).count()
}

/// What hides or deceives is shown as an escape, on the page as on a terminal.
fn shown(text: &str) -> String {
    escape(text, Charset::Unicode)
}

/// The same of each line.
fn block(text: &str) -> String {
    text.split('\n').map(shown).collect::<Vec<_>>().join("\n")
}

#[expect(unreachable_pub, reason = "generated")]
mod filters {
    //! What the template asks for by name.

    /// See [`super::shown`].
    #[askama::filter_fn]
    pub(super) fn shown(text: impl std::fmt::Display, _: &dyn askama::Values) -> askama::Result<String> {
        Ok(super::shown(&text.to_string()))
    }

    /// See [`super::block`].
    #[askama::filter_fn]
    pub(super) fn block(text: impl std::fmt::Display, _: &dyn askama::Values) -> askama::Result<String> {
        Ok(super::block(&text.to_string()))
    }
}

// === impl Cover ===

impl Cover {
    /// How their text is read, where there is one.
    fn policy_text(&self) -> Option<&'static str> {
        self.policies.iter().any(|policy| policy.packed).then_some(POLICY_TEXT)
    }

    fn of(records: &Pack) -> Self {
        let text = |note: &[u8]| String::from_utf8_lossy(note).split("\n\n").next().unwrap_or_default().to_owned();
        let (manifest, checkpoint) = (text(&records.manifest), text(&records.checkpoint));
        let of = |name: &str| {
            let mut values = manifest.lines().filter_map(|line| line.split_once(' '));
            values.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        let mut lines = asked(&of("scope"));
        let root: String = checkpoint.lines().nth(2).unwrap_or_default().chars().take(ROOT_CHARS).collect();
        let named: Vec<String> = lines.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let named = if named.is_empty() { "all that there is".to_owned() } else { named.join(", ") };
        let pack = format!("root {root}…, {named}");
        lines.push(("gathered by", of("by")));
        lines.push(("gathered at", of("at")));
        lines.push(("log", checkpoint.lines().next().unwrap_or_default().to_owned()));
        lines.push(("records in the log", of("size")));
        lines.push(("records in this pack", records.records.len().to_string()));
        let unmatched = of("unmatched");
        if !unmatched.is_empty() {
            lines.push(("erased, so nobody's", unmatched));
        }
        Self { lines, policies: Policy::all(records), manifest, checkpoint, pack }
    }
}

/// The question, in words.
fn asked(scope: &str) -> Vec<(&'static str, String)> {
    let scope: Value = serde_json::from_str(scope).unwrap_or_default();
    let text = |name: &str| scope.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let time = |name: &str| {
        let micros = scope.get(name).and_then(Value::as_u64).filter(|micros| *micros > 0);
        micros.map(|micros| Time::from_micros(micros).to_string())
    };
    let lines = [
        ("session", text("session")),
        ("principal", text("principal")),
        ("since", time("since_us")),
        ("until", time("until_us")),
    ];
    lines.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

// === impl Policy ===

impl Policy {
    fn text(&self) -> &'static str {
        if self.packed { "in pack.json" } else { "not here" }
    }

    fn all(pack: &Pack) -> Vec<Self> {
        use agentgate_proto::v1::record::What;
        let mut all: BTreeMap<String, Self> = BTreeMap::new();
        for packed in &pack.records {
            let Some((_, What::Decision(decision))) = packed.what() else { continue };
            let digest =
                if decision.policy_digest.is_empty() { "none was asked".to_owned() } else { hex(&decision.policy_digest) };
            let packed = pack.bundles.iter().any(|(known, _)| hex(known) == digest);
            let policy = all.entry(digest.clone()).or_default();
            *policy = Self { digest, decided: policy.decided.saturating_add(1), packed };
        }
        all.into_values().collect()
    }
}
