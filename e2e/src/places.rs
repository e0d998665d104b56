//! Where the built parts and the fetched tools lie. It builds and fetches nothing: a missing part is named with the command that makes it.

use crate::{Broken, Doing};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every path that the harness takes from outside its own worlds.
#[derive(Clone, Debug)]
pub struct Places {
    pub repository: PathBuf,
    pub control_plane: PathBuf,
    pub agentgate: PathBuf,
    pub filter: PathBuf,
    pub envoy: PathBuf,
    pub python: PathBuf,
    /// What npm laid out of `e2e/peers/typescript`, with the Node.js that runs it.
    pub typescript: PathBuf,
}

// === impl Places ===

impl Places {
    /// # Errors
    /// There is no telling where this program lies.
    pub fn found() -> Result<Self, Broken> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().doing("the repository")?;
        let (target, profile) = build_directories()?;
        let tools = repository.join(".tools/venv/bin");
        Ok(Self {
            control_plane: profile.join("agentgate-control-plane"),
            agentgate: profile.join("agentgate"),
            filter: target.join("wasm32-wasip1/wasm/agentgate_filter.wasm"),
            envoy: named("AGENTGATE_ENVOY").unwrap_or(tools.join("envoy")),
            python: named("AGENTGATE_PYTHON").unwrap_or(tools.join("python")),
            typescript: named("AGENTGATE_TYPESCRIPT").unwrap_or(repository.join(".tools/typescript")),
            repository,
        })
    }

    /// # Errors
    /// A part was not built yet.
    pub fn built(&self) -> Result<(), Broken> {
        existing(&self.control_plane, "`./justw build`")?;
        existing(&self.agentgate, "`./justw build`")?;
        existing(&self.filter, "`./justw wasm`")
    }

    #[must_use]
    pub fn policies(&self) -> PathBuf {
        self.repository.join("policies/default")
    }

    #[must_use]
    pub fn bootstrap(&self) -> PathBuf {
        self.repository.join("envoy/bootstrap.yaml")
    }

    #[must_use]
    pub fn plain(&self) -> PathBuf {
        self.repository.join("e2e/plain.yaml")
    }

    #[must_use]
    pub fn demo(&self, script: &str) -> PathBuf {
        self.repository.join("e2e/demo").join(script)
    }

    #[must_use]
    pub fn peer(&self, script: &str) -> PathBuf {
        self.repository.join("e2e/peers").join(script)
    }

    /// The Node.js of the TypeScript peers.
    ///
    /// # Errors
    /// It was not fetched yet.
    pub fn node(&self) -> Result<Command, Broken> {
        let node = self.typescript.join("node/bin/node");
        existing(&node, "`./justw test`")?;
        Ok(Command::new(node))
    }

    /// A file of one of the TypeScript peers' packages.
    #[must_use]
    pub fn package(&self, file: &str) -> PathBuf {
        self.typescript.join("node_modules").join(file)
    }
}

/// The target directory and its profile's directory, from where this very program lies.
fn build_directories() -> Result<(PathBuf, PathBuf), Broken> {
    let own = env::current_exe().doing("the path of this program")?;
    let profile = own.ancestors().skip(1).find(|directory| !directory.ends_with("deps")).doing("the build directory")?;
    let target = profile.parent().doing("the target directory")?;
    Ok((target.to_path_buf(), profile.to_path_buf()))
}

fn named(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from)
}

fn existing(path: &Path, made_by: &str) -> Result<(), Broken> {
    if path.exists() { Ok(()) } else { Err(Broken(format!("`{}` is missing: {made_by} makes it", path.display()))) }
}
