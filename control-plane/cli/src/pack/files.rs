//! The files of a pack, and the note over them. A note names each file once, by a plain name, with its digest.

use super::{Pack, report};
use crate::failure::Failure;
use crate::file::{Unreadable, read};
use crate::text::hex;
use agentgate_core::transparency::note::{NOTE_BYTES_MAX, Note};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::path::Path;

pub const PACK_FILE: &str = "pack.json";
pub const REPORT_FILE: &str = "report.html";
pub const PDF_FILE: &str = "report.pdf";
pub const NOTE_FILE: &str = "pack.note";

/// What the note over a pack's files begins with.
const STATEMENT: &str = "agentgate evidence pack 1";

/// Every file that a note may name.
const SIGNED: [&str; 3] = [PACK_FILE, REPORT_FILE, PDF_FILE];

/// The largest file of a pack: twice the bytes that are gathered at once, for base64, proofs and their reading. Whoever reads it
/// holds it, and what it says, in memory.
pub(crate) const FILE_BYTES_MAX: u64 = 128 << 20;

/// What a note says of a pack's files; whoever signed it.
#[derive(Debug)]
pub struct Named {
    pub note: Note,
    pub bytes: Vec<u8>,
    /// Who asked for the signature, and when.
    pub by: String,
    pub at: String,
    /// SHA-256 in hexadecimal digits, by name.
    pub files: BTreeMap<String, String>,
}

/// What is signed of a pack.
pub(crate) fn made(pack: &Pack) -> Result<[(&'static str, Vec<u8>); 3], Failure> {
    let [page, paper] = told(pack)?;
    Ok([(PACK_FILE, pack.to_bytes()), page, paper])
}

/// What a person reads of it.
pub(crate) fn told(pack: &Pack) -> Result<[(&'static str, Vec<u8>); 2], Failure> {
    Ok([(REPORT_FILE, report::html(pack)?.into_bytes()), (PDF_FILE, report::pdf(pack)?)])
}

/// The bytes of one file of a pack.
pub(crate) fn file(directory: &Path, name: &str) -> Result<Vec<u8>, Unreadable> {
    read(&directory.join(name), FILE_BYTES_MAX)
}

/// The pack that lies there. Nothing of it is compared with what was signed.
pub(crate) fn pack(directory: &Path) -> Result<Pack, Unreadable> {
    let (pack, _) = Pack::read(&directory.join(PACK_FILE), &file(directory, PACK_FILE)?)?;
    Ok(pack)
}

/// Digits as a note has them.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

// === impl Named ===

impl Named {
    /// # Errors
    /// Where there is no note, or it is none over a pack's files.
    pub fn read(directory: &Path) -> Result<Self, Unreadable> {
        let path = directory.join(NOTE_FILE);
        let bytes = read(&path, u64::try_from(NOTE_BYTES_MAX).unwrap_or(u64::MAX))?;
        let note = Note::parse(&bytes).map_err(|source| Unreadable::Statement { path: path.clone(), source })?;
        let mut lines = note.text().lines();
        match lines.next() {
            Some(STATEMENT) => {}
            Some(first) if first.starts_with("agentgate evidence pack ") => return Err(Unreadable::Later { path }),
            Some(_) | None => return Err(Unreadable::Form { path }),
        }
        let mut said = |start: &str| lines.next().and_then(|line| line.strip_prefix(start)).unwrap_or_default().to_owned();
        let (by, at) = (said("by "), said("at "));
        let mut files = BTreeMap::new();
        for line in lines {
            // Whatever else stood there nobody would read.
            let (digest, name) = line.split_once(' ').unwrap_or(("", line));
            if digest.is_empty() || !is_name(name) || files.insert(name.to_owned(), digest.to_owned()).is_some() {
                return Err(Unreadable::Named { path, name: name.to_owned() });
            }
        }
        Ok(Self { note, bytes, by, at, files })
    }

    /// What was signed and is no file of a pack, whichever release made it.
    pub fn foreign(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str).filter(|name| !SIGNED.contains(name))
    }

    /// Names of what lies in the directory beside what is signed.
    ///
    /// # Errors
    /// Where nobody may look what lies there: it could be anything.
    pub fn others(&self, directory: &Path) -> Result<Vec<String>, Unreadable> {
        let failed = |source| Unreadable::File { path: directory.into(), source };
        let mut others = Vec::new();
        for file in std::fs::read_dir(directory).map_err(failed)? {
            let name = file.map_err(failed)?.file_name().to_string_lossy().into_owned();
            if name != NOTE_FILE && !self.files.contains_key(&name) {
                others.push(name);
            }
        }
        others.sort();
        Ok(others)
    }
}

/// A name in the same directory, which is not that of the note itself.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    name.bytes().all(plain) && !name.starts_with('.') && !name.is_empty() && name != NOTE_FILE
}
