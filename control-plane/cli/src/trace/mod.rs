//! `agentgate trace list | show | tail`: what was asked, what was answered, and what became of it.
//!
//! It shows what the control plane recorded and judges nothing.

pub(crate) mod arguments;
pub mod line;
mod list;
mod show;
mod tail;
mod wanted;

use crate::client::{Client, Connection};
use crate::failure::Failure;
use crate::output::Desk;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub connection: Connection,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List calls, newest first
    List(list::Arguments),
    /// Show one call in full: facts, rule, reason, arguments, outcome
    Show(show::Arguments),
    /// Watch calls as they are decided and outcomes as they arrive, until ctrl-C (in JSON, `event` says which a line is)
    Tail(tail::Arguments),
}

pub async fn run(verb: &Verb, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    match verb {
        Verb::List(arguments) => list::run(arguments, client, desk).await,
        Verb::Show(arguments) => show::run(arguments, client, desk).await,
        Verb::Tail(arguments) => tail::run(arguments, client, desk).await,
    }
}
