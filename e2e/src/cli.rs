//! The `agentgate` command line as its users run it, with one operator's certificate. It reads no journal and no socket by itself.

use crate::{Broken, Certificate, Doing, Places};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

#[derive(Clone, Debug)]
pub struct Cli {
    program: PathBuf,
    /// What the CLI is told by its environment: name and value.
    pub environment: Vec<(&'static str, String)>,
}

// === impl Cli ===

impl Cli {
    #[must_use]
    pub fn new(places: &Places, operators: &str, operator: &Certificate, authority: &std::path::Path) -> Self {
        let environment = vec![
            ("AGENTGATE_ENDPOINT", format!("https://{operators}")),
            ("AGENTGATE_AUTHORITY", authority.display().to_string()),
            ("AGENTGATE_CERTIFICATE", operator.certificate.display().to_string()),
            ("AGENTGATE_KEY", operator.key.display().to_string()),
        ];
        Self { program: places.agentgate.clone(), environment }
    }

    /// # Errors
    /// The program cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Result<Output, Broken> {
        let mut command = Command::new(&self.program);
        command.args(arguments).envs(self.environment.iter().cloned());
        command.output().doing(self.program.display())
    }

    /// What it prints for people.
    ///
    /// # Errors
    /// It failed; with what it said.
    pub fn text(&self, arguments: &[&str]) -> Result<String, Broken> {
        let output = self.run(arguments)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Broken(format!("`agentgate {}`: {said}", arguments.join(" "))))
    }

    /// What it prints for programs.
    ///
    /// # Errors
    /// It failed, or did not print JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value, Broken> {
        let text = self.text(&[arguments, &["--output", "json"]].concat())?;
        serde_json::from_str(&text).doing(format_args!("`agentgate {}` printed {text}", arguments.join(" ")))
    }
}
