//! The oracle in Go: `golang.org/x/mod/sumdb`, in the program of `proto/core/tests/oracles/sumdb`. Where no Go is, or one that is
//! too old for it, the test says so and looks no further: it fetches no Go.

use super::forest::{Forest, Table, mth, place};
use super::note::{log, witness};
use agentgate_core::transparency::checkpoint::Checkpoint;
use agentgate_core::transparency::key::KeyName;
use agentgate_core::transparency::note::Note;
use agentgate_core::transparency::proof::{Plan, Proof};
use agentgate_core::transparency::tile::Tile;
use agentgate_core::transparency::tree::Hash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SIZE: u64 = 700;

/// The oracle's program, or why there is none.
fn build() -> Result<PathBuf, String> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sumdb");
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-buildvcs=false", "-o"]).arg(&program).arg(".");
    // The Go that is there or none: it fetches itself in another version otherwise.
    go.env("GOTOOLCHAIN", "local").env("GOWORK", "off");
    let built = go.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracles/sumdb")).output();
    match built {
        Ok(output) if output.status.success() => Ok(program),
        Ok(output) => {
            let words = String::from_utf8_lossy(&output.stderr);
            assert!(words.contains("requires go >="), "`go build` of the oracle ended with {}: {words}", output.status);
            Err(format!("the Go that is here is too old: {}", words.trim()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Err("there is no Go here".into()),
        Err(error) => panic!("starting `go build`: {error}"),
    }
}

fn ask(program: &Path, question: &Value) -> Value {
    let mut oracle = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = oracle.stdin.take().unwrap();
    let bytes = question.to_string();
    let writer = std::thread::spawn(move || input.write_all(bytes.as_bytes()).unwrap());
    let output = oracle.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "the oracle ended with {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn texts(proof: &Proof) -> Vec<String> {
    proof.hashes().iter().map(ToString::to_string).collect()
}

fn proof_of(answer: &Value) -> Proof {
    let hashes = answer["proof"].as_array().cloned().unwrap_or_default();
    Proof::new(hashes.iter().map(|hash| Hash::parse(hash.as_str().unwrap()).unwrap()).collect()).unwrap()
}

#[test]
fn go_reads_what_we_write_and_we_read_what_go_writes() {
    let program = match build() {
        Ok(program) => program,
        Err(why) => return eprintln!("not compared with Go's sumdb: {why}"),
    };
    let forest = Forest::of(SIZE);
    let leaves = forest.leaves();
    let table = Table::of(leaves.clone());
    let sizes = [1, 2, 3, 5, 8, 100, 255, 256, 257, 511, 512, 513, 640, SIZE];
    let pairs: Vec<(u64, u64)> =
        sizes.iter().flat_map(|new| (1..=*new).step_by(61).chain([*new]).map(move |old| (old, *new))).collect();
    let included: Vec<_> =
        pairs.iter().map(|(old, new)| (old - 1, *new, Plan::inclusion(old - 1, *new).unwrap().proof(&table).unwrap())).collect();
    let grown: Vec<_> =
        pairs.iter().map(|(old, new)| (*old, *new, Plan::consistency(*old, *new).unwrap().proof(&table).unwrap())).collect();
    let key = log("log.example/a");
    let origin = KeyName::try_from("log.example/a").unwrap();
    let body = Checkpoint { origin, size: SIZE, root: forest.edge.root(), extensions: vec!["more".into()] }.to_string();
    let note = |text: &str| {
        let mut note = Note::new(text).unwrap();
        note.sign(&log("somebody.else")).unwrap();
        note.sign(&key).unwrap();
        note.cosign(&witness("w.example"), 1_700_000_000).unwrap();
        note.to_string()
    };
    let forged = note("a\n").replacen("a\n", "b\n", 1);

    let changed = [(0, 1), (255, 256), (256, 257), (0, 70_000), (69_999, 140_000), (65_535, 65_536), (9, 9)];
    let answer = ask(
        &program,
        &json!({
            "leaves": forest.entries.iter().map(|entry| STANDARD.encode(entry.encode())).collect::<Vec<_>>(),
            "signer": key.secret_text(),
            "verifier": key.verifier().to_string(),
            "sign": [body, "a\n\nb\n"],
            "open": [note(&body), note("a\n\nb\n"), forged],
            "included": included.iter().map(|(index, size, proof)| json!({"index": index, "size": size, "proof": texts(proof)})).collect::<Vec<_>>(),
            "grown": grown.iter().map(|(old, new, proof)| json!({"old": old, "new": new, "proof": texts(proof)})).collect::<Vec<_>>(),
            "changed": changed,
        }),
    );

    let roots: Vec<Hash> =
        answer["roots"].as_array().unwrap().iter().map(|root| Hash::parse(root.as_str().unwrap()).unwrap()).collect();
    let root = |size: u64| roots[place(size) - 1];
    assert_eq!((roots.len() as u64, root(SIZE)), (SIZE, forest.edge.root()));
    assert!(sizes.iter().all(|size| root(*size) == mth(&leaves[..place(*size)])));

    let tiles = answer["tiles"].as_object().unwrap();
    assert_eq!(tiles.len(), Tile::changed(0, SIZE).count());
    for (path, bytes) in tiles {
        assert_eq!(Some(&STANDARD.decode(bytes.as_str().unwrap()).unwrap()), forest.files.get(path), "{path}");
    }
    for ((old, new), theirs) in changed.iter().zip(answer["changed"].as_array().unwrap()) {
        assert_eq!(*theirs, json!(Tile::changed(*old, *new).map(|tile| tile.path()).collect::<Vec<_>>()), "{old} {new}");
    }

    for ((index, size, proof), theirs) in included.iter().zip(answer["included"].as_array().unwrap()) {
        assert_eq!((theirs["wrong"].as_str(), &proof_of(theirs)), (Some(""), proof), "{index} {size}");
        assert_eq!(proof_of(theirs).includes(leaves[place(*index)], *index, *size, root(*size)), Ok(()));
    }
    for ((old, new, proof), theirs) in grown.iter().zip(answer["grown"].as_array().unwrap()) {
        assert_eq!((theirs["wrong"].as_str(), &proof_of(theirs)), (Some(""), proof), "{old} {new}");
        assert_eq!(proof_of(theirs).extends((*old, root(*old)), (*new, root(*new))), Ok(()));
    }

    for (signed, text) in answer["signed"].as_array().unwrap().iter().zip([body.as_str(), "a\n\nb\n"]) {
        let read = Note::parse(signed.as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(
            (read.text(), read.signed_by(key.verifier()), read.to_string().as_str()),
            (text, Ok(true), signed.as_str().unwrap())
        );
    }
    let refused = format!("refused: invalid signature for key {}", key.verifier().id());
    assert_eq!(answer["opened"], json!([body, "a\n\nb\n", refused]));
}
