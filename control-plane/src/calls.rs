//! Calls as a client sends them, for the tests of every room. It refuses to know what becomes of them.

use agentgate_proto::v1;

/// A POST of this body to the server of notes, as a session-era client sends it.
pub(crate) fn ask(counter: u64, body: String) -> v1::Ask {
    let header = |name: &'static str, value: &'static str| v1::Header { name: name.into(), value: value.into() };
    let headers = vec![
        header("content-type", "application/json"),
        header("accept", "application/json, text/event-stream"),
        header("mcp-protocol-version", "2025-11-25"),
    ];
    v1::Ask {
        counter,
        server: "notes".into(),
        head: Some(v1::Head { method: "POST".into(), path: "/mcp".into(), headers }),
        body: body.into(),
        versions: vec!["2025-11-25".into()],
        ..v1::Ask::default()
    }
}
