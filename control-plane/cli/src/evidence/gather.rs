//! `agentgate evidence pack`: everything about a session, a subject or a time, in files that an auditor checks by himself.
//!
//! It adds nothing to what the control plane gave but a reading of it, which `agentgate verify` reads again.

use super::places;
use crate::client::{Client, Connection};
use crate::failure::{Exit, Failure};
use crate::known;
use crate::moment::{absolute, counted, grouped, span};
use crate::output::Desk;
use crate::pack::{Pack, Packed, REPORT_FILE, pii};
use crate::span::Moment;
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
    /// From then on: `2d` (ago), `2026-10-01` (UTC), or `2026-10-01T10:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = Moment::past, allow_hyphen_values = true, group = "about")]
    since: Option<Moment>,
    /// Until before then
    #[arg(long, value_name = "TIME", value_parser = Moment::past, allow_hyphen_values = true, group = "about")]
    until: Option<Moment>,
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
    places::is_free(out)?;
    // Zero asks for no time at all.
    let at = |moment: Option<Moment>| moment.map_or(0, |moment| moment.resolve(desk.now).micros().max(1));
    let request = v1::GatherEvidenceRequest {
        session: arguments.session.clone().unwrap_or_default(),
        principal: arguments.principal.clone().unwrap_or_default(),
        since_us: at(arguments.since),
        until_us: at(arguments.until),
        pii: arguments.pii.as_deref().map_or(v1::Pii::Unspecified, pii).into(),
        sealed: arguments.sealed,
    };
    if request.until_us > 0 && request.until_us <= request.since_us {
        return Err(Failure::new(Exit::Usage, "--until is not after --since: there is no such time")
            .then("the earlier of the two is --since: `--since 10m --until 5m`"));
    }
    let client = &Client::connect(&arguments.connection).await?;
    if let Some(principal) = &arguments.principal {
        known::check_principal(principal, "agentgate evidence pack --principal", client).await?;
    }
    let (pack, unmatched) = gather(client, request, desk).await?;
    if pack.records.is_empty() {
        return Err(nothing(arguments, unmatched.as_ref()));
    }
    places::write(&pack, out, client).await?;
    let (records, at) = (pack.records.len(), out.display());
    let said = format!(
        "Packed {} into {at}; read {at}/{REPORT_FILE}, and check it with `agentgate verify {at} --key VERIFIER`\n",
        counted(u64::try_from(records).unwrap_or(u64::MAX), "record")
    );
    let unmatched = unmatched.filter(|unmatched| unmatched.records > 0);
    let more = unmatched.as_ref().map(|unmatched| format!("Not in it: {}\n", nobodys(unmatched))).unwrap_or_default();
    desk.answer(
        |_| said + &more,
        || {
            let unmatched = unmatched.as_ref().map_or(0, |unmatched| unmatched.records);
            json!({ "out": at.to_string(), "records": records, "keys": pack.keys, "unmatched": unmatched })
        },
    )
}

/// What a name finds no more, though it may have stood there.
fn nobodys(unmatched: &v1::Unmatched) -> String {
    let v1::Unmatched { records, purges, last_purge_us } = unmatched;
    let (records, are, they) = match records {
        1 => ("1 record".to_owned(), "is", "it was"),
        records => (format!("{} records", grouped(*records)), "are", "they were"),
    };
    let purges = match purges {
        0 => String::new(),
        1 => format!(" (a purge of {})", absolute(*last_purge_us)),
        purges => format!(" ({} purges, the last of {})", grouped(*purges), absolute(*last_purge_us)),
    };
    format!("{records} of that time {are} erased, and nobody can say any longer whose {they}{purges}")
}

/// As it was given.
fn told(moment: Moment) -> String {
    match moment {
        Moment::At(at) => absolute(at.micros()),
        Moment::Before(ago) => format!("{} ago", span(ago.micros())),
        Moment::After(ahead) => format!("in {}", span(ahead.micros())),
    }
}

/// A pack of no record would hold, and show nothing.
pub(super) fn nothing(arguments: &Arguments, unmatched: Option<&v1::Unmatched>) -> Failure {
    let named = |noun: &str, name: &Option<String>| name.as_ref().map(|name| format!("of the {noun} `{name}`"));
    let within = |word: &str, moment: Option<Moment>| moment.map(|moment| format!("{word} {}", told(moment)));
    let parts = [
        named("session", &arguments.session),
        named("principal", &arguments.principal),
        within("from", arguments.since),
        within("until", arguments.until),
    ];
    let about: Vec<String> = parts.into_iter().flatten().collect();
    if let Some(unmatched) = unmatched.filter(|unmatched| unmatched.records > 0) {
        let said = format!("nothing that can be read is on record {}, but {}", about.join(", "), nobodys(unmatched));
        return Failure::new(Exit::Refused, format!("{said}: no pack was written"))
            .then("agentgate evidence pack --since TIME gives what is erased too, with the purge that erased it")
            .then("so does --session with the 32 digits by which records name a session");
    }
    Failure::new(Exit::Refused, format!("nothing is on record {}: no pack was written", about.join(", "))).then(
        "agentgate trace list shows the calls that there are; agentgate trace show SEQ the principal and the session of one",
    )
}

async fn gather(
    client: &Client,
    request: v1::GatherEvidenceRequest,
    desk: &mut Desk<'_>,
) -> Result<(Pack, Option<v1::Unmatched>), Failure> {
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
                return Ok((pack, end.unmatched));
            }
            None => return Err(unusable("it is of a later release".into())),
        }
    }
    Err(unusable("it stopped before its end".into()))
}
