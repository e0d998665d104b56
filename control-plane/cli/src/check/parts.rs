//! The parts of an Envoy configuration that a gate is made of, wherever they were found. They are looked at, never changed.

use super::place::Place;
use serde_json::Value;

/// One HTTP connection manager, and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Chain<'a> {
    pub(crate) at: String,
    pub(crate) listener: Place<'a>,
    pub(crate) filter_chain: Place<'a>,
    pub(crate) manager: Place<'a>,
    /// None: they are named, and are not here.
    pub(crate) routes: Option<Place<'a>>,
    pub(crate) gate: Option<Gate<'a>>,
}

/// What asks the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    Wasm,
    ExtAuthz,
}

/// The filter as it stands in a chain.
#[derive(Clone, Debug)]
pub(crate) struct Gate<'a> {
    pub(crate) name: &'a str,
    pub(crate) filter: Place<'a>,
    pub(crate) asks: Asks,
    /// Of ext_authz: all that it is told.
    pub(crate) plugin: Place<'a>,
    /// What the filter itself is told. `Err`: it is no JSON.
    pub(crate) told: Result<Value, String>,
    /// Its place among the filters.
    pub(crate) index: usize,
}
