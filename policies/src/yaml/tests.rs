//! What is YAML here, and what is not.

use super::{DEPTH_MAX, read};
use agentgate_core::json::{Json, Number};

#[test]
fn what_means_two_things_is_refused_with_its_line() {
    for (text, line, what) in [
        ("", 1, "nothing is written"),
        ("# only a comment\n", 1, "nothing is written"),
        ("a: 1\nb: 2\na: 3\n", 3, "`a` is here twice"),
        ("a: 1\n\"a\": 3\n", 2, "`a` is here twice"),
        ("a: &x 1\nb: 2\n", 1, "an anchor or an alias"),
        ("a: &x [1]\nb: *x\n", 1, "an anchor or an alias"),
        ("a: !!str 1\n", 1, "a tag"),
        ("a: !own {b: 1}\n", 1, "a tag"),
        ("a: 1\n---\nb: 1\n", 3, "a second document"),
        ("? [a]\n: 1\n", 1, "a key that is a list or a map"),
        ("a: [1\n", 2, ""),
        ("a: 1\n\tb: 2\n", 1, "found a tab"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.line == line && error.what.contains(what), "{text:?}: {error}");
    }
}

#[test]
fn lists_and_maps_are_bounded_in_depth() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(DEPTH_MAX + 1)).is_ok());
    assert!(read(&nested(DEPTH_MAX + 2)).unwrap_err().what.contains("inside each other"));
    assert!(read(&nested(100_000)).is_err());
}

#[test]
fn a_scalar_is_what_json_would_write() {
    let number = |text: &str| Json::Number(Number::parse(text).unwrap());
    for (text, json) in [
        ("1", number("1")),
        ("-1.5e3", number("-1.5e3")),
        ("18446744073709551617", number("18446744073709551617")),
        ("01", Json::from("01")),
        ("0x10", Json::from("0x10")),
        ("1_000", Json::from("1_000")),
        (".5", Json::from(".5")),
        ("\"1\"", Json::from("1")),
        ("'true'", Json::from("true")),
        ("true", Json::Bool(true)),
        ("no", Json::from("no")),
        ("null", Json::Null),
        ("~", Json::from("~")),
        ("|\n  a\n  b\n", Json::from("a\nb\n")),
    ] {
        assert_eq!(read(text).unwrap().to_json(), json, "{text}");
    }
}
