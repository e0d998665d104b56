//! Whether a call waits for its verdict: enforced, or only observed. What was ordered counts more than what a route says.

use crate::fold;
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

/// The orders in force: for a tool, else for its server, else as the route says. A name that a server could take for that of
/// an enforced tool is enforced as well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    ordered: BTreeMap<(Server, Option<String>), Mode>,
    /// Of each server, the folded names of its enforced tools, and how many tools share one.
    enforced: BTreeMap<Server, BTreeMap<String, usize>>,
}

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
        if let Some(tool) = &tool {
            let (folded, before) = (fold::loosely(tool), self.ordered(&server, Some(tool)));
            let tools = usize::from(mode == Some(Mode::Enforce));
            self.count(&server, &folded, usize::from(before == Some(Mode::Enforce)), tools);
        }
        match mode {
            Some(mode) => self.ordered.insert((server, tool), mode),
            None => self.ordered.remove(&(server, tool)),
        };
    }

    /// What is ordered for exactly this.
    #[must_use]
    pub fn ordered(&self, server: &Server, tool: Option<&str>) -> Option<Mode> {
        self.ordered.get(&(server.clone(), tool.map(String::from))).copied()
    }

    /// How a call is treated; `route` is what its route's configuration says.
    #[must_use]
    pub fn of(&self, server: &Server, tool: Option<&str>, route: Mode) -> Mode {
        if self.ordered.is_empty() {
            return route;
        }
        if let (Some(tool), Some(enforced)) = (tool, self.enforced.get(server))
            && enforced.contains_key(fold::loosely(tool).as_str())
        {
            return Mode::Enforce;
        }
        let of_tool = tool.and_then(|tool| self.ordered(server, Some(tool)));
        of_tool.or_else(|| self.ordered(server, None)).unwrap_or(route)
    }

    /// Whether some tool of `server` is enforced by an order of its own.
    #[must_use]
    pub fn enforces_a_tool(&self, server: &Server) -> bool {
        self.enforced.contains_key(server)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Server, Option<&str>, Mode)> {
        self.ordered.iter().map(|((server, tool), mode)| (server, tool.as_deref(), *mode))
    }

    /// Under this folded name, `before` enforced tools became `after`.
    fn count(&mut self, server: &Server, folded: &str, before: usize, after: usize) {
        let mut of_server = self.enforced.remove(server).unwrap_or_default();
        let tools = of_server.remove(folded).unwrap_or_default().saturating_sub(before).saturating_add(after);
        if tools > 0 {
            of_server.insert(folded.into(), tools);
        }
        if !of_server.is_empty() {
            self.enforced.insert(server.clone(), of_server);
        }
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

    #[test]
    fn what_a_server_could_take_for_an_enforced_tool_is_enforced() {
        let notes = Server::try_from("notes").unwrap();
        let mut modes = Modes::default();
        let enforced = |modes: &Modes| {
            let is = |tool: &&str| modes.of(&notes, Some(tool), Mode::Observe) == Mode::Enforce;
            ["add", "Add", "a\u{200b}dd", "ad"].into_iter().filter(is).collect::<alloc::vec::Vec<_>>()
        };
        let set = |modes: &mut Modes, tool: &str, mode| modes.set(notes.clone(), Some(tool.into()), mode);
        for (tool, mode, wanted) in [
            ("add", Some(Mode::Enforce), &["add", "Add", "a\u{200b}dd"][..]),
            // An order of its own does not let it off.
            ("Add", Some(Mode::Observe), &["add", "Add", "a\u{200b}dd"]),
            ("Add", Some(Mode::Enforce), &["add", "Add", "a\u{200b}dd"]),
            ("Add", Some(Mode::Enforce), &["add", "Add", "a\u{200b}dd"]),
            ("add", None, &["add", "Add", "a\u{200b}dd"]),
            ("Add", Some(Mode::Observe), &[]),
            // To observe is for exactly this name.
            ("ad", Some(Mode::Observe), &[]),
        ] {
            set(&mut modes, tool, mode);
            assert_eq!(enforced(&modes), wanted, "{modes:?}");
            assert_eq!(modes.enforces_a_tool(&notes), !wanted.is_empty());
        }
        let mut strict = Modes::default();
        set(&mut strict, "add", Some(Mode::Observe));
        assert_eq!(strict.of(&notes, Some("Add"), Mode::Enforce), Mode::Enforce);
    }
}
