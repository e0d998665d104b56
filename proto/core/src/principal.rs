//! On whose behalf a call is made: a verified agent, a verified user, or a user through an agent.
//!
//! One text stands for one principal, in records, digests and policies. It is made of verified names only.

use crate::id::{NAME_BYTES_MAX, NameError, SpiffeId, check};
use alloc::string::String;
use core::fmt;

/// What stands before a user in a principal's text. No SPIFFE ID holds a `+`, so that the text can be read in one way only.
const USER: &str = "user:";

/// Whom the policy decides about. Its text is `spiffe://domain/path`, `user:subject@issuer`, or both with a `+` between.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    text: String,
    agent: Option<SpiffeId>,
    user: Option<User>,
}

/// A person, or whatever an identity provider vouches for, by a token that was verified.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct User {
    issuer: String,
    subject: String,
}

// === impl User ===

impl User {
    /// # Errors
    /// When one of them is no name, or the issuer holds an `@`.
    pub fn new(subject: &str, issuer: &str) -> Result<Self, NameError> {
        check("the user's subject", subject)?;
        check("the user's issuer", issuer)?;
        if issuer.contains('@') {
            return Err(NameError::Character { what: "the user's issuer" });
        }
        Ok(Self { issuer: issuer.into(), subject: subject.into() })
    }

    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{USER}{}@{}", self.subject, self.issuer)
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Principal ===

impl Principal {
    #[must_use]
    pub fn of_agent(agent: SpiffeId) -> Self {
        Self { text: agent.as_str().into(), agent: Some(agent), user: None }
    }

    /// A user, through an agent where there is one.
    ///
    /// # Errors
    /// When both names together are longer than a name may be.
    pub fn of_user(agent: Option<SpiffeId>, user: User) -> Result<Self, NameError> {
        let text = match &agent {
            Some(agent) => alloc::format!("{agent}+{user}"),
            None => alloc::format!("{user}"),
        };
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong { what: "the principal" });
        }
        Ok(Self { text, agent, user: Some(user) })
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn agent(&self) -> Option<&SpiffeId> {
        self.agent.as_ref()
    }

    #[must_use]
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// Whether every part that `named` has is this principal's too: an agent covers whatever user it acts for.
    #[must_use]
    pub fn is_covered_by(&self, named: &Self) -> bool {
        (named.agent.is_none() || named.agent == self.agent) && (named.user.is_none() || named.user == self.user)
    }
}

impl From<SpiffeId> for Principal {
    fn from(agent: SpiffeId) -> Self {
        Self::of_agent(agent)
    }
}

impl TryFrom<&str> for Principal {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        let (agent, user) = match text.strip_prefix(USER) {
            Some(user) => (None, Some(user)),
            None => match text.split_once("+user:") {
                Some((agent, user)) => (Some(agent), Some(user)),
                None => (Some(text), None),
            },
        };
        let agent = agent.map(SpiffeId::try_from).transpose()?;
        match (agent, user) {
            (agent, Some(user)) => {
                // The issuer has no `@`, a subject may.
                let (subject, issuer) = user.rsplit_once('@').ok_or(NameError::Empty { what: "the user's issuer" })?;
                Self::of_user(agent, User::new(subject, issuer)?)
            }
            (Some(agent), None) => Ok(Self::of_agent(agent)),
            (None, None) => Err(NameError::Empty { what: "the principal" }),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Principal, User};
    use crate::id::{NAME_BYTES_MAX, SpiffeId};

    #[test]
    fn a_principal_is_read_from_its_own_text() {
        for (text, agent, user) in [
            ("spiffe://a/agent/x", Some("spiffe://a/agent/x"), None),
            ("user:alice@https://idp.example", None, Some(("alice", "https://idp.example"))),
            ("user:alice@example.com@https://idp.example", None, Some(("alice@example.com", "https://idp.example"))),
            ("user:+user:b@c", None, Some(("+user:b", "c"))),
            (
                "spiffe://a/agent/x+user:alice@https://idp.example",
                Some("spiffe://a/agent/x"),
                Some(("alice", "https://idp.example")),
            ),
        ] {
            let principal = Principal::try_from(text).unwrap();
            assert_eq!(principal.as_str(), text);
            assert_eq!(principal.agent().map(SpiffeId::as_str), agent, "{text}");
            assert_eq!(principal.user().map(|user| (user.subject(), user.issuer())), user, "{text}");
        }
    }

    #[test]
    fn a_text_that_names_nobody_is_no_principal() {
        for text in [
            "",
            "alice",
            "user:",
            "user:alice",
            "user:@idp",
            "user:alice@",
            "user:a b@idp",
            "spiffe://a/x+user:",
            "spiffe://a/x+bob@idp",
        ] {
            assert!(Principal::try_from(text).is_err(), "{text}");
        }
        assert!(User::new("alice", "a@b").is_err(), "an issuer with an `@` would move the border");
    }

    #[test]
    fn both_names_together_are_bounded() {
        let agent = SpiffeId::try_from("spiffe://a/x").unwrap();
        let room = NAME_BYTES_MAX - "spiffe://a/x+user:@i".len();
        let user = |length| User::new(&"u".repeat(length), "i").unwrap();
        assert!(Principal::of_user(Some(agent.clone()), user(room)).is_ok());
        assert!(Principal::of_user(Some(agent), user(room + 1)).is_err());
    }

    #[test]
    fn an_agent_covers_every_user_that_it_acts_for() {
        let of = |text| Principal::try_from(text).unwrap();
        for (principal, named, covered) in [
            ("spiffe://a/x+user:u@i", "spiffe://a/x", true),
            ("spiffe://a/x+user:u@i", "user:u@i", true),
            ("spiffe://a/x+user:u@i", "spiffe://a/x+user:u@i", true),
            ("spiffe://a/x+user:u@i", "spiffe://a/y", false),
            ("spiffe://a/x+user:u@i", "user:u@j", false),
            ("spiffe://a/x", "user:u@i", false),
            ("spiffe://a/x", "spiffe://a/x+user:u@i", false),
        ] {
            assert_eq!(of(principal).is_covered_by(&of(named)), covered, "{principal} by {named}");
        }
    }
}
