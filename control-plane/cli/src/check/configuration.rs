//! Envoy's configuration, sorted: listeners, clusters, routes and secrets, whether they came from a file or from the admin port.
//!
//! It judges nothing, and what it does not know it leaves out.

use super::authz;
use super::parts::{Asks, Chain, Gate};
use super::place::Place;
use serde_json::Value;

/// Where it all is.
#[derive(Clone, Debug)]
pub(crate) struct Configuration<'a> {
    pub(crate) listeners: Vec<Place<'a>>,
    pub(crate) clusters: Vec<Place<'a>>,
    /// Route configurations that listeners name instead of holding them.
    routes: Vec<Place<'a>>,
    pub(crate) secrets: Vec<Place<'a>>,
    pub(crate) admin: Vec<Place<'a>>,
}

// === impl Configuration ===

impl<'a> Configuration<'a> {
    #[must_use]
    pub(crate) fn of(root: &Place<'a>) -> Self {
        if root.field("configs").is_there() { Self::dumped(root) } else { Self::written(root) }
    }

    fn written(root: &Place<'a>) -> Self {
        let statics = root.field("static_resources");
        Self {
            listeners: statics.field("listeners").items(),
            clusters: statics.field("clusters").items(),
            routes: Vec::new(),
            secrets: statics.field("secrets").items(),
            admin: vec![root.field("admin")],
        }
    }

    fn dumped(root: &Place<'a>) -> Self {
        let configs = root.field("configs").items();
        let inner = |kind: &str, lists: &[&str], path: &str| -> Vec<Place<'a>> {
            let of_kind = configs.iter().filter(|config| config.kind() == kind);
            let entries = of_kind.flat_map(|config| lists.iter().flat_map(|list| config.field(list).items()));
            entries.map(|entry| entry.at(path)).filter(Place::is_there).collect()
        };
        let mut listeners = inner("ListenersConfigDump", &["static_listeners"], "listener");
        listeners.extend(inner("ListenersConfigDump", &["dynamic_listeners"], "active_state.listener"));
        let bootstraps = configs.iter().filter(|config| config.kind() == "BootstrapConfigDump");
        Self {
            listeners,
            clusters: inner("ClustersConfigDump", &["static_clusters", "dynamic_active_clusters"], "cluster"),
            routes: inner("RoutesConfigDump", &["dynamic_route_configs"], "route_config"),
            secrets: inner("SecretsConfigDump", &["static_secrets", "dynamic_active_secrets"], "secret"),
            admin: bootstraps.map(|dump| dump.at("bootstrap.admin")).collect(),
        }
    }

    /// Every HTTP connection manager.
    #[must_use]
    pub(crate) fn chains(&self) -> Vec<Chain<'a>> {
        let mut chains = Vec::new();
        for (at, listener, filter_chain, filter) in self.network_filters() {
            let manager = filter.field("typed_config");
            if manager.kind() == "HttpConnectionManager" {
                let manager = manager.opened();
                let routes = self.routes(&manager);
                let gate = gate(&manager, routes.as_ref());
                chains.push(Chain { at, listener, filter_chain, routes, gate, manager });
            }
        }
        chains
    }

    /// Clusters that are reached without HTTP being read, and where.
    #[must_use]
    pub(crate) fn passed_through(&self) -> Vec<(String, Place<'a>)> {
        let mut found = Vec::new();
        for (at, _, _, filter) in self.network_filters() {
            let proxy = filter.field("typed_config");
            if proxy.kind() != "HttpConnectionManager" {
                let proxy = proxy.opened();
                let weighted = proxy.at("weighted_clusters.clusters").items().into_iter().map(|cluster| cluster.field("name"));
                found.extend([proxy.field("cluster")].into_iter().chain(weighted).map(|cluster| (at.clone(), cluster)));
            }
        }
        found.retain(|(_, cluster)| cluster.text().is_some());
        found
    }

    fn network_filters(&self) -> Vec<(String, Place<'a>, Place<'a>, Place<'a>)> {
        let mut found = Vec::new();
        for (index, listener) in self.listeners.iter().enumerate() {
            let name = listener.field("name").text().map_or_else(|| format!("number {}", index + 1), ToOwned::to_owned);
            let chains = [listener.field("filter_chains").items(), vec![listener.field("default_filter_chain")]].concat();
            let several = chains.iter().filter(|chain| chain.is_there()).count() > 1;
            for (number, chain) in chains.into_iter().filter(Place::is_there).enumerate() {
                let at = if several { format!("listener {name}, chain {}", number + 1) } else { format!("listener {name}") };
                for filter in chain.field("filters").items() {
                    found.push((at.clone(), listener.clone(), chain.clone(), filter));
                }
            }
        }
        found
    }

    fn routes(&self, manager: &Place<'a>) -> Option<Place<'a>> {
        let own = manager.field("route_config");
        if own.is_there() {
            return Some(own);
        }
        let name = manager.at("rds.route_config_name").text()?;
        self.routes.iter().find(|routes| routes.field("name").text() == Some(name)).cloned()
    }

    #[must_use]
    pub(crate) fn cluster(&self, name: &str) -> Option<&Place<'a>> {
        self.clusters.iter().find(|cluster| cluster.field("name").text() == Some(name))
    }
}

// === impl Gate ===

/// The filter is known by what it is told, or by its name.
fn gate<'a>(manager: &Place<'a>, routes: Option<&Place<'a>>) -> Option<Gate<'a>> {
    manager.field("http_filters").items().into_iter().enumerate().find_map(|(index, filter)| {
        if let Some(gate) = authz::gate(&filter, index, routes) {
            return Some(gate);
        }
        let typed = filter.field("typed_config");
        let name = filter.field("name").text().unwrap_or_default();
        let plugin = typed.opened().field("config");
        let ours = [Some(name), plugin.field("name").text(), plugin.field("root_id").text()];
        let named = ours.into_iter().flatten().any(|name| name.contains("agentgate"));
        let discovered = filter.field("config_discovery").is_there() && named;
        let told = told(&plugin.field("configuration"));
        let looks = told.as_ref().is_ok_and(|told| told.get("control_plane").is_some() && told.get("routes").is_some());
        let wasm = typed.kind() == "Wasm";
        (discovered || (wasm && (named || looks))).then_some(Gate { name, filter, asks: Asks::Wasm, plugin, told, index })
    })
}

fn told(configuration: &Place<'_>) -> Result<Value, String> {
    let value = configuration.field("value");
    match value.text() {
        Some(text) => {
            serde_json::from_str(text).map_err(|error| format!("the plugin's configuration is no strict JSON: {error}"))
        }
        // A struct of protobuf stands there as itself.
        None if value.value.is_object() => Ok(value.value.clone()),
        None if configuration.value.is_object() => Ok(configuration.value.clone()),
        None => Err("there is none".into()),
    }
}

impl Gate<'_> {
    /// A number of the filter's own configuration.
    #[must_use]
    pub(crate) fn told_number(&self, pointer: &str) -> Option<u64> {
        self.told.as_ref().ok()?.pointer(pointer)?.as_u64()
    }

    /// The largest body that any of its routes takes.
    #[must_use]
    pub(crate) fn body_bytes_max(&self) -> u64 {
        const DEFAULT: u64 = 1_024 * 1_024;
        let routes = self.told_routes();
        let own = routes.iter().map(|route| route.pointer("/limits/body_bytes_max").and_then(Value::as_u64).unwrap_or(DEFAULT));
        own.max().unwrap_or(DEFAULT)
    }

    #[must_use]
    pub(crate) fn told_routes(&self) -> Vec<&Value> {
        let routes = self.told.as_ref().ok().and_then(|told| told.get("routes")?.as_array());
        routes.into_iter().flatten().collect()
    }

    /// The cluster that it asks.
    #[must_use]
    pub(crate) fn control_plane(&self) -> &str {
        self.told.as_ref().ok().and_then(|told| told.pointer("/control_plane/cluster")?.as_str()).unwrap_or("agentgate")
    }
}
