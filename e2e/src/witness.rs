//! A witness (C2SP tlog-witness) that judges by core's own verifier: it cosigns what grew from what it cosigned before, and
//! nothing else. It keeps nothing beyond its life.

use crate::clock::wall_s;
use crate::upstream::{Arrived, Part, Protocol, Reply, Upstream};
use crate::{Broken, Doing};
use agentgate_core::transparency::key::{Algorithm, KeyName, SignerKey, VerifierKey};
use agentgate_core::transparency::note::{Note, NoteSignature};
use agentgate_core::transparency::proof::Proof;
use agentgate_core::transparency::tree::Hash;
use agentgate_core::transparency::trust::Trust;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A witness that listens.
#[derive(Debug)]
pub struct Witness {
    upstream: Upstream,
    mind: Arc<Mind>,
}

/// What it believes, and what it saw.
#[derive(Debug)]
pub struct Mind {
    key: SignerKey,
    /// None: it knows no log.
    log: Mutex<Option<Trust>>,
    saw: Mutex<Option<(u64, Hash)>>,
}

// === impl Witness ===

impl Witness {
    /// It listens on a free port, and knows no log as yet.
    ///
    /// # Errors
    /// No port, or no such name.
    pub fn start(name: &str, seed: u8) -> Result<Self, Broken> {
        let mind = Arc::new(Mind::new(name, seed)?);
        let heard = Arc::clone(&mind);
        let upstream = Upstream::start(Protocol::Http1, move |asked| heard.answer(asked))?;
        Ok(Self { upstream, mind })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.upstream.address
    }

    #[must_use]
    pub fn mind(&self) -> &Mind {
        &self.mind
    }
}

// === impl Mind ===

impl Mind {
    /// # Errors
    /// No key can have this name.
    pub fn new(name: &str, seed: u8) -> Result<Self, Broken> {
        let name = KeyName::try_from(name).doing(name)?;
        let key = SignerKey::from_seed(name, Algorithm::Cosignature, &[seed; 32]);
        Ok(Self { key, log: Mutex::default(), saw: Mutex::default() })
    }

    #[must_use]
    pub fn verifier(&self) -> String {
        self.key.verifier().to_string()
    }

    /// From here on it sees the log of this key.
    ///
    /// # Errors
    /// It is no key of a log.
    pub fn believe(&self, verifier: &str) -> Result<(), Broken> {
        let key = VerifierKey::parse(verifier).doing(verifier)?;
        *held(&self.log) = Some(Trust::new(vec![key]).doing(verifier)?);
        Ok(())
    }

    /// What it cosigned last; or what a story makes it believe that it did.
    pub fn saw(&self) -> MutexGuard<'_, Option<(u64, Hash)>> {
        held(&self.saw)
    }

    #[must_use]
    pub fn answer(&self, asked: &Arrived) -> Reply {
        let known = held(&self.log).clone();
        let Some(log) = known else { return text(404, "") };
        let Some((old, proof, note)) = parsed(asked) else { return text(400, "") };
        let Ok(signed) = log.check(note.as_bytes()) else { return text(403, "") };
        let (new, root) = (signed.checkpoint().size, signed.checkpoint().root);
        let mut saw = self.saw();
        let (size, seen) = saw.unwrap_or((0, Hash::EMPTY));
        if old > new {
            return text(400, "");
        }
        if old != size || (old == new && seen != root) {
            return Reply::new("text/x.tlog.size", [Part::Bytes(format!("{size}\n").into_bytes())]).status(409);
        }
        if proof.extends((size, seen), (new, root)).is_err() {
            return text(422, "");
        }
        let Some(signature) = self.cosigned(&note) else { return text(500, "") };
        *saw = Some((new, root));
        text(200, &format!("{signature}\n"))
    }

    /// What it says of this note, whether it saw it or not.
    #[must_use]
    pub fn cosigned(&self, note: &str) -> Option<NoteSignature> {
        let mut note = Note::new(Note::parse(note.as_bytes()).ok()?.text()).ok()?;
        note.cosign(&self.key, wall_s()).ok()?;
        note.signatures().first().cloned()
    }
}

fn text(status: u16, said: &str) -> Reply {
    Reply::new("text/plain", [Part::Bytes(said.as_bytes().to_vec())]).status(status)
}

/// The old size, the proof and the note of a request; none where it is not written as one.
#[must_use]
pub fn parsed(asked: &Arrived) -> Option<(u64, Proof, String)> {
    if (asked.method.as_str(), asked.path.as_str()) != ("POST", "/add-checkpoint") {
        return None;
    }
    let body = std::str::from_utf8(&asked.body).ok()?;
    let (head, note) = body.split_once("\n\n")?;
    let mut lines = head.split('\n');
    let old = lines.next()?.strip_prefix("old ")?.parse().ok()?;
    let hashes = lines.map(Hash::parse).collect::<Option<Vec<_>>>()?;
    Some((old, Proof::new(hashes).ok()?, note.to_owned()))
}

fn held<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
