//! A folder of certificates, looked at without an Envoy's configuration: each `*.pem`, the key beside it, and the authority's.
//!
//! It says how many of which kind it looked at, and opens no folder below.

use super::certificates::{Files, Whose};
use super::finding::Findings;
use crate::failure::{Exit, Failure};
use agentgate_core::time::Time;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The authority's own certificate, as `agentgate authority` names it.
const AUTHORITY: &str = "authority.pem";

/// What there is to look at; never nothing.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    certificates: Vec<PathBuf>,
}

/// # Errors
/// It is not there, or is no folder.
pub(crate) fn is_there(path: &Path) -> Result<(), Failure> {
    let unreadable = |error| {
        let failure = Failure::new(Exit::Local, format!("cannot read the folder {}", path.display())).because(error);
        failure.then("--directory names the folder where Envoy starts, or one of certificates")
    };
    fs::read_dir(path).map(|_| ()).map_err(unreadable)
}

/// The `*.pem` in it, in their order.
///
/// # Errors
/// It cannot be read.
pub(crate) fn certificates(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = fs::read_dir(path)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "pem"));
    found.sort();
    Ok(found)
}

// === impl Folder ===

impl Folder {
    /// # Errors
    /// There is no certificate in it; with the folder below that has some.
    pub(crate) fn of(path: &Path) -> Result<Self, Failure> {
        is_there(path)?;
        let certificates = certificates(path).unwrap_or_default();
        if certificates.is_empty() {
            let failure = Failure::new(Exit::Local, format!("there is no certificate (`*.pem`) in {}", path.display()));
            let below = below(path).map_or_else(|| "DIR".into(), |below| below.display().to_string());
            return Err(failure
                .then(format!("name the folder that holds them: --directory {below}"))
                .then("to look at a gate, pass --envoy-config FILE or --envoy-admin URL as well"));
        }
        Ok(Self { path: path.into(), certificates })
    }

    pub(crate) fn look(&self, now: Time, findings: &mut Findings) {
        let authority = self.path.join(AUTHORITY);
        let at = self.path.display().to_string();
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for path in &self.certificates {
            let roots = Some(authority.clone()).filter(|file| file.exists());
            let kind = if *path == authority {
                Files::beside(None, roots).look(Whose::Other, &at, now, findings);
                "authority".to_owned()
            } else {
                let key = Some(path.with_extension("key")).filter(|key| key.exists());
                let files = Files::beside(Some((path.clone(), key)), roots);
                kind(files.look(Whose::Filter, &at, now, findings).first())
            };
            *kinds.entry(kind).or_default() += 1;
        }
        let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        findings.seen.push(format!("{} in {at}: {}", counted(self.certificates.len()), kinds.join(", ")));
    }
}

/// By the name in it: `filter` of `spiffe://agentgate.local/filter/laptop`.
fn kind(identity: Option<&String>) -> String {
    let path = identity.and_then(|id| id.strip_prefix("spiffe://")?.split_once('/')).map(|(_, path)| path);
    path.and_then(|path| path.split('/').next()).unwrap_or("without a name").to_owned()
}

fn counted(count: usize) -> String {
    if count == 1 { "1 certificate".into() } else { format!("{count} certificates") }
}

/// The first folder below that holds certificates.
fn below(path: &Path) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(path).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.sort();
    folders.into_iter().find(|folder| certificates(folder).is_ok_and(|found| !found.is_empty()))
}
