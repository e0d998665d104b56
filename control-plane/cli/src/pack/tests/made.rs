//! Packs that a test makes by itself: calls that a real policy decided, in a log with a key that nobody else has.

use crate::pack::files::{digest, made};
use crate::pack::{Body, NOTE_FILE, Pack, Packed};
use crate::verify::tests::book::{Book, call, signer};
use agentgate_core::canonical::call_digest;
use agentgate_core::decide::settle;
use agentgate_core::kill::KillTarget;
use agentgate_core::time::Time;
use agentgate_core::transparency::given::{Given, How};
use agentgate_core::transparency::key::SignerKey;
use agentgate_core::transparency::note::Note;
use agentgate_policies::{Bundle, ENGINE, Evaluator, SourceFile, folder};
use agentgate_proto::order::target_to_wire;
use agentgate_proto::v1::record::What;
use agentgate_proto::{facts::Case, reading::request_digest, v1};
use hmac::{Hmac, Mac as _};
use prost::Message as _;
use serde_json::{Value, json};
use sha2::Sha256;
use std::path::Path;

pub(crate) const ALICE: &str = "spiffe://agentgate.local/agent/alice";

/// Who gathers, and has files signed.
pub(crate) const OPERATOR: &str = "spiffe://agentgate.local/operator/me";

/// Some moment of 2026, in microseconds.
pub(crate) const START_US: u64 = 1_795_374_352_000_000;

/// A body as it is kept: open for who has its key.
struct Kept {
    salt: Vec<u8>,
    plain: Vec<u8>,
    sealed: Vec<u8>,
    erased: bool,
}

pub(crate) struct Made {
    book: Book,
    bodies: Vec<Option<Kept>>,
    bundle: Bundle,
    policy: Evaluator,
    /// The principal that was asked for.
    pub(crate) asked: &'static str,
    /// What the manifest says of erased records that no name finds: a line, or nothing.
    pub(crate) unmatched: &'static str,
}

/// Who called what, and what stood beside it.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) at_us: u64,
    pub(crate) principal: &'a str,
    pub(crate) tool: &'a str,
    pub(crate) arguments: Value,
    /// What is recorded instead of what the policy came to.
    pub(crate) instead: Option<(v1::Verdict, &'a str)>,
    pub(crate) approval: Option<(u8, v1::ApprovalUse)>,
    pub(crate) settle_version: u32,
    /// What it comes to is enforced.
    pub(crate) enforced: bool,
}

impl Default for Call<'_> {
    fn default() -> Self {
        Self {
            at_us: START_US,
            principal: ALICE,
            tool: "read_note",
            arguments: json!({ "id": 1 }),
            instead: None,
            approval: None,
            settle_version: agentgate_core::decide::SETTLE_VERSION,
            enforced: true,
        }
    }
}

impl Made {
    pub(crate) fn new() -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/default");
        let bundle = Bundle::load(folder::read(&directory).expect("a folder")).expect("a policy");
        let policy = Evaluator::new(&bundle).expect("an evaluator");
        let mut made = Self { book: Book::default(), bodies: Vec::new(), bundle, policy, asked: ALICE, unmatched: "" };
        let digest = made.bundle.digest().as_bytes().to_vec().into();
        let in_force = v1::PolicyRecord { digest, engine: ENGINE.into(), address: vec![3; 32].into() };
        made.record(START_US - 1, None, |_, _| What::Policy(in_force));
        made
    }

    /// One of each kind of record, with a write that two people agreed to.
    pub(crate) fn of_everything() -> Self {
        let mut made = Self::new();
        made.call(&Call::default());
        made.call(&Call { tool: "delete_note", ..Call::default() });
        let note = json!({ "title": "Größe", "text": "y" });
        let add = Call { tool: "add_note", arguments: note, approval: Some((9, v1::ApprovalUse::Requested)), ..Call::default() };
        made.call(&add);
        let step = |what| v1::ApprovalRecord { approval: vec![9; 32].into(), what: Some(what), body: None };
        let words =
            |by: &str, reason: &str| v1::ApprovalBody { by: by.into(), reason: reason.into(), ..v1::ApprovalBody::default() };
        let operator = "spiffe://agentgate.local/operator/me";
        made.step(
            step(v1::approval_record::What::Requested(v1::ApprovalRequested { steps: 1, ..Default::default() })),
            &words("", ""),
        );
        made.step(
            step(v1::approval_record::What::Granted(v1::ApprovalGranted { step: 1, ..Default::default() })),
            &words(operator, "agreed"),
        );
        let written = made.call(&Call { at_us: START_US + 4_000_000, approval: Some((9, v1::ApprovalUse::Used)), ..add });
        made.outcome(written, v1::OutcomeKind::Completed);
        let words = v1::FloodBody { tenant: "default".into(), principal: ALICE.into() };
        made.record(START_US + 5, Some(words.encode_to_vec()), |_, body| {
            What::Flood(v1::FloodRecord { reason: "too_long".into(), count: 3, body, ..v1::FloodRecord::default() })
        });
        let target = Some(target_to_wire(&KillTarget::Agent(ALICE.try_into().expect("a principal"))));
        let words = v1::KillBody { target, reason: "an exercise".into(), by: operator.into() };
        made.record(START_US + 6, Some(words.encode_to_vec()), |_, body| What::Kill(v1::KillRecord { resumed: false, body }));
        let words = v1::ModeBody { server: "notes".into(), by: operator.into(), ..v1::ModeBody::default() };
        made.record(START_US + 7, Some(words.encode_to_vec()), |_, body| What::Mode(v1::ModeRecord { mode: 1, body }));
        let extent = Some(v1::Extent { principal: ALICE.into(), ..v1::Extent::default() });
        let words = v1::HoldBody { extent, reason: "a case".into(), by: operator.into() };
        let held =
            made.record(START_US + 8, Some(words.encode_to_vec()), |_, body| What::Hold(v1::HoldRecord { lifts: 0, body }));
        made.record(START_US + 9, None, |_, body| What::Hold(v1::HoldRecord { lifts: held, body }));
        let words = v1::PurgeBody { reason: "asked for".into(), by: operator.into() };
        made.record(START_US + 10, Some(words.encode_to_vec()), |_, body| {
            What::Purge(v1::PurgeRecord { sessions: vec![vec![8; 16].into()], body, ..v1::PurgeRecord::default() })
        });
        made
    }

    /// Says of calls from here on that a policy with this rule beside its own decided them. It is not run here.
    pub(crate) fn claim(&mut self, rego: &str) {
        let mut files = self.bundle.files().to_vec();
        files.retain(|file| file.path != "rego/claimed.rego");
        files.push(SourceFile { path: "rego/claimed.rego".into(), bytes: rego.into() });
        self.bundle = Bundle::load(files).expect("a policy");
    }

    /// Records a call, and gives its sequence.
    pub(crate) fn call(&mut self, given: &Call<'_>) -> u64 {
        let number = self.book.entries.len() as u64 + 1;
        let params = json!({ "name": given.tool, "arguments": given.arguments });
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params }).to_string();
        let header = |name: &'static str, value: &'static str| v1::Header { name: name.into(), value: value.into() };
        let headers = vec![
            header("content-type", "application/json"),
            header("accept", "application/json, text/event-stream"),
            header("mcp-protocol-version", "2025-11-25"),
        ];
        let ask = v1::Ask {
            server: "notes".into(),
            head: Some(v1::Head { method: "POST".into(), path: "/mcp".into(), headers }),
            body: request.into_bytes().into(),
            versions: vec!["2025-11-25".into()],
            ..v1::Ask::default()
        };
        let requested = request_digest(&ask);
        let mut body = v1::DecisionBody {
            tenant: "default".into(),
            principal: given.principal.into(),
            asker: "spiffe://agentgate.local/filter/laptop".into(),
            ask: Some(ask),
            method: "tools/call".into(),
            target: given.tool.into(),
            ..v1::DecisionBody::default()
        };
        let mut decision = v1::DecisionRecord {
            call_id: call(7, number).as_bytes().to_vec().into(),
            number,
            settle_version: given.settle_version,
            engine: ENGINE.into(),
            policy_digest: self.bundle.digest().as_bytes().to_vec().into(),
            enforced: given.enforced,
            ..v1::DecisionRecord::default()
        };
        if let Some((approval, used)) = given.approval {
            decision.approval = vec![approval; 32].into();
            decision.approval_use = used.into();
        }
        let current = v1::DecisionRecord { settle_version: agentgate_core::decide::SETTLE_VERSION, ..decision.clone() };
        let at = Time::from_micros(given.at_us);
        if let Ok(mut case) = Case::of(at, &current, Some(&body), 1 << 20) {
            if let (Some((approval, v1::ApprovalUse::Used)), None) = (given.approval, given.instead) {
                let message = case.facts.reading.as_ref().expect("a call");
                let covered = call_digest(&case.facts.called(message)).as_bytes().to_vec().into();
                let expires_at_us = given.at_us + 1;
                body.grant = Some(v1::GrantFact { approval: vec![approval; 32].into(), call_digest: covered, expires_at_us });
                case = Case::of(at, &current, Some(&body), 1 << 20).expect("facts");
            }
            let settled = settle(&case.facts, Ok(&self.policy.opinion(&case.facts).expect("an opinion")));
            let scope = settled.scope.map(|scope| format!("{scope:?}").to_lowercase());
            (body.rule, body.reason, body.scope) = (settled.rule.to_string(), settled.reason, scope.unwrap_or_default());
            decision.set_verdict(settled.verdict.into());
        }
        // Names that no gate would let through are recorded by hand.
        if let Some((verdict, rule)) = given.instead {
            decision.set_verdict(verdict);
            body.rule = rule.into();
        }
        self.record(given.at_us, Some(body.encode_to_vec()), |salt, body| {
            decision.request_commitment = mac(salt, requested.as_bytes());
            decision.body = body;
            What::Decision(decision)
        })
    }

    /// Refusals that were only counted.
    pub(crate) fn flood(&mut self, at_us: u64, asks: Vec<v1::CountedAsks>) {
        self.record(at_us, None, |_, body| What::Flood(v1::FloodRecord { count: 1, body, asks, ..v1::FloodRecord::default() }));
    }

    pub(crate) fn step(&mut self, step: v1::ApprovalRecord, words: &v1::ApprovalBody) {
        self.record(START_US + 3, Some(words.encode_to_vec()), |_, body| What::Approval(v1::ApprovalRecord { body, ..step }));
    }

    fn outcome(&mut self, decision: u64, kind: v1::OutcomeKind) {
        let words = v1::OutcomeBody { detail: "done".into(), result_digest: vec![4; 32].into(), ..v1::OutcomeBody::default() };
        self.record(START_US + 5_000_000, Some(words.encode_to_vec()), |salt, body| {
            let result_commitment = mac(salt, &[4; 32]);
            let call_id = call(7, decision).as_bytes().to_vec().into();
            What::Outcome(v1::OutcomeRecord {
                call_id,
                decision,
                kind: kind.into(),
                result_commitment,
                body,
                ..Default::default()
            })
        });
    }

    pub(crate) fn record(
        &mut self,
        at_us: u64,
        plain: Option<Vec<u8>>,
        what: impl FnOnce(&[u8], Option<v1::BodyRef>) -> What,
    ) -> u64 {
        let sequence = self.book.entries.len() as u64 + 1;
        let salt = vec![u8::try_from(sequence % 251).expect("small"); 32];
        // Whoever has no key cannot tell it from ciphertext.
        let sealed = format!("ciphertext {sequence}").into_bytes();
        let reference = plain.as_ref().map(|plain| v1::BodyRef {
            address: agentgate_proto::body_address(&sealed).as_bytes().to_vec().into(),
            commitment: mac(&salt, plain),
            session: vec![5; 16].into(),
        });
        self.book.record(&v1::Record { at_us, what: Some(what(&salt, reference)) });
        self.bodies.push(plain.map(|plain| Kept { salt, plain, sealed, erased: false }));
        sequence
    }

    /// Of this session: that of every body here is 5, sixteen times.
    pub(crate) fn purge(&mut self, session: u8) {
        let purge = v1::PurgeRecord { sessions: vec![vec![session; 16].into()], ..v1::PurgeRecord::default() };
        self.record(START_US + 20, None, |_, body| What::Purge(v1::PurgeRecord { body, ..purge }));
    }

    pub(crate) fn erase(&mut self, sequence: u64) {
        let at = usize::try_from(sequence - 1).expect("small");
        self.bodies[at].as_mut().expect("a body").erased = true;
    }

    pub(crate) fn pack(&self, sealed: bool) -> Pack {
        let packed = |(sequence, kept): (u64, &Option<Kept>)| {
            let proof = self.book.proof(sequence);
            let body = match kept {
                None => Body::None,
                Some(kept) if kept.erased => Body::Erased,
                Some(kept) if sealed => Body::Sealed(kept.sealed.clone()),
                Some(kept) => Body::Open { salt: kept.salt.clone(), plain: kept.plain.clone() },
            };
            Packed { entry: proof.entry, proof: proof.proof, record: proof.record, body }
        };
        let records: Vec<Packed> = (1_u64..).zip(&self.bodies).map(packed).collect();
        let decides = records.iter().any(|packed| matches!(packed.what(), Some((_, What::Decision(_)))));
        let principal = if sealed { "(withheld)" } else { self.asked };
        let scope = json!({ "session": "", "principal": principal, "since_us": START_US, "until_us": 0 });
        Pack {
            manifest: list(&records, &scope, sealed, self.unmatched),
            checkpoint: self.book.checkpoint(&signer(1)),
            keys: vec![signer(1).verifier().to_string()],
            records,
            // As it is given: only where a decision names it.
            bundles: if decides { vec![(self.bundle.digest().as_bytes().to_vec(), self.bundle.to_bytes())] } else { Vec::new() },
        }
    }

    pub(crate) fn write(&self, sealed: bool, directory: &Path) {
        put(&self.pack(sealed), directory, &signer(1));
    }
}

/// The list of these records as a control plane signs it, which gave them of a log that has no more.
pub(crate) fn list(records: &[Packed], scope: &Value, sealed: bool, unmatched: &str) -> Vec<u8> {
    let (at, size) = (Time::from_micros(START_US + 60_000_000), records.last().map_or(0, |packed| packed.entry.sequence));
    let sequences = |packed: &[&Packed]| match packed {
        [] => "none".to_owned(),
        all => all.iter().map(|packed| packed.entry.sequence.to_string()).collect::<Vec<_>>().join(","),
    };
    let erased: Vec<&Packed> = records.iter().filter(|packed| packed.body == Body::Erased).collect();
    let mut given = Given::default();
    for packed in records {
        let address;
        let how = match &packed.body {
            Body::None => How::None,
            Body::Erased => How::Erased,
            Body::Open { plain, .. } => How::Open { plain },
            Body::Altered { plain, pii } => How::Altered { pii, plain },
            Body::Sealed(kept) => {
                address = agentgate_proto::body_address(kept);
                How::Sealed { address: address.as_bytes() }
            }
        };
        given.push(packed.entry.sequence, how);
    }
    let (records, erased) = (sequences(&records.iter().collect::<Vec<_>>()), sequences(&erased));
    let (how, digest) = (if sealed { "sealed" } else { "open" }, given.digest());
    let asked = format!("scope {scope}\nby {OPERATOR}\nat {at}\nsize {size}\nbody_bytes_max 1048576\npii off\n");
    let text = format!("agentgate evidence 1\n{asked}records {records}\nerased {erased}\nbodies {how} {digest}\n{unmatched}");
    statement(&text, &signer(1))
}

/// A pack's files, as this key signs them.
pub(crate) fn put(pack: &Pack, directory: &Path, key: &SignerKey) {
    std::fs::create_dir_all(directory).expect("made");
    for (name, bytes) in made(pack).expect("files") {
        std::fs::write(directory.join(name), bytes).expect("written");
    }
    sign(directory, key);
}

/// A note over the files that lie there now.
pub(crate) fn sign(directory: &Path, key: &SignerKey) {
    sign_as(OPERATOR, directory, key);
}

pub(crate) fn sign_as(by: &str, directory: &Path, key: &SignerKey) {
    let mut text = format!("agentgate evidence pack 1\nby {by}\nat 2026-11-22T19:05:52Z\n");
    for name in ["pack.json", "report.html", "report.pdf"] {
        text += &format!("{} {name}\n", digest(&std::fs::read(directory.join(name)).expect("a file")));
    }
    std::fs::write(directory.join(NOTE_FILE), statement(&text, key)).expect("written");
}

pub(crate) fn statement(text: &str, key: &SignerKey) -> Vec<u8> {
    let mut note = Note::new(text).expect("a note");
    note.sign(key).expect("signed");
    note.to_string().into_bytes()
}

fn mac(salt: &[u8], bytes: &[u8]) -> prost::bytes::Bytes {
    let mac = <Hmac<Sha256> as hmac::Mac>::new_from_slice(salt).expect("any length").chain_update(bytes);
    mac.finalize().into_bytes().to_vec().into()
}
