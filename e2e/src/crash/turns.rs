//! Which program lives when: this tree's in every life, or an older one and this tree's in turns on one journal. It starts none.

use crate::{Broken, Doing};
use std::path::{Path, PathBuf};

/// This tree's program, and the one whose journals it must open and leave so that they can be opened.
#[derive(Debug)]
pub(crate) struct Turns {
    pub(crate) own: PathBuf,
    older: Option<PathBuf>,
}

// === impl Turns ===

impl Turns {
    /// # Errors
    /// There is no such older program.
    pub(crate) fn new(own: PathBuf, older: Option<&Path>) -> Result<Self, Broken> {
        let whole = |path: &Path| path.canonicalize().doing(format_args!("the older control plane `{}`", path.display()));
        Ok(Self { own, older: older.map(whole).transpose()? })
    }

    /// Whether the older program lives this life of a journal, of which the first has number 0: it begins each journal.
    pub(crate) fn is_older(&self, life: u32) -> bool {
        self.older.is_some() && life.is_multiple_of(2)
    }

    pub(crate) fn program(&self, life: u32) -> &Path {
        self.older.as_ref().filter(|_| self.is_older(life)).unwrap_or(&self.own)
    }
}
