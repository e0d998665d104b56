//! An ask: the head and the rules of reading, wire ⇄ core.

use crate::v1;
use agentgate_core::mcp::{Head, Version};

// === impl Head ===

/// The head as it travels: method, path, and the headers that the parser looks at.
#[must_use]
pub fn head_to_wire(head: &Head) -> v1::Head {
    let headers = head
        .headers
        .iter()
        .filter(|(name, _)| agentgate_core::mcp::is_read(name))
        .map(|(name, value)| v1::Header { name: name.clone().into(), value: value.clone().into() })
        .collect();
    v1::Head { method: head.method.clone().into(), path: head.path.clone().into(), headers }
}

#[must_use]
pub fn head_from_wire(head: &v1::Head) -> Head {
    let headers = head.headers.iter().map(|header| (header.name.to_vec(), header.value.to_vec())).collect();
    Head { method: head.method.to_vec(), path: head.path.to_vec(), headers }
}

/// The protocol versions named on the wire. None when one of them is unknown: never narrowed in silence.
#[must_use]
pub fn versions_from_wire(versions: &[String]) -> Option<Vec<Version>> {
    versions.iter().map(|version| Version::parse(version.as_bytes())).collect()
}
