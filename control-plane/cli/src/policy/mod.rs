//! `agentgate policy test | learn | impact`: policies, tried out before they are in force.
//!
//! Nothing here puts a policy into force; one of them writes a file, and only when it is told to.

pub mod impact;
mod learn;
mod test;

use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::output::Desk;
use agentgate_policies::SourceFile;
use agentgate_policies::folder::{self, FolderError};
use agentgate_proto::v1;
use clap::Subcommand;
use std::path::Path;

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Load a policy folder as a control plane would, and try all of its cases
    Test(test::Arguments),
    /// Propose a tool table from the calls and lists that were seen, as a diff
    Learn(learn::Arguments),
    /// Tell which recorded calls a policy would refuse: the one in force, or the one in a folder
    Impact(impact::Arguments),
}

pub fn run(verb: &Verb, desk: &mut Desk<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Test(arguments) => test::run(arguments, desk),
        Verb::Learn(arguments) => {
            crate::wait(async { learn::run(arguments, &Client::connect(&arguments.connection).await?, desk).await })
        }
        Verb::Impact(arguments) => {
            crate::wait(async { impact::run(arguments, &Client::connect(&arguments.connection).await?, desk).await })
        }
    }
}

fn read_folder(directory: &Path) -> Result<Vec<SourceFile>, Failure> {
    folder::read(directory).map_err(|error| {
        let exit = if matches!(error, FolderError::Io { .. }) { Exit::Local } else { Exit::Refused };
        Failure::new(exit, format!("`{}` cannot be read as a policy folder", directory.display())).because(error)
    })
}

/// How far a long reading is, in words.
fn far(what: &str, progress: &v1::Progress) -> String {
    match progress.records {
        0 => format!("{what}: {} records read", progress.records_read),
        all => format!("{what}: {} of {all} records read", progress.records_read),
    }
}

/// A reading that ends without its answer was cut.
fn cut_short() -> Failure {
    Failure::new(Exit::Unreachable, "the control plane ended the reading before it answered").then("run it again")
}
