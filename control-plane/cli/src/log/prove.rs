//! `agentgate log prove`: one record and what shows it, in a file that needs nobody's word.

use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::output::Desk;
use crate::verify::ProofFile;
use agentgate_core::transparency::leaf::Entry;
use agentgate_core::transparency::proof::Proof;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The record's sequence, as `agentgate trace list` shows it
    #[arg(value_name = "SEQUENCE")]
    sequence: u64,
    /// Where to write the proof; a file that is there is replaced
    #[arg(long, value_name = "FILE", num_args = 1)]
    out: PathBuf,
}

pub(super) async fn run(arguments: &Arguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let answer = client.prove_record(arguments.sequence).await?;
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
