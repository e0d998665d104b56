//! Standings as short texts, and how the calls under them are treated.

use super::{SERVERS_MAX, Standing, TOOLS_MAX, Treatment};
use agentgate_core::config::Config;
use agentgate_core::id::NAME_BYTES_MAX;
use agentgate_core::mcp::{Kind, Message, Method, Protocol, RequestId, Version};
use agentgate_proto::v1;

/// `notes observe, notes/read enforce, other consult`: what is ordered, in any order.
pub(crate) fn said(epoch: u64, text: &str) -> v1::Standing {
    let mut standing = v1::Standing { epoch, ..v1::Standing::default() };
    for order in text.split(", ").filter(|order| !order.is_empty()) {
        if order == "consult" {
            standing.consult = true;
            continue;
        }
        let (of, what) = order.split_once(' ').unwrap();
        let (server, tool) = of.split_once('/').map_or((of, None), |(server, tool)| (server, Some(tool)));
        if !standing.servers.iter().any(|known| known.server == server) {
            standing.servers.push(v1::ServerStanding { server: server.to_owned(), ..v1::ServerStanding::default() });
        }
        let of_server = standing.servers.iter_mut().find(|known| known.server == server).unwrap();
        let mode = match what {
            "observe" => v1::Mode::Observe,
            "enforce" => v1::Mode::Enforce,
            "consult" => {
                of_server.consult = true;
                continue;
            }
            other => panic!("{other}"),
        };
        match tool {
            Some(tool) => of_server.tools.push(v1::ToolStanding { tool: tool.to_owned(), mode: mode.into() }),
            None => of_server.mode = mode.into(),
        }
    }
    standing
}

pub(crate) fn under(text: &str) -> Standing {
    let mut standing = Standing::default();
    assert_eq!(standing.take(&said(1, text)), Some(1), "{text}");
    standing
}

pub(crate) fn nobody() -> Standing {
    let mut standing = Standing::default();
    standing.nobody_there();
    standing
}

fn message(of: &str) -> Message {
    let (method, target) = match of {
        "list" => (Method::ToolsList, None),
        tool => (Method::ToolsCall, Some(tool.to_owned())),
    };
    let kind = Kind::Request(RequestId::Number("1".to_owned()));
    Message { protocol: Protocol::Mcp(Version::ALL[0]), kind, method, target, params: None, handle: None }
}

/// On a route of `notes` in `mode`: which of the calls wait for a verdict, and whether the route only observes.
fn check(standing: &Standing, mode: &str, waiting: &[&str], only_observes: bool) {
    let config = format!(r#"{{"routes":[{{"path":"/mcp","server":"notes","mode":"{mode}"}}]}}"#);
    let config = Config::parse(config.as_bytes()).unwrap();
    let route = &config.routes[0];
    let waits = |call: &&str| standing.treatment(route, &message(call)) == Treatment::Ask;
    let waited: Vec<&str> = ["list", "read", "add", "Add"].into_iter().filter(waits).collect();
    assert_eq!(waited, waiting, "{standing:?} on a route that would {mode}");
    assert_eq!(standing.only_observes(route), only_observes, "{standing:?} on a route that would {mode}");
}

#[test]
fn an_order_counts_more_than_the_route_and_a_tools_more_than_its_servers() {
    let all = ["list", "read", "add", "Add"];
    for (orders, route, waiting, only_observes) in [
        ("", "enforce", &all[..], false),
        ("", "observe", &[], true),
        ("notes observe", "enforce", &[], true),
        ("notes enforce", "observe", &all, false),
        ("notes/add enforce", "observe", &["add", "Add"], false),
        ("notes/add observe", "enforce", &["list", "read", "Add"], false),
        ("notes/add observe", "observe", &[], true),
        ("notes observe, notes/add enforce", "enforce", &["add", "Add"], false),
        ("notes enforce, notes/add observe", "observe", &["list", "read", "Add"], false),
        ("notes/add observe, notes/Add enforce", "observe", &["add", "Add"], false),
        ("notes consult", "observe", &all, false),
        ("notes consult, notes observe, notes/add observe", "enforce", &all, false),
        ("consult", "observe", &all, false),
        ("consult, notes observe", "enforce", &all, false),
        ("other enforce, other consult, other/read enforce", "observe", &[], true),
    ] {
        check(&under(orders), route, waiting, only_observes);
    }
}

#[test]
fn where_nothing_was_ever_said_a_routes_word_counts_once_nobody_is_there() {
    let all = ["list", "read", "add", "Add"];
    check(&Standing::default(), "observe", &all, false);
    check(&Standing::default(), "enforce", &all, false);
    check(&nobody(), "observe", &[], true);
    check(&nobody(), "enforce", &all, false);
    for (standing, observes, spared) in [
        (Standing::default(), true, true),
        (Standing::default(), false, false),
        (nobody(), true, true),
        (nobody(), false, false),
        (under(""), true, false),
        (under("notes observe"), true, false),
    ] {
        assert_eq!(standing.spares(observes), spared, "{standing:?}");
    }
}

#[test]
fn each_standing_replaces_the_one_before() {
    let mut standing = under("notes observe, notes/add enforce, notes consult");
    assert_eq!(standing.take(&said(7, "notes/read observe")), Some(7));
    assert_eq!(standing.epoch(), Some(7));
    check(&standing, "enforce", &["list", "add", "Add"], false);
    // Nobody there any more: what was said stands.
    standing.nobody_there();
    check(&standing, "enforce", &["list", "add", "Add"], false);
    check(&standing, "observe", &[], true);
}

#[test]
fn a_tool_that_is_not_enforced_is_shown() {
    let config = Config::parse(br#"{"routes":[{"path":"/mcp","server":"notes"}]}"#).unwrap();
    for (orders, wanted) in
        [("", [true, true]), ("notes/a observe", [false, true]), ("notes observe, notes/b enforce", [false, true])]
    {
        assert_eq!(["a", "b"].map(|tool| under(orders).enforces(&config.routes[0], tool)), wanted, "{orders}");
    }
}

#[test]
fn a_standing_that_cannot_be_read_changes_nothing() {
    let of_server =
        |server: &str, mode: i32| v1::ServerStanding { server: server.to_owned(), mode, ..v1::ServerStanding::default() };
    let of_tool = |tool: &str, mode: i32| {
        let tools = vec![v1::ToolStanding { tool: tool.to_owned(), mode }];
        v1::ServerStanding { tools, ..of_server("notes", 0) }
    };
    let long = "t".repeat(NAME_BYTES_MAX);
    for (servers, taken) in [
        (vec![of_server("notes", 2)], true),
        (vec![of_server("notes", 3)], false),
        (vec![of_server("", 2)], false),
        (vec![of_server("a b", 2)], false),
        (vec![of_tool("add", 1)], true),
        (vec![of_tool("add", 0)], false),
        (vec![of_tool("add", -1)], false),
        (vec![of_tool("", 1)], false),
        (vec![of_tool(&long, 1)], true),
        (vec![of_tool(&format!("{long}t"), 1)], false),
    ] {
        let mut standing = under("notes observe");
        let said = v1::Standing { epoch: 9, servers, consult: false };
        assert_eq!(standing.take(&said), taken.then_some(9), "{said:?}");
        assert_eq!(standing.epoch(), Some(if taken { 9 } else { 1 }));
    }
}

#[test]
fn a_standing_has_bounds() {
    let servers = |count: usize, tools: usize| {
        let tools: Vec<_> = (0..tools).map(|n| v1::ToolStanding { tool: format!("t{n}"), mode: 1 }).collect();
        let mut servers: Vec<_> =
            (0..count).map(|n| v1::ServerStanding { server: format!("s{n}"), ..v1::ServerStanding::default() }).collect();
        servers[0].tools = tools;
        v1::Standing { epoch: 1, servers, consult: false }
    };
    for (count, tools, taken) in
        [(SERVERS_MAX, 0, true), (SERVERS_MAX + 1, 0, false), (1, TOOLS_MAX, true), (1, TOOLS_MAX + 1, false)]
    {
        assert_eq!(Standing::default().take(&servers(count, tools)).is_some(), taken, "{count} {tools}");
    }
}
