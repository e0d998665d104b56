//! Whether the filter's own certificate lies where the configuration was written, and is this gate's; and what to do if not.
//!
//! It warns and refuses nothing: a certificate may come later. That one was put there for another name is told at once.

use super::plan::Plan;
use crate::check::name_of;
use agentgate_core::id::SpiffeId;
use std::fs;
use std::path::{Path, PathBuf};

/// Others than these are not named.
const NAMED_MAX: usize = 3;

/// What is amiss, with the mend. `given`: which file it is was not left to the node's name.
#[must_use]
pub(crate) fn amiss(plan: &Plan, directory: &Path, given: bool) -> Option<String> {
    let (named, file) = (&plan.filter.certificate, directory.join(&plan.filter.certificate));
    let name = plan.identity.as_str().split_once("://")?.1.split_once('/')?.1;
    let issue = format!("`agentgate authority issue {name} --directory DIR`, with the folder of the authority's key");
    if file.exists() {
        let other = name_of(&file).filter(|other| *other != plan.identity)?;
        let said = format!("`{named}` is the certificate of `{other}`, and this gate is configured as `{}`", plan.identity);
        let mend = again(plan, &other).map_or_else(|| issue.clone(), |again| format!("{again}, or {issue}"));
        return Some(format!("{said}: {mend}"));
    }
    let others: Vec<String> = others(&file)
        .into_iter()
        .filter(|_| !given)
        .filter_map(|(path, other)| Some(format!("`{}` does ({})", path.file_name()?.to_str()?, again(plan, &other)?)))
        .take(NAMED_MAX)
        .collect();
    let missing = format!("`{named}` does not lie in {}", directory.display());
    (!others.is_empty()).then(|| format!("{missing}, and {}; or {issue}", others.join(", ")))
}

/// The certificates of filters in the folder where this one should be.
fn others(file: &Path) -> Vec<(PathBuf, SpiffeId)> {
    let entries = file.parent().and_then(|folder| fs::read_dir(folder).ok());
    let paths = entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut others: Vec<(PathBuf, SpiffeId)> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "pem"))
        .filter_map(|path| Some((path.clone(), name_of(&path)?)))
        .collect();
    others.sort_by(|one, other| one.0.cmp(&other.0));
    others
}

/// The options by which this gate would be that filter. None: it is no filter's.
fn again(plan: &Plan, other: &SpiffeId) -> Option<String> {
    let domain = other.trust_domain();
    let node = other.as_str().strip_prefix("spiffe://")?.strip_prefix(domain)?.strip_prefix("/filter/")?;
    let mut options = Vec::new();
    if node != plan.node {
        options.push(format!("--node {node}"));
    }
    if domain != plan.trust_domain() {
        options.push(format!("--trust-domain {domain}"));
    }
    Some(format!("run it again with `{} --force`", options.join(" ")))
}
