//! What this VM knows of the orders in force: which calls it sends on unasked, and for which it must ask whatever their mode.
//!
//! It outlives streams and configurations. What it cannot read it does not take, and where nothing was ever said it refuses
//! to take a route's word for it while there may still be somebody to ask.

use agentgate_core::config::Route;
use agentgate_core::id::{NAME_BYTES_MAX, Server};
use agentgate_core::mcp::{Message, Method};
use agentgate_core::mode::{Mode, Modes};
use agentgate_proto::order::mode_from_wire;
use agentgate_proto::v1;
use std::collections::BTreeSet;

/// Servers that one standing may name: four times as many as a configuration has routes.
pub const SERVERS_MAX: usize = 1_024;
/// Tools with a mode of their own, over all servers. Their names live as long as the VM.
pub const TOOLS_MAX: usize = 8_192;

#[derive(Debug, Default)]
pub struct Standing {
    orders: Option<Orders>,
    /// The control plane could not be reached before it ever said anything.
    nobody: bool,
}

/// What happens to a call that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// It goes on at once, and a copy is reported.
    Observe,
    /// It waits for its verdict.
    Ask,
}

#[derive(Debug)]
struct Orders {
    epoch: u64,
    modes: Modes,
    /// Servers of which each call is asked for first.
    consulted: BTreeSet<Server>,
    /// Each call is, of whatever server.
    consults_all: bool,
}

// === impl Standing ===

impl Standing {
    /// Takes what was said in the place of what stood; the epoch that is obeyed from here on. None: it cannot be read.
    pub fn take(&mut self, said: &v1::Standing) -> Option<u64> {
        let orders = Orders::read(said)?;
        let epoch = orders.epoch;
        self.orders = Some(orders);
        Some(epoch)
    }

    /// None: nothing was ever said.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.orders.as_ref().map(|orders| orders.epoch)
    }

    /// Nobody was there to say anything. From here on a route's configuration counts, until somebody says more.
    pub fn nobody_there(&mut self) {
        self.nobody = true;
    }

    /// Whether a call goes on if nobody decides it: its route `observes`, and no order is known.
    #[must_use]
    pub fn spares(&self, observes: bool) -> bool {
        self.orders.is_none() && observes
    }

    /// Whether whatever comes on `route` is only observed: no tool of its server is enforced, and nothing is asked for first.
    #[must_use]
    pub fn only_observes(&self, route: &Route) -> bool {
        match &self.orders {
            None => self.nobody && route.observes(),
            Some(orders) => {
                let server = &route.server;
                let enforces = orders.consults(server) || orders.modes.enforces_a_tool(server);
                !enforces && orders.modes.of(server, None, route.mode) == Mode::Observe
            }
        }
    }

    #[must_use]
    pub fn treatment(&self, route: &Route, message: &Message) -> Treatment {
        let tool = if message.method == Method::ToolsCall { message.target.as_deref() } else { None };
        let observes = match &self.orders {
            None => self.nobody && route.observes(),
            Some(orders) => !orders.consults(&route.server) && orders.mode(route, tool) == Mode::Observe,
        };
        if observes { Treatment::Observe } else { Treatment::Ask }
    }

    /// Whether `tool` of the route's server is enforced; if not, it is shown to everybody.
    #[must_use]
    pub fn enforces(&self, route: &Route, tool: &str) -> bool {
        let mode = self.orders.as_ref().map_or(route.mode, |orders| orders.mode(route, Some(tool)));
        mode == Mode::Enforce
    }
}

// === impl Orders ===

impl Orders {
    fn read(said: &v1::Standing) -> Option<Self> {
        let tools: usize = said.servers.iter().map(|server| server.tools.len()).sum();
        if said.servers.len() > SERVERS_MAX || tools > TOOLS_MAX {
            return None;
        }
        let mut orders =
            Self { epoch: said.epoch, modes: Modes::default(), consulted: BTreeSet::new(), consults_all: said.consult };
        for of_server in &said.servers {
            let server = Server::try_from(of_server.server.as_str()).ok()?;
            orders.modes.set(server.clone(), None, mode(of_server.mode)?);
            if of_server.consult {
                orders.consulted.insert(server.clone());
            }
            for of_tool in &of_server.tools {
                orders.read_tool(&server, of_tool)?;
            }
        }
        Some(orders)
    }

    fn read_tool(&mut self, server: &Server, said: &v1::ToolStanding) -> Option<()> {
        let (tool, mode) = (&said.tool, mode(said.mode)??);
        if tool.is_empty() || tool.len() > NAME_BYTES_MAX {
            return None;
        }
        self.modes.set(server.clone(), Some(tool.clone()), Some(mode));
        Some(())
    }

    fn consults(&self, server: &Server) -> bool {
        self.consults_all || self.consulted.contains(server)
    }

    fn mode(&self, route: &Route, tool: Option<&str>) -> Mode {
        self.modes.of(&route.server, tool, route.mode)
    }
}

/// None: a mode of which this contract does not know.
fn mode(said: i32) -> Option<Option<Mode>> {
    v1::Mode::try_from(said).ok().map(mode_from_wire)
}

#[cfg(test)]
pub(crate) mod tests;
