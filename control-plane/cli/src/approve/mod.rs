//! `agentgate approve list | show | grant | deny`: calls that wait for a person.
//!
//! Who decides is shown the whole call, and what they send names the digest of exactly the bytes that were shown.

mod decide;
mod list;
mod seen;
mod show;

use crate::client::{Client, Connection};
use crate::failure::Failure;
use crate::output::Desk;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub connection: Connection,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List calls that wait for an approval, newest first
    List(list::Arguments),
    /// Show one with all of its arguments
    Show(show::Arguments),
    /// Let the call pass once; the agent has to make it again
    Grant(decide::GrantArguments),
    /// Refuse the call
    Deny(decide::DenyArguments),
}

pub async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    match &arguments.verb {
        Verb::List(arguments) => list::run(arguments, client, desk).await,
        Verb::Show(arguments) => show::run(arguments, client, desk).await,
        Verb::Grant(arguments) => decide::grant(arguments, client, desk).await,
        Verb::Deny(arguments) => decide::deny(arguments, client, desk).await,
    }
}
