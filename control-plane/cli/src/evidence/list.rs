//! `agentgate evidence list`: every pack of an archive, checked with public keys alone. It asks nobody.

use super::archive::{PART, is_there};
use super::files::{self, Named, PACK_FILE};
use super::pack::Pack;
use crate::failure::{Exit, Failure};
use crate::output::Desk;
use crate::screen::{Palette, Screen};
use crate::text::escape;
use crate::verify::{self, Question, Report};
use agentgate_core::error::chain;
use clap::Args;
use serde_json::{Value, json};
use std::fs::FileType;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// A verifier key of the log, as `agentgate log show` prints it; several where the log changed its key
    #[arg(long, required = true, value_name = "VERIFIER")]
    key: Vec<String>,
}

/// What lies in an archive under one name.
#[derive(Debug)]
pub(super) struct Archived {
    pub(super) name: String,
    at: String,
    by: String,
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
    let said = format!("{spoiled} of {} in {} do not hold", all.len(), arguments.archive.display());
    Err(Failure::new(Exit::Refused, said).then("keep it as it is; `agentgate verify` says more of each"))
}

pub(super) fn read(archive: &Path, question: &Question) -> Result<Vec<Archived>, Failure> {
    let failed = |error| Failure::new(Exit::Local, format!("cannot read {}", archive.display())).because(error);
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
    all.iter().fold(String::new(), |mut text, archived| {
        let state =
            if archived.report.holds() { screen.paint(Palette::Good, "holds") } else { screen.paint(Palette::Bad, "wrong") };
        text += &format!(
            "{state}  {}  {} {}\n",
            escape(&archived.name, screen.charset),
            escape(&archived.at, screen.charset),
            escape(&archived.by, screen.charset)
        );
        text.extend(archived.report.all_wrong().iter().map(|wrong| format!("       {}\n", escape(wrong, screen.charset))));
        text
    })
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
    // What cannot be read is wrong already.
    let pack = files::file(path, PACK_FILE).and_then(|bytes| Pack::read(&path.join(PACK_FILE), &bytes));
    if let Some(open) = pack.ok().and_then(|(pack, _)| pack.open()) {
        report.wrong(format!("the body of record {open} is open, and nothing erases it here"));
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

    fn to_json(&self) -> Value {
        json!({ "name": self.name, "at": self.at, "by": self.by, "holds": self.report.holds(), "wrong": self.report.all_wrong() })
    }
}
