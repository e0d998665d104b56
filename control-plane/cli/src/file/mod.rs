//! A file that somebody gave: read within bounds, its fields by their names, and why it cannot be read. It judges nothing.

pub(crate) mod fields;
pub(crate) mod once;
mod unreadable;

pub use unreadable::Unreadable;
pub(crate) use unreadable::read;
