//! What a policy may not say. Each rule is here because without it a policy would allow by accident, or could not be
//! replayed, or would cost more than anybody counts. It judges what is written and runs nothing.

use crate::engine::{self, PATTERNS_MAX};
use crate::input;
use crate::syntax::{Module, Rule, Shape, Step, Use, What};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// The package that all files of a policy folder share.
pub(crate) const PACKAGE: &str = "agentgate.platform";

/// The sets that the engine reads.
pub(crate) const SETS: [&str; 3] = ["deny", "require_approval", "allow"];

/// The set of the names of tools that a list does not show.
pub(crate) const HIDDEN: &str = "hidden";

/// What looks at the world: the whole name, or the beginning of a family's.
const WORLD: [&str; 7] = ["time.now_ns", "rand.", "uuid.", "http.", "opa.runtime", "net.lookup_", "test.sleep"];

/// One call of these may cost more than the instruction limit counts, or all memory there is.
const UNCOUNTED: [&str; 4] = ["numbers.range", "numbers.range_step", "bits.lsh", "strings.replace_n"];

/// These write where nobody reads; what they would write is personal data.
const SPEAKING: [&str; 2] = ["print", "trace"];

/// Arguments that have to stand in the source: which of which builtin. A pattern or a format from elsewhere could be the
/// agent's; a delimiter or a replacement from elsewhere multiplies one long text by another.
const WRITTEN: [(&str, usize, &str); 11] = [
    ("regex.match", 0, "pattern"),
    ("regex.is_valid", 0, "pattern"),
    ("regex.replace", 1, "pattern"),
    ("regex.replace", 2, "replacement"),
    ("regex.split", 0, "pattern"),
    ("regex.find_n", 0, "pattern"),
    ("regex.find_all_string_submatch_n", 0, "pattern"),
    ("regex.template_match", 0, "template"),
    ("sprintf", 0, "format"),
    ("concat", 0, "delimiter"),
    ("replace", 2, "replacement"),
];

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{path}:{line}: {what}")]
pub struct Fault {
    pub path: String,
    pub line: u32,
    pub what: String,
}

/// What all files of a policy define, and what they were seen to use.
struct Policy<'a> {
    modules: &'a [Module],
    /// By rule, what it names.
    uses: BTreeMap<&'a str, BTreeSet<&'a str>>,
    patterns: BTreeSet<String>,
}

/// The first fault, by file and line.
pub(crate) fn check(modules: &[Module]) -> Result<(), Fault> {
    let mut policy = Policy::new(modules);
    for module in modules {
        let fault = |line, what: String| Fault { path: module.path.clone(), line, what };
        if module.package != PACKAGE {
            return Err(fault(1, format!("the package is `{}`; a policy's package is `{PACKAGE}`", module.package)));
        }
        for used in module.imports.iter().chain(module.rules.iter().flat_map(|rule| &rule.uses)) {
            policy.check_use(used).map_err(|what| fault(used.line, what))?;
        }
        for rule in &module.rules {
            policy.check_rule(rule).map_err(|what| fault(rule.line, what))?;
        }
    }
    Ok(())
}

// === impl Policy ===

impl<'a> Policy<'a> {
    fn new(modules: &'a [Module]) -> Self {
        let mut uses: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for rule in modules.iter().flat_map(|module| &module.rules) {
            uses.entry(&rule.name).or_default().extend(rule.uses.iter().filter_map(names));
        }
        Self { modules, uses, patterns: BTreeSet::new() }
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.modules.iter().flat_map(|module| &module.rules)
    }

    fn check_rule(&self, rule: &Rule) -> Result<(), String> {
        let name = rule.name.as_str();
        if self.reaches(name, name) {
            return Err(format!("`{name}` depends on itself"));
        }
        if SETS.contains(&name) || name == HIDDEN {
            return match rule.shape {
                Shape::Set => Ok(()),
                Shape::Function | Shape::Value => Err(format!("`{name}` is a set: write `{name} contains … if …`")),
            };
        }
        // A misspelt set is a rule that never speaks.
        if !self.uses.values().any(|used| used.contains(name)) {
            return Err(format!("nothing reads `{name}`; the engine reads `deny`, `require_approval`, `allow` and `hidden`"));
        }
        Ok(())
    }

    /// Whether what the rules named `from` use leads to the rules named `to`. The engine would follow a function that
    /// calls itself until its stack ends.
    fn reaches(&self, from: &str, to: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut next = vec![from];
        while let Some(name) = next.pop() {
            for used in self.uses.get(name).into_iter().flatten() {
                if *used == to {
                    return true;
                }
                if seen.insert(*used) {
                    next.push(used);
                }
            }
        }
        false
    }

    fn check_use(&mut self, used: &Use) -> Result<(), String> {
        match &used.what {
            What::Import(name) if name == "rego.v1" => Ok(()),
            What::Import(name) => Err(format!("`import {name}`: write the name out where it is used")),
            What::Else => Err("`else` makes the order of rules a meaning; write a rule of its own".to_owned()),
            What::With => Err("`with` replaces what the call is about; write a case instead".to_owned()),
            What::Reference(steps) => self.check_reference(steps),
            What::Call { name, arguments } => self.check_call(name, arguments),
        }
    }

    /// A misspelt field is undefined, and a `deny` that asks for it never speaks.
    fn check_reference(&self, steps: &[Step]) -> Result<(), String> {
        let [Step::Name(root), rest @ ..] = steps else { return Ok(()) };
        match (root.as_str(), rest) {
            ("input" | "data", []) => Err(format!("`{root}` as a whole: name what the rule depends on")),
            ("input" | "data", [Step::Computed { .. }, ..]) => {
                Err(format!("`{root}[…]` with a computed name: name what the rule depends on"))
            }
            ("input", rest) => input::check_path(rest),
            ("data", [Step::Name(tools), ..]) if tools == "tools" => Ok(()),
            ("data", rest) => match own_rule(rest) {
                Some(name) if self.rules().any(|rule| rule.name == name) => Ok(()),
                Some(_) | None => {
                    let path = written(rest);
                    Err(format!("`data{path}` is not there; a policy sees `data.tools` and the rules of its own package"))
                }
            },
            _ => Ok(()),
        }
    }

    fn check_call(&mut self, name: &str, arguments: &[Option<String>]) -> Result<(), String> {
        if WORLD.iter().any(|world| name == *world || (world.ends_with(['.', '_']) && name.starts_with(world))) {
            return Err(format!("the policy names `{name}`, which replay cannot repeat; take what you need from `input`"));
        }
        if UNCOUNTED.contains(&name) {
            return Err(format!("the policy names `{name}`, whose cost the instruction limit does not count"));
        }
        if SPEAKING.contains(&name) {
            return Err(format!("the policy names `{name}`, which would write the call where nobody reads it; write a case"));
        }
        let called = local(name);
        let is_function = |rule: &Rule| rule.shape == Shape::Function && rule.name == called;
        if !engine::is_builtin(name) && !self.rules().any(is_function) {
            return Err(format!("`{name}` is no builtin of this engine and no function of this policy"));
        }
        for (_, position, what) in WRITTEN.iter().filter(|(builtin, ..)| *builtin == name) {
            let Some(text) = arguments.get(*position).and_then(Option::as_deref) else {
                return Err(format!(
                    "the {what} of `{name}` is not written into the call; taken from elsewhere it could be the agent's"
                ));
            };
            if *what == "pattern" {
                self.check_pattern(name, text)?;
            }
        }
        Ok(())
    }

    fn check_pattern(&mut self, name: &str, pattern: &str) -> Result<(), String> {
        engine::check_pattern(pattern).map_err(|error| format!("the pattern of `{name}` is none: {error}"))?;
        self.patterns.insert(pattern.to_owned());
        if self.patterns.len() > PATTERNS_MAX {
            return Err(format!("more than {PATTERNS_MAX} different patterns"));
        }
        Ok(())
    }
}

/// The rule of this policy that is used, or the name of something else.
pub(crate) fn names(used: &Use) -> Option<&str> {
    match &used.what {
        What::Call { name, .. } => Some(local(name)),
        What::Reference(steps) => match steps.as_slice() {
            [Step::Name(data), rest @ ..] if data == "data" => own_rule(rest),
            [Step::Name(name), ..] => Some(name),
            _ => None,
        },
        What::Import(_) | What::Else | What::With => None,
    }
}

/// `name` of `agentgate.platform.name`.
pub(crate) fn own_rule(steps: &[Step]) -> Option<&str> {
    match steps {
        [Step::Name(agentgate), Step::Name(platform), Step::Name(name), ..]
            if agentgate == "agentgate" && platform == "platform" =>
        {
            Some(name)
        }
        _ => None,
    }
}

/// The name of a function without the path of its package.
fn local(name: &str) -> &str {
    name.strip_prefix("data.agentgate.platform.").unwrap_or(name)
}

fn written(steps: &[Step]) -> String {
    let step = |step: &Step| match step {
        Step::Name(name) => format!(".{name}"),
        Step::Computed { .. } => "[…]".to_owned(),
    };
    steps.iter().map(step).collect()
}

#[cfg(test)]
mod tests;
