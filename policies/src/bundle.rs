//! A policy folder, read whole, judged and compiled once. It never changes, and a digest names it.
//!
//! Loading says whether a bundle could serve, not whether it does what its author meant: for that its cases are tried.

use crate::cases::{self, Case};
use crate::engine::{self, Document, Engine, INSTRUCTIONS_MAX};
use crate::folder::{self, FILE_BYTES_MAX, FILES_MAX, SourceFile};
use crate::lint::{self, Fault, SETS};
use crate::questions;
use crate::reads::{Looks, Names, Reads};
use crate::syntax::Module;
use crate::table::{Row, Table};
use crate::yaml::YamlError;
use agentgate_core::digest::{Digest, Digester};
use std::num::NonZeroU32;
use std::sync::Arc;
use thiserror::Error;

/// The first line of a bundle's bytes.
const MAGIC: &[u8] = b"agentgate policy 1\n";
pub(crate) const TABLE: &str = "tools.yaml";

/// A policy that could serve. Clones share it.
#[derive(Clone, Debug)]
pub struct Bundle(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    files: Vec<SourceFile>,
    digest: Digest,
    rego: Vec<(String, String)>,
    modules: Vec<Module>,
    table: Table,
    looks: Looks,
    cases: Vec<Case>,
}

#[derive(Debug, Error)]
pub enum BundleError {
    #[error("`{path}` is not the path of a file in a policy folder")]
    Path { path: String },
    #[error("`{path}` is here twice")]
    Twice { path: String },
    #[error("`{path}` has no place in a policy folder; it holds `rego/*.rego`, `tools.yaml` and `cases/*.yaml`")]
    Stray { path: String },
    #[error("there is no `{what}` in the policy folder")]
    Missing { what: &'static str },
    #[error("`{path}` is not UTF-8")]
    NotUtf8 { path: String },
    #[error("more than {FILES_MAX} files, or one larger than {FILE_BYTES_MAX} bytes")]
    TooMuch,
    #[error("`{path}`, {source}")]
    Yaml { path: String, source: Wrong },
    #[error("{what}")]
    Rego { what: String },
    #[error(transparent)]
    Lint(#[from] Fault),
    #[error("these are not the bytes of a policy bundle: {what}")]
    Bytes { what: &'static str },
}

/// What is wrong with a YAML file, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(transparent)]
pub struct Wrong(#[from] YamlError);

// === impl Bundle ===

impl Bundle {
    /// # Errors
    /// When the files are no policy: stray or unreadable, refused by the lint, or not compiling.
    pub fn load(mut files: Vec<SourceFile>) -> Result<Self, BundleError> {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        check_files(&files)?;
        let mut parts = Parts {
            digest: digest(&files),
            rego: Vec::new(),
            modules: Vec::new(),
            table: Table::default(),
            looks: Looks::default(),
            cases: Vec::new(),
            files: Vec::new(),
        };
        for file in &files {
            parts.take(file)?;
        }
        if parts.rego.is_empty() {
            return Err(BundleError::Missing { what: "rego/*.rego" });
        }
        if !files.iter().any(|file| file.path == TABLE) {
            return Err(BundleError::Missing { what: TABLE });
        }
        lint::check(&parts.modules)?;
        parts.looks = Reads::new(&parts.modules).looks();
        parts.files = files;
        let bundle = Self(Arc::new(parts));
        // Compiles it, which no other step does.
        bundle.engine(INSTRUCTIONS_MAX)?;
        Ok(bundle)
    }

    /// Over all paths and bytes: two bundles with one digest are the same policy.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// Its files in the order of their paths, none of which leads out of a folder.
    #[must_use]
    pub fn files(&self) -> &[SourceFile] {
        &self.0.files
    }

    /// All of it, for a store that knows nothing of policies.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for file in &self.0.files {
            for part in [file.path.as_bytes(), &file.bytes] {
                bytes.extend((part.len() as u64).to_be_bytes());
                bytes.extend(part);
            }
        }
        bytes
    }

    /// # Errors
    /// When the bytes are not `to_bytes` of a bundle, or the files no policy.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        Self::load(files_of(bytes)?)
    }

    /// The digest that a bundle of these bytes would have. Nothing of it is read or compiled, so nobody says here that it is a policy.
    ///
    /// # Errors
    /// When the bytes are not `to_bytes` of a bundle.
    pub fn digest_of(bytes: &[u8]) -> Result<Digest, BundleError> {
        Ok(digest(&files_of(bytes)?))
    }

    /// Rules that contribute to one of the sets.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.0.modules.iter().flat_map(|module| &module.rules).filter(|rule| SETS.contains(&rule.name.as_str())).count()
    }

    #[must_use]
    pub fn cases(&self) -> usize {
        self.0.cases.len()
    }

    /// The same policy with another tool table. Its cases are not tried.
    ///
    /// # Errors
    /// When the table is none.
    pub(crate) fn with_table(&self, table: &str) -> Result<Self, BundleError> {
        let mut files = self.0.files.clone();
        if let Some(file) = files.iter_mut().find(|file| file.path == TABLE) {
            file.bytes = table.as_bytes().to_vec();
        }
        Self::load(files)
    }

    /// The tool table as its author wrote it.
    #[must_use]
    pub fn table(&self) -> &str {
        let file = self.0.files.iter().find(|file| file.path == TABLE);
        file.and_then(|file| std::str::from_utf8(&file.bytes).ok()).unwrap_or_default()
    }

    /// The servers that the table names.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        self.0.table.servers()
    }

    /// What the table says of one tool.
    #[must_use]
    pub fn row(&self, server: &str, tool: &str) -> Option<&Row> {
        self.0.table.row(server, tool)
    }

    /// The arguments of a tool that rules read. None: no rule looks at its arguments.
    pub(crate) fn looks_at(&self, server: &str, tool: &str) -> Option<Names> {
        self.0.looks.at(server, tool)
    }

    pub(crate) fn modules(&self) -> &[Module] {
        &self.0.modules
    }

    /// What the rules see as `data`.
    pub(crate) fn data(&self) -> Document {
        Document::object([("tools", self.0.table.document())])
    }

    pub(crate) fn all_cases(&self) -> &[Case] {
        &self.0.cases
    }

    /// An engine that has this Rego alone, and the same data.
    pub(crate) fn engine_of(&self, path: &str, rego: String) -> Result<Engine, String> {
        Engine::new(&[(path.to_owned(), rego)], self.data(), INSTRUCTIONS_MAX)
    }

    /// An engine that has compiled it and can be asked the `questions`.
    pub(crate) fn engine(&self, limit: NonZeroU32) -> Result<Engine, BundleError> {
        let wrong = |what| BundleError::Rego { what };
        let mut rego = self.0.rego.clone();
        rego.push((questions::PATH.to_owned(), questions::rego(|set| self.declares(set))));
        let mut engine = Engine::new(&rego, self.data(), limit).map_err(wrong)?;
        engine.evaluate(questions::READY, Document::object([])).map_err(|failure| wrong(failure.to_string()))?;
        Ok(engine)
    }

    /// Whether any rule contributes to the set of this name.
    pub(crate) fn declares(&self, set: &str) -> bool {
        self.0.modules.iter().flat_map(|module| &module.rules).any(|rule| rule.name == set)
    }
}

// === impl Parts ===

impl Parts {
    fn take(&mut self, file: &SourceFile) -> Result<(), BundleError> {
        let path = || file.path.clone();
        let text = std::str::from_utf8(&file.bytes).map_err(|_| BundleError::NotUtf8 { path: path() })?;
        let yaml = |source| BundleError::Yaml { path: path(), source: Wrong(source) };
        match file.path.split_once('/') {
            None if file.path == TABLE => self.table = Table::read(text).map_err(yaml)?,
            Some(("rego", name)) if name.ends_with(".rego") => {
                self.modules.push(engine::read(&file.path, text).map_err(|what| BundleError::Rego { what })?);
                self.rego.push((path(), text.to_owned()));
            }
            Some(("cases", name)) if name.ends_with(".yaml") => {
                self.cases.extend(cases::read(&file.path, text).map_err(yaml)?);
            }
            _ => return Err(BundleError::Stray { path: path() }),
        }
        Ok(())
    }
}

/// `files` are sorted.
fn check_files(files: &[SourceFile]) -> Result<(), BundleError> {
    if files.len() > FILES_MAX || files.iter().any(|file| file.bytes.len() > FILE_BYTES_MAX) {
        return Err(BundleError::TooMuch);
    }
    if let Some(file) = files.iter().find(|file| !file.path.split('/').all(folder::is_plain)) {
        return Err(BundleError::Path { path: file.path.escape_debug().to_string() });
    }
    let mut pairs = files.iter().zip(files.iter().skip(1));
    match pairs.find(|(a, b)| a.path == b.path) {
        Some((file, _)) => Err(BundleError::Twice { path: file.path.clone() }),
        None => Ok(()),
    }
}

fn digest(files: &[SourceFile]) -> Digest {
    let mut digester = Digester::new("agentgate/policy/1");
    for file in files {
        digester.part(file.path.as_bytes());
        digester.part(&file.bytes);
    }
    digester.finish()
}

fn files_of(bytes: &[u8]) -> Result<Vec<SourceFile>, BundleError> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or(BundleError::Bytes { what: "the first line is another" })?;
    let mut files: Vec<SourceFile> = Vec::new();
    while !rest.is_empty() {
        let path = take_part(&mut rest)?;
        let path = std::str::from_utf8(path).map_err(|_| BundleError::Bytes { what: "a path is not UTF-8" })?.to_owned();
        let bytes = take_part(&mut rest)?.to_vec();
        if files.last().is_some_and(|last| last.path >= path) {
            return Err(BundleError::Bytes { what: "the files are not in order" });
        }
        files.push(SourceFile { path, bytes });
    }
    Ok(files)
}

fn take_part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], BundleError> {
    const SHORT: BundleError = BundleError::Bytes { what: "they end in the middle of a file" };
    let (length, after) = rest.split_first_chunk::<8>().ok_or(SHORT)?;
    let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| SHORT)?;
    let (part, after) = after.split_at_checked(length).ok_or(SHORT)?;
    *rest = after;
    Ok(part)
}

#[cfg(test)]
mod tests;
