//! What a server's own words come to, and what is left out of them.

use super::{DEFINITION_BYTES_MAX, DefinitionError, definition};
use crate::table::Tag;
use crate::table_edit;
use agentgate_core::decide::Scope;

/// The arguments as a table has them, or why they are unknown.
fn arguments(schema: &str) -> Result<String, String> {
    let read = definition(format!("{{\"name\":\"t\",\"inputSchema\":{schema}}}").as_bytes()).unwrap();
    match read.arguments {
        Some(arguments) => Ok(table_edit::arguments_text(&arguments)),
        None => Err(read.notes.join("; ")),
    }
}

#[test]
fn a_schema_says_names_and_types_or_nothing_for_certain() {
    for (schema, wanted) in [
        (r#"{"type":"object","properties":{}}"#, Ok("{}")),
        (r#"{"type":"object","additionalProperties":false}"#, Ok("{}")),
        (
            r#"{"type":"object","properties":{"id":{"type":"integer"},"to":{"type":["string","null"]}}}"#,
            Ok("{ id: integer, to: [\"null\", string] }"),
        ),
        (
            r#"{"type":"object","properties":{"id":{"anyOf":[{"type":"integer"},{"type":"null"}]}}}"#,
            Ok("{ id: [\"null\", integer] }"),
        ),
        (r##"{"type":"object","properties":{"id":{"oneOf":[{"type":"integer"},{"$ref":"#/x"}]}}}"##, Ok("{ id: any }")),
        (
            r##"{"type":"object","properties":{"id":{"$ref":"#/x"},"b":{},"c":true,"d":{"enum":[1]},"e":{"type":"int"},"f":{"type":[]}}}"##,
            Ok("{ b: any, c: any, d: any, e: any, f: any, id: any }"),
        ),
        (
            r#"{"type":"object","properties":{"a":{"type":"string","anyOf":[{"type":"null"}]}},"required":["a"],"title":"x","$schema":"y","$defs":{}}"#,
            Ok("{ a: string }"),
        ),
        (r#"{"type":"object"}"#, Err("allows any")),
        (r#"{"type":"object","properties":{},"additionalProperties":true}"#, Err("`additionalProperties` allow any other")),
        (
            r#"{"type":"object","properties":{},"additionalProperties":{"type":"string"}}"#,
            Err("`additionalProperties` allow any other"),
        ),
        (r#"{"type":"object","properties":{},"patternProperties":{"^x":{}}}"#, Err("the schema has `patternProperties`")),
        (r##"{"type":"object","properties":{},"$ref":"#/$defs/x"}"##, Err("the schema has `$ref`")),
        (r#"{"type":"object","properties":{},"allOf":[]}"#, Err("the schema has `allOf`")),
        (r#"{"properties":{}}"#, Err("`type` is not `object`")),
        (r#"{"type":["object"],"properties":{}}"#, Err("`type` is not `object`")),
        (r#"{"type":"object","properties":[]}"#, Err("`properties` are no object")),
        (r#"{"type":"object","properties":{"a":{},"A":{}}}"#, Err("`a` and `A` look alike")),
        (r#"{"type":"object","properties":{"a\u200b":{}}}"#, Err("`a\\u{200b}` is no name of an argument")),
        ("1", Err("there is no `inputSchema`")),
    ] {
        match (arguments(schema), wanted) {
            (Ok(came), Ok(wanted)) => assert_eq!(came, wanted, "{schema}"),
            (Err(came), Err(wanted)) => assert!(came.contains(wanted), "{schema}: {came}"),
            (came, _) => panic!("{schema}: {came:?}"),
        }
    }
}

#[test]
fn only_what_says_that_it_reads_and_destroys_nothing_is_open() {
    for (annotations, tag, scope, notes) in [
        ("{}", Tag::Gated, Scope::Write, 1),
        (r#"{"readOnlyHint":true}"#, Tag::Open, Scope::Read, 1),
        (r#"{"readOnlyHint":true,"destructiveHint":false}"#, Tag::Open, Scope::Read, 1),
        (r#"{"readOnlyHint":true,"destructiveHint":true}"#, Tag::Gated, Scope::Write, 1),
        (r#"{"readOnlyHint":false,"destructiveHint":false}"#, Tag::Gated, Scope::Write, 1),
        (r#"{"destructiveHint":false}"#, Tag::Gated, Scope::Write, 1),
        (r#"{"readOnlyHint":"true"}"#, Tag::Gated, Scope::Write, 2),
        (r#"{"readOnlyHint":true,"destructiveHint":1}"#, Tag::Open, Scope::Read, 2),
        ("[]", Tag::Gated, Scope::Write, 1),
    ] {
        let read = definition(format!("{{\"annotations\":{annotations}}}").as_bytes()).unwrap();
        assert_eq!((read.tag(), read.scope(), read.notes.len()), (tag, scope, notes), "{annotations}: {:?}", read.notes);
    }
}

#[test]
fn what_is_no_definition_is_an_error_and_a_definition_is_bounded() {
    for (json, wanted) in
        [("[]", "is no object"), ("{", "cannot be read"), ("{\"a\":1,\"a\":1}", "cannot be read"), ("", "cannot be read")]
    {
        assert!(definition(json.as_bytes()).unwrap_err().to_string().contains(wanted), "{json}");
    }
    let long = |bytes: usize| {
        let empty = "{\"description\":\"\"}";
        definition(format!("{{\"description\":\"{}\"}}", "x".repeat(bytes - empty.len())).as_bytes())
    };
    assert!(long(DEFINITION_BYTES_MAX).is_ok());
    assert_eq!(long(DEFINITION_BYTES_MAX + 1), Err(DefinitionError::TooLarge));
    let deep = |depth: usize| definition(format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth)).as_bytes());
    assert!(deep(super::BOUNDS.depth_max - 1).is_ok() && deep(super::BOUNDS.depth_max).is_err());
    let many = |values: usize| definition(format!("{{\"a\":[{}1]}}", "1,".repeat(values - 3)).as_bytes());
    assert!(many(super::BOUNDS.values_max).is_ok() && many(super::BOUNDS.values_max + 1).is_err());
    let number = |digits: usize| definition(format!("{{\"a\":{}}}", "1".repeat(digits)).as_bytes());
    assert!(number(super::BOUNDS.number_bytes_max).is_ok() && number(super::BOUNDS.number_bytes_max + 1).is_err());
}
