//! The form of a journal's files, in a file of its own: what wrote them, and the least that a reader must know. It refuses
//! to open what a newer program says that this one cannot read.

use super::disk::Disk;
use std::io;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

/// What this program writes. Raised with every change of the files' form.
pub(super) const FORM: u32 = 1;

/// The least that a program must know to read what this one writes. It follows `FORM` by a release at least, so that one
/// step back is always possible.
pub(super) const NEEDS: u32 = 1;

const FILE: &str = "form";

/// What `agentgate journal backup` and `restore` write first, until all of a copy is on the disk.
const UNFINISHED: &str = "agentgate journal copy, not finished\n";

#[derive(Debug, Error)]
pub enum FormError {
    #[error(
        "it was written in form {form} and needs a program that knows form {needs}; this one knows {FORM}: start the newer program again"
    )]
    Newer { form: u32, needs: u32 },
    #[error("it is a copy that was not finished; remove it, and make the copy again: agentgate journal restore COPY --to DIR")]
    Unfinished,
    #[error("its file `form` is not what was written; restore it from a copy")]
    Unreadable,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Whether the journal has said its form before; one that has not is new, or from before there were forms.
pub(super) fn read(disk: &dyn Disk, directory: &Path) -> Result<bool, FormError> {
    let file = match disk.open(&directory.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let mut bytes = [0; 64];
    let count = file.read_at(&mut bytes, 0)?;
    let text = bytes.get(..count).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    if text == UNFINISHED {
        return Err(FormError::Unfinished);
    }
    let (form, needs) = parse(text).ok_or(FormError::Unreadable)?;
    if needs > FORM { Err(FormError::Newer { form, needs }) } else { Ok(true) }
}

fn parse(text: &str) -> Option<(u32, u32)> {
    let (form, needs) = text.strip_prefix("agentgate journal form ")?.strip_suffix('\n')?.split_once(" needs ")?;
    Some((form.parse().ok()?, needs.parse().ok()?))
}

/// Says the form, durably. What a newer program said, and this one can read, it says no more: what is written from now on
/// is of this form.
pub(super) fn write(disk: &Arc<dyn Disk>, directory: &Path) -> io::Result<()> {
    let unfinished = directory.join("form.unfinished");
    let file = disk.create(&unfinished)?;
    file.write_at(format!("agentgate journal form {FORM} needs {NEEDS}\n").as_bytes(), 0)?;
    file.sync()?;
    disk.rename(&unfinished, &directory.join(FILE))
}
