//! The tool table, row by row.

use super::{Row, Table, Tag};
use agentgate_core::decide::Scope;

#[test]
fn a_row_says_tag_and_scope_and_nothing_has_a_default() {
    for (text, told) in [
        ("notes: { a: { tag: open, scope: write } }", None),
        ("notes: {}", None),
        ("{}", None),
        ("", None),
        ("# nothing yet\n", None),
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

/// `notes/a` with these arguments.
fn arguments(written: &str) -> Result<String, String> {
    let table = Table::read(&format!("notes: {{ a: {{ tag: open, scope: read, arguments: {written} }} }}"));
    let table = table.map_err(|error| error.to_string())?;
    let arguments = table.row("notes", "a").unwrap().arguments.clone().unwrap();
    Ok(arguments.iter().map(|(name, types)| format!("{name}={}", types.names().join("|"))).collect::<Vec<_>>().join(" "))
}

#[test]
fn arguments_have_a_type_a_list_of_types_or_any() {
    for (written, wanted) in [
        ("{}", Ok("")),
        ("{ id: integer }", Ok("id=integer")),
        ("{ b: any, a: [string, \"null\"] }", Ok("a=null|string b=any")),
        ("{ a: null, b: boolean, c: number, d: array, e: object }", Ok("a=null b=boolean c=number d=array e=object")),
        ("{ a: [string, string] }", Ok("a=string")),
        ("{ \"a b\": any }", Ok("a b=any")),
        ("{ a: strng }", Err("a type is `null`, `boolean`")),
        ("{ a: String }", Err("a type is")),
        ("{ a: [any] }", Err("`any` alone")),
        ("{ a: [] }", Err("an empty list of types")),
        ("{ a: { type: string } }", Err("a text is wanted here")),
        ("{ a: [[string]] }", Err("a text is wanted here")),
        ("[a]", Err("a map is wanted here")),
        ("a", Err("a map is wanted here")),
        ("{ a: any, A: any }", Err("line 1: the arguments `a` and `A` look alike")),
        ("{ a: any, a: any }", Err("`a` is here twice")),
        ("{ \"\": any }", Err("is no name of an argument")),
    ] {
        match (arguments(written), wanted) {
            (Ok(came), Ok(wanted)) => assert_eq!(came, wanted, "{written}"),
            (Err(came), Err(wanted)) => assert!(came.contains(wanted), "{written}: {came}"),
            (came, _) => panic!("{written}: {came:?}"),
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
