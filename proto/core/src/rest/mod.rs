//! REST read strictly: one HTTP request and the rules of a route in, the call of a tool or one named `Malformed` out.
//!
//! The message is the one that MCP's `tools/call` would be, so that policies, approvals and records know one kind of call. It
//! decodes once, and never guesses which of two tools a request could have meant: rules that overlap are no configuration.

mod kind;
mod read;
mod rule;
mod target;
mod template;

pub use kind::Type;
pub use read::{Reading, find, is_host, is_read, read};
pub use rule::{Body, FIELDS_MAX, Field, Parts, Rule, RuleError};
pub use template::{SEGMENTS_MAX, TemplateError};
