//! The documented file is the default, and every mistake is named.

use super::{Backend, Callers, Config, ConfigError, DOCUMENTED, File, Limits};
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
fn every_mistake_names_its_field() {
    let filter = "[[filter]]\nidentity='spiffe://a/filter/x'\ntenant='t'\nservers=['s']\n";
    for (text, named) in [
        ("colour = 1", "colour"),
        ("[limits]\ncolour = 1", "colour"),
        ("[limits]\ndeciding_max = 0", "`limits.deciding_max`: must be at least 1"),
        ("[limits]\nmessage_bytes_max = 1048576", "`limits.message_bytes_max`"),
        ("[filters]\nlisten = 'here'", "`filters.listen`: `here` is no address"),
        ("[journal]\nbackend = 'tape'", "`journal.backend`: `tape` is unknown"),
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
