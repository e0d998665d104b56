//! One request at a time: what is read of it, or why it is not.

extern crate std;
use super::*;
use crate::mcp::Era;
use std::string::ToString;
use std::vec;

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1}}}"#;

fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> Head {
    let headers = headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
    Head { method: method.as_bytes().to_vec(), path: path.as_bytes().to_vec(), headers }
}

fn rules() -> Rules {
    Rules { versions: Version::ALL.to_vec(), query_keys: vec![], limits: Limits::default() }
}

#[test]
fn a_call_of_the_session_era_is_read() {
    let head = head("POST", "/mcp", &[("content-type", "application/json"), ("mcp-protocol-version", "2025-11-25")]);
    let message = read(&head, CALL.as_bytes(), &rules()).unwrap();
    assert_eq!(message.version.era(), Era::Session);
    assert_eq!(message.method, Method::ToolsCall);
    assert_eq!(message.target.as_deref(), Some("add"));
    assert_eq!(message.kind, Kind::Request(RequestId::Number("1".to_string())));
}
