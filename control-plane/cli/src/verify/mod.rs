//! `agentgate verify`: what somebody may conclude who has public keys and files, and asks nobody.
//!
//! It believes no name in a file: keys come from the command line. It opens no connection but to a log that it is to read, and
//! believes that no more than a file. It says what was shown, what was
//! wrong, and what nothing shows; it never turns the last into the first.

pub(crate) mod apart;
mod exported;
mod fetched;
mod foreign;
mod given;
pub(crate) mod growth;
mod manifest;
mod missing;
pub(crate) mod older;
mod outside;
mod pack;
pub(crate) mod proof;
mod purged;
mod redecide;
mod remade;
mod report;
mod shape;
mod stored;

#[cfg(test)]
pub(crate) mod tests;

use crate::failure::{Exit, Failure};
use crate::file::{self, Unreadable};
use crate::output::Desk;
use crate::pack::{NOTE_FILE, PACK_FILE, PDF_FILE, REPORT_FILE};
use crate::text::shell_word;
use agentgate_core::error::chain;
use agentgate_core::transparency::key::{KeyError, VerifierKey};
use agentgate_core::transparency::note::{NOTE_BYTES_MAX, NoteError};
use agentgate_core::transparency::trust::{Trust, TrustError};
use agentgate_core::transparency::verify::Audit;
use clap::Args;
use std::path::{Path, PathBuf};

pub(crate) use exported::{CHECKPOINT, files, judge as judge_exported};
pub use fetched::FetchError;
pub use growth::GrowthFile;
pub use proof::ProofFile;
pub use report::Report;
pub(crate) use shape::unread as bundles;

#[derive(Debug, Args)]
pub struct Arguments {
    /// A proof file (of a record, or of the log's growth), or the directory of an exported log or of an evidence pack
    #[arg(value_name = "PATH", required_unless_present = "log")]
    path: Option<PathBuf>,
    /// A log that is served over HTTP, by the address below which its `checkpoint` lies: all of it is read
    #[arg(long, value_name = "URL", conflicts_with = "path")]
    log: Option<String>,
    /// Roots to trust for an https address; without it those of the system
    #[arg(long, value_name = "PEM", requires = "log")]
    roots: Option<PathBuf>,
    /// A verifier key of the log, as `agentgate log show` prints it, and not the TLS key that `--key` is before the verb; several
    /// where the log changed its key
    #[arg(long, required = true, value_name = "VERIFIER")]
    key: Vec<String>,
    /// A witness's verifier key, which counts towards the quorum; without the quorum it does not hold
    #[arg(long, value_name = "VERIFIER")]
    witness: Vec<String>,
    /// How many of the witnesses must have seen the checkpoint; without it all of them
    #[arg(long, value_name = "N", requires = "witness")]
    quorum: Option<usize>,
    /// A checkpoint that was kept earlier, or a pack, a proof or an exported log that holds one: has the log only grown since?
    #[arg(long, visible_alias = "since", value_name = "CHECKPOINT")]
    older: Vec<PathBuf>,
    /// A proof that the log only grew since an older checkpoint, which `agentgate log prove --since` writes
    #[arg(long, value_name = "FILE", requires = "older", conflicts_with = "log")]
    growth: Vec<PathBuf>,
    /// Settle each decision of a pack again, from its recorded facts and its policy
    #[arg(long)]
    redecide: bool,
}

/// So begins what an operator's TLS key lies in, and no such file is larger.
const PEM: &[u8] = b"-----BEGIN ";
const PEM_BYTES_MAX: u64 = 64 << 10;

/// What is said where the log did not sign what all else would stand on, and of all else.
const BASELESS: &str = "nothing in it can be believed";
const UNSEEN: &str = "anything else of it: no record, no proof and nothing that was recorded was looked at";

/// Whom an auditor believes, and what he asks.
#[derive(Clone, Debug)]
pub struct Question {
    pub trust: Trust,
    /// The log's keys, which sign packs as well.
    pub keys: Vec<VerifierKey>,
    /// Who settles each decision again, where that is asked.
    pub(crate) redecide: Option<redecide::Settle>,
    /// That the log only grew between older checkpoints and this one.
    pub grown: Vec<GrowthFile>,
}

/// One who has the log's keys, and asks for no witness and nothing to be decided again.
pub(crate) fn question(written: &[String]) -> Result<Question, Failure> {
    let keys = keys(written)?;
    let trust = Trust::new(keys.clone()).map_err(|error| Failure::new(Exit::Usage, error))?;
    Ok(Question { trust, keys, redecide: None, grown: Vec::new() })
}

pub async fn run(arguments: &Arguments, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let question = question(&arguments.key)?;
    let trust = witnessed(question.trust, arguments)?;
    let grown = arguments.growth.iter().map(|path| GrowthFile::read(path)).collect::<Result<_, _>>().map_err(ungrown)?;
    let redecide = arguments.redecide.then_some(apart::apart as redecide::Settle);
    let question = Question { trust, redecide, grown, ..question };
    let older = arguments.older.iter().map(|path| older::read(path)).collect::<Result<Vec<_>, _>>().map_err(unheld)?;
    if let Some(url) = &arguments.log {
        let report = fetched::judge(url, arguments.roots.as_deref(), &question, older, fetched::LOG_MAX, desk).await?;
        return report.say(Path::new(url), desk);
    }
    let path = arguments.path.clone().unwrap_or_default();
    judge(&path, &question, &older).map_err(unjudged)?.say(&path, desk)
}

/// What can be said of what lies there.
///
/// # Errors
/// Where it cannot be read as anything that this program knows.
pub fn judge(path: &Path, question: &Question, older: &[Vec<u8>]) -> Result<Report, Unreadable> {
    let Question { trust, grown, .. } = question;
    if path.is_dir() && [NOTE_FILE, PACK_FILE].iter().any(|file| path.join(file).exists()) {
        let opened = pack::open(path, &question.keys)?;
        if let Some(report) = opened.baseless(trust) {
            return Ok(report);
        }
        let note = opened.checkpoint().to_vec();
        let judge = |audit: Audit<'_>| Ok(opened.judge(audit, &question.keys, question.redecide));
        return audited("pack", &path.join(PACK_FILE), trust, &note, (older, grown), judge);
    }
    if path.is_dir() {
        let checkpoint = path.join(exported::CHECKPOINT);
        if !checkpoint.exists() {
            return Err(Unreadable::Form { path: path.into() });
        }
        let note = note(&checkpoint)?;
        return audited("log", &checkpoint, trust, &note, (older, grown), |audit| exported::judge(path, audit));
    }
    if let Some(directory) = whole(path) {
        return Err(Unreadable::Part { path: path.into(), directory });
    }
    match ProofFile::read(path) {
        Err(Unreadable::Form { .. }) => {
            let own = GrowthFile::read(path)?;
            let (note, grown) = (own.checkpoint.clone(), [grown.as_slice(), &[own]].concat());
            let judge = |audit: Audit<'_>| Ok(Report::of(growth::WHAT, audit.conclude()));
            audited(growth::WHAT, path, trust, &note, (older, &grown), judge)
        }
        read => {
            let proof = read?;
            audited("proof", path, trust, &proof.checkpoint, (older, grown), |audit| Ok(proof.judge(audit)))
        }
    }
}

/// The directory of the pack or log that this is one file of.
fn whole(path: &Path) -> Option<PathBuf> {
    let (directory, name) = (path.parent()?, path.file_name()?);
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let of_pack = [PACK_FILE, NOTE_FILE, REPORT_FILE, PDF_FILE].iter().any(|file| name == *file);
    let is_part = of_pack && directory.join(PACK_FILE).exists() || name == exported::CHECKPOINT;
    (is_part && path.is_file()).then(|| directory.to_owned())
}

/// An audit of what this checkpoint is of; without one there is nothing to stand on.
fn audited(
    what: &'static str,
    path: &Path,
    trust: &Trust,
    note: &[u8],
    (older, grown): (&[Vec<u8>], &[GrowthFile]),
    judge: impl FnOnce(Audit<'_>) -> Result<Report, Unreadable>,
) -> Result<Report, Unreadable> {
    let mut audit = match Audit::of(trust, note) {
        Ok(audit) => audit,
        Err(TrustError::Note(source)) if !is_forged(&source) => {
            return Err(Unreadable::Checkpoint { path: path.into(), source });
        }
        Err(error) => {
            let mut report = Report::new(what);
            report.wrong(format!("{BASELESS}: {}", chain(&error)));
            report.not_shown(UNSEEN.into());
            return Ok(report);
        }
    };
    let held = growth::hold(&mut audit, trust, older, grown);
    let mut report = judge(audit)?;
    held.tell(&mut report);
    Ok(report)
}

fn is_forged(error: &NoteError) -> bool {
    match error {
        NoteError::Forged(_) => true,
        NoteError::Length(_)
        | NoteError::Encoding
        | NoteError::Control(_)
        | NoteError::Text
        | NoteError::Separator
        | NoteError::Unsigned
        | NoteError::Signatures
        | NoteError::Signature { .. }
        | NoteError::Name { .. }
        | NoteError::Algorithm(_)
        | NoteError::Time(_) => false,
    }
}

fn note(path: &Path) -> Result<Vec<u8>, Unreadable> {
    file::read(path, u64::try_from(NOTE_BYTES_MAX).unwrap_or(u64::MAX))
}

/// By those whom an auditor names, if he names any.
fn witnessed(trust: Trust, arguments: &Arguments) -> Result<Trust, Failure> {
    if arguments.witness.is_empty() {
        return Ok(trust);
    }
    let quorum = arguments.quorum.unwrap_or(arguments.witness.len());
    trust.witnessed_by(keys(&arguments.witness)?, quorum).map_err(|error| Failure::new(Exit::Usage, error))
}

fn keys(written: &[String]) -> Result<Vec<VerifierKey>, Failure> {
    written.iter().map(|text| VerifierKey::parse(text).map_err(|error| no_key(text, error))).collect()
}

/// What was given instead of a key, and where an auditor, who has no connection, gets one.
fn no_key(text: &str, error: KeyError) -> Failure {
    const NEXT: &str = "ask whoever runs the log for it: `agentgate log show` prints it there";
    if file::read(Path::new(text), PEM_BYTES_MAX).is_ok_and(|bytes| bytes.starts_with(PEM)) {
        let said = format!("`{text}` is a PEM file, as `--key` before the verb wants one, and no verifier key of a log");
        return Failure::new(Exit::Usage, said).then(NEXT);
    }
    if Path::new(text).is_file() {
        let said = format!("`{text}` is a file, and no verifier key; a key is given itself, and no file is read for one");
        return Failure::new(Exit::Usage, said)
            .then(format!("--key \"$(cat {})\", where the file holds the key", shell_word(text)));
    }
    let said = match &error {
        // Whoever wrote it so far meant a key.
        KeyError::Form | KeyError::Point(_) | KeyError::Hash(_) if text.matches('+').count() >= 2 => {
            "is no verifier key: it is cut short or mistyped"
        }
        KeyError::Name(_)
        | KeyError::Form
        | KeyError::SecretForm
        | KeyError::Algorithm(_)
        | KeyError::Point(_)
        | KeyError::Hash(_) => "is no verifier key",
    };
    Failure::new(Exit::Usage, format!("`{text}` {said}")).because(error).then(NEXT)
}

fn unjudged(error: Unreadable) -> Failure {
    let exit = match &error {
        Unreadable::Part { .. } | Unreadable::NoCheckpoint { .. } => Exit::Usage,
        Unreadable::File { .. }
        | Unreadable::Irregular { .. }
        | Unreadable::Crowded { .. }
        | Unreadable::Large { .. }
        | Unreadable::Many { .. }
        | Unreadable::Cut { .. }
        | Unreadable::Json { .. }
        | Unreadable::Twice { .. }
        | Unreadable::Form { .. }
        | Unreadable::Newer { .. }
        | Unreadable::Field { .. }
        | Unreadable::Checkpoint { .. }
        | Unreadable::Statement { .. }
        | Unreadable::Later { .. }
        | Unreadable::Named { .. }
        | Unreadable::Entry { .. }
        | Unreadable::Proof { .. }
        | Unreadable::Bundle { .. }
        | Unreadable::Unsigned { .. }
        | Unreadable::Missing { .. } => Exit::Local,
    };
    match next(&error) {
        Some(next) => Failure::new(exit, error).then(next),
        None => Failure::new(exit, error),
    }
}

/// What can be named instead of what is not there, or is nothing that this program knows.
fn next(error: &Unreadable) -> Option<&'static str> {
    let is_nothing = error.is_absent() || matches!(error, Unreadable::Form { .. });
    is_nothing
        .then_some("name a proof file, the directory of an evidence pack or of an exported log, or a served log with --log URL")
}

/// The same of what is to show that the log grew.
fn ungrown(error: Unreadable) -> Failure {
    const NEXT: &str = "name a file that `agentgate log prove --since CHECKPOINT --out FILE` wrote";
    if let Unreadable::Form { path } = &error {
        return Failure::new(Exit::Usage, format!("`{}` is no growth proof", path.display())).then(NEXT);
    }
    if error.is_absent() {
        return Failure::new(Exit::Local, error).then(NEXT);
    }
    unjudged(error)
}

/// The same of what is to hold an older checkpoint.
pub(crate) fn unheld(error: Unreadable) -> Failure {
    if error.is_absent() {
        let next = "name a checkpoint that was kept, or a pack, a proof or an exported log that holds one";
        return Failure::new(Exit::Local, error).then(next);
    }
    unjudged(error)
}
