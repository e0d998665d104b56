//! Changes as a decision makes them: the record and the sealed body of a call with 1 KB of arguments. What is in them is as
//! long as what is real, and says nothing.

use agentgate_control_plane::body::{Bodies, DataKey, Scope, Seal, digest_bytes, system_keys};
use agentgate_control_plane::journal::{Change, Expected, Journal, Stream, Write};
use agentgate_core::digest::Digest;
use agentgate_core::id::{Asker, CallId, Epoch};
use agentgate_core::time::Time;
use agentgate_proto::v1;
use prost::Message as _;
use std::error::Error;
use std::sync::{Arc, OnceLock};

const ARGUMENTS_BYTES: usize = 1_000;

/// The data key of a benchmark's journal.
pub(crate) const DATA_KEY: [u8; 32] = [1; 32];

/// Who calls: each has a stream and a session of its own.
const SUBJECTS: u64 = 1_000;
const TENANTS: u64 = 10;
const TOOLS: u64 = 50;

/// One call in so many is refused.
const REFUSED: u64 = 40;

/// What seals the bodies of the one journal that a benchmark has, by subject.
static SEALS: OnceLock<Vec<Arc<Seal>>> = OnceLock::new();

/// To be called once, before the first change.
pub(crate) async fn begin(journal: Arc<dyn Journal>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let bodies = Bodies::open(journal, DataKey::new(&DATA_KEY), system_keys).await?;
    let mut seals = Vec::new();
    for subject in 0..SUBJECTS {
        let (tenant, principal) = (tenant(subject).as_str().try_into()?, principal(subject).as_str().try_into()?);
        let scope = Scope::Calls { tenant, principal, handle: String::new() };
        seals.push(bodies.seal(&scope, Time::from_micros(0)).await?);
    }
    SEALS.set(seals).map_err(|_| "a benchmark has one journal".into())
}

pub(crate) fn tenant(number: u64) -> String {
    format!("tenant-{}", number % TENANTS)
}

pub(crate) fn principal(number: u64) -> String {
    format!("spiffe://agentgate.local/agent/{}", number % SUBJECTS)
}

/// Subjects have tools of their own, so that a subject and a tool may have met often, or never.
pub(crate) fn tool(number: u64) -> String {
    format!("search_notes_{}", number / 7 % TOOLS)
}

/// What seals the bodies of this subject's calls.
pub(crate) fn seal(number: u64) -> Result<&'static Arc<Seal>, String> {
    let subject = usize::try_from(number % SUBJECTS).map_err(|error| error.to_string())?;
    SEALS.get().and_then(|seals| seals.get(subject)).ok_or_else(|| "nothing was begun".into())
}

/// The call with this number, of one of a thousand subjects, decided at `at_us`.
pub(crate) fn change(number: u64, at_us: u64) -> Result<Change, String> {
    let epoch = Epoch([7; 16]);
    let asker = Asker::try_from("spiffe://agentgate.local/filter/laptop");
    let id = asker.map_or_else(
        |_| Digest::of("bench/id", &number.to_be_bytes()),
        |asker| CallId { asker, epoch, counter: number }.digest(),
    );
    let digest = |name: &'static str| digest_bytes(&Digest::of(name, &number.to_be_bytes()));
    let is_refused = number.is_multiple_of(REFUSED);
    let sealed = seal(number)?.seal(&decision_body(number, epoch, is_refused))?;
    let mut record = v1::DecisionRecord {
        call_id: digest_bytes(&id),
        request_commitment: digest("bench/request"),
        settle_version: 1,
        engine: "regorus 0.14.1 interpreter".into(),
        policy_digest: digest("bench/policy"),
        enforced: true,
        body: Some(sealed.reference),
        ..v1::DecisionRecord::default()
    };
    record.set_verdict(if is_refused { v1::Verdict::Deny } else { v1::Verdict::Allow });
    let record = v1::Record { at_us, what: Some(v1::record::What::Decision(record)) }.encode_to_vec().into();
    let stream = Stream(Digest::of("bench/stream", &(number % SUBJECTS).to_le_bytes()));
    let writes = vec![Write { stream, expected: Expected::Any, id, record }];
    Ok(Change { fence: None, writes, bodies: vec![sealed.stored] })
}

fn decision_body(number: u64, epoch: Epoch, is_refused: bool) -> v1::DecisionBody {
    let header = |name: &'static str, value: &'static str| v1::Header { name: name.into(), value: value.into() };
    let headers = vec![
        header("content-type", "application/json"),
        header("accept", "application/json, text/event-stream"),
        header("mcp-protocol-version", "2025-11-25"),
        header("host", "tools.example"),
    ];
    let words = format!("{number} {}", "milk and bread ".repeat(ARGUMENTS_BYTES / 15));
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{{"name":"{}","arguments":{{"query":"{words}"}}}}}}"#,
        tool(number)
    );
    let ask = v1::Ask {
        counter: number,
        deadline_ms: 2_000,
        server: "notes".into(),
        head: Some(v1::Head { method: "POST".into(), path: "/mcp".into(), headers }),
        body: call.into(),
        versions: ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"].map(Into::into).to_vec(),
        ..v1::Ask::default()
    };
    v1::DecisionBody {
        tenant: tenant(number),
        principal: principal(number),
        asker: "spiffe://agentgate.local/filter/laptop".into(),
        epoch: epoch.0.to_vec().into(),
        ask: Some(ask),
        rule: if is_refused { "table.blocked" } else { "table.open" }.into(),
        reason: "the tool table says that anyone may call it".into(),
        scope: "read".into(),
        method: "tools/call".into(),
        target: tool(number),
        version: "2025-11-25".into(),
        call_digest: digest_bytes(&Digest::of("bench/call", &number.to_be_bytes())),
        ..v1::DecisionBody::default()
    }
}
