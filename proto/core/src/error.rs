//! An error and its causes in one line, for logs, status and people. It drops nothing and adds nothing.

use alloc::string::{String, ToString};
use core::error::Error;

#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    for cause in causes(error.source()) {
        let words = cause.to_string();
        // A transparent error says what its cause says.
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
    }
    text
}

/// This error, what caused it, what caused that, and so on. A transparent error stands for its cause, which is not told apart.
pub fn causes<'a>(error: Option<&'a (dyn Error + 'static)>) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    core::iter::successors(error, |cause: &&'a (dyn Error + 'static)| (*cause).source())
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
