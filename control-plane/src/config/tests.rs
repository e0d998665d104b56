//! The documented file is the default, and every mistake is named.

use super::{Backend, Callers, Config, ConfigError, DOCUMENTED, File, Limits};
use std::collections::BTreeSet;
use std::path::Path;

fn read(text: &str) -> Result<Config, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    Config::check(file, Path::new("/etc/agentgate")).map_err(|error: ConfigError| error.to_string())
}

#[test]
fn the_documented_values_are_the_defaults() {
    let (documented, empty) = (read(DOCUMENTED).unwrap(), read("").unwrap());
    assert_eq!(format!("{documented:?}"), format!("{empty:?}"));
    let limits: toml::Table = toml::from_str(DOCUMENTED).unwrap();
    let written: Vec<&String> = limits["limits"].as_table().unwrap().keys().collect();
    for name in &written {
        assert!(format!("{:?}", Limits::default()).contains(name.as_str()), "`{name}` is documented but unknown");
    }
    assert_eq!(format!("{:?}", Limits::default()).matches(": ").count(), written.len(), "every limit is documented");
}

#[test]
fn paths_are_relative_to_the_file() {
    let config = read("").unwrap();
    assert_eq!(config.tls.certificate, Path::new("/etc/agentgate/control-plane.pem"));
    assert_eq!(config.journal, Backend::Embedded { directory: "/etc/agentgate/journal".into() });
    let told = read("[approvals.webhook]\nurl='https://x'\nsecret='s'\nauthority='a'").unwrap().approvals.webhook.unwrap();
    assert_eq!(
        (told.secret.as_path(), told.authority.as_deref()),
        (Path::new("/etc/agentgate/s"), Some(Path::new("/etc/agentgate/a")))
    );
}

#[test]
fn a_filter_has_one_kind_of_caller() {
    let one = "[[filter]]\nidentity='spiffe://a/filter/x'\ntenant='t'\nservers=['s']\n";
    let fixed = read(&format!("{one}principal='spiffe://a/agent/x'")).unwrap();
    assert!(matches!(fixed.filter.values().next().unwrap().callers, Callers::One(_)));
    let peers = read(&format!("{one}peers='a'")).unwrap();
    assert!(matches!(peers.filter.values().next().unwrap().callers, Callers::Peers { .. }));
}

#[test]
fn what_is_personal_is_recorded_as_its_tenants_entry_says() {
    use agentgate_core::pii::Pii::{Off, Redact, Tokenise};
    assert_eq!(read("").unwrap().privacy.of("t"), Off);
    let entry = "[[privacy.tenant]]\nname='acme'\npii='tokenise'\n";
    let privacy = read(&format!("[privacy]\npii='redact'\n{entry}")).unwrap().privacy;
    assert_eq!((privacy.of("acme"), privacy.of("acm"), privacy.of("")), (Tokenise, Redact, Redact));
    let wrong = [
        ("[privacy]\npii='on'".to_owned(), "`privacy.pii`: `on` is unknown"),
        (entry.replace("tokenise", "Off"), "`privacy.tenant[0].pii`"),
        (entry.replace("acme", ""), "`privacy.tenant[0].name`"),
        (entry.repeat(2), "`privacy.tenant[1].name`: `acme` has an entry already"),
    ];
    for (text, expected) in wrong {
        let told = read(&text).unwrap_err();
        assert!(told.contains(expected), "{told}");
    }
}

const USERS: &str = "[[filter]]\nidentity='spiffe://a/filter/x'\ntenant='t'\nservers=['s']\n";

#[test]
fn users_may_stand_behind_an_agent_or_alone() {
    let table = "[filter.users]\nissuers=['https://idp']\n";
    for (caller, alone) in [("", true), ("principal='spiffe://a/x'\n", false), ("peers='a'\n", false)] {
        let config = read(&format!("{USERS}{caller}{table}")).unwrap();
        let filter = config.filter.values().next().unwrap();
        assert_eq!(filter.callers == Callers::Users, alone);
        let users = filter.users.as_ref().unwrap();
        assert_eq!((users.subject.as_str(), users.required), ("sub", true));
        assert_eq!((&users.agents, &users.tenants), (&None, &None));
        assert_eq!(filter.tenants().map(ToString::to_string).collect::<Vec<_>>(), ["t"]);
    }
    let all = "subject='email'\nagent_claim='azp'\nagents={x='spiffe://a/x'}\ntenant_claim='org'\ntenants=['acme']\n";
    let config = read(&format!("{USERS}{table}{all}")).unwrap();
    let filter = config.filter.values().next().unwrap();
    let users = filter.users.as_ref().unwrap();
    assert_eq!(users.claims().collect::<Vec<_>>(), ["iss", "email", "azp", "org"]);
    assert_eq!(users.agents.as_ref().unwrap().known["x"].as_str(), "spiffe://a/x");
    let tenants: BTreeSet<String> = filter.tenants().map(ToString::to_string).collect();
    assert_eq!(tenants, ["acme", "t"].map(String::from).into(), "the filter's own is always one of them");
}

#[test]
fn every_mistake_about_users_names_its_field() {
    for (users, named) in [
        ("", "missing field `issuers`"),
        ("issuers=[]", "`filter[0].users.issuers`: is empty"),
        ("issuers=['']", "`filter[0].users.issuers`: `` cannot be part"),
        ("issuers=['a@b']", "`filter[0].users.issuers`: `a@b` cannot be part"),
        ("issuers=['i']\ncolour=1", "unknown field `colour`"),
        ("issuers=['i']\nsubject=''", "`filter[0].users.subject`: `` is no claim's name"),
        ("issuers=['i']\nsubject='iss'", "`filter[0].users.subject`: one claim would mean two things"),
        ("issuers=['i']\ntenant_claim='sub'", "`filter[0].users.subject`: one claim would mean two things"),
        ("issuers=['i']\nrequired=false", "`filter[0].users.required`: is false"),
        ("issuers=['i']\nagents={x='spiffe://a/x'}", "`filter[0].users.agent_claim`: is missing"),
        ("issuers=['i']\nagent_claim='azp'", "`filter[0].users.agents`: names nobody"),
        ("issuers=['i']\nagent_claim='azp'\nagents={}", "`filter[0].users.agents`: names nobody"),
        ("issuers=['i']\nagent_claim='azp'\nagents={x='y'}", "`filter[0].users.agents`: `y` is no SPIFFE ID"),
        ("issuers=['i']\ntenants=['acme']", "`filter[0].users.tenant_claim`: is missing"),
        ("issuers=['i']\ntenant_claim='org'\ntenants=['a b']", "`filter[0].users.tenants`: the tenant contains"),
    ] {
        let error = read(&format!("{USERS}[filter.users]\n{users}")).unwrap_err();
        assert!(error.contains(named), "{users}\n  gave: {error}\n  want: {named}");
    }
}

#[test]
fn every_mistake_names_its_field() {
    let twice = "[[quota.tenant]]\nname = 't'\nbytes_per_day = 1\n".repeat(2);
    let filter = "[[filter]]\nidentity='spiffe://a/filter/x'\ntenant='t'\nservers=['s']\n";
    for (text, named) in [
        ("colour = 1", "colour"),
        ("replica = ''", "`replica`: `` is no name"),
        ("replica = 'a b'", "`replica`: `a b` is no name"),
        (&format!("replica = '{}'", "x".repeat(65)), "is no name; write 1 to 64"),
        ("[limits]\ncolour = 1", "colour"),
        ("[limits]\ndeciding_max = 0", "`limits.deciding_max`: must be at least 1"),
        ("[limits]\nmessage_bytes_max = 1048576", "`limits.message_bytes_max`"),
        ("[limits]\nmodes_max = 8193", "`limits.modes_max`: must be at most 8192"),
        ("[filters]\nlisten = 'here'", "`filters.listen`: `here` is no address"),
        ("[journal]\nbackend = 'tape'", "`journal.backend`: `tape` is unknown"),
        ("[journal]\nbackend = 'postgres'", "`journal.url`: is missing"),
        ("[journal]\nurl = 'postgresql://db'", "`journal.url`: is for the backend `postgres`"),
        ("[approvals.webhook]\nurl = 'https://x'", "missing field `secret`"),
        ("[approvals]\npending_s = 0", "`approvals.pending_s`: must be 1 to 604800 seconds"),
        ("[quota]\ncolour = 1", "colour"),
        (
            "[[quota.tenant]]\nname = 'nobody'\nbytes_per_day = 1",
            "`quota.tenant[0].name`: `nobody` is the tenant of no [[filter]]",
        ),
        ("[[quota.tenant]]\nname = 'a b'\nbytes_per_day = 1", "`quota.tenant[0].name`"),
        (&format!("{filter}peers='a'\n{twice}"), "`quota.tenant[1].name`: `t` has an entry already"),
        ("[tls]\nconnection_age_s_max = 0", "`tls.connection_age_s_max`"),
        ("[[operator]]\nidentity = 'me'", "`operator[0].identity`"),
        (
            "[[filter]]\nidentity='spiffe://a/f'\ntenant='t'\nservers=[]\nprincipal='spiffe://a/b'",
            "`filter[0].servers`: is empty",
        ),
        (filter, "`filter[0].principal`: is missing"),
        (&format!("{filter}principal='spiffe://a/b'\npeers='a'"), "`filter[0].peers`: stands beside"),
        (&format!("{filter}peers='A/b'"), "`filter[0].peers`: `A/b` is no trust domain"),
        (&format!("{filter}peers='a'\n{filter}peers='a'"), "`filter[1].identity`: `spiffe://a/filter/x` has an entry already"),
        (&format!("{filter}peers='a'\n[[operator]]\nidentity='spiffe://a/filter/x'"), "is a filter too"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(named), "{text}\n  gave: {error}\n  want: {named}");
    }
}

#[test]
fn a_tenant_has_the_quota_of_all_or_its_own() {
    let filter =
        |tenant: &str| format!("[[filter]]\nidentity='spiffe://a/{tenant}'\ntenant='{tenant}'\nservers=['s']\npeers='a'\n");
    let filters = ["t", "u", "v"].map(filter).concat();
    let own = "[[quota.tenant]]\nname='u'\nbytes_per_day=7\n[[quota.tenant]]\nname='v'\nbytes_per_day=0\n";
    let check = |text: &str, want: &[(&str, u64)]| {
        let quotas = read(&format!("{filters}{text}")).unwrap().quotas.0;
        let quotas: Vec<_> = quotas.iter().map(|(tenant, bytes)| (tenant.as_str(), *bytes)).collect();
        assert_eq!(quotas, want, "{text}");
    };
    check("", &[]);
    check("[quota]\ntenant_bytes_per_day=0", &[]);
    check("[quota]\ntenant_bytes_per_day=5", &[("t", 5), ("u", 5), ("v", 5)]);
    check(&format!("[quota]\ntenant_bytes_per_day=5\n{own}"), &[("t", 5), ("u", 7)]);
    check(own, &[("u", 7)]);
}

#[test]
fn as_many_servers_and_modes_as_a_filter_takes_may_be_configured() {
    let servers = |count: usize| (0..count).map(|number| format!("'s{number}'")).collect::<Vec<_>>().join(",");
    let filter = |count| format!("[[filter]]\nidentity='spiffe://a/f'\ntenant='t'\nservers=[{}]\npeers='a'", servers(count));
    assert!(read(&filter(1_024)).is_ok() && read("[limits]\nmodes_max = 8192").is_ok());
    assert!(read(&filter(1_025)).unwrap_err().contains("`filter[0].servers`: has more than 1024 names"));
}
