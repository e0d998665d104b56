//! The harness: a whole AgentGate on one machine, every part of it real, each world apart from all others.
//!
//! It fakes nothing but the tool server that records what reaches it, and it leaves no process, port or file behind.

mod broken;
mod certificates;
mod cli;
mod clock;
mod control_plane;
pub mod crash;
mod envoy;
pub mod http1;
pub mod http2;
mod mcp;
mod notes;
mod places;
mod plain;
pub mod postgres;
mod process;
mod reaper;
mod stack;
pub mod upstream;
pub mod witness;
mod world;

pub use broken::{Broken, Doing};
pub use certificates::{Certificate, Certificates};
pub use cli::Cli;
pub use clock::{eventually, now, wall_s};
pub use control_plane::{ControlPlane, ControlPlanePorts};
pub use envoy::{Edit, Envoy, EnvoyPlan};
pub use mcp::{McpClient, Mode};
pub use notes::Notes;
pub use places::Places;
pub use plain::Plain;
pub use process::Process;
pub use stack::{Plan, Ports, Stack, Stranger};
pub use world::{World, WorldPlan, directory};
