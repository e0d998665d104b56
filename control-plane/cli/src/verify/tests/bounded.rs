//! A policy that somebody signed, logged and packed, and that no machine has room or time for.

use super::packs::verified;
use crate::evidence::tests::made::{Call, Made};
use crate::verify::bounds::{memory, within};
use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

/// Names the pack to the program that this test starts of itself, since a bound is for a whole program.
const PACK: &str = "AGENTGATE_TEST_BOUNDED_PACK";
const NAME: &str = "verify::tests::bounded::a_policy_that_doubles_a_text_has_no_more_memory_than_it_may";
const BYTES_MAX: u64 = 1 << 30;

/// A text that is doubled so many times.
fn doubled(times: u32) -> Made {
    let steps: String = (0..times).map(|at| format!("\tx{} := concat(\"\", [x{at}, x{at}])\n", at + 1)).collect();
    let rego = format!(
        "package agentgate.platform\n\ndeny contains {{\"rule\": \"long\", \"reason\": \"long\"}} if {{\n\tx0 := \"a\"\n{steps}\tx{times} == \"\"\n}}\n"
    );
    let mut made = Made::new();
    made.claim(&rego);
    made.call(&Call::default());
    made
}

#[test]
fn a_policy_that_doubles_a_text_has_no_more_memory_than_it_may() {
    if let Some(pack) = env::var_os(PACK) {
        memory(BYTES_MAX).expect("bounded");
        let report = verified(pack.as_ref()).expect("read");
        assert!(report.shown.iter().any(|shown| shown.contains("comes to the same verdict again")), "{report:#?}");
        return;
    }
    for (times, fits) in [(16, true), (40, false)] {
        let directory = tempfile::tempdir().expect("a directory");
        doubled(times).write(false, directory.path());
        let mut again = Command::new(env::current_exe().expect("this test"));
        let ended = again.args(["--exact", NAME, "--nocapture"]).env(PACK, directory.path()).output().expect("started");
        assert_eq!(ended.status.success(), fits, "{times}: {}", String::from_utf8_lossy(&ended.stderr));
        let said = String::from_utf8_lossy(&ended.stderr).contains("memory allocation of");
        assert_eq!((said, ended.status.signal().is_some()), (!fits, !fits), "{times}: {ended:?}");
    }
}

#[test]
fn work_that_takes_longer_than_it_may_is_waited_for_no_longer() {
    assert_eq!(within(Duration::from_secs(60), || 7), Some(7));
    let (held, waits) = mpsc::channel::<()>();
    assert_eq!(within(Duration::from_millis(1), move || waits.recv().is_ok()), None);
    drop(held);
}
