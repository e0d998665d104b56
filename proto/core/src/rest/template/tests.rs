//! Which texts are templates, and which two could be taken for one.

extern crate std;
use super::{SEGMENTS_MAX, Template};
use std::string::ToString;

#[test]
fn a_template_is_one_that_can_be_read_in_one_way() {
    for (text, wanted) in [
        ("/", ""),
        ("/invoices", ""),
        ("/invoices/", ""),
        ("/invoices/{id}", ""),
        ("/invoices/{id:integer}/lines/{line:string}", ""),
        ("/a-._~!$&'()*,=:@", ""),
        ("", "it must begin with a slash"),
        ("invoices", "it must begin with a slash"),
        ("/a//b", FORM),
        ("/a/../b", FORM),
        ("/a/.", FORM),
        ("/a?b=c", FORM),
        ("/a#b", FORM),
        ("/a;b", FORM),
        ("/a%20b", FORM),
        ("/a+b", FORM),
        ("/a b", FORM),
        ("/é", FORM),
        ("/{id}.json", "`{id}.json` is neither fixed nor one name in braces: `{id}`, `{id:integer}`"),
        ("/{id}:cancel", "`{id}:cancel` is neither fixed nor one name in braces: `{id}`, `{id:integer}`"),
        ("/{a}{b}", "`{a}{b}` is neither fixed nor one name in braces: `{id}`, `{id:integer}`"),
        ("/{a", "`{a` is neither fixed nor one name in braces: `{id}`, `{id:integer}`"),
        ("/{id:int}", "`int` is no type of a segment: take one of string, integer, number, boolean"),
        ("/{id:array}", "`array` is no type of a segment: take one of string, integer, number, boolean"),
        ("/{id:}", "`` is no type of a segment: take one of string, integer, number, boolean"),
    ] {
        let said = Template::parse(text).map_or_else(|error| error.to_string(), |_| "".to_string());
        assert_eq!(said, wanted, "{text}");
    }
}

const FORM: &str = "it has an empty segment, a dot segment, a query, or a character that has to be encoded";

#[test]
fn a_template_has_a_bound() {
    for (count, taken) in [(SEGMENTS_MAX, true), (SEGMENTS_MAX + 1, false)] {
        assert_eq!(Template::parse(&"/a".repeat(count)).is_ok(), taken, "{count}");
    }
}

#[test]
fn two_templates_overlap_where_one_path_could_be_taken_for_both() {
    for (one, other, overlap) in [
        ("/a/{x}", "/a/b", true),
        ("/a/{x}", "/a/{y}", true),
        ("/a/{x}", "/{y}/b", true),
        ("/a/{x}/c", "/a/b/d", false),
        ("/a/{x}", "/a/b/c", false),
        ("/a/{x}", "/a", false),
        ("/a/b", "/a/B", true),
        ("/a/b", "/a/b/", true),
        ("/a/{x}", "/a/b/", true),
        ("/a/{x:integer}", "/a/new", false),
        ("/a/{x:integer}", "/a/7", true),
        ("/a/{x:integer}", "/a/7.0", false),
        ("/a/{x:number}", "/a/7.0", true),
        ("/a/{x:integer}", "/a/{y:number}", true),
        ("/a/{x:integer}", "/a/{y:boolean}", false),
        ("/a/{x:integer}", "/a/{y}", true),
        ("/a/{x:boolean}", "/a/TRUE", true),
        ("/a/{x:boolean}", "/a/yes", false),
        ("/", "/{x}", false),
    ] {
        let (a, b) = (Template::parse(one).unwrap(), Template::parse(other).unwrap());
        assert_eq!((a.overlaps(&b), b.overlaps(&a)), (overlap, overlap), "{one} {other}");
    }
}
