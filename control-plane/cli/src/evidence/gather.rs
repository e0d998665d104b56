//! `agentgate evidence pack`: everything about a session, a subject or a time, in files that an auditor checks by himself.
//!
//! It adds nothing to what the control plane gave but a reading of it, which `agentgate verify` reads again.

use super::files::{self, REPORT_FILE};
use super::pack::{Pack, Packed, pii};
use crate::client::{Client, Connection};
use crate::failure::{Exit, Failure};
use crate::moment::grouped;
use crate::output::Desk;
use crate::span::Span;
use agentgate_proto::v1;
use agentgate_proto::v1::gather_evidence_response::What;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[group(id = "about", required = true, multiple = true)]
pub struct Arguments {
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
    /// Take out what is personal: redact or tokenise; without it bodies are given as their tenant's are recorded
    #[arg(long, value_name = "HOW", value_parser = ["redact", "tokenise"], conflicts_with = "sealed")]
    pii: Option<String>,
    /// Leave bodies as the journal keeps them, so that purging a session erases them here too: what an archive takes
    #[arg(long)]
    sealed: bool,
    /// Where to; a new or empty directory
    #[arg(long, value_name = "DIR", num_args = 1)]
    out: PathBuf,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(arguments: &Arguments, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let out = arguments.out.as_path();
    files::is_free(out)?;
    let ago = |span: &Option<Span>| span.as_ref().map_or(0, |span| desk.now.micros().saturating_sub(span.micros()).max(1));
    let request = v1::GatherEvidenceRequest {
        session: arguments.session.clone().unwrap_or_default(),
        principal: arguments.principal.clone().unwrap_or_default(),
        since_us: ago(&arguments.since),
        until_us: ago(&arguments.until),
        pii: arguments.pii.as_deref().map_or(v1::Pii::Unspecified, pii).into(),
        sealed: arguments.sealed,
    };
    let client = &Client::connect(&arguments.connection).await?;
    let pack = gather(client, request, desk).await?;
    if pack.records.is_empty() {
        return Err(nothing(arguments));
    }
    files::write(&pack, out, client).await?;
    let (records, at) = (pack.records.len(), out.display());
    let said = format!(
        "Packed {} records into {at}; read {at}/{REPORT_FILE}, and check it with `agentgate verify {at} --key VERIFIER`\n",
        grouped(u64::try_from(records).unwrap_or(u64::MAX))
    );
    desk.answer(|_| said, || json!({ "out": at.to_string(), "records": records, "keys": pack.keys }))
}

/// A pack of no record would hold, and show nothing.
pub(super) fn nothing(arguments: &Arguments) -> Failure {
    let named = |noun: &str, name: &Option<String>| name.as_ref().map(|name| format!("of the {noun} `{name}`"));
    let within = |word: &str, span: &Option<Span>| span.map(|span| format!("{word} {} ago", crate::moment::span(span.micros())));
    let parts = [
        named("session", &arguments.session),
        named("principal", &arguments.principal),
        within("from", &arguments.since),
        within("until", &arguments.until),
    ];
    let about: Vec<String> = parts.into_iter().flatten().collect();
    Failure::new(Exit::Refused, format!("nothing is on record {}: no pack was written", about.join(", ")))
        .then("agentgate trace list shows the sessions and principals that there are")
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
            Some(What::Record(record)) => pack.records.push(Packed::of_wire(record).map_err(unusable)?),
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
