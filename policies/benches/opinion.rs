//! What one opinion of the default policy costs: `cargo bench -p agentgate-policies`. It measures and asserts nothing.
#![expect(clippy::expect_used, reason = "a benchmark that cannot begin has nothing to measure")]

use agentgate_core::decide::Facts;
use agentgate_core::endpoint::Endpoint;
use agentgate_core::id::{Asker, Principal, Server, Tenant};
use agentgate_core::json::{Json, Object};
use agentgate_core::mcp::{Kind, Message, Method, Protocol, RequestId, Version};
use agentgate_core::time::Time;
use agentgate_policies::{Bundle, Evaluator, folder};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;

/// About 1 KB of arguments, as in the figures of the performance document.
fn arguments() -> Object {
    (0..16).fold(Object::default().with("query", "milk"), |object, n: u64| {
        object.with(&format!("field_{n}"), Json::from("fifty bytes of text, more or less, for each field.."))
    })
}

fn call(method: Method, tool: Option<&str>) -> Facts {
    let params = tool.map(|tool| Object::default().with("name", tool).with("arguments", arguments()));
    Facts {
        at: Time::from_micros(1_767_225_600_000_000),
        tenant: Tenant::try_from("default").expect("a name"),
        principal: Principal::try_from("spiffe://agentgate.local/agent/bench").expect("a name"),
        asker: Asker::try_from("spiffe://agentgate.local/filter/bench").expect("a name"),
        server: Server::try_from("notes").expect("a name"),
        endpoint: Endpoint { path: "/mcp".to_owned(), ..Endpoint::default() },
        kill: None,
        grant: None,
        denied: None,
        reading: Ok(Message {
            protocol: Protocol::Mcp(Version::V2025_11_25),
            kind: Kind::Request(RequestId::Number("1".to_owned())),
            method,
            target: tool.map(ToOwned::to_owned),
            params,
            handle: None,
        }),
    }
}

fn opinion(criterion: &mut Criterion) {
    let files = folder::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("default")).expect("the default policy");
    let bundle = Bundle::load(files).expect("the default policy");
    let mut evaluator = Evaluator::new(&bundle).expect("the default policy");
    for (name, facts) in [
        ("an open tool, 1 KB of arguments", call(Method::ToolsCall, Some("list_notes"))),
        ("a tool with a pattern, 1 KB of arguments", call(Method::ToolsCall, Some("search_notes"))),
        ("an unknown tool, 1 KB of arguments", call(Method::ToolsCall, Some("format_disk"))),
        ("ping", call(Method::Ping, None)),
    ] {
        criterion.bench_function(name, |bench| bench.iter(|| black_box(evaluator.opinion(black_box(&facts)))));
    }
    let tools: Vec<String> = (0..50).map(|n| format!("tool_{n}")).collect();
    let list = call(Method::ToolsList, None);
    criterion.bench_function("a list of 50 tools", |bench| bench.iter(|| black_box(evaluator.hidden(&list, &tools))));
    criterion.bench_function("loading the default policy", |bench| {
        bench.iter(|| black_box(Evaluator::new(black_box(&bundle))));
    });
}

criterion_group!(benches, opinion);
criterion_main!(benches);
