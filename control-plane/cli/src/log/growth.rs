//! `agentgate log prove --since`: that the log only grew from a checkpoint that somebody kept, in a file for whoever kept it.
//!
//! It writes no proof that does not hold, and never over a file: one that was given away may be all that an auditor has. Nobody's
//! signature is looked at: whoever checks it does that.

use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::output::Desk;
use crate::verify::{GrowthFile, older, unheld};
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::note::Note;
use agentgate_core::transparency::proof::Proof;
use serde_json::json;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// A checkpoint, and what it is called when something is wrong with it.
#[derive(Debug)]
pub(super) struct End {
    name: String,
    note: Vec<u8>,
    checkpoint: Checkpoint,
}

pub(super) async fn run(
    (since, until): (&Path, Option<&Path>),
    out: &Path,
    client: &Client,
    desk: &mut Desk<'_>,
) -> Result<(), Failure> {
    let old = End::kept(since)?;
    let new = match until {
        Some(path) => End::kept(path)?,
        None => newest(client).await?,
    };
    check(&old, &new)?;
    let answer = client.prove_consistency(old.checkpoint.size, new.checkpoint.size).await?;
    let unusable = || Failure::new(Exit::Unreachable, "the control plane's answer holds no proof of these sizes");
    if answer.new_size != new.checkpoint.size {
        return Err(unusable());
    }
    let proof = Proof::decode(&answer.hashes.concat()).map_err(|error| unusable().because(error))?;
    let growth = made(&old, new, proof, out)?;
    put(out, &format!("{:#}\n", growth.to_json()))?;
    let (out, since, GrowthFile { old_size, new_size, .. }) = (out.display(), since.display(), &growth);
    let said = format!(
        "Wrote {out}, which shows that {old_size} entries grew to {new_size}; check it with `agentgate verify {out} --key VERIFIER --older {since}`\n"
    );
    desk.answer(|_| said, || json!({ "old_size": old_size, "new_size": new_size, "out": out.to_string() }))
}

async fn newest(client: &Client) -> Result<End, Failure> {
    let log = super::signed(client).await?;
    End::of("the log".into(), log.checkpoint.to_vec())
        .ok_or_else(|| Failure::new(Exit::Unreachable, "the control plane's answer holds no checkpoint"))
}

/// Refuses what nothing can show.
pub(super) fn check(old: &End, new: &End) -> Result<(), Failure> {
    let (from, to) = (&old.checkpoint, &new.checkpoint);
    if from.origin != to.origin {
        let said = format!("{} is of the log `{}`, and {} is of `{}`", old.name, from.origin, new.name, to.origin);
        return Err(Failure::new(Exit::Refused, said));
    }
    if from.size > to.size {
        let said = format!("{} is of {} entries, and {} of {}: no log grows so", old.name, from.size, new.name, to.size);
        return Err(
            Failure::new(Exit::Refused, said).then("name the older one with --since; a log that is smaller was rolled back")
        );
    }
    Ok(())
}

/// The proof, which leads from one root to the other.
pub(super) fn made(old: &End, new: End, proof: Proof, out: &Path) -> Result<GrowthFile, Failure> {
    let (from, to) = (&old.checkpoint, &new.checkpoint);
    proof.extends((from.size, from.root), (to.size, to.root)).map_err(|error| {
        let said = format!("{} did not grow to {}: this log was rewritten, or is another one", old.name, new.name);
        Failure::new(Exit::Refused, said).because(error).then("keep both: they show what was signed")
    })?;
    let (old_size, new_size) = (from.size, to.size);
    Ok(GrowthFile { path: out.into(), old_size, new_size, checkpoint: new.note, proof })
}

/// Where no file is.
pub(super) fn put(out: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error| super::unwritten(out, error);
    let mut file = File::create_new(out).map_err(failed)?;
    // What is cut short is no proof, and would keep the next one from its place.
    file.write_all(text.as_bytes()).inspect_err(|_| drop(std::fs::remove_file(out))).map_err(failed)
}

// === impl End ===

impl End {
    pub(super) fn kept(path: &Path) -> Result<Self, Failure> {
        let note = older::read(path).map_err(unheld)?;
        Self::of(format!("`{}`", path.display()), note)
            .ok_or_else(|| Failure::new(Exit::Local, format!("`{}` holds no checkpoint", path.display())))
    }

    pub(super) fn of(name: String, note: Vec<u8>) -> Option<Self> {
        let checkpoint = Checkpoint::parse(Note::parse(&note).ok()?.text()).ok()?;
        Some(Self { name, note, checkpoint })
    }
}
