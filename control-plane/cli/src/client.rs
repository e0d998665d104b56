//! The way to the control plane.

use clap::Args;
use std::path::PathBuf;

/// Where the control plane is, and who we are.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Reaching the control plane")]
pub struct Connection {
    /// The operators' listener of the control plane
    #[arg(long, global = true, env = "AGENTGATE_ENDPOINT", default_value = "https://127.0.0.1:9444", value_name = "URL")]
    pub endpoint: String,
    /// The authority's certificate, which the control plane's certificate must be signed by
    #[arg(long = "authority", id = "connection_authority", global = true, env = "AGENTGATE_AUTHORITY", value_name = "PEM")]
    pub authority: Option<PathBuf>,
    /// Our certificate; its SPIFFE ID must be one of the control plane's operators
    #[arg(long, global = true, env = "AGENTGATE_CERTIFICATE", value_name = "PEM")]
    pub certificate: Option<PathBuf>,
    /// The key of our certificate
    #[arg(long, global = true, env = "AGENTGATE_KEY", hide_env_values = true, value_name = "PEM")]
    pub key: Option<PathBuf>,
}
