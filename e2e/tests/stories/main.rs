//! Stories: what a client, an operator and an attacker see of a whole AgentGate. No part of it is imitated but the recording tool server.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a story ends where its world breaks; only JSON values and lists just counted are indexed"
)]

mod agents;
mod answers;
mod approvals;
mod attempts;
mod calls;
mod certificates;
mod check;
mod documents;
mod envoy_config;
mod evidence;
mod ext_authz;
mod failover;
mod failures;
mod framing;
mod laptop;
mod mesh;
mod observe;
mod origin;
mod policy;
mod privacy;
mod replicas;
mod rest;
mod restoring;
mod retention;
mod rotating;
mod rust_sdk;
mod session;
mod start;
mod trap;
mod typescript;
mod users;
mod wire;
mod witness;
