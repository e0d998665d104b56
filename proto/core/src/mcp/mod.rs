//! MCP over streamable HTTP, read strictly: one request in, one `Message` or one named `Malformed` out.
//!
//! It reads both eras (2026-07-28, and 2025-11-25 back to 2025-03-26). It never guesses, repairs or stops at the first match.

mod envelope;
mod head;
mod headers;
mod malformed;
mod message;
mod method;
mod origin;
mod params;
mod read;
pub mod response;
pub mod sse;
mod version;

pub use head::{Head, STRIPPED_PREFIX, is_stripped, stripped_headers};
pub use headers::is_read;
pub(crate) use headers::{check_entity, is_entity};
pub use malformed::{Answer, Malformed, Unread};
pub use message::{Kind, Message, RequestId};
pub use method::Method;
pub use origin::check_origin;
pub use read::{Limits, Rules, read};
pub use version::{Era, Protocol, Version};
