//! One binary: the golden vectors, and the properties that hold for all bytes.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

mod attempts;
mod invariants;
mod properties;
mod rest;
mod transparency;
mod vectors;
