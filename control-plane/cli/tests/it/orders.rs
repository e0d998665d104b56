//! Kills and modes: what is ordered, by whom it is obeyed, and how it is taken back.

use crate::double::{Answers, Double, Said, json, text};
use crate::status::well;
use agentgate_proto::v1;
use agentgate_proto::v1::kill_target::Height;
use tonic::Code;

const NOW: u64 = 1_795_374_352_123_000;

const ORDERED: v1::OrderResponse = v1::OrderResponse { sequence: 4_711, epoch: 12, changed: true };

fn vm(node: &str, kept_epoch: u64, heard_s_ago: u64) -> v1::FilterStatus {
    v1::FilterStatus {
        asker: "spiffe://agentgate.local/filter/laptop".into(),
        epoch: vec![1; 16].into(),
        node: node.into(),
        last_heard_us: NOW - heard_s_ago * 1_000_000,
        kept_epoch,
        ..Default::default()
    }
}

fn double(filters: Vec<v1::FilterStatus>, ordered: v1::OrderResponse) -> Double {
    let status = v1::ShowStatusResponse { filters, ..well() };
    let target = |height| Some(v1::KillTarget { height: Some(height) });
    let kill = v1::KillOrder {
        target: target(Height::Tool(v1::ToolName { server: "notes".into(), tool: "drop".into() })),
        reason: "it drops\u{1b} tables".into(),
        by: "spiffe://agentgate.local/operator/me".into(),
        at_us: NOW,
        sequence: 9,
    };
    let mode = v1::ModeOrder { server: "notes".into(), mode: v1::Mode::Observe.into(), at_us: NOW, ..Default::default() };
    let orders = v1::ListOrdersResponse { kills: vec![kill], modes: vec![mode] };
    let impact = v1::Impact { calls: 340, allowed: 328, ..Default::default() };
    Answers { status, ordered, orders, impact: Some(impact), ..Default::default() }.serve()
}

#[test]
fn what_is_killed_is_what_was_named() {
    let double = double(vec![vm("a", 12, 0)], ORDERED);
    let tool = |tool: &str| Height::Tool(v1::ToolName { server: "notes".into(), tool: tool.into() });
    for (words, height) in [
        (&["everything"][..], Height::Everything(v1::Everything {})),
        (&["all"], Height::Everything(v1::Everything {})),
        (&["tenant", "acme"], Height::Tenant("acme".into())),
        (&["server", "notes"], tool("")),
        (&["tool", "notes", "drop"], tool("drop")),
        (&["agent", "spiffe://a/x"], Height::Agent("spiffe://a/x".into())),
        (&["agent", "user:u@https://i"], Height::Agent("user:u@https://i".into())),
        (&["session", "s-1"], Height::Session("s-1".into())),
    ] {
        let target = Some(v1::KillTarget { height: Some(height) });
        let output = double.agentgate(&[&["kill"], words, &["--reason", "a leak"]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let shown = text(&output.stdout);
        assert!(shown.contains("  resume       agentgate resume "), "{shown}");
        let killed = v1::KillRequest { target: target.clone(), reason: "a leak".into() };
        assert_eq!(double.said().pop(), Some(Said::Killed(killed)));
        let output = double.agentgate(&[&["resume"], words].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(double.said().pop(), Some(Said::Resumed(v1::ResumeRequest { target, reason: String::new() })));
    }
}

#[test]
fn a_kill_that_is_none_is_not_sent() {
    let double = double(vec![], ORDERED);
    for (words, said) in [
        (&["kill", "everything"][..], "a kill wants its reason"),
        (&["kill", "everything", "--reason", " "], "a kill wants its reason"),
        (&["kill", "agent", "alice", "--reason", "x"], "is no SPIFFE ID"),
        (&["kill", "tool", "notes", "a b", "--reason", "x"], "contains a control, format or space character"),
        (&["kill", "tenant", "", "--reason", "x"], "the tenant is empty"),
        (&["enforce", "notes"], "nobody is here to be asked"),
        (&["observe", "no tes"], "contains a control, format or space character"),
    ] {
        let output = double.agentgate(words);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains(said), "{output:?}");
    }
    assert_eq!(double.said(), []);
}

#[test]
fn what_is_held_is_said_before_anybody_is_asked_and_how_it_is_lifted_beside_it() {
    let held = "HELD: the hold 17 covers the session `s`; next: agentgate hold lift 17 --reason TEXT";
    let purge = &["purge", "--session", "s", "--reason", "x"];
    for (words, refusal, code, said) in [
        (
            &purge[..],
            Some((Code::FailedPrecondition, held)),
            1,
            "error: HELD: the hold 17 covers the session `s`\n  next: agentgate hold lift 17 --reason TEXT\n",
        ),
        (
            &["hold", "lift", "99", "--reason", "x"],
            Some((Code::NotFound, "there is no hold 99; next: agentgate hold list")),
            1,
            "error: there is no hold 99\n  next: agentgate hold list\n",
        ),
        (&purge[..], None, 2, "error: nobody is here to be asked whether this is to be erased\n"),
    ] {
        let double = Answers { refusal, ..Default::default() }.serve();
        let output = double.agentgate(words);
        assert_eq!((output.status.code(), text(&output.stderr).starts_with(said)), (Some(code), true), "{output:?}");
        let is_dry = |said: &Said| !matches!(said, Said::Purged(purge) if !purge.dry_run);
        assert!(double.said().iter().all(is_dry), "nothing is erased");
    }
}

#[test]
fn an_agents_short_name_is_answered_with_its_whole_one() {
    let of = |principal: &str| v1::CallTrace { principal: principal.into(), ..Default::default() };
    let laptop = "spiffe://agentgate.local/agent/laptop";
    let traces = vec![of(&format!("{laptop}+user:alice@https://idp.example")), of(laptop), of("spiffe://b.example/laptop")];
    let double = Answers { traces, ..Default::default() }.serve();
    let whole = "  next: give the whole ID, `spiffe://TRUST-DOMAIN/PATH` or `user:SUBJECT@ISSUER`; of each call, `agentgate trace show SEQ`";
    let meant = |whole: &str| format!("  next: did you mean `{whole}`? agentgate kill agent {whole} --reason TEXT\n");
    for (name, wanted) in [
        ("laptop", vec![meant(laptop), meant("spiffe://b.example/laptop")]),
        ("agent/laptop", vec![meant(laptop)]),
        ("alice", vec![meant("user:alice@https://idp.example")]),
        ("nobody", vec![]),
    ] {
        let output = double.agentgate(&["kill", "agent", name, "--reason", "x"]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = text(&output.stderr);
        assert!(said.contains("is no SPIFFE ID") && said.contains(whole), "{said}");
        assert!(wanted.iter().all(|line| said.contains(line)), "{said}");
        assert_eq!(said.matches("did you mean").count(), wanted.len(), "{said}");
    }
    for (words, before) in [
        (&["evidence", "pack", "--out", "pack"][..], "agentgate evidence pack --principal"),
        (&["hold", "place", "--reason", "x"], "agentgate hold place --principal"),
        (&["purge", "--reason", "x", "--yes"], "agentgate purge --principal"),
    ] {
        let output = double.agentgate(&[words, &["--principal", "agent/laptop"]].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("`agent/laptop`") && said.contains("is no SPIFFE ID") && said.contains(whole), "{said}");
        assert!(said.contains(&format!("  next: did you mean `{laptop}`? {before} {laptop}\n")), "{said}");
    }
    let said = text(&double.agentgate(&["resume", "agent", "agent/laptop"]).stderr);
    assert!(said.contains(&format!("agentgate resume agent {laptop} --reason TEXT\n")), "{said}");
    assert_eq!(double.said(), []);
}

#[test]
fn an_order_says_where_it_stands_and_who_obeys_it() {
    let unchanged = v1::OrderResponse { changed: false, ..ORDERED };
    let check = |filters: Vec<v1::FilterStatus>, ordered, lines: &[&str]| {
        let double = double(filters, ordered);
        let output = double.agentgate(&["observe", "notes", "--tool", "drop"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let shown = text(&output.stdout);
        for line in lines {
            assert!(shown.contains(line), "{line} in\n{shown}");
        }
    };
    let committed = "  committed    #4711, epoch 12: in force for every decision from here on\n";
    check(vec![vm("a", 12, 0), vm("b", 13, 9)], ORDERED, &[committed, "  confirmed    by 2 of 2 filter VMs\n"]);
    check(vec![vm("a", 12, 0), vm("b", 0, 11)], ORDERED, &["  confirmed    by 1 of 1 filter VMs\n"]);
    check(vec![], unchanged, &["  unchanged    it was so already", "by nobody: no filter VM was heard of in the last 10 s"]);
    let who = "  not by       spiffe://agentgate.local/filter/laptop (node b, VM 0101010101010101";
    check(
        vec![vm("a", 12, 0), vm("b", 11, 9)],
        ORDERED,
        &["  confirmed    by 1 of 2 filter VMs only\n", who, "  warning      only a call"],
    );
}

#[test]
fn an_order_for_programs_names_who_does_not_obey_yet() {
    let double = double(vec![vm("a", 12, 0), vm("b", 11, 9)], ORDERED);
    let answer = json(&double.agentgate(&["enforce", "notes", "--yes", "--output", "json", "--reason", "we looked"]));
    for (pointer, value) in [
        ("/order/server", serde_json::json!("notes")),
        ("/order/mode", serde_json::json!("enforce")),
        ("/sequence", serde_json::json!(4_711)),
        ("/changed", serde_json::json!(true)),
        ("/filters_heard", serde_json::json!(2)),
        ("/filters_confirmed", serde_json::json!(1)),
        ("/unconfirmed/0/node", serde_json::json!("b")),
    ] {
        assert_eq!(answer.pointer(pointer), Some(&value), "{pointer} in {answer}");
    }
    let mode = v1::SetModeRequest {
        server: "notes".into(),
        mode: v1::Mode::Enforce.into(),
        reason: "we looked".into(),
        ..Default::default()
    };
    assert_eq!(double.said().pop(), Some(Said::Mode(mode.clone())));
    double.agentgate(&["mode", "clear", "notes", "--tool", "drop"]);
    let cleared = v1::SetModeRequest { tool: "drop".into(), mode: v1::Mode::Unspecified.into(), reason: String::new(), ..mode };
    assert_eq!(double.said().pop(), Some(Said::Mode(cleared)));
}

#[test]
fn what_is_in_force_is_listed_with_how_it_ends() {
    let double = double(vec![], ORDERED);
    let kills = text(&double.agentgate(&["kill", "list"]).stdout);
    for line in [
        "killed: the tool `drop` of the server `notes`\n",
        "  by           spiffe://agentgate.local/operator/me\n",
        "  reason       it drops\\u{1b} tables\n",
        "  resume       agentgate resume tool notes drop\n",
    ] {
        assert!(kills.contains(line), "{line} in\n{kills}");
    }
    let answer = json(&double.agentgate(&["kill", "list", "--output", "json"]));
    assert_eq!(answer["kills"][0]["target"], serde_json::json!({ "height": "tool", "server": "notes", "tool": "drop" }));
    let modes = text(&double.agentgate(&["mode", "list"]).stdout);
    assert!(modes.contains("\nnotes   (all)  observe  "), "{modes}");
    let none = Answers::default().serve();
    for (verb, said) in [("kill", "nothing is killed"), ("mode", "nothing is ordered")] {
        assert!(text(&none.agentgate(&[verb, "list"]).stdout).contains(said));
    }
}

/// Calls of one server that its filters observe, and a tool of it that an order enforces.
fn seen() -> Answers {
    let call = |tool: &str| v1::CallTrace {
        server: "notes".into(),
        method: "tools/call".into(),
        target: tool.into(),
        ..Default::default()
    };
    let order = |tool: &str, mode: v1::Mode| v1::ModeOrder {
        server: "notes".into(),
        tool: tool.into(),
        mode: mode.into(),
        ..Default::default()
    };
    let orders = v1::OrderStatus {
        modes: vec![order("", v1::Mode::Observe), order("drop", v1::Mode::Enforce), order("read", v1::Mode::Observe)],
        ..Default::default()
    };
    let route = |server: &str, observes| v1::RouteStatus { server: server.into(), observes, ..Default::default() };
    let routes = vec![route("notes", true), route("files", false)];
    let filters = vec![vm("a", 12, 0)];
    let status = v1::ShowStatusResponse { orders: Some(orders), routes, filters, ..well() };
    let traces = vec![call("read"), call("drop"), v1::CallTrace { method: "tools/list".into(), ..call("") }];
    Answers { status, traces, ordered: ORDERED, impact: Some(v1::Impact::default()), ..Default::default() }
}

#[test]
fn a_name_that_no_call_had_is_doubted_and_the_order_is_given() {
    let double = seen().serve();
    let server = "no call of a server `ntoes` was seen; seen are: `notes`, `files`";
    let tool = "no call of a tool `drpo` of the server `notes` was seen; seen are: `drop`, `read`";
    for (words, doubt) in [
        (&["kill", "server", "ntoes", "--reason", "x"][..], Some(server)),
        (&["kill", "tool", "ntoes", "drop", "--reason", "x"], Some(server)),
        (&["kill", "tool", "notes", "drpo", "--reason", "x"], Some(tool)),
        (&["enforce", "notes", "--tool", "drpo", "--yes"], Some(tool)),
        (&["observe", "ntoes"], Some(server)),
        (&["policy", "impact", "--server", "ntoes"], Some(server)),
        (&["kill", "tool", "notes", "drop", "--reason", "x"], None),
        (&["kill", "everything", "--reason", "x"], None),
        (&["enforce", "files", "--yes"], None),
        (&["enforce", "notes", "--tool", "read", "--yes"], None),
        (&["mode", "clear", "ntoes"], None),
        (&["policy", "impact", "--server", "notes"], None),
        (&["policy", "impact", "--server", "notes", "--tool", "drpo"], Some(tool)),
        (&["policy", "impact", "--server", "notes", "--tool", "read"], None),
    ] {
        let before = double.said().len();
        let output = double.agentgate(words);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let shown = text(&output.stdout);
        assert!(doubt.is_none_or(|doubt| shown.contains(doubt)), "{words:?}\n{shown}");
        assert_eq!(shown.contains("no call of a"), doubt.is_some(), "{words:?}\n{shown}");
        assert_eq!(double.said().len(), before + 1, "{words:?}");
        let answer = json(&double.agentgate(&[words, &["--output", "json"]].concat()));
        assert_eq!(answer["warnings"], doubt.map_or(serde_json::json!([]), |doubt| serde_json::json!([doubt])));
    }
    let Some(Said::Impact(asked)) = double.said().pop() else { panic!("no impact was asked for") };
    assert_eq!((asked.server.as_str(), asked.tool.as_str()), ("notes", "read"));
}

#[test]
fn a_caller_whom_nobody_saw_is_killed_with_a_doubt_and_nearest_names() {
    let call = |principal: &str, handle: &str| v1::CallTrace {
        tenant: "acme".into(),
        principal: principal.into(),
        handle: handle.into(),
        ..Default::default()
    };
    let traces = vec![call("spiffe://a/agent/laptop+user:u@https://i", "s-1"), call("spiffe://a/agent/desk", "")];
    let status = v1::ShowStatusResponse { filters: vec![vm("a", 12, 0)], ..well() };
    let plain = Answers { traces: traces.clone(), status: status.clone(), ordered: ORDERED, ..Default::default() }.serve();
    let agent =
        "no call of an agent `spiffe://a/agent/labtop` was seen; seen are: `spiffe://a/agent/laptop`, `spiffe://a/agent/desk`";
    let tenant = "no call of a tenant `acne` was seen; seen are: `acme`";
    for (words, doubt) in [
        (["agent", "spiffe://a/agent/labtop"], Some(agent)),
        (["agent", "spiffe://a/agent/laptop"], None),
        (["agent", "user:u@https://i"], None),
        (["tenant", "acne"], Some(tenant)),
        (["tenant", "acme"], None),
        (["session", "s-2"], Some("no call of a session `s-2` was seen; seen are: `s-1`")),
        (["session", "s-1"], None),
    ] {
        let words = [&["kill"], &words[..], &["--reason", "x"]].concat();
        let output = plain.agentgate(&words);
        assert_eq!(output.status.code(), Some(0), "it may be killed before it appears: {output:?}");
        let shown = text(&output.stdout);
        assert_eq!(shown.contains("no call of a"), doubt.is_some(), "{words:?}\n{shown}");
        let answer = json(&plain.agentgate(&[&words[..], &["--output", "json"]].concat()));
        assert_eq!(answer["warnings"], doubt.map_or(serde_json::json!([]), |doubt| serde_json::json!([doubt])), "{words:?}");
    }
    // Where a handle may have been altered into one that was seen nobody can say whether it was.
    let altered = [traces, vec![call("spiffe://a/agent/desk", "[redacted:email]")]].concat();
    let private = Answers { traces: altered, status, ordered: ORDERED, ..Default::default() }.serve();
    for (handle, doubt) in
        [("s-2", "no call of a session `s-2` was seen"), ("m@corp.example", "seen is not known: `[redacted:email]` was")]
    {
        let answer = json(&private.agentgate(&["kill", "session", handle, "--reason", "x", "--output", "json"]));
        assert!(answer["warnings"][0].as_str().is_some_and(|warning| warning.contains(doubt)), "{handle}: {answer}");
    }
}

#[test]
fn a_hold_of_somebody_whom_nobody_saw_is_placed_with_a_doubt() {
    let traces = vec![v1::CallTrace { principal: "spiffe://a/agent/laptop".into(), ..Default::default() }];
    let double = Answers { traces, ..Default::default() }.serve();
    let doubt = "no call of an agent `spiffe://a/agent/labtop` was seen; seen are: `spiffe://a/agent/laptop`";
    for (named, doubt) in [
        (&["--principal", "spiffe://a/agent/labtop", "--tenant", "acme"][..], Some(doubt)),
        (&["--principal", "spiffe://a/agent/laptop"], None),
        (&["--session", "s-1"], None),
    ] {
        let words = [&["hold", "place"], named, &["--reason", "x"]].concat();
        let output = double.agentgate(&words);
        assert_eq!(output.status.code(), Some(0), "it may be held before it appears: {output:?}");
        let shown = text(&output.stdout);
        assert_eq!(shown.contains("warning"), doubt.is_some(), "{words:?}\n{shown}");
        let answer = json(&double.agentgate(&[&words[..], &["--output", "json"]].concat()));
        assert_eq!(answer["warnings"], doubt.map_or(serde_json::json!([]), |doubt| serde_json::json!([doubt])), "{words:?}");
    }
}

#[test]
fn a_resume_of_what_is_not_killed_says_so_and_is_a_no() {
    for (changed, code, heading) in [(true, 0, "resumed: the agent `spiffe://a/x`\n"), (false, 1, "was not killed: the agent")] {
        let double = double(vec![vm("a", 12, 0)], v1::OrderResponse { changed, ..ORDERED });
        let output = double.agentgate(&["resume", "agent", "spiffe://a/x"]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(text(&output.stdout).contains(heading), "{output:?}");
        let said = text(&output.stderr);
        let other = "the tool `drop` of the server `notes` is killed: agentgate resume tool notes drop";
        assert_eq!(said.contains(other), !changed, "{said}");
        assert_eq!(said.contains("was not killed, so nothing was resumed"), !changed, "{said}");
        let output = double.agentgate(&["resume", "agent", "spiffe://a/x", "--output", "json"]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(answer["order"]["was_killed"], changed, "{answer}");
    }
}

#[test]
fn what_else_decides_stands_beside_an_order() {
    let double = seen().serve();
    let drop = "  still        `drop` is enforced by an order of its own; to let it go: agentgate mode clear notes --tool drop\n";
    let read = "  still        `read` is observed by an order of its own; to let it go: agentgate mode clear notes --tool read\n";
    let alone = "  mind         the routes' own configuration observes: a filter VM that starts";
    for (words, wanted) in [
        (&["observe", "notes"][..], [true, false, false]),
        (&["mode", "clear", "notes"], [true, true, false]),
        (&["enforce", "notes", "--yes"], [false, true, true]),
        (&["enforce", "notes", "--tool", "drop", "--yes"], [false, false, true]),
        (&["observe", "notes", "--tool", "drop"], [false, false, false]),
        (&["enforce", "files", "--yes"], [false, false, false]),
    ] {
        let shown = text(&double.agentgate(words).stdout);
        assert_eq!([drop, read, alone].map(|line| shown.contains(line)), wanted, "{words:?}\n{shown}");
    }
}

#[test]
fn a_connection_may_be_given_before_the_verb() {
    let double = double(vec![], ORDERED);
    let wrong = "https://127.0.0.1:1";
    for (before, after, code) in [
        (&["--endpoint", double.endpoint.as_str()][..], &["kill", "list"][..], 0),
        (&["--endpoint", wrong], &["kill", "list"], 3),
        (&["--endpoint", wrong], &["kill", "--endpoint", double.endpoint.as_str(), "list"], 0),
        (&["--endpoint", wrong], &["status", "--endpoint", double.endpoint.as_str()], 0),
        (&["--endpoint", wrong], &["policy", "test", "/nowhere"], 5),
    ] {
        let output = double.agentgate(&[before, after].concat());
        assert_eq!(output.status.code(), Some(code), "{before:?} {after:?} {output:?}");
    }
}
