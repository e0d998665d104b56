//! What it costs to look for what is personal, by the KB, in bodies of calls. It prints, and judges nothing.
//!
//! `cargo bench -p agentgate-core --bench pii`
#![expect(clippy::disallowed_methods, reason = "a bench measures time")]

use agentgate_core::pii::{How, Rewriter};
use std::hint::black_box;
use std::time::Instant;

const KB: usize = 1_024;
const TIMES: u32 = 2_000;

/// Prints what one KB of such a body takes.
fn measure(what: &str, member: &str) {
    let members: Vec<String> = (0..16 * KB / member.len()).map(|at| format!(r#""m{at}":{member}"#)).collect();
    let body = format!("{{{}}}", members.join(",")).into_bytes();
    let start = Instant::now();
    for _ in 0..TIMES {
        black_box(Rewriter::new(How::Redact).json(black_box(&body)));
    }
    let per_kb = start.elapsed() * u32::try_from(KB).unwrap_or(u32::MAX) / TIMES / u32::try_from(body.len()).unwrap_or(u32::MAX);
    println!("{what}: {per_kb:?} a KB ({} bytes)", body.len());
}

fn main() {
    measure("prose, nothing personal", r#""a note about the quarterly figures, and what everybody wanted to say about them""#);
    measure("numbers", "[1700000000123,12.50,42,5552234567]");
    measure("one address in each member", r#""please write to anna.lee@mail.example.org as soon as it is done""#);
    measure("a card in each member", r#""paid with 4111 1111 1111 1111 on monday, and it took a while""#);
}
