//! `agentgate kill` and `agentgate resume`: stops what is named, above every policy, until somebody lets it go on.
//!
//! A kill asks nobody back: whoever types it is in a hurry. Its reason is wanted, because the agent is told.

use crate::client::{Client, Connection};
use crate::failure::{Exit, Failure};
use crate::known;
use crate::moment::{absolute, relative};
use crate::order::{self, Confirmation};
use crate::output::{Desk, moment_json};
use crate::screen::{Palette, Screen};
use crate::table::Pairs;
use crate::text::{escape, shell_word};
use agentgate_core::fold;
use agentgate_core::id::{Handle, NameError, Principal, Server, Tenant};
use agentgate_core::kill::KillTarget;
use agentgate_core::mcp::Method;
use agentgate_core::pii;
use agentgate_core::time::Time;
use agentgate_proto::order::{target_from_wire, target_to_wire, tool_from_wire};
use agentgate_proto::v1;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// So many of the kills in force are told to whoever resumes another one.
const KILLS_TOLD_MAX: usize = 4;

#[derive(Debug, Args)]
pub struct KillArguments {
    #[command(subcommand)]
    what: KillVerb,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
pub struct ResumeArguments {
    #[command(subcommand)]
    what: Target,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
struct Why {
    /// Why, for people and for the agent that is refused; a kill wants one
    #[arg(long, global = true, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Subcommand)]
enum KillVerb {
    #[command(flatten)]
    Target(Target),
    /// List the kills in force, and how each is resumed
    List,
}

/// What is meant, from the highest to the lowest.
#[derive(Debug, Subcommand)]
pub enum Target {
    /// All calls of everybody
    #[command(visible_alias = "all")]
    Everything,
    /// All calls of one tenant
    Tenant {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// All calls of one server
    Server {
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// All calls of one tool
    Tool {
        #[arg(value_name = "SERVER")]
        server: String,
        #[arg(value_name = "TOOL")]
        tool: String,
    },
    /// All calls of an agent for whomever (`spiffe://…`), or of a user through whatever agent (`user:…@…`)
    Agent {
        #[arg(value_name = "PRINCIPAL")]
        principal: String,
    },
    /// All calls under one session's handle
    Session {
        #[arg(value_name = "HANDLE")]
        handle: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Killed,
    Resumed,
}

pub async fn kill(arguments: &KillArguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let target = match &arguments.what {
        KillVerb::List => return list(client, desk).await,
        KillVerb::Target(target) => target.read("kill", client).await?,
    };
    check_session(&target, client).await?;
    let reason = arguments.why.reason.clone().filter(|reason| !reason.trim().is_empty()).ok_or_else(|| {
        Failure::new(Exit::Usage, "a kill wants its reason: the agent that is refused is told").then("add --reason TEXT")
    })?;
    let ordered = client.kill(v1::KillRequest { target: Some(target_to_wire(&target)), reason }).await?;
    let seen = order::confirm(client, ordered.epoch, desk).await?;
    let doubts = match &target {
        KillTarget::Tool { server, tool } => known::doubts(server.as_str(), tool.as_deref(), client).await,
        KillTarget::Everything | KillTarget::Tenant(_) | KillTarget::Agent(_) | KillTarget::Session(_) => {
            known::doubts_of_callers(&target, client).await
        }
    };
    answer(Done::Killed, &target, (&ordered, &seen), &doubts, desk)
}

/// A session has a name beside the handle that its agent gave it. Whoever types that one would kill nothing.
async fn check_session(target: &KillTarget, client: &Client) -> Result<(), Failure> {
    let KillTarget::Session(typed) = target else { return Ok(()) };
    let Some(call) = known::call_of_session(typed.as_str(), client).await else { return Ok(()) };
    Err(by_handle(typed.as_str(), &call))
}

fn by_handle(typed: &str, call: &v1::CallTrace) -> Failure {
    let failure = Failure::new(Exit::Usage, format!("`{typed}` is the name of a session, and calls are killed by their handle"));
    let agent = format!("agentgate kill agent {} --reason TEXT", shell_word(&call.principal));
    let dash = if call.handle.starts_with('-') { "-- " } else { "" };
    match call.handle.as_str() {
        "" => failure.then(format!("its calls have none; kill their caller: {agent}")),
        altered if pii::holds_stand_in(altered) => failure.then(format!(
            "`[privacy]` altered it: kill the session by its handle as the agent writes it, or its caller: {agent}"
        )),
        handle => failure.then(format!("agentgate kill session --reason TEXT {dash}{}", shell_word(handle))),
    }
}

pub async fn resume(arguments: &ResumeArguments, client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let target = arguments.what.read("resume", client).await?;
    let reason = arguments.why.reason.clone().unwrap_or_default();
    let ordered = client.resume(v1::ResumeRequest { target: Some(target_to_wire(&target)), reason }).await?;
    let seen = order::confirm(client, ordered.epoch, desk).await?;
    answer(Done::Resumed, &target, (&ordered, &seen), &[], desk)?;
    if ordered.changed {
        return Ok(());
    }
    // Whoever mistypes a name would take it for resumed, and what is killed stays so.
    let kills = client.list_orders().await.map(|orders| orders.kills).unwrap_or_default();
    let failure = Failure::new(Exit::Refused, format!("{target} was not killed, so nothing was resumed"));
    let failure = kills.iter().take(KILLS_TOLD_MAX).fold(failure, |failure, kill| {
        let (what, command) = told(kill);
        failure.then(format!("{what} is killed: {command}"))
    });
    Err(failure.then("what is killed: agentgate kill list"))
}

/// What a person types to let it go on.
#[must_use]
pub fn resume_command(target: &KillTarget) -> String {
    let words = match target {
        KillTarget::Everything => vec!["everything"],
        KillTarget::Tenant(tenant) => vec!["tenant", tenant.as_str()],
        KillTarget::Tool { server, tool: None } => vec!["server", server.as_str()],
        KillTarget::Tool { server, tool: Some(tool) } => vec!["tool", server.as_str(), tool],
        KillTarget::Agent(principal) => vec!["agent", principal.as_str()],
        KillTarget::Session(handle) => vec!["session", handle.as_str()],
    };
    // A handle is the agent's own word, and may look like an option.
    let word = |word: &&str| if word.starts_with('-') { format!("-- {}", shell_word(word)) } else { shell_word(word) };
    format!("agentgate resume {}", words.iter().map(word).collect::<Vec<_>>().join(" "))
}

/// What a kill on the wire stops, in words, and the command that resumes it.
#[must_use]
pub fn told(kill: &v1::KillOrder) -> (String, String) {
    match target_from_wire(kill.target.as_ref()) {
        Ok(target) => (target.to_string(), resume_command(&target)),
        Err(unnamed) => (format!("something that this program does not know: {unnamed}"), String::new()),
    }
}

/// Whether a kill in force stops a call like this one.
#[must_use]
pub fn stops(kill: &v1::KillOrder, call: &v1::CallTrace) -> bool {
    let principal = || Principal::try_from(call.principal.as_str());
    match target_from_wire(kill.target.as_ref()) {
        Ok(KillTarget::Everything) => true,
        Ok(KillTarget::Tenant(tenant)) => tenant.as_str() == call.tenant,
        Ok(KillTarget::Tool { server, tool: None }) => server.as_str() == call.server,
        Ok(KillTarget::Tool { server, tool: Some(tool) }) => {
            let is_it = call.method == Method::ToolsCall.name() && fold::loosely(&call.target) == fold::loosely(&tool);
            server.as_str() == call.server && is_it
        }
        Ok(KillTarget::Agent(agent)) => principal().is_ok_and(|principal| principal.is_covered_by(&agent)),
        Ok(KillTarget::Session(handle)) => handle.as_str() == call.handle,
        Err(_) => false,
    }
}

#[must_use]
pub fn kill_json(kill: &v1::KillOrder) -> Value {
    let target = target_from_wire(kill.target.as_ref()).ok();
    json!({
        "target": target.as_ref().map(target_json),
        "reason": kill.reason,
        "by": kill.by,
        "at": moment_json(kill.at_us),
        "sequence": kill.sequence,
        "resume": target.as_ref().map(resume_command),
    })
}

fn target_json(target: &KillTarget) -> Value {
    match target {
        KillTarget::Everything => json!({ "height": "everything" }),
        KillTarget::Tenant(tenant) => json!({ "height": "tenant", "tenant": tenant.as_str() }),
        KillTarget::Tool { server, tool: None } => json!({ "height": "server", "server": server.as_str() }),
        KillTarget::Tool { server, tool } => json!({ "height": "tool", "server": server.as_str(), "tool": tool }),
        KillTarget::Agent(agent) => json!({ "height": "agent", "agent": agent.as_str() }),
        KillTarget::Session(handle) => json!({ "height": "session", "session": handle.as_str() }),
    }
}

fn answer(
    done: Done,
    target: &KillTarget,
    (ordered, seen): (&v1::OrderResponse, &Confirmation),
    doubts: &[String],
    desk: &mut Desk<'_>,
) -> Result<(), Failure> {
    let text = |screen: &Screen| {
        let mut pairs = Pairs::new(screen);
        let heading = match done {
            Done::Killed => "killed",
            Done::Resumed if ordered.changed => "resumed",
            Done::Resumed => "was not killed",
        };
        pairs.heading(&format!("{heading}: {}", escape(&target.to_string(), screen.charset)));
        order::render(ordered, seen, &mut pairs);
        doubts.iter().for_each(|doubt| pairs.pair("warning", Palette::Waiting, doubt));
        if done == Done::Killed {
            pairs.pair("resume", Palette::Plain, &resume_command(target));
        }
        pairs.finish()
    };
    let what = || match done {
        Done::Killed => json!({ "killed": target_json(target) }),
        Done::Resumed => json!({ "resumed": target_json(target), "was_killed": ordered.changed }),
    };
    desk.answer(text, || order::to_json(&what(), ordered, seen, doubts))
}

async fn list(client: &Client, desk: &mut Desk<'_>) -> Result<(), Failure> {
    let kills = client.list_orders().await?.kills;
    let now = desk.now;
    desk.answer(|screen| render_list(&kills, now, screen), || json!({ "kills": kills.iter().map(kill_json).collect::<Vec<_>>() }))
}

fn render_list(kills: &[v1::KillOrder], now: Time, screen: &Screen) -> String {
    if kills.is_empty() {
        return "nothing is killed\n".to_owned();
    }
    let mut pairs = Pairs::new(screen);
    for kill in kills {
        let (what, command) = told(kill);
        pairs.heading(&screen.paint(Palette::Bad, &format!("killed: {}", escape(&what, screen.charset))));
        pairs.pair(
            "since",
            Palette::Plain,
            &format!("{} ({}), #{}", relative(now, kill.at_us), absolute(kill.at_us), kill.sequence),
        );
        pairs.pair("by", Palette::Plain, &kill.by);
        pairs.pair("reason", Palette::Plain, &kill.reason);
        pairs.pair("resume", Palette::Plain, &command);
    }
    pairs.finish()
}

// === impl Target ===

impl Target {
    /// An agent is stopped by its whole name.
    async fn read(&self, verb: &str, client: &Client) -> Result<KillTarget, Failure> {
        let error = match self.named() {
            Ok(target) => return Ok(target),
            Err(error) => error,
        };
        let failure = Failure::new(Exit::Usage, error);
        let Self::Agent { principal } = self else { return Err(failure) };
        let command = format!("agentgate {verb} agent");
        Err(known::whole_wanted(failure, principal, (&command, " --reason TEXT"), client).await)
    }

    fn named(&self) -> Result<KillTarget, NameError> {
        Ok(match self {
            Self::Everything => KillTarget::Everything,
            Self::Tenant { name } => KillTarget::Tenant(Tenant::try_from(name.as_str())?),
            Self::Server { name } => KillTarget::Tool { server: Server::try_from(name.as_str())?, tool: None },
            Self::Tool { server, tool } => {
                let tool = tool_from_wire(tool)?.ok_or(NameError::Empty { what: "the tool's name" })?;
                KillTarget::Tool { server: Server::try_from(server.as_str())?, tool: Some(tool) }
            }
            Self::Agent { principal } => KillTarget::Agent(Principal::try_from(principal.as_str())?),
            Self::Session { handle } => KillTarget::Session(Handle::try_from(handle.as_str())?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{by_handle, resume_command, stops, target_from_wire, v1};
    use agentgate_proto::v1::kill_target::Height;

    #[test]
    fn what_was_killed_is_resumed_by_a_command_that_can_be_copied() {
        let tool = |tool: &str| Height::Tool(v1::ToolName { server: "notes".into(), tool: tool.into() });
        for (height, command) in [
            (Height::Everything(v1::Everything {}), "agentgate resume everything"),
            (Height::Tenant("acme".into()), "agentgate resume tenant acme"),
            (tool(""), "agentgate resume server notes"),
            (tool("drop"), "agentgate resume tool notes drop"),
            (Height::Agent("spiffe://a/x+user:u@i".into()), "agentgate resume agent spiffe://a/x+user:u@i"),
            (Height::Session("$(x)".into()), "agentgate resume session '$(x)'"),
            (Height::Session("--x".into()), "agentgate resume session -- --x"),
        ] {
            let target = target_from_wire(Some(&v1::KillTarget { height: Some(height) })).expect("a target");
            assert_eq!(resume_command(&target), command);
        }
    }

    #[test]
    fn whoever_types_a_sessions_name_is_told_what_kills_it() {
        for (handle, wanted) in [
            ("s1", "agentgate kill session --reason TEXT s1"),
            ("--x", "agentgate kill session --reason TEXT -- --x"),
            ("", "its calls have none; kill their caller: agentgate kill agent spiffe://a/x --reason TEXT"),
            ("[email:abc]", "or its caller: agentgate kill agent spiffe://a/x --reason TEXT"),
        ] {
            let call = v1::CallTrace { principal: "spiffe://a/x".into(), handle: handle.into(), ..Default::default() };
            let failure = by_handle("00ff", &call);
            let [next] = failure.next() else { panic!("{handle}: {failure:?}") };
            assert!(failure.chain().iter().any(|said| said.contains("`00ff`")) && next.ends_with(wanted), "{handle}: {next}");
        }
    }

    #[test]
    fn a_call_is_stopped_by_the_kills_that_cover_it() {
        let call = v1::CallTrace {
            tenant: "acme".into(),
            principal: "spiffe://a/x+user:u@i".into(),
            server: "notes".into(),
            method: "tools/call".into(),
            target: "Drop_it".into(),
            handle: "s1".into(),
            ..Default::default()
        };
        let list = v1::CallTrace { method: "tools/list".into(), target: String::new(), ..call.clone() };
        let tool = |server: &str, tool: &str| Height::Tool(v1::ToolName { server: server.into(), tool: tool.into() });
        for (height, of_call, of_list) in [
            (Some(Height::Everything(v1::Everything {})), true, true),
            (Some(Height::Tenant("acme".into())), true, true),
            (Some(Height::Tenant("globex".into())), false, false),
            (Some(tool("notes", "")), true, true),
            (Some(tool("notes", "drop-it")), true, false),
            (Some(tool("notes", "read")), false, false),
            (Some(tool("files", "drop_it")), false, false),
            (Some(Height::Agent("spiffe://a/x".into())), true, true),
            (Some(Height::Agent("user:u@i".into())), true, true),
            (Some(Height::Agent("spiffe://a/y".into())), false, false),
            (Some(Height::Session("s1".into())), true, true),
            (Some(Height::Session("s2".into())), false, false),
            (None, false, false),
        ] {
            let kill = v1::KillOrder { target: Some(v1::KillTarget { height }), ..Default::default() };
            assert_eq!((stops(&kill, &call), stops(&kill, &list)), (of_call, of_list), "{kill:?}");
        }
    }
}
