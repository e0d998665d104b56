//! What a filter must know without asking, of the servers that it may ask for: which calls it sends on unasked, and that a
//! kill may concern them. Nobody's name is in it, and no reason.

use super::Now;
use crate::config::Filter;
use agentgate_proto::order::mode_to_wire;
use agentgate_proto::v1;

#[must_use]
pub fn standing(now: &Now, filter: &Filter) -> v1::Standing {
    let of_server = |server: &agentgate_core::id::Server| {
        let tools =
            now.modes.iter().filter(|(of, _, _)| *of == server).filter_map(|(_, tool, mode)| {
                Some(v1::ToolStanding { tool: tool?.into(), mode: mode_to_wire(Some(mode)).into() })
            });
        let standing = v1::ServerStanding {
            server: server.to_string(),
            mode: mode_to_wire(now.modes.ordered(server, None)).into(),
            tools: tools.collect(),
            consult: filter.tenants().any(|tenant| now.kills.may_concern(tenant, server)),
        };
        let says_something = standing.consult || standing.mode() != v1::Mode::Unspecified || !standing.tools.is_empty();
        says_something.then_some(standing)
    };
    v1::Standing { epoch: now.epochs.global, servers: filter.servers.iter().filter_map(of_server).collect() }
}
