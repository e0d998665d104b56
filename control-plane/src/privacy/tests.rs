//! What is altered in each kind of body, whose tokens are whose, and what is given away.

use super::*;
use crate::journal::{Journal, Memory};
use agentgate_core::pii::Kind;
use agentgate_proto::v1::record::What;
use bytes::Bytes;
use prost::Message as _;

async fn privacy() -> (Privacy, Arc<Bodies>) {
    let bodies = Bodies::over(Arc::new(Memory::new()) as Arc<dyn Journal>).await;
    let tenants = [("acme".try_into().unwrap(), Pii::Tokenise), ("globex".try_into().unwrap(), Pii::Redact)].into();
    (Privacy::new(config::Privacy { pii: Pii::Off, tenants }, Arc::clone(&bodies)), bodies)
}

#[tokio::test]
async fn a_token_is_one_tenants_until_its_key_is_erased() {
    let (_, bodies) = privacy().await;
    let token = async |tenant: &str| bodies.tokens(tenant).await.unwrap().token(Kind::Email, "a@b.co");
    let first = token("acme").await;
    assert!(first.len() == 20 && first.bytes().all(|byte| byte.is_ascii_lowercase()), "{first}");
    assert_eq!(token("acme").await, first);
    assert_ne!(token("globex").await, first);
    let tokens = bodies.tokens("acme").await.unwrap();
    assert_ne!(tokens.token(Kind::Email, "a@b.cox"), first);
    assert_ne!(tokens.token(Kind::Phone, "a@b.co"), first);
    assert_ne!(tokens.keyed(b"x"), bodies.tokens("globex").await.unwrap().keyed(b"x"));
    let replica = Bodies::over(Arc::clone(bodies.journal())).await;
    assert_eq!(replica.tokens("acme").await.unwrap().token(Kind::Email, "a@b.co"), first);
    let key = bodies.tokens_there("acme").await.unwrap().unwrap();
    let purge = v1::PurgeRecord { tokens: crate::body::digest_bytes(&key), ..v1::PurgeRecord::default() };
    bodies.purged(1, &purge);
    assert_eq!(bodies.tokens_there("acme").await.unwrap(), None);
    assert_eq!(token("globex").await, bodies.tokens("globex").await.unwrap().token(Kind::Email, "a@b.co"));
    assert!(bodies.erase_tokens(&purge).await.unwrap());
    assert!(!bodies.erase_tokens(&purge).await.unwrap());
    assert_ne!(token("acme").await, first);
    assert!(!bodies.erase_tokens(&purge).await.unwrap(), "it is another key");
}

#[tokio::test]
async fn what_is_given_is_what_was_asked_for_or_else_what_is_recorded() {
    let (privacy, _) = privacy().await;
    for (asked, tenant, expected) in [
        (Pii::Off, "", None),
        (Pii::Off, "initech", None),
        (Pii::Off, "acme", Some(Pii::Tokenise)),
        (Pii::Off, "globex", Some(Pii::Redact)),
        (Pii::Redact, "acme", Some(Pii::Redact)),
        (Pii::Tokenise, "initech", Some(Pii::Tokenise)),
    ] {
        let giving = privacy.giving(asked, tenant).await.unwrap();
        assert_eq!(giving.map(|altering| altering.pii), expected, "{asked:?} {tenant}");
        let recording = privacy.recording(tenant).await.unwrap();
        assert_eq!(recording.map_or(Pii::Off, |altering| altering.pii), privacy.of(tenant));
    }
}

#[tokio::test]
async fn nothing_personal_is_given_in_any_kind_of_body() {
    let (privacy, _) = privacy().await;
    let altering = privacy.giving(Pii::Redact, "t").await.unwrap().unwrap();
    let (plain, digest) = (String::from("to a@b.co"), Bytes::from_static(&[7; 32]));
    let session = v1::kill_target::Height::Session("a@b.co".into());
    let target = Some(v1::KillTarget { height: Some(session) });
    let request = v1::ApprovalRequest {
        call_digest: digest.clone(),
        target: plain.clone(),
        params: r#"{"to":"a@b.co"}"#.into(),
        path: "/u?m=a%40b.co".into(),
        reason: plain.clone(),
        principal: "spiffe://a/agent/x".into(),
        ..v1::ApprovalRequest::default()
    };
    let header = |name, value| v1::Header { name: Bytes::from_static(name), value: Bytes::from_static(value) };
    let headers = vec![header(b"mcp-param-to", b"a@b.co"), header(b"mcp-param-4111111111111111", b"1")];
    let head = v1::Head { path: Bytes::from_static(b"/u?m=a%40b.co"), headers, ..v1::Head::default() };
    let claim = v1::Claim { name: "sub".into(), value: "anna@idp.example".into(), unreadable: false };
    let ask = v1::Ask { head: Some(head), body: Bytes::from_static(b"a@b.co"), claims: vec![claim], ..v1::Ask::default() };
    let bodies: [(What, Vec<u8>); 6] = [
        (
            What::Decision(v1::DecisionRecord::default()),
            v1::DecisionBody {
                ask: Some(ask),
                target: plain.clone(),
                handle: plain.clone(),
                reason: plain.clone(),
                call_digest: digest.clone(),
                kill: Some(v1::KillFact { target: target.clone(), reason: plain.clone() }),
                grant: Some(v1::GrantFact { call_digest: digest.clone(), ..v1::GrantFact::default() }),
                denied: Some(v1::DenialFact { call_digest: digest.clone(), reason: plain.clone(), ..v1::DenialFact::default() }),
                ..v1::DecisionBody::default()
            }
            .encode_to_vec(),
        ),
        (
            What::Outcome(v1::OutcomeRecord::default()),
            v1::OutcomeBody {
                detail: plain.clone(),
                hidden: vec![plain.clone()],
                tools: vec![Bytes::from_static(br#"{"name":"x","description":"a@b.co"}"#)],
                result_digest: digest.clone(),
                ..v1::OutcomeBody::default()
            }
            .encode_to_vec(),
        ),
        (
            What::Approval(v1::ApprovalRecord::default()),
            v1::ApprovalBody { request: request.encode_to_vec().into(), ..v1::ApprovalBody::default() }.encode_to_vec(),
        ),
        (
            What::Approval(v1::ApprovalRecord::default()),
            v1::ApprovalBody { seen: digest.clone(), by: "me".into(), ..v1::ApprovalBody::default() }.encode_to_vec(),
        ),
        (What::Kill(v1::KillRecord::default()), v1::KillBody { target, reason: plain.clone(), by: "me".into() }.encode_to_vec()),
        (
            What::Mode(v1::ModeRecord::default()),
            v1::ModeBody { tool: plain.clone(), reason: plain, ..v1::ModeBody::default() }.encode_to_vec(),
        ),
    ];
    let holds = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    for (what, body) in bodies {
        let (given, altered) = altering.given(&what, &body).unwrap().unwrap();
        for part in [&b"a@b.co"[..], b"a%40b.co", b"4111111111111111", &[7; 32]] {
            assert!(!holds(&given, part), "{what:?}: {}", String::from_utf8_lossy(&given));
        }
        assert_eq!((altered.pii(), altered.left_out), (v1::Pii::Redact, false));
        // A second time there is nothing to take out: what is keyed stays as it is, but for what an approver saw.
        if !matches!(what, What::Approval(_)) {
            assert!(altering.given(&what, &given).unwrap().is_none(), "{what:?}");
        }
        assert!(altering.given(&what, b"\xff").is_err(), "{what:?}");
        if let What::Decision(_) = what {
            assert!(holds(&given, b"anna@idp.example"), "whom a token names is an identity");
            assert!(holds(&given, b"mcp-param-to") && holds(&given, b"mcp-param-[redacted:card]"));
        }
    }
    let flood = What::Flood(v1::FloodRecord::default());
    assert!(altering.given(&flood, b"\xff").unwrap().is_none());
}

#[tokio::test]
async fn a_body_that_grows_beyond_a_change_is_left_out() {
    let (privacy, _) = privacy().await;
    let altering = privacy.recording("acme").await.unwrap().unwrap();
    let fits = alter::ALTERED_BYTES_MAX / "[email:aaaaaaaaaaaaaaaaaaaa] ".len() - 1;
    for (addresses, left_out) in [(fits, false), (fits + 2, true)] {
        let ask = v1::Ask { body: "a@b.co ".repeat(addresses).into(), ..v1::Ask::default() };
        let mut decision = v1::DecisionBody { ask: Some(ask.clone()), ..v1::DecisionBody::default() };
        altering.decision(&mut decision);
        let body = decision.ask.unwrap().body;
        assert_eq!((body.is_empty(), decision.altered.unwrap().left_out), (left_out, left_out));
        let mut outcome = v1::OutcomeBody { tools: vec![ask.body], ..v1::OutcomeBody::default() };
        altering.outcome(&mut outcome);
        assert_eq!((outcome.tools.is_empty(), outcome.altered.unwrap().left_out), (left_out, left_out));
    }
}
