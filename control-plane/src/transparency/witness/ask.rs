//! One question to one witness: an old size, the proof from there, a checkpoint; and what each of its answers means.

use super::super::{Published, Transparency, TransparencyError};
use super::Witness;
use crate::clock::{Clock, micros};
use crate::journal::Journal as _;
use agentgate_core::time::Time;
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::note::{Note, NoteError, NoteSignature};
use agentgate_core::transparency::proof::Proof;
use agentgate_outbound::{Answer, SendError, StatusCode, answer};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// For one attempt, from the look-up of the name to the end of the answer.
pub(super) const ATTEMPT: Duration = Duration::from_secs(10);

/// Some signature lines of the longest names; more is no answer of a witness.
pub(super) const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Attempts of one round: the first may name an old size that the witness corrects, and a replica may come in between.
const ATTEMPTS_MAX: usize = 3;

/// How far the time of a cosignature may lie from this machine's clock, on either side: it is made when it is asked for, and clocks
/// that somebody sets agree within seconds. Whoever trusts its time later has no other clock to hold it against.
pub(super) const CLOCKS_APART: Duration = Duration::from_secs(600);

/// Why there is no cosignature.
#[derive(Debug, Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("it did not answer within {} s", ATTEMPT.as_secs())]
    Late,
    #[error("it does not know this log, or its key (404)")]
    Unknown,
    #[error("it does not believe this log's key (403)")]
    Unbelieved,
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its answer holds no cosignature by its own key")]
    Foreign,
    #[error("its cosignature does not hold")]
    Forged(#[source] NoteError),
    #[error(
        "its cosignature says that it was made at {said}, more than {} s {side} this machine's clock; set whichever of the two clocks is wrong",
        CLOCKS_APART.as_secs()
    )]
    Time { said: Time, side: &'static str },
    #[error("its answer is no text of a witness")]
    Form,
    #[error("it saw {0} records, and this replica has not read as many as yet")]
    Behind(u64),
    #[error("it names another size at each attempt")]
    Restless,
    #[error("no proof can be made for it")]
    Proof(#[from] TransparencyError),
    #[error("fork: {0}")]
    Fork(String),
    /// A fork as well: it remembers more than was ever signed here.
    #[error(
        "fork: the journal was rolled back, or somebody else has the log's key: it cosigned {saw} records, and only {signed} were ever signed here"
    )]
    RolledBack { saw: u64, signed: u64 },
}

/// Its cosignature of this checkpoint. `saw`: the size that it cosigned last; corrected to what it says.
pub(super) async fn cosignature(
    witness: &Witness,
    log: &Arc<Transparency>,
    clock: &Clock,
    checkpoint: &Published,
    saw: &mut u64,
) -> Result<NoteSignature, Trouble> {
    let new = checkpoint.size;
    for _ in 0..ATTEMPTS_MAX {
        let old = *saw;
        if old > new {
            return Err(ahead(log, old).await?);
        }
        let body = request(log, old, checkpoint).await?;
        let answer = post(witness, clock, body).await?;
        match answer.status {
            StatusCode::OK => return checked(witness, clock, checkpoint, &answer),
            StatusCode::CONFLICT => match size(&answer)? {
                // It was told the size that it names: what it disagrees with is the root.
                size if size == old && old > 0 => {
                    return Err(Trouble::Fork(format!("it cosigned another root over {old} records than this log has")));
                }
                size => *saw = size,
            },
            StatusCode::UNPROCESSABLE_ENTITY if old > 0 => {
                return Err(Trouble::Fork(format!(
                    "the {new} records of this log do not begin with the {old} that it cosigned, it says"
                )));
            }
            StatusCode::FORBIDDEN => return Err(Trouble::Unbelieved),
            StatusCode::NOT_FOUND => return Err(Trouble::Unknown),
            other => return Err(Trouble::Status(other)),
        }
    }
    Err(Trouble::Restless)
}

/// It saw more than this replica signed. A checkpoint is in the journal before anybody sees it: if there is no such one, this
/// log is not the one that it saw.
async fn ahead(log: &Transparency, saw: u64) -> Result<Trouble, Trouble> {
    let kept = log.journal.slot(super::super::checkpoint_slot()).await.map_err(TransparencyError::Read)?;
    let parsed = kept.and_then(|note| super::super::read(&log.trust, note).ok());
    let signed = parsed.map_or(0, |signed| signed.size);
    if saw <= signed {
        return Ok(Trouble::Behind(saw));
    }
    Ok(Trouble::RolledBack { saw, signed })
}

async fn request(log: &Arc<Transparency>, old: u64, checkpoint: &Published) -> Result<String, Trouble> {
    let (log, new) = (Arc::clone(log), checkpoint.size);
    // Tiles are read from a disk. From nothing there is nothing to be shown.
    let prove = move || if old == 0 { Ok(None) } else { log.consistency(old, new).map(Some) };
    let proof = tokio::task::spawn_blocking(prove).await.map_err(|_| Trouble::Form)??;
    let mut body = format!("old {old}\n");
    for hash in proof.iter().flat_map(Proof::hashes) {
        // Text grows, and growing cannot fail.
        let _ = writeln!(body, "{hash}");
    }
    body.push('\n');
    body.push_str(&without_cosignatures(&log_note(checkpoint)?));
    Ok(body)
}

fn log_note(checkpoint: &Published) -> Result<Note, Trouble> {
    Note::parse(&checkpoint.note).map_err(Trouble::Forged)
}

/// What the log itself signed: a witness need not carry what others said.
fn without_cosignatures(note: &Note) -> String {
    let origin = Checkpoint::parse(note.text()).map(|checkpoint| checkpoint.origin).ok();
    let mut own = Note::new(note.text()).unwrap_or_else(|_| note.clone());
    let by_log = note.signatures().iter().filter(|signature| origin.as_ref() == Some(&signature.by.name));
    by_log.cloned().for_each(|signature| drop(own.put(signature)));
    own.to_string()
}

async fn post(witness: &Witness, clock: &Clock, body: String) -> Result<Answer, Trouble> {
    let request = witness.target.post_below("add-checkpoint").body(body).map_err(SendError::Request)?;
    let deadline = clock.elapsed().saturating_add(ATTEMPT);
    let answered = clock.before(deadline, answer(&witness.target, request, ANSWER_BYTES_MAX)).await;
    Ok(answered.ok_or(Trouble::Late)??)
}

/// The size in a 409: a number, and its line's end.
fn size(answer: &Answer) -> Result<u64, Trouble> {
    if answer.content_type != "text/x.tlog.size" {
        return Err(Trouble::Form);
    }
    let text = std::str::from_utf8(&answer.body).map_err(|_| Trouble::Form)?;
    let digits = text.strip_suffix('\n').ok_or(Trouble::Form)?;
    let size: u64 = digits.parse().map_err(|_| Trouble::Form)?;
    if size.to_string() == digits { Ok(size) } else { Err(Trouble::Form) }
}

/// The cosignature by the key that we know, if it holds. What others say beside it is not ours to judge.
fn checked(witness: &Witness, clock: &Clock, checkpoint: &Published, answer: &Answer) -> Result<NoteSignature, Trouble> {
    let text = std::str::from_utf8(&answer.body).map_err(|_| Trouble::Form)?;
    let lines = text.strip_suffix('\n').ok_or(Trouble::Form)?;
    let parse = |(line, at): (&str, usize)| NoteSignature::parse(line, at).map_err(|_| Trouble::Form);
    let signatures = lines.split('\n').zip(1..).map(parse).collect::<Result<Vec<_>, _>>()?;
    let own = signatures.into_iter().find(|signature| signature.by == *witness.key.id()).ok_or(Trouble::Foreign)?;
    let mut note = Note::new(log_note(checkpoint)?.text()).map_err(Trouble::Forged)?;
    note.put(own.clone()).map_err(Trouble::Forged)?;
    match note.cosigned_by(&witness.key) {
        Ok(Some(at_s)) => timely(Time::from_micros(at_s.saturating_mul(1_000_000)), clock.now()).map(|()| own),
        Ok(None) => Err(Trouble::Foreign),
        Err(error) => Err(Trouble::Forged(error)),
    }
}

fn timely(said: Time, now: Time) -> Result<(), Trouble> {
    let apart_us = micros(CLOCKS_APART);
    let (ahead_us, behind_us) = (said.micros_since(now), now.micros_since(said));
    match (ahead_us > apart_us, behind_us > apart_us) {
        (true, _) => Err(Trouble::Time { said, side: "ahead of" }),
        (_, true) => Err(Trouble::Time { said, side: "behind" }),
        (false, false) => Ok(()),
    }
}
