//! How the bodies of evidence were given, as one digest that whoever signs the list of records signs with it, and that whoever
//! holds the bodies makes again. It names no body that changed: it says only that one did.

use alloc::format;
use alloc::string::String;
use core::fmt;
use sha2::{Digest as _, Sha256};

/// How a record's body was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How<'a> {
    /// The record has none.
    None,
    Erased,
    /// As ciphertext, by the address that its record names.
    Sealed {
        address: &'a [u8],
    },
    /// As its record committed to it.
    Open {
        plain: &'a [u8],
    },
    /// After what is personal was taken out in this way.
    Altered {
        pii: &'a str,
        plain: &'a [u8],
    },
}

/// SHA-256 over a line for each record, in the order of the log: `17 open 9f86…`.
#[derive(Clone, Debug, Default)]
pub struct Given(Sha256);

// === impl Given ===

impl Given {
    pub fn push(&mut self, sequence: u64, how: How<'_>) {
        let line = match how {
            How::None => format!("{sequence} none\n"),
            How::Erased => format!("{sequence} erased\n"),
            How::Sealed { address } => format!("{sequence} sealed {}\n", Hex(address)),
            How::Open { plain } => format!("{sequence} open {}\n", Hex(&Sha256::digest(plain))),
            How::Altered { pii, plain } => format!("{sequence} altered {pii} {}\n", Hex(&Sha256::digest(plain))),
        };
        self.0.update(line);
    }

    /// In hexadecimal digits.
    #[must_use]
    pub fn digest(self) -> String {
        format!("{}", Hex(&self.0.finalize()))
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
