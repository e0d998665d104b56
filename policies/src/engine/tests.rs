//! What the engine must do, whatever the next version of it does.

use super::{Answer, Document, Engine, Failure, INSTRUCTIONS_MAX, PATTERNS_MAX};
use agentgate_core::json::{Json, Number, Object};
use std::num::NonZeroU32;

fn engine(rules: &str, limit: NonZeroU32) -> Engine {
    let rego = vec![("rego/p.rego".to_owned(), format!("package p\n\n{rules}\n"))];
    Engine::new(&rego, Document::object([]), limit).unwrap()
}

fn input(json: &Object) -> Document {
    Document::of_object(json).unwrap()
}

/// Whether `data.p.said` holds `yes`, over an input with `x` in it.
fn says(rules: &str, x: impl Into<Json>) -> Result<bool, Failure> {
    let answer = engine(rules, INSTRUCTIONS_MAX).evaluate("data.p.said", input(&Object::default().with("x", x)))?;
    Ok(answer == Answer::Set(vec![Answer::Text("yes".to_owned())]))
}

#[test]
fn a_builtin_that_fails_is_an_error_and_never_an_allow() {
    const RULES: &str = r#"
        dangerous if regex.match("rm", input.x)
        said contains "yes" if not dangerous
    "#;
    // A list is no text, so the match fails. It is `rm` all the same.
    let x = || input(&Object::default().with("x", vec![Json::from("rm")]));
    let mut lenient = engine(RULES, INSTRUCTIONS_MAX);
    lenient.make_lenient();
    assert_eq!(lenient.evaluate("data.p.said", x()), Ok(Answer::Set(vec![Answer::Text("yes".to_owned())])), "the trap is real");
    let ours = engine(RULES, INSTRUCTIONS_MAX).evaluate("data.p.said", x());
    assert!(matches!(&ours, Err(Failure::Error(what)) if what.starts_with("rego/p.rego:4:")), "{ours:?}");
}

#[test]
fn builtins_fail_loudly_wherever_they_stand() {
    for rules in [
        r#"said contains "yes" if not startswith(input.x, "a")"#,
        r#"said contains "yes" if { every y in [1] { not startswith(input.x, "a"); y == 1 } }"#,
        r#"said contains "yes" if count([1 | startswith(input.x, "a")]) == 0"#,
        "f(x) if startswith(x, \"a\")\nsaid contains \"yes\" if not f(input.x)",
        "f(x) if x == 2\nf(x) if startswith(x, \"a\")\nsaid contains \"yes\" if not f(input.x)",
        r#"said contains "yes" if not to_number(input.x)"#,
        r#"said contains "yes" if not 1 / (input.x[0] - 1) == 2"#,
        r#"said contains "yes" if not sum(input.x[0]) == 1"#,
    ] {
        assert!(
            matches!(says(rules, vec![Json::from(1)]), Err(Failure::Error(_))),
            "{rules}: {:?}",
            says(rules, vec![Json::from(1)])
        );
    }
}

#[test]
fn patterns_know_case_and_unicode() {
    for (pattern, text, matches) in [
        ("(?i)password", "my PassWord", true),
        ("(?i)straße", "STRASSE", false),
        ("(?i)é", "É", true),
        (r"^\p{Greek}+$", "αβγ", true),
        (r"\bkey\b", "a key.", true),
        ("^a$", "a\n", false),
    ] {
        let rules = format!("said contains \"yes\" if regex.match(`{pattern}`, input.x)");
        assert_eq!(says(&rules, text), Ok(matches), "{pattern} {text}");
    }
}

#[test]
fn more_patterns_than_are_kept_still_match_rightly() {
    // Names from the engine's own feature: without its cache this would not compile.
    regorus_cache_is_on();
    for round in 0..2 {
        for n in 0..PATTERNS_MAX + 10 {
            let rules = format!("said contains \"yes\" if regex.match(`^x{n}$`, input.x)");
            assert_eq!(says(&rules, format!("x{n}")), Ok(true), "{round}");
        }
    }
}

fn regorus_cache_is_on() {
    super::clear_patterns();
}

#[test]
fn numbers_that_the_engine_would_confuse_never_get_in() {
    let number = |text: &str| Json::Number(Number::parse(text).unwrap());
    for text in ["18446744073709551616", "18446744073709551617", "-9223372036854775809", "9007199254740993.0", "1e400"] {
        let refused = Document::of_object(&Object::default().with("x", vec![number(text)]));
        assert!(refused.is_err_and(|inexact| inexact.0 == text), "{text}");
    }
    for (text, rule, said) in [
        ("18446744073709551615", "input.x == 18446744073709551615", true),
        ("18446744073709551614", "input.x == 18446744073709551615", false),
        ("-9223372036854775808", "input.x == -9223372036854775808", true),
        ("9007199254740993", "input.x == 9007199254740992", false),
        ("9007199254740993", "input.x > 9007199254740992", true),
        ("1.0", "input.x == 1", true),
        ("1e2", "input.x == 100", true),
        ("0.1", "input.x == 0.1", true),
        ("-0", "input.x == 0", true),
    ] {
        let rules = format!("said contains \"yes\" if {rule}");
        assert_eq!(says(&rules, number(text)), Ok(said), "{text}: {rule}");
    }
}

#[test]
fn the_same_work_costs_the_same_and_one_step_less_is_refused() {
    let work = |rules: &str, limit: u32| {
        let limit = NonZeroU32::new(limit).unwrap();
        engine(rules, limit).evaluate("data.p.said", input(&Object::default().with("x", vec![Json::from(1); 20])))
    };
    for rules in [
        r#"said contains "yes" if { some a in input.x; some b in input.x; a + b == 3 }"#,
        "f(x) := [y | some y in x; y == 2]\nsaid contains \"yes\" if count(f(input.x)) == 1",
        r#"said contains "yes" if { every a in input.x { not a == 2 } }"#,
    ] {
        let fits = |limit: &u32| work(rules, *limit).is_ok();
        let least = (1..100_000).find(fits).unwrap();
        assert!(least > 20, "{least}");
        for _ in 0..3 {
            assert!(work(rules, least).is_ok());
            assert_eq!(work(rules, least - 1), Err(Failure::Instructions));
            assert_eq!(work(rules, 1), Err(Failure::Instructions));
        }
    }
}

#[test]
fn work_without_end_is_refused_in_bounded_time() {
    let rules = r#"said contains "yes" if { some a in input.x; some b in input.x; some c in input.x; some d in input.x; a + b + c + d == 5 }"#;
    let x = vec![Json::from(1); 10_000];
    assert_eq!(says(rules, x), Err(Failure::Instructions));
}

#[test]
fn nothing_of_one_evaluation_is_left_for_the_next() {
    let mut engine = engine(
        "seen := {y | some y in input.x}\nsaid contains y if some y in seen\nsaid contains \"many\" if count(seen) > 1",
        INSTRUCTIONS_MAX,
    );
    let x = |texts: &[&str]| input(&Object::default().with("x", texts.iter().map(|text| Json::from(*text)).collect::<Vec<_>>()));
    let set = |texts: &[&str]| Ok(Answer::Set(texts.iter().map(|text| Answer::Text((*text).to_owned())).collect()));
    assert_eq!(engine.evaluate("data.p.said", x(&["a", "b"])), set(&["a", "b", "many"]));
    assert_eq!(engine.evaluate("data.p.said", x(&["a"])), set(&["a"]));
    assert_eq!(engine.evaluate("data.p.said", x(&[])), set(&[]));
    assert!(engine.evaluate("data.p.nowhere", x(&[])).is_err());
    assert_eq!(engine.evaluate("data.p.said", x(&["a"])), set(&["a"]));
}

#[test]
fn messages_are_one_line_with_their_place() {
    let Err(Failure::Error(what)) = says("said contains \"yes\" if startswith(input.x, \"a\")", 1_u64) else {
        panic!("it did not fail");
    };
    assert!(what.starts_with("rego/p.rego:3:40: ") && !what.contains('\n'), "{what}");
    let broken = super::read("rego/b.rego", "package p\n\nsaid contains if\n").unwrap_err();
    assert!(broken.starts_with("rego/b.rego:") && !broken.contains('\n'), "{broken}");
}

#[test]
fn a_message_quotes_no_more_than_fits() {
    let x = vec![Json::from("é".repeat(5_000))];
    let Err(Failure::Error(what)) = says("said contains \"yes\" if startswith(input.x, \"a\")", x) else {
        panic!("it did not fail");
    };
    assert!((super::MESSAGE_BYTES_MAX - 1..=super::MESSAGE_BYTES_MAX).contains(&what.len()), "{}", what.len());
}

#[test]
fn a_builtin_that_panics_is_a_failure_and_the_next_call_finds_an_engine() {
    for (rules, bad) in [
        (r#"said contains "yes" if strings.count("a", input.x) == 0"#, Json::from("")),
        (r#"said contains "yes" if not object.subset([1], input.x)"#, Json::from(vec![])),
        ("f(x) if strings.count(\"a\", x) == 0\nsaid contains \"yes\" if f(input.x)", Json::from("")),
    ] {
        let good = if bad == Json::from("") { Json::from("b") } else { Json::from(vec![Json::from(2)]) };
        let mut engine = engine(rules, INSTRUCTIONS_MAX);
        for _ in 0..2 {
            let x = |x: &Json| input(&Object::default().with("x", x.clone()));
            let wanted = Err(Failure::Error("the engine gave up in the middle of a builtin".to_owned()));
            assert_eq!(engine.evaluate("data.p.said", x(&bad)), wanted, "{rules}");
            assert_eq!(
                engine.evaluate("data.p.said", x(&good)),
                Ok(Answer::Set(vec![Answer::Text("yes".to_owned())])),
                "{rules}"
            );
        }
    }
}
