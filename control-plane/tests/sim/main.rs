//! Seeded simulation of replicas on one journal: `just sim SEED [COUNT]`.
//!
//! The rooms are the real ones, on one thread and on clocks that the schedule moves; what a seed does it does again. Without
//! arguments it is a test: some seeds hold every law, the same seed is the same life, and every broken promise is found.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unreachable,
    reason = "a simulation that cannot go on has failed"
)]

mod age;
mod dice;
mod law;
mod life;
mod port;
mod purges;
mod world;

use agentgate_policies::{Bundle, folder};
use port::MUTATIONS;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use world::Went;

/// Seeds of the ordinary test.
const SEEDS: u64 = 200;

/// A broken promise of the journal is found within so many.
const FOUND_WITHIN: u64 = 60;

/// Someone who waits for many is told after so many, which are some seconds.
const TOLD_EVERY: u64 = 1_000;

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let bundles = bundles();
    match *numbers.as_slice() {
        [] => test(&bundles),
        [seed] => many(seed, 1, &bundles),
        [seed, count, ..] => many(seed, count, &bundles),
    }
}

/// The demo's policy, and one in which a tool of it is blocked.
fn bundles() -> [Bundle; 2] {
    let files = folder::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/default")).unwrap();
    let mut other = files.clone();
    let tools = other.iter_mut().find(|file| file.path == "tools.yaml").unwrap();
    let text = String::from_utf8(tools.bytes.to_vec()).unwrap();
    tools.bytes = text.replace("add_note:     { tag: gated", "add_note:     { tag: blocked").into_bytes();
    [Bundle::load(files).unwrap(), Bundle::load(other).unwrap()]
}

/// Seeds one after the other, on every core; the first that breaks a law is told step by step.
fn many(first: u64, count: u64, bundles: &[Bundle; 2]) -> ExitCode {
    let (next, ended) = (AtomicU64::new(0), AtomicBool::new(false));
    let totals = [const { AtomicU64::new(0) }; 5];
    let lives = || {
        while !ended.load(Ordering::Relaxed) {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= count {
                return None;
            }
            if nth > 0 && nth % TOLD_EVERY == 0 {
                eprintln!("{nth} of {count} seeds lived through");
            }
            match world::live(first.wrapping_add(nth), None, bundles) {
                Ok(Went { records, decisions, allowed, purges, swept }) => {
                    for (total, of_it) in totals.iter().zip([records, decisions, allowed, purges, swept]) {
                        total.fetch_add(of_it, Ordering::Relaxed);
                    }
                }
                Err(broken) => {
                    ended.store(true, Ordering::Relaxed);
                    return Some((first.wrapping_add(nth), broken));
                }
            }
        }
        None
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let broken = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(lives)).collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().expect("a simulation runs to its end"))
            .min_by_key(|(seed, _)| *seed)
    });
    if let Some((seed, (law, steps))) = broken {
        steps.iter().for_each(|step| println!("{step}"));
        println!("\nseed {seed} breaks a law: {law}\nagain: just sim {seed}");
        return ExitCode::FAILURE;
    }
    let [records, decisions, allowed, purges, swept] = totals.map(AtomicU64::into_inner);
    println!(
        "{count} seeds from {first} on hold every law: {records} records, {decisions} decisions, {allowed} of them allowed, {purges} purges, {swept} of them by age"
    );
    ExitCode::SUCCESS
}

fn test(bundles: &[Bundle; 2]) -> ExitCode {
    for seed in [1, 2, 3] {
        let twice = [(); 2].map(|()| world::live(seed, None, bundles).map_err(|(law, _)| law));
        assert_eq!(twice[0], twice[1], "one seed, one life");
    }
    for mutation in MUTATIONS {
        let broken = |seed| world::live(seed, Some(mutation), bundles).err().map(|(law, _)| (seed, law));
        let (seed, law) = (1..=FOUND_WITHIN).find_map(broken).unwrap_or_else(|| panic!("{mutation:?} was not found"));
        println!("{mutation:?} is found by seed {seed}: {law}");
    }
    let verdict = many(1, SEEDS, bundles);
    let passed = u8::from(verdict == ExitCode::SUCCESS);
    println!("test result: sim. {passed} passed; {} failed;", 1 - passed);
    verdict
}
