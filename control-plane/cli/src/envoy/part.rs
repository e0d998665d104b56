//! The control plane's half: the `[[filter]]` entry that lets this gate ask, as it stands in `control-plane.toml`.

use super::At;
use super::plan::Plan;
use super::quote::toml;

#[must_use]
pub(crate) fn control_plane(plan: &Plan) -> String {
    let mut servers: Vec<String> = plan.servers.iter().map(|behind| toml(behind.server.as_str())).collect();
    servers.sort_unstable();
    let (caller, why) = match plan.at {
        At::Outbound => (
            format!("principal = {}", toml(plan.principal.as_str())),
            "# Who stands beside this gate: each of its calls is this one's.",
        ),
        At::Inbound | At::Gateway => (
            format!("peers = {}", toml(plan.trust_domain())),
            "# Who calls is told by the caller's own certificate, of this trust domain.",
        ),
    };
    format!(
        "[[filter]]\nidentity = {}\ntenant = \"default\"\n# The top keys of tools.yaml.\nservers = [{}]\n{why}\n{caller}\n",
        toml(plan.identity.as_str()),
        servers.join(", ")
    )
}
