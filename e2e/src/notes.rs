//! The demo's MCP server `notes`, over a SQLite file of its own.

use crate::{Broken, Doing, Places, Process};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

#[derive(Debug)]
pub struct Notes {
    // Held for its end: the server lives as long as this value.
    _process: Process,
    pub address: SocketAddr,
}

// === impl Notes ===

impl Notes {
    /// Starts it on a free port. `options` go to the script as they are.
    ///
    /// # Errors
    /// It does not become ready; with the end of its log.
    pub fn start(places: &Places, directory: &Path, options: &[&str]) -> Result<Self, Broken> {
        fs::create_dir_all(directory).doing(directory.display())?;
        let ready = directory.join("port");
        let mut command = Command::new(&places.python);
        command.arg(places.demo("notes_server.py")).arg("--store").arg(directory.join("notes.sqlite"));
        command.arg("--ready-file").arg(&ready).args(options).env("PYTHONDONTWRITEBYTECODE", "1");
        let mut process = Process::start("the notes server", command, &directory.join("notes.log"))?;
        let port: u16 = process.until("it listens", || fs::read_to_string(&ready).ok()?.parse().ok())?;
        Ok(Self { _process: process, address: SocketAddr::from(([127, 0, 0, 1], port)) })
    }
}
