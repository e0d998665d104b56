//! The usual way, to be compared with: the server of `e2e/benches/opa`, built where Go is. It fetches no Go, and guesses no figure where there is none.

use agentgate_e2e::{Broken, Doing, Places, Process};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A server that listens on a socket of its own.
#[derive(Debug)]
pub(crate) struct Opa {
    pub(crate) process: Process,
    pub(crate) socket: PathBuf,
}

/// What the tool table calls the server behind the gate, as the shipped bootstrap's route does.
const SERVER: &str = "notes";

/// Whether it was built; not where no Go is.
pub(crate) fn build(places: &Places) -> Result<bool, Broken> {
    let source = places.repository.join("e2e/benches/opa");
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-buildvcs=false", "-o"]).arg(program(places)?).arg(".");
    // The Go that is there or none: it fetches itself in another version otherwise.
    go.env("GOTOOLCHAIN", "local").env("GOWORK", "off").current_dir(source);
    match go.status() {
        Ok(status) if status.success() => Ok(true),
        Ok(status) => {
            Err(Broken(format!("`go build` of the OPA server ended with {status}; `--gates` without `opa` does without")))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Broken(format!("starting `go build`: {error}"))),
    }
}

/// Beside what cargo builds, so that it is built once.
fn program(places: &Places) -> Result<PathBuf, Broken> {
    // …/wasm32-wasip1/wasm/agentgate_filter.wasm
    let target = places.filter.ancestors().nth(3).doing("the target directory")?;
    Ok(target.join("opa/agentgate-bench-opa"))
}

// === impl Opa ===

impl Opa {
    /// Starts it with the default policy, in `directory`.
    pub(crate) fn start(places: &Places, directory: &Path) -> Result<Self, Broken> {
        let socket = directory.join("opa.sock");
        let mut command = Command::new(program(places)?);
        command.arg("-policies").arg(places.policies()).args(["-server", SERVER]).arg("-socket").arg(&socket);
        let mut process = Process::start("the OPA server", command, &directory.join("opa.log"))?;
        process.until("it listens", || socket.exists().then_some(()))?;
        Ok(Self { process, socket })
    }
}
