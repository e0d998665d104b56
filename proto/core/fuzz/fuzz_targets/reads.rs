//! Hunts for bytes that break an invariant of the readers: the first two choose a golden head, the rest is the body.
#![no_main]

#[allow(dead_code, unused_imports, reason = "its tests are not this crate's")]
#[path = "../../tests/it/attempts.rs"]
mod attempts;
#[path = "../../tests/it/invariants.rs"]
mod invariants;

use agentgate_core::mcp::Head;
use std::sync::LazyLock;

static HEADS: LazyLock<Vec<Head>> = LazyLock::new(|| attempts::attempts().iter().map(attempts::head_of).collect());

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [low, high, body @ ..] = bytes else { return };
    let chosen = usize::from(u16::from_le_bytes([*low, *high]));
    invariants::request(&HEADS[chosen % HEADS.len()], body);
    invariants::json(body);
    invariants::answer(body);
    invariants::stream(body, chosen % 7 + 1);
});
