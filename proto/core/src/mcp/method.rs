//! Every message a client may send, by name and by version. An unknown method is malformed, not policy's business.

use crate::mcp::Version;

/// A method of MCP, or one of the three other things a client may send in the session era.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    ToolsList,
    ToolsCall,
    ResourcesList,
    ResourcesTemplatesList,
    ResourcesRead,
    ResourcesSubscribe,
    ResourcesUnsubscribe,
    PromptsList,
    PromptsGet,
    CompletionComplete,
    TasksGet,
    TasksUpdate,
    TasksCancel,
    TasksResult,
    TasksList,
    SubscriptionsListen,
    ServerDiscover,
    LoggingSetLevel,
    Ping,
    Initialize,
    NotificationsInitialized,
    NotificationsCancelled,
    NotificationsProgress,
    NotificationsRootsListChanged,
    /// A client's answer to the server: sampling, elicitation, roots.
    Response,
    /// GET.
    Open,
    /// DELETE.
    End,
}

// === impl Method ===

impl Method {
    pub const ALL: [Self; 27] = [
        Self::ToolsList,
        Self::ToolsCall,
        Self::ResourcesList,
        Self::ResourcesTemplatesList,
        Self::ResourcesRead,
        Self::ResourcesSubscribe,
        Self::ResourcesUnsubscribe,
        Self::PromptsList,
        Self::PromptsGet,
        Self::CompletionComplete,
        Self::TasksGet,
        Self::TasksUpdate,
        Self::TasksCancel,
        Self::TasksResult,
        Self::TasksList,
        Self::SubscriptionsListen,
        Self::ServerDiscover,
        Self::LoggingSetLevel,
        Self::Ping,
        Self::Initialize,
        Self::NotificationsInitialized,
        Self::NotificationsCancelled,
        Self::NotificationsProgress,
        Self::NotificationsRootsListChanged,
        Self::Response,
        Self::Open,
        Self::End,
    ];

    /// The method that `name` is, byte for byte, in `version`. The three that have no name on the wire are never found.
    #[must_use]
    pub fn parse(name: &str, version: Version) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.is_on_the_wire() && method.name() == name && method.is_in(version))
    }

    /// The one spelling of this method, in policies, records and metrics: MCP's own where it has one.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ToolsList => "tools/list",
            Self::ToolsCall => "tools/call",
            Self::ResourcesList => "resources/list",
            Self::ResourcesTemplatesList => "resources/templates/list",
            Self::ResourcesRead => "resources/read",
            Self::ResourcesSubscribe => "resources/subscribe",
            Self::ResourcesUnsubscribe => "resources/unsubscribe",
            Self::PromptsList => "prompts/list",
            Self::PromptsGet => "prompts/get",
            Self::CompletionComplete => "completion/complete",
            Self::TasksGet => "tasks/get",
            Self::TasksUpdate => "tasks/update",
            Self::TasksCancel => "tasks/cancel",
            Self::TasksResult => "tasks/result",
            Self::TasksList => "tasks/list",
            Self::SubscriptionsListen => "subscriptions/listen",
            Self::ServerDiscover => "server/discover",
            Self::LoggingSetLevel => "logging/setLevel",
            Self::Ping => "ping",
            Self::Initialize => "initialize",
            Self::NotificationsInitialized => "notifications/initialized",
            Self::NotificationsCancelled => "notifications/cancelled",
            Self::NotificationsProgress => "notifications/progress",
            Self::NotificationsRootsListChanged => "notifications/roots/list_changed",
            Self::Response => "response",
            Self::Open => "open",
            Self::End => "end",
        }
    }

    /// Whether a JSON-RPC message carries this method's name.
    #[must_use]
    pub const fn is_on_the_wire(self) -> bool {
        !matches!(self, Self::Response | Self::Open | Self::End)
    }

    /// Whether it wants no answer.
    #[must_use]
    pub const fn is_notification(self) -> bool {
        matches!(
            self,
            Self::NotificationsInitialized
                | Self::NotificationsCancelled
                | Self::NotificationsProgress
                | Self::NotificationsRootsListChanged
        )
    }

    /// Whether `version` has this method.
    #[must_use]
    pub fn is_in(self, version: Version) -> bool {
        use Version::{V2025_03_26, V2025_11_25, V2026_07_28};
        let (first, last) = match self {
            Self::ToolsList
            | Self::ToolsCall
            | Self::ResourcesList
            | Self::ResourcesTemplatesList
            | Self::ResourcesRead
            | Self::PromptsList
            | Self::PromptsGet
            | Self::CompletionComplete
            | Self::NotificationsCancelled => (V2025_03_26, V2026_07_28),
            Self::TasksGet | Self::TasksCancel => (V2025_11_25, V2026_07_28),
            Self::TasksResult | Self::TasksList => (V2025_11_25, V2025_11_25),
            Self::TasksUpdate | Self::SubscriptionsListen | Self::ServerDiscover => (V2026_07_28, V2026_07_28),
            Self::ResourcesSubscribe
            | Self::ResourcesUnsubscribe
            | Self::LoggingSetLevel
            | Self::Ping
            | Self::Initialize
            | Self::NotificationsInitialized
            | Self::NotificationsProgress
            | Self::NotificationsRootsListChanged
            | Self::Response
            | Self::Open
            | Self::End => (V2025_03_26, V2025_11_25),
        };
        (first..=last).contains(&version)
    }

    /// The parameter that names what this method acts on.
    #[must_use]
    pub const fn target_key(self) -> Option<&'static str> {
        match self {
            Self::ToolsCall | Self::PromptsGet => Some("name"),
            Self::ResourcesRead | Self::ResourcesSubscribe | Self::ResourcesUnsubscribe => Some("uri"),
            Self::TasksGet | Self::TasksUpdate | Self::TasksCancel | Self::TasksResult => Some("taskId"),
            Self::ToolsList
            | Self::ResourcesList
            | Self::ResourcesTemplatesList
            | Self::PromptsList
            | Self::CompletionComplete
            | Self::TasksList
            | Self::SubscriptionsListen
            | Self::ServerDiscover
            | Self::LoggingSetLevel
            | Self::Ping
            | Self::Initialize
            | Self::NotificationsInitialized
            | Self::NotificationsCancelled
            | Self::NotificationsProgress
            | Self::NotificationsRootsListChanged
            | Self::Response
            | Self::Open
            | Self::End => None,
        }
    }
}
