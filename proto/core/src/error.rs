//! An error and its causes in one line, for logs, status and people. It drops nothing and adds nothing.

use alloc::string::{String, ToString};
use core::error::Error;

#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // A transparent error says what its cause says.
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::chain;
    use thiserror::Error;

    #[derive(Debug, Error)]
    #[error("the disk is full")]
    struct Full;

    #[derive(Debug, Error)]
    #[error("`{0}` was not written")]
    struct Unwritten(&'static str, #[source] Full);

    #[derive(Debug, Error)]
    #[error("{0}")]
    struct Passing(#[source] Unwritten);

    #[test]
    fn every_cause_is_said_once_and_in_order() {
        let unwritten = || Unwritten("a.seg", Full);
        assert_eq!(chain(&Full), "the disk is full");
        assert_eq!(chain(&unwritten()), "`a.seg` was not written: the disk is full");
        assert_eq!(chain(&Passing(unwritten())), "`a.seg` was not written: the disk is full");
    }
}
