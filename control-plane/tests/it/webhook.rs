//! Approvers are told by a control plane that serves: over its whole way, across a restart, and never at a call's expense.

use crate::world::{PATIENCE, Setup, World, call, eventually};
use agentgate_core::approval::shown_digest;
use agentgate_core::digest::Digest;
use agentgate_proto::v1::approvals_client::ApprovalsClient;
use agentgate_proto::v1::status_client::StatusClient;
use agentgate_proto::v1::{self, Verdict};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(crate) struct Heard {
    headers: Vec<(String, String)>,
    body: String,
}

// === impl Heard ===

impl Heard {
    pub(crate) fn header(&self, name: &str) -> &str {
        &self.headers.iter().find(|(known, _)| known == name).unwrap().1
    }

    pub(crate) fn says(&self, words: &str) {
        assert!(self.body.contains(words), "`{words}` in {}", self.body);
    }
}

/// A receiver that answers everything with this status, and a configuration that names it.
pub(crate) async fn receiver(status: &'static str) -> (Setup, UnboundedReceiver<Heard>, tempfile::TempDir) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (say, heard) = unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut reader = BufReader::new(&mut stream);
            let mut headers = Vec::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).await.unwrap();
                match line.trim().split_once(": ") {
                    Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
                    None if line.trim().is_empty() => break,
                    None => {}
                }
            }
            let mut heard = Heard { headers, body: String::new() };
            let mut body = vec![0; heard.header("content-length").parse().unwrap()];
            reader.read_exact(&mut body).await.unwrap();
            heard.body = String::from_utf8(body).unwrap();
            let _ = say.send(heard);
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("webhook.secret");
    fs::write(&secret, SECRET).unwrap();
    let configured = format!("[approvals.webhook]\nurl = '{url}'\nsecret = '{}'\n", secret.display());
    (Setup { configured, ..Setup::default() }, heard, directory)
}

pub(crate) async fn next(heard: &mut UnboundedReceiver<Heard>) -> Heard {
    tokio::time::timeout(PATIENCE, heard.recv()).await.expect("a message in time").unwrap()
}

async fn trouble(world: &World) -> String {
    let mut operator = world.operator(StatusClient::new).await;
    operator.show_status(v1::ShowStatusRequest {}).await.unwrap().into_inner().webhook_trouble
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_hears_of_a_call_and_again_after_a_restart_and_of_its_end() {
    let (setup, mut heard, _directory) = receiver("200 OK").await;
    let world = World::with(Setup { configured: setup.configured.clone(), ..Setup::default() }).await;
    let asked = world.vm().await.decided(call(1, "add_note")).await;
    assert_eq!(asked.verdict(), Verdict::Pending);
    let first = next(&mut heard).await;
    first.says(&format!(r#"{{"id":"{}","event":"approval.requested","#, asked.approval));
    first.says(r#""server":"notes","method":"tools/call","tool":"add_note""#);
    assert!(!first.body.contains("title"), "arguments stay behind the gate: {}", first.body);
    assert_eq!(trouble(&world).await, "");

    let world = world.killed_and_restarted(&setup).await;
    let again = next(&mut heard).await;
    assert_eq!((again.header("webhook-id"), &again.body), (first.header("webhook-id"), &first.body));

    let mut operator = world.operator(ApprovalsClient::new).await;
    let shown = operator.show_approval(v1::ShowApprovalRequest { id: asked.approval.clone() }).await.unwrap();
    let shown = shown.into_inner().approval.unwrap();
    let order = v1::DecideApprovalRequest {
        id: asked.approval.clone(),
        grant: true,
        seen: shown_digest(&shown.request).as_bytes().to_vec().into(),
        reason: "fine by me".into(),
    };
    operator.decide_approval(order).await.unwrap();
    let granted = next(&mut heard).await;
    granted.says(r#""event":"approval.granted""#);
    granted.says(r#""by":"spiffe://agentgate.local/operator/me","answer":"fine by me""#);
    assert_ne!(granted.header("webhook-id"), first.header("webhook-id"));
}

async fn decide(world: &World, id: &str, grant: bool) {
    let mut operator = world.operator(ApprovalsClient::new).await;
    let shown = operator.show_approval(v1::ShowApprovalRequest { id: id.into() }).await.unwrap();
    let shown = shown.into_inner().approval.unwrap();
    let seen = shown_digest(&shown.request).as_bytes().to_vec().into();
    operator.decide_approval(v1::DecideApprovalRequest { id: id.into(), grant, seen, reason: "said".into() }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_before_a_crash_is_told_after_it_and_once_it_was_taken_no_more() {
    let (failing, mut not_taken, _directory) = receiver("500 Internal Server Error").await;
    let (taking, mut heard, _other) = receiver("200 OK").await;
    let world = World::with(failing).await;
    let mut vm = world.vm().await;
    let mut decided = Vec::new();
    for (counter, title, grant) in [(1, "x", true), (2, "y", false)] {
        let mut ask = call(counter, "add_note");
        ask.body = String::from_utf8(ask.body.to_vec()).unwrap().replace(r#""x""#, &format!("{title:?}")).into();
        let asked = vm.decided(ask).await;
        assert_eq!(asked.verdict(), Verdict::Pending, "{asked:?}");
        decide(&world, &asked.approval, grant).await;
        decided.push(format!("{}_{}", asked.approval, if grant { "granted" } else { "denied" }));
    }
    // What was granted is used before anybody took the word of it.
    assert_eq!(vm.decided(call(3, "add_note")).await.verdict(), Verdict::Allow);
    let mut tried = BTreeSet::new();
    while !decided.iter().all(|id| tried.contains(id)) {
        tried.insert(next(&mut not_taken).await.header("webhook-id").to_owned());
    }
    let world = world.killed_and_restarted(&taking).await;
    let mut told = BTreeSet::new();
    for _ in &decided {
        let message = next(&mut heard).await;
        message.says(r#""by":"spiffe://agentgate.local/operator/me","answer":"said""#);
        told.insert(message.header("webhook-id").to_owned());
    }
    assert_eq!(told, decided.into_iter().collect());
    let slot = Digest::of("agentgate/slot/webhook-told/1", b"");
    let marks = async || world.journal.slot(slot).await.unwrap().filter(|marks| marks.len() == 1 + 2 * 8);
    eventually("both are marked", marks).await;
    let world = world.killed_and_restarted(&taking).await;
    let asked = world.vm_of("filter-laptop", [9; 16]).await.decided(call(4, "add_note")).await;
    let message = next(&mut heard).await;
    assert_eq!(message.header("webhook-id"), format!("{}_requested", asked.approval), "{}", message.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_is_shown_and_holds_nothing_up() {
    let (setup, mut heard, _directory) = receiver("500 Internal Server Error").await;
    let world = World::with(setup).await;
    let mut vm = world.vm().await;
    assert_eq!(vm.decided(call(1, "add_note")).await.verdict(), Verdict::Pending);
    next(&mut heard).await;
    let shown = eventually("the trouble is shown", async || Some(trouble(&world).await).filter(|shown| !shown.is_empty())).await;
    assert!(shown.contains("`127.0.0.1`: it answered 500"), "{shown}");
    assert_eq!(vm.decided(call(2, "read_note")).await.verdict(), Verdict::Allow);
}

/// The example of the documents, run as it stands there.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_example_verifies_what_is_sent() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating.md")).unwrap();
    let mut blocks = text.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next());
    let example = blocks.find(|block| block.contains("webhook-signature")).expect("an example in docs/operating.md");

    let (setup, mut heard, _directory) = receiver("204 No Content").await;
    let world = World::with(setup).await;
    world.vm().await.decided(call(1, "add_note")).await;
    let heard = next(&mut heard).await;
    let verified = |body: &str, later_s: u32| {
        let program = format!("{example}\nimport sys\nnames = ('webhook-id', 'webhook-timestamp', 'webhook-signature')\n")
            + "headers = dict(zip(names, sys.argv[2:5]))\n"
            + "print(is_ours(sys.argv[1], headers, sys.argv[5].encode(), int(sys.argv[3]) + int(sys.argv[6])))\n";
        let [id, at, signature] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| heard.header(name));
        let arguments = ["-c", &program, SECRET, id, at, signature, body, &later_s.to_string()];
        let output = Command::new("python3").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim() == "True"
    };
    assert!(verified(&heard.body, 0));
    assert!(!verified(&heard.body.replace("add_note", "add-note"), 0), "another body");
    assert!(!verified(&heard.body, 3_600), "an old message, sent once more");
}
