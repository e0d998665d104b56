//! `agentgate evidence pack`: everything about a session, a subject or a time, in files that an auditor checks by himself.
//!
//! It adds nothing to what the control plane gave but a reading of it, which `agentgate verify` reads again.

pub mod pack;
pub mod reading;
pub mod report;

use crate::client::{Client, Connection};
use crate::failure::{Exit, Failure};
use crate::moment::grouped;
use crate::output::Desk;
use crate::span::Span;
use agentgate_proto::v1;
use agentgate_proto::v1::gather_evidence_response::What;
use clap::{Args, Subcommand};
use pack::{NOTE_FILE, PACK_FILE, Pack, REPORT_FILE};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub connection: Connection,
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Write an evidence pack; what is named must all agree
    Pack(PackArguments),
}

#[derive(Debug, Args)]
#[group(id = "about", required = true, multiple = true)]
pub struct PackArguments {
    /// A handle, or the 32 hexadecimal digits by which records name a session
    #[arg(long, value_name = "SESSION", group = "about")]
    session: Option<String>,
    /// Who called
    #[arg(long, value_name = "SPIFFE_ID", group = "about")]
    principal: Option<String>,
    /// From so long ago on
    #[arg(long, value_name = "SPAN", value_parser = Span::parse, group = "about")]
    since: Option<Span>,
    /// Until so long ago
    #[arg(long, value_name = "SPAN", value_parser = Span::parse, group = "about")]
    until: Option<Span>,
    /// Where to; a new or empty directory
    #[arg(long, value_name = "DIR", num_args = 1)]
    out: PathBuf,
}

pub async fn run(verb: &Verb, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    match verb {
        Verb::Pack(arguments) => write(arguments, client, desk).await,
    }
}

async fn write(arguments: &PackArguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let out = arguments.out.as_path();
    if std::fs::read_dir(out).is_ok_and(|mut files| files.next().is_some()) {
        let full = format!("{} is not empty, and a pack is never written over another", out.display());
        return Err(Failure::new(Exit::Refused, full).then("name a new directory"));
    }
    let ago = |span: &Option<Span>| span.as_ref().map_or(0, |span| desk.now.micros().saturating_sub(span.micros()).max(1));
    let request = v1::GatherEvidenceRequest {
        session: arguments.session.clone().unwrap_or_default(),
        principal: arguments.principal.clone().unwrap_or_default(),
        since_us: ago(&arguments.since),
        until_us: ago(&arguments.until),
    };
    let pack = gather(client, request, desk).await?;
    let files = [(PACK_FILE, format!("{:#}\n", pack.to_json()).into_bytes()), (REPORT_FILE, report::html(&pack)?.into_bytes())];
    let digest = |(name, bytes): &(&str, Vec<u8>)| {
        let sha256 = Sha256::digest(bytes).to_vec().into();
        v1::EvidenceFile { name: (*name).to_owned(), sha256 }
    };
    let signed = client.sign_evidence(files.iter().map(digest).collect()).await?;
    let failed = |error: io::Error| Failure::new(Exit::Local, format!("cannot write into {}", out.display())).because(error);
    std::fs::create_dir_all(out).map_err(failed)?;
    for (name, bytes) in &files {
        put(&out.join(name), bytes).map_err(failed)?;
    }
    // Last: what has no note is no pack.
    put(&out.join(NOTE_FILE), &signed.note).map_err(failed)?;
    let (records, at) = (pack.records.len(), out.display());
    let said = format!(
        "Packed {} records into {at}; read {at}/{REPORT_FILE}, and check it with `agentgate verify {at} --key VERIFIER`\n",
        grouped(u64::try_from(records).unwrap_or(u64::MAX))
    );
    desk.answer(|_| said, || json!({ "out": at.to_string(), "records": records, "keys": pack.keys }))
}

async fn gather(client: &Client, request: v1::GatherEvidenceRequest, desk: &mut Desk<'_>) -> Result<Pack, Failure> {
    let mut told = client.gather_evidence(request).await?;
    let mut pack = Pack::default();
    let unusable = |what: String| Failure::new(Exit::Unreachable, format!("the control plane gave no evidence: {what}"));
    while let Some(message) = told.next().await? {
        match message.what {
            Some(What::Progress(progress)) => {
                desk.progress(&format!("{} of {} records read", grouped(progress.records_read), grouped(progress.records)))?;
            }
            Some(What::Record(record)) => pack.records.push(pack::Packed::of_wire(record).map_err(unusable)?),
            Some(What::Bundle(bundle)) => pack.bundles.push((bundle.digest.to_vec(), bundle.content.to_vec())),
            Some(What::End(end)) => {
                desk.progress_over()?;
                (pack.checkpoint, pack.manifest, pack.keys) = (end.checkpoint.to_vec(), end.manifest.to_vec(), end.keys);
                return Ok(pack);
            }
            None => return Err(unusable("it is of a later release".into())),
        }
    }
    Err(unusable("it stopped before its end".into()))
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    std::fs::write(path, bytes)
}
