//! `agentgate evidence`: packs about a session, a subject or a time, which an auditor checks by himself, and an archive of them.

mod archive;
mod gather;
mod lasting;
mod list;
mod open;
mod places;
mod policy;
mod remake;
#[cfg(test)]
pub(crate) mod tests;

use crate::failure::Failure;
use crate::output::Desk;
use clap::Subcommand;

/// What `pack.json` may hold, field by field.
pub const SCHEMA: &str = include_str!("../../../../docs/evidence.schema.json");

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write an evidence pack; what is named must all agree
    Pack(gather::Arguments),
    /// Put a sealed pack into an archive, once and for good
    Archive(archive::Arguments),
    /// Check every pack of an archive, with public keys alone
    List(list::Arguments),
    /// Write a sealed pack as an ordinary one; what was erased since is said to be erased
    Open(open::Arguments),
    /// Write the policies of a pack as the folders that they were, each named by its digest
    Policy(places::Places),
    /// Make a pack's page and paper again from its records, whoever made those that lie in it
    Report(places::Places),
    /// Print the JSON Schema of `pack.json`
    Schema,
}

/// What `list` reads of an archive.
#[cfg(test)]
pub(crate) fn listed(archive: &std::path::Path, question: &crate::verify::Question) -> Result<usize, Failure> {
    list::read(archive, question).map(|all| all.len())
}

/// What `report` writes.
#[cfg(test)]
pub(crate) fn remade(pack: &std::path::Path, out: &std::path::Path) -> Result<Vec<std::path::PathBuf>, Failure> {
    remake::write(pack, out)
}

pub fn run(verb: &Verb, desk: &mut Desk<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Pack(arguments) => crate::wait(gather::run(arguments, desk)),
        Verb::Archive(arguments) => archive::run(arguments, desk),
        Verb::List(arguments) => list::run(arguments, desk),
        Verb::Open(arguments) => crate::wait(open::run(arguments, desk)),
        Verb::Policy(arguments) => policy::run(arguments, desk),
        Verb::Report(arguments) => remake::run(arguments, desk),
        // It is JSON in either form of an answer.
        Verb::Schema => desk.write(SCHEMA),
    }
}
