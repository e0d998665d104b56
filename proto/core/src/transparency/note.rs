//! Signed notes (C2SP signed-note): a text, an empty line, and a line for each signature.
//!
//! A note is read whole or refused by the name of what is wrong. Signatures of keys that nobody named are carried along and say
//! nothing; one of a named key that does not hold refuses the note.

use super::key::{Algorithm, KeyError, KeyId, KeyName, SIGNATURE_BYTES, SignerKey, VerifierKey};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

/// The longest note: a checkpoint with as many signatures as there may be, of the longest kind that is in use.
pub const NOTE_BYTES_MAX: usize = 1 << 19;

/// The most signatures of a note, as Go reads them: each costs a look, and of a named key a check.
pub const SIGNATURES_MAX: usize = 100;

/// The latest time of a cosignature, in seconds: signed, in 64 bits.
const TIME_S_MAX: u64 = i64::MAX.cast_unsigned();

const DASH: &str = "\u{2014} ";

/// A text and who says that they signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// A signature as it stands in a note. It is checked by `Note::signed_by`, and by nothing before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    pub by: KeyId,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoteError {
    #[error("a note has at most {NOTE_BYTES_MAX} bytes, and this one {0}")]
    Length(usize),
    #[error("the note is no text in UTF-8")]
    Encoding,
    #[error("the note has a control character in its line {0}")]
    Control(usize),
    #[error("the note's text does not end with its line")]
    Text,
    #[error("the note has no empty line before its signatures")]
    Separator,
    #[error("the note is not signed, or its last line is cut short")]
    Unsigned,
    #[error("a note has at most {SIGNATURES_MAX} signatures")]
    Signatures,
    #[error("signature {at} of the note is not written as one")]
    Signature { at: usize },
    #[error("signature {at} of the note names no key")]
    Name { at: usize, source: KeyError },
    #[error("the signature of `{0}` does not hold")]
    Forged(KeyId),
    #[error("the key `{0}` is for another kind of signature")]
    Algorithm(KeyId),
    #[error("a cosignature's time is from 1 to {TIME_S_MAX} s, and not {0}")]
    Time(u64),
}

// === impl Note ===

impl Note {
    /// A note that nobody has signed yet.
    ///
    /// # Errors
    /// Where no note can have this text.
    pub fn new(text: &str) -> Result<Self, NoteError> {
        checked(text.as_bytes())?;
        if !text.ends_with('\n') {
            return Err(NoteError::Text);
        }
        Ok(Self { text: text.into(), signatures: Vec::new() })
    }

    /// # Errors
    /// Where these bytes are no signed note.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let whole = checked(bytes)?;
        let (text, lines) = whole.rsplit_once("\n\n").ok_or(NoteError::Separator)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Unsigned)?;
        if lines.split('\n').count() > SIGNATURES_MAX {
            return Err(NoteError::Signatures);
        }
        let signatures = lines.split('\n').zip(1..).map(|(line, at)| NoteSignature::parse(line, at)).collect::<Result<_, _>>()?;
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Signs the text, in place of this key's earlier signature.
    ///
    /// # Errors
    /// `Algorithm`, of a witness's key; `Signatures`, where there is no room.
    pub fn sign(&mut self, key: &SignerKey) -> Result<(), NoteError> {
        let bytes = match key.verifier().algorithm() {
            Algorithm::Ed25519 => key.sign(self.text.as_bytes()).to_vec(),
            Algorithm::Cosignature => return Err(NoteError::Algorithm(key.verifier().id().clone())),
        };
        self.put(NoteSignature { by: key.verifier().id().clone(), bytes })
    }

    /// Signs the text and the time, as a witness does, in place of this key's earlier cosignature.
    ///
    /// # Errors
    /// `Algorithm`, of a key that is no witness's; `Time`; `Signatures`, where there is no room.
    pub fn cosign(&mut self, key: &SignerKey, at_s: u64) -> Result<(), NoteError> {
        let signature = match key.verifier().algorithm() {
            Algorithm::Cosignature => key.sign(&self.cosigned(at_s)?),
            Algorithm::Ed25519 => return Err(NoteError::Algorithm(key.verifier().id().clone())),
        };
        let bytes = at_s.to_be_bytes().into_iter().chain(signature).collect();
        self.put(NoteSignature { by: key.verifier().id().clone(), bytes })
    }

    /// Takes over a signature that somebody else made, in place of an earlier one of the same key. It is not checked.
    ///
    /// # Errors
    /// `Signatures`, where there is no room.
    pub fn put(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        let mut signatures = self.signatures.clone();
        signatures.retain(|own| own.by != signature.by);
        signatures.push(signature);
        if signatures.len() > SIGNATURES_MAX {
            return Err(NoteError::Signatures);
        }
        self.signatures = signatures;
        Ok(())
    }

    /// Whether this key signed the text.
    ///
    /// # Errors
    /// `Forged`, where a signature in its name does not hold.
    pub fn signed_by(&self, key: &VerifierKey) -> Result<bool, NoteError> {
        match key.algorithm() {
            Algorithm::Ed25519 => {}
            Algorithm::Cosignature => return Err(NoteError::Algorithm(key.id().clone())),
        }
        let mut signed = false;
        for signature in self.signatures.iter().filter(|signature| signature.by == *key.id()) {
            let holds = signature.bytes.as_slice().try_into().is_ok_and(|bytes| key.verifies(self.text.as_bytes(), bytes));
            if !holds {
                return Err(NoteError::Forged(key.id().clone()));
            }
            signed = true;
        }
        Ok(signed)
    }

    /// When this witness signed the text, in seconds: the latest time, where there are several.
    ///
    /// # Errors
    /// `Forged`, where a cosignature in its name does not hold.
    pub fn cosigned_by(&self, key: &VerifierKey) -> Result<Option<u64>, NoteError> {
        match key.algorithm() {
            Algorithm::Cosignature => {}
            Algorithm::Ed25519 => return Err(NoteError::Algorithm(key.id().clone())),
        }
        let mut latest = None;
        for signature in self.signatures.iter().filter(|signature| signature.by == *key.id()) {
            let forged = || NoteError::Forged(key.id().clone());
            let (time, bytes) = signature.bytes.split_first_chunk().ok_or_else(forged)?;
            let bytes: &[u8; SIGNATURE_BYTES] = bytes.try_into().map_err(|_| forged())?;
            let at_s = u64::from_be_bytes(*time);
            if !key.verifies(&self.cosigned(at_s)?, bytes) {
                return Err(forged());
            }
            latest = latest.max(Some(at_s));
        }
        Ok(latest)
    }

    /// What a witness signs at this time.
    fn cosigned(&self, at_s: u64) -> Result<Vec<u8>, NoteError> {
        // Nought is what a witness says that knows no time.
        if at_s == 0 || at_s > TIME_S_MAX {
            return Err(NoteError::Time(at_s));
        }
        Ok(format!("cosignature/v1\ntime {at_s}\n{}", self.text).into_bytes())
    }
}

/// The whole note. Without a signature it is none yet, and `parse` refuses it.
impl core::fmt::Display for Note {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

fn checked(bytes: &[u8]) -> Result<&str, NoteError> {
    if bytes.len() > NOTE_BYTES_MAX {
        return Err(NoteError::Length(bytes.len()));
    }
    let text = core::str::from_utf8(bytes).map_err(|_| NoteError::Encoding)?;
    let control = |line: &str| line.contains(|c| c < ' ');
    text.split('\n').position(control).map_or(Ok(text), |line| Err(NoteError::Control(line + 1)))
}

// === impl NoteSignature ===

impl NoteSignature {
    /// One line of a note, e.g. what a witness answered with.
    ///
    /// # Errors
    /// Where the line, the note's `at`th, is none.
    pub fn parse(line: &str, at: usize) -> Result<Self, NoteError> {
        let wrong = NoteError::Signature { at };
        let (name, base64) = line.strip_prefix(DASH).and_then(|line| line.split_once(' ')).ok_or_else(|| wrong.clone())?;
        let name = KeyName::try_from(name).map_err(|source| NoteError::Name { at, source })?;
        let bytes = STANDARD.decode(base64).map_err(|_| wrong.clone())?;
        match bytes.split_first_chunk() {
            Some((hash, rest)) if !rest.is_empty() => {
                Ok(Self { by: KeyId { name, hash: u32::from_be_bytes(*hash) }, bytes: rest.to_vec() })
            }
            Some(_) | None => Err(wrong),
        }
    }
}

impl core::fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let bytes: Vec<u8> = self.by.hash.to_be_bytes().into_iter().chain(self.bytes.iter().copied()).collect();
        write!(f, "{DASH}{} {}", self.by.name, STANDARD.encode(bytes))
    }
}
