//! How a server's calls were treated lately, as their filters said: for people who want to know what only observes, and of which
//! servers no call can be decided.

use crate::bounded::Bounded;
use crate::identity::Served;
use crate::telemetry::number;
use agentgate_core::id::{Asker, Server};
use agentgate_core::time::Time;
use agentgate_proto::v1;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Servers that were called and that their filter may not ask for; the oldest is forgotten first. A mistake has a few.
pub(super) const UNGRANTED_MAX: usize = 256;

/// Whoever mended a name sees it gone after this.
const UNGRANTED_TOLD_US: u64 = 600_000_000;

#[derive(Debug)]
pub(super) struct Routes {
    /// One entry a server that a filter may ask for: the configuration bounds them.
    granted: Mutex<BTreeMap<Server, Route>>,
    ungranted: Mutex<Bounded<(Asker, Server), Ungranted>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ungranted {
    calls: u64,
    last_call: Option<Time>,
}

#[derive(Clone, Copy, Debug)]
struct Route {
    observes: bool,
    last_call: Time,
    turned_away: u64,
}

// === impl Routes ===

impl Default for Routes {
    fn default() -> Self {
        Self { granted: Mutex::default(), ungranted: Mutex::new(Bounded::new(UNGRANTED_MAX)) }
    }
}

impl Routes {
    /// A call came; `observes`: its route's configuration says so.
    pub(super) fn called(&self, server: &Server, observes: bool, at: Time) {
        let mut routes = locked(&self.granted);
        match routes.get_mut(server) {
            Some(route) => *route = Route { observes, last_call: at, ..*route },
            None => drop(routes.insert(server.clone(), Route { observes, last_call: at, turned_away: 0 })),
        }
    }

    /// An observed call was of nobody whom its filter may name.
    pub(super) fn turned_away(&self, server: &Server, at: Time) {
        self.called(server, true, at);
        if let Some(route) = locked(&self.granted).get_mut(server) {
            route.turned_away = route.turned_away.saturating_add(1);
        }
    }

    /// A call came of a server that its filter may not ask for.
    pub(super) fn ungranted(&self, asker: &Asker, server: &Server, at: Time) {
        let mut ungranted = locked(&self.ungranted);
        let key = (asker.clone(), server.clone());
        let calls = ungranted.get(&key).map_or(0, |known| known.calls).saturating_add(1);
        ungranted.put(key, Ungranted { calls, last_call: Some(at) });
        metrics::gauge!("agentgate_ungranted_servers").set(number(ungranted.len()));
    }

    /// Of those that were called, and of `served` that were not yet.
    pub(super) fn all(&self, served: &[Served]) -> Vec<v1::RouteStatus> {
        let mut routes = locked(&self.granted).clone();
        for Served { server, observes, .. } in served {
            // Of several routes to one server, one that observes counts.
            let fresh = Route { observes: *observes, last_call: Time::from_micros(0), turned_away: 0 };
            let route = routes.entry(server.clone()).or_insert(fresh);
            route.observes |= *observes && route.last_call.micros() == 0;
        }
        let status = |(server, route): (Server, Route)| v1::RouteStatus {
            server: server.to_string(),
            observes: route.observes,
            last_call_us: route.last_call.micros(),
            turned_away: route.turned_away,
        };
        routes.into_iter().map(status).collect()
    }

    /// Those that were called lately, and those that some filter's routes name.
    pub(super) fn all_ungranted(&self, served: &[Served], now: Time) -> Vec<v1::Ungranted> {
        let is_told = |known: &Ungranted| {
            known.last_call.is_some_and(|last| now.micros().saturating_sub(last.micros()) < UNGRANTED_TOLD_US)
        };
        let called = locked(&self.ungranted);
        let mut all: BTreeMap<(Asker, Server), Ungranted> =
            called.iter().filter(|(_, known)| is_told(known)).map(|(key, known)| (key.clone(), *known)).collect();
        for Served { asker, server, .. } in served {
            let key = (asker.clone(), server.clone());
            let known = called.get(&key).copied().unwrap_or_default();
            all.insert(key, known);
        }
        let status = |((asker, server), known): ((Asker, Server), Ungranted)| v1::Ungranted {
            asker: asker.to_string(),
            server: server.to_string(),
            calls: known.calls,
            last_call_us: known.last_call.map_or(0, Time::micros),
        };
        all.into_iter().map(status).collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Routes, Served, UNGRANTED_MAX, UNGRANTED_TOLD_US};
    use agentgate_core::id::{Asker, Server};
    use agentgate_core::time::Time;

    fn asker() -> Asker {
        Asker::try_from("spiffe://a/filter/x").unwrap()
    }

    fn server(name: &str) -> Server {
        Server::try_from(name).unwrap()
    }

    fn at(us: u64) -> Time {
        Time::from_micros(us)
    }

    #[test]
    fn a_mistake_is_told_of_while_a_route_has_it_and_for_a_while_after_its_last_call() {
        let routes = Routes::default();
        let told = |served: &[Served], now: u64| -> Vec<(String, u64)> {
            routes.all_ungranted(served, at(now)).into_iter().map(|one| (one.server, one.calls)).collect()
        };
        routes.ungranted(&asker(), &server("ntoes"), at(1));
        routes.ungranted(&asker(), &server("ntoes"), at(5));
        assert_eq!(told(&[], 4 + UNGRANTED_TOLD_US), [("ntoes".into(), 2)]);
        assert_eq!(told(&[], 5 + UNGRANTED_TOLD_US), []);
        let served = |name: &str| Served { asker: asker(), server: server(name), observes: true };
        let both = [served("ntoes"), served("files")];
        assert_eq!(told(&both, 5 + UNGRANTED_TOLD_US), [("files".into(), 0), ("ntoes".into(), 2)]);
    }

    #[test]
    fn the_oldest_of_too_many_mistakes_is_forgotten() {
        let routes = Routes::default();
        for number in 0..UNGRANTED_MAX {
            routes.ungranted(&asker(), &server(&format!("s{number}")), at(1));
        }
        let is_told = |name: &str| routes.all_ungranted(&[], at(1)).iter().any(|one| one.server == name);
        assert!(is_told("s0"));
        routes.ungranted(&asker(), &server("last"), at(1));
        assert!(!is_told("s0") && is_told("s1") && is_told("last"));
    }

    #[test]
    fn a_route_is_known_before_its_first_call_and_a_call_says_more() {
        let routes = Routes::default();
        let served = |observes| Served { asker: asker(), server: server("notes"), observes };
        let observes = |served: &[Served]| routes.all(served).iter().map(|route| route.observes).collect::<Vec<_>>();
        assert_eq!(observes(&[served(false)]), [false]);
        assert_eq!(observes(&[served(false), served(true)]), [true]);
        routes.called(&server("notes"), false, at(1));
        assert_eq!(observes(&[served(true)]), [false]);
    }
}
