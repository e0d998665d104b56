//! A snapshot of the index, so that a start opens no million of bodies: a file beside the configuration, sealed under a key of
//! the journal's keyring.
//!
//! It can be made again, and is believed only as a whole: missing, damaged, of another form, of another journal, or sealed under
//! a key that was forgotten since, it is as if there were none.

use super::Session;
use super::columns::{NAMES, Row};
use super::past::{self, PastError};
use crate::body::{Cipher, KEY_BYTES, KeyError, NONCE_BYTES, TAG_BYTES, Unsealed};
use crate::journal::Sequence;
use agentgate_core::digest::Digest;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use thiserror::Error;

/// Raised when rows, or what they are made of, change: an older file is then not read.
const FORM: &[u8] = b"agentgate traces 1\n";
const DIGEST_BYTES: usize = 32;
const HEAD_BYTES: usize = 8 + DIGEST_BYTES + 8;
const ROW_BYTES: usize = 8 + 8 + 4 * NAMES + 4 + 1 + 1;

/// Rows copied at once, while nobody else has the index.
const COPIED_ROWS: usize = 16_384;

/// The rows after `floor` and up to `reaches`, with every outcome up to there.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) reaches: Sequence,
    pub(super) floor: Sequence,
    pub(super) rows: Vec<Row>,
}

#[derive(Debug, Error)]
pub(super) enum SnapshotError {
    #[error("the file cannot be read or written")]
    File(#[from] std::io::Error),
    #[error("its key cannot be had")]
    Key(#[from] KeyError),
    #[error("the journal cannot be read")]
    Journal(#[from] PastError),
    #[error("it is no snapshot of this form")]
    Form,
    #[error("it is not what was written, or its key was forgotten")]
    Changed,
    #[error("it goes on after record {0}, which this journal has not")]
    OtherJournal(Sequence),
    #[error("{0}")]
    Failed(String),
}

/// None: there is none, or there is nothing to know.
pub(super) async fn read(session: &Session, file: &Path) -> Result<Option<Snapshot>, SnapshotError> {
    let cipher = session.bodies.derived_cipher().await?;
    let path = file.to_owned();
    let rows_max = session.limits.indexed_traces_max as usize;
    let opened = tokio::task::spawn_blocking(move || {
        let longest = FORM.len() + NONCE_BYTES + HEAD_BYTES + rows_max.saturating_mul(ROW_BYTES) + TAG_BYTES;
        match std::fs::metadata(&path) {
            Ok(found) if found.len() > longest as u64 => return Err(SnapshotError::Form),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        open(&cipher, &std::fs::read(&path)?).map(Some)
    });
    let Some((snapshot, last)) = opened.await.map_err(|error| SnapshotError::Failed(error.to_string()))?? else {
        return Ok(None);
    };
    if record_digest(session, snapshot.reaches).await? != Some(last) {
        return Err(SnapshotError::OtherJournal(snapshot.reaches));
    }
    Ok(Some(snapshot))
}

/// Everything up to `reaches` has been folded.
pub(super) async fn write(session: &Session, file: &Path, reaches: Sequence) -> Result<(), SnapshotError> {
    let _changing = session.changing.lock().await;
    let Some(last) = record_digest(session, reaches).await? else { return Ok(()) };
    let cipher = session.bodies.derived_cipher().await?;
    let random = session.bodies.random().map_err(SnapshotError::Failed)?;
    let mut floor = session.index().floor();
    let (mut rows, mut cursor) = (Vec::new(), floor);
    loop {
        let copied = session.index().copy(cursor, reaches, COPIED_ROWS);
        let Some(newest) = copied.last() else { break };
        cursor = newest.sequence;
        rows.extend(copied);
        tokio::task::yield_now().await;
    }
    // What left the index meanwhile may have left a gap.
    floor = floor.max(session.index().floor());
    rows.retain(|row| row.sequence > floor);
    let path = file.to_owned();
    let written = tokio::task::spawn_blocking(move || {
        let sealed = seal(&cipher, &random, &Snapshot { reaches, floor, rows }, &last).ok_or(SnapshotError::Form)?;
        let partial = path.with_extension("partial");
        write_alone(&partial, &sealed)?;
        Ok(std::fs::rename(&partial, &path)?)
    });
    written.await.map_err(|error| SnapshotError::Failed(error.to_string()))?
}

/// Readable by its owner alone. A file that is there may be readable by others, and would stay so.
fn write_alone(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    File::options().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

/// What tells this journal from another, or from an older copy that was written on.
async fn record_digest(session: &Session, sequence: Sequence) -> Result<Option<Digest>, PastError> {
    if sequence == 0 || sequence > session.bodies.journal().health().head {
        return Ok(None);
    }
    let record = past::range(&session.bodies, sequence, sequence.saturating_add(1)).await?;
    Ok(record.first().map(|record| Digest::of("agentgate/trace-snapshot/1", &record.bytes)))
}

fn seal(cipher: &Cipher, random: &[u8; KEY_BYTES], snapshot: &Snapshot, last: &Digest) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(HEAD_BYTES + snapshot.rows.len() * ROW_BYTES);
    plain.extend(snapshot.reaches.to_le_bytes());
    plain.extend(last.as_bytes());
    plain.extend(snapshot.floor.to_le_bytes());
    for row in &snapshot.rows {
        plain.extend(row.sequence.to_le_bytes());
        plain.extend(row.at_us.to_le_bytes());
        row.names.iter().for_each(|name| plain.extend(name.to_le_bytes()));
        plain.extend(row.took_us.to_le_bytes());
        plain.extend([row.outcome, row.marks]);
    }
    let sealed = cipher.seal(random.first_chunk().copied()?, FORM, &plain)?;
    Some([FORM, &sealed].concat())
}

fn open(cipher: &Cipher, sealed: &[u8]) -> Result<(Snapshot, Digest), SnapshotError> {
    let sealed = sealed.strip_prefix(FORM).ok_or(SnapshotError::Form)?;
    let plain = cipher.open(FORM, sealed).map_err(|why| match why {
        Unsealed::Short => SnapshotError::Form,
        Unsealed::Changed => SnapshotError::Changed,
    })?;
    let mut rest = plain.as_slice();
    let reaches = u64::from_le_bytes(take(&mut rest)?);
    let last: [u8; DIGEST_BYTES] = take(&mut rest)?;
    let last = Digest::try_from(&last[..]).map_err(|_| SnapshotError::Form)?;
    let floor = u64::from_le_bytes(take(&mut rest)?);
    let mut rows = Vec::with_capacity(rest.len() / ROW_BYTES);
    while !rest.is_empty() {
        let (sequence, at_us) = (u64::from_le_bytes(take(&mut rest)?), u64::from_le_bytes(take(&mut rest)?));
        let mut names = [0; NAMES];
        for name in &mut names {
            *name = u32::from_le_bytes(take(&mut rest)?);
        }
        let took_us = u32::from_le_bytes(take(&mut rest)?);
        let [outcome, marks] = take(&mut rest)?;
        rows.push(Row { sequence, at_us, names, took_us, outcome, marks });
    }
    Ok((Snapshot { reaches, floor, rows }, last))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], SnapshotError> {
    let (taken, left) = rest.split_first_chunk::<N>().ok_or(SnapshotError::Form)?;
    *rest = left;
    Ok(*taken)
}
