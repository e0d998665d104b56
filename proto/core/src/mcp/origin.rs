//! Which web pages may call: the Origin header against the list of a route.
//!
//! A browser names the page that sends a request, and an agent names none. It compares bytes and nothing else: it neither
//! resolves, decodes nor folds a name, since whoever rebinds a DNS name chooses how it is written.

use crate::mcp::{Head, Malformed};
use alloc::string::String;

pub(super) const ORIGIN: &str = "origin";

/// Looks before the body is there: a page that may not call need not be read. The answer to one has no id, as MCP has it.
///
/// # Errors
/// `Malformed::Origin` where the head names an origin that is not, byte for byte, among `origins`, or names more than one.
pub fn check_origin(head: &Head, origins: &[String]) -> Result<(), Malformed> {
    let mut named = head.values(ORIGIN);
    match (named.next(), named.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if origins.iter().any(|origin| origin.as_bytes() == one) => Ok(()),
        (Some(_), _) => Err(Malformed::Origin),
    }
}
