//! An error and its causes in one line, for logs, status and people: core's, by the name that the rooms know.

pub use agentgate_core::error::chain;
