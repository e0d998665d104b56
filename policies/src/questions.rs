//! The gate's own Rego beside the policy's: the questions by which the engine is asked, so that one evaluation answers all
//! sets. It unites nothing and decides nothing.

use crate::lint::{HIDDEN, PACKAGE, SETS};

/// Where it stands beside the policy's files. No file of a policy has this path: theirs begin with `rego/`.
pub(crate) const PATH: &str = "gate.rego";

/// Asks for nothing: the engine compiles on its first evaluation, and this one needs no call.
pub(crate) const READY: &str = "data.agentgate.gate.ready";
/// An object of the sets that the policy has.
pub(crate) const OPINION: &str = "data.agentgate.gate.opinion";
pub(crate) const HIDING: &str = "data.agentgate.gate.hidden";

/// The value of one path.
pub(crate) const FACT: &str = "data.agentgate.gate.fact";

pub(crate) fn fact(path: &str) -> String {
    format!("package agentgate.gate\n\nfact := {path}\n")
}

/// A set that no rule contributes to is not even empty, so only those that the policy `declares` are asked for.
pub(crate) fn rego(declares: impl Fn(&str) -> bool) -> String {
    let declared = SETS.iter().filter(|set| declares(set));
    let sets: Vec<_> = declared.map(|set| format!("\"{set}\": data.{PACKAGE}.{set}")).collect();
    let hidden = if declares(HIDDEN) { format!("data.{PACKAGE}.{HIDDEN}") } else { "set()".to_owned() };
    format!("package agentgate.gate\n\nready := true\nopinion := {{{}}}\nhidden := {hidden}\n", sets.join(", "))
}
