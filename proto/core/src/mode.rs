//! Whether a call waits for its verdict: enforced, or only observed. What was ordered counts more than what a route says.

use crate::id::Server;
use alloc::collections::BTreeMap;
use alloc::string::String;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The call goes on at once, and its verdict is recorded.
    Observe,
    /// The call waits for its verdict, and the verdict is obeyed.
    Enforce,
}

/// The orders in force: for a tool, else for its server, else as the route says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes(BTreeMap<(Server, Option<String>), Mode>);

// === impl Mode ===

impl Mode {
    /// The one spelling, in configuration, commands and records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        }
    }
}

// === impl Modes ===

impl Modes {
    /// Without a mode the order is forgotten.
    pub fn set(&mut self, server: Server, tool: Option<String>, mode: Option<Mode>) {
        match mode {
            Some(mode) => self.0.insert((server, tool), mode),
            None => self.0.remove(&(server, tool)),
        };
    }

    /// What is ordered for exactly this.
    #[must_use]
    pub fn ordered(&self, server: &Server, tool: Option<&str>) -> Option<Mode> {
        self.0.get(&(server.clone(), tool.map(String::from))).copied()
    }

    /// How a call is treated; `route` is what its route's configuration says.
    #[must_use]
    pub fn of(&self, server: &Server, tool: Option<&str>, route: Mode) -> Mode {
        if self.0.is_empty() {
            return route;
        }
        let of_tool = tool.and_then(|tool| self.ordered(server, Some(tool)));
        of_tool.or_else(|| self.ordered(server, None)).unwrap_or(route)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Server, Option<&str>, Mode)> {
        self.0.iter().map(|((server, tool), mode)| (server, tool.as_deref(), *mode))
    }
}

#[cfg(test)]
mod tests {
    use super::{Mode, Modes};
    use crate::id::Server;

    #[test]
    fn a_tools_order_counts_more_than_its_servers_and_that_more_than_the_route() {
        let (notes, other) = (Server::try_from("notes").unwrap(), Server::try_from("other").unwrap());
        let mut modes = Modes::default();
        let check = |modes: &Modes, server: &Server, tool, route, wanted| {
            assert_eq!(modes.of(server, tool, route), wanted, "{modes:?} {server} {tool:?} {route:?}");
        };
        check(&modes, &notes, Some("add"), Mode::Observe, Mode::Observe);
        modes.set(notes.clone(), Some("add".into()), Some(Mode::Enforce));
        check(&modes, &notes, Some("add"), Mode::Observe, Mode::Enforce);
        check(&modes, &notes, Some("read"), Mode::Observe, Mode::Observe);
        check(&modes, &notes, None, Mode::Enforce, Mode::Enforce);
        modes.set(notes.clone(), None, Some(Mode::Observe));
        check(&modes, &notes, Some("add"), Mode::Enforce, Mode::Enforce);
        check(&modes, &notes, Some("read"), Mode::Enforce, Mode::Observe);
        check(&modes, &other, Some("add"), Mode::Enforce, Mode::Enforce);
        modes.set(notes.clone(), Some("add".into()), None);
        check(&modes, &notes, Some("add"), Mode::Enforce, Mode::Observe);
    }
}
