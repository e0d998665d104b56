//! An evidence pack: the signature over its files, the list of its records, each record's place in the log, and each body
//! against what its record committed to.

use super::redecide;
use super::report::{Of, Report, listed};
use super::stored;
use super::unreadable::Unreadable;
use crate::evidence::files;
use crate::evidence::pack::{Body, Pack, Packed};
use crate::evidence::reading::Reading;
use crate::evidence::{Named, PACK_FILE};
use crate::moment::absolute;
use crate::text::hex;
use agentgate_core::transparency::claim::ranges;
use agentgate_core::transparency::gaps::Counters;
use agentgate_core::transparency::key::VerifierKey;
use agentgate_core::transparency::note::{Note, NoteError};
use agentgate_core::transparency::verify::Audit;
use agentgate_policies::Bundle;
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use hmac::{Hmac, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;

/// What the control plane signed of what it gave.
#[derive(Debug)]
struct Manifest {
    size: u64,
    body_bytes_max: usize,
    records: Vec<RangeInclusive<u64>>,
}

/// A pack that was read, before anything is said of it.
pub(super) struct Opened {
    pub(super) pack: Pack,
    reading: Value,
    report: Report,
}

/// Reads the files that the note names, and says which are others.
pub(super) fn open(directory: &Path, keys: &[VerifierKey]) -> Result<Opened, Unreadable> {
    let mut report = Report::new("pack");
    let named = Named::read(directory).map_err(|error| match error {
        error if error.is_absent() => Unreadable::Unsigned { path: directory.into() },
        error => error,
    })?;
    signed(&named.note, keys, "the files of the pack", &mut report);
    for (name, digest) in &named.files {
        match files::file(directory, name) {
            Ok(bytes) if files::digest(&bytes) == *digest => {}
            Ok(_) => report.wrong(format!("`{name}` is not the file that was signed")),
            Err(error) if error.is_absent() => report.wrong(format!("the pack lacks `{name}`, which was signed")),
            Err(error) => return Err(error),
        }
    }
    if !named.files.contains_key(PACK_FILE) {
        report.wrong(format!("`{PACK_FILE}` is not among the files that were signed"));
    }
    if report.holds() {
        report.shown(format!("{} files are, byte for byte, those that were signed", named.files.len()));
    }
    for name in named.others(directory) {
        report.wrong(format!("`{name}` lies in it and is no file of the pack"));
    }
    let path = directory.join(PACK_FILE);
    match files::file(directory, PACK_FILE).and_then(|bytes| Pack::read(&path, &bytes)) {
        Ok((pack, reading)) => Ok(Opened { pack, reading, report }),
        // What was changed so that it cannot be read any more is not the file that was signed, and that is all to be said.
        Err(_) if !report.holds() => Ok(Opened { pack: Pack::default(), reading: Value::Null, report }),
        Err(error) => Err(error),
    }
}

/// Says who signed a note; a note that nobody known signed is wrong.
fn signed(note: &Note, keys: &[VerifierKey], what: &str, report: &mut Report) {
    let signed: Result<Vec<bool>, NoteError> = keys.iter().map(|key| note.signed_by(key)).collect();
    match signed {
        Ok(signed) if signed.contains(&true) => report.shown(format!("the log's key signed {what}")),
        Ok(_) => report.wrong(format!("no key that was given signed {what}")),
        Err(error) => report.wrong(format!("what is signed of {what} does not hold: {error}")),
    }
}

// === impl Opened ===

impl Opened {
    /// Its checkpoint, unless it cannot be read at all.
    pub(super) fn checkpoint(&self) -> Option<&[u8]> {
        (self.report.holds() || !self.pack.checkpoint.is_empty()).then_some(self.pack.checkpoint.as_slice())
    }

    pub(super) fn into_report(self) -> Report {
        self.report
    }

    pub(super) fn judge(self, audit: Audit<'_>, keys: &[VerifierKey], again: bool) -> Report {
        let Self { pack, reading, mut report } = self;
        let (size, root) = (audit.signed().checkpoint().size, audit.signed().checkpoint().root);
        let manifest = manifest(&pack, keys, &mut report);
        if let Some(manifest) = &manifest {
            if manifest.size != size {
                report
                    .wrong(format!("the list of records is of a log of {} records, and the checkpoint of {size}", manifest.size));
            }
            complete(&pack, &manifest.records, &mut report);
        }
        let mut included = 0_usize;
        for packed in &pack.records {
            let entry = &packed.entry;
            match packed.proof.includes(entry.leaf_hash(), entry.index(), size, root) {
                Ok(()) => included = included.saturating_add(1),
                Err(error) => {
                    report.wrong(format!("the proof that record {} is in the log does not hold: {error}", entry.sequence));
                }
            }
        }
        if included == pack.records.len() {
            report.shown(format!("each of {included} records is in the log that the checkpoint is of"));
        }
        as_stored(&pack, &mut report);
        bodies(&pack, &mut report);
        bundles(&pack, &mut report);
        gaps(&pack, &mut report);
        if Reading::of(&pack).to_json() == reading {
            report.shown("its reading (summary, timeline, rules, writes, anomalies) follows from its records".into());
        } else {
            report.wrong("its reading does not follow from its records".into());
        }
        if again {
            let body_bytes_max = manifest.as_ref().map(|manifest| manifest.body_bytes_max);
            redecide::judge(&pack, body_bytes_max, &mut report);
        } else {
            report.not_shown("that its decisions follow from their facts and policies: --redecide was not asked for".into());
        }
        report.conclude(audit.conclude());
        report
    }
}

fn manifest(pack: &Pack, keys: &[VerifierKey], report: &mut Report) -> Option<Manifest> {
    let note = match Note::parse(&pack.manifest) {
        Ok(note) => note,
        Err(error) => {
            report.wrong(format!("the list of its records is no signed note: {error}"));
            return None;
        }
    };
    signed(&note, keys, "the list of the records that it gave", report);
    let manifest = Manifest::read(note.text());
    if manifest.is_none() {
        report.wrong("the list of its records is none that this program knows".into());
    }
    if let Some(pii) = note.text().lines().find_map(|line| line.strip_prefix("pii ")).filter(|pii| *pii != "off") {
        report.shown(format!("what was asked of bodies: {pii}"));
    }
    if let Some(scope) = note.text().lines().nth(1) {
        let scope = scope.strip_prefix("scope ").unwrap_or(scope);
        report.shown(format!("what was asked for: {}", in_words(scope).unwrap_or_else(|| scope.to_owned())));
    }
    manifest
}

/// A scope as people say it; none where it is of a form that this program does not know.
pub(super) fn in_words(scope: &str) -> Option<String> {
    let scope: Value = serde_json::from_str(scope).ok()?;
    let named = |field: &str, noun: &str| {
        let name = scope.get(field)?.as_str()?;
        Some(if name.is_empty() { String::new() } else { format!("the {noun} `{name}`") })
    };
    let moment = |field: &str, word: &str| {
        let at_us = scope.get(field)?.as_u64()?;
        Some(if at_us == 0 { String::new() } else { format!("{word} {}", absolute(at_us)) })
    };
    let parts = [
        named("session", "session")?,
        named("principal", "principal")?,
        moment("since_us", "from")?,
        moment("until_us", "until")?,
    ];
    let said: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Some(if said.is_empty() { "all that there is".into() } else { said.join(", ") })
}

/// Whether these are the records that were given: none left out, none added, none twice.
fn complete(pack: &Pack, given: &[RangeInclusive<u64>], report: &mut Report) {
    let sequences: BTreeSet<u64> = pack.records.iter().map(|packed| packed.entry.sequence).collect();
    let is_given = |sequence: &u64| given.iter().any(|range| range.contains(sequence));
    // A list is as long as a note may be, and says more than can be counted one by one only where it is forged.
    let wanted: u64 =
        given.iter().map(|range| range.end().saturating_sub(*range.start()).saturating_add(1)).fold(0, u64::saturating_add);
    let missing: Vec<u64> =
        given.iter().flat_map(Clone::clone).filter(|sequence| !sequences.contains(sequence)).take(LISTED).collect();
    let added: Vec<u64> = sequences.iter().copied().filter(|sequence| !is_given(sequence)).take(LISTED).collect();
    if !missing.is_empty() {
        report.wrong(format!("records were left out of it: {}", listed(&missing)));
    }
    if !added.is_empty() {
        report.wrong(format!("records were added to it: {}", listed(&added)));
    }
    if sequences.len() != pack.records.len() {
        report.wrong("a record is in it twice".into());
    }
    if missing.is_empty() && added.is_empty() && u64::try_from(sequences.len()) == Ok(wanted) {
        report.shown(format!("it holds the {wanted} records that the control plane gave, each and no other"));
    }
}

const TAKEN_OUT_FOR_THE_PACK: [&str; 2] =
    ["what is personal was taken out of it for the pack", "what is personal was taken out of them for the pack"];
const TAKEN_OUT_WHEN_RECORDED: [&str; 2] = [
    "what is personal was taken out of it when it was recorded",
    "what is personal was taken out of them when they were recorded",
];

/// Sequences that one sentence names.
const LISTED: usize = 20;

fn as_stored(pack: &Pack, report: &mut Report) {
    let mut all = Report::new("pack");
    pack.records.iter().for_each(|packed| stored::judge(&packed.entry, &packed.record, &mut all));
    if all.wrong.is_empty() && all.not_shown.is_empty() {
        report.shown("each record is, byte for byte, the one that the log has".into());
    }
    all.wrong.into_iter().for_each(|wrong| report.wrong(wrong));
    all.not_shown.into_iter().for_each(|not| report.not_shown(not));
}

fn bodies(pack: &Pack, report: &mut Report) {
    let (mut open, mut held, mut sealed) = (0_usize, 0_usize, 0_usize);
    for packed in &pack.records {
        let what = packed.what().map(|(_, what)| what);
        let (sequence, reference) = (packed.entry.sequence, what.as_ref().and_then(What::body_ref));
        match (&packed.body, reference) {
            (Body::None, None) => {}
            (Body::None, Some(_)) => report.wrong(format!("record {sequence} has a body, and the pack says nothing of it")),
            (Body::Erased, Some(_)) => {
                report.not_shown_of(sequence, Of::Body, ["it was erased", "they were erased"]);
            }
            (Body::Altered { .. }, Some(_)) => report.not_shown_of(sequence, Of::Commitment, TAKEN_OUT_FOR_THE_PACK),
            (Body::Sealed(kept), Some(reference)) if is_kept(kept, reference) => sealed = sealed.saturating_add(1),
            (Body::Sealed(_), Some(_)) => report.wrong(format!("the body of record {sequence} is not the one that it names")),
            (Body::Erased | Body::Open { .. } | Body::Altered { .. } | Body::Sealed(_), None) => {
                report.wrong(format!("record {sequence} has no body, and the pack has one"));
            }
            (Body::Open { salt, plain }, Some(reference)) => {
                open = open.saturating_add(1);
                if is_altered(packed) {
                    report.not_shown_of(sequence, Of::Call, TAKEN_OUT_WHEN_RECORDED);
                }
                if is_committed(salt, plain, &reference.commitment) && commitments(packed, salt) {
                    held = held.saturating_add(1);
                } else {
                    report.wrong(format!("the body of record {sequence} is not what the record committed to"));
                }
            }
        }
    }
    if open == held && (open > 0 || sealed == 0) {
        report.shown(format!("each of {open} bodies is what its record committed to"));
    }
    if sealed > 0 {
        report.shown(format!("each of {sealed} sealed bodies is, byte for byte, the one that its record names"));
        report.not_shown(format!("what {sealed} sealed bodies say: `agentgate evidence open` asks whoever has their keys"));
    }
}

/// Whether it is the ciphertext that the record names by its digest.
fn is_kept(sealed: &[u8], reference: &v1::BodyRef) -> bool {
    agentgate_proto::body_address(sealed).as_bytes().as_slice() == reference.address.as_ref()
}

/// What a record says of the call, and of its result, beside its body.
fn commitments(packed: &Packed, salt: &[u8]) -> bool {
    match packed.what().map(|(_, what)| what) {
        // Its commitment to the request is under the tenant's key as well.
        Some(What::Decision(_)) if is_altered(packed) => true,
        Some(What::Decision(decision)) => {
            let ask = packed.opened::<v1::DecisionBody>().and_then(|body| body.ask);
            let request = ask.map(|ask| agentgate_proto::reading::request_digest(&ask));
            request.is_some_and(|request| is_committed(salt, request.as_bytes(), &decision.request_commitment))
        }
        Some(What::Outcome(outcome)) if !outcome.result_commitment.is_empty() => {
            let result = packed.opened::<v1::OutcomeBody>().unwrap_or_default().result_digest;
            is_committed(salt, &result, &outcome.result_commitment)
        }
        Some(
            What::Outcome(_)
            | What::Policy(_)
            | What::Flood(_)
            | What::Approval(_)
            | What::Kill(_)
            | What::Mode(_)
            | What::Hold(_)
            | What::Purge(_),
        )
        | None => true,
    }
}

/// Whether it says of itself that it is not what was asked.
fn is_altered(packed: &Packed) -> bool {
    let is_decision = packed.what().is_some_and(|(_, what)| matches!(what, What::Decision(_)));
    is_decision && packed.opened::<v1::DecisionBody>().is_some_and(|body| body.altered.is_some())
}

fn is_committed(salt: &[u8], bytes: &[u8], commitment: &[u8]) -> bool {
    <Hmac<Sha256> as hmac::Mac>::new_from_slice(salt).is_ok_and(|mac| mac.chain_update(bytes).verify_slice(commitment).is_ok())
}

fn bundles(pack: &Pack, report: &mut Report) {
    for (digest, content) in &pack.bundles {
        match Bundle::from_bytes(content) {
            Ok(bundle) if bundle.digest().as_bytes().as_slice() == digest => {}
            Ok(_) => report.wrong(format!("the policy {} is another one", hex(digest))),
            Err(error) => report.not_shown(format!("what the policy {} says: {error}", hex(digest))),
        }
    }
}

/// Counters of the pack's own decisions. Calls between them may be of other sessions: only the log says which there are.
fn gaps(pack: &Pack, report: &mut Report) {
    let mut counters = Counters::default();
    if pack.records.iter().try_for_each(|packed| counters.see(&packed.entry)).is_err() {
        return;
    }
    for counted in counters.counted() {
        let (source, missing) = (counted.source, &counted.missing);
        if !counted.twice.is_empty() {
            report.wrong(format!("calls of source {source} were decided more than once: {}", listed(&counted.twice)));
        }
        if missing.is_empty() {
            report.shown(format!("no call of source {source} is missing between {} and {}", counted.begins, counted.ends));
        } else {
            let missing = ranges(missing);
            report.not_shown(format!("what the calls {missing} of source {source} were: they are not among what was asked for"));
        }
    }
}

// === impl Manifest ===

impl Manifest {
    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != "agentgate evidence 1" {
            return None;
        }
        let (mut size, mut body_bytes_max, mut records) = (None, None, None);
        for (name, value) in lines.filter_map(|line| line.split_once(' ')) {
            match name {
                "size" => size = value.parse().ok(),
                "body_bytes_max" => body_bytes_max = value.parse().ok(),
                "records" => records = ranges_of(value),
                _ => {}
            }
        }
        Some(Self { size: size?, body_bytes_max: body_bytes_max?, records: records? })
    }
}

fn ranges_of(text: &str) -> Option<Vec<RangeInclusive<u64>>> {
    if text == "none" {
        return Some(Vec::new());
    }
    let range = |range: &str| {
        let (start, end) = range.split_once('-').unwrap_or((range, range));
        Some(start.parse().ok()?..=end.parse().ok()?)
    };
    text.split(',').map(range).collect()
}
