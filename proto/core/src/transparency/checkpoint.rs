//! A checkpoint's body (C2SP tlog-checkpoint): which log, how many leaves, and the root over them. One checkpoint is written in
//! one way. Who vouches for it is the note's and the keys' to say.

use super::key::KeyName;
use super::note::{Note, NoteError};
use super::tree::{Hash, SIZE_MAX};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use thiserror::Error;

/// The state of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which its keys bear as well.
    pub origin: KeyName,
    pub size: u64,
    pub root: Hash,
    /// Lines that others may add. They are signed and mean nothing here.
    pub extensions: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CheckpointError {
    #[error("the checkpoint is cut short: it has an origin, a size and a root, a line each")]
    Lines,
    #[error("the checkpoint's origin `{0}` is no name of a key")]
    Origin(String),
    #[error("the checkpoint's size `{0}` is no number from 0 to {SIZE_MAX}")]
    Size(String),
    #[error("the checkpoint's root `{0}` is not 32 bytes in base64")]
    Root(String),
    #[error("a checkpoint of no leaves has the root of no leaves")]
    EmptyRoot,
    #[error("the checkpoint has an empty line")]
    Extension,
}

// === impl Checkpoint ===

impl Checkpoint {
    /// # Errors
    /// Of any text that `Display` does not write.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(CheckpointError::Lines);
        };
        let origin = KeyName::try_from(origin).map_err(|_| CheckpointError::Origin(origin.into()))?;
        let size = read_size(size).ok_or_else(|| CheckpointError::Size(size.into()))?;
        let root = Hash::parse(root).ok_or_else(|| CheckpointError::Root(root.into()))?;
        if size == 0 && root != Hash::EMPTY {
            return Err(CheckpointError::EmptyRoot);
        }
        let extensions: Vec<String> = lines.map(String::from).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(CheckpointError::Extension);
        }
        Ok(Self { origin, size, root, extensions })
    }

    /// The note that is to be signed.
    ///
    /// # Errors
    /// Where an extension is no line of a note.
    pub fn note(&self) -> Result<Note, NoteError> {
        Note::new(&alloc::format!("{self}"))
    }
}

fn read_size(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|size| canonical && *size <= SIZE_MAX)
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, self.root)?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
