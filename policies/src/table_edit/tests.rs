//! Edits that keep what is around them, and tables that no edit can keep.

use super::{EditError, add_server, add_tool, diff, set_arguments, set_tag};
use crate::arguments::{Arguments, Type, Types};
use crate::table::{Row, Tag};
use agentgate_core::decide::Scope;

fn arguments(names: &[(&str, &[Type])]) -> Arguments {
    let types = |types: &[Type]| if types.is_empty() { Types::Any } else { Types::Of(types.iter().copied().collect()) };
    Arguments::new(names.iter().map(|(name, of)| ((*name).to_owned(), types(of)))).unwrap()
}

fn row(arguments: Option<Arguments>) -> Row {
    Row { tag: Tag::Gated, scope: Scope::Write, arguments }
}

/// Every edit leaves all lines but its own as they were.
fn check(before: &str, came: &Result<String, EditError>, after: &str) {
    assert_eq!(came.as_deref(), Ok(after), "{before}");
}

#[test]
fn a_tag_is_changed_where_it_stands() {
    for (before, after) in [
        ("s: { a: { tag: open, scope: read } }", "s: { a: { tag: gated, scope: read } }"),
        ("# head\ns:\n  a: { scope: read, tag: open } # why\n", "# head\ns:\n  a: { scope: read, tag: gated } # why\n"),
        ("s:\n  a: { tag: open,    scope: read }\n", "s:\n  a: { tag: gated,   scope: read }\n"),
        ("s:\n  a: { tag: blocked, scope: read }\n", "s:\n  a: { tag: gated, scope: read }\n"),
        ("s:\n  a: { tag: blocked,  scope: read }\n", "s:\n  a: { tag: gated,    scope: read }\n"),
        (
            "s:\n  a:\n    # what\n    tag: open # why\n    scope: read\n",
            "s:\n  a:\n    # what\n    tag: gated # why\n    scope: read\n",
        ),
        ("s:\n  a: { tag: \"open\", scope: read }\n", "s:\n  a: { tag: gated, scope: read }\n"),
        ("\"s\": { 'a': { \"tag\": 'open', scope: read } }", "\"s\": { 'a': { \"tag\": gated, scope: read } }"),
        ("s:\r\n  a: { tag: open, scope: read }\r\n", "s:\r\n  a: { tag: gated, scope: read }\r\n"),
        (
            "# é 😀\ns: { é: { tag: open, scope: read }, a: { tag: open, scope: read } }",
            "# é 😀\ns: { é: { tag: open, scope: read }, a: { tag: gated, scope: read } }",
        ),
    ] {
        check(before, &set_tag(before, "s", "a", Tag::Gated), after);
    }
}

#[test]
fn a_tool_goes_to_the_end_of_its_server() {
    const ROW: &str = "{ tag: gated, scope: write }";
    for (before, after) in [
        ("s:\n  a: { tag: open, scope: read }\n", format!("s:\n  a: {{ tag: open, scope: read }}\n  b: {ROW} # why\n")),
        ("s:\n  a: { tag: open, scope: read }", format!("s:\n  a: {{ tag: open, scope: read }}\n  b: {ROW} # why")),
        (
            "s:\n    a: { tag: open, scope: read } # x\n    # y\nt: {}\n",
            format!("s:\n    a: {{ tag: open, scope: read }} # x\n    b: {ROW} # why\n    # y\nt: {{}}\n"),
        ),
        ("s:\n  a:\n    tag: open\n    scope: read\n", format!("s:\n  a:\n    tag: open\n    scope: read\n  b: {ROW} # why\n")),
        (
            "s:\n  a: {\n    tag: open,\n    scope: read\n  }\n",
            format!("s:\n  a: {{\n    tag: open,\n    scope: read\n  }}\n  b: {ROW} # why\n"),
        ),
        ("s: { a: { tag: open, scope: read } }", format!("s: {{ a: {{ tag: open, scope: read }}, b: {ROW} }}")),
        ("s: {}\n", format!("s:\n  b: {ROW} # why\n")),
        ("s: {} # empty\nt: {}\n", format!("s: # empty\n  b: {ROW} # why\nt: {{}}\n")),
        ("{ s: {} }", format!("{{ s: {{ b: {ROW} }} }}")),
        ("s: { a: { tag: open, scope: read }, }\n", format!("s: {{ a: {{ tag: open, scope: read }}, b: {ROW}, }}\n")),
        ("", format!("s:\n  b: {ROW} # why\n")),
        ("# head", format!("# head\n\ns:\n  b: {ROW} # why\n")),
        ("# head\n", format!("# head\n\ns:\n  b: {ROW} # why\n")),
        ("{}\n", format!("s:\n  b: {ROW} # why\n")),
        ("t:\n  a: { tag: open, scope: read }\n", format!("t:\n  a: {{ tag: open, scope: read }}\n\ns:\n  b: {ROW} # why\n")),
        ("{ t: {} }\n", format!("{{ t: {{}}, s: {{ b: {ROW} }} }}\n")),
        ("t: {}\r\n", format!("t: {{}}\r\n\r\ns:\r\n  b: {ROW} # why\r\n")),
    ] {
        check(before, &add_tool(before, "s", "b", &row(None), Some("why")), &after);
    }
}

#[test]
fn arguments_are_added_and_widened_one_by_one() {
    let id = arguments(&[("id", &[Type::Integer]), ("to", &[Type::Null, Type::String])]);
    const NEW: &str = "{ id: integer, to: [\"null\", string] }";
    for (before, after) in [
        ("s: { a: { tag: open, scope: read } } # x\n", format!("s: {{ a: {{ tag: open, scope: read, arguments: {NEW} }} }} # x\n")),
        (
            "s:\n  a:\n    tag: open\n    scope: read # x\n  b: { tag: open, scope: read }\n",
            format!("s:\n  a:\n    tag: open\n    scope: read # x\n    arguments: {NEW}\n  b: {{ tag: open, scope: read }}\n"),
        ),
        (
            "s: { a: { tag: open, scope: read, arguments: {} } }\n",
            format!("s: {{ a: {{ tag: open, scope: read, arguments: {NEW} }} }}\n"),
        ),
        (
            "s: { a: { tag: open, scope: read, arguments: { x: any, to: string } } }\n",
            "s: { a: { tag: open, scope: read, arguments: { x: any, to: [\"null\", string], id: integer } } }\n".to_owned(),
        ),
        (
            "s:\n  a:\n    arguments:\n      to: [string] # x\n      # y\n    scope: read\n    tag: open\n",
            "s:\n  a:\n    arguments:\n      to: [\"null\", string] # x\n      id: integer\n      # y\n    scope: read\n    tag: open\n".to_owned(),
        ),
        (
            "s:\n  a:\n    arguments:\n      to:\n        - string\n    scope: read\n    tag: open\n",
            "s:\n  a:\n    arguments:\n      to:\n        [\"null\", string]\n      id: integer\n    scope: read\n    tag: open\n".to_owned(),
        ),
    ] {
        check(before, &set_arguments(before, "s", "a", &id), &after);
    }
    let before = "s: { a: { tag: open, scope: read, arguments: { id: integer, to: [string, \"null\"] } } }";
    check(before, &set_arguments(before, "s", "a", &id), before);
    let alike = set_arguments(before, "s", "a", &arguments(&[("ID", &[])]));
    assert!(matches!(alike, Err(EditError::Arguments(_))), "{alike:?}");
}

#[test]
fn odd_names_are_quoted_and_bad_ones_refused() {
    let odd = arguments(&[("a b", &[]), ("no", &[Type::Null]), ("é", &[]), ("\"", &[]), ("1", &[]), ("a: #b", &[])]);
    let after = add_tool("", "s", "null", &row(Some(odd)), None).unwrap();
    assert_eq!(
        after,
        "s:\n  \"null\": { tag: gated, scope: write, arguments: { \"\\\"\": any, \"1\": any, \"a b\": any, \"a: #b\": any, \"no\": \"null\", \"é\": any } }\n"
    );
    for (server, tool) in [("s", "a b"), ("s", ""), ("a b", "t"), ("s", "a\u{200b}"), ("s", "a\nb")] {
        assert!(matches!(add_tool("", server, tool, &row(None), None), Err(EditError::Name { .. })), "{server:?} {tool:?}");
    }
    let comment = add_tool("", "s", "a", &row(None), Some("x\ny: {}")).unwrap();
    assert_eq!(comment, "s:\n  a: { tag: gated, scope: write } # xy: {}\n");
}

#[test]
fn a_key_is_as_long_as_yaml_reads_it() {
    let add = |chars: usize| add_tool("", "s", &"é".repeat(chars - 2), &row(None), None);
    assert!(add(super::KEY_CHARS_MAX).is_ok());
    assert!(matches!(add(super::KEY_CHARS_MAX + 1), Err(EditError::Name { .. })));
}

#[test]
fn what_cannot_be_done_is_an_error_and_no_text() {
    const TABLE: &str = "s:\n  a: { tag: open, scope: read }\n";
    for (came, told) in [
        (set_tag("s: [", "s", "a", Tag::Open), "it is no tool table: line 2"),
        (set_tag(TABLE, "s", "b", Tag::Open), "the table has no `b` of the server `s`"),
        (set_tag(TABLE, "t", "a", Tag::Open), "the table has no `a` of the server `t`"),
        (set_arguments(TABLE, "t", "a", &Arguments::default()), "the table has no `a`"),
        (add_tool(TABLE, "s", "a", &row(None), None), "the table has `a` already"),
        (add_server(TABLE, "s"), "the table has `s` already"),
        (set_tag("s: { a: { tag: >-\n   open\n , scope: read } }", "s", "a", Tag::Gated), "no tool table"),
        (set_tag("s:\n  a:\n    tag: >-\n      open\n    scope: read\n", "s", "a", Tag::Gated), "line 4 is written in a way"),
        (add_server("s: {}\n...\n", "t").map(|_| "a text".to_owned()), "a text"),
    ] {
        match came {
            Err(error) => assert!(error.to_string().contains(told), "wanted {told}, came {error}"),
            Ok(text) => assert_eq!(text, told),
        }
    }
}

#[test]
fn a_server_begins_without_tools() {
    for (before, after) in [("", "s: {}\n"), ("{}", "s: {}"), ("t: {}\n", "t: {}\n\ns: {}\n")] {
        check(before, &add_server(before, "s"), after);
    }
    let after = add_tool(&add_server("", "s").unwrap(), "s", "a", &row(None), None).unwrap();
    assert_eq!(after, "s:\n  a: { tag: gated, scope: write }\n");
}

#[test]
fn a_diff_is_one_that_patch_takes() {
    let before = "1\n2\n3\n4\ns: { a: { tag: open, scope: read } }";
    let after = "1\n2\n3\n4\ns: { a: { tag: gated, scope: read } }";
    let wanted = "--- a/tools.yaml\n+++ b/tools.yaml\n@@ -2,4 +2,4 @@\n 2\n 3\n 4\n\
        -s: { a: { tag: open, scope: read } }\n\\ No newline at end of file\n\
        +s: { a: { tag: gated, scope: read } }\n\\ No newline at end of file\n";
    assert_eq!(diff(before, after, "tools.yaml"), wanted);
    assert_eq!(diff(before, before, "tools.yaml"), "");
}

/// Tables that say the same in as many ways as people write.
const STYLES: [&str; 9] = [
    "s:\n  a: { tag: open, scope: read }\n  z: { tag: open, scope: read }\nt: {}\n",
    "# one\n\ns: # two\n\n  # three\n  a: { tag: open, scope: read } # four\n\n  # five\n  z: { tag: open, scope: read }\n\n# six\nt: {} # seven\n# eight",
    "s:\n    a:\n        tag: open # one\n        # two\n        scope: read # three\n\n    z:\n        scope: read\n        tag: open\nt: {}\n",
    "s: { a: { tag: open, scope: read }, z: { tag: open, scope: read } }\nt: {}\n",
    "{ s: { a: { tag: open, scope: read }, z: { tag: open, scope: read } }, t: {} }\n",
    "{\n  s: { # one\n    a: { tag: open, scope: read }, # two\n    z: { tag: open, scope: read } # three\n  }, # four\n  t: {} # five\n}\n",
    "---\n\"s\":\n  'a': {\"tag\": \"open\", 'scope': 'read'}\n  z: {tag: open, scope: read,}\nt: { }\n",
    "s:\r\n  a: { tag: open, scope: read } # \u{e9}\r\n  z: { tag: open, scope: read }\r\nt: {}\r\n",
    "t: {}\ns:\n  z: { tag: open, scope: read }\n  a: { scope: read,   tag:   open   }   # one",
];

#[test]
fn an_edit_in_any_style_takes_at_most_one_line_away() {
    let some = arguments(&[("id", &[Type::Integer]), ("to", &[])]);
    for before in STYLES {
        let edits = [
            set_tag(before, "s", "a", Tag::Blocked),
            set_arguments(before, "s", "a", &some),
            set_arguments(before, "s", "z", &some),
            add_tool(before, "s", "b", &row(Some(some.clone())), Some("why")),
            add_tool(before, "t", "b", &row(None), Some("why")),
            add_tool(before, "u", "b", &row(None), Some("why")),
            add_server(before, "u"),
        ];
        for (at, after) in edits.into_iter().enumerate() {
            let after = after.unwrap_or_else(|error| panic!("edit {at} of {before}: {error}"));
            let diff = diff(before, &after, "t");
            let gone = diff.lines().skip(2).filter(|line| line.starts_with('-')).count();
            assert!(gone <= 1 && after.matches('#').count() >= before.matches('#').count(), "edit {at}: {diff}");
        }
    }
}
