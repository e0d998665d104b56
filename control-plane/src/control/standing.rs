//! What a filter must know without asking, of the servers that it may ask for and of those that its routes name: which calls it
//! sends on unasked, and that a kill may concern them. Nobody's name is in it, and no reason.
//!
//! INVARIANT: a route that observes is under every order, though its filter was never granted its server.

use super::Now;
use crate::config::{Callers, Filter};
use agentgate_core::id::Server;
use agentgate_core::kill::KillTarget;
use agentgate_proto::order::mode_to_wire;
use agentgate_proto::v1;
use std::collections::BTreeSet;

/// Whether some call that comes through this filter could be covered, of whatever server it is.
fn may_concern(target: &KillTarget, filter: &Filter) -> bool {
    if let (KillTarget::Agent(killed), Callers::One(agent)) = (target, &filter.callers)
        && killed.agent().is_some_and(|killed| killed != agent)
    {
        return false;
    }
    filter.tenants().any(|tenant| target.may_concern(tenant))
}

#[must_use]
pub fn standing<'a>(now: &Now, filter: &'a Filter, served: impl IntoIterator<Item = &'a Server>) -> v1::Standing {
    let of_server = |server: &Server| {
        let tools =
            now.modes.iter().filter(|(of, _, _)| *of == server).filter_map(|(_, tool, mode)| {
                Some(v1::ToolStanding { tool: tool?.into(), mode: mode_to_wire(Some(mode)).into() })
            });
        let standing = v1::ServerStanding {
            server: server.to_string(),
            mode: mode_to_wire(now.modes.ordered(server, None)).into(),
            tools: tools.collect(),
            consult: now.kills.iter().any(|(target, _)| target.is_of(server)),
        };
        let says_something = standing.consult || standing.mode() != v1::Mode::Unspecified || !standing.tools.is_empty();
        says_something.then_some(standing)
    };
    let servers: BTreeSet<&Server> = filter.servers.iter().chain(served).collect();
    v1::Standing {
        epoch: now.epochs.global,
        servers: servers.into_iter().filter_map(of_server).collect(),
        consult: now.kills.iter().any(|(target, _)| may_concern(target, filter)),
    }
}
