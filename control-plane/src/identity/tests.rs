//! Whom a filter may speak for, as a table. Certificates themselves are tried over real connections in `tests/it`.

use super::caller;
use crate::config::{Agents, Callers, Filter, Tenants, Users};
use agentgate_core::id::NAME_BYTES_MAX;
use agentgate_proto::v1::Claim;

fn filter(callers: Callers, users: Option<Users>) -> Filter {
    Filter {
        identity: "spiffe://a/filter/x".try_into().unwrap(),
        tenant: "t".try_into().unwrap(),
        servers: ["notes".try_into().unwrap()].into(),
        callers,
        users,
    }
}

const UNREADABLE: &str = "[]";

fn one() -> Callers {
    Callers::One("spiffe://a/agent/x".try_into().unwrap())
}

fn peers() -> Callers {
    Callers::Peers { trust_domain: "a".into() }
}

/// `UNREADABLE` stands for a list, a number or whatever else is no text.
fn claim(name: &str, value: &str) -> Claim {
    let unreadable = value == UNREADABLE;
    Claim { name: name.to_owned(), value: if unreadable { String::new() } else { value.to_owned() }, unreadable }
}

/// `want`: the tenant, a space, and the principal; or what is said instead.
fn check_with(filter: &Filter, (server, peer): (&str, &str), claims: &[(&str, &str)], want: Result<&str, &str>) {
    let claims: Vec<Claim> = claims.iter().map(|(name, value)| claim(name, value)).collect();
    let got = caller(filter, server, peer, &claims)
        .map(|caller| format!("{} {}", caller.subject.tenant, caller.subject.principal))
        .map_err(|error| error.to_string());
    match (got, want) {
        (Ok(got), Ok(want)) => assert_eq!(got, want),
        (Err(got), Err(want)) => assert!(got.contains(want), "{got}, not {want}"),
        (got, want) => panic!("{server} {peer} {claims:?}: {got:?}, not {want:?}"),
    }
}

fn check(callers: &Callers, server: &str, peer: &str, want: Result<&str, &str>) {
    // Without [filter.users], claims mean nothing, whatever they say.
    for claims in [&[][..], &[("iss", "https://idp"), ("sub", "alice"), ("azp", "y"), ("tenant", "globex")]] {
        check_with(&filter(callers.clone(), None), (server, peer), claims, want);
    }
}

#[test]
fn a_filter_speaks_for_whom_the_configuration_says() {
    check(&one(), "notes", "", Ok("t spiffe://a/agent/x"));
    check(&one(), "notes", "spiffe://a/agent/other", Ok("t spiffe://a/agent/x"));
    check(&one(), "bank", "", Err("may not ask for the server `bank`"));
    check(&one(), "", "", Err("may not ask for the server"));
    check(&peers(), "notes", "spiffe://a/agent/y", Ok("t spiffe://a/agent/y"));
    check(&peers(), "notes", "", Err("showed no certificate"));
    check(&peers(), "notes", "spiffe://ab/agent/y", Err("no workload of `a`"));
    check(&peers(), "notes", "spiffe://a.evil/agent/y", Err("no workload of `a`"));
    check(&peers(), "notes", "spiffe://a/../b", Err("no workload of `a`"));
    check(&peers(), "bank", "spiffe://a/agent/y", Err("may not ask for the server `bank`"));
    check(&Callers::Users, "notes", "spiffe://a/agent/y", Err("names no user"));
}

fn users() -> Users {
    Users {
        issuers: ["https://idp".into(), "https://other".into()].into(),
        subject: "sub".into(),
        required: true,
        agents: Some(Agents { claim: "azp".into(), known: [("x".to_owned(), "spiffe://a/agent/x".try_into().unwrap())].into() }),
        tenants: Some(Tenants { claim: "tenant".into(), known: ["t", "acme"].map(|tenant| tenant.try_into().unwrap()).into() }),
    }
}

const ALICE: [(&str, &str); 4] = [("iss", "https://idp"), ("sub", "alice"), ("azp", "x"), ("tenant", "acme")];

/// Alice's claims with one of them changed, or without it.
fn alice<'a>(name: &'a str, value: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let others = ALICE.into_iter().filter(|(other, _)| *other != name);
    others.chain(value.map(|value| (name, value))).collect()
}

#[test]
fn a_token_is_believed_as_far_as_the_configuration_says() {
    let [one, peers, users_only] = [one(), peers(), Callers::Users].map(|callers| filter(callers, Some(users())));
    let (x, y) = (("notes", "spiffe://a/agent/x"), ("notes", "spiffe://a/agent/y"));
    let both = Ok("acme spiffe://a/agent/x+user:alice@https://idp");
    for filter in [&one, &peers, &users_only] {
        check_with(filter, x, &ALICE, both);
        check_with(filter, x, &[], Err("names no user"));
        check_with(filter, x, &[("x-user", "alice"), ("ISS", "https://idp"), ("Sub", "alice")], Err("names no user"));
        check_with(filter, x, &alice("iss", Some("https://evil")), Err("the issuer `https://evil` is not among"));
        check_with(filter, x, &alice("iss", Some("https://idp/")), Err("the issuer `https://idp/` is not among"));
        check_with(filter, x, &alice("iss", Some("")), Err("the claim `iss` is there, but is no text"));
        check_with(filter, x, &alice("iss", None), Err("there is no claim `iss`"));
        check_with(filter, x, &alice("sub", None), Err("there is no claim `sub`"));
        check_with(filter, x, &alice("sub", Some("")), Err("the claim `sub` is there, but is no text"));
        check_with(filter, x, &alice("sub", Some("a b")), Err("the user's subject contains"));
        check_with(filter, x, &alice("sub", Some("a\u{202e}b")), Err("the user's subject contains"));
        for (name, _) in ALICE {
            let told = format!("the claim `{name}` is there, but is no text");
            check_with(filter, x, &alice(name, Some(UNREADABLE)), Err(&told));
            check_with(filter, x, &alice(name, Some("")), Err(&told));
        }
        check_with(
            filter,
            x,
            &alice("azp", Some(UNREADABLE)),
            Err("choose an `agent_claim` that is text, such as `azp` or `client_id`"),
        );
        check_with(filter, x, &alice("tenant", None), Err("there is no claim `tenant`"));
        check_with(filter, x, &alice("tenant", Some("globex")), Err("the tenant `globex` is not among"));
        check_with(filter, x, &alice("tenant", Some("Acme")), Err("the tenant `Acme` is not among"));
        check_with(filter, x, &alice("tenant", Some("t")), Ok("t spiffe://a/agent/x+user:alice@https://idp"));
        check_with(filter, x, &alice("azp", Some("z")), Err("the client `z` is not among"));
        check_with(filter, x, &alice("sub", Some("bob@b.c")), Ok("acme spiffe://a/agent/x+user:bob@b.c@https://idp"));
        check_with(filter, x, &[("sub", "alice")], Err("there is no claim `iss`"));
        check_with(filter, x, &[("tenant", "acme")], Err("there is no claim `iss`"));
        let twice: Vec<_> = ALICE.into_iter().chain([("sub", "bob")]).collect();
        check_with(filter, x, &twice, Err("the claim `sub` is there twice"));
        let long = "a".repeat(NAME_BYTES_MAX);
        check_with(filter, x, &alice("sub", Some(&long)), Err("the principal is longer"));
    }
    check_with(&one, ("bank", ""), &ALICE, Err("may not ask for the server `bank`"));
    // The certificate counts more than the token, and they may not differ.
    check_with(&peers, y, &ALICE, Err("issued to the agent `spiffe://a/agent/x`, but `spiffe://a/agent/y` calls"));
    check_with(&peers, y, &alice("azp", None), Ok("acme spiffe://a/agent/y+user:alice@https://idp"));
    check_with(&peers, ("notes", ""), &ALICE, Err("showed no certificate"));
    check_with(&users_only, x, &alice("azp", None), Err("there is no claim `azp`"));
}

#[test]
fn what_is_not_configured_is_not_asked_for() {
    let plain = Users { agents: None, tenants: None, ..users() };
    let user = Ok("t user:alice@https://idp");
    check_with(&filter(Callers::Users, Some(plain.clone())), ("notes", ""), &ALICE, user);
    let by_mail = Users { subject: "email".into(), ..plain.clone() };
    let mail = [("iss", "https://idp"), ("sub", "17"), ("email", "alice@b.c")];
    check_with(&filter(Callers::Users, Some(by_mail)), ("notes", ""), &mail, Ok("t user:alice@b.c@https://idp"));
    let optional = Users { required: false, ..users() };
    let optional = filter(one(), Some(optional));
    check_with(&optional, ("notes", ""), &[], Ok("t spiffe://a/agent/x"));
    check_with(&optional, ("notes", ""), &[("email", "alice@b.c")], Ok("t spiffe://a/agent/x"));
    check_with(&optional, ("notes", ""), &alice("sub", None), Err("there is no claim `sub`"));
    check_with(&optional, ("notes", ""), &[("email", UNREADABLE)], Ok("t spiffe://a/agent/x"));
    check_with(&optional, ("notes", ""), &[("azp", UNREADABLE)], Err("there is no claim `iss`"));
    check_with(&optional, ("notes", ""), &[("iss", UNREADABLE)], Err("the claim `iss` is there, but is no text"));
}
