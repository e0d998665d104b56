//! One story's world: a directory, a gate, a control plane and a tool server that nobody else touches, all gone when it is dropped.

use crate::http1::{self, Answer};
use crate::http2;
use crate::stack::{Plan, Stack};
use crate::upstream::{Arrived, Protocol, Reply, Upstream};
use crate::{Broken, Doing, McpClient, Mode, Notes, Places, reaper};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use tempfile::TempDir;

/// What stands behind the gate.
#[derive(Debug)]
enum Tools {
    Notes(Notes),
    Recorder(Upstream),
    /// The story's own, at this address.
    Own(SocketAddr),
}

/// A world to be.
#[derive(Debug)]
pub struct WorldPlan {
    pub places: Places,
    directory: TempDir,
    tools: Tools,
    pub stack: Plan,
}

#[derive(Debug)]
pub struct World {
    pub stack: Stack,
    pub places: Places,
    tools: Tools,
    // Dropped last: the others write into it.
    directory: TempDir,
}

// === impl WorldPlan ===

impl WorldPlan {
    /// The demo's notes behind the gate. `options` go to its script.
    ///
    /// # Errors
    /// A missing part, or a server that does not come up.
    pub fn notes(options: &[&str]) -> Result<Self, Broken> {
        let (places, directory) = (Places::found()?, directory()?);
        let notes = Notes::start(&places, &directory.path().join("notes"), options)?;
        let stack = Plan::new(notes.address);
        Ok(Self { places, directory, tools: Tools::Notes(notes), stack })
    }

    /// A server behind the gate that records every byte and answers as `script` says.
    ///
    /// # Errors
    /// A missing part, or no port.
    pub fn recorder(protocol: Protocol, script: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) -> Result<Self, Broken> {
        let (places, directory) = (Places::found()?, directory()?);
        let upstream = Upstream::start(protocol, script)?;
        let stack = Plan::new(upstream.address);
        Ok(Self { places, directory, tools: Tools::Recorder(upstream), stack })
    }

    /// A server of the story's own behind the gate: `begin` starts it in this world's directory and says where it listens.
    ///
    /// # Errors
    /// A missing part, or what `begin` says.
    pub fn own(begin: impl FnOnce(&Places, &Path) -> Result<SocketAddr, Broken>) -> Result<Self, Broken> {
        let (places, directory) = (Places::found()?, directory()?);
        let address = begin(&places, directory.path())?;
        Ok(Self { places, directory, tools: Tools::Own(address), stack: Plan::new(address) })
    }

    /// # Errors
    /// A part that does not come up; with the end of its log.
    pub fn start(self) -> Result<World, Broken> {
        self.start_saying(|_| ())
    }

    /// `say` hears of each step.
    ///
    /// # Errors
    /// A part that does not come up; with the end of its log.
    pub fn start_saying(self, say: impl FnMut(&str)) -> Result<World, Broken> {
        let stack = Stack::start(&self.places, self.directory.path(), &self.stack, say)?;
        Ok(World { stack, places: self.places, tools: self.tools, directory: self.directory })
    }
}

// === impl World ===

impl World {
    /// # Errors
    /// A missing part, or one that does not come up.
    pub fn notes() -> Result<Self, Broken> {
        WorldPlan::notes(&[])?.start()
    }

    /// The official client, connected through the gate.
    ///
    /// # Errors
    /// The client gave up; with what it said.
    pub fn client(&self, mode: Mode) -> Result<McpClient, Broken> {
        McpClient::connect(&self.places, self.stack.gate, mode)
    }

    /// The official client, connected to the tool server itself: the control run.
    ///
    /// # Errors
    /// The client gave up; with what it said.
    pub fn client_without_gate(&self, mode: Mode) -> Result<McpClient, Broken> {
        McpClient::connect(&self.places, self.tool_server(), mode)
    }

    /// Raw bytes over HTTP/1.1, through the gate.
    ///
    /// # Errors
    /// No answer, or none that is HTTP.
    pub fn http1(&self, bytes: &[u8]) -> Result<Answer, Broken> {
        http1::exchange(self.stack.gate, bytes)
    }

    /// One HTTP/2 stream, through the gate.
    ///
    /// # Errors
    /// No answer in time.
    pub fn http2(&self, stream: &http2::Stream<'_>) -> Result<Answer, Broken> {
        http2::exchange(self.stack.gate, stream)
    }

    /// Where the tool server itself listens: for control runs without the gate.
    #[must_use]
    pub fn tool_server(&self) -> SocketAddr {
        match &self.tools {
            Tools::Notes(notes) => notes.address,
            Tools::Recorder(upstream) => upstream.address,
            Tools::Own(address) => *address,
        }
    }

    /// The recording server behind the gate.
    ///
    /// # Errors
    /// This world has the notes there.
    pub fn upstream(&self) -> Result<&Upstream, Broken> {
        match &self.tools {
            Tools::Recorder(upstream) => Ok(upstream),
            Tools::Notes(_) | Tools::Own(_) => Err(Broken("this world has no recording server".into())),
        }
    }

    /// Every trace, newest first, as the CLI prints them for programs.
    ///
    /// # Errors
    /// The CLI failed; with what it said.
    pub fn traces(&self) -> Result<Vec<Value>, Broken> {
        let listed = self.stack.cli.json(&["trace", "list"])?;
        let traces = listed.as_array().or_else(|| listed.get("traces")?.as_array());
        traces.cloned().doing(format_args!("`trace list` prints a list, not {listed}"))
    }

    /// The newest trace of a call of this target.
    ///
    /// # Errors
    /// There is none.
    pub fn newest_trace(&self, target: &str) -> Result<Value, Broken> {
        let found = self.traces()?.into_iter().find(|trace| trace.get("target").is_some_and(|name| name == target));
        found.doing(format_args!("a trace of `{target}`"))
    }

    #[must_use]
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }
}

impl Drop for World {
    /// A story that failed shows what the parts said.
    fn drop(&mut self) {
        if thread::panicking() {
            let log = std::fs::read_to_string(self.stack.control_plane.log()).unwrap_or_default();
            eprintln!("{}--- the control plane's log\n{log}", self.stack.envoy.tail());
        }
    }
}

/// A directory that is gone when it is dropped, and when this program is killed.
///
/// # Errors
/// It cannot be made, or nobody would remove it.
pub fn directory() -> Result<TempDir, Broken> {
    let directory = tempfile::Builder::new().prefix("agentgate-").tempdir().doing("a directory of our own")?;
    reaper::remove(directory.path())?;
    Ok(directory)
}
