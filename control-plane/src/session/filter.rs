//! Which calls an operator asks for: the words as they came, and what they come to in the index.
//!
//! The words decide. The index only rules out; whatever it lets through is compared with its line again.

use super::TraceError;
use super::columns::{Name, Namer, Sieve};
use agentgate_core::mcp::Method;
use agentgate_proto::v1;

/// A filter that was looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter(v1::TraceFilter);

// === impl Filter ===

impl Filter {
    /// # Errors
    /// When it names a verdict or an outcome that there is not, a session that is none, or a time that ends before it begins.
    pub(super) fn read(filter: Option<v1::TraceFilter>) -> Result<Self, TraceError> {
        let malformed = |why: String| Err(TraceError::Malformed(why));
        let mut filter = filter.unwrap_or_default();
        if v1::Verdict::try_from(filter.verdict).is_err() {
            return malformed(format!("{} is no verdict", filter.verdict));
        }
        if let Some(outcome) = filter.outcome.filter(|outcome| v1::OutcomeKind::try_from(*outcome).is_err()) {
            return malformed(format!("{outcome} is no outcome"));
        }
        filter.session = filter.session.to_ascii_lowercase();
        if !filter.session.is_empty() && !is_session(&filter.session) {
            return malformed(format!(
                "`{}` is no session: `trace list --output json` shows them, 32 digits of hex; what an agent calls its session is a handle",
                filter.session
            ));
        }
        if filter.until_us != 0 && filter.until_us <= filter.from_us {
            return malformed("the time ends before it begins; compare from and until".into());
        }
        Ok(Self(filter))
    }

    pub(super) fn wants(&self, trace: &v1::CallTrace) -> bool {
        let filter = &self.0;
        let matches = |wanted: &str, has: &str| wanted.is_empty() || wanted == has;
        matches(&filter.tenant, &trace.tenant)
            && matches(&filter.principal, &trace.principal)
            && matches(&filter.handle, &trace.handle)
            && matches(&filter.session, &trace.session)
            && matches(&filter.server, &trace.server)
            && matches(&filter.tool, &trace.target)
            && matches(&filter.method, &trace.method)
            && matches(&filter.rule, &trace.rule)
            && (filter.verdict() == v1::Verdict::Unspecified || filter.verdict == trace.verdict)
            && filter.outcome.is_none_or(|outcome| outcome == trace.outcome)
            && filter.observed.is_none_or(|observed| observed == trace.observed)
            && filter.from_us <= trace.at_us
            && trace.at_us < self.until_us()
            && !(filter.calls && is_of_session(&trace.method))
    }

    /// What a row of the index has to have.
    pub(super) fn sieve(&self, namer: &Namer<'_>) -> Sieve {
        let filter = &self.0;
        let names = [
            (Name::Tenant, &filter.tenant),
            (Name::Principal, &filter.principal),
            (Name::Handle, &filter.handle),
            (Name::Session, &filter.session),
            (Name::Server, &filter.server),
            (Name::Target, &filter.tool),
            (Name::Method, &filter.method),
            (Name::Rule, &filter.rule),
        ];
        Sieve {
            names: names
                .iter()
                .filter(|(_, text)| !text.is_empty())
                .map(|(name, text)| (*name, namer.name(*name, text)))
                .collect(),
            verdict: (filter.verdict() != v1::Verdict::Unspecified).then(|| filter.verdict()),
            outcome: filter.outcome.and_then(|outcome| v1::OutcomeKind::try_from(outcome).ok()),
            observed: filter.observed,
            calls: filter.calls,
            from_us: filter.from_us,
            until_us: self.until_us(),
        }
    }

    pub(super) fn since_us(&self) -> u64 {
        self.0.from_us
    }

    pub(super) fn until_us(&self) -> u64 {
        if self.0.until_us == 0 { u64::MAX } else { self.0.until_us }
    }
}

fn is_session(text: &str) -> bool {
    text.len() == 2 * crate::body::SESSION_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a message is of those that sessions are made of. What could not be read is not.
pub(super) fn is_of_session(method: &str) -> bool {
    let Some(method) = Method::ALL.into_iter().find(|known| known.name() == method) else { return false };
    match method {
        Method::ToolsCall
        | Method::ResourcesRead
        | Method::ResourcesSubscribe
        | Method::PromptsGet
        | Method::CompletionComplete
        | Method::TasksUpdate
        | Method::TasksCancel
        | Method::TasksResult => false,
        Method::ToolsList
        | Method::ResourcesList
        | Method::ResourcesTemplatesList
        | Method::ResourcesUnsubscribe
        | Method::PromptsList
        | Method::TasksGet
        | Method::TasksList
        | Method::SubscriptionsListen
        | Method::ServerDiscover
        | Method::LoggingSetLevel
        | Method::Ping
        | Method::Initialize
        | Method::NotificationsInitialized
        | Method::NotificationsCancelled
        | Method::NotificationsProgress
        | Method::NotificationsRootsListChanged
        | Method::Response
        | Method::Open
        | Method::End => true,
    }
}
