//! Names in orders beside the names that calls had: who mistypes one is told so.
//!
//! It is a warning and never a refusal: a server may be stopped before its first call, and a kill waits for nothing.

use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::text::shell_word;
use agentgate_core::fold;
use agentgate_core::id::Principal;
use agentgate_core::kill::KillTarget;
use agentgate_core::pii;
use agentgate_proto::v1;
use std::collections::BTreeSet;

/// Among so many of the newest calls it is looked; more is no page.
const NEWEST: u32 = 1_000;

/// So many of the names that were seen are told, the nearest first.
const TOLD_MAX: usize = 6;

/// As long is the name of a session.
const SESSION_DIGITS: usize = 32;

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
    // As the gate compares them.
    let is_it = |seen: &&str| fold::loosely(seen) == fold::loosely(tool);
    if tools.iter().any(is_it) || was_called(server, tool, client).await {
        return Vec::new();
    }
    let altered = newest.traces.iter().filter_map(|trace| Some((tool_of(trace, server)?, trace.tenant.as_str())));
    if let Some(unknown) = unknown(&format!("a tool `{tool}` of the server `{server}`"), tool, altered) {
        return vec![unknown];
    }
    vec![unseen(&format!("no call of a tool `{tool}` of the server `{server}` was seen"), tool, tools)]
}

/// As `doubts`, of whoever calls.
pub async fn doubts_of_callers(target: &KillTarget, client: &Client) -> Vec<String> {
    let of = v1::TraceFilter::default();
    let (what, name, filter) = match target {
        KillTarget::Tenant(tenant) => ("a tenant", tenant.as_str(), v1::TraceFilter { tenant: tenant.as_str().to_owned(), ..of }),
        KillTarget::Agent(caller) => {
            ("an agent", caller.as_str(), v1::TraceFilter { principal: caller.as_str().to_owned(), ..of })
        }
        KillTarget::Session(handle) => {
            ("a session", handle.as_str(), v1::TraceFilter { handle: handle.as_str().to_owned(), ..of })
        }
        KillTarget::Everything | KillTarget::Tool { .. } => return Vec::new(),
    };
    let list = |page_size, filter| client.list_traces(v1::ListTracesRequest { page_size, filter, ..Default::default() });
    let Ok(newest) = list(NEWEST, None).await else { return Vec::new() };
    if newest.traces.iter().any(|trace| is_of(target, trace)) {
        return Vec::new();
    }
    // Its newest call may be older than the newest of all. Where that is not known nothing is doubted.
    if list(1, Some(filter)).await.map_or(true, |older| older.traces.iter().any(|trace| is_of(target, trace))) {
        return Vec::new();
    }
    if let KillTarget::Session(_) = target {
        let altered = newest.traces.iter().map(|trace| (trace.handle.as_str(), trace.tenant.as_str()));
        if let Some(unknown) = unknown(&format!("{what} `{name}`"), name, altered) {
            return vec![unknown];
        }
    }
    let seen: Vec<String> = newest.traces.iter().filter_map(|trace| name_of(target, trace)).collect();
    vec![unseen(&format!("no call of {what} `{name}` was seen"), name, seen.iter().map(String::as_str).collect())]
}

/// Whether it is a call of whom this names.
fn is_of(target: &KillTarget, trace: &v1::CallTrace) -> bool {
    match target {
        KillTarget::Tenant(tenant) => trace.tenant == tenant.as_str(),
        KillTarget::Agent(caller) => caller_of(trace).is_some_and(|principal| principal.is_covered_by(caller)),
        KillTarget::Session(handle) => trace.handle == handle.as_str(),
        KillTarget::Everything | KillTarget::Tool { .. } => true,
    }
}

/// What a call has of the kind that this names.
fn name_of(target: &KillTarget, trace: &v1::CallTrace) -> Option<String> {
    match target {
        KillTarget::Tenant(_) => Some(trace.tenant.clone()),
        KillTarget::Session(_) => Some(trace.handle.clone()),
        KillTarget::Agent(caller) if caller.agent().is_some() => caller_of(trace)?.agent().map(|agent| agent.as_str().to_owned()),
        KillTarget::Agent(_) => caller_of(trace).map(|principal| principal.as_str().to_owned()),
        KillTarget::Everything | KillTarget::Tool { .. } => None,
    }
}

/// A call of the session that has this name, unless it is some call's handle: then that is meant.
pub async fn call_of_session(name: &str, client: &Client) -> Option<v1::CallTrace> {
    if name.len() != SESSION_DIGITS || !name.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let newest = async |filter| {
        let request = v1::ListTracesRequest { page_size: 1, filter: Some(filter), ..Default::default() };
        client.list_traces(request).await.ok()?.traces.into_iter().next()
    };
    let handle = v1::TraceFilter { handle: name.to_owned(), ..Default::default() };
    if newest(handle).await.is_some_and(|call| call.handle == name) {
        return None;
    }
    newest(v1::TraceFilter { session: name.to_owned(), ..Default::default() }).await.filter(|call| call.session == name)
}

/// `[privacy]` alters what is personal in names, in the tenants where it does: whether one that was seen is this one, nobody can
/// say here. None: no name that was seen can be it.
fn unknown<'a>(what: &str, name: &str, seen: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let mut tenants = BTreeSet::new();
    let mut first = None;
    for (altered, tenant) in seen.filter(|(seen, _)| may_stand_for(seen, name)) {
        first.get_or_insert(altered);
        tenants.insert(tenant);
    }
    let altered: String = first?.chars().take(NAME_CHARS).collect();
    let tenants: Vec<String> = tenants.into_iter().take(TOLD_MAX).map(|tenant| format!("`{tenant}`")).collect();
    let tenants = tenants.join(", ");
    Some(format!(
        "whether a call of {what} was seen is not known: `{altered}` was, which may stand for it (`[privacy]` alters names of {tenants})"
    ))
}

/// Whether `seen` is `name` with something in the place of everything personal.
fn may_stand_for(seen: &str, name: &str) -> bool {
    let (mut rest, mut from) = (seen, 0);
    let hits = pii::find(name);
    for hit in &hits {
        let plain = name.get(from..hit.start).unwrap_or_default();
        let stand_in = rest.strip_prefix(plain).and_then(|rest| rest.strip_prefix('[')?.split_once(']'));
        let Some((stand_in, after)) = stand_in else { return false };
        if !pii::holds_stand_in(&format!("[{stand_in}]")) || !stand_in.split(':').any(|word| word == hit.kind.name()) {
            return false;
        }
        (rest, from) = (after, hit.end);
    }
    !hits.is_empty() && name.get(from..) == Some(rest)
}

fn caller_of(trace: &v1::CallTrace) -> Option<Principal> {
    Principal::try_from(trace.principal.as_str()).ok()
}

/// Whether this is a principal. An agent is called by a short name everywhere, and meant by its whole one: whoever types the
/// short one is told it, in the command that they typed.
pub async fn check_principal(typed: &str, command: &str, client: &Client) -> Result<(), Failure> {
    match Principal::try_from(typed) {
        Ok(_) => Ok(()),
        Err(error) => Err(whole_wanted(Failure::new(Exit::Usage, error), typed, (command, ""), client).await),
    }
}

/// What to type instead, in a command that stands before and behind it.
pub async fn whole_wanted(failure: Failure, typed: &str, (before, behind): (&str, &str), client: &Client) -> Failure {
    let meant = meant(typed, client).await;
    let failure = meant
        .iter()
        .fold(failure, |failure, whole| failure.then(format!("did you mean `{whole}`? {before} {}{behind}", shell_word(whole))));
    let whole = "give the whole ID, `spiffe://TRUST-DOMAIN/PATH` or `user:SUBJECT@ISSUER`";
    failure.then(format!("{whole}; of each call, `agentgate trace show SEQ` has it"))
}

/// The agents and users whose names end with what was typed, among those that called lately; the last to call first.
async fn meant(ending: &str, client: &Client) -> Vec<String> {
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
    use super::{distance, ends_with, may_stand_for, unknown, unseen};
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
    fn a_name_is_not_doubted_where_what_was_seen_may_stand_for_it_and_only_there() {
        const TOKEN: &str = "mail <[email:abcdefghijklmnopabcd]>";
        const NAME: &str = "mail <bob@corp.example>";
        for (seen, name, may) in [
            (TOKEN, NAME, true),
            ("mail <[redacted:email]>", NAME, true),
            ("[redacted:email]", "mail-bob@corp.example", true),
            ("[email:abc] [email:abd]", "bob@corp.example ann@corp.example", true),
            ("[email:abc] [email:abd]", "bob@corp.example", false),
            ("mail <[redacted:card]>", NAME, false),
            ("post <[redacted:email]>", NAME, false),
            ("mail <[redacted:email]> x", NAME, false),
            (NAME, NAME, false),
            (TOKEN, "mail", false),
            (TOKEN, "nothing", false),
            ("nothing", "nothing", false),
        ] {
            assert_eq!(may_stand_for(seen, name), may, "{seen} {name}");
        }
        let seen = || [("s1", "plain"), (TOKEN, "acme")].into_iter();
        let told = unknown("a session `x`", NAME, seen()).expect("it may be it");
        assert!(told.contains("is not known") && told.contains("`acme`") && !told.contains("`plain`"), "{told}");
        assert_eq!(unknown("a session `x`", "nobody", seen()), None, "another's altered handle silences nothing");
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
