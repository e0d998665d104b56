//! Policies that somebody signed, logged and packed, and that no machine has room or time for.

use super::book::{signer, trust};
use super::question;
use crate::pack::Pack;
use crate::pack::tests::made::{Call, Made, put};
use crate::verify::apart::{ENDED_MAX, Program, bound, through, told};
use crate::verify::redecide::{Again, Answers};
use crate::verify::{Question, Report, judge};
use serde_json::json;
use std::collections::BTreeSet;
use std::env;
use std::io::{self, Write as _};
use std::process::Command;

/// Tells the program that this test starts of itself that it is to answer, since a bound is for a whole program.
const ANSWER: &str = "AGENTGATE_TEST_SETTLE_AGAIN";
const NAME: &str =
    "verify::tests::bounded::a_policy_that_doubles_a_text_ends_the_process_that_decides_again_and_all_else_is_said";
const BYTES_MAX: u64 = 1 << 30;

/// A policy by which a text is doubled so many times.
fn doubled(times: u32, name: &str) -> String {
    let steps: String = (0..times).map(|at| format!("\tx{} := concat(\"\", [x{at}, x{at}])\n", at + 1)).collect();
    format!(
        "package agentgate.platform\n\ndeny contains {{\"rule\": \"{name}\", \"reason\": \"long\"}} if {{\n\tx0 := \"a\"\n{steps}\tx{times} == \"\"\n}}\n"
    )
}

fn program() -> io::Result<Command> {
    let mut again = Command::new(env::current_exe()?);
    again.args(["--exact", NAME, "--nocapture"]).env(ANSWER, "");
    Ok(again)
}

fn apart(pack: &Pack, wanted: &BTreeSet<u64>, body_bytes_max: usize) -> Answers {
    through(program, pack, wanted, body_bytes_max)
}

/// What is said of a call of an honest policy, one of each of these, and another one of an honest policy.
fn said(hostile: &[String]) -> Report {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut made, mut bundles) = (Made::new(), Vec::new());
    for rego in [&doubled(16, "first")].into_iter().chain(hostile).chain([&doubled(16, "last")]) {
        made.claim(rego);
        made.call(&Call::default());
        bundles.extend(made.pack(false).bundles);
    }
    put(&Pack { bundles, ..made.pack(false) }, directory.path(), &signer(1));
    judge(directory.path(), &Question { redecide: Some(apart), ..question(trust()) }, &[]).expect("read")
}

#[test]
fn a_policy_that_doubles_a_text_ends_the_process_that_decides_again_and_all_else_is_said() {
    if env::var_os(ANSWER).is_some() {
        bound(BYTES_MAX).expect("bounded");
        // What the test runner wrote before is no answer.
        let mut out = io::stdout();
        out.write_all(b"\n").and_then(|()| told(io::stdin().lock(), &mut out)).expect("answered");
        return;
    }
    let same = |count: usize| format!("{count} decisions come to the same verdict again, by the same rule");
    for hostile in 0..=ENDED_MAX + 1 {
        let rego: Vec<String> = (0..hostile).map(|at| doubled(40, &format!("hostile{at}"))).collect();
        let report = said(&rego);
        let full = report.all_not_shown().iter().filter(|not| not.contains(" takes more memory than 4 GiB")).count();
        let left: Vec<String> =
            report.all_not_shown().into_iter().filter(|not| not.contains("deciding again ended with decision 6, by")).collect();
        assert!(report.holds(), "{hostile}: {report:#?}");
        if hostile <= ENDED_MAX {
            assert!(report.shown.contains(&same(2)) && full == hostile && left.is_empty(), "{hostile}: {report:#?}");
        } else {
            // Its own decision, and the one after it.
            assert!(full == ENDED_MAX && left.len() == 2 && left[0].contains("more than 3 policies"), "{hostile}: {report:#?}");
            assert!(report.shown.iter().any(|shown| shown.starts_with("1 decision comes")), "{hostile}: {report:#?}");
        }
    }
}

#[test]
fn a_program_that_gives_no_answer_is_none_that_agrees() {
    let mut made = Made::new();
    made.call(&Call::default());
    let programs: [(Program, &str); 3] = [
        (|| Ok(Command::new("true")), "it gave no answer (exit status: 0)"),
        (|| Ok(Command::new("/nowhere/agentgate")), "the program that decides cannot be started"),
        (|| Err(io::ErrorKind::NotFound.into()), "the program that decides cannot be started"),
    ];
    for (program, why) in programs {
        let answers = through(program, &made.pack(false), &BTreeSet::from([2]), 1 << 20);
        let [(2, Again::Cannot([one, _]))] = &answers.iter().map(|(at, again)| (*at, again)).collect::<Vec<_>>()[..] else {
            panic!("{why}: {answers:?}")
        };
        assert!(one.contains("deciding again ended with decision 2, by the policy ") && one.contains(why), "{why}: {one}");
    }
}

#[test]
fn an_answer_is_read_as_it_was_written_and_nothing_else_is_one() {
    let why = ["one".to_owned(), "many".to_owned()];
    for again in [Again::Same, Again::Differs("x".into()), Again::Cannot(why)] {
        assert_eq!(Again::read(&again.to_json(7)), Some((7, again)));
    }
    for none in [
        json!({}),
        json!({ "decision": -1 }),
        json!({ "decision": 1, "differs": 1 }),
        json!({ "decision": 1, "cannot": ["x"] }),
        json!({ "decision": 1, "differs": "x", "cannot": ["x", "y"] }),
    ] {
        assert_eq!(Again::read(&none), None, "{none}");
    }
}
