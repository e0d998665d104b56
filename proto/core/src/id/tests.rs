//! Names that are taken, and names that are not.

extern crate std;
use super::*;
use std::string::ToString;

#[test]
fn a_name_is_short_and_seen() {
    for name in ["notes", "größe", "a/b.c-1", &"a".repeat(NAME_BYTES_MAX)] {
        assert_eq!(Server::try_from(name).unwrap().as_str(), name);
    }
    for (name, error) in [
        ("", NameError::Empty { what: "the server's name" }),
        (&"a".repeat(NAME_BYTES_MAX + 1), NameError::TooLong { what: "the server's name" }),
        ("a b", NameError::Character { what: "the server's name" }),
        ("a\n", NameError::Character { what: "the server's name" }),
        ("a\u{1b}[2J", NameError::Character { what: "the server's name" }),
        ("a\u{202e}b", NameError::Character { what: "the server's name" }),
        ("\u{feff}a", NameError::Character { what: "the server's name" }),
    ] {
        assert_eq!(Server::try_from(name).unwrap_err(), error, "{name:?}");
    }
}

#[test]
fn a_spiffe_id_is_what_its_standard_says() {
    for (id, domain) in [
        ("spiffe://agentgate.local/filter/laptop", "agentgate.local"),
        ("spiffe://a/b", "a"),
        ("spiffe://a_b-c.d/E.F_g-1/h", "a_b-c.d"),
    ] {
        assert_eq!(SpiffeId::try_from(id).unwrap().trust_domain(), domain);
    }
    for id in [
        "",
        "spiffe://",
        "spiffe://a",
        "spiffe:///a",
        "spiffe://A/b",
        "SPIFFE://a/b",
        "https://a/b",
        "spiffe://a/",
        "spiffe://a/b/",
        "spiffe://a//b",
        "spiffe://a/./b",
        "spiffe://a/../b",
        "spiffe://a/b?c",
        "spiffe://a/b#c",
        "spiffe://a/b%2fc",
        "spiffe://a:1/b",
        "spiffe://u@a/b",
        "spiffe://a/b c",
        "spiffe://ä/b",
    ] {
        assert!(SpiffeId::try_from(id).is_err(), "{id}");
    }
}

#[test]
fn a_rule_of_the_gate_says_so() {
    assert_eq!(RuleName::of_gate("unmatched").to_string(), "gate.unmatched");
}

#[test]
fn a_call_id_is_quoted_without_its_asker_and_digested_with_it() {
    let id = |asker: &str, counter| CallId { asker: Asker::try_from(asker).unwrap(), epoch: Epoch([0xab; 16]), counter };
    let one = id("spiffe://a/filter/one", 7);
    assert_eq!(one.to_string(), "abababababababababababababababab-7");
    assert_eq!(one.digest(), id("spiffe://a/filter/one", 7).digest());
    assert_ne!(one.digest(), id("spiffe://a/filter/two", 7).digest());
    assert_ne!(one.digest(), id("spiffe://a/filter/one", 8).digest());
    assert_ne!(one.digest(), one.digest().beside(1));
}

#[test]
fn ids_of_one_vms_calls_stand_beside_each_other() {
    let id =
        |epoch, counter| CallId { asker: Asker::try_from("spiffe://a/filter/one").unwrap(), epoch: Epoch([epoch; 16]), counter };
    let between = |digest: &Digest| (id(1, 255).digest()..=id(1, 256).digest()).contains(digest);
    assert!(between(&id(1, 255).digest().beside(2)));
    assert!(!between(&id(1, 254).digest().beside(2)) && !between(&id(1, 257).digest()) && !between(&id(2, 255).digest()));
}
