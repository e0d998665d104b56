//! Each fault and each bound, on both sides.

extern crate std;
use super::*;
use std::string::ToString;
use std::time::Duration;
use std::vec::Vec;

const BOUNDS: Bounds = Bounds { depth_max: 4, number_bytes_max: 8, values_max: 6 };

/// What `text` is read as, written back; or its fault.
fn check(text: &str, expected: Result<&str, Fault>) {
    let found = read(text.as_bytes(), BOUNDS, Keys::Folded).map(|json| json.to_string());
    assert_eq!(found.as_deref().map_err(|fault| *fault), expected, "{text}");
}

#[test]
fn what_is_read_is_written_back() {
    for text in ["null", "true", "false", "0", "-0", "1.50", "1e9", "\"\"", "[]", "{}", r#"{"b":[1,{"a":"é"}],"a":null}"#] {
        check(text, Ok(text));
    }
    check(" [ 1 ,\t2 ]\r\n", Ok("[1,2]"));
    check(r#""\u00e9\ud83d\ude00\/\b\f\n\r\t\u0001\"\\""#, Ok("\"é😀/\\b\\f\\n\\r\\t\\u0001\\\"\\\\\""));
}

#[test]
fn every_fault_is_named() {
    for (text, fault) in [
        ("", Fault::Empty),
        ("\u{feff}1", Fault::ByteOrderMark),
        ("{", Fault::Truncated),
        ("[1,", Fault::Truncated),
        ("\"a\\ud83d", Fault::Truncated),
        ("tru", Fault::Truncated),
        ("-", Fault::Truncated),
        ("1.", Fault::Truncated),
        ("1e+", Fault::Truncated),
        ("trux", Fault::NotJson),
        ("01", Fault::NotJson),
        ("[1.]", Fault::NotJson),
        ("[1,]", Fault::NotJson),
        ("{\"a\":1,}", Fault::NotJson),
        ("{1:1}", Fault::NotJson),
        ("\"\u{1f}\"", Fault::NotJson),
        ("\"\\é\"", Fault::NotJson),
        ("\"\\u00g0\"", Fault::NotJson),
        ("1 2", Fault::TrailingData),
        ("1\u{a0}", Fault::TrailingData),
        (r#""\ud83dx""#, Fault::LoneSurrogate),
        (r#""\udc00""#, Fault::LoneSurrogate),
        (r#"{"a":1,"b":2,"a":3}"#, Fault::DuplicateKey),
        (r#"{"a":1,"b":2,"A":3}"#, Fault::FoldedKey),
        (r#"{"__proto__":1}"#, Fault::ProtoKey),
        (r#"{"__PROTO\u0000__":1}"#, Fault::ProtoKey),
    ] {
        check(text, Err(fault));
    }
    assert_eq!(read(b"\"\xff\"", BOUNDS, Keys::Folded), Err(Fault::NotUtf8));
}

#[test]
fn every_bound_holds_on_both_sides() {
    check("[[[[]]]]", Ok("[[[[]]]]"));
    check("[[[[[]]]]]", Err(Fault::TooDeep));
    check("12345678", Ok("12345678"));
    check("123456789", Err(Fault::NumberTooLong));
    check("[1,2,3,4,5]", Ok("[1,2,3,4,5]"));
    check("[1,2,3,4,5,6]", Err(Fault::TooManyValues));
}

#[test]
fn no_caller_can_lift_the_bound_of_the_stack() {
    let bounds = Bounds { depth_max: usize::MAX, ..BOUNDS };
    let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    let bounds = Bounds { values_max: usize::MAX, ..bounds };
    assert!(read(nested(DEPTH_MAX).as_bytes(), bounds, Keys::Folded).is_ok());
    assert_eq!(read(nested(DEPTH_MAX + 1).as_bytes(), bounds, Keys::Folded), Err(Fault::TooDeep));
}

#[test]
fn a_servers_keys_need_only_be_distinct() {
    let exact = |text: &str| read(text.as_bytes(), BOUNDS, Keys::Exact).map(|json| json.to_string());
    assert_eq!(exact(r#"{"a":1,"A":2,"__proto__":3}"#).as_deref(), Ok(r#"{"a":1,"A":2,"__proto__":3}"#));
    assert_eq!(exact(r#"{"a":1,"a":2}"#), Err(Fault::DuplicateKey));
}

#[test]
fn a_private_number_of_a_library_is_only_an_object() {
    let text = r#"{"$serde_json::private::Number":"1"}"#;
    let json = read(text.as_bytes(), Bounds { number_bytes_max: 64, ..BOUNDS }, Keys::Folded).unwrap();
    assert!(json.as_object().is_some_and(|object| object.len() == 1));
}

#[test]
fn numbers_that_64_bits_hold_are_exact() {
    for text in [
        "0",
        "-0",
        "-0.0",
        "0e99",
        "1",
        "1.0",
        "1e2",
        "0.1",
        "-1.5e10",
        "1E+2",
        "100e-2",
        "123456789.125",
        "18446744073709551615",
        "-9223372036854775808",
        "9007199254740993",
        "1e22",
        "5e-324",
        "1.7976931348623157e308",
    ] {
        assert!(Number::parse(text).unwrap().is_exact(), "{text}");
    }
    for text in [
        "18446744073709551616",
        "-9223372036854775809",
        "9007199254740993.0",
        "0.10000000000000000001",
        "1e400",
        "-1e400",
        "1e-400",
        "3e-324",
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "123456789012345678e2",
    ] {
        assert!(!Number::parse(text).unwrap().is_exact(), "{text}");
    }
    for (text, is_exact) in [
        ("9007199254740991", true),
        ("9007199254740992", false),
        ("-9007199254740991", true),
        ("-9007199254740992", false),
        ("18446744073709551615", false),
        ("-0", true),
        ("1e22", true),
        ("9007199254740993.0", false),
    ] {
        assert_eq!(Number::parse(text).unwrap().is_exact_everywhere(), is_exact, "{text}");
    }
    for text in ["", "-", "01", ".5", "5.", "1e", "+1", "0x1", "1 ", "Infinity"] {
        assert_eq!(Number::parse(text), None, "{text}");
    }
}

#[test]
fn a_body_of_keys_alone_costs_no_more_than_any_other() {
    let keys: Vec<_> = (0..60_000).map(|n| std::format!("\"K{n}\":0")).collect();
    let text = std::format!("{{{}}}", keys.join(","));
    let bounds = Bounds { values_max: 100_000, ..BOUNDS };
    #[expect(clippy::disallowed_methods, reason = "measures work, which has no other clock")]
    let begin = std::time::Instant::now();
    assert!(read(text.as_bytes(), bounds, Keys::Folded).is_ok());
    // Quadratic comparison takes minutes; this takes some 50 ms unoptimised.
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_member_keeps_its_place() {
    let mut object = Object::default().with("a", "x").with("b", true).with("c", 7);
    object.set("a", "y");
    object.remove("b");
    assert_eq!(object.to_string(), r#"{"a":"y","c":7}"#);
    assert!(object.get_mut("b").is_none());
}
