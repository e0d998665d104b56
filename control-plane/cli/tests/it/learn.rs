//! A tool table from what was seen, and what a policy would have refused.

use crate::double::{Answers, Double, Said, json, text};
use agentgate_proto::v1;
use std::fs;
use std::path::Path;

const TABLE: &str = "notes:\n  read_note: { tag: open, scope: read }\n";

fn learned() -> v1::LearnedTools {
    let definition = r#"{"name":"send_note","inputSchema":{"type":"object","properties":{"to":{"type":"string"}}}}"#;
    let send = v1::LearnedTool {
        server: "notes".into(),
        tool: "send_note".into(),
        definition: definition.into(),
        calls: 7,
        arguments: vec![v1::LearnedArgument { name: "to".into(), types: vec!["string".into()] }],
        ..Default::default()
    };
    let broken = v1::LearnedTool { tool: "drop".into(), definition: "no JSON\u{1b}".into(), arguments: vec![], ..send.clone() };
    v1::LearnedTools {
        tools: vec![send, broken],
        calls_read: 340,
        from_us: 1_795_374_352_123_000,
        observations_lost: 2,
        policy: vec![v1::FileContent { path: "tools.yaml".into(), content: TABLE.into() }],
        ..Default::default()
    }
}

fn impact() -> v1::Impact {
    let row = |principal: &str, verdict: v1::Verdict, rule: &str, calls: u64| v1::ImpactRow {
        principal: format!("spiffe://agentgate.local/agent/{principal}"),
        server: "notes".into(),
        method: "tools/call".into(),
        target: "drop\u{1b}".into(),
        verdict: verdict.into(),
        rule: rule.into(),
        calls,
        last_us: 1_795_374_352_123_000,
        last_call_id: "0001-7".into(),
        were_enforced: 1,
        ..Default::default()
    };
    v1::Impact {
        calls: 340,
        allowed: 328,
        not_decidable: 4,
        rows: vec![row("laptop", v1::Verdict::Deny, "unknown_tool", 9), row("ci", v1::Verdict::Pending, "tool_gated", 3)],
        from_us: 1_795_374_352_123_000,
        observations_lost: 2,
        ..Default::default()
    }
}

fn folder() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("tools.yaml"), TABLE).expect("written");
    directory
}

fn learn(double: &Double, directory: &Path, more: &[&str]) -> std::process::Output {
    let directory = directory.display().to_string();
    double.agentgate(&[&["policy", "learn", "--directory", directory.as_str()], more].concat())
}

#[test]
fn a_table_is_proposed_and_written_only_when_asked_for() {
    let double = Answers { learned: learned(), ..Default::default() }.serve();
    let folder = folder();
    let table = || fs::read_to_string(folder.path().join("tools.yaml")).expect("a table");
    let output = learn(&double, folder.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output.stdout);
    for line in [
        "  tools        2 tools of 1 server\n",
        "  calls        340\n",
        "  lost         2 observations: of these calls nothing is known\n",
        "  +  send_note: ",
        "notes/drop: the definition cannot be read",
        " --write\n",
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
    assert_eq!(table(), TABLE);
    let output = learn(&double, folder.path(), &["--write"]);
    let shown = text(&output.stdout);
    assert!(
        shown.contains("  +  send_note: ") && shown.contains("agentgate policy test ") && shown.contains("policy impact"),
        "{shown}"
    );
    assert!(table().starts_with(TABLE) && table().contains("send_note"), "{}", table());
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1, "nothing stays beside it");
    let again = json(&learn(&double, folder.path(), &["--write", "--output", "json"]));
    assert_eq!((&again["unchanged"], &again["written"]), (&true.into(), &false.into()));
}

#[test]
fn a_name_that_its_servers_list_does_not_have_is_no_row_as_far_as_the_list_is_known() {
    let made_up = v1::LearnedTool { server: "notes".into(), tool: "nonexist".into(), calls: 1, ..Default::default() };
    let proposed = |lists_cut: u64, more: v1::LearnedTool| {
        let mut learned = v1::LearnedTools { lists_cut, ..learned() };
        learned.tools.push(more);
        text(&Answers { learned, ..Default::default() }.serve().agentgate(&["policy", "learn"]).stdout)
    };
    let note = "- called, and not listed by its server `notes`: `nonexist` (1 call)";
    for (lists_cut, more, is_row) in [
        (0, made_up.clone(), false),
        (1, made_up.clone(), true),
        (0, v1::LearnedTool { definitions: 1, ..made_up.clone() }, true),
        (0, v1::LearnedTool { server: "files".into(), ..made_up }, true),
    ] {
        let shown = proposed(lists_cut, more);
        assert_eq!((shown.contains("  +  nonexist: "), shown.contains(note)), (is_row, !is_row), "{shown}");
    }
}

#[test]
fn without_a_folder_the_table_in_force_is_compared() {
    let double = Answers { learned: learned(), ..Default::default() }.serve();
    let output = double.agentgate(&["policy", "learn", "--server", "notes", "--since", "24h"]);
    let shown = text(&output.stdout);
    assert!(shown.contains("Proposed for the table in force") && shown.contains("   notes:\n"), "{shown}");
    let Some(Said::Learn(asked)) = double.said().pop() else { panic!("nothing was asked") };
    assert_eq!(asked.server, "notes");
    for (arguments, code) in [
        (&["policy", "learn", "--write"][..], 2),
        (&["policy", "learn", "--directory", "/nowhere"], 5),
        (&["policy", "learn", "--since", "x"], 2),
        (&["policy", "learn", "--since", "2026-11-01"], 0),
    ] {
        assert_eq!(double.agentgate(arguments).status.code(), Some(code), "{arguments:?}");
    }
    let Some(Said::Learn(asked)) = double.said().pop() else { panic!("nothing was asked") };
    assert_eq!(asked.since_us, 1_793_491_200_000_000, "a moment is one as everywhere else");
}

#[test]
fn an_impact_says_whom_it_would_have_refused_and_how_much_is_known() {
    let double = Answers { impact: Some(impact()), ..Default::default() }.serve();
    let folder = folder();
    let output = double.agentgate(&["policy", "impact", "--server", "notes"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let shown = text(&output.stdout);
    for line in [
        "enforcing would have refused 12 of 340 calls, of 2 principals\n",
        "deny     unknown_tool  notes/drop\\u{1b}  agent/laptop",
        "2 of them were refused already when they came\n",
        "4 calls could not be decided again",
        "2 observations lost: of these calls nothing is known\n",
        "agentgate explain 0001-7\n",
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
    let directory = folder.path().display().to_string();
    let shown = text(&double.agentgate(&["policy", "impact", &directory]).stdout);
    assert!(shown.contains(&format!("the policy in {directory} would have refused")), "{shown}");
    let Some(Said::Impact(asked)) = double.said().pop() else { panic!("nothing was asked") };
    let files: Vec<_> = asked.candidate.iter().map(|file| (file.path.as_str(), file.content.as_ref())).collect();
    assert_eq!(files, [("tools.yaml", TABLE.as_bytes())]);
    let answer = json(&double.agentgate(&["policy", "impact", "--output", "json"]));
    assert_eq!((&answer["refused"], &answer["rows"][1]["verdict"]), (&12.into(), &"pending".into()));
}

#[test]
fn a_reading_that_ends_without_its_answer_is_none() {
    let double = Answers::default().serve();
    let output = double.agentgate(&["policy", "impact"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text(&output.stderr).contains("ended the reading before it answered"), "{output:?}");
}
