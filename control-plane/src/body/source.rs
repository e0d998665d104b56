//! Where the data key comes from: a file, the environment or a command. It refuses to make a new one where the journal has
//! keys that only the lost one opens.

use super::cipher::KEY_BYTES;
use super::data_key::DataKey;
use super::{Keys, naming_slot};
use crate::config::{DataKeySource, DataKeys};
use crate::journal::{Journal, ReadError};
use crate::secret_file;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use thiserror::Error;
use tokio::process::Command;

/// How long a command may take that prints the data key: nothing is served before, and nobody would know why.
const COMMAND_WITHIN: Duration = Duration::from_secs(30);

#[derive(Debug, Error)]
pub enum DataKeyError {
    #[error("cannot read the data key `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "the data key `{}` is missing, and the journal's bodies open with no other; put it back from where it was kept",
        path.display()
    )]
    Lost { path: PathBuf },
    #[error("cannot write a new data key to `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the environment has no `{0}`; `data_key.environment` names it")]
    Unset(String),
    #[error("`{program}` of `data_key.command` gives no data key: {why}")]
    Command { program: String, why: String },
    #[error("{of} is no data key: 32 bytes in base64 (`openssl rand -base64 32`) or in hex")]
    Form { of: String },
    #[error("the system has no randomness to give: {0}")]
    Random(String),
    #[error("the journal cannot say whether it has keys")]
    Journal(#[from] ReadError),
}

/// The data key as it is configured. A new journal gets a new file where none is.
///
/// # Errors
/// When it is not where it is said to be, or is none.
pub async fn data_key(config: &DataKeys, journal: &dyn Journal, keys: Keys) -> Result<DataKey, DataKeyError> {
    let current = match &config.current {
        DataKeySource::File(path) if !path.exists() => {
            if journal.slot(naming_slot()).await?.is_some() {
                return Err(DataKeyError::Lost { path: path.clone() });
            }
            let key = keys().map_err(DataKeyError::Random)?;
            secret_file::make(path, &STANDARD.encode(key))
                .map_err(|source| DataKeyError::Write { path: path.clone(), source })?;
            tracing::warn!(file = %path.display(), "made a new data key; keep a copy of it apart from the journal: without it no body can be read");
            key
        }
        DataKeySource::File(path) => read(path)?,
        DataKeySource::Environment(name) => {
            let text = std::env::var(name).map_err(|_| DataKeyError::Unset(name.clone()))?;
            parse(&text, || format!("the variable `{name}`"))?
        }
        DataKeySource::Command(command) => ask(command, COMMAND_WITHIN).await?,
    };
    let previous = config.previous.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    Ok(previous.iter().fold(DataKey::new(&current), |data_key, key| data_key.after(key)))
}

fn read(path: &Path) -> Result<[u8; KEY_BYTES], DataKeyError> {
    let text = std::fs::read_to_string(path).map_err(|source| DataKeyError::Read { path: path.into(), source })?;
    parse(&text, || format!("`{}`", path.display()))
}

/// It is ended with its time, and whoever it left behind with its output is waited for no longer.
async fn ask(command: &[String], within: Duration) -> Result<[u8; KEY_BYTES], DataKeyError> {
    let (program, arguments) = command.split_first().map_or(("", command), |(program, rest)| (program.as_str(), rest));
    let failed = |why: String| DataKeyError::Command { program: program.into(), why };
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let late = |_| failed(format!("it, or what it left running, did not close its output within {} s", within.as_secs()));
    let ran = tokio::time::timeout(within, ran).await.map_err(late)?.map_err(|error| failed(error.to_string()))?;
    if !ran.status.success() {
        return Err(failed(format!("{}: {}", ran.status, String::from_utf8_lossy(&ran.stderr).trim())));
    }
    parse(&String::from_utf8_lossy(&ran.stdout), || format!("what `{program}` prints"))
}

fn parse(text: &str, of: impl Fn() -> String) -> Result<[u8; KEY_BYTES], DataKeyError> {
    let text = text.trim();
    let bytes = if text.len() == 2 * KEY_BYTES { from_hex(text) } else { STANDARD.decode(text).ok() };
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| DataKeyError::Form { of: of() })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    };
    text.as_bytes().chunks(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{Bodies, KeyError, UnwrapError, tests::counting};
    use crate::journal::Memory;
    use std::sync::Arc;

    fn of(current: DataKeySource) -> DataKeys {
        DataKeys { current, previous: Vec::new() }
    }

    #[tokio::test]
    async fn a_data_key_is_read_from_where_it_is_said_to_be() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            DataKeySource::File(path)
        };
        let command = |words: &[&str]| DataKeySource::Command(words.iter().map(|word| (*word).to_owned()).collect());
        let (hex, base64) = ("ab".repeat(32), STANDARD.encode([0xab; 32]));
        let wanted = DataKey::new(&[0xab; 32]).name();
        let cases = [
            (file("hex", &hex), Ok(())),
            (file("base64", &format!("{base64}\n")), Ok(())),
            (command(&["echo", &base64]), Ok(())),
            (file("short", &hex[..62]), Err("is no data key")),
            (file("long", &format!("{hex}ab")), Err("is no data key")),
            (file("empty", ""), Err("is no data key")),
            (DataKeySource::Environment("AGENTGATE_TEST_UNSET".into()), Err("the environment has no")),
            (command(&["false"]), Err("gives no data key")),
            (command(&["/nonexistent/program"]), Err("gives no data key")),
            (command(&["echo", "nothing"]), Err("is no data key")),
        ];
        for (source, expected) in cases {
            let read = data_key(&of(source.clone()), &Memory::new(), counting).await;
            match (read, expected) {
                (Ok(key), Ok(())) => assert_eq!(key.name(), wanted, "{source:?}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{source:?}: {error}"),
                (read, expected) => panic!("{source:?}: {read:?}, not {expected:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_not_waited_for() {
        for hangs in ["sleep 1000", "echo; sleep 2 & disown"] {
            let words = ["bash", "-c", hangs].map(str::to_owned);
            let told = ask(&words, Duration::from_millis(200)).await.unwrap_err().to_string();
            assert!(
                told.contains("`bash` of `data_key.command` gives no data key: it, or what it left running"),
                "{hangs}: {told}"
            );
        }
    }

    #[tokio::test]
    async fn a_new_journal_gets_a_data_key_and_an_old_one_never_another() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.key");
        let journal = Arc::new(Memory::new());
        let config = of(DataKeySource::File(path.clone()));
        let made = data_key(&config, journal.as_ref(), counting).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let name = made.name();
        Bodies::open(Arc::clone(&journal) as Arc<dyn Journal>, made, counting).await.unwrap();
        assert_eq!(data_key(&config, journal.as_ref(), counting).await.unwrap().name(), name);
        std::fs::remove_file(&path).unwrap();
        let lost = data_key(&config, journal.as_ref(), counting).await;
        assert!(matches!(lost, Err(DataKeyError::Lost { .. })), "{lost:?}");
        assert!(!path.exists());
        let other = Bodies::open(journal, DataKey::new(&[9; 32]), counting).await;
        assert!(matches!(other, Err(KeyError::Unwrap(UnwrapError::Key(named))) if named == name));
    }
}
