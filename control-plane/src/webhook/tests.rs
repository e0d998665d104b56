//! What a receiver hears, on real sockets, and what becomes of a message that it does not take.

use super::message::Message;
use super::target::{Secret, Target, WebhookError};
use super::{ATTEMPT, BACKOFF_MAX, Webhook};
use crate::approval::{Approvals, Asked, News};
use crate::body::{Bodies, DataKey, KEY_BYTES, Scope, SessionId};
use crate::clock::{Clock, Manual};
use crate::config::{self, Limits, WebhookTarget};
use crate::identity::{Caller, Subject};
use crate::journal::{Change, Journal, Memory};
use crate::privacy::Privacy;
use agentgate_cli::authority::{Init, Issue, Validity, init, issue};
use agentgate_core::decide::{Decision, Verdict};
use agentgate_core::digest::Digest;
use agentgate_core::endpoint::Endpoint;
use agentgate_core::id::{CallId, Epoch};
use agentgate_core::mcp::Malformed;
use agentgate_core::pii::Pii;
use agentgate_core::time::Time;
use agentgate_proto::v1::{Approval, ApprovalRequest, ApprovalState, ApprovalStep, PurgeRecord};
use prost::Message as _;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

const NOW: Time = Time::from_micros(1_800_000_000_000_000);
const KEY: &[u8] = b"a key of thirty-two bytes, no ms";
const SECRET: &str = "whsec_YSBrZXkgb2YgdGhpcnR5LXR3byBieXRlcywgbm8gbXM=";

/// Nothing here takes so long; a test that would wait for ever fails instead.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the receiver does once it has read a message.
#[derive(Clone, Debug)]
enum Answer {
    Says(&'static str),
    /// It holds the connection open, until nobody waits any more.
    Nothing,
    Closes,
    /// It never answers, and says when the other side has gone.
    Hangs,
    /// A head, and then so many bytes.
    Writes(&'static str, usize),
}

use Answer::{Closes, Hangs, Nothing, Says, Writes};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// What the receiver read.
struct Heard {
    head: String,
    body: Vec<u8>,
}

/// A webhook, its receiver, and what the receiver heard.
struct Scene {
    webhook: Arc<Webhook>,
    bodies: Arc<Bodies>,
    approvals: Arc<Approvals>,
    /// Whose news the tests make up.
    known: Digest,
    hands: Arc<Manual>,
    heard: mpsc::UnboundedReceiver<Heard>,
    written: mpsc::UnboundedReceiver<usize>,
    address: SocketAddr,
    _directory: TempDir,
    _tasks: tokio::task::JoinSet<()>,
}

fn news(state: ApprovalState, left: Duration) -> News {
    let request = ApprovalRequest {
        tenant: "acme".into(),
        principal: "spiffe://a/agent/x".into(),
        server: "notes".into(),
        method: "tools/call".into(),
        target: "delete \"note\"".into(),
        scope: "write".into(),
        rule: "tool_gated".into(),
        reason: "a person has to look".into(),
        params: "{\"arguments\":{\"key\":\"private\"}}".into(),
        requested_at_us: NOW.micros(),
        ..ApprovalRequest::default()
    };
    let step =
        ApprovalStep { by: "spiffe://a/boss".into(), reason: "fine".into(), at_us: NOW.micros(), ..ApprovalStep::default() };
    let approval = Approval {
        id: "ab12".into(),
        state: state.into(),
        request: request.encode_to_vec().into(),
        steps: if state == ApprovalState::Pending { Vec::new() } else { vec![step] },
        expires_at_us: NOW.plus_micros(u64::try_from(left.as_micros()).unwrap()).micros(),
        used_by: String::new(),
    };
    News { id: Digest::of("test", b""), approval, at: NOW }
}

fn pending() -> News {
    news(ApprovalState::Pending, Duration::from_secs(900))
}

/// Answers in order; the last one again and again.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer, scene: Told) {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    };
    let head = String::from_utf8(read[..end].to_vec()).unwrap();
    let length: usize = header(&head, "content-length").parse().unwrap();
    let mut body = read.split_off(end);
    while body.len() < length {
        assert_ne!(stream.read_buf(&mut body).await.unwrap(), 0);
    }
    scene.heard.send(Heard { head, body }).unwrap();
    match answer {
        Says(text) => drop(stream.write_all(text.as_bytes()).await),
        Nothing => {
            scene.hands.advance(ATTEMPT);
            let _ = stream.read_buf(&mut read).await;
        }
        Closes => {}
        Hangs => {
            let _ = stream.read_buf(&mut read).await;
            scene.written.send(0).unwrap();
        }
        Writes(head, bytes) => {
            let mut written = 0;
            let _ = stream.write_all(head.as_bytes()).await;
            while written < bytes && stream.write_all(&[b'x'; 65_536]).await.is_ok() {
                written += 65_536;
            }
            scene.written.send(written).unwrap();
        }
    }
    let _ = stream.shutdown().await;
}

#[derive(Clone)]
struct Told {
    heard: mpsc::UnboundedSender<Heard>,
    written: mpsc::UnboundedSender<usize>,
    hands: Arc<Manual>,
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let found = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no `{name}` in {head}"))
}

// === impl Scene ===

impl Scene {
    async fn of(answers: Vec<Answer>) -> Self {
        Self::with(answers, None, None).await
    }

    /// `certificates`: over TLS, as who has these; `authority`: whom the webhook trusts.
    async fn with(answers: Vec<Answer>, certificates: Option<&Path>, authority: Option<&Path>) -> Self {
        let (clock, hands) = Clock::manual(NOW);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (say, heard) = mpsc::unbounded_channel();
        let (count, written) = mpsc::unbounded_channel();
        let told = Told { heard: say, written: count, hands: Arc::clone(&hands) };
        let tls = certificates.map(acceptor);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            for turn in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = answers.get(turn).or(answers.last()).unwrap().clone();
                match &tls {
                    None => drop(tokio::spawn(serve(stream, answer, told.clone()))),
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            tokio::spawn(serve(stream, answer, told.clone()));
                        }
                    }
                }
            }
        });
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("webhook.secret");
        fs::write(&secret, format!("{SECRET}\n")).unwrap();
        let url = format!("{scheme}://localhost:{}/hooks/x?y=z", address.port());
        let config = WebhookTarget { url, secret, authority: authority.map(|pki| pki.join("authority.pem")) };
        let journal: Arc<dyn Journal> = Arc::new(Memory::new());
        let bodies = Bodies::over(Arc::clone(&journal)).await;
        let settings = (config::Approvals::default(), Limits::default());
        let approvals = Arc::new(Approvals::open(Arc::clone(&bodies), clock.clone(), settings).await.unwrap());
        let (known, _) = ask(&bodies, &approvals, "known").await;
        let given = (journal, Arc::clone(&approvals), private(&bodies, Pii::Off));
        let webhook = Arc::new(Webhook::open(Some(&config), clock, || Ok([255; 32]), given).unwrap());
        for _ in 0..2 {
            tasks.spawn(Arc::clone(&webhook).working());
        }
        let (hearing, news) = (Arc::clone(&webhook), approvals.follow());
        tasks.spawn(async move { hearing.hearing(news).await });
        Self { webhook, bodies, approvals, known, hands, heard, written, address, _directory: directory, _tasks: tasks }
    }

    async fn tell(&self, news: News) {
        self.webhook.tell(&News { id: self.known, ..news }).await;
    }

    async fn hear(&mut self) -> Heard {
        tokio::time::timeout(PATIENCE, self.heard.recv()).await.expect("a message in time").unwrap()
    }

    /// Lets time pass whenever a message waits for it, until the trouble is this.
    async fn until(&self, trouble: Option<&str>) {
        let is_there = |shown: Option<String>| match (&shown, trouble) {
            (Some(shown), Some(wanted)) => shown.contains(wanted),
            (shown, wanted) => shown.is_none() && wanted.is_none(),
        };
        let waiting = async {
            while !is_there(self.webhook.trouble()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let shown = || self.webhook.trouble();
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{trouble:?}, not {:?}", shown()));
    }

    async fn until_waiting(&self, messages: usize) {
        let waiting = async {
            while self.webhook.waiting.len() != messages {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never {messages} that wait"));
    }

    /// Time passes until the first message is due.
    fn wait_for_the_next(&self) {
        let due = self.webhook.waiting.due().expect("a message that waits");
        self.hands.advance(due.saturating_sub(self.webhook.clock.elapsed()));
    }
}

/// A call of this principal's that waits for a person, and the session under whose key it was asked for.
async fn ask(bodies: &Bodies, approvals: &Approvals, name: &str) -> (Digest, SessionId) {
    let asker = agentgate_core::id::Asker::try_from("spiffe://a/filter/x").unwrap();
    let principal = format!("spiffe://a/agent/{name}");
    let subject = Subject { tenant: "acme".try_into().unwrap(), principal: principal.as_str().try_into().unwrap() };
    let (tenant, principal) = (subject.tenant.clone(), subject.principal.clone());
    let caller = Caller { subject, asker: asker.clone(), server: "notes".try_into().unwrap() };
    let facts = caller.facts(NOW, Endpoint::default(), Err(Malformed::Origin));
    let (rule, reason) = ("tool_gated".try_into().unwrap(), "a person has to look".into());
    let decision = Decision { verdict: Verdict::Pending, rule, reason, scope: None, approval: None };
    let call = CallId { asker, epoch: Epoch([1; 16]), counter: 1 };
    let call_digest = Digest::of("test", name.as_bytes());
    let asked = Asked { call: &call, call_digest, facts: &facts, decision: &decision, policy: None };
    let seal = bodies.seal(&Scope::Calls { tenant, principal, handle: String::new() }, NOW).await.unwrap();
    let step = approvals.request(&asked, &seal).unwrap().unwrap();
    let change = Change { fence: None, writes: vec![step.write.clone()], bodies: Vec::from_iter(step.body.clone()) };
    bodies.journal().append(change).await.unwrap();
    approvals.durable(&step, bodies.erasures());
    (step.approval(), seal.session())
}

fn private(bodies: &Arc<Bodies>, pii: Pii) -> Arc<Privacy> {
    let tenants = [("acme".try_into().unwrap(), pii)].into();
    Arc::new(Privacy::new(config::Privacy { pii: Pii::Off, tenants }, Arc::clone(bodies)))
}

/// There is no randomness any more.
static DRY: AtomicBool = AtomicBool::new(false);

fn until_dry() -> Result<[u8; KEY_BYTES], String> {
    if DRY.load(Ordering::SeqCst) { Err("none".into()) } else { Ok([9; KEY_BYTES]) }
}

/// How this process learns of a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purge {
    /// It is carried out here.
    CarriedOut,
    /// It is on record, and was not carried out here yet.
    Heard,
}

fn acceptor(pki: &Path) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(pki.join("hook.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(pki.join("hook.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    TlsAcceptor::from(Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap()))
}

fn pki() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let validity = Validity { not_before: NOW, not_after: NOW.plus_micros(3_600_000_000) };
    init(&Init { directory: directory.path(), trust_domain: "a", validity, force: true }).unwrap();
    let dns = ["localhost".to_owned()];
    issue(&Issue { directory: directory.path(), name: "hook", dns: &dns, ip: &[], validity, force: true }).unwrap();
    directory
}

/// HMAC and base64 once more, from their definitions, as somebody would who has only the documents.
fn verify(heard: &Heard) -> bool {
    let (mut inner, mut outer) = (Sha256::new(), Sha256::new());
    let padded: Vec<u8> = (0..64).map(|at| KEY.get(at).copied().unwrap_or(0)).collect();
    inner.update(padded.iter().map(|byte| byte ^ 0x36).collect::<Vec<u8>>());
    for part in [header(&heard.head, "webhook-id"), ".", header(&heard.head, "webhook-timestamp"), "."] {
        inner.update(part);
    }
    inner.update(&heard.body);
    outer.update(padded.iter().map(|byte| byte ^ 0x5c).collect::<Vec<u8>>());
    outer.update(inner.finalize());
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let signature = header(&heard.head, "webhook-signature").strip_prefix("v1,").unwrap();
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for letter in signature.trim_end_matches('=').bytes() {
        bits = bits << 6 | u32::try_from(letters.iter().position(|known| *known == letter).unwrap()).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    bytes == outer.finalize().as_slice()
}

#[tokio::test]
async fn approvers_are_told_what_waits_and_never_the_arguments() {
    for (state, event, end) in [
        (ApprovalState::Pending, "requested", r#""decide":"agentgate approve show ab12"}"#),
        (ApprovalState::Granted, "granted", r#""by":"spiffe://a/boss","answer":"fine","decide":"agentgate approve show ab12"}"#),
        (ApprovalState::Denied, "denied", r#""by":"spiffe://a/boss","answer":"fine","decide":"agentgate approve show ab12"}"#),
    ] {
        let mut scene = Scene::of(vec![Says(OK)]).await;
        scene.tell(news(state, Duration::from_secs(900))).await;
        let heard = scene.hear().await;
        assert!(heard.head.starts_with("POST /hooks/x?y=z HTTP/1.1\r\n"), "{}", heard.head);
        assert_eq!(header(&heard.head, "host"), format!("localhost:{}", scene.address.port()));
        assert_eq!(header(&heard.head, "content-type"), "application/json");
        assert_eq!(header(&heard.head, "webhook-id"), format!("ab12_{event}"));
        assert_eq!(header(&heard.head, "webhook-timestamp"), "1800000000");
        assert!(verify(&heard));
        let start = format!(
            r#"{{"id":"ab12","event":"approval.{event}","at":"2027-01-15T08:00:00.000Z","tenant":"acme","principal":"spiffe://a/agent/x","#
        ) + r#""server":"notes","method":"tools/call","tool":"delete \"note\"","scope":"write","rule":"tool_gated","#
            + r#""reason":"a person has to look","expires_at":"2027-01-15T08:15:00.000Z","#;
        assert_eq!(String::from_utf8(heard.body).unwrap(), start + end);
    }
    for state in [ApprovalState::Used, ApprovalState::Voided, ApprovalState::Lapsed, ApprovalState::Unspecified] {
        let scene = Scene::of(vec![Says(OK)]).await;
        scene.tell(news(state, Duration::from_secs(900))).await;
        assert_eq!(scene.webhook.waiting.due(), None, "{state:?}");
    }
}

#[tokio::test]
async fn approvers_are_told_as_the_tenants_records_are_kept_and_nothing_that_could_not_be_altered() {
    let journal: Arc<dyn Journal> = Arc::new(Memory::new());
    let bodies = Bodies::over(Arc::clone(&journal)).await;
    let without_keys = Arc::new(Bodies::open(journal, DataKey::new(&[1; KEY_BYTES]), until_dry).await.unwrap());
    DRY.store(true, Ordering::SeqCst);
    let news = || {
        let News { id, mut approval, at } = news(ApprovalState::Denied, Duration::from_secs(900));
        let request = ApprovalRequest::decode(approval.request).unwrap();
        let words = |what: &str| format!("{what} a@b.co");
        let said = ApprovalRequest { target: words("tool"), reason: words("reason"), ..request };
        approval.request = said.encode_to_vec().into();
        approval.steps[0].reason = words("answer");
        News { id, approval, at }
    };
    let words = |mark: &str| ["tool", "reason", "answer"].map(|what| format!("{what} {mark}"));
    let nothing = || [const { String::new() }; 3];
    // Those without keys first: the others make the tenant's.
    for (keys, pii, expected, left_out) in [
        (&without_keys, Pii::Off, words("a@b.co"), false),
        (&without_keys, Pii::Redact, nothing(), true),
        (&without_keys, Pii::Tokenise, nothing(), true),
        (&bodies, Pii::Off, words("a@b.co"), false),
        (&bodies, Pii::Redact, words("[redacted:email]"), false),
        (&bodies, Pii::Tokenise, words("[email:"), false),
    ] {
        let message = Message::of(&news(), &private(keys, pii), (NOW, Duration::ZERO)).await.unwrap();
        let told: serde_json::Value = serde_json::from_str(&message.body).unwrap();
        for (name, expected) in ["tool", "reason", "answer"].into_iter().zip(expected) {
            let text = told[name].as_str().unwrap();
            assert!(text.starts_with(&expected) && text.is_empty() == expected.is_empty(), "{pii:?}: {name}: {text}");
        }
        assert_eq!(message.body.contains("a@b.co"), pii == Pii::Off, "{pii:?}: {}", message.body);
        assert_eq!(told["left_out"].as_bool().unwrap_or_default(), left_out, "{pii:?}");
        assert_eq!(told["principal"], "spiffe://a/agent/x");
    }
}

#[tokio::test]
async fn what_is_not_taken_is_told_again_and_signed_anew() {
    const CUT: &str = "HTTP/1.1 200";
    for (first, trouble) in [
        (Says("HTTP/1.1 500 Internal Server Error\r\n\r\n"), "it answered 500"),
        (Says("HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\r\n"), "it answered 503"),
        (Says("HTTP/1.1 408 Request Timeout\r\n\r\n"), "it answered 408"),
        (Says("HTTP/1.1 429 Too Many Requests\r\n\r\n"), "it answered 429"),
        (Says("nonsense\r\n\r\n"), "it gave no answer in HTTP/1.1"),
        (Says(CUT), "it gave no answer in HTTP/1.1"),
        (Closes, "it gave no answer in HTTP/1.1"),
        (Nothing, "it did not answer within 10 s"),
        (Writes("HTTP/1.1 200 OK\r\nx: ", 1_000_000), "it gave no answer in HTTP/1.1"),
    ] {
        let mut scene = Scene::of(vec![first.clone(), Says(OK)]).await;
        scene.tell(pending()).await;
        let one = scene.hear().await;
        scene.until(Some(trouble)).await;
        assert!(scene.webhook.trouble().unwrap().starts_with("`localhost`: "), "the path may be as good as a password");
        scene.wait_for_the_next();
        let two = scene.hear().await;
        scene.until(None).await;
        assert_eq!(header(&one.head, "webhook-id"), header(&two.head, "webhook-id"));
        assert_eq!(one.body, two.body);
        assert_ne!(header(&one.head, "webhook-timestamp"), header(&two.head, "webhook-timestamp"), "{first:?}");
        assert!(verify(&one) && verify(&two));
        assert_eq!(scene.webhook.waiting.due(), None);
    }
}

#[tokio::test]
async fn what_can_never_be_taken_is_not_told_again() {
    for (answer, trouble) in [
        ("HTTP/1.1 302 Found\r\nlocation: http://localhost:1/\r\n\r\n", "it answered 302 Found, and is not asked again"),
        ("HTTP/1.1 304 Not Modified\r\n\r\n", "it answered 304"),
        ("HTTP/1.1 400 Bad Request\r\n\r\n", "it answered 400"),
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", "it answered 401"),
        ("HTTP/1.1 410 Gone\r\n\r\n", "it answered 410"),
    ] {
        let mut scene = Scene::of(vec![Says(answer)]).await;
        scene.tell(pending()).await;
        scene.hear().await;
        scene.until(Some(trouble)).await;
        assert_eq!(scene.webhook.waiting.due(), None, "{answer}");
    }
}

#[tokio::test]
async fn a_large_answer_is_not_read() {
    let mut scene = Scene::of(vec![Writes("HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n", 104_857_600), Says(OK)]).await;
    scene.tell(pending()).await;
    scene.hear().await;
    let written = tokio::time::timeout(PATIENCE, scene.written.recv()).await.unwrap().unwrap();
    assert!(written < 50_000_000, "{written} bytes were taken");
    scene.until(None).await;
    assert_eq!(scene.webhook.waiting.due(), None);
}

#[tokio::test]
async fn a_receiver_that_lets_one_hang_hears_of_the_next() {
    let mut scene = Scene::of(vec![Says("HTTP/1.1 500 No\r\n\r\n"), Says(OK)]).await;
    scene.tell(pending()).await;
    scene.hear().await;
    scene.until(Some("it answered 500")).await;
    scene.tell(news(ApprovalState::Denied, Duration::from_secs(900))).await;
    assert_eq!(header(&scene.hear().await.head, "webhook-id"), "ab12_denied", "while the other waits for its next attempt");
    scene.until(None).await;
    assert!(scene.webhook.waiting.due().is_some());
}

#[tokio::test]
async fn what_was_purged_is_sent_no_more_and_the_rest_is() {
    const NO: Answer = Says("HTTP/1.1 500 No\r\n\r\n");
    for purge in [Purge::CarriedOut, Purge::Heard] {
        let mut scene = Scene::of(vec![NO, NO, Says(OK)]).await;
        let (purged, session) = ask(&scene.bodies, &scene.approvals, "purged").await;
        let (kept, _) = ask(&scene.bodies, &scene.approvals, "kept").await;
        let said = [scene.hear().await, scene.hear().await].map(|heard| String::from_utf8(heard.body).unwrap());
        assert!(["agent/purged", "agent/kept"].iter().all(|name| said.iter().any(|said| said.contains(name))), "{said:?}");
        scene.until_waiting(2).await;
        match purge {
            Purge::CarriedOut => {
                scene.approvals.forget(&[session]);
                // It does not even lie there until it is due.
                scene.until_waiting(1).await;
            }
            Purge::Heard => {
                let sessions = vec![session.0.to_vec().into()];
                scene.bodies.purged(7, &PurgeRecord { sessions, ..PurgeRecord::default() });
            }
        }
        assert!(scene.approvals.is_known(&kept) && !scene.approvals.is_known(&purged), "{purge:?}");
        scene.hands.advance(BACKOFF_MAX);
        assert!(String::from_utf8(scene.hear().await.body).unwrap().contains("agent/kept"), "{purge:?}");
        scene.until(None).await;
        scene.until_waiting(0).await;
        // News of it that was on its way.
        scene.webhook.tell(&News { id: purged, ..pending() }).await;
        assert_eq!(scene.webhook.waiting.due(), None, "{purge:?}");
        scene.tell(pending()).await;
        assert!(String::from_utf8(scene.hear().await.body).unwrap().contains("agent/x"), "{purge:?}: nothing else came between");
    }
}

#[tokio::test]
async fn an_attempt_ends_when_what_it_tells_of_is_purged() {
    let mut scene = Scene::of(vec![Hangs, Says(OK)]).await;
    let (_, session) = ask(&scene.bodies, &scene.approvals, "purged").await;
    scene.hear().await;
    scene.approvals.forget(&[session]);
    tokio::time::timeout(PATIENCE, scene.written.recv()).await.expect("a connection that ends").unwrap();
    scene.until_waiting(0).await;
    assert!(scene.heard.try_recv().is_err());
}

#[tokio::test]
async fn attempts_end_with_the_approval() {
    // With the most that chance adds: after 1, 2 and 4 s.
    for (left_s, attempts) in [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4)] {
        let mut scene = Scene::of(vec![Says("HTTP/1.1 500 No\r\n\r\n")]).await;
        scene.tell(news(ApprovalState::Pending, Duration::from_secs(left_s))).await;
        for attempt in 1..=attempts {
            scene.hear().await;
            *scene.webhook.lock() = None;
            scene.until(Some("it answered 500")).await;
            assert_eq!(scene.webhook.waiting.due().is_some(), attempt < attempts, "attempt {attempt} of {left_s} s");
            if attempt < attempts {
                scene.wait_for_the_next();
            }
        }
    }
}

#[tokio::test]
async fn the_wait_grows_up_to_its_bound() {
    let scene = Scene::of(vec![Says(OK)]).await;
    let waits: Vec<u64> = [0, 1, 2, 5, 6, 40].map(|attempts| scene.webhook.backoff(attempts).as_secs()).into();
    assert_eq!(waits, [1, 2, 4, 32, 60, 60]);
    let given: (Arc<dyn Journal>, _, _) =
        (Arc::new(Memory::new()), Arc::clone(&scene.approvals), private(&scene.bodies, Pii::Off));
    let unlucky = Webhook::open(None, scene.webhook.clock.clone(), || Err("none".into()), given).unwrap();
    assert_eq!(unlucky.backoff(6), Duration::from_secs(30), "without chance, half of it");
}

#[tokio::test]
async fn over_tls_only_whom_the_authority_vouches_for_is_told() {
    let (ours, theirs) = (pki(), pki());
    let mut scene = Scene::with(vec![Says(OK)], Some(ours.path()), Some(ours.path())).await;
    scene.tell(pending()).await;
    assert!(verify(&scene.hear().await));
    let mut scene = Scene::with(vec![Says(OK)], Some(ours.path()), Some(theirs.path())).await;
    scene.tell(pending()).await;
    scene.until(Some("its TLS handshake failed")).await;
    assert!(scene.heard.try_recv().is_err());
}

#[test]
fn the_signature_is_that_of_standard_webhooks() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    fs::write(&path, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let signed = Secret::read(&path).unwrap().sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
    assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

fn open(url: &str, secret: Option<&str>, authority: Option<&str>) -> Result<Target, WebhookError> {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str, text: Option<&str>| {
        let path = directory.path().join(name);
        text.into_iter().for_each(|text| fs::write(&path, text).unwrap());
        path
    };
    let secret = path("webhook.secret", secret);
    let authority = authority.map(|text| path("roots.pem", Some(text)));
    Target::open(&WebhookTarget { url: url.into(), secret, authority }, &Clock::manual(NOW).0)
}

#[test]
fn every_mistake_names_its_field() {
    const URL: &str = "http://127.0.0.1:8080/hook";
    let base64 = |bytes: usize| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, vec![7; bytes]);
    for (url, want) in [
        (URL, None),
        ("http://localhost", None),
        ("http://[::1]:8080/", None),
        ("http://127.9.9.9/", None),
        ("http://chat.example/hook", Some("http is for this very machine only")),
        ("http://localhost.example/", Some("http is for this very machine only")),
        ("chat.example/hook", Some("it is no URL")),
        ("/hook", Some("it has no scheme or no host")),
        ("", Some("it is no URL")),
        ("http://localhost:99999/", Some("its port is no port")),
        ("http://localhost:0/", Some("its port is no port")),
        ("ftp://localhost/", Some("neither https nor http")),
        ("http://me:word@localhost/", Some("a user's name")),
        ("http://localhost/#x", Some("a fragment")),
        ("https://bad_name!/", Some("its host is no name of a host")),
    ] {
        let got = open(url, Some(&base64(32)), None).map(|_| ()).map_err(|error| error.to_string());
        match want {
            None => assert_eq!(got, Ok(()), "{url}"),
            Some(want) => {
                let got = got.unwrap_err();
                assert!(got.starts_with("`approvals.webhook.url`: ") && got.contains(want), "{url}: {got}");
            }
        }
    }
    for (secret, want) in [
        (Some(base64(24)), None),
        (Some(format!("whsec_{}\n", base64(64))), None),
        (Some(base64(23)), Some("holds 23 bytes, not 24 to 64")),
        (Some(base64(65)), Some("holds 65 bytes, not 24 to 64")),
        (Some("not base64".into()), Some("is not in base64")),
        (Some(String::new()), Some("holds 0 bytes")),
        (None, Some("cannot read `")),
    ] {
        let got = open(URL, secret.as_deref(), None).map(|_| ()).map_err(|error| error.to_string());
        match want {
            None => assert_eq!(got, Ok(())),
            Some(want) => {
                let got = got.unwrap_err();
                assert!(got.starts_with("`approvals.webhook.secret`: ") && got.contains(want), "{got}");
            }
        }
    }
    for roots in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let got = open("https://chat.example/", Some(&base64(32)), Some(roots)).unwrap_err().to_string();
        assert!(got.starts_with("`approvals.webhook.authority`: "), "{got}");
    }
}
