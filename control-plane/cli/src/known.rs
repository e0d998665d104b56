//! Names in orders beside the names that calls had: who mistypes one is told so.
//!
//! It is a warning and never a refusal: a server may be stopped before its first call, and a kill waits for nothing.

use crate::client::Client;
use agentgate_core::id::Principal;
use agentgate_proto::v1;
use std::collections::BTreeSet;

/// Among so many of the newest calls it is looked; more is no page.
const NEWEST: u32 = 1_000;

/// So many of the names that were seen are told, the nearest first.
const TOLD_MAX: usize = 6;

/// So much of a name is told: it may be an agent's own word.
const NAME_CHARS: usize = 64;

/// What makes a name doubtful; empty where calls had it, or where that is not known.
pub async fn doubts(server: &str, tool: Option<&str>, client: &Client) -> Vec<String> {
    let Ok(newest) = client.list_traces(v1::ListTracesRequest { page_size: NEWEST, ..Default::default() }).await else {
        return Vec::new();
    };
    let routes = client.show_status().await.map(|status| status.routes).unwrap_or_default();
    let routed = routes.iter().map(|route| route.server.as_str());
    let servers: BTreeSet<&str> = newest.traces.iter().map(|trace| trace.server.as_str()).chain(routed).collect();
    if !servers.contains(server) {
        return vec![unseen(&format!("no call of a server `{server}` was seen"), server, servers)];
    }
    let Some(tool) = tool else { return Vec::new() };
    let tools: BTreeSet<&str> = newest.traces.iter().filter_map(|trace| tool_of(trace, server)).collect();
    if tools.contains(tool) || was_called(server, tool, client).await {
        return Vec::new();
    }
    vec![unseen(&format!("no call of a tool `{tool}` of the server `{server}` was seen"), tool, tools)]
}

/// The agents and users whose names end with what was typed, among those that called lately; the last to call first.
pub async fn meant(ending: &str, client: &Client) -> Vec<String> {
    let request = v1::ListTracesRequest { page_size: NEWEST, ..Default::default() };
    let Ok(newest) = client.list_traces(request).await else { return Vec::new() };
    let mut meant = Vec::new();
    for trace in &newest.traces {
        let Ok(principal) = Principal::try_from(trace.principal.as_str()) else { continue };
        let whole = ends_with(&principal, ending);
        meant.extend(whole.filter(|whole| !meant.contains(whole)));
        if meant.len() >= TOLD_MAX {
            break;
        }
    }
    meant
}

/// The agent of a caller, or its user, if either is called so.
fn ends_with(principal: &Principal, ending: &str) -> Option<String> {
    let ending = ending.trim_matches('/');
    let is_so = |whole: &str| whole.strip_suffix(ending).is_some_and(|rest| rest.ends_with('/'));
    let agent = principal.agent().filter(|agent| !ending.is_empty() && is_so(agent.as_str()));
    let user = principal.user().filter(|user| user.subject() == ending.trim_start_matches("user:"));
    let user = user.map(|user| format!("user:{}@{}", user.subject(), user.issuer()));
    agent.map(|agent| agent.as_str().to_owned()).or(user)
}

/// Its newest call may be older than the newest of all. Where that is not known nothing is doubted.
async fn was_called(server: &str, tool: &str, client: &Client) -> bool {
    let filter = v1::TraceFilter {
        server: server.to_owned(),
        tool: tool.to_owned(),
        method: "tools/call".to_owned(),
        ..v1::TraceFilter::default()
    };
    let request = v1::ListTracesRequest { page_size: 1, filter: Some(filter), ..Default::default() };
    client.list_traces(request).await.map_or(true, |found| found.traces.iter().any(|trace| tool_of(trace, server) == Some(tool)))
}

fn tool_of<'a>(trace: &'a v1::CallTrace, server: &str) -> Option<&'a str> {
    Some(trace.target.as_str()).filter(|tool| trace.server == server && trace.method == "tools/call" && !tool.is_empty())
}

/// `no call of a tool `nope` was seen; seen are: `note`, `drop` and 3 more`.
fn unseen(said: &str, name: &str, seen: BTreeSet<&str>) -> String {
    let mut seen: Vec<&str> = seen.into_iter().filter(|name| !name.is_empty()).collect();
    seen.sort_by_key(|other| distance(name, other));
    let told: Vec<String> =
        seen.iter().take(TOLD_MAX).map(|name| format!("`{}`", name.chars().take(NAME_CHARS).collect::<String>())).collect();
    match seen.len() {
        0 => format!("{said}, nor of any other"),
        1..=TOLD_MAX => format!("{said}; seen are: {}", told.join(", ")),
        many => format!("{said}; seen are: {} and {} more", told.join(", "), many - TOLD_MAX),
    }
}

/// How many characters are to be put in, left out or changed to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().take(NAME_CHARS).collect(), other.chars().take(NAME_CHARS).collect());
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, c) in one.iter().enumerate() {
        let mut next = vec![at + 1];
        for (d, pair) in other.iter().zip(row.windows(2)) {
            let [before, above] = pair else { continue };
            let left = next.last().copied().unwrap_or_default();
            next.push((before + usize::from(d != c)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{distance, ends_with, unseen};
    use agentgate_core::id::Principal;
    use std::collections::BTreeSet;

    #[test]
    fn a_name_is_of_those_callers_that_end_with_it() {
        const AGENT: &str = "spiffe://agentgate.local/agent/laptop";
        let both = format!("{AGENT}+user:alice@https://idp.example");
        for (principal, ending, wanted) in [
            (AGENT, "laptop", Some(AGENT)),
            (AGENT, "agent/laptop", Some(AGENT)),
            (AGENT, "/agent/laptop", Some(AGENT)),
            (AGENT, "top", None),
            (AGENT, "", None),
            (AGENT, "/", None),
            (&both, "laptop", Some(AGENT)),
            (&both, "alice", Some("user:alice@https://idp.example")),
            (&both, "user:alice", Some("user:alice@https://idp.example")),
            (&both, "ali", None),
        ] {
            let principal = Principal::try_from(principal).expect(principal);
            assert_eq!(ends_with(&principal, ending).as_deref(), wanted, "{ending}");
        }
    }

    #[test]
    fn names_are_as_far_apart_as_one_types() {
        for (one, other, far) in [
            ("", "", 0),
            ("", "ab", 2),
            ("notes", "notes", 0),
            ("ntoes", "notes", 2),
            ("note", "notes", 1),
            ("notes", "files", 3),
            ("größe", "grosse", 3),
        ] {
            assert_eq!((distance(one, other), distance(other, one)), (far, far), "{one} {other}");
        }
    }

    #[test]
    fn the_nearest_names_are_told_first() {
        let check = |seen: &[&str], wanted: &str| {
            assert_eq!(
                unseen("no call of a tool `drpo` was seen", "drpo", seen.iter().copied().collect::<BTreeSet<_>>()),
                wanted
            );
        };
        check(&[], "no call of a tool `drpo` was seen, nor of any other");
        check(&["add", "drop", ""], "no call of a tool `drpo` was seen; seen are: `drop`, `add`");
        let many = ["aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd", "drop", "eeeeeeee", "ffffffff", "gggggggg"];
        let told = "`drop`, `dddddddd`, `aaaaaaaa`, `bbbbbbbb`, `cccccccc`, `eeeeeeee` and 2 more";
        check(&many, &format!("no call of a tool `drpo` was seen; seen are: {told}"));
    }
}
