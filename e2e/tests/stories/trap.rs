//! A VM that traps: Envoy makes a new one, nothing passes meanwhile, and what was under way in the old one ends as `unknown`.
//! It is the very module that is shipped, with less memory: the story lowers the most that its memory may grow to.

use crate::wire::{CALL, RESULT, post, recording};
use agentgate_e2e::http1::{Connection, request};
use agentgate_e2e::upstream::{Part, Reply};
use agentgate_e2e::{World, eventually, http1};
use std::fs;

/// Enough for small calls, too little for a large one: 64 KiB each, beyond what the module begins with.
const MORE_PAGES: u8 = 14;

#[test]
fn a_vm_that_traps_refuses_meanwhile_and_recovers_and_what_it_lost_is_unknown() {
    let world = little_memory();
    let upstream = world.upstream().unwrap();

    // One call is under way when the VM dies.
    let mut under_way = Connection::open(world.stack.gate).unwrap();
    under_way.send(&post(&CALL.replace("milk", "wait"))).unwrap();
    upstream.until_arrived(1).unwrap();
    let lost = world.newest_trace("search").unwrap();
    assert_eq!(lost["verdict"], "allow", "{lost}");
    upstream.take();

    let large = CALL.replace("milk", &"m".repeat(1_000_000));
    let answer = http1::exchange(world.stack.gate, &post(&large));
    let log = fs::read_to_string(world.stack.envoy.log()).unwrap();
    assert!(log.contains("proxy_on_memory_allocate failed"), "the VM did not trap: {answer:?}\n{log}");
    assert_eq!(upstream.take(), (vec![], vec![]), "{answer:?}");

    let mut refusals = 0;
    eventually("a fresh VM lets calls pass", || {
        let answer = world.http1(&post(CALL)).unwrap();
        let (arrived, bytes) = upstream.take();
        if answer.text() == RESULT {
            assert_eq!(arrived.len(), 1);
            return Some(());
        }
        assert_eq!((answer.status != 200 || answer.json()["error"]["code"] == 503, bytes.len()), (true, 0), "{answer:?}");
        refusals += 1;
        None
    })
    .unwrap();
    assert!(refusals > 0, "nothing was refused: the VM never trapped");
    assert_eq!(world.stack.envoy.stat("wasm.agentgate.vm_reload_success").unwrap(), 1);

    let id = lost["call_id"].as_str().unwrap();
    let outcome = eventually("what the old VM lost is closed", || {
        let shown = world.traces().ok()?.into_iter().find(|trace| trace["call_id"] == id)?;
        shown["outcome"].as_str().map(ToOwned::to_owned)
    });
    assert_eq!(outcome.unwrap(), "unknown");
    upstream.release();
    let answer = under_way.answer().unwrap();
    assert!(answer.cut && answer.body.is_empty(), "a result passed a VM that was dead: {answer:?}");
}

#[test]
fn with_its_own_memory_the_module_takes_the_same_call() {
    let world = recording(|_| Reply::json(RESULT)).start().unwrap();
    let large = CALL.replace("milk", &"m".repeat(1_000_000));
    assert_eq!(world.http1(&post(&large)).unwrap().text(), RESULT);
    // One byte beyond the route's limit is refused and reaches nobody, with a length and without.
    let too_large = CALL.replace("milk", &"m".repeat(1_048_577));
    let chunked = format!("{:x}\r\n{too_large}\r\n0\r\n\r\n", too_large.len());
    let headers = [&crate::wire::HEADERS[..], &[("transfer-encoding", b"chunked")]].concat();
    world.upstream().unwrap().take();
    for bytes in [post(&too_large), request("POST", "/mcp", &headers, chunked.as_bytes())] {
        let answer = world.http1(&bytes);
        assert_eq!(world.upstream().unwrap().take(), (vec![], vec![]), "{answer:?}");
    }
    let refusals = eventually("both refusals are on record", || {
        let traces = world.traces().ok()?;
        let refused: Vec<String> = traces.iter().filter(|trace| trace["verdict"] == "deny").map(ToString::to_string).collect();
        (refused.len() == 2).then_some(refused)
    });
    let refusals = refusals.unwrap();
    assert!(refusals.iter().all(|trace| trace.contains("too_large")), "{refusals:?}");
}

fn little_memory() -> World {
    let mut plan = recording(|request| {
        let waits = request.json()["params"]["arguments"]["query"] == "wait";
        let body = Part::Bytes(RESULT.as_bytes().to_vec());
        Reply::new("application/json", if waits { vec![Part::Wait, body] } else { vec![body] })
    });
    plan.stack.configuration = "[limits]\nsilence_s = 2\n".into();
    let module = fs::read(&plan.places.filter).unwrap();
    // The target directory outlives the world; each run writes the same bytes.
    let little = plan.places.filter.with_file_name("agentgate_filter_little_memory.wasm");
    fs::write(&little, with_little_memory(&module)).unwrap();
    plan.places.filter = little;
    plan.start().unwrap()
}

/// The same module, but its memory may grow by few pages only.
fn with_little_memory(module: &[u8]) -> Vec<u8> {
    const MAGIC_AND_VERSION: usize = 8;
    const MEMORY: u8 = 5;
    let mut at = MAGIC_AND_VERSION;
    while let Some(id) = module.get(at) {
        let (length, start) = number(module, at + 1);
        if *id == MEMORY {
            // One memory, without a maximum, of fewer than 128 pages.
            let &[1, 0, pages] = &module[start..start + length] else { panic!("the memory section is not as it was") };
            let section = [MEMORY, 4, 1, 1, pages, pages + MORE_PAGES];
            return [&module[..at], &section, &module[start + length..]].concat();
        }
        at = start + length;
    }
    panic!("a module without memory");
}

/// A LEB128 number, and where it ends.
fn number(bytes: &[u8], at: usize) -> (usize, usize) {
    let length = bytes[at..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let value = bytes[at..at + length].iter().rev().fold(0, |value, byte| (value << 7) | usize::from(byte & 0x7f));
    (value, at + length)
}
