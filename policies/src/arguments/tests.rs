//! Types and names of arguments, both sides of each.

use super::{ARGUMENT_BYTES_MAX, ARGUMENTS_MAX, Arguments, Type, Types};
use agentgate_core::json::{Json, Number, Object};

#[test]
fn a_value_is_of_its_types_and_of_no_other() {
    let number = |text: &str| Json::Number(Number::parse(text).unwrap());
    let values = [
        (Type::Null, Json::Null),
        (Type::Boolean, Json::Bool(false)),
        (Type::Integer, number("7")),
        (Type::Number, number("7.5")),
        (Type::String, Json::from("7")),
        (Type::Array, Json::from(vec![])),
        (Type::Object, Json::from(Object::default())),
    ];
    for (kind, value) in &values {
        assert_eq!(Type::of(value), *kind);
        for (other, _) in &values {
            let takes = kind == other || (*kind == Type::Integer && *other == Type::Number);
            assert_eq!(Types::one(*other).takes(value), takes, "{kind:?} as {other:?}");
        }
        assert!(Types::Any.takes(value));
    }
    for text in ["1.0", "1e0", "1E2"] {
        assert!(!Types::one(Type::Integer).takes(&number(text)) && Types::one(Type::Number).takes(&number(text)), "{text}");
    }
    assert!(Type::ALL.into_iter().all(|kind| Type::parse(kind.name()) == Some(kind)));
    assert_eq!((Type::parse("any"), Type::parse("String")), (None, None));
}

#[test]
fn names_are_plain_and_do_not_look_alike() {
    let of = |names: &[&str]| Arguments::new(names.iter().map(|name| ((*name).to_owned(), Types::Any)));
    for (names, told) in [
        (vec!["id", "path", "a b", "été", "x_y", "x-y"], None),
        (vec!["id", "Id"], Some("the arguments `id` and `Id` look alike")),
        (vec!["id", "ıd"], Some("look alike")),
        (vec![""], Some("is no name of an argument")),
        (vec!["a\u{200b}b"], Some("`a\\u{200b}b` is no name")),
        (vec!["e\u{301}"], Some("is no name")),
        (vec![" a"], Some("is no name")),
    ] {
        match (of(&names), told) {
            (Ok(arguments), None) => assert_eq!(arguments.len(), names.len()),
            (Err(error), Some(told)) if error.to_string().contains(told) => {}
            (came, _) => panic!("{names:?}: {came:?}"),
        }
    }
}

#[test]
fn names_are_counted_and_bounded_in_length() {
    let many = |count: usize| Arguments::new((0..count).map(|n| (format!("a{n}"), Types::Any)));
    assert!(many(ARGUMENTS_MAX).is_ok() && many(ARGUMENTS_MAX + 1).is_err());
    let long = |bytes: usize| Arguments::new([("a".repeat(bytes), Types::Any)]);
    assert!(long(ARGUMENT_BYTES_MAX).is_ok() && long(ARGUMENT_BYTES_MAX + 1).is_err());
}

#[test]
fn what_was_seen_widens_what_is_known() {
    let mut seen = Arguments::default();
    seen.see(&Object::default().with("id", 7_u64).with("to", "ann"));
    seen.see(&Object::default().with("id", Json::Null).with("Id", 1_u64));
    assert_eq!(seen.get("id"), Some(&Types::Of([Type::Null, Type::Integer].into())));
    assert_eq!((seen.get("to"), seen.get("Id")), (Some(&Types::one(Type::String)), None));
}
