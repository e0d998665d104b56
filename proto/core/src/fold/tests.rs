//! Folding is at least as coarse as Unicode's own, for every character there is.

extern crate std;
use super::*;
use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};
use std::string::ToString;
use std::vec::Vec;

fn every_char() -> impl Iterator<Item = char> {
    (0..=0x10_ffff).filter_map(char::from_u32)
}

fn class(pattern: &str) -> Vec<char> {
    let hir = regex_syntax::parse(pattern).unwrap();
    let regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(class)) = hir.kind() else {
        panic!("{pattern} is no class");
    };
    class.ranges().iter().flat_map(|range| range.start()..=range.end()).collect()
}

#[test]
fn what_simple_case_folding_equates_has_one_fold() {
    let mut orbits = 0;
    for c in every_char() {
        let mut orbit = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
        orbit.case_fold_simple();
        if orbit.ranges().len() == 1 && orbit.ranges()[0].len() == 1 {
            continue;
        }
        for other in orbit.ranges().iter().flat_map(|range| range.start()..=range.end()) {
            orbits += usize::from(other != c);
            assert_eq!(key(&c.to_string()), key(&other.to_string()), "{c:?} and {other:?}");
        }
    }
    assert!(orbits > 2_500, "the table of foldings is not there: {orbits} pairs");
}

#[test]
fn every_control_format_and_ignorable_character_is_unseen() {
    for c in class(r"[\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]") {
        assert!(is_unseen(c), "{c:?}");
        assert_eq!(key(&std::format!("na{c}me")), "name");
    }
}

#[test]
fn the_folds_that_have_been_used_in_attacks_are_known() {
    for (one, other) in [
        ("param\u{17f}", "params"),
        ("to\u{212a}en", "token"),
        ("NAME", "name"),
        ("name\u{0}", "name"),
        ("stra\u{df}e", "STRASSE"),
        ("t\u{131}tle", "title"),
        ("t\u{130}tle", "title"),
        ("progre\u{df}", "progress"),
    ] {
        assert_eq!(key(one), key(other), "{one:?} and {other:?}");
    }
    for (one, other) in [("name", "names"), ("n\u{e4}me", "name"), ("task_id", "taskid"), ("a b", "ab")] {
        assert_ne!(key(one), key(other), "{one:?} and {other:?}");
    }
    for other in ["a.b", "a b", "A.B", "a[b", "a\u{200b}.b"] {
        assert_eq!(form_key(other), form_key("a_b"), "{other:?}");
    }
    assert_ne!(form_key("a-b"), form_key("a_b"));
    assert_eq!(protocol_key("task_id"), protocol_key("taskId"));
    assert_eq!(protocol_key("_meta"), protocol_key("META"));
}

#[test]
fn folding_twice_is_folding_once() {
    for c in every_char() {
        let once = key(&c.to_string()).into_owned();
        assert_eq!(key(&once), once, "{c:?}");
    }
}

#[test]
fn a_plain_name_is_composed_and_all_of_it_is_seen() {
    for plain in ["search", "größe", "a b", "日本語", "file:///a%20b"] {
        assert!(is_plain(plain), "{plain:?}");
    }
    for odd in ["", " a", "a ", "\u{a0}a", "gro\u{308}ße", "a\u{0}", "a\u{200b}b", "a\u{2028}b", "a\u{202e}b", "\u{212b}"] {
        assert!(!is_plain(odd), "{odd:?}");
    }
}
