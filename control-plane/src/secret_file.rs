//! Secrets in files: one line each, readable by their owner alone. It refuses to write over one that is there.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Makes the file, and returns once it is on the disk: something is about to depend on it.
///
/// # Errors
/// When it is there already, or cannot be written.
pub(crate) fn make(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
