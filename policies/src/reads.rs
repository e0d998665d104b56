//! What rules read, themselves and through the rules that they use; and for which tools some rule looks at arguments. All of
//! it is taken from the syntax, when a bundle is loaded: no call is needed for it, and none changes it.
//!
//! INVARIANT: where it cannot tell, it says that a rule looks, and at every tool.

use crate::lint::{self, SETS};
use crate::syntax::{Guard, Module, Rule, Step, Use, What};
use agentgate_core::fold;
use std::collections::{BTreeMap, BTreeSet};

/// Other names that one path may go through. A rule that depends on itself was refused before.
const NAMES_MAX: usize = 16;

/// The rules of a policy, by name.
#[derive(Debug)]
pub(crate) struct Reads<'a>(BTreeMap<&'a str, Vec<&'a Rule>>);

/// For which calls of tools the rules look at arguments, and at which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Looks(BTreeMap<Guard, BTreeSet<String>>);

/// The names below `input.arguments` that the rules for one tool read, by what they look like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names(BTreeMap<String, BTreeSet<String>>);

// === impl Reads ===

impl<'a> Reads<'a> {
    pub(crate) fn new(modules: &'a [Module]) -> Self {
        let mut rules: BTreeMap<&str, Vec<&Rule>> = BTreeMap::new();
        for rule in modules.iter().flat_map(|module| &module.rules) {
            rules.entry(&rule.name).or_default().push(rule);
        }
        Self(rules)
    }

    /// The paths of `input` and `data.tools` that the rules contributing this element read, and whether each is known from
    /// the call alone.
    pub(crate) fn paths(&self, element: &str) -> BTreeMap<String, bool> {
        let mut paths = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let in_sets = SETS.iter().filter_map(|set| self.0.get(set)).flatten();
        let mut next: Vec<&Rule> = in_sets.filter(|rule| rule.element.as_deref() == Some(element)).copied().collect();
        while let Some(rule) = next.pop() {
            paths.extend(self.own_paths(rule).iter().map(|steps| (written(steps), steps.iter().all(Step::is_fixed))));
            let used = self.used(rule).filter(|name| seen.insert(*name));
            next.extend(used.filter_map(|name| self.0.get(name)).flatten());
        }
        paths
    }

    /// Without what the rule only gives another name to.
    fn own_paths(&self, rule: &Rule) -> Vec<Vec<Step>> {
        let named: Vec<_> = rule.aliases.iter().map(|(_, path)| path).chain(&rule.stands_for).collect();
        let renamed = |steps: &[Step]| named.iter().any(|path| path.as_slice() == steps);
        let references = references(rule).filter(|steps| !renamed(steps)).map(|steps| self.resolve(rule, steps));
        references.filter(|steps| is_fact(steps)).collect()
    }

    /// The rules that this one uses, by name.
    fn used<'r>(&'r self, rule: &'r Rule) -> impl Iterator<Item = &'a str> + 'r {
        let names = rule.uses.iter().filter_map(lint::names);
        names.filter_map(|name| self.0.get_key_value(name)).map(|(name, _)| *name)
    }

    /// A path with other names replaced by what they stand for.
    fn resolve(&self, rule: &Rule, steps: &[Step]) -> Vec<Step> {
        let mut steps = steps.to_vec();
        for _ in 0..NAMES_MAX {
            let (first, below) = match steps.as_slice() {
                [Step::Name(data), rest @ ..] if data == "data" && lint::own_rule(rest).is_some() => match rest {
                    [_, _, Step::Name(first), below @ ..] => (first, below),
                    _ => return steps,
                },
                [Step::Name(first), below @ ..] => (first, below),
                _ => return steps,
            };
            let local = rule.aliases.iter().find(|(name, _)| name == first).map(|(_, path)| path);
            let Some(path) = local.or_else(|| self.stands_for(first)) else { return steps };
            steps = path.iter().chain(below).cloned().collect();
        }
        steps
    }

    fn stands_for(&self, name: &str) -> Option<&Vec<Step>> {
        match self.0.get(name)?.as_slice() {
            [rule] => rule.stands_for.as_ref(),
            _ => None,
        }
    }

    pub(crate) fn looks(&self) -> Looks {
        let mut known = BTreeMap::new();
        let mut all = Looks::default();
        for set in SETS {
            all.extend(self.looks_of(set, &mut known));
        }
        all
    }

    /// Of all rules of one name.
    fn looks_of(&self, name: &'a str, known: &mut BTreeMap<&'a str, Looks>) -> Looks {
        if let Some(looks) = known.get(name) {
            return looks.clone();
        }
        let mut all = Looks::default();
        for rule in self.0.get(name).into_iter().flatten() {
            let mut inner = self.own_looks(rule);
            for used in self.used(rule) {
                inner.extend(self.looks_of(used, known));
            }
            all.extend(inner.within(&rule.guards));
        }
        known.insert(name, all.clone());
        all
    }

    fn own_looks(&self, rule: &Rule) -> Looks {
        let mut looks = Looks::default();
        for steps in references(rule).map(|steps| self.resolve(rule, steps)) {
            let names = match steps.as_slice() {
                [Step::Name(input), Step::Name(arguments), rest @ ..] if input == "input" && arguments == "arguments" => rest,
                [Step::Name(input), Step::Name(params), rest @ ..] if input == "input" && params == "params" => match rest {
                    [Step::Name(arguments), rest @ ..] if arguments == "arguments" => rest,
                    // Beside the arguments: the tool's name, or what the protocol adds.
                    [Step::Name(_), ..] => continue,
                    rest => rest.get(rest.len()..).unwrap_or_default(),
                },
                _ => continue,
            };
            let at = looks.0.entry(Guard::default()).or_default();
            if let [Step::Name(name), ..] = names {
                at.insert(name.clone());
            }
        }
        looks
    }
}

fn references(rule: &Rule) -> impl Iterator<Item = &[Step]> {
    rule.uses.iter().filter_map(|Use { what, .. }| match what {
        What::Reference(steps) => Some(steps.as_slice()),
        What::Call { .. } | What::Import(_) | What::Else | What::With => None,
    })
}

fn is_fact(steps: &[Step]) -> bool {
    match steps {
        [Step::Name(input), Step::Name(_), ..] if input == "input" => true,
        [Step::Name(data), Step::Name(tools), ..] => data == "data" && tools == "tools",
        _ => false,
    }
}

/// A path as Rego: `data.tools[input.server]["a b"]`.
pub(crate) fn written(steps: &[Step]) -> String {
    let mut text = String::new();
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Name(name) if at == 0 => text += name,
            Step::Name(name) if is_identifier(name) => text += &format!(".{name}"),
            Step::Name(name) => text += &format!("[{}]", agentgate_core::json::Json::from(name.as_str())),
            Step::Computed { rego, .. } => text += &format!("[{rego}]"),
        }
    }
    text
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

// === impl Looks ===

impl Looks {
    fn extend(&mut self, other: Self) {
        for (guard, names) in other.0 {
            self.0.entry(guard).or_default().extend(names);
        }
    }

    /// What is left of them where one of `guards` has to hold; a rule without a body has none.
    fn within(self, guards: &[Guard]) -> Self {
        if guards.is_empty() {
            return self;
        }
        let mut all = Self::default();
        for guard in guards {
            all.extend(Self(self.0.iter().map(|(inner, names)| (guard.and(inner), names.clone())).collect()));
        }
        all
    }

    /// What the rules read of the arguments of this tool. None: nothing.
    pub(crate) fn at(&self, server: &str, tool: &str) -> Option<Names> {
        let mut looking = self.0.iter().filter(|(guard, _)| guard.admits(server, tool)).peekable();
        looking.peek()?;
        let mut all = Names::default();
        for name in looking.flat_map(|(_, names)| names) {
            all.0.entry(fold::key(name).into_owned()).or_default().insert(name.clone());
        }
        Some(all)
    }
}

// === impl Names ===

impl Names {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.get(fold::key(name).as_ref()).is_some_and(|alike| alike.contains(name))
    }

    /// A name that `name` could be taken for.
    pub(crate) fn alike(&self, name: &str) -> Option<&str> {
        self.0.get(fold::key(name).as_ref())?.iter().map(String::as_str).find(|alike| *alike != name)
    }
}

#[cfg(test)]
mod tests;
