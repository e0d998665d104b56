//! Policies, tried without a control plane.

use crate::double::{command, json, text};
use std::fs;
use std::path::Path;

const REGO: &str = r#"package agentgate.platform

import rego.v1

allow contains {"rule": "ping", "reason": "ping is harmless"} if input.method == "ping"
"#;

const PASSES: &str = "
- name: a ping is allowed
  given: {server: notes, method: ping}
  want: {verdict: allow, rule: ping}
";

const FAILS: &str = "
- name: a list is allowed too
  given: {server: notes, method: tools/list}
  want: {verdict: allow, rule: ping}
";

fn folder(rego: &str, cases: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for part in ["rego", "cases"] {
        fs::create_dir(directory.path().join(part)).expect("a directory");
    }
    fs::write(directory.path().join("rego/platform.rego"), rego).expect("written");
    fs::write(directory.path().join("tools.yaml"), "{}\n").expect("written");
    if !cases.is_empty() {
        fs::write(directory.path().join("cases/all.yaml"), cases).expect("written");
    }
    directory
}

fn test(directory: &Path, more: &[&str]) -> std::process::Output {
    let directory = directory.display().to_string();
    let arguments = [&["policy", "test", directory.as_str()], more].concat();
    command(&arguments).output().expect("the binary runs")
}

#[test]
fn cases_that_pass_end_with_zero_and_those_that_fail_with_one() {
    for (rego, cases, code, said, advised) in [
        (REGO, PASSES.to_owned(), 0, "the only case passes", ""),
        (REGO, format!("{PASSES}{FAILS}"), 1, "wanted `allow` by `ping`", "1 of 2 cases fail"),
        (REGO, String::new(), 1, "cases        0", "write one in `cases/*.yaml`"),
        ("package nonsense {", PASSES.to_owned(), 1, "", "would not be put into force"),
    ] {
        let output = test(folder(rego, &cases).path(), &[]);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{out}{err}");
        assert!(out.contains(said) && err.contains(advised), "{out}{err}");
    }
    let output = test(Path::new("/nowhere"), &[]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
}

#[test]
fn a_case_that_passes_is_listed_when_asked_for() {
    let folder = folder(REGO, &format!("{PASSES}{FAILS}"));
    for (more, listed) in [(&[][..], false), (&["--verbose"], true)] {
        let out = text(&test(folder.path(), more).stdout);
        assert_eq!(out.contains("a ping is allowed"), listed, "{out}");
        assert!(out.contains("a list is allowed too"), "{out}");
    }
}

#[test]
fn every_case_and_line_is_there_for_programs() {
    let report = json(&test(folder(REGO, &format!("{PASSES}{FAILS}")).path(), &["--output", "json"]));
    assert_eq!(report["passed"], false);
    assert_eq!(report["cases"][0]["passed"], true);
    assert_eq!(report["cases"][1]["file"], "cases/all.yaml");
    assert!(report["cases"][1]["failure"].is_string());
    assert_eq!(report["coverage"][0]["file"], "rego/platform.rego");
}

#[test]
fn an_empty_table_is_why_no_case_reaches_what_is_said_of_its_rows() {
    const SAID: &str = "tools.yaml has no row yet";
    let shown = |folder: &Path| text(&test(folder, &[]).stdout);
    let start = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/start");
    assert!(shown(&start).contains(SAID), "{}", shown(&start));
    // Nothing is missed; or it is, and rows are there.
    let blocked =
        "\nallow contains {\n\t\"rule\": \"never\",\n\t\"reason\": \"never\",\n} if {\n\tinput.method == \"never\"\n}\n";
    for (rego, table, is_said) in [
        (REGO.to_owned(), "{}\n", false),
        (format!("{REGO}{blocked}"), "{}\n", true),
        (format!("{REGO}{blocked}"), "notes:\n  read: { tag: open, scope: read }\n", false),
    ] {
        let folder = folder(&rego, PASSES);
        fs::write(folder.path().join("tools.yaml"), table).expect("written");
        assert_eq!(shown(folder.path()).contains(SAID), is_said, "{}", shown(folder.path()));
    }
}
