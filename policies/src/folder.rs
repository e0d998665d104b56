//! Reads a policy folder from the disk, whole and within bounds. It follows no link that leads out of the folder and takes
//! no hidden file; whether the files make a policy is not its business.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Files of one policy: a person has to be able to review it.
pub const FILES_MAX: usize = 256;
/// One file; the engine itself reads no larger one.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// All files together: a bundle travels in one message and is kept whole for each decision's sake.
pub const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Folders inside each other: `rego/lib/…` is as deep as it gets.
const DEPTH_MAX: usize = 4;

/// One file, by its path inside the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    pub path: String,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Error)]
pub enum FolderError {
    #[error("cannot read `{path}`")]
    Io { path: String, source: io::Error },
    #[error("`{path}` leads out of the policy folder; copy the file into it")]
    Outside { path: String },
    #[error("`{path}` is neither a file nor a folder")]
    Kind { path: String },
    #[error("`{path}` is not named in plain ASCII letters, digits, `.`, `-` and `_`")]
    Name { path: String },
    #[error("`{path}` lies deeper than {DEPTH_MAX} folders")]
    Depth { path: String },
    #[error("`{path}` is larger than {FILE_BYTES_MAX} bytes")]
    FileBytes { path: String },
    #[error("the policy folder holds more than {FILES_MAX} files")]
    Files,
    #[error("the policy folder holds more than {BYTES_MAX} bytes")]
    Bytes,
}

/// All files of `directory`, by path. Links are followed inside the folder (a mounted volume is made of them).
///
/// # Errors
/// When anything in it cannot be read, is not plainly named, leads outside, or is too much.
pub fn read(directory: &Path) -> Result<Vec<SourceFile>, FolderError> {
    let root = directory.canonicalize().map_err(|source| io_error(directory, source))?;
    let mut files = Vec::new();
    read_folder(&root, &root, "", 0, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn read_folder(root: &Path, folder: &Path, prefix: &str, depth: usize, files: &mut Vec<SourceFile>) -> Result<(), FolderError> {
    for name in names(folder)? {
        let path = format!("{prefix}{name}");
        let real = folder.join(&name).canonicalize().map_err(|source| io_error(Path::new(&path), source))?;
        if !real.starts_with(root) {
            return Err(FolderError::Outside { path });
        }
        let kind = real.metadata().map_err(|source| io_error(Path::new(&path), source))?;
        if kind.is_dir() {
            if depth + 1 > DEPTH_MAX {
                return Err(FolderError::Depth { path });
            }
            read_folder(root, &real, &format!("{path}/"), depth + 1, files)?;
        } else if kind.is_file() {
            files.push(SourceFile { bytes: read_file(&real, &path)?, path });
            check(files)?;
        } else {
            return Err(FolderError::Kind { path });
        }
    }
    Ok(())
}

/// The visible names of a folder, sorted, so that the first thing wrong is always the same one.
fn names(folder: &Path) -> Result<BTreeSet<String>, FolderError> {
    let mut names = BTreeSet::new();
    for entry in folder.read_dir().map_err(|source| io_error(folder, source))? {
        let name = entry.map_err(|source| io_error(folder, source))?.file_name();
        let name = name.to_str().ok_or_else(|| FolderError::Name { path: name.to_string_lossy().into_owned() })?;
        if name.starts_with('.') {
            continue;
        }
        if !is_plain(name) {
            return Err(FolderError::Name { path: name.escape_debug().to_string() });
        }
        names.insert(name.to_owned());
        if names.len() > FILES_MAX {
            return Err(FolderError::Files);
        }
    }
    Ok(names)
}

/// Reads no more than the bound, whatever the file grows to meanwhile.
fn read_file(real: &PathBuf, path: &str) -> Result<Vec<u8>, FolderError> {
    let failed = |source| io_error(Path::new(path), source);
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX as u64 + 1;
    std::fs::File::open(real).map_err(failed)?.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(FolderError::FileBytes { path: path.to_owned() });
    }
    Ok(bytes)
}

fn check(files: &[SourceFile]) -> Result<(), FolderError> {
    if files.len() > FILES_MAX {
        return Err(FolderError::Files);
    }
    if files.iter().map(|file| file.bytes.len()).sum::<usize>() > BYTES_MAX {
        return Err(FolderError::Bytes);
    }
    Ok(())
}

/// One step of a path as a policy folder may have it.
pub(crate) fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
}

fn io_error(path: &Path, source: io::Error) -> FolderError {
    FolderError::Io { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests;
