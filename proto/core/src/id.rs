//! Who and what is spoken of: names that were checked once, where they came in, and are trusted afterwards.

use crate::digest::Digest;
use alloc::string::String;
use core::fmt;
use thiserror::Error;

/// The longest name of any kind, in bytes: room for a SPIFFE ID (2048 by its specification).
pub const NAME_BYTES_MAX: usize = 2_048;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    #[error("{what} is empty")]
    Empty { what: &'static str },
    #[error("{what} is longer than {NAME_BYTES_MAX} bytes")]
    TooLong { what: &'static str },
    #[error("{what} contains a control, format or space character")]
    Character { what: &'static str },
    #[error("`{name}` is no SPIFFE ID: {why}")]
    Spiffe { name: String, why: &'static str },
}

/// Makes a checked text newtype: not empty, bounded, no control, white space or bidi character.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(text: &str) -> Result<Self, NameError> {
                check($what, text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// Whose rules apply. Comes from the control plane's configuration, never from the agent.
    Tenant,
    "the tenant"
);
name!(
    /// The name under which a server stands behind the gate. Comes from the filter's configuration.
    Server,
    "the server's name"
);
name!(
    /// A rule of a policy, as its author wrote it.
    RuleName,
    "the rule's name"
);

/// A workload's name: `spiffe://trust-domain/path`, from a certificate's URI SAN.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId(String);

pub use crate::principal::{Principal, User};

/// A filter, by its own certificate: the one who asks and the only one who may report.
pub type Asker = SpiffeId;

/// A handle that the agent wrote to group its calls (`Mcp-Session-Id`). It may narrow, never launder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(String);

/// The random number of one life of a filter VM, so that counters never repeat.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub [u8; 16]);

/// One call, for ever: minted by the filter, unique by its certificate, the epoch of its VM and a counter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    pub asker: Asker,
    pub epoch: Epoch,
    pub counter: u64,
}

pub(crate) fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { what });
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || is_format(c)) {
        return Err(NameError::Character { what });
    }
    Ok(())
}

/// Characters that are not seen but change what is seen: bidi controls, joiners, tags, the byte order mark.
#[must_use]
pub const fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

// === impl RuleName ===

impl RuleName {
    /// A rule of the gate itself: `gate.` and a name from our own code, which a policy's package cannot take.
    #[must_use]
    pub fn of_gate(rule: &'static str) -> Self {
        Self(alloc::format!("gate.{rule}"))
    }
}

// === impl SpiffeId ===

impl SpiffeId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part between `spiffe://` and the first slash.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        let rest = self.0.strip_prefix("spiffe://").unwrap_or_default();
        rest.split_once('/').map_or(rest, |(domain, _)| domain)
    }
}

impl TryFrom<&str> for SpiffeId {
    type Error = NameError;

    /// By the SPIFFE ID standard: lower-case trust domain, a path without empty or dot segments, no query.
    fn try_from(text: &str) -> Result<Self, NameError> {
        check("the SPIFFE ID", text)?;
        let wrong = |why| Err(NameError::Spiffe { name: text.into(), why });
        let Some(rest) = text.strip_prefix("spiffe://") else {
            return wrong("it does not begin with spiffe://");
        };
        let Some((domain, path)) = rest.split_once('/') else {
            return wrong("it has no path");
        };
        if domain.is_empty() || !domain.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_')) {
            return wrong("its trust domain has other characters than a-z 0-9 . - _");
        }
        for segment in path.split('/') {
            if matches!(segment, "" | "." | "..") {
                return wrong("its path has an empty or a dot segment");
            }
            if !segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
                return wrong("its path has other characters than a-z A-Z 0-9 . - _");
            }
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

// === impl Handle ===

impl Handle {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Handle {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        check("the session handle", text)?;
        Ok(Self(text.into()))
    }
}

// === impl Epoch ===

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

// === impl CallId ===

impl CallId {
    /// The id under which a journal knows this call's decision: 20 bytes of a digest of the VM's life, then the counter,
    /// then four zero bytes, where ids that derive from it differ.
    ///
    /// Calls of one VM stand beside each other in whatever is ordered by id, so that an index learns them page by page
    /// and not each at another end.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut digester = crate::digest::Digester::new("agentgate/call-id/1");
        digester.part(self.asker.as_str().as_bytes());
        digester.part(&self.epoch.0);
        let mut id = *digester.finish().as_bytes();
        let tail = self.counter.to_be_bytes().into_iter().chain([0; 4]);
        id.iter_mut().skip(20).zip(tail).for_each(|(byte, of_tail)| *byte = of_tail);
        Digest::from_bytes(id)
    }
}

/// `epoch-counter`: what people quote. The asker is left out, since an epoch is random.
impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.counter)
    }
}

#[cfg(test)]
mod tests;
