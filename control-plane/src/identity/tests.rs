//! Whom a filter may speak for, as a table. Certificates themselves are tried over real connections in `tests/it`.

use super::caller;
use crate::config::{Callers, Filter};

fn check(callers: Callers, server: &str, peer: &str, want: Result<&str, &str>) {
    let filter = Filter {
        identity: "spiffe://a/filter/x".try_into().unwrap(),
        tenant: "t".try_into().unwrap(),
        servers: ["notes".try_into().unwrap()].into(),
        callers,
    };
    let got = caller(&filter, server, peer).map(|caller| caller.subject.principal.to_string()).map_err(|error| error.to_string());
    match (got, want) {
        (Ok(got), Ok(want)) => assert_eq!(got, want),
        (Err(got), Err(want)) => assert!(got.contains(want), "{got}"),
        (got, want) => panic!("{server} {peer}: {got:?}, not {want:?}"),
    }
}

#[test]
fn a_filter_speaks_for_whom_the_configuration_says() {
    let one = || Callers::One("spiffe://a/agent/x".try_into().unwrap());
    let peers = || Callers::Peers { trust_domain: "a".into() };
    check(one(), "notes", "", Ok("spiffe://a/agent/x"));
    check(one(), "notes", "spiffe://a/agent/other", Ok("spiffe://a/agent/x"));
    check(one(), "bank", "", Err("may not ask for the server `bank`"));
    check(one(), "", "", Err("may not ask for the server"));
    check(peers(), "notes", "spiffe://a/agent/y", Ok("spiffe://a/agent/y"));
    check(peers(), "notes", "", Err("showed no certificate"));
    check(peers(), "notes", "spiffe://ab/agent/y", Err("no workload of `a`"));
    check(peers(), "notes", "spiffe://a.evil/agent/y", Err("no workload of `a`"));
    check(peers(), "notes", "spiffe://a/../b", Err("no workload of `a`"));
    check(peers(), "bank", "spiffe://a/agent/y", Err("may not ask for the server `bank`"));
}
