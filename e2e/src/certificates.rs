//! Certificates for one world, issued by the CLI as an operator would. It holds no key itself.

use crate::{Broken, Doing, Places};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The trust domain of every world.
pub(crate) const TRUST_DOMAIN: &str = "agentgate.local";

/// An authority in a directory, and what it issued.
#[derive(Clone, Debug)]
pub struct Certificates {
    program: PathBuf,
    pub directory: PathBuf,
}

/// One identity: `NAME` is like `filter/laptop`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub name: String,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

// === impl Certificates ===

impl Certificates {
    /// Makes an authority.
    ///
    /// # Errors
    /// The CLI refused; with what it said.
    pub fn init(places: &Places, directory: &Path) -> Result<Self, Broken> {
        let authority = Self { program: places.agentgate.clone(), directory: directory.into() };
        authority.run(&["init", "--trust-domain", TRUST_DOMAIN])?;
        Ok(authority)
    }

    /// Issues a certificate for a server or client on this machine.
    ///
    /// # Errors
    /// The CLI refused; with what it said.
    pub fn issue(&self, name: &str, options: &[&str]) -> Result<Certificate, Broken> {
        self.run(&[&["issue", name, "--dns", "localhost", "--ip", "127.0.0.1"], options].concat())?;
        let file = name.replace('/', "-");
        let certificate = self.directory.join(format!("{file}.pem"));
        let key = self.directory.join(format!("{file}.key"));
        Ok(Certificate { name: name.into(), certificate, key })
    }

    /// What everybody here trusts.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.directory.join("authority.pem")
    }

    fn run(&self, arguments: &[&str]) -> Result<(), Broken> {
        let (first, rest) = arguments.split_first().doing("an authority verb")?;
        let mut command = Command::new(&self.program);
        command.arg("authority").arg(first).args(rest).arg("--directory").arg(&self.directory);
        let output = command.output().doing(self.program.display())?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Broken(format!("`agentgate authority {}`: {said}", arguments.join(" "))))
    }
}

// === impl Certificate ===

impl Certificate {
    /// The name that the certificate carries.
    #[must_use]
    pub fn identity(&self) -> String {
        spiffe(&self.name)
    }
}

/// The identity under `name` in every world's trust domain.
#[must_use]
pub(crate) fn spiffe(name: impl fmt::Display) -> String {
    format!("spiffe://{TRUST_DOMAIN}/{name}")
}
