//! Each kind by its hits and its near misses, what is written in their places, and what a hostile text costs.

use super::reading::{NESTED_MAX, Written, readings};
use super::*;
use crate::json::{Bounds, Keys, read};
use alloc::format;
use alloc::vec;

/// What is found is marked as `‹kind›`, and everything else stays.
fn marked(text: &str) -> String {
    let (mut out, mut from) = (String::new(), 0);
    for hit in find(text) {
        out += &text[from..hit.start];
        out += &format!("‹{}›", hit.kind.name());
        from = hit.end;
    }
    out + &text[from..]
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(marked(text), *expected, "{text}");
    }
}

fn check_misses(texts: &[&str]) {
    for text in texts {
        assert_eq!(marked(text), *text);
    }
}

#[test]
fn email_addresses_are_found() {
    check(&[
        ("write to anna.lee+x@Mail.Example.org, today", "write to ‹email›, today"),
        ("<a@b.co>", "<‹email›>"),
        ("a@b.co.", "‹email›."),
        ("'a@b.co'", "'‹email›'"),
        ("o'brien@b.ie", "‹email›"),
        ("jürgen@münchen.de", "‹email›"),
        ("a@xn--mnchen-3ya.xn--p1ai", "‹email›"),
        ("https://x/?mail=a%40b.co&y=1", "https://x/?mail=‹email›&y=1"),
        ("a@b.co@c.de", "‹email›@c.de"),
        ("a@b.co,c@d.de", "‹email›,‹email›"),
        ("a@b.co.5", "‹email›.5"),
        ("4111111111111111@b.co", "‹email›"),
    ]);
    check_misses(&[
        "a@localhost",
        "@b.co",
        "a@",
        "a@1.2.3.4",
        "a @b.co",
        "a@b.c",
        "@scope/package",
        "a@b..co",
        "a@-.co",
        "user@host:22",
        // Known, and said in decision 0017.
        "user@[192.0.2.1]",
        "\"anna lee\"@b.co",
        "a%2540b.co",
        "a&#64;b.co",
        "a＠b.co",
        "a\u{200b}@b.co",
        "YUBiLmNv",
        "a\0@\0b\0.\0c\0o\0",
    ]);
}

#[test]
fn phones_are_found() {
    check(&[
        ("call +49 170 1234567 now", "call ‹phone› now"),
        ("+491701234567", "‹phone›"),
        ("+49 (170) 123-4567", "‹phone›"),
        ("0049 170 1234567", "‹phone›"),
        ("+1 555 123 4567 10 times", "‹phone› 10 times"),
        ("+1 (555) 123-4567", "‹phone›"),
        ("(555) 223-4567.", "‹phone›."),
        ("555-223-4567", "‹phone›"),
        ("555.223.4567", "‹phone›"),
        ("1-555-223-4567", "‹phone›"),
        ("+49\u{a0}170\u{a0}1234567", "‹phone›"),
        ("tel:+4930123456", "tel:‹phone›"),
    ]);
    check_misses(&[
        "+1234567",
        "+1234567890123456",
        "a+491701234567",
        "1+491701234567",
        "+0123456789",
        "0012345678",
        "5552234567",
        "155-223-4567",
        "555-123-4567",
        "555-223-4567-1",
        "2026-11-23 10:00",
        "10.0.0.255",
        "1.2.3.4",
        "x555-223-4567",
        "555-223-4567x",
    ]);
}

#[test]
fn cards_are_found() {
    check(&[
        ("4111111111111111", "‹card›"),
        ("pay 4111 1111 1111 1111, please", "pay ‹card›, please"),
        ("4111-1111-1111-1111", "‹card›"),
        ("3782 822463 10005", "‹card›"),
        ("378282246310005", "‹card›"),
        ("6011111111111117", "‹card›"),
        ("2223003122003222", "‹card›"),
        // Of 13 and of 19 digits.
        ("4222222222222", "‹card›"),
        ("6304000000000000000", "‹card›"),
        ("4111 1111 1111 1111 5555 5555 5555 4444", "‹card› ‹card›"),
        ("no. 12 4111 1111 1111 1111", "no. 12 ‹card›"),
        ("4111111111111111e0, 4111111111111111E+00", "‹card›e0, ‹card›E+00"),
    ]);
    check_misses(&[
        "4111111111111112",
        "411111111111",
        "41111111111111111111",
        "1111111111111117",
        "1700000000000000",
        "x4111111111111111",
        "4111111111111111x",
        "4111111111111111e",
        "4111111111111111e5",
        "4111111111111111e0x",
        "4111111111111111e+",
        "_4111111111111111",
        "4111.1111.1111.1111",
        "0.4111111111111111",
        "4111  1111 1111 1111",
        "41 11 11 11 11 11 11 11",
        "４１１１１１１１１１１１１１１１",
        "4111\u{200b}111111111111",
    ]);
}

#[test]
fn social_security_numbers_are_found() {
    check(&[("ssn 123-45-6789.", "ssn ‹ssn›."), ("123 45 6789", "‹ssn›"), ("(078-05-1120)", "(‹ssn›)")]);
    check_misses(&[
        "123456789",
        "000-45-6789",
        "666-45-6789",
        "923-45-6789",
        "123-00-6789",
        "123-45-0000",
        "123-45-67890",
        "1123-45-6789",
        "123-45 6789",
        "1-123-45-6789",
        "123-45-6789-1",
        "a123-45-6789",
    ]);
}

#[test]
fn ibans_are_found() {
    check(&[
        ("DE89370400440532013000", "‹iban›"),
        ("to DE89 3704 0044 0532 0130 00 and on", "to ‹iban› and on"),
        ("gb82 west 1234 5698 7654 32", "‹iban›"),
        ("NO9386011117947", "‹iban›"),
        ("MT84MALT011000012345MTLCAST001S", "‹iban›"),
    ]);
    check_misses(&[
        "DE89370400440532013001",
        "DE8937040044053201300",
        "DE893704004405320130000",
        "XX89370400440532013000",
        "ADE89370400440532013000",
        "GB82 WEST, 1234 5698 7654 32",
        "NO93 8601 1117 94",
    ]);
}

#[test]
fn secrets_are_found() {
    let word = |count: usize| "a1B2c3D4e5".repeat(count);
    let github = format!("token=ghp_{}", &word(4)[..36]);
    let short = format!("token=ghp_{}", &word(4)[..35]);
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----";
    check(&[
        ("AKIAIOSFODNN7EXAMPLE", "‹api_key›"),
        (&github, "token=‹api_key›"),
        ("(sk-proj-a1b2c3d4e5f6g7h8i9)", "(‹api_key›)"),
        ("xoxb-123456789012-abc", "‹api_key›"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.sig_-1", "‹jwt›"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "‹jwt›"),
        ("Authorization: Bearer abcdef0123456789", "Authorization: Bearer ‹bearer›"),
        ("bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.sig", "bearer ‹jwt›"),
        (&format!("key: {pem} end"), "key: ‹private_key› end"),
        // One that is cut has no end.
        (&pem[..40], "‹private_key›"),
    ]);
    check_misses(&[
        "AKIAIOSFODNN7EXAMPL",
        "XAKIAIOSFODNN7EXAMPLE",
        &short,
        "sk-short1",
        "sk-a-word-without-any-digit-in-it",
        "eyJhbGciOiJub25lIn0",
        "eyJhbGciOiJub25lIn0.x.y",
        "bearer of-good-news-to-everybody",
        "Bearer abcdef012345678",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "-----BEGIN private key-----",
    ]);
}

#[test]
fn the_same_has_one_spelling() {
    let normal = |text: &str| find(text).into_iter().map(|hit| hit.normal).collect::<Vec<_>>();
    for same in [
        ["A@B.Co", "A@b.co"],
        ["a%40b.co", "a@b.co"],
        ["4111 1111-1111 1111", "4111111111111111"],
        ["0049 170 1234567", "+491701234567"],
        ["(555) 223-4567", "+1 555.223.4567"],
        ["gb82 west 1234 5698 7654 32", "GB82WEST12345698765432"],
        ["123-45-6789", "123 45 6789"],
    ] {
        assert_eq!(normal(same[0]), normal(same[1]), "{same:?}");
        assert_eq!(normal(same[0]).len(), 1, "{same:?}");
    }
    assert_ne!(normal("a@b.co"), normal("A@b.co"), "a local part's case is its own");
}

fn redacted(run: impl Fn(&mut Rewriter<'_>) -> Option<Vec<u8>>) -> Option<String> {
    run(&mut Rewriter::new(How::Redact)).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn json_stays_json_and_keeps_its_other_bytes() {
    let cases = [
        (r#"{ "to" : "a@b.co" , "n":1.50,"x":"\u0041" }"#, r#"{ "to" : "[redacted:email]" , "n":1.50,"x":"\u0041" }"#),
        (r#"{"to":"a\u0040b.co"}"#, r#"{"to":"[redacted:email]"}"#),
        (r#"{"to":"\u0061@b.co\n\"x\""}"#, r#"{"to":"[redacted:email]\n\"x\""}"#),
        (r#"{"a@b.co":1}"#, r#"{"[redacted:email]":1}"#),
        (r#"{"a@b.co":1,"c@d.de":{"c@d.de":2}}"#, r#"{"[redacted:email]":1,"[redacted:email]#2":{"[redacted:email]":2}}"#),
        (r#"{"[redacted:email]":1,"c@d.de":2}"#, r#"{"[redacted:email]":1,"[redacted:email]#2":2}"#),
        (r#"{"X c@d.de":1,"x a@b.co":2}"#, r#"{"X [redacted:email]":1,"x [redacted:email]#2":2}"#),
        (r"[4111111111111111,4111111111111112]", r#"["[redacted:card]",4111111111111112]"#),
        (r"[4111111111111111.0]", r#"["[redacted:card]"]"#),
        (r"[5555555555554444e0,-5555555555554444E-0]", r#"["[redacted:card]","[redacted:card]"]"#),
        (r"[555555555555444.4e1,5.555555555554444e+15]", r#"["[redacted:card]","[redacted:card]"]"#),
        (r"[0.04111111111111111e17,411111111111111100e-2]", r#"["[redacted:card]","[redacted:card]"]"#),
        (r"[6304e15]", r#"["[redacted:card]"]"#),
        (r#"["{\"n\":5555555555554444e0}"]"#, r#"["{\"n\":[redacted:card]e0}"]"#),
        (r#"["{\"to\":\"a@b.co\"}"]"#, r#"["{\"to\":\"[redacted:email]\"}"]"#),
        (r#"{"a":"\ud83d\ude00 a@b.co \u00fc"}"#, r#"{"a":"\ud83d\ude00 [redacted:email] \u00fc"}"#),
        // Within a string, with escapes of its own.
        (
            r#"["{\"to\":\"j\\u00fcrgen@m\\u00fcnchen.example\",\"n\":\"\\u00fc\"}"]"#,
            r#"["{\"to\":\"[redacted:email]\",\"n\":\"\\u00fc\"}"]"#,
        ),
        (r#"["\"a\\u0040b.co\""]"#, r#"["\"[redacted:email]\""]"#),
        (r#"{"\"a\\u0040b.co\"":1}"#, r#"{"\"[redacted:email]\"":1}"#),
        (r#"["\"to\\na@b.co\\n\""]"#, r#"["\"to[redacted:email]\\n\""]"#),
    ];
    let bounds = Bounds { depth_max: 64, number_bytes_max: 64, values_max: 64 };
    for (json, expected) in cases {
        assert_eq!(redacted(|rewriter| rewriter.json(json.as_bytes())).as_deref(), Some(expected));
        assert!(read(expected.as_bytes(), bounds, Keys::Folded).is_ok(), "{expected}");
    }
    for same in [
        r#"{"to":"b.co","n":[5552234567,-1e5]}"#,
        "[5555555555554445e0,555555555555444.5e1,5555555555554444e4,5555555555554444e-4]",
        "[6304e16,4e99999999999999999999,4e-99999999999999999999,0.5e0,1.7e308]",
        "",
        "null",
        r#"{"a":"\ud800"}"#,
        r#"["{\"to\":\"a\\u0041b.co\",\"x\":\"@\\u0020b.co\"}"]"#,
    ] {
        assert_eq!(redacted(|rewriter| rewriter.json(same.as_bytes())), None, "{same}");
    }
}

#[test]
fn what_is_no_json_is_a_text() {
    let cases: [(&[u8], &[u8]); 13] = [
        (b"to a@b.co", b"to [redacted:email]"),
        (b"{\"to\":\"a@b.co", b"{\"to\":\"[redacted:email]"),
        (b"\xff a@b.co \xfe", b"\xff [redacted:email] \xfe"),
        (b"{\"to\":\"a@b.co\\ud800\"}", b"{\"to\":\"[redacted:email]\\ud800\"}"),
        (b"{\"to\":\"a\\u0040b.co\\ud800\"}", b"{\"to\":\"[redacted:email]\\ud800\"}"),
        (b"{\"to\":\"\\ud800\\u0061@b.co\\x\"}", b"{\"to\":\"\\ud800[redacted:email]\\x\"}"),
        // Cut in the middle.
        (b"{\"to\":\"a\\u0040b.co\", \"x", b"{\"to\":\"[redacted:email]\", \"x"),
        (b"{\"to\":\"a\\u0040b.co", b"{\"to\":\"[redacted:email]"),
        (b"{\"to\":\"a\\u0040b.co \\u00", b"{\"to\":\"[redacted:email] \\u00"),
        (b"[\"{\\\"to\\\":\\\"a\\\\u0040b.co", b"[\"{\\\"to\\\":\\\"[redacted:email]"),
        (b"\"a\\u0040b.co \xff\"", b"\"[redacted:email] \xff\""),
        (b"{\"to\":\"a\\u004b.co\\ud800", b""),
        (b"\"\\", b""),
    ];
    for (text, expected) in cases {
        let rewritten = Rewriter::new(How::Redact).json(text);
        assert_eq!(rewritten.as_deref(), Some(expected).filter(|expected| !expected.is_empty()));
    }
}

#[test]
fn strings_within_strings_are_read_to_a_depth() {
    for (nested, is_found) in [(0, true), (NESTED_MAX, true), (NESTED_MAX + 1, false)] {
        let text = format!("\"a{}u0040b.co\"", "\\".repeat(1 << nested));
        let expected = is_found.then(|| "\"[redacted:email]\"".into());
        assert_eq!(redacted(|rewriter| rewriter.json(text.as_bytes())), expected, "{text}");
    }
    let token = |_: Kind, normal: &str| normal.replace('@', "-at-");
    let same = [r#""a@b.co""#, r#""\u0061\u0040b.co""#, r#""\"\\na@b.co\"""#, r#""x\na@b.co""#];
    for json in same {
        let rewritten = Rewriter::new(How::Tokenise(&token)).json(json.as_bytes()).unwrap();
        assert!(String::from_utf8(rewritten).unwrap().contains("[email:a-at-b.co]"), "{json}");
    }
    let name = Rewriter::new(How::Tokenise(&token)).text(r"corp\nick@b.co");
    assert_eq!(name.as_deref(), Some("corp[email:nick-at-b.co]"));
}

#[test]
fn paths_and_headers_are_looked_at_as_they_are_read() {
    let cases = [
        ("/users/a%40b.co?x=1", "/users/%5Bredacted%3Aemail%5D?x=1"),
        ("/u?mail=a@b.co&n=4111+1111+1111+1111", "/u?mail=%5Bredacted%3Aemail%5D&n=%5Bredacted%3Acard%5D"),
        ("/u?tel=+491701234567", "/u?tel=%5Bredacted%3Aphone%5D"),
        ("/u?tel=%2B491701234567&%zz", "/u?tel=%5Bredacted%3Aphone%5D&%zz"),
    ];
    for (path, expected) in cases {
        assert_eq!(redacted(|rewriter| rewriter.path(path.as_bytes())).as_deref(), Some(expected));
    }
    for same in ["/api/%zz/%", "/mcp", ""] {
        assert_eq!(redacted(|rewriter| rewriter.path(same.as_bytes())), None, "{same}");
    }
    let header = |value: &str| redacted(|rewriter| rewriter.header(value.as_bytes()));
    assert_eq!(header("a@b.co").as_deref(), Some("[redacted:email]"));
    assert_eq!(header("=?base64?YUBiLmNv?=").as_deref(), Some("=?base64?W3JlZGFjdGVkOmVtYWlsXQ==?="));
    assert_eq!(header("application/json"), None);
}

#[test]
fn tokens_stand_for_what_they_are_made_of_and_are_not_found_again() {
    let token = |kind: Kind, normal: &str| format!("{}{}", kind.name().len(), normal.len());
    let mut rewriter = Rewriter::new(How::Tokenise(&token));
    let text = rewriter.text("A@B.Co and 4111 1111 1111 1111, a@b.co").unwrap();
    assert_eq!(text, "[email:56] and [card:416], [email:56]");
    assert_eq!(rewriter.counts().collect::<Vec<_>>(), vec![(Kind::Email, 2), (Kind::Card, 1)]);
    assert_eq!(rewriter.text(&text), None);
    assert_eq!(redacted(|rewriter| rewriter.text("[redacted:email]").map(String::into_bytes)), None);
}

#[test]
fn what_stands_in_a_place_is_told_from_what_was_written() {
    let token = |_: Kind, _: &str| "hbcdefghijklmnopqrst".into();
    for (how, text) in [(How::Redact, "a@b.co"), (How::Tokenise(&token), "a@b.co"), (How::Redact, "run 7 of a@b.co, [x:y]")] {
        assert!(!holds_stand_in(text));
        assert!(holds_stand_in(&Rewriter::new(how).text(text).unwrap()), "{text}");
    }
    for kind in Kind::ALL {
        assert!(holds_stand_in(&format!("a [b [redacted:{}]", kind.name())), "{kind:?}");
        assert!(holds_stand_in(&format!("[[{}:x1]", kind.name())), "{kind:?}");
    }
    for text in [
        "",
        "[",
        "[:]",
        "[redacted:]",
        "[redacted:name]",
        "[redacted:email",
        "redacted:email]",
        "[email:]",
        "[email:a b]",
        "[mail:x]",
    ] {
        assert!(!holds_stand_in(text), "{text}");
    }
}

#[test]
fn a_hostile_text_costs_no_more_than_its_length() {
    const BYTES: usize = 1 << 20;
    /// Looks at a byte, all kinds together.
    const LOOKS: u64 = 64;
    let parts = [
        "@",
        "a@",
        "%40",
        "a.a@",
        "a@a.",
        "1",
        "1 ",
        "4111 ",
        "4111111111111111e0",
        "4111111111111111e",
        "12-",
        "+1",
        "+1 ",
        "00 1",
        "555-",
        "(",
        "DE89",
        "DE89 ",
        "NO93 8",
        "eyJ",
        "eyJ.",
        "eyJ-",
        "eyJa.eyJa",
        "sk-",
        "ghp_",
        "Bearer ",
        "bearer a",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN A",
        "-----END ",
        "\\",
        "\\u0040",
        "\\u005c",
        "\\ud800",
        "\\\\na@b.co",
        "ü@ü.",
        "\u{a0}1",
    ];
    for part in parts {
        let hostile = part.repeat(BYTES / part.len());
        let readings = readings(&hostile, Written::Plain);
        assert!(readings.len() <= NESTED_MAX + 2, "{part}");
        for reading in readings {
            assert!(reading.text.len() <= hostile.len(), "what is read is no longer than what is written");
            let text = Text::new(&reading.text);
            find_in(&text);
            assert!(text.looks() <= LOOKS * BYTES as u64, "{part}: {} looks", text.looks());
        }
    }
}

#[test]
fn a_handling_has_one_name() {
    for pii in Pii::ALL {
        assert_eq!(Pii::named(pii.name()), Some(pii));
    }
    assert_eq!(Pii::named("Redact"), None);
    let names: alloc::collections::BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names.len(), Kind::ALL.len());
}
