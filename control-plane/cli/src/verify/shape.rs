//! Whether a pack holds the records that were given, and no policies but those that decided them. It takes time that grows with
//! what is there, whatever is said of it.

use super::missing::{holes, named};
use super::report::{LISTED, Report, listed};
use crate::pack::Pack;
use crate::text::hex;
use agentgate_policies::Bundle;
use agentgate_proto::v1::record::What;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Whether these are the records that were given: none left out, none added, none twice. What was given rises and lies apart.
pub(super) fn records(pack: &Pack, given: &[RangeInclusive<u64>], report: &mut Report) {
    let sequences: BTreeSet<u64> = pack.records.iter().map(|packed| packed.entry.sequence).collect();
    let wanted: u64 =
        given.iter().map(|range| range.end().saturating_sub(*range.start()).saturating_add(1)).fold(0, u64::saturating_add);
    // No more of them than there are records and ranges, however much a range says.
    let missing: Vec<RangeInclusive<u64>> = given.iter().flat_map(|range| holes(&sequences, range)).collect();
    let added: Vec<u64> = sequences.iter().copied().filter(|sequence| !holds(given, *sequence)).collect();
    if !missing.is_empty() {
        report.wrong(format!("records were left out of it: {}", named(&missing)));
    }
    if !added.is_empty() {
        report.wrong(format!("records were added to it: {}", some(&added)));
    }
    if sequences.len() != pack.records.len() {
        report.wrong("a record is in it twice".into());
    }
    if missing.is_empty() && added.is_empty() && u64::try_from(sequences.len()) == Ok(wanted) {
        report.shown(match wanted {
            0 => "it holds no record, and the control plane gave none".into(),
            1 => "it holds the 1 record that the control plane gave, and no other".into(),
            wanted => format!("it holds the {wanted} records that the control plane gave, each and no other"),
        });
    }
}

/// Whether one of these ranges, which rise and lie apart, holds it.
pub(super) fn holds(ranges: &[RangeInclusive<u64>], sequence: u64) -> bool {
    let after = ranges.partition_point(|range| *range.end() < sequence);
    ranges.get(after).is_some_and(|range| range.contains(&sequence))
}

/// Each policy once, under its own digest, and only where a decision names it. None of them is compiled here.
pub(super) fn bundles(pack: &Pack, report: &mut Report) {
    let mut decided_by = BTreeSet::new();
    for packed in &pack.records {
        if let Some((_, What::Decision(decision))) = packed.what() {
            decided_by.insert(decision.policy_digest.to_vec());
        }
    }
    let mut seen = BTreeSet::new();
    for (digest, content) in &pack.bundles {
        let said = hex(digest);
        if !seen.insert(digest) {
            report.wrong_of("policies that are in it twice", format!("the policy {said} is in it twice"));
        } else if !decided_by.contains(digest) {
            report.wrong_of("policies that no decision names", format!("the policy {said} is in it, and no decision names it"));
        } else if !is_own(digest, content) {
            report.wrong_of("policies that are others", format!("the policy {said} is another one"));
        }
    }
}

/// What is wrong with a pack's policies, in the words of its first fault.
pub(crate) fn unread(pack: &Pack) -> Result<(), String> {
    let mut report = Report::new("pack");
    bundles(pack, &mut report);
    report.all_wrong().first().map_or(Ok(()), |wrong| Err(wrong.clone()))
}

/// Whether a policy's bytes are those that its digest names.
pub(super) fn is_own(digest: &[u8], content: &[u8]) -> bool {
    Bundle::digest_of(content).is_ok_and(|own| own.as_bytes().as_slice() == digest)
}

/// The first of them, and how many more there are.
pub(super) fn some(rising: &[u64]) -> String {
    let named = listed(rising.get(..LISTED).unwrap_or(rising));
    match rising.len().saturating_sub(LISTED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
