//! Kills: what is stopped by order, at five heights, until somebody resumes it. A kill stands above every policy.

use crate::fold;
use crate::id::{Handle, Server, Tenant};
use crate::mcp::{Message, Method};
use crate::principal::Principal;
use alloc::collections::BTreeMap;
use alloc::string::String;
use core::fmt;

/// What a kill stops, from the highest to the lowest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KillTarget {
    Everything,
    Tenant(Tenant),
    /// One tool of a server, or all that is asked of it.
    Tool {
        server: Server,
        tool: Option<String>,
    },
    /// Everybody whom this covers: an agent for whatever user, a user through whatever agent.
    Agent(Principal),
    /// All calls under this handle.
    Session(Handle),
}

/// A kill that covers a call, as a fact of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    pub target: KillTarget,
    /// Why, in the words of whoever ordered it: the agent is told.
    pub reason: String,
}

/// The kills in force, each with what is known of its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kills<T>(BTreeMap<KillTarget, T>);

// === impl KillTarget ===

impl KillTarget {
    #[must_use]
    pub fn covers(&self, tenant: &Tenant, principal: &Principal, server: &Server, message: &Message) -> bool {
        match self {
            Self::Everything => true,
            Self::Tenant(killed) => killed == tenant,
            Self::Tool { server: killed, tool: None } => killed == server,
            // A server that compares names loosely must not be reached by another spelling.
            Self::Tool { server: killed, tool: Some(tool) } => {
                let is_it = |target: &String| fold::loosely(target) == fold::loosely(tool);
                killed == server && message.method == Method::ToolsCall && message.target.as_ref().is_some_and(is_it)
            }
            Self::Agent(killed) => principal.is_covered_by(killed),
            Self::Session(killed) => message.handle.as_ref() == Some(killed),
        }
    }

    /// Whether both stop the same calls: a tool is compared as its calls are.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        if let (Self::Tool { server, tool: Some(tool) }, Self::Tool { server: of, tool: Some(named) }) = (self, other) {
            return server == of && fold::loosely(tool) == fold::loosely(named);
        }
        self == other
    }

    /// Whether some call in `tenant` may be covered, of whatever server it is.
    #[must_use]
    pub fn may_concern(&self, tenant: &Tenant) -> bool {
        match self {
            Self::Everything | Self::Agent(_) | Self::Session(_) => true,
            Self::Tenant(killed) => killed == tenant,
            Self::Tool { .. } => false,
        }
    }

    /// Whether it stops calls of `server` alone.
    #[must_use]
    pub fn is_of(&self, server: &Server) -> bool {
        match self {
            Self::Tool { server: killed, .. } => killed == server,
            Self::Everything | Self::Tenant(_) | Self::Agent(_) | Self::Session(_) => false,
        }
    }
}

impl fmt::Display for KillTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("everything"),
            Self::Tenant(tenant) => write!(f, "the tenant `{tenant}`"),
            Self::Tool { server, tool: None } => write!(f, "the server `{server}`"),
            Self::Tool { server, tool: Some(tool) } => write!(f, "the tool `{tool}` of the server `{server}`"),
            Self::Agent(principal) => write!(f, "the agent `{principal}`"),
            Self::Session(handle) => write!(f, "the session `{}`", handle.as_str()),
        }
    }
}

// === impl Kills ===

impl<T> Default for Kills<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Kills<T> {
    /// False: it was killed already, and the first order stands.
    pub fn kill(&mut self, target: KillTarget, order: T) -> bool {
        if self.0.contains_key(&target) {
            return false;
        }
        self.0.insert(target, order);
        true
    }

    /// False: it was not killed.
    pub fn resume(&mut self, target: &KillTarget) -> bool {
        self.0.remove(target).is_some()
    }

    /// The highest kill that covers the call.
    #[must_use]
    pub fn covering(
        &self,
        tenant: &Tenant,
        principal: &Principal,
        server: &Server,
        message: &Message,
    ) -> Option<(&KillTarget, &T)> {
        self.0.iter().find(|(target, _)| target.covers(tenant, principal, server, message))
    }

    /// The kill in force that stops what `target` names, as whoever ordered it wrote it; this very one first.
    #[must_use]
    pub fn same(&self, target: &KillTarget) -> Option<&KillTarget> {
        let exactly = self.0.get_key_value(target).map(|(killed, _)| killed);
        exactly.or_else(|| self.0.keys().find(|killed| killed.is_same(target)))
    }

    #[must_use]
    pub fn get(&self, target: &KillTarget) -> Option<&T> {
        self.0.get(target)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&KillTarget, &T)> {
        self.0.iter()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{KillTarget, Kills};
    use crate::id::{Handle, Server, Tenant};
    use crate::mcp::{Kind, Message, Method, Protocol, RequestId, Version};
    use crate::principal::Principal;

    fn message(target: &str, handle: &str) -> Message {
        Message {
            protocol: Protocol::Mcp(Version::V2025_11_25),
            kind: Kind::Request(RequestId::Number("1".into())),
            method: Method::ToolsCall,
            target: Some(target.into()),
            params: None,
            handle: Handle::try_from(handle).ok(),
        }
    }

    fn tool(server: &str, tool: Option<&str>) -> KillTarget {
        KillTarget::Tool { server: Server::try_from(server).unwrap(), tool: tool.map(Into::into) }
    }

    #[test]
    fn a_kill_covers_what_it_names_and_nothing_else() {
        let (tenant, server) = (Tenant::try_from("acme").unwrap(), Server::try_from("notes").unwrap());
        let principal = Principal::try_from("spiffe://a/x+user:u@i").unwrap();
        let agent = |text| KillTarget::Agent(Principal::try_from(text).unwrap());
        let session = |text| KillTarget::Session(Handle::try_from(text).unwrap());
        for (target, covers, may_concern) in [
            (KillTarget::Everything, true, true),
            (KillTarget::Tenant(tenant.clone()), true, true),
            (KillTarget::Tenant(Tenant::try_from("other").unwrap()), false, false),
            (tool("notes", None), true, true),
            (tool("other", None), false, false),
            (tool("notes", Some("add")), true, true),
            (tool("notes", Some("ADD")), true, true),
            (tool("notes", Some("a_d-d")), true, true),
            (tool("notes", Some("ａdd")), true, true),
            (tool("notes", Some("read")), false, true),
            (tool("other", Some("add")), false, false),
            (agent("spiffe://a/x"), true, true),
            (agent("user:u@i"), true, true),
            (agent("spiffe://a/y"), false, true),
            (session("s"), true, true),
            (session("t"), false, true),
        ] {
            assert_eq!(target.covers(&tenant, &principal, &server, &message("add", "s")), covers, "{target:?}");
            assert_eq!(target.may_concern(&tenant) || target.is_of(&server), may_concern, "{target:?}");
        }
    }

    #[test]
    fn a_tools_kill_leaves_the_servers_other_methods_alone() {
        let (tenant, server) = (Tenant::try_from("acme").unwrap(), Server::try_from("notes").unwrap());
        let principal = Principal::try_from("spiffe://a/x").unwrap();
        let prompt = Message { method: Method::PromptsGet, ..message("add", "s") };
        assert!(!tool("notes", Some("add")).covers(&tenant, &principal, &server, &prompt));
        assert!(tool("notes", None).covers(&tenant, &principal, &server, &prompt));
    }

    #[test]
    fn a_kill_is_found_by_whatever_name_its_calls_could_have() {
        let mut kills = Kills::default();
        kills.kill(tool("notes", Some("Drop_it")), 1);
        kills.kill(tool("notes", None), 2);
        for (target, wanted) in [
            (tool("notes", Some("Drop_it")), Some(tool("notes", Some("Drop_it")))),
            (tool("notes", Some("dropit")), Some(tool("notes", Some("Drop_it")))),
            (tool("notes", Some("DROP-IT")), Some(tool("notes", Some("Drop_it")))),
            (tool("notes", Some("drop")), None),
            // A server is compared as it is written, by everybody.
            (tool("Notes", Some("Drop_it")), None),
            (tool("notes", None), Some(tool("notes", None))),
            (tool("NOTES", None), None),
            (KillTarget::Everything, None),
        ] {
            assert_eq!(kills.same(&target), wanted.as_ref(), "{target:?}");
        }
        kills.kill(tool("notes", Some("dropit")), 3);
        assert_eq!(kills.same(&tool("notes", Some("dropit"))), Some(&tool("notes", Some("dropit"))), "this very one first");
    }

    #[test]
    fn the_highest_kill_speaks_and_each_is_resumed_by_itself() {
        let (tenant, server) = (Tenant::try_from("acme").unwrap(), Server::try_from("notes").unwrap());
        let principal = Principal::try_from("spiffe://a/x").unwrap();
        let mut kills = Kills::default();
        assert!(kills.kill(tool("notes", Some("add")), 1));
        assert!(kills.kill(KillTarget::Everything, 2));
        assert!(!kills.kill(KillTarget::Everything, 3), "the first order stands");
        let speaks =
            |kills: &Kills<i32>| kills.covering(&tenant, &principal, &server, &message("add", "s")).map(|(_, order)| *order);
        assert_eq!(speaks(&kills), Some(2));
        assert!(kills.resume(&KillTarget::Everything));
        assert_eq!(speaks(&kills), Some(1));
        assert!(!kills.resume(&KillTarget::Everything));
        assert!(kills.resume(&tool("notes", Some("add"))));
        assert_eq!(speaks(&kills), None);
    }
}
