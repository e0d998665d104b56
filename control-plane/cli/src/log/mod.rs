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

use crate::client::{Client, Connection};
use crate::failure::Failure;
use crate::output::Desk;
use clap::{Args, Subcommand};

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
