//! `agentgate journal`: the files of an embedded journal, copied while a control plane writes them, put back, and checked.
//!
//! It asks no control plane, and it refuses to check files that one is writing.

pub mod backup;
pub mod check;
mod format;
mod walk;

use crate::failure::{Exit, Failure};
use crate::moment::counted;
use crate::output::Desk;
use crate::screen::{Palette, Screen};
use crate::table::Pairs;
use crate::text::escape;
use backup::BackupError;
use check::{Finding, Report};
use clap::{Args, Subcommand};
use format::Kind;
use serde_json::{Value, json};
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Findings that a person is shown; JSON has all.
const SHOWN: usize = 20;

/// What a copy never has.
const KEYS: &str = "data.key and log.key: keep both beside it, or no body of it opens and nothing is signed";

/// What has to be looked at before a control plane starts on a copy.
const RESTORED: [(&str, &str); 4] = [
    ("next: keys", "data.key as it was when the copy was made, and log.key"),
    ("next: log", "what was signed after the copy is not in it: go on under a new log.key"),
    ("next: orders", "purges since then are undone: order them again first, then holds, kills and modes"),
    ("all of it", "docs/operating.md, Restoring"),
];

/// What to name instead of a directory that is something else.
const NO_JOURNAL: &str = "name `directory` of the control plane's [journal], or what `agentgate journal backup` made";

const SPOILED: &str = "stop the control plane and restore a copy that is whole: agentgate journal restore COPY --to DIR";

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Copy a journal, also while its control plane runs
    Backup(BackupArguments),
    /// Put a copy into place, after checking it
    Restore(RestoreArguments),
    /// Read everything in a journal's files, and say what is not what was written
    Check(CheckArguments),
}

#[derive(Debug, Args)]
pub struct BackupArguments {
    /// The journal: `directory` in the control plane's [journal]
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Where to; a new or empty directory
    #[arg(value_name = "DIR")]
    to: PathBuf,
}

#[derive(Debug, Args)]
pub struct RestoreArguments {
    /// The copy
    #[arg(value_name = "DIR")]
    from: PathBuf,
    /// Where the journal shall be; a new or empty directory
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The journal, or a copy of one
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub fn run(verb: &Verb, desk: &mut Desk<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Backup(arguments) => {
            let BackupArguments { from, to } = arguments;
            let instant = watched(desk, |progress| backup::backup(from, to, progress))?.map_err(BackupError::into_failure)?;
            let report = look(to, desk)?;
            if !report.is_sound() {
                say(to, &report, desk)?;
                return Err(different(to, &report).then("look at the journal itself: agentgate status"));
            }
            let head = instant.head;
            let text = format!("Copied up to sequence {head} into {}, and checked\n", to.display());
            desk.answer(
                |screen| text + &notes(&[("not in it", KEYS)], screen),
                || json!({ "to": to.display().to_string(), "head": head }),
            )
        }
        Verb::Restore(arguments) => {
            let RestoreArguments { from, to } = arguments;
            let report = look(from, desk)?;
            if !report.is_sound() {
                say(from, &report, desk)?;
                return Err(different(from, &report)
                    .then("restore another copy; `agentgate journal check DIR` says whether one is whole"));
            }
            watched(desk, |progress| backup::restore(from, to, progress))?.map_err(BackupError::into_failure)?;
            let (head, at) = (report.head, to.display());
            desk.answer(
                |screen| format!("Restored up to sequence {head} into {at}\n") + &notes(&RESTORED, screen),
                || json!({ "to": at.to_string(), "head": head }),
            )
        }
        Verb::Check(arguments) => {
            let report = look(&arguments.directory, desk)?;
            say(&arguments.directory, &report, desk)?;
            if report.is_sound() { Ok(()) } else { Err(different(&arguments.directory, &report).then(SPOILED)) }
        }
    }
}

/// Reads a journal that nobody writes.
fn look(directory: &Path, desk: &mut Desk<'_>) -> Result<Report, Failure> {
    // Files from before there was a `form` are a journal, and what has no records is none.
    let records = directory.join(Kind::Records.noun());
    if let Err(error) = records.metadata()
        && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
    {
        let said = format!("`{}` is no journal: it has no `{}`", directory.display(), Kind::Records.noun());
        return Err(Failure::new(Exit::Local, said).because(error).then(NO_JOURNAL));
    }
    // A copy has no lock, and nobody who writes it.
    let lock = File::open(directory.join("lock")).ok();
    if let Some(Err(TryLockError::WouldBlock)) = lock.as_ref().map(File::try_lock) {
        let said = format!("a control plane has opened the journal `{}`", directory.display());
        return Err(Failure::new(Exit::Refused, said).then("stop it, or check a copy: agentgate journal backup"));
    }
    let report = watched(desk, |progress| Report::read(directory, progress))?;
    report.map_err(|error| Failure::new(Exit::Local, format!("cannot read `{}`", directory.display())).because(error))
}

/// Shows which file is read, where somebody watches.
fn watched<T>(desk: &mut Desk<'_>, work: impl FnOnce(&mut dyn FnMut(&Path)) -> T) -> Result<T, Failure> {
    let mut shown = Ok(());
    let done = work(&mut |path| {
        if shown.is_ok() {
            shown = desk.progress(&path.file_name().unwrap_or_default().to_string_lossy());
        }
    });
    shown.and_then(|()| desk.progress_over()).map(|()| done)
}

fn different(directory: &Path, report: &Report) -> Failure {
    let count = report.findings.len();
    let said =
        format!("`{}` is not what was written, in {count} {}", directory.display(), if count == 1 { "place" } else { "places" });
    Failure::new(Exit::Refused, said)
}

fn say(directory: &Path, report: &Report, desk: &mut Desk<'_>) -> Result<(), Failure> {
    desk.answer(|screen| render(report, screen), || to_json(directory, report))
}

/// What is to be minded, below what was done.
fn notes(notes: &[(&str, &str)], screen: &Screen) -> String {
    let mut pairs = Pairs::new(screen);
    notes.iter().for_each(|(name, note)| pairs.pair(name, Palette::Waiting, note));
    pairs.finish()
}

fn render(report: &Report, screen: &Screen) -> String {
    let line = |finding: &Finding, palette| {
        let said = format!("{} at byte {}: {}", finding.file.display(), finding.byte, finding.what);
        format!("{}\n", screen.paint(palette, &escape(&said, screen.charset)))
    };
    let mut text = String::new();
    report.findings.iter().take(SHOWN).for_each(|finding| text += &line(finding, Palette::Bad));
    if report.findings.len() > SHOWN {
        text += &format!("and {} more; --output json has all\n", report.findings.len() - SHOWN);
    }
    report.notes.iter().take(SHOWN).for_each(|note| text += &line(note, Palette::Waiting));
    text += &format!(
        "{} in {} and {}, {} and {} discarded, {} given back, {}\n",
        counted(report.head, "record"),
        counted(report.streams, "stream"),
        counted(report.groups, "group"),
        if report.bodies == 1 { "1 body".to_owned() } else { format!("{} bodies", report.bodies) },
        report.discarded,
        counted(report.segments_removed, "segment"),
        counted(report.slots, "slot"),
    );
    if report.is_sound() {
        text += &format!("{}\n", screen.paint(Palette::Good, "All of it is what was written"));
    }
    text
}

fn to_json(directory: &Path, report: &Report) -> Value {
    let each = |findings: &[Finding]| {
        let one =
            |finding: &Finding| json!({ "file": finding.file.display().to_string(), "byte": finding.byte, "what": finding.what });
        findings.iter().map(one).collect::<Vec<_>>()
    };
    json!({
        "journal": directory.display().to_string(),
        "sound": report.is_sound(),
        "head": report.head,
        "streams": report.streams,
        "groups": report.groups,
        "bodies": report.bodies,
        "discarded": report.discarded,
        "segments_removed": report.segments_removed,
        "slots": report.slots,
        "findings": each(&report.findings),
        "notes": each(&report.notes),
    })
}

// === impl BackupError ===

impl BackupError {
    fn into_failure(self) -> Failure {
        match self {
            BackupError::NoJournal(_) => {
                Failure::new(Exit::Refused, self).then("give `directory` in the control plane's [journal]")
            }
            BackupError::Unfinished(_) => {
                Failure::new(Exit::Refused, self).then("make that copy again, into a new directory, from what it was copied from")
            }
            BackupError::NotEmpty(_) => Failure::new(Exit::Refused, self).then("name a new directory"),
            BackupError::Busy(_) => Failure::new(Exit::Refused, self).then("wait for it and try again"),
            BackupError::Damaged { .. } => Failure::new(Exit::Refused, self).then("agentgate status tells more"),
            BackupError::Io { .. } => Failure::new(Exit::Local, self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Finding, KEYS, RESTORED, Report, SPOILED, different, look, notes, render, watched};
    use crate::failure::Exit;
    use crate::output::{Desk, Output};
    use crate::screen::{Charset, Screen};
    use agentgate_core::time::Time;
    use std::path::Path;

    const SCREEN: Screen = Screen { color: false, charset: Charset::Unicode, columns: 120, terminal: false };

    #[test]
    fn findings_come_before_counts_and_each_count_has_its_number() {
        let finding = || Finding { file: "records/records-1".into(), byte: 7, what: "it is torn".into() };
        for (number, findings, wanted) in [
            (1, vec![], "1 record in 1 stream and 1 group, 1 body and 1 discarded, 1 segment given back, 1 slot\nAll of it"),
            (
                2,
                vec![finding()],
                "records/records-1 at byte 7: it is torn\n2 records in 2 streams and 2 groups, 2 bodies and 2 discarded, 2 segments given back, 2 slots\n",
            ),
        ] {
            let report = Report {
                head: number,
                streams: number,
                groups: number,
                bodies: number,
                discarded: number,
                segments_removed: number,
                slots: number,
                findings,
                ..Report::default()
            };
            let text = render(&report, &SCREEN);
            assert!(text.starts_with(wanted), "{text}");
        }
        let report = Report { findings: vec![finding()], ..Report::default() };
        assert_eq!(different(Path::new("x"), &report).then(SPOILED).next().len(), 1);
    }

    #[test]
    fn what_is_read_is_shown_over_what_was_read_before_and_taken_away_again() {
        let live = Screen { color: true, terminal: true, ..SCREEN };
        for (screen, output, shown) in [
            (live, Output::Table, "\r\x1b[2K\x1b[2ma-long-name\x1b[0m\r\x1b[2K\x1b[2mb\x1b[0m\r\x1b[2K"),
            (SCREEN, Output::Table, ""),
            (live, Output::Json, ""),
        ] {
            let mut out = Vec::new();
            let mut desk = Desk { screen, output, now: Time::from_micros(0), out: &mut out, person: None };
            let read = |progress: &mut dyn FnMut(&Path)| ["records/a-long-name", "b"].map(|path| progress(Path::new(path)));
            watched(&mut desk, read).expect("written");
            assert_eq!(String::from_utf8(out).expect("text"), shown, "{output:?}");
        }
    }

    #[test]
    fn what_has_no_records_is_no_journal() {
        let directory = tempfile::tempdir().expect("a directory");
        for path in [directory.path().to_owned(), directory.path().join("nothing")] {
            let mut out = Vec::new();
            let mut desk = Desk { screen: SCREEN, output: Output::Table, now: Time::from_micros(0), out: &mut out, person: None };
            let failure = look(&path, &mut desk).expect_err("no journal");
            assert!(
                failure.exit == Exit::Local && failure.chain()[0].ends_with("is no journal: it has no `records`"),
                "{failure:?}"
            );
            assert_eq!(failure.next().len(), 1);
        }
    }

    #[test]
    fn what_is_not_in_a_copy_is_said_of_it() {
        let copied = notes(&[("not in it", KEYS)], &SCREEN);
        assert!(copied.contains("data.key and log.key"), "{copied}");
        let restored = notes(&RESTORED, &SCREEN);
        for said in ["data.key as it was", "under a new log.key", "purges since then are undone", "docs/operating.md"] {
            assert!(restored.contains(said), "{said} in {restored}");
        }
    }
}
