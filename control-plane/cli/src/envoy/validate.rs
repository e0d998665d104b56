//! Asks a real Envoy whether it would take the configuration. It starts nothing that listens.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Validated {
    By(PathBuf),
    /// There is no Envoy, or not all that it would read; and why.
    Not(String),
    /// It would not take it; with its words.
    Refused {
        by: PathBuf,
        said: String,
    },
}

/// The Envoy to ask: the one of this path, or the first of this name in PATH.
#[must_use]
pub(crate) fn envoy(named: Option<&Path>, path: Option<&OsStr>) -> Option<PathBuf> {
    match named {
        Some(named) if named.components().count() > 1 => Some(named.into()),
        Some(_) | None => {
            let name = named.unwrap_or(Path::new("envoy"));
            std::env::split_paths(path?).map(|directory| directory.join(name)).find(|file| file.is_file())
        }
    }
}

/// Runs it on `configuration`, in the directory where the paths of the configuration begin.
#[must_use]
pub(crate) fn ask(envoy: &Path, configuration: &str, directory: &Path, needs: &[&str]) -> Validated {
    let missing = needs.iter().find(|file| !directory.join(file).exists());
    if let Some(missing) = missing {
        return Validated::Not(format!("`{missing}` does not lie in {} yet", shown(directory)));
    }
    let file = std::env::temp_dir().join(format!("agentgate-{}.yaml", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
    if let Err(error) = written.and_then(|mut written| written.write_all(configuration.as_bytes())) {
        return Validated::Not(format!("`{}` cannot be written: {error}", file.display()));
    }
    let mut command = Command::new(envoy);
    command.args(["--mode", "validate", "--disable-hot-restart", "--log-level", "error", "-c"]).arg(&file);
    let output = command.current_dir(directory).output();
    // Nothing in it is secret, and nobody looks for it.
    let _ = fs::remove_file(&file);
    match output {
        Err(error) => Validated::Not(format!("`{}` cannot be started: {error}", envoy.display())),
        Ok(output) if output.status.success() => Validated::By(envoy.into()),
        Ok(output) => Validated::Refused { by: envoy.into(), said: String::from_utf8_lossy(&output.stderr).trim().to_owned() },
    }
}

fn shown(directory: &Path) -> String {
    if directory == Path::new(".") { "this directory".into() } else { format!("`{}`", directory.display()) }
}
