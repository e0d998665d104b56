//! `agentgate log prove`: one record and what shows it, in a file that needs nobody's word; or, with --since, that the log grew.

use super::growth;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::output::Desk;
use crate::verify::ProofFile;
use agentgate_core::transparency::leaf::Entry;
use agentgate_core::transparency::proof::Proof;
use clap::{ArgGroup, Args};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("proved").required(true)))]
pub struct Arguments {
    /// The record's sequence, as `agentgate trace list` shows it
    #[arg(value_name = "SEQUENCE", group = "proved")]
    sequence: Option<u64>,
    /// Prove instead that the log only grew since this checkpoint, which was kept; or a pack, a proof or an exported log that holds it
    #[arg(long, value_name = "CHECKPOINT", group = "proved")]
    since: Option<PathBuf>,
    /// To which checkpoint it grew, or a pack, a proof or an exported log that holds it; without it the newest
    #[arg(long, value_name = "CHECKPOINT", requires = "since", conflicts_with = "sequence")]
    until: Option<PathBuf>,
    /// Where to write the proof; with --since never over a file, and otherwise one that is there is replaced
    #[arg(long, value_name = "FILE", num_args = 1)]
    out: PathBuf,
}

pub(super) async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    if let Some(since) = &arguments.since {
        return growth::run((since, arguments.until.as_deref()), &arguments.out, client, desk).await;
    }
    // Without either the command line is not understood.
    let answer = client.prove_record(arguments.sequence.unwrap_or_default()).await?;
    let unusable = |what: &str| Failure::new(Exit::Unreachable, format!("the control plane's answer holds no {what}"));
    let proof = Proof::decode(&answer.hashes.concat()).map_err(|error| unusable("proof").because(error))?;
    let entry = Entry::decode(&answer.entry).map_err(|error| unusable("entry").because(error))?;
    let file = ProofFile { checkpoint: answer.checkpoint.to_vec(), entry, proof, record: answer.record.to_vec() };
    let text = format!("{:#}\n", file.to_json());
    let (sequence, out) = (entry.sequence, arguments.out.display().to_string());
    std::fs::write(&arguments.out, text)
        .map_err(|error| Failure::new(Exit::Local, format!("cannot write {out}")).because(error))?;
    let said = format!("Wrote {out}; check it with `agentgate verify {out} --key VERIFIER`\n");
    desk.answer(|_| said, || json!({ "sequence": sequence, "out": out }))
}
