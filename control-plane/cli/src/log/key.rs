//! `agentgate log key`: a key for a log that gets another one. It asks no control plane, and writes over nothing.

use crate::failure::{Exit, Failure};
use crate::output::Desk;
use agentgate_core::transparency::key::{Algorithm, KeyError, KeyName, SignerKey, VerifierKey};
use clap::Args;
use serde_json::json;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The log's name, or a verifier key of it: all keys of a log bear its name
    #[arg(value_name = "NAME")]
    name: String,
    /// Where to write the key, for its owner alone; a file that must not be there
    #[arg(long, value_name = "FILE", num_args = 1)]
    out: PathBuf,
}

pub(super) fn run(arguments: &Arguments, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let name = name(&arguments.name).map_err(|error| {
        Failure::new(Exit::Usage, error)
            .then("agentgate log show prints the keys of a log; its name is what stands before the `+`")
    })?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Failure::new(Exit::Local, format!("the system has no randomness to give: {error}")))?;
    let key = SignerKey::from_seed(name, Algorithm::Ed25519, &seed);
    let (out, verifier) = (arguments.out.display(), key.verifier());
    make(&arguments.out, &key.secret_text()).map_err(|error| super::unwritten(&arguments.out, error))?;
    let said = format!("Wrote {out}; whoever has it is the log. Its verifier key, for those who check:\n{verifier}\n");
    desk.answer(|_| said, || json!({ "out": out.to_string(), "verifier": verifier.to_string() }))
}

fn name(text: &str) -> Result<KeyName, KeyError> {
    match VerifierKey::parse(text) {
        Ok(key) => Ok(key.id().name.clone()),
        Err(_) => KeyName::try_from(text),
    }
}

/// On the disk when it returns: a log is about to depend on it.
fn make(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Output;
    use crate::screen::{Charset, Screen};
    use agentgate_core::time::Time;
    use std::os::unix::fs::PermissionsExt as _;

    fn made(name: &str, out: &Path) -> Result<VerifierKey, Failure> {
        let mut said = Vec::new();
        let screen = Screen { color: false, charset: Charset::Unicode, columns: 80, terminal: false };
        let mut desk = Desk { screen, output: Output::Json, now: Time::from_micros(0), out: &mut said, person: None };
        run(&Arguments { name: name.into(), out: out.into() }, &mut desk)?;
        let said: serde_json::Value = serde_json::from_slice(&said).expect("an answer");
        Ok(VerifierKey::parse(said["verifier"].as_str().expect("text")).expect("a key"))
    }

    #[test]
    fn a_key_bears_the_logs_name_and_is_its_owners_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |file: &str| directory.path().join(file);
        let first = made("log.example/mine", &at("one")).expect("a key");
        let second = made(&first.to_string(), &at("two")).expect("a key of the same log");
        for (key, file) in [(&first, at("one")), (&second, at("two"))] {
            let text = std::fs::read_to_string(&file).expect("a file");
            assert_eq!(SignerKey::parse(text.trim()).expect("a key").verifier(), key);
            assert_eq!(std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
        }
        assert_eq!((first.id().name.as_str(), &first.id().name), ("log.example/mine", &second.id().name));
        assert_ne!(first, second);
        let before = std::fs::read(at("one")).expect("a file");
        for (name, out, exit) in [
            ("log.example/mine", at("one"), Exit::Refused),
            ("log.example/mine", at("none/key"), Exit::Local),
            ("two words", at("three"), Exit::Usage),
            ("log.example/mine+00000000+AUu", at("three"), Exit::Usage),
            ("", at("three"), Exit::Usage),
        ] {
            assert_eq!(made(name, &out).expect_err(name).exit, exit, "{name}");
        }
        assert_eq!(std::fs::read(at("one")).expect("a file"), before);
        assert!(!at("three").exists());
    }
}
