//! A log that somebody serves over HTTP: all of its files are read, and judged as those of an exported one.
//!
//! The server is believed no more than a file. It is asked only for what a signed checkpoint says that there is, and each
//! answer is exactly as long as it must be. No redirect is followed.

use super::exported::{self, CHECKPOINT, files};
use super::report::Report;
use super::{Question, audited, unjudged};
use crate::failure::{Exit, Failure};
use crate::file::{Unreadable, read};
use crate::output::Desk;
use agentgate_core::transparency::claim::NotShown;
use agentgate_core::transparency::note::NOTE_BYTES_MAX;
use agentgate_core::transparency::verify::Audit;
use agentgate_outbound::{Plain, Roots, SendError, StatusCode, Target, TargetError, answer};
use rustls::time_provider::DefaultTimeProvider;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::task::JoinSet;

/// The checkpoint that witnesses cosigned, beside the newest one.
const WITNESSED: &str = "checkpoint/witnessed";

/// For one file, from the look-up of the name to its last byte.
const FILE_MAX: Duration = Duration::from_secs(20);

/// For all files of a log: the largest one needs two megabytes a second. A server that takes its time with each file would be waited
/// for for days.
pub(super) const LOG_MAX: Duration = Duration::from_secs(60 * 60);

/// Files that are asked for at once: a server of ours answers twice as many.
const AT_ONCE_MAX: usize = 8;

/// The largest log that is read: all of it lies on this machine's disk for a while, 110 bytes a record.
const RECORDS_MAX: u64 = 1 << 26;

/// The largest file of roots: those that systems come with have a tenth of that.
pub(super) const ROOTS_BYTES_MAX: u64 = 4 << 20;

/// How a log is read that is too large, or comes too slowly.
const EXPORT: &str = "ask an operator for `agentgate log export DIR`, which goes on where it stopped, and verify DIR";

/// Files between two words about how far it is.
const FILES_TOLD: usize = 64;

#[derive(Debug, Error)]
pub enum FetchError {
    #[error("`--log`: {0}; write e.g. `https://log.example`")]
    Target(#[from] TargetError),
    #[error("`--roots`: {0}")]
    Roots(#[from] Unreadable),
    #[error("`{file}` of the log cannot be had")]
    Send { file: String, source: SendError },
    #[error("`{file}` of the log did not come within {} s", FILE_MAX.as_secs())]
    Late { file: String },
    #[error("`{file}` of the log cannot be had: the server answered {status}, and redirects are not followed")]
    Redirect { file: String, status: StatusCode },
    #[error("`{file}` of the log cannot be had: the server answered {status}")]
    Status { file: String, status: StatusCode },
    #[error("`{file}` of the log has {found} bytes in place of {wanted}")]
    Length { file: String, found: usize, wanted: usize },
    #[error("the log has {0} records, and at most {RECORDS_MAX} are read over HTTP; let it be exported")]
    Records(u64),
    #[error("the log's files did not all come within {} s", .0.as_secs())]
    Overdue(Duration),
    #[error("`{file}` cannot be kept for the while")]
    Keep { file: String, source: io::Error },
}

/// The server, and where its files lie meanwhile.
#[derive(Clone)]
struct Source {
    target: Arc<Target>,
    directory: Arc<tempfile::TempDir>,
}

/// Reads all of it, and says what can be said.
pub(super) async fn judge(
    url: &str,
    roots: Option<&Path>,
    question: &Question,
    older: Vec<Vec<u8>>,
    log_max: Duration,
    desk: &mut Desk<'_>,
) -> Result<Report, Failure> {
    let source = Source::open(url, roots).map_err(failed)?;
    // The older one first: what comes second is at least as long.
    let witnessed = source.note(WITNESSED).await.map_err(failed)?;
    let missing = || FetchError::Status { file: CHECKPOINT.into(), status: StatusCode::NOT_FOUND };
    let newest = source.note(CHECKPOINT).await.map_err(failed)?.ok_or_else(missing).map_err(failed)?;
    source.keep(CHECKPOINT, &newest).map_err(failed)?;
    // Of a checkpoint that the log did not sign nothing is asked for.
    let signed = question.trust.check(&newest).ok();
    if let Some(signed) = &signed {
        let fetched = tokio::time::timeout(log_max, source.fetch(signed.checkpoint().size, desk)).await;
        fetched.map_err(|_| failed(FetchError::Overdue(log_max)))??;
    }
    let asked = signed.as_ref().is_some_and(|signed| signed.quorum() > 0);
    let had = older.iter().filter_map(|note| Some(question.trust.check(note).ok()?.checkpoint().size)).collect();
    let all: Vec<_> = older.iter().cloned().chain(witnessed.filter(|_| asked)).collect();
    let directory = source.directory.path();
    let judge = |audit: Audit<'_>| exported::served(directory, audit, &had);
    let checkpoint = directory.join(CHECKPOINT);
    let mut report = audited("log", &checkpoint, &question.trust, &newest, (&all, &[]), judge).map_err(unjudged)?;
    if older.is_empty() && !all.is_empty() {
        // What witnesses saw is of the same day.
        report.not_shown(NotShown::Older.to_string());
    }
    Ok(report)
}

fn failed(error: FetchError) -> Failure {
    let exit = match &error {
        FetchError::Target(_) | FetchError::Roots(_) => Exit::Usage,
        FetchError::Keep { .. } => Exit::Local,
        FetchError::Records(_) | FetchError::Length { .. } => Exit::Refused,
        FetchError::Send { .. }
        | FetchError::Late { .. }
        | FetchError::Overdue(_)
        | FetchError::Redirect { .. }
        | FetchError::Status { .. } => Exit::Unreachable,
    };
    if matches!(error, FetchError::Overdue(_)) {
        return Failure::new(exit, error).then(EXPORT);
    }
    let is_elsewhere = exit == Exit::Unreachable;
    let failure = Failure::new(exit, error);
    if is_elsewhere { failure.then("is it the address below which the log's `checkpoint` lies?") } else { failure }
}

// === impl Source ===

impl Source {
    fn open(url: &str, roots: Option<&Path>) -> Result<Self, FetchError> {
        let pem = roots.map(|path| read(path, ROOTS_BYTES_MAX).map(|bytes| (path, bytes))).transpose()?;
        let roots = pem.as_ref().map_or(Roots::System, |(path, bytes)| Roots::Pem(path, bytes));
        let target = Target::trusting(url, Plain::Anywhere, roots, Arc::new(DefaultTimeProvider))?;
        let kept = |source| FetchError::Keep { file: "a directory of our own".into(), source };
        let directory = tempfile::Builder::new().prefix("agentgate-log-").tempdir().map_err(kept)?;
        Ok(Self { target: Arc::new(target), directory: Arc::new(directory) })
    }

    /// A note; none where the server has none.
    async fn note(&self, file: &str) -> Result<Option<Vec<u8>>, FetchError> {
        match self.get(file, NOTE_BYTES_MAX).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(FetchError::Status { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn fetch(&self, size: u64, desk: &mut Desk<'_>) -> Result<(), Failure> {
        if size > RECORDS_MAX {
            return Err(failed(FetchError::Records(size)));
        }
        let (mut files_there, all) = (0_usize, files(size).count());
        let mut wanted = files(size);
        let mut asked = JoinSet::new();
        loop {
            while asked.len() < AT_ONCE_MAX
                && let Some((file, bytes)) = wanted.next()
            {
                let source = self.clone();
                asked.spawn(async move { source.file(&file, bytes).await });
            }
            match asked.join_next().await {
                None => break,
                Some(Ok(fetched)) => fetched.map_err(failed)?,
                Some(Err(error)) => return Err(Failure::new(Exit::Local, error)),
            }
            files_there = files_there.saturating_add(1);
            if files_there.is_multiple_of(FILES_TOLD) {
                desk.progress(&format!("{files_there} of {all} files"))?;
            }
        }
        desk.progress_over()
    }

    async fn file(&self, file: &str, wanted: usize) -> Result<(), FetchError> {
        let bytes = self.get(file, wanted).await?;
        if bytes.len() != wanted {
            return Err(FetchError::Length { file: file.into(), found: bytes.len(), wanted });
        }
        self.keep(file, &bytes)
    }

    async fn get(&self, file: &str, bytes_max: usize) -> Result<Vec<u8>, FetchError> {
        let named = || file.to_owned();
        let unsent = |source| FetchError::Send { file: named(), source };
        let request = self.target.get_below(file).body(String::new()).map_err(SendError::Request).map_err(unsent)?;
        let answered = tokio::time::timeout(FILE_MAX, answer(&self.target, request, bytes_max)).await;
        let answer = answered.map_err(|_| FetchError::Late { file: named() })?.map_err(unsent)?;
        match answer.status {
            StatusCode::OK => Ok(answer.body.to_vec()),
            status if status.is_redirection() => Err(FetchError::Redirect { file: named(), status }),
            status => Err(FetchError::Status { file: named(), status }),
        }
    }

    /// Paths are made here and not by the server.
    fn keep(&self, file: &str, bytes: &[u8]) -> Result<(), FetchError> {
        let path = self.directory.path().join(file);
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, bytes));
        written.map_err(|source| FetchError::Keep { file: file.into(), source })
    }
}
