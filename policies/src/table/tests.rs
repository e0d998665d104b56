//! The tool table, row by row.

use super::{Row, Table, Tag};
use agentgate_core::decide::Scope;

#[test]
fn a_row_says_tag_and_scope_and_nothing_has_a_default() {
    for (text, told) in [
        ("notes: { a: { tag: open, scope: write } }", None),
        ("notes: {}", None),
        ("{}", None),
        ("notes: { a: { tag: open } }", Some("`scope` is missing")),
        ("notes: { a: { scope: read } }", Some("`tag` is missing")),
        ("notes: { a: {} }", Some("`tag` is missing")),
        ("notes: { a: open }", Some("a map is wanted")),
        ("notes: { a: { tag: Open, scope: read } }", Some("a tag is `open`, `gated` or `blocked`")),
        ("notes: { a: { tag: open, scope: reads } }", Some("a scope is `read` or `write`")),
        ("notes: { a: { tag: open, scope: read, reason: x } }", Some("`reason` is no field here")),
        ("notes: { a: { tag: [open], scope: read } }", Some("a text is wanted")),
        ("notes:\n  a: { tag: open, scope: read }\n  a: { tag: blocked, scope: read }", Some("line 3: `a` is here twice")),
        ("notes: {}\nnotes: {}", Some("line 2: `notes` is here twice")),
        ("notes: { \"a b\": { tag: open, scope: read } }", Some("`a b` is no name of a tool")),
        ("notes: { \"a\\u200bb\": { tag: open, scope: read } }", Some("is no name of a tool")),
        ("notes: { \"\": { tag: open, scope: read } }", Some("is no name of a tool")),
        ("\"a b\": { a: { tag: open, scope: read } }", Some("the server's name")),
        ("- notes", Some("a map is wanted")),
        ("notes:", Some("a map is wanted")),
    ] {
        match (Table::read(text), told) {
            (Ok(_), None) => {}
            (Err(error), Some(told)) if error.to_string().contains(told) => {}
            (came, _) => panic!("{text}: {came:?}"),
        }
    }
}

#[test]
fn a_name_is_taken_byte_for_byte() {
    let table = Table::read(
        "s: { caf\u{e9}: { tag: open, scope: read }, cafe\u{301}: { tag: blocked, scope: write }, A: { tag: gated, scope: read } }",
    );
    let rows = &table.unwrap().0["s"];
    assert_eq!(rows["caf\u{e9}"], Row { tag: Tag::Open, scope: Scope::Read, arguments: None });
    assert_eq!(rows["cafe\u{301}"], Row { tag: Tag::Blocked, scope: Scope::Write, arguments: None });
    assert!(rows.get("a").is_none());
}
