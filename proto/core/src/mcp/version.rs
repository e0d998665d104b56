//! The protocols that the gate reads: the versions of MCP with their two eras, and REST.

/// A published version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

/// What a message was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Mcp(Version),
    /// Plain HTTP, read by the rules of a route (`rest`). It has no versions.
    Rest,
}

/// What a version's transport is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Era {
    /// `initialize`, `Mcp-Session-Id`, GET streams and DELETE: up to 2025-11-25.
    Session,
    /// Each POST stands alone: since 2026-07-28.
    Stateless,
}

// === impl Version ===

impl Version {
    pub const ALL: [Self; 4] = [Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str().as_bytes() == text)
    }

    #[must_use]
    pub const fn era(self) -> Era {
        match self {
            Self::V2025_03_26 | Self::V2025_06_18 | Self::V2025_11_25 => Era::Session,
            Self::V2026_07_28 => Era::Stateless,
        }
    }
}

// === impl Protocol ===

impl Protocol {
    /// The one spelling of this protocol, in policies and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mcp(version) => version.as_str(),
            Self::Rest => "rest",
        }
    }

    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text == Self::Rest.as_str().as_bytes() { Some(Self::Rest) } else { Version::parse(text).map(Self::Mcp) }
    }

    /// None: it has none.
    #[must_use]
    pub const fn era(self) -> Option<Era> {
        match self {
            Self::Mcp(version) => Some(version.era()),
            Self::Rest => None,
        }
    }
}
