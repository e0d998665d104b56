//! What an ask costs over real gRPC and mutual TLS, with the embedded journal: one at a time, many at once, and what stays
//! in memory. Client and control plane share this process.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a bench that cannot go on stops"
)]

#[path = "../tests/it/world.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod world;

use agentgate_proto::v1::converse_request::Message as Said;
use agentgate_proto::v1::converse_response::Message as Heard;
use agentgate_proto::v1::{self, OutcomeKind};
use std::time::Duration;
use tokio::time::Instant;
use world::{Setup, World, call, outcome};

const WARM_UP: u64 = 500;
const ONE_BY_ONE: u64 = 5_000;
const AT_ONCE: u64 = 64;
const MANY: u64 = 100_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::with(Setup { embedded: true, ..Setup::default() }).await;
        println!("at the start       {} resident, client included", resident());
        let mut vm = world.vm().await;
        for counter in 1..=WARM_UP {
            vm.decided(call(counter, "read_note")).await;
        }
        let mut took = Vec::new();
        for counter in WARM_UP + 1..=WARM_UP + ONE_BY_ONE {
            let started = Instant::now();
            vm.decided(call(counter, "read_note")).await;
            took.push(started.elapsed());
        }
        took.sort_unstable();
        let at = |part: usize| took.get(took.len() * part / 1_000).copied().unwrap_or_default();
        println!("one by one      p50 {:?}  p90 {:?}  p99 {:?}", at(500), at(900), at(990));

        let (mut asked, mut answered, first) = (0, 0, WARM_UP + ONE_BY_ONE + 1);
        let started = Instant::now();
        while answered < MANY {
            while asked < MANY && asked - answered < AT_ONCE {
                vm.say(Said::Ask(call(first + asked, "read_note"))).await;
                asked += 1;
            }
            match vm.hear().await.unwrap() {
                Heard::Answer(answer) => {
                    assert!(matches!(answer.result, Some(v1::answer::Result::Decided(_))), "{answer:?}");
                    answered += 1;
                    if answered % (MANY / 4) == 0 {
                        println!("after {:>6} calls {} resident, client included", first + answered - 1, resident());
                    }
                    let entries = vec![outcome(answer.counter, OutcomeKind::Completed)];
                    vm.say(Said::Report(v1::Report { entries, observations_lost: 0 })).await;
                }
                Heard::Acknowledged(_) => {}
                other => panic!("{other:?}"),
            }
        }
        let per_second = f64::from(u32::try_from(MANY).unwrap()) / started.elapsed().as_secs_f64();
        println!(
            "{AT_ONCE} at once      {per_second:.0} asks/s with as many outcomes, {:?} each",
            Duration::from_secs_f64(1.0 / per_second)
        );
    });
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().to_owned()
}
