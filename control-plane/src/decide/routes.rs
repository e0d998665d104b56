//! How a server's calls were treated lately, as their filters said: for people who want to know what only observes.

use agentgate_core::id::Server;
use agentgate_core::time::Time;
use agentgate_proto::v1;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// One entry a server that a filter may ask for: the configuration bounds them.
#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<BTreeMap<Server, Route>>);

#[derive(Clone, Copy, Debug)]
struct Route {
    observes: bool,
    last_call: Time,
    turned_away: u64,
}

// === impl Routes ===

impl Routes {
    /// A call came; `observes`: its route's configuration says so.
    pub(super) fn called(&self, server: &Server, observes: bool, at: Time) {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match routes.get_mut(server) {
            Some(route) => *route = Route { observes, last_call: at, ..*route },
            None => drop(routes.insert(server.clone(), Route { observes, last_call: at, turned_away: 0 })),
        }
    }

    /// An observed call was of nobody whom its filter may name.
    pub(super) fn turned_away(&self, server: &Server, at: Time) {
        self.called(server, true, at);
        if let Some(route) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(server) {
            route.turned_away = route.turned_away.saturating_add(1);
        }
    }

    pub(super) fn all(&self) -> Vec<v1::RouteStatus> {
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let status = |(server, route): (&Server, &Route)| v1::RouteStatus {
            server: server.to_string(),
            observes: route.observes,
            last_call_us: route.last_call.micros(),
            turned_away: route.turned_away,
        };
        routes.iter().map(status).collect()
    }
}
