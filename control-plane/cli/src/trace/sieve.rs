//! Which lines of calls are left out here, where the control plane is not asked to: those of other servers, and those that
//! sessions are made of. What could not be read is never left out by its method.

use agentgate_core::mcp::Method;
use agentgate_proto::v1::CallTrace;
use clap::Args;

#[derive(Clone, Debug, Default, Args)]
pub(super) struct Sieve {
    /// Only calls of this server
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// Only what calls a tool or fetches something: no sessions, pings, lists and notifications
    #[arg(long)]
    calls: bool,
}

// === impl Sieve ===

impl Sieve {
    pub(super) fn wants(&self, trace: &CallTrace) -> bool {
        let server = self.server.as_ref().is_none_or(|server| *server == trace.server);
        server && !(self.calls && is_of_session(&trace.method))
    }

    pub(super) const fn is_set(&self) -> bool {
        self.calls || self.server.is_some()
    }
}

fn is_of_session(method: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use super::Sieve;
    use agentgate_proto::v1::CallTrace;

    #[test]
    fn a_line_is_left_out_only_for_what_is_known_of_it() {
        for (server, calls, method, wanted) in [
            (None, false, "ping", true),
            (None, true, "ping", false),
            (None, true, "tools/list", false),
            (None, true, "notifications/initialized", false),
            (None, true, "server/discover", false),
            (None, true, "tools/call", true),
            (None, true, "resources/read", true),
            (None, true, "", true),
            (None, true, "something/new", true),
            (Some("notes"), false, "ping", true),
            (Some("notes"), true, "ping", false),
            (Some("files"), true, "tools/call", false),
        ] {
            let sieve = Sieve { server: server.map(str::to_owned), calls };
            let trace = CallTrace { server: "notes".into(), method: method.into(), ..Default::default() };
            assert_eq!(sieve.wants(&trace), wanted, "{sieve:?} {method}");
            assert_eq!(sieve.is_set(), server.is_some() || calls);
        }
    }
}
