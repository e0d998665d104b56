//! Every reason has its own name, and an answer that the protocol knows.

extern crate std;
use super::*;
use std::collections::BTreeSet;
use std::string::ToString;

#[test]
fn no_two_reasons_share_a_name_or_a_sentence() {
    let all: std::vec::Vec<_> = Malformed::all().collect();
    assert_eq!(all.iter().map(|reason| reason.reason()).collect::<BTreeSet<_>>().len(), all.len());
    assert_eq!(all.iter().map(ToString::to_string).collect::<BTreeSet<_>>().len(), all.len());
    for reason in all {
        assert!(reason.reason().bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_' | b'0'..=b'9')), "{reason:?}");
        assert!(!reason.to_string().ends_with('.'), "{reason:?}");
    }
}

#[test]
fn a_refusal_is_answered_as_the_protocol_has_it() {
    let id = Some(RequestId::Number("1".to_string()));
    let stateless = Some(Version::V2026_07_28);
    let session = Some(Version::V2025_11_25);
    for (reason, id, version, http_status, code) in [
        (Malformed::MethodMismatch, id.clone(), stateless, 400, -32_020),
        (Malformed::VersionHeaderMissing, id.clone(), None, 400, -32_020),
        (Malformed::UnsupportedVersion, id.clone(), None, 400, -32_022),
        (Malformed::UnknownMethod, id.clone(), stateless, 404, -32_601),
        (Malformed::UnknownMethod, id.clone(), session, 200, -32_601),
        (Malformed::UnknownMethod, None, session, 400, -32_601),
        (Malformed::MetaMissing, id.clone(), stateless, 400, -32_602),
        (Malformed::Json(Fault::NotJson), None, session, 400, -32_700),
        (Malformed::Batch, None, session, 400, -32_600),
        (Malformed::HttpMethod, None, None, 405, -32_600),
        (Malformed::Origin, None, None, 403, -32_600),
        (Malformed::ContentType, None, None, 415, -32_600),
        (Malformed::BodyTooLarge, None, None, 413, -32_600),
    ] {
        let unread = Unread { reason, id, version };
        assert_eq!(unread.answer(), Answer { http_status, code }, "{unread:?}");
    }
}

#[test]
fn no_refusal_is_answered_as_a_success_without_an_id() {
    for reason in Malformed::all() {
        for version in [None, Some(Version::V2025_03_26), Some(Version::V2026_07_28)] {
            let status = Unread { reason, id: None, version }.answer().http_status;
            assert!((400..500).contains(&status), "{reason:?} {status}");
        }
    }
}

#[test]
fn an_unsupported_version_is_told_which_are_taken() {
    let head = Head {
        method: b"POST".to_vec(),
        path: b"/mcp".to_vec(),
        headers: std::vec![(b"mcp-protocol-version".to_vec(), b"2099-01-01".to_vec())],
    };
    let versions = std::vec![Version::V2025_11_25, Version::V2026_07_28];
    let rules = Rules { versions, query_keys: std::vec![], limits: crate::mcp::Limits::default() };
    let data = |reason| Unread { reason, id: None, version: None }.data(&head, &rules).map(|data| data.to_string());
    let expected = r#"{"supported":["2025-11-25","2026-07-28"],"requested":"2099-01-01"}"#;
    assert_eq!(data(Malformed::UnsupportedVersion).as_deref(), Some(expected));
    assert_eq!(data(Malformed::UnknownMethod), None);
}
