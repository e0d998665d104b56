//! An evidence pack: the signature over its files, the list of its records, each record's place in the log, and each body
//! against what its record committed to.

use super::manifest::{Asked, Manifest};
use super::purged::Purged;
use super::report::{Of, Report};
use super::shape;
use super::stored::Stored;
use super::{BASELESS, UNSEEN, given, missing, outside, redecide, remade};
use crate::file::Unreadable;
use crate::pack::{Beside, Body, NOTE_FILE, Named, PACK_FILE, Pack, Packed, files};
use agentgate_core::error::chain;
use agentgate_core::transparency::key::VerifierKey;
use agentgate_core::transparency::note::{Note, NoteError};
use agentgate_core::transparency::tree::Hash;
use agentgate_core::transparency::trust::Trust;
use agentgate_core::transparency::verify::Audit;
use agentgate_proto::v1;
use agentgate_proto::v1::record::What;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::collections::BTreeSet;
use std::path::Path;

/// A pack that was read, before anything is said of it.
pub(super) struct Opened {
    pub(super) pack: Pack,
    beside: Beside,
    named: Named,
    report: Report,
}

/// Reads the files that the note names, and says which are others.
pub(super) fn open(directory: &Path, keys: &[VerifierKey]) -> Result<Opened, Unreadable> {
    let mut report = Report::new("pack");
    let named = Named::read(directory).map_err(|error| match error {
        error if error.is_absent() => Unreadable::Unsigned { path: directory.into(), note: NOTE_FILE },
        error => error,
    })?;
    signed(&named.note, keys, "the files of the pack", (&named.by, &named.at), &mut report);
    for name in named.foreign() {
        report.wrong(format!("`{name}` was signed and is no file of a pack"));
    }
    // Read once: what is judged are the bytes whose digest was compared.
    let mut pack = None;
    for (name, digest) in named.files.iter().filter(|(name, _)| named.foreign().all(|foreign| foreign != *name)) {
        let found = match files::file(directory, name) {
            Ok(bytes) => {
                if files::digest(&bytes) != *digest {
                    report.wrong(format!("`{name}` is not the file that was signed"));
                }
                Ok(bytes)
            }
            Err(error) if error.is_absent() => {
                report.wrong(format!("the pack lacks `{name}`, which was signed"));
                Err(error)
            }
            Err(error) => return Err(error),
        };
        if name == PACK_FILE {
            pack = Some(found);
        }
    }
    if !named.files.contains_key(PACK_FILE) {
        report.wrong(format!("`{PACK_FILE}` is not among the files that were signed"));
    }
    if report.holds() {
        report.shown_of(named.files.len(), "1 file is, byte for byte, the one that was signed", |files| {
            format!("{files} files are, byte for byte, those that were signed")
        });
    }
    for name in named.others(directory)? {
        report.wrong(format!("`{name}` lies in it and is no file of the pack"));
    }
    let path = directory.join(PACK_FILE);
    let pack = pack.unwrap_or_else(|| files::file(directory, PACK_FILE));
    match pack.and_then(|bytes| Pack::read(&path, &bytes)) {
        Ok((pack, beside)) => Ok(Opened { pack, beside, named, report }),
        // It is not the file that was signed: that is what is wrong with it first, and why nothing more is said of it comes after.
        Err(error) if !report.holds() => {
            // That it is not there is said already.
            if !error.is_absent() {
                report.wrong(format!("nothing in `{PACK_FILE}` can be read: {}", chain(&error)));
            }
            Ok(Opened { pack: Pack::default(), beside: Beside::default(), named, report })
        }
        Err(error) => Err(error),
    }
}

/// Says who signed a note, and who asked for it and when; a note that nobody known signed is wrong.
fn signed(note: &Note, keys: &[VerifierKey], what: &str, (by, at): (&str, &str), report: &mut Report) -> bool {
    let signed: Result<Vec<bool>, NoteError> = keys.iter().map(|key| note.signed_by(key)).collect();
    match signed {
        Ok(signed) if signed.contains(&true) => {
            report.shown(format!("the log's key signed {what}; {by} asked for it at {}", at.replace('T', " ")));
            return true;
        }
        Ok(_) => report.wrong(format!("no key that was given signed {what}")),
        Err(error) => report.wrong(format!("what is signed of {what} does not hold: {error}")),
    }
    false
}

// === impl Opened ===

impl Opened {
    pub(super) fn checkpoint(&self) -> &[u8] {
        &self.pack.checkpoint
    }

    /// All that is said of one that is not what was signed, where it has no checkpoint to stand on either.
    pub(super) fn baseless(&self, trust: &Trust) -> Option<Report> {
        let error = Audit::of(trust, self.checkpoint()).err().filter(|_| !self.report.holds())?;
        let mut report = self.report.clone();
        if self.pack != Pack::default() {
            report.wrong(format!("{BASELESS}: {}", chain(&error)));
        }
        report.not_shown(UNSEEN.into());
        Some(report)
    }

    pub(super) fn judge(self, audit: Audit<'_>, keys: &[VerifierKey], again: Option<redecide::Settle>) -> Report {
        let Self { pack, beside, named, mut report } = self;
        let is_signed = report.holds();
        let (size, root) = (audit.signed().checkpoint().size, audit.signed().checkpoint().root);
        let manifest = manifest(&pack, keys, &mut report);
        if let Some(manifest) = &manifest {
            list(&pack, manifest, size, &named, &mut report);
        }
        let proved = included(&pack, size, root, &mut report);
        let stored = as_stored(&pack, &mut report);
        // Where two records say that they are one, nobody knows of which of them it was shown.
        let twice = twice(&pack);
        let logged: BTreeSet<u64> = stored.intersection(&proved).copied().filter(|sequence| !twice.contains(sequence)).collect();
        let held = bodies(&pack, &Purged::of(&pack, &logged, size), &mut report);
        shape::bundles(&pack, &mut report);
        if let Some(manifest) = &manifest {
            given::judge(&pack, manifest.bodies.as_ref(), &mut report);
        }
        let asked = manifest.as_ref().and_then(|manifest| manifest.asked.as_ref());
        outside::judge(&pack, asked, &mut report);
        missing::judge(&pack, asked, size, &mut report);
        remade::judge(&pack, &beside, (&named, is_signed), &mut report);
        match again {
            None => {
                report.not_shown("that its decisions follow from their facts and policies: --redecide was not asked for".into());
            }
            // A policy is a program, and whoever may change the pack could have written it.
            Some(_) if !is_signed => {
                report.not_shown("that its decisions follow from their facts: its files are not those that were signed".into());
            }
            Some(settle) => {
                let body_bytes_max = manifest.as_ref().map(|manifest| manifest.body_bytes_max);
                redecide::judge(&pack, &redecide::Basis { logged, held }, body_bytes_max, settle, &mut report);
            }
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
    let manifest = Manifest::read(note.text());
    let (by, at) = manifest.as_ref().map_or(("", ""), |manifest| (&manifest.by, &manifest.at));
    if !signed(&note, keys, "the list of the records that it gave", (by, at), report) {
        report.not_shown("which records were given, and how: nobody known signed that list, and it was not looked at".into());
        return None;
    }
    let Some(manifest) = manifest else {
        report.wrong("the list of its records is none that this program knows".into());
        return None;
    };
    if !matches!(manifest.pii.as_str(), "" | "off") {
        report.shown(format!("what was asked of bodies: {}", manifest.pii));
    }
    if let Some(unmatched) = &manifest.unmatched {
        report.not_shown(format!("whose the erased records of that time were, which no name finds any longer: {unmatched}"));
    }
    let asked = manifest.asked.as_ref().map_or_else(|| manifest.scope.clone(), Asked::in_words);
    report.shown(format!("what was asked for: {asked}"));
    Some(manifest)
}

/// Holds what the control plane signed of the pack against the log, the records, and whoever had the files signed.
fn list(pack: &Pack, manifest: &Manifest, size: u64, named: &Named, report: &mut Report) {
    if manifest.size != size {
        report.wrong(format!("the list of records is of a log of {} records, and the checkpoint of {size}", manifest.size));
    }
    shape::records(pack, &manifest.records, report);
    if manifest.by != named.by {
        report.not_shown(format!(
            "that its files are of whoever gathered it: {} gathered it, and {} had its files signed",
            manifest.by, named.by
        ));
    }
}

/// Records whose proofs lead to the root.
fn included(pack: &Pack, size: u64, root: Hash, report: &mut Report) -> BTreeSet<u64> {
    let (mut proved, mut all) = (BTreeSet::new(), true);
    for packed in &pack.records {
        let entry = &packed.entry;
        match packed.proof.includes(entry.leaf_hash(), entry.index(), size, root) {
            Ok(()) => drop(proved.insert(entry.sequence)),
            Err(error) => {
                all = false;
                report.wrong_of(
                    "records whose proofs do not hold",
                    format!("the proof that record {} is in the log does not hold: {error}", entry.sequence),
                );
            }
        }
    }
    if all {
        report.shown_of(pack.records.len(), "its record is in the log that the checkpoint is of", |included| {
            format!("each of {included} records is in the log that the checkpoint is of")
        });
    }
    proved
}

const TAKEN_OUT_FOR_THE_PACK: [&str; 2] =
    ["what is personal was taken out of it for the pack", "what is personal was taken out of them for the pack"];
const TAKEN_OUT_WHEN_RECORDED: [&str; 2] = [
    "what is personal was taken out of it when it was recorded",
    "what is personal was taken out of them when they were recorded",
];

fn twice(pack: &Pack) -> BTreeSet<u64> {
    let mut once = BTreeSet::new();
    pack.records.iter().map(|packed| packed.entry.sequence).filter(|sequence| !once.insert(*sequence)).collect()
}

/// Records that are, byte for byte, those of the log.
fn as_stored(pack: &Pack, report: &mut Report) -> BTreeSet<u64> {
    let mut same = BTreeSet::new();
    let mut all = true;
    for packed in &pack.records {
        let sequence = packed.entry.sequence;
        let stored = Stored::of(&packed.entry, &packed.record);
        match stored {
            Stored::Same => {
                same.insert(sequence);
                continue;
            }
            Stored::Another | Stored::Unlike => report.wrong_of("records that are not those of the log", stored.said(sequence)),
            Stored::Unknown => report.not_shown(stored.said(sequence)),
        }
        all = false;
    }
    if all {
        let each = "each record is, byte for byte, the one that the log has";
        report.shown_of(pack.records.len(), "its record is, byte for byte, the one that the log has", |_| each.into());
    }
    same
}

/// Which bodies are what their records committed to.
fn bodies(pack: &Pack, purged: &Purged, report: &mut Report) -> BTreeSet<u64> {
    let (mut open, mut held, mut sealed) = (0_usize, BTreeSet::new(), 0_usize);
    for packed in &pack.records {
        let what = packed.what().map(|(_, what)| what);
        let (sequence, reference) = (packed.entry.sequence, what.as_ref().and_then(What::body_ref));
        match (&packed.body, reference) {
            (Body::None, None) => {}
            (Body::None, Some(_)) => report.wrong_of(
                "records with a body of which nothing is said",
                format!("record {sequence} has a body, and the pack says nothing of it"),
            ),
            (Body::Erased, Some(reference)) => purged.say(sequence, reference, report),
            (Body::Altered { .. }, Some(_)) => report.not_shown_of(sequence, Of::Commitment, TAKEN_OUT_FOR_THE_PACK),
            (Body::Sealed(kept), Some(reference)) if is_kept(kept, reference) => sealed = sealed.saturating_add(1),
            (Body::Sealed(_), Some(_)) => report.wrong_of(
                "sealed bodies that are not those that their records name",
                format!("the body of record {sequence} is not the one that it names"),
            ),
            (Body::Erased | Body::Open { .. } | Body::Altered { .. } | Body::Sealed(_), None) => {
                report
                    .wrong_of("bodies of records that have none", format!("record {sequence} has no body, and the pack has one"));
            }
            (Body::Open { salt, plain }, Some(reference)) => {
                open = open.saturating_add(1);
                if is_altered(packed) {
                    report.not_shown_of(sequence, Of::Call, TAKEN_OUT_WHEN_RECORDED);
                }
                if is_committed(salt, plain, &reference.commitment) && commitments(packed, salt) {
                    held.insert(sequence);
                } else {
                    report.wrong_of(
                        "bodies that are not what their records committed to",
                        format!("the body of record {sequence} is not what the record committed to"),
                    );
                }
            }
        }
    }
    if open == held.len() {
        report.shown_of(open, "1 body is what its record committed to", |open| {
            format!("each of {open} bodies is what its record committed to")
        });
    }
    report.shown_of(sealed, "1 sealed body is, byte for byte, the one that its record names", |sealed| {
        format!("each of {sealed} sealed bodies is, byte for byte, the one that its record names")
    });
    let sealed = match sealed {
        0 => return held,
        1 => "1 sealed body says".to_owned(),
        sealed => format!("{sealed} sealed bodies say"),
    };
    report.not_shown(format!("what {sealed}: `agentgate evidence open` asks whoever has the keys"));
    held
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
