//! What is proposed from what was seen, and that proposing it again proposes nothing.

use super::{LearnError, NAME_CHARS_MAX, Proposal, SEEN_MAX, SeenTool, UNLISTED_TOLD_MAX, definition, propose};
use crate::arguments::Arguments;
use crate::bundle::Bundle;
use crate::folder;
use agentgate_core::json::Object;
use std::path::Path;

const HEAD: &str = "# head\n";

/// `server/tool`, the definition that its server lists, and how often it was called.
fn seen(name: &str, json: Option<&str>, calls: u64) -> SeenTool {
    let (server, tool) = name.split_once('/').unwrap();
    SeenTool {
        server: server.to_owned(),
        tool: tool.to_owned(),
        is_listed: json.is_some(),
        definition: json.map(|json| definition(json.as_bytes()).unwrap()),
        calls,
        arguments: Arguments::default(),
    }
}

/// The same twice: a proposal is complete, and does not depend on the order of what was seen.
fn proposal(table: &str, seen: &[SeenTool]) -> Proposal {
    let proposal = propose(table, seen).unwrap();
    let mut turned = seen.to_vec();
    turned.reverse();
    assert_eq!(propose(table, &turned).unwrap(), proposal);
    let again = propose(&proposal.table, seen).unwrap();
    assert!(again.unchanged && again.diff.is_empty() && again.table == proposal.table, "{}", again.diff);
    assert_eq!(proposal.unchanged, proposal.table == table);
    proposal
}

const READS: &str =
    r#"{"inputSchema":{"type":"object","properties":{"id":{"type":"integer"}}},"annotations":{"readOnlyHint":true}}"#;
const WRITES: &str = r#"{"inputSchema":{"type":"object","properties":{}},"annotations":{"destructiveHint":true}}"#;
const UNCLEAR: &str = r#"{"inputSchema":{"type":"object","additionalProperties":true}}"#;

#[test]
fn a_table_is_proposed_from_nothing() {
    let proposal = proposal(
        HEAD,
        &[
            seen("b/unlisted", None, 1),
            seen("a/write", Some(WRITES), 0),
            seen("a/unclear", Some(UNCLEAR), 2),
            seen("a/read", Some(READS), 12),
        ],
    );
    let wanted = "# head\n\n\
        a:\n  \
          read: { tag: open, scope: read, arguments: { id: integer } } # 12 calls, listed; readOnlyHint\n  \
          unclear: { tag: gated, scope: write } # 2 calls, listed; no hint\n  \
          write: { tag: gated, scope: write, arguments: {} } # never called, listed; destructiveHint\n\n\
        b:\n  \
          unlisted: { tag: gated, scope: write } # 1 call, never listed\n";
    assert_eq!(proposal.table, wanted);
    assert!(proposal.diff.starts_with("--- a/tools.yaml\n+++ b/tools.yaml\n"), "{}", proposal.diff);
    let [note] = proposal.notes.as_slice() else { panic!("{:?}", proposal.notes) };
    assert!(note.starts_with("`unclear` of `a`: its arguments are left out: the schema's `additionalProperties`"), "{note}");
}

#[test]
fn a_row_that_is_there_keeps_its_tag_and_its_comment() {
    const TABLE: &str = "a:\n  # ours\n  read:  { tag: blocked, scope: write } # why\n  write: { tag: open, scope: read, arguments: { x: any } }\n";
    let mut called = seen("a/read", Some(READS), 3);
    called.arguments.see(&Object::default().with("id", 1_u64).with("Idd", 1_u64));
    let proposal = proposal(TABLE, &[called, seen("a/write", Some(WRITES), 0), seen("a/new", Some(WRITES), 2)]);
    let wanted = "a:\n  # ours\n  \
        read:  { tag: blocked, scope: write, arguments: { id: integer } } # why\n  \
        write: { tag: open, scope: read, arguments: { x: any } }\n  \
        new: { tag: gated, scope: write, arguments: {} } # 2 calls, listed; destructiveHint\n";
    assert_eq!(proposal.table, wanted);
    assert_eq!(
        proposal.notes,
        [
            "`read` of `a` was called with `Idd`, which is none of its arguments",
            "`write` of `a`: its row has the argument `x`, its schema has not",
        ]
    );
}

#[test]
fn what_differs_from_the_schema_is_named_and_left() {
    const TABLE: &str = "a: { read: { tag: open, scope: read, arguments: { id: string, more: any } } }";
    const SCHEMA: &str = r#"{"inputSchema":{"type":"object","properties":{"id":{"type":"integer"},"to":{"type":"string"}}}}"#;
    let proposal = proposal(TABLE, &[seen("a/read", Some(SCHEMA), 0)]);
    assert!(proposal.unchanged);
    assert_eq!(
        proposal.notes,
        [
            "`read` of `a`: its row has the argument `more`, its schema has not",
            "`read` of `a`: `id` is string in its row, and integer in its schema",
            "`read` of `a`: its schema has the argument `to` (string), its row has not",
        ]
    );
}

#[test]
fn a_name_that_no_table_can_hold_is_named_and_never_written() {
    let long = format!("a/{}", "x".repeat(3_000));
    let proposal = proposal(
        HEAD,
        &[seen("a/b c", None, 1), seen("a/x\u{202e}y", Some(READS), 0), seen("a/", None, 0), seen(&long, None, 0)],
    );
    assert!(proposal.unchanged);
    assert_eq!(proposal.notes.len(), 4);
    assert!(
        proposal
            .notes
            .contains(&"`x\\u{202e}y` of `a` has a name that the table cannot hold, so every call of it is refused".to_owned())
    );
    assert!(
        proposal.notes.iter().any(|note| note.starts_with(&format!("`{}…`", "x".repeat(NAME_CHARS_MAX)))),
        "{:?}",
        proposal.notes
    );
}

#[test]
fn a_name_that_an_agent_made_up_is_named_and_gets_no_row() {
    // Of `b` no list was seen: what is called there may be a tool.
    let mut all = vec![seen("a/read", Some(READS), 1), seen("a/nonexist", None, 1), seen("b/call", None, 2)];
    let proposed = proposal("", &all);
    assert!(proposed.table.contains("  read: {") && proposed.table.contains("  call: {"), "{}", proposed.table);
    assert!(!proposed.table.contains("nonexist"), "{}", proposed.table);
    let said = |names: &str| {
        format!("called, and not listed by its server `a`: {names}; no row is proposed, so every call of it is refused")
    };
    assert_eq!(proposed.notes, [said("`nonexist` (1 call)")]);
    // One that is listed without a definition that can be read, and one that has a row already.
    let listed = SeenTool { is_listed: true, ..seen("a/nonexist", None, 1) };
    assert!(
        proposal("", &[all[0].clone(), listed]).table.contains("nonexist: { tag: gated, scope: write } # 1 call, never listed")
    );
    let table = "a:\n  nonexist: { tag: open, scope: read }\n";
    assert_eq!(proposal(table, &all).notes, Vec::<String>::new());
    for (count, ending) in [(UNLISTED_TOLD_MAX, "`n7` (2 calls)"), (UNLISTED_TOLD_MAX + 2, "`n7` (2 calls), and 2 more")] {
        all.truncate(1);
        all.extend((0..count).map(|n| seen(&format!("a/n{n}"), None, 2)));
        let notes = proposal("", &all).notes;
        assert!(notes.len() == 1 && notes[0].contains(&format!("{ending}; no row")), "{notes:?}");
    }
}

#[test]
fn what_was_seen_twice_is_one_tool() {
    let proposal = proposal("", &[seen("a/read", None, 2), seen("a/read", Some(READS), 3)]);
    assert_eq!(
        proposal.table,
        "a:\n  read: { tag: open, scope: read, arguments: { id: integer } } # 5 calls, listed; readOnlyHint\n"
    );
}

#[test]
fn a_proposal_is_bounded_and_needs_a_table() {
    let many = |count: usize| (0..count).map(|n| seen(&format!("a/t{n}"), None, 0)).collect::<Vec<_>>();
    assert!(propose(HEAD, &many(SEEN_MAX)).is_ok());
    assert!(matches!(propose(HEAD, &many(SEEN_MAX + 1)), Err(LearnError::TooMany)));
    let long: Vec<_> = (0..1_100).map(|n| seen(&format!("a/t{n}{}", "x".repeat(950)), None, 0)).collect();
    assert!(matches!(propose(HEAD, &long), Err(LearnError::TooLarge)));
    assert!(propose(HEAD, &long[..1_000]).is_ok());
    let error = propose("a: [", &[]).unwrap_err().to_string();
    assert!(error.contains("`tools.yaml` cannot be edited: it is no tool table: line"), "{error}");
}

#[test]
fn a_proposal_for_a_policy_without_cases_for_it_loads_and_passes() {
    let folder = |name: &str| folder::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    for name in ["default", "start"] {
        let bundle = Bundle::load(folder(name)).unwrap();
        let proposal = proposal(bundle.table(), &[seen("mine/read", Some(READS), 1), seen("mine/write", Some(WRITES), 1)]);
        let learnt = bundle.with_table(&proposal.table).unwrap();
        assert!(!proposal.unchanged && learnt.try_cases().passed(), "{name}");
    }
}
