//! `agentgate log show | prove | export | receipts`: the transparency log as the control plane gives it, for whoever checks it elsewhere;
//! and `log key`, which makes another key for it.
//!
//! It checks what it writes only as far as it takes to write it: `agentgate verify` judges, with keys of one's own.

mod export;
mod growth;
mod key;
mod prove;
mod receipts;
mod show;
#[cfg(test)]
mod tests;

use crate::client::{self, Client, Connection};
use crate::failure::{Exit, Failure};
use crate::output::Desk;
use agentgate_proto::v1;
use clap::{Args, Subcommand};
use std::io;
use std::path::Path;

pub(crate) use show::{Witnessed, remembered, remembered_json, trouble, trouble_json};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub connection: Connection,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show how far the log is, its root, and the keys to check it with
    Show,
    /// Write a file that shows that one record is in the log, or that the log only grew
    Prove(prove::Arguments),
    /// Copy the whole log into files; goes on where an earlier copy stopped
    Export(export::Arguments),
    /// Copy out the receipts of checkpoints that were anchored
    Receipts(receipts::Arguments),
    /// Make another key for the log, to replace the one in use; asks no control plane
    Key(key::Arguments),
}

pub async fn run(arguments: &Arguments, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let client = async || Client::connect(&arguments.connection).await;
    match &arguments.verb {
        Verb::Show => show::run(&client().await?, desk).await,
        Verb::Prove(arguments) => prove::run(arguments, &client().await?, desk).await,
        Verb::Export(arguments) => export::run(arguments, &client().await?, desk).await,
        Verb::Receipts(arguments) => receipts::run(arguments, &client().await?, desk).await,
        Verb::Key(arguments) => key::run(arguments, desk),
    }
}

/// The log, which has a checkpoint.
async fn signed(client: &Client) -> Result<v1::ShowLogResponse, Failure> {
    let log = client.show_log().await?;
    match (log.checkpoint.is_empty(), log.stopped.as_str()) {
        (false, _) => Ok(log),
        (true, "") => Err(Failure::new(Exit::Refused, "nothing is signed as yet").then("try again in a second")),
        (true, why) => Err(client::log_stopped(why)),
    }
}

/// A file that was to be a new one.
fn unwritten(path: &Path, error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::AlreadyExists {
        return Failure::new(Exit::Refused, format!("`{}` is there already; name another file", path.display()));
    }
    Failure::new(Exit::Local, format!("cannot write {}", path.display())).because(error)
}
