//! The one error of the harness: what it was doing, and why that failed. It decides nothing about it.

use std::fmt::Display;
use thiserror::Error;

#[derive(Debug, Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// Says what was being done when something failed.
pub trait Doing<T> {
    /// # Errors
    /// The same failure, with `what` before it.
    fn doing(self, what: impl Display) -> Result<T, Broken>;
}

// === impl Doing ===

impl<T, E: Display> Doing<T> for Result<T, E> {
    fn doing(self, what: impl Display) -> Result<T, Broken> {
        self.map_err(|error| Broken(format!("{what}: {error}")))
    }
}

impl<T> Doing<T> for Option<T> {
    fn doing(self, what: impl Display) -> Result<T, Broken> {
        self.ok_or_else(|| Broken(what.to_string()))
    }
}
