//! Where a rule of a policy stands, and what it reads: for people who ask why. It is taken from the syntax that the engine
//! read, so that a comment or a text that looks like a rule is none.

use crate::bundle::Bundle;
use crate::reads::Reads;

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
        let mut places = Vec::new();
        for module in self.modules() {
            for known in module.rules.iter().filter(|known| known.element.as_deref() == Some(rule)) {
                let set = RuleSet::ALL.into_iter().find(|set| set.name() == known.name);
                let text = known.text.get(..known.text.floor_char_boundary(RULE_TEXT_BYTES_MAX)).unwrap_or_default();
                places.extend(set.map(|set| RulePlace {
                    set,
                    file: module.path.clone(),
                    line: known.line,
                    text: text.trim_end().to_owned(),
                }));
            }
        }
        places
    }

    /// The paths of `input` and of `data.tools` that the rules of this name read, themselves or through others.
    #[must_use]
    pub fn reads(&self, rule: &str) -> Vec<String> {
        Reads::new(self.modules()).paths(rule).into_keys().collect()
    }
}

#[cfg(test)]
mod tests;
