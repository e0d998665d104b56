//! When there is no answer: exit codes, and what is said to do next.

use crate::double::{Answers, command, json, text};
use agentgate_proto::v1;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Output;
use std::thread;
use tonic::Code;

fn check(output: &Output, code: i32, said: &[&str]) {
    let words = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words}");
    for said in said {
        assert!(words.contains(said), "`{said}` in\n{words}");
    }
    assert!(output.stdout.is_empty(), "nothing of a failure goes to standard output");
}

#[test]
fn an_answer_that_is_no_has_its_own_exit_code() {
    for (refusal, code, said) in [
        ((Code::PermissionDenied, "not an operator"), 4, "[[operator]]"),
        ((Code::Unauthenticated, "no SPIFFE ID"), 4, "[[operator]]"),
        ((Code::InvalidArgument, "page_token is not ours"), 2, "page_token"),
        ((Code::FailedPrecondition, "no"), 1, "no"),
        ((Code::Unimplemented, ""), 3, "operators' listener"),
        ((Code::ResourceExhausted, "too many"), 3, "try again"),
        ((Code::Unavailable, "the journal\u{1b} is gone"), 3, "the journal\\u{1b} is gone"),
        ((Code::Internal, "boom"), 3, "log"),
    ] {
        let double = Answers { refusal: Some(refusal), ..Default::default() }.serve();
        check(
            &double.agentgate(&["trace", "list"]),
            code,
            &[said, "next"].map(|text| if code == 2 || code == 1 { said } else { text }),
        );
    }
    let role = "`spiffe://a/operator/me` has not the role `viewer`; give it to them in `roles` of their [[operator]]";
    let known = Answers { refusal: Some((Code::PermissionDenied, role)), ..Default::default() }.serve();
    let output = known.agentgate(&["trace", "list"]);
    check(&output, 4, &[role]);
    assert!(!text(&output.stderr).contains("listener"), "it was the right one: {output:?}");
    let double = Answers::default().serve();
    check(&double.agentgate(&["trace", "show", "77"]), 1, &["no call `77`"]);
}

#[test]
fn a_check_of_nothing_is_no_success_though_a_control_plane_answers() {
    let double = Answers::default().serve();
    check(&double.agentgate(&["check"]), 2, &["nothing to look at", "--envoy-config FILE", "--directory DIR"]);
    check(&double.agentgate(&["check", "--directory", "nowhere"]), 5, &["cannot read the folder nowhere"]);
    let here = env!("CARGO_MANIFEST_DIR");
    check(&double.agentgate(&["check", "--directory", here]), 5, &["there is no certificate (`*.pem`) in"]);
}

#[test]
fn a_key_of_the_wrong_kind_is_answered_with_where_it_goes() {
    const VERIFIER: &str = "agentgate.local/log/bf66e585+253783b8+AdDxeTnG88PTib772adUn23fC0/v785BBzL5UsPitNfB";
    let double = Answers::default().serve();
    let is_verifier = ["is a log's verifier key", "agentgate verify PATH --key", "AGENTGATE_KEY"];
    check(&double.agentgate(&["status", "--key", VERIFIER]), 2, &is_verifier);
    check(&double.agentgate(&["--key", VERIFIER, "verify", "pack"]), 2, &["write it behind the verb", "operator's TLS key"]);
    let late = ["--since", "5m", "--until", "10m"];
    check(
        &double.agentgate(&[&["evidence", "pack", "--out", "nowhere"][..], &late].concat()),
        2,
        &["--until is not after --since"],
    );
}

#[test]
fn nobody_there_is_told_apart_from_not_permitted() {
    // A client's own port: it stays taken, and nobody listens on it.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    let nobody = format!("https://{}", client.local_addr().expect("an address"));
    let double = Answers::default().serve();
    let stranger = Answers::default().serve();
    check(&double.agentgate(&["status", "--endpoint", &nobody]), 3, &["cannot reach", "is it running?", "AGENTGATE_ENDPOINT"]);
    check(&double.agentgate(&["status", "--endpoint", &stranger.endpoint]), 4, &["is not accepted", "--authority"]);
    check(&double.agentgate_as("operator-late", &["status"]), 4, &["does not accept our certificate", "authority issue"]);
    let elsewhere = Answers::default().serve_as("elsewhere");
    check(&elsewhere.agentgate(&["status"]), 4, &["is not accepted", "--ip ADDRESS"]);
    let plain = speaks_no_tls();
    check(&double.agentgate(&["status", "--endpoint", &plain]), 3, &["cannot reach", "operators' listener?"]);
}

/// Where one connection gets an answer in plain HTTP, as the metrics listener gives it.
fn speaks_no_tls() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("https://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("a connection");
        let mut hello = [0_u8; 1];
        peer.read_exact(&mut hello).expect("a client speaks first");
        peer.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").expect("an answer");
        let mut rest = Vec::new();
        let _ = peer.read_to_end(&mut rest);
    });
    endpoint
}

#[test]
fn a_command_line_that_cannot_work_says_why() {
    let double = Answers::default().serve();
    for (arguments, code, said) in [
        (&["status", "--endpoint", "http://127.0.0.1:1"][..], 2, "https://127.0.0.1:9444"),
        (&["status", "--endpoint", "127.0.0.1:1"], 2, "is no endpoint"),
        (&["status", "--key", "/nowhere"], 5, "cannot read /nowhere"),
        (&["trace", "list", "--verdict", "maybe"], 2, "allow, pending, deny"),
        (&["trace", "list", "--limit", "0"], 2, "--limit"),
        (&["trace", "lst"], 2, "'list'"),
        (&[], 2, "Usage"),
    ] {
        check(&double.agentgate(arguments), code, &[said]);
    }
    let output = command(&["status"]).output().expect("the binary runs");
    check(&output, 2, &["--authority is not given", "AGENTGATE_AUTHORITY", "agentgate authority issue"]);
}

#[test]
fn a_directory_that_is_no_journal_is_said_to_be_none() {
    let double = Answers::default().serve();
    let (wrong, to) = (double.directory.path().to_str().expect("a path").to_owned(), double.directory.path().join("to"));
    let backup = double.agentgate(&["journal", "backup", "--from", &wrong, to.to_str().expect("a path")]);
    check(&backup, 1, &["is no journal", "next: give `directory` in the control plane's [journal]"]);
    assert!(!to.exists() && !double.directory.path().join("hold-bodies").exists(), "nothing was made");
}

#[test]
fn a_failure_for_programs_is_json_as_well() {
    let double = Answers { refusal: Some((Code::PermissionDenied, "not an operator")), ..Default::default() }.serve();
    let mut output = double.agentgate(&["status", "--output", "json"]);
    assert_eq!(output.status.code(), Some(4));
    output.stdout = output.stderr.clone();
    let failure = json(&output);
    assert_eq!(failure["error"]["exit"], "not_permitted");
    assert_eq!(failure["error"]["messages"][0], "not an operator");
}

#[test]
fn a_verb_that_reaches_no_control_plane_takes_no_connection() {
    let double = Answers::default().serve();
    for (arguments, wanted) in [
        (&["authority", "init"][..], "Usage: agentgate authority init --directory <DIR>\n"),
        (&["authority", "issue"], "Usage: agentgate authority issue --directory <DIR> <NAME>\n"),
        (&["policy", "test"], "Usage: agentgate policy test <DIR>\n"),
        (&["trace", "show"], "Usage: agentgate trace show [OPTIONS] <ID>\n"),
        (&["trace", "list", "--what"], "Usage: agentgate trace list [OPTIONS]\n"),
        (&["trace", "tail", "what"], "Usage: agentgate trace tail [OPTIONS]\n"),
        (&["status", "--what"], "Usage: agentgate status [OPTIONS]\n"),
    ] {
        check(&double.agentgate(arguments), 2, &[wanted]);
        let verb = if arguments[0] == "status" { &arguments[..1] } else { &arguments[..2] };
        let help = text(&double.agentgate(&[verb, &["--help"]].concat()).stdout);
        let reaches = matches!(arguments[0], "trace" | "status");
        assert_eq!(help.contains("--endpoint <URL>"), reaches, "{arguments:?}: {help}");
    }
}

#[test]
fn a_principal_is_asked_for_by_its_whole_name_or_by_an_end_that_only_one_has() {
    let call = |principal: &str| v1::CallTrace { principal: principal.into(), ..Default::default() };
    let traces = vec![call("spiffe://a/agent/laptop"), call("spiffe://a/agent/ci"), call("spiffe://b/agent/ci")];
    let double = Answers { traces, ..Default::default() }.serve();
    check(&double.agentgate(&["trace", "list", "--principal", "laptop2"]), 1, &["ends with `/laptop2`", "its whole name"]);
    check(&double.agentgate(&["trace", "list", "--principal", "agent/ci"]), 1, &["may be `spiffe://a/agent/ci` or `spiffe://b"]);
    for (named, asked_for) in [
        ("agent/laptop", "spiffe://a/agent/laptop"),
        ("spiffe://c/x", "spiffe://c/x"),
        ("user:alice@https://idp", "user:alice@https://idp"),
    ] {
        let output = double.agentgate(&["trace", "list", "--principal", named]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let asked = double.asked.lock().expect("unpoisoned");
        assert_eq!(
            asked.last().and_then(|request| request.filter.as_ref()).map(|filter| filter.principal.as_str()),
            Some(asked_for)
        );
    }
}

#[test]
fn a_new_certificate_says_what_it_is_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("o'clock pki");
    let run = |words: &[&str]| {
        let output = command(&[words, &["--directory", &place.display().to_string()]].concat()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        text(&output.stdout)
    };
    assert!(run(&["authority", "init"]).contains("agentgate authority issue control-plane"));
    for (name, wanted) in [
        ("operator/me", &["[[operator]]", "export AGENTGATE_ENDPOINT=https://", r"o'\''clock pki/operator-me.key'"][..]),
        ("filter/laptop", &["[[filter]]", "certs/"]),
        ("control-plane", &["[tls]", "o'clock pki/authority.pem\""]),
        ("agent/laptop", &["`principal`", "`peers`"]),
    ] {
        let said = run(&["authority", "issue", name]);
        for word in wanted {
            assert!(said.contains(word), "{word} in\n{said}");
        }
    }
}
