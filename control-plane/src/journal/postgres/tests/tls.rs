//! Over a network: the database's certificate is checked whatever the url says, and a password comes from its file.

use super::{PATIENCE, heals};
use crate::clock::Clock;
use crate::journal::Journal as _;
use crate::journal::contract::stream;
use crate::journal::postgres::{Postgres, Settings};
use agentgate_cli::authority::{Init, Issue, Validity, init, issue};
use agentgate_core::error::chain;
use agentgate_core::time::Time;
use agentgate_e2e::postgres::Postgres as Server;
use std::fs;
use std::path::Path;

/// An authority, and a certificate of it for `localhost`.
fn authority(directory: &Path, trust_domain: &str) {
    let now = Clock::system().now();
    let validity =
        Validity { not_before: Time::from_micros(now.micros() - 60_000_000), not_after: now.plus_micros(3_600_000_000) };
    init(&Init { directory, trust_domain, validity, force: true }).unwrap();
    let dns = ["localhost".to_owned()];
    issue(&Issue { directory, name: "database", dns: &dns, ip: &[], validity, force: true }).unwrap();
}

fn set(server: &Server, setting: &str) {
    server.sql("postgres", &format!("ALTER SYSTEM {setting}")).unwrap();
    server.sql("postgres", "SELECT pg_reload_conf()").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_crossed_under_tls_or_not_at_all() {
    let (ours, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    authority(ours.path(), "ours.test");
    authority(others.path(), "others.test");
    let server = Server::start(&["listen_addresses=127.0.0.1"]).unwrap();
    let database = server.database().unwrap();
    let file = |name: &str| fs::read(ours.path().join(name)).unwrap();
    server.put("server.crt", &file("database.pem")).unwrap();
    server.put("server.key", &file("database.key")).unwrap();
    server.put("pg_hba.conf", b"local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n").unwrap();
    server.sql("postgres", "ALTER ROLE agentgate PASSWORD 'a secret'").unwrap();
    let [password, wrong] = [("password", "a secret\n"), ("wrong", "another\n")].map(|(name, text)| {
        fs::write(ours.path().join(name), text).unwrap();
        ours.path().join(name)
    });
    let url = |host: &str, more: &str| format!("postgresql://agentgate@{host}:{}/{database}{more}", server.port());
    let settings = |url: String| {
        let authority = Some(ours.path().join("authority.pem"));
        Settings { password: Some(password.clone()), authority, ..Settings::new(url, Clock::system()) }
    };
    let refused = async |settings: Settings| chain(&Postgres::open(settings).await.map(|_| ()).unwrap_err());

    // A server without TLS, or somebody between who says so.
    assert!(refused(settings(url("localhost", ""))).await.contains("server does not support TLS"));
    assert!(refused(settings(url("localhost", "?sslmode=prefer"))).await.contains("server does not support TLS"));
    set(&server, "SET ssl = on");
    let opened = tokio::time::timeout(PATIENCE, async {
        loop {
            // The server takes its new settings up when it likes.
            if let Ok(journal) = Postgres::open(settings(url("localhost", ""))).await {
                return journal;
            }
        }
    });
    let journal = opened.await.unwrap();
    heals(&journal, "x").await;
    // On a second connection.
    assert_eq!(journal.version(stream("healed")).await, Ok(1));
    let plain =
        "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'agentgate' AND NOT ssl";
    let all = "SELECT count(*) > 1 FROM pg_stat_activity WHERE application_name = 'agentgate'";
    assert_eq!((server.sql("postgres", plain).unwrap().as_str(), server.sql("postgres", all).unwrap().as_str()), ("0", "t"));

    let stranger = Settings { authority: Some(others.path().join("authority.pem")), ..settings(url("localhost", "")) };
    let cases = [
        (stranger, "UnknownIssuer"),
        (Settings { authority: None, ..settings(url("localhost", "")) }, "UnknownIssuer"),
        (settings(url("127.0.0.1", "")), "not valid for name"),
        (settings(url("localhost", "?sslmode=disable")), "no encryption"),
        (Settings { password: Some(wrong), ..settings(url("localhost", "")) }, "password authentication failed"),
    ];
    for (settings, wanted) in cases {
        let said = refused(settings).await;
        assert!(said.contains(wanted), "`{wanted}`: {said}");
    }
}
