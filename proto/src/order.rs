//! Orders: kills and modes, wire ⇄ core. What names nothing, or no name, is an error that says which field.

use crate::v1;
use agentgate_core::id::{Handle, NameError, Principal, Server, Tenant};
use agentgate_core::kill::KillTarget;
use agentgate_core::mode::Mode;
use thiserror::Error;

/// Why an order on the wire is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unnamed {
    #[error("the order does not say what is to be killed or resumed")]
    Nothing,
    #[error(transparent)]
    Name(#[from] NameError),
}

/// # Errors
/// When it names nothing, or no name.
pub fn target_from_wire(target: Option<&v1::KillTarget>) -> Result<KillTarget, Unnamed> {
    use v1::kill_target::Height;
    let height = target.and_then(|target| target.height.as_ref()).ok_or(Unnamed::Nothing)?;
    Ok(match height {
        Height::Everything(v1::Everything {}) => KillTarget::Everything,
        Height::Tenant(tenant) => KillTarget::Tenant(Tenant::try_from(tenant.as_str())?),
        Height::Tool(v1::ToolName { server, tool }) => {
            KillTarget::Tool { server: Server::try_from(server.as_str())?, tool: tool_from_wire(tool)? }
        }
        Height::Agent(agent) => KillTarget::Agent(Principal::try_from(agent.as_str())?),
        Height::Session(handle) => KillTarget::Session(Handle::try_from(handle.as_str())?),
    })
}

#[must_use]
pub fn target_to_wire(target: &KillTarget) -> v1::KillTarget {
    use v1::kill_target::Height;
    let height = match target {
        KillTarget::Everything => Height::Everything(v1::Everything {}),
        KillTarget::Tenant(tenant) => Height::Tenant(tenant.as_str().into()),
        KillTarget::Tool { server, tool } => {
            Height::Tool(v1::ToolName { server: server.as_str().into(), tool: tool.clone().unwrap_or_default() })
        }
        KillTarget::Agent(agent) => Height::Agent(agent.as_str().into()),
        KillTarget::Session(handle) => Height::Session(handle.as_str().into()),
    };
    v1::KillTarget { height: Some(height) }
}

/// The tool of an order. None: the whole server.
///
/// # Errors
/// When it is no name.
pub fn tool_from_wire(tool: &str) -> Result<Option<String>, NameError> {
    if tool.is_empty() {
        return Ok(None);
    }
    // A tool is named by what a server's name may hold as well: seen, bounded, without spaces.
    Server::try_from(tool).map(|tool| Some(tool.as_str().into()))
}

/// None: as the route says.
#[must_use]
pub const fn mode_from_wire(mode: v1::Mode) -> Option<Mode> {
    match mode {
        v1::Mode::Unspecified => None,
        v1::Mode::Observe => Some(Mode::Observe),
        v1::Mode::Enforce => Some(Mode::Enforce),
    }
}

#[must_use]
pub const fn mode_to_wire(mode: Option<Mode>) -> v1::Mode {
    match mode {
        None => v1::Mode::Unspecified,
        Some(Mode::Observe) => v1::Mode::Observe,
        Some(Mode::Enforce) => v1::Mode::Enforce,
    }
}

#[cfg(test)]
mod tests {
    use super::{target_from_wire, target_to_wire};
    use crate::v1;
    use crate::v1::kill_target::Height;

    #[test]
    fn a_target_comes_back_from_the_wire_as_it_went() {
        let tool = |server: &str, tool: &str| Height::Tool(v1::ToolName { server: server.into(), tool: tool.into() });
        for (height, is_named) in [
            (Height::Everything(v1::Everything {}), true),
            (Height::Tenant("acme".into()), true),
            (Height::Tenant(String::new()), false),
            (tool("notes", "add"), true),
            (tool("notes", ""), true),
            (tool("", "add"), false),
            (tool("notes", "a b"), false),
            (Height::Agent("spiffe://a/agent/x".into()), true),
            (Height::Agent("user:u@https://i".into()), true),
            (Height::Agent("alice".into()), false),
            (Height::Session("5f0c".into()), true),
            (Height::Session("\n".into()), false),
        ] {
            let wire = v1::KillTarget { height: Some(height) };
            let read = target_from_wire(Some(&wire));
            assert_eq!(read.is_ok(), is_named, "{wire:?}");
            if let Ok(target) = read {
                assert_eq!(target_to_wire(&target), wire);
            }
        }
        assert!(target_from_wire(None).is_err() && target_from_wire(Some(&v1::KillTarget { height: None })).is_err());
    }
}
