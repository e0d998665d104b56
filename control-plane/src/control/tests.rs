//! Stories about orders: on the memory journal, across restarts, and with another replica that was first.

use super::view::Event;
use super::{Control, Now, OrderError, standing};
use crate::body::Bodies;
use crate::clock::Clock;
use crate::config::{Callers, Filter, Limits, Tenants, Users};
use crate::journal::{Journal, Memory, Stream};
use agentgate_core::id::{Principal, Server, SpiffeId, Tenant};
use agentgate_core::kill::KillTarget;
use agentgate_core::mode::Mode;
use agentgate_core::time::Time;
use agentgate_proto::order::target_to_wire;
use agentgate_proto::v1;
use std::sync::Arc;

const LIMITS: fn() -> Limits = || Limits { kills_max: 2, modes_max: 2, ..Limits::default() };

async fn open(journal: &Arc<Memory>) -> Control {
    let (clock, _) = Clock::manual(Time::from_micros(1_000_000));
    Control::open(Bodies::over(Arc::clone(journal) as Arc<dyn Journal>).await, clock, LIMITS()).await.unwrap()
}

fn me() -> SpiffeId {
    SpiffeId::try_from("spiffe://a/operator/me").unwrap()
}

fn server(name: &str) -> Server {
    Server::try_from(name).unwrap()
}

fn targets() -> [KillTarget; 5] {
    [
        KillTarget::Everything,
        KillTarget::Tenant(Tenant::try_from("acme").unwrap()),
        KillTarget::Tool { server: server("notes"), tool: Some("add".into()) },
        KillTarget::Agent(Principal::try_from("spiffe://a/agent/x").unwrap()),
        KillTarget::Session("5f0c".try_into().unwrap()),
    ]
}

fn killed(now: &Now) -> Vec<(KillTarget, String, String)> {
    now.kills.iter().map(|(target, order)| (target.clone(), order.reason.clone(), order.by.clone())).collect()
}

#[tokio::test]
async fn a_tool_is_killed_and_resumed_by_whatever_name_its_calls_could_have() {
    let control = open(&Arc::new(Memory::new())).await;
    let tool = |server_name: &str, tool: &str| KillTarget::Tool { server: server(server_name), tool: Some(tool.into()) };
    assert!(control.kill(tool("notes", "Drop_it"), "an incident", &me()).await.unwrap().changed);
    assert!(!control.kill(tool("notes", "dropit"), "another reason", &me()).await.unwrap().changed, "it was so already");
    // Servers are compared as they are written, by the gate as well.
    assert!(!control.resume(tool("Notes", "Drop_it"), "", &me()).await.unwrap().changed);
    assert!(control.resume(tool("notes", "DROP-IT"), "", &me()).await.unwrap().changed);
    assert!(killed(&control.now()).is_empty());
}

#[tokio::test]
async fn a_kill_at_each_height_survives_a_restart_until_it_is_resumed() {
    for target in targets() {
        let journal = Arc::new(Memory::new());
        let control = open(&journal).await;
        let ack = control.kill(target.clone(), "an incident", &me()).await.unwrap();
        assert_eq!((ack.epoch, ack.changed), (1, true));
        let again = control.kill(target.clone(), "another reason", &me()).await.unwrap();
        assert_eq!((again.epoch, again.changed), (1, false), "the first order stands");
        let next = open(&journal).await;
        for control in [&control, &next] {
            let wanted = [(target.clone(), "an incident".to_owned(), "spiffe://a/operator/me".to_owned())];
            assert_eq!(killed(&control.now()), wanted);
            assert_eq!(control.now().epochs.global, 1);
        }
        assert!(next.resume(target.clone(), "", &me()).await.unwrap().changed);
        assert!(!next.resume(target.clone(), "", &me()).await.unwrap().changed);
        assert!(open(&journal).await.now().kills.is_empty());
    }
}

#[tokio::test]
async fn a_mode_is_ordered_forgotten_and_remembered_across_a_restart() {
    let journal = Arc::new(Memory::new());
    let control = open(&journal).await;
    let set = async |tool: Option<&str>, mode| {
        control.set_mode(server("notes"), tool.map(Into::into), mode, "", &me()).await.unwrap().changed
    };
    assert!(set(None, Some(Mode::Enforce)).await);
    assert!(!set(None, Some(Mode::Enforce)).await);
    assert!(set(Some("add"), Some(Mode::Observe)).await);
    let modes = |control: &Control| {
        let now = control.now();
        let of = |tool| now.mode(&server("notes"), Some(tool), Mode::Observe);
        (of("add"), of("read"), now.ordered_modes.len())
    };
    assert_eq!(modes(&open(&journal).await), (Mode::Observe, Mode::Enforce, 2));
    assert!(set(None, None).await);
    assert!(!set(None, None).await);
    assert_eq!(modes(&open(&journal).await), (Mode::Observe, Mode::Observe, 1));
}

#[tokio::test]
async fn an_order_beyond_the_bound_is_refused_and_says_which() {
    let control = open(&Arc::new(Memory::new())).await;
    let [one, two, three, ..] = targets();
    for target in [one.clone(), two] {
        assert!(control.kill(target, "x", &me()).await.unwrap().changed);
    }
    let error = control.kill(three.clone(), "x", &me()).await.unwrap_err();
    assert!(matches!(error, OrderError::Crowded { max: 2, limit: "kills_max", .. }), "{error}");
    control.resume(one, "", &me()).await.unwrap();
    assert!(control.kill(three, "x", &me()).await.unwrap().changed);
    for tool in ["a", "b"] {
        control.set_mode(server("notes"), Some(tool.into()), Some(Mode::Observe), "", &me()).await.unwrap();
    }
    let error = control.set_mode(server("notes"), None, Some(Mode::Observe), "", &me()).await.unwrap_err();
    assert!(matches!(error, OrderError::Crowded { max: 2, limit: "modes_max", .. }), "{error}");
    let changed = control.set_mode(server("notes"), Some("a".into()), Some(Mode::Enforce), "", &me()).await;
    assert!(changed.unwrap().changed, "a change of what is there needs no room");
}

#[tokio::test]
async fn a_kill_without_a_reason_and_a_reason_without_end_are_refused() {
    let control = open(&Arc::new(Memory::new())).await;
    for (reason, taken) in [("", false), (" ", false), ("x", true)] {
        let killed = control.kill(KillTarget::Everything, reason, &me()).await;
        assert_eq!(killed.is_ok(), taken, "{reason:?}");
    }
    let length = super::order::ORDER_REASON_BYTES_MAX;
    for (length, taken) in [(length, true), (length + 1, false)] {
        let resumed = control.resume(KillTarget::Everything, &"x".repeat(length), &me()).await;
        assert_eq!(resumed.is_ok(), taken, "{length}");
    }
}

#[tokio::test]
async fn an_order_by_a_name_that_only_traces_show_is_refused() {
    let control = open(&Arc::new(Memory::new())).await;
    let tool = |server: &str, tool: &str| KillTarget::Tool {
        server: server.try_into().unwrap(),
        tool: Some(tool.to_owned()).filter(|tool| !tool.is_empty()),
    };
    for (target, what, name) in [
        (KillTarget::Session("[redacted:email]".try_into().unwrap()), "handle", "[redacted:email]"),
        (KillTarget::Tenant("[redacted:iban]".try_into().unwrap()), "tenant", "[redacted:iban]"),
        (tool("[redacted:email]", ""), "server", "[redacted:email]"),
        (tool("notes", "mail_[email:hbcdefghijklmnopqrst]"), "tool", "mail_[email:hbcdefghijklmnopqrst]"),
        (
            KillTarget::Agent("user:[redacted:email]@https://i".try_into().unwrap()),
            "principal",
            "user:[redacted:email]@https://i",
        ),
    ] {
        let is_it =
            |error: &OrderError| matches!(error, OrderError::StandIn { what: told, name: of, .. } if *told == what && of == name);
        let error = control.kill(target.clone(), "x", &me()).await.unwrap_err();
        assert!(is_it(&error), "{error}");
        let error = control.resume(target.clone(), "", &me()).await.unwrap_err();
        assert!(is_it(&error), "{error}");
        if let KillTarget::Tool { server, tool } = &target {
            for mode in [Some(Mode::Observe), None] {
                let error = control.set_mode(server.clone(), tool.clone(), mode, "", &me()).await.unwrap_err();
                assert!(is_it(&error), "{error}");
            }
        }
        assert!(control.now().kills.is_empty() && control.now().ordered_modes.is_empty(), "{name}");
        // One from before it was refused may be taken back.
        let order = |event: Event| control.order_under(None, move |_| Ok::<_, OrderError>(Some(event.clone())));
        let body = v1::KillBody { target: Some(target_to_wire(&target)), ..v1::KillBody::default() };
        order(Event::Kill { resumed: false, body }).await.unwrap();
        assert!(control.resume(target.clone(), "", &me()).await.unwrap().changed, "{name}");
        if let KillTarget::Tool { server, tool } = &target {
            let (of, named) = (server.to_string(), tool.clone().unwrap_or_default());
            let body = v1::ModeBody { server: of, tool: named, ..v1::ModeBody::default() };
            order(Event::Mode { mode: v1::Mode::Observe, body }).await.unwrap();
            let cleared = control.set_mode(server.clone(), tool.clone(), None, "", &me()).await.unwrap();
            assert!(cleared.changed, "{name}");
        }
        assert!(control.now().kills.is_empty() && control.now().ordered_modes.is_empty(), "{name}");
    }
    // Not altered, and of a name that only looks like it.
    for target in [tool("notes", "a@b.co"), tool("notes", "[redacted:"), KillTarget::Tenant("[x:y]".try_into().unwrap())] {
        assert!(control.kill(target.clone(), "x", &me()).await.unwrap().changed, "{target}");
        assert!(control.resume(target.clone(), "x", &me()).await.unwrap().changed, "{target}");
    }
}

#[tokio::test]
async fn a_kill_of_a_handle_that_only_traces_show_is_refused() {
    let control = open(&Arc::new(Memory::new())).await;
    let session = |handle: &str| KillTarget::Session(handle.try_into().unwrap());
    for handle in ["[redacted:email]", "run-7-of-[email:hbcdefghijklmnopqrst]", "[redacted:card]#2"] {
        let error = control.kill(session(handle), "x", &me()).await.unwrap_err();
        assert!(matches!(&error, OrderError::StandIn { what: "handle", name, .. } if name == handle), "{error}");
        assert!(error.to_string().contains("kill the agent"), "{error}");
        assert!(control.now().kills.is_empty());
    }
    for handle in ["a@b.co", "[redacted:"] {
        assert!(control.kill(session(handle), "x", &me()).await.unwrap().changed, "{handle}");
    }
}

#[tokio::test]
async fn an_order_of_another_replica_is_folded_before_the_next_one() {
    let journal = Arc::new(Memory::new());
    let (one, two) = (open(&journal).await, open(&journal).await);
    let [everything, tenant, ..] = targets();
    one.kill(everything.clone(), "x", &me()).await.unwrap();
    let ack = two.kill(tenant, "x", &me()).await.unwrap();
    assert_eq!(ack.epoch, 2);
    assert_eq!(two.now().kills.len(), 2);
    assert!(!two.kill(everything, "y", &me()).await.unwrap().changed);
}

#[tokio::test]
async fn that_it_is_so_already_is_said_of_what_the_journal_has_and_not_of_what_is_known_here() {
    let journal = Arc::new(Memory::shared());
    let (one, two) = (open(&journal).await, open(&journal).await);
    let notes = || server("notes");
    let set = async |control: &Control, mode| control.set_mode(notes(), None, mode, "", &me()).await.unwrap().changed;
    let [everything, tenant, tool, ..] = targets();
    one.kill(everything.clone(), "x", &me()).await.unwrap();
    two.kill(tenant.clone(), "x", &me()).await.unwrap();
    assert!(set(&two, Some(Mode::Enforce)).await);
    // The other one takes each back, and this one has not heard of it.
    for target in [&everything, &tenant] {
        assert!(one.resume(target.clone(), "", &me()).await.unwrap().changed);
    }
    assert!(set(&one, None).await);
    let room = two.kill(tool.clone(), "x", &me()).await;
    assert!(room.unwrap().changed, "there is room for it");
    assert!(one.resume(tool, "", &me()).await.unwrap().changed, "it is killed");
    for target in [everything, tenant] {
        assert!(two.kill(target, "x", &me()).await.unwrap().changed, "it was resumed");
    }
    assert!(set(&two, Some(Mode::Enforce)).await, "it was forgotten");
    assert_eq!(killed(&open(&journal).await.now()).len(), 2);
}

#[tokio::test]
async fn what_the_journal_does_not_take_is_not_in_force() {
    let journal = Arc::new(Memory::new());
    let control = open(&journal).await;
    journal.refuse(Some("the disk is full"));
    let error = control.kill(KillTarget::Everything, "x", &me()).await.unwrap_err();
    assert!(matches!(error, OrderError::Journal(_)), "{error}");
    assert!(control.now().kills.is_empty());
    journal.refuse(None);
    assert!(control.kill(KillTarget::Everything, "x", &me()).await.unwrap().changed);
}

#[tokio::test]
async fn orders_name_nobody_in_their_records() {
    let journal = Arc::new(Memory::new());
    let control = open(&journal).await;
    control.kill(KillTarget::Agent(Principal::try_from("spiffe://a/agent/x").unwrap()), "because", &me()).await.unwrap();
    for record in journal.read(Stream::global(), 0, 10).await.unwrap() {
        for word in ["agent/x", "because", "operator/me"] {
            assert!(!record.bytes.windows(word.len()).any(|bytes| bytes == word.as_bytes()), "{word}");
        }
    }
}

#[tokio::test]
async fn a_filter_is_told_of_its_own_servers_and_only_where_something_is_ordered() {
    let control = open(&Arc::new(Memory::new())).await;
    let filter = Filter {
        identity: SpiffeId::try_from("spiffe://a/filter/x").unwrap(),
        tenant: Tenant::try_from("acme").unwrap(),
        servers: [server("notes"), server("files")].into(),
        callers: Callers::One(SpiffeId::try_from("spiffe://a/agent/x").unwrap()),
        users: None,
    };
    let told = || standing(&control.now(), &filter, []);
    let stands = |epoch, servers: &[&v1::ServerStanding], consult| v1::Standing {
        epoch,
        servers: servers.iter().map(|server| (*server).clone()).collect(),
        consult,
    };
    assert_eq!(told(), v1::Standing::default());
    control.set_mode(server("notes"), Some("add".into()), Some(Mode::Enforce), "", &me()).await.unwrap();
    control.set_mode(server("other"), None, Some(Mode::Enforce), "", &me()).await.unwrap();
    let tool = v1::ToolStanding { tool: "add".into(), mode: v1::Mode::Enforce.into() };
    let notes = v1::ServerStanding { server: "notes".into(), tools: vec![tool], ..v1::ServerStanding::default() };
    assert_eq!(told(), stands(2, &[&notes], false));
    let other = v1::ServerStanding { server: "other".into(), mode: v1::Mode::Enforce.into(), ..v1::ServerStanding::default() };
    let served = standing(&control.now(), &filter, &[server("notes"), server("other"), server("nobodys")]);
    assert_eq!(served, stands(2, &[&notes, &other], false), "what its routes name is under orders, granted or not");
    control.kill(KillTarget::Tenant(Tenant::try_from("other").unwrap()), "x", &me()).await.unwrap();
    assert_eq!(told(), stands(3, &[&notes], false), "another tenant's kill does not concern it");
    let tenants = Tenants { claim: "org".into(), known: [Tenant::try_from("other").unwrap()].into() };
    let (issuers, subject) = (["i".to_owned()].into(), "sub".to_owned());
    let users = Some(Users { issuers, subject, required: true, agents: None, tenants: Some(tenants) });
    let with_users = Filter { users, ..filter.clone() };
    let of_users = standing(&control.now(), &with_users, []);
    assert!(of_users.consult, "unless its users may be of that tenant: {of_users:?}");
    control.kill(KillTarget::Agent(Principal::try_from("spiffe://b/y").unwrap()), "x", &me()).await.unwrap();
    assert_eq!(told(), stands(4, &[&notes], false), "it asks for one agent, and that is another");
    control.resume(KillTarget::Agent(Principal::try_from("spiffe://b/y").unwrap()), "", &me()).await.unwrap();
    control.kill(KillTarget::Agent(Principal::try_from("user:u@i").unwrap()), "x", &me()).await.unwrap();
    assert_eq!(told(), stands(6, &[&notes], true), "any of its servers may be called for that user");
    control.resume(KillTarget::Tenant(Tenant::try_from("other").unwrap()), "", &me()).await.unwrap();
    let of_server = |of: &str| KillTarget::Tool { server: server(of), tool: None };
    control.kill(of_server("files"), "x", &me()).await.unwrap();
    let files = v1::ServerStanding { server: "files".into(), consult: true, ..v1::ServerStanding::default() };
    assert_eq!(told(), stands(8, &[&files, &notes], true));
}
