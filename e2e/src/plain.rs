//! The control run: the same Envoy without the gate, in front of a tool server of its own. It refuses as little as Envoy can.

use crate::upstream::{Arrived, Protocol, Reply, Upstream};
use crate::world;
use crate::{Broken, Edit, Envoy, EnvoyPlan, Places};
use std::net::SocketAddr;
use tempfile::TempDir;

#[derive(Debug)]
pub struct Plain {
    _envoy: Envoy,
    pub address: SocketAddr,
    pub upstream: Upstream,
    _directory: TempDir,
}

// === impl Plain ===

impl Plain {
    /// # Errors
    /// A part that does not come up; with the end of its log.
    pub fn start(script: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) -> Result<Self, Broken> {
        Self::edited(Vec::new(), script)
    }

    /// With changes to its configuration: those that a story makes to the gate's.
    ///
    /// # Errors
    /// A part that does not come up; with the end of its log.
    pub fn edited(mut edits: Vec<Edit>, script: impl Fn(&Arrived) -> Reply + Send + Sync + 'static) -> Result<Self, Broken> {
        let places = Places::found()?;
        let directory = world::directory()?;
        let upstream = Upstream::start(Protocol::Http1, script)?;
        edits.push(Edit::new("port_value: 18081 }", format!("port_value: {} }}", upstream.address.port())));
        let plan = EnvoyPlan { name: "an Envoy without the gate", bootstrap: places.plain(), edits, workers: 1 };
        let envoy = Envoy::start(&places, directory.path(), &plan)?;
        let address = envoy.listener("plain")?;
        Ok(Self { _envoy: envoy, address, upstream, _directory: directory })
    }
}
