//! SHA-256 with a domain in front, so that the digest of one kind of thing never stands for another.

use core::fmt;
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest: 32 bytes, written as lowercase hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A digest under construction. Every part is length-prefixed: `("ab", "c")` and `("a", "bc")` differ.
#[derive(Clone, Debug)]
pub struct Digester(Sha256);

// === impl Digest ===

impl Digest {
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// This digest with another last byte: a name beside it, for what is derived from it.
    #[must_use]
    pub const fn beside(mut self, last: u8) -> Self {
        self.0[31] = last;
        self
    }

    /// The digest of `bytes` under `domain`, e.g. `agentgate/call/1`.
    #[must_use]
    pub fn of(domain: &'static str, bytes: &[u8]) -> Self {
        let mut digester = Digester::new(domain);
        digester.part(bytes);
        digester.finish()
    }
}

impl TryFrom<&[u8]> for Digest {
    type Error = core::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Digester ===

impl Digester {
    #[must_use]
    pub fn new(domain: &'static str) -> Self {
        let mut digester = Self(Sha256::new());
        digester.part(domain.as_bytes());
        digester
    }

    pub fn part(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}
