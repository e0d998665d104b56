//! Which calls a list or a tail is of: what a person types, as the control plane is asked. Nothing is left out here.

use crate::client::Client;
use crate::failure::{Exit, Failure};
use agentgate_proto::v1;
use clap::{Args, ValueEnum};
use std::collections::BTreeSet;

/// Among so many of the newest calls a principal is looked for by an end of its name; more is no page.
const NEWEST: u32 = 1_000;

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which calls")]
pub(super) struct Wanted {
    /// Only calls of this tenant
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Only calls of this principal: its whole name, or an end of it that only one of the newest calls' principals has
    #[arg(long, value_name = "ID")]
    principal: Option<String>,
    /// Only calls with this handle (what the agent calls its session)
    #[arg(long, value_name = "HANDLE")]
    handle: Option<String>,
    /// Only calls of this session (32 digits of hex, `session` in JSON: what is kept and erased together)
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only calls of this server
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Only calls of this tool, or of whatever else is called by name
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// Only messages of this method, like `tools/call`
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// Only calls with this verdict
    #[arg(long, value_enum, value_name = "VERDICT")]
    verdict: Option<VerdictName>,
    /// Only calls decided by this rule
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// Only calls that ended so
    #[arg(long, value_enum, value_name = "OUTCOME")]
    outcome: Option<OutcomeName>,
    /// Only calls whose verdict was not enforced
    #[arg(long, conflicts_with = "enforced")]
    observed: bool,
    /// Only calls whose verdict was enforced
    #[arg(long)]
    enforced: bool,
    /// Only what calls a tool or fetches something: no sessions, pings, lists and notifications
    #[arg(long)]
    calls: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum VerdictName {
    Allow,
    Pending,
    Deny,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum OutcomeName {
    /// None yet, or none to come
    None,
    Completed,
    Failed,
    Cut,
    NotReleased,
    Withheld,
    Unknown,
}

// === impl Wanted ===

impl Wanted {
    pub(super) async fn filter(&self, client: &Client) -> Result<v1::TraceFilter, Failure> {
        let principal = match &self.principal {
            Some(named) => whole_name(named, client).await?,
            None => String::new(),
        };
        let text = |given: &Option<String>| given.clone().unwrap_or_default();
        Ok(v1::TraceFilter {
            tenant: text(&self.tenant),
            principal,
            handle: text(&self.handle),
            session: text(&self.session),
            server: text(&self.server),
            tool: text(&self.tool),
            method: text(&self.method),
            verdict: self.verdict.map_or(v1::Verdict::Unspecified, VerdictName::kind).into(),
            rule: text(&self.rule),
            outcome: self.outcome.map(|outcome| outcome.kind().into()),
            observed: (self.observed || self.enforced).then_some(self.observed),
            calls: self.calls,
            ..v1::TraceFilter::default()
        })
    }
}

// === impl VerdictName, OutcomeName ===

impl VerdictName {
    const fn kind(self) -> v1::Verdict {
        match self {
            Self::Allow => v1::Verdict::Allow,
            Self::Pending => v1::Verdict::Pending,
            Self::Deny => v1::Verdict::Deny,
        }
    }
}

impl OutcomeName {
    const fn kind(self) -> v1::OutcomeKind {
        match self {
            Self::None => v1::OutcomeKind::Unspecified,
            Self::Completed => v1::OutcomeKind::Completed,
            Self::Failed => v1::OutcomeKind::Failed,
            Self::Cut => v1::OutcomeKind::Cut,
            Self::NotReleased => v1::OutcomeKind::NotReleased,
            Self::Withheld => v1::OutcomeKind::Withheld,
            Self::Unknown => v1::OutcomeKind::Unknown,
        }
    }
}

/// A principal by the end of its name: tables leave out a trust domain that all of their lines share.
async fn whole_name(named: &str, client: &Client) -> Result<String, Failure> {
    if named.starts_with("spiffe://") || named.starts_with("user:") {
        return Ok(named.to_owned());
    }
    let newest = v1::ListTracesRequest { page_size: NEWEST, ..Default::default() };
    let end = format!("/{}", named.trim_start_matches('/'));
    let traces = client.list_traces(newest).await?.traces;
    let found: BTreeSet<&str> = traces.iter().map(|trace| trace.principal.as_str()).filter(|name| name.ends_with(&end)).collect();
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only.to_owned()),
        (None, _) => {
            Err(Failure::new(Exit::Refused, format!("none of the newest calls is of a principal that ends with `{end}`"))
                .then("pass its whole name, like `spiffe://agentgate.local/agent/laptop`"))
        }
        (Some(one), Some(other)) => {
            Err(Failure::new(Exit::Refused, format!("`{named}` may be `{one}` or `{other}`")).then("pass its whole name"))
        }
    }
}
