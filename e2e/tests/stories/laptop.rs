//! `try` as a person runs it: what it shows, and that nothing is left of it, however it ends; nor of `bench`.

use agentgate_e2e::{Places, eventually};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

fn laptop() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_laptop"));
    command.arg("try").current_dir(Places::found().unwrap().repository);
    command
}

#[test]
fn a_tour_shows_every_kind_of_verdict_and_a_denial_in_full() {
    let output = laptop().output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let wanted =
        ["tool_open", "tool_gated", "unknown_tool", "forbidden_query", "duplicate_key", "the call was not sent on", "./justw up"];
    for words in wanted {
        assert!(text.contains(words), "`{words}` is missing:\n{text}");
    }
}

fn bench() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["--gates", "ours"]).current_dir(Places::found().unwrap().repository);
    command
}

#[test]
fn a_tour_and_a_bench_that_are_ended_early_leave_no_process_and_no_directory() {
    ended_early(laptop(), Signal::KILL);
    ended_early(laptop(), Signal::INT);
    ended_early(bench(), Signal::TERM);
    ended_early(bench(), Signal::INT);
}

fn ended_early(mut program: Command, signal: Signal) {
    let mut running = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let parent = running.id();
    let directory = eventually("the control plane runs", || children_of(parent).into_iter().find_map(directory_of)).unwrap();
    eventually("Envoy runs", || fs::exists(format!("{directory}/gate/admin-address")).ok().filter(|exists| *exists)).unwrap();
    let children = children_of(parent);
    assert!(children.len() >= 4, "{children:?}");
    kill_process(pid(parent), signal).unwrap();
    running.wait().unwrap();
    let all_gone = || children.iter().all(|child| test_kill_process(pid(*child)).is_err()).then_some(());
    eventually(format_args!("all of {program:?} are gone after {signal:?}"), all_gone).unwrap();
    let directory = Path::new(&directory).ancestors().find(|above| above.parent() == Some(&std::env::temp_dir())).unwrap();
    eventually("their directory is gone", || (!fs::exists(directory).unwrap()).then_some(())).unwrap();
}

/// The control plane, Envoy, the notes, and the shell that cleans up.
fn children_of(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let by_threads = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let mut children: Vec<u32> = by_threads.flat_map(|text| numbers(&text)).collect();
    children.sort_unstable();
    children.dedup();
    children
}

fn numbers(text: &str) -> Vec<u32> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// The world's directory, as the process's arguments name it.
fn directory_of(process: u32) -> Option<String> {
    let arguments = fs::read_to_string(format!("/proc/{process}/cmdline")).ok()?;
    let named = arguments.split('\0').find_map(|argument| argument.strip_suffix("/control-plane/control-plane.toml"));
    named.map(ToOwned::to_owned)
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}
