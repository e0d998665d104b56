//! `agentgate evidence list`: every pack of an archive, checked with public keys alone. It asks nobody.

use super::archive::{ArchiveError, PART, Whole, is_there};
use crate::failure::{Exit, Failure};
use crate::moment::counted;
use crate::output::Desk;
use crate::pack::{Named, files};
use crate::screen::{Palette, Screen};
use crate::text::{escape, fitted};
use crate::verify::{self, Question, Report};
use agentgate_core::error::chain;
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::FileType;
use std::path::{Path, PathBuf};
use unicode_width::UnicodeWidthStr as _;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// A verifier key of the log, as `agentgate log show` prints it, and not the TLS key that `--key` is before the verb; several
    /// where the log changed its key
    #[arg(long, required = true, value_name = "VERIFIER")]
    key: Vec<String>,
}

/// Below a pack's state.
const INDENT: &str = "       ";
const GAP: &str = "  ";

/// Sentences about what is not shown that a person is told; JSON has all.
const SENTENCES_SHOWN: usize = 40;

/// What lies in an archive under one name.
#[derive(Debug)]
pub(super) struct Archived {
    pub(super) name: String,
    pub(super) at: String,
    pub(super) by: String,
    pub(super) report: Report,
}

pub(super) fn run(arguments: &Arguments, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let question = verify::question(&arguments.key)?;
    let all = read(&arguments.archive, &question)?;
    let spoiled = all.iter().filter(|archived| !archived.report.holds()).count();
    let json = || json!({ "archive": arguments.archive.display().to_string(), "packs": all.iter().map(Archived::to_json).collect::<Vec<_>>() });
    desk.answer(|screen| render(&all, screen), json)?;
    if spoiled == 0 {
        return Ok(());
    }
    let hold = if spoiled == 1 { "does not hold" } else { "do not hold" };
    let said = format!("{spoiled} of {} in {} {hold}", all.len(), arguments.archive.display());
    Err(Failure::new(Exit::Refused, said).then("keep it as it is; `agentgate verify` says more of each"))
}

pub(super) fn read(archive: &Path, question: &Question) -> Result<Vec<Archived>, Failure> {
    let failed = |error| {
        let failure = Failure::new(Exit::Local, format!("cannot read {}", archive.display())).because(error);
        failure.then("name the directory that `agentgate evidence archive` put packs into")
    };
    let mut names = Vec::new();
    for found in std::fs::read_dir(archive).map_err(failed)? {
        let name = found.map_err(failed)?.file_name();
        let text = name.to_string_lossy();
        if !(text.starts_with('.') && text.ends_with(PART)) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names.iter().map(|name| Archived::of(archive, Path::new(name), question)).collect())
}

pub(super) fn render(all: &[Archived], screen: &Screen) -> String {
    if all.is_empty() {
        return "The archive holds no pack\n".into();
    }
    let spoiled = all.iter().filter(|archived| !archived.report.holds()).count();
    let count = counted(u64::try_from(all.len()).unwrap_or(u64::MAX), "pack");
    let state = if spoiled == 0 { "none of it wrong".to_owned() } else { format!("{spoiled} wrong") };
    let text: String = all.iter().map(|archived| entry(archived, screen)).collect();
    format!("{text}{count}, {state}\n{}", unshown(all, screen))
}

/// What nothing shows, each sentence once with the packs of which it is said.
fn unshown(all: &[Archived], screen: &Screen) -> String {
    let mut said: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for archived in all {
        archived.report.folded_not_shown().into_iter().for_each(|not| said.entry(not).or_default().push(&archived.name));
    }
    if said.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}\n", screen.paint(Palette::Waiting, "Not shown"));
    for (not, names) in said.iter().take(SENTENCES_SHOWN) {
        let line = if names.len() == all.len() { not.clone() } else { format!("{not}: {}", of(names)) };
        for line in fitted(&escape(&line, screen.charset), usize::from(screen.columns).saturating_sub(GAP.len()), screen) {
            text += &format!("{GAP}{line}\n");
        }
    }
    if said.len() > SENTENCES_SHOWN {
        text += &format!("{GAP}and {} more; --output json has all\n", said.len() - SENTENCES_SHOWN);
    }
    text
}

fn of(names: &[&str]) -> String {
    match names {
        [first] => format!("of {first}"),
        [first, more @ ..] => format!("of {first} and {} more", more.len()),
        [] => String::new(),
    }
}

/// A pack by its whole name, which is what `open` and `verify` take; the rest below it where it does not fit beside it.
fn entry(archived: &Archived, screen: &Screen) -> String {
    let (palette, state) = if archived.report.holds() { (Palette::Good, "holds") } else { (Palette::Bad, "wrong") };
    let escaped = |text: &str| escape(text, screen.charset);
    let name = escaped(&archived.name);
    let signed: Vec<String> =
        [&archived.at, &archived.by].into_iter().filter(|text| !text.is_empty()).map(|text| escaped(text)).collect();
    let signed = signed.join(" ");
    let columns = usize::from(screen.columns);
    let beside = !screen.terminal || INDENT.len() + name.width() + GAP.len() + signed.width() <= columns;
    let mut text = format!("{}  {name}", screen.paint(palette, state));
    if beside && !signed.is_empty() {
        text += &format!("{GAP}{signed}");
    }
    text.push('\n');
    let below = (!beside).then_some(signed).into_iter().chain(archived.report.all_wrong().iter().map(|wrong| escaped(wrong)));
    for line in below.flat_map(|words| fitted(&words, columns.saturating_sub(INDENT.len()), screen)) {
        text += &format!("{INDENT}{line}\n");
    }
    text
}

/// What `archive` asks of it. What another release made looks otherwise, which is not shown.
fn taken(path: &Path) -> Result<(), ArchiveError> {
    let whole = Whole::read(path)?;
    whole.closed()?;
    if whole.is_of_this_release() { whole.as_made() } else { Ok(()) }
}

/// Whether it is what an archive takes: in files of its own, and none of its bodies open.
fn kept(path: &Path, report: &mut Report) {
    if !is_there(path, FileType::is_dir).unwrap_or_default() {
        report.wrong("it is no directory of its own".into());
        return;
    }
    for file in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if !is_there(&file.path(), FileType::is_file).unwrap_or_default() {
            report.wrong(format!("`{}` is a link, or no file", file.file_name().display()));
        }
    }
    if let Err(why) = taken(path) {
        let why = chain(&why);
        // What was checked before may have said the same.
        if !report.all_wrong().contains(&why) {
            report.wrong(why);
        }
    }
}

// === impl Archived ===

impl Archived {
    fn of(archive: &Path, name: &Path, question: &Question) -> Self {
        let (path, name) = (archive.join(name), name.display().to_string());
        let named = Named::read(&path);
        let line = |start: &str| {
            let text = named.as_ref().ok().map(|named| named.note.text().to_owned()).unwrap_or_default();
            text.lines().skip(1).find_map(|line| line.strip_prefix(start)).unwrap_or_default().to_owned()
        };
        let (by, at) = (line("by "), line("at "));
        let mut report = match (&named, verify::judge(&path, question, &[])) {
            (Ok(_), Ok(report)) => report,
            (Err(error), _) => Report::refused("pack", chain(error)),
            (Ok(_), Err(error)) => Report::refused("pack", chain(&error)),
        };
        if named.is_ok_and(|named| files::digest(&named.bytes) != name) {
            report.wrong("its name is not the digest of its note".into());
        }
        kept(&path, &mut report);
        Self { name, at, by, report }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "name": self.name, "at": self.at, "by": self.by, "holds": self.report.holds(), "wrong": self.report.all_wrong(),
            "not_shown": self.report.all_not_shown(),
        })
    }
}
