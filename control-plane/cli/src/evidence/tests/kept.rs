//! What is kept or opened although somebody spoiled it: nothing. Each way has a name.

use super::made::{Made, put, sign, statement};
use super::refused;
use super::{Archive, objects, packs};
use crate::evidence::archive::keep;
use crate::evidence::files::{NOTE_FILE, PACK_FILE, PDF_FILE, REPORT_FILE, digest};
use crate::evidence::pack::{Body, Pack};
use crate::evidence::{list, open, report};
use crate::failure::Exit;
use crate::screen::{Charset, Screen};
use crate::verify::tests::book::signer;
use agentgate_core::error::chain;
use agentgate_proto::v1::record::What;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

fn read(pack: &Value) -> Result<(), String> {
    let read = Pack::read(Path::new(PACK_FILE), pack.to_string().as_bytes());
    read.map(drop).map_err(|error| chain(&error))
}

#[test]
fn a_field_more_is_refused_by_name() {
    for (form, pack) in packs() {
        read(&pack).expect(form);
        for way in objects(&pack, "") {
            let mut more = pack.clone();
            let object = more.pointer_mut(&way).and_then(Value::as_object_mut).expect("an object");
            object.insert("unnamed".into(), json!(1));
            let why = read(&more).expect_err(&way);
            assert!(why.contains("unnamed` is not a field of its form"), "{form}, `{way}`: {why}");
        }
    }
}

#[test]
fn a_body_is_of_one_form() {
    let refused = |case: &str, body: Value, field: &str| {
        let mut pack = Made::of_everything().pack(true).to_json();
        pack["records"][1]["body"] = body;
        let why = read(&pack).expect_err(case);
        assert!(why.contains(&format!("`records[1].body.{field}` is not a field of its form")), "{case}: {why}");
    };
    refused("sealed, and plain", json!({ "erased": false, "sealed": "AA==", "plain": "AA==" }), "plain");
    refused("sealed, and its salt", json!({ "erased": false, "sealed": "AA==", "salt": "AA==" }), "salt");
    refused("erased, and plain", json!({ "erased": true, "plain": "AA==" }), "plain");
    refused("erased, and sealed", json!({ "erased": true, "sealed": "AA==" }), "sealed");
    refused("altered, and sealed", json!({ "erased": false, "altered": "redact", "plain": "", "sealed": "" }), "sealed");
}

#[test]
fn records_stand_in_the_order_of_the_journal() {
    let mut pack = Made::of_everything().pack(false);
    pack.records.swap(2, 3);
    let why = read(&pack.to_json()).expect_err("swapped");
    assert!(why.contains("`records[3].sequence` is not in the order of the journal"), "{why}");
}

/// A sealed pack that somebody with the log's key changed.
fn spoiled(pack: &Path, change: impl FnOnce(&mut Pack)) {
    let mut whole = Made::of_everything().pack(true);
    change(&mut whole);
    put(&whole, pack, &signer(1));
}

fn rewrite(path: &Path, change: impl FnOnce(String) -> String) {
    fs::write(path, change(fs::read_to_string(path).expect("read"))).expect("written");
    sign(path.parent().expect("a directory"), &signer(1));
}

#[test]
fn nothing_is_archived_that_nobody_reads() {
    let plain = |text: String| text.replacen("\"sealed\": \"", "\"plain\": \"AA==\", \"sealed\": \"", 1);
    refused("plain beside", &|at| rewrite(&at.join(PACK_FILE), plain), "plain` is not a field of its form");
    let spaces = |text: String| text + " ";
    refused("other bytes", &|at| rewrite(&at.join(PACK_FILE), spaces), "`pack.json` is not what this program makes of the pack");
    let comment = |text: String| text + "<!-- alice -->";
    refused("a page", &|at| rewrite(&at.join(REPORT_FILE), comment), "`report.html` is not what this program makes of the pack");
    let paper = |at: &Path| {
        let mut bytes = fs::read(at.join(PDF_FILE)).expect("read");
        bytes.extend(b"alice");
        fs::write(at.join(PDF_FILE), bytes).expect("written");
        sign(at, &signer(1));
    };
    refused("a paper", &paper, "`report.pdf` is not what this program makes of the pack");
    let twice = |pack: &mut Pack| pack.records.push(pack.records[2].clone());
    refused("twice", &|at| spoiled(at, twice), "record 3 is in it twice");
    let named = |at: &Path, text: &dyn Fn(&str) -> String| {
        let note = fs::read_to_string(at.join(NOTE_FILE)).expect("read");
        let text = text(note.split("\n\n").next().expect("a text")) + "\n";
        fs::write(at.join(NOTE_FILE), statement(&text, &signer(1))).expect("written");
    };
    let more = |at: &Path| {
        fs::write(at.join("more.txt"), "alice").expect("written");
        named(at, &|text| format!("{text}\n{} more.txt", digest(b"alice")));
    };
    refused("a signed file more", &more, "`more.txt` was signed and is no file of a pack");
    let less = |at: &Path| {
        fs::remove_file(at.join(PDF_FILE)).expect("removed");
        named(at, &|text| text.lines().filter(|line| !line.ends_with(PDF_FILE)).collect::<Vec<_>>().join("\n"));
    };
    refused("a signed file less", &less, "`report.pdf` is not among the files that were signed");
    refused("a line more", &|at| named(at, &|text| format!("{text}\nalice")), "names `alice`, which is no name");
}

#[test]
fn a_link_is_never_what_an_archive_holds() {
    let at = Archive::new();
    let (pack, archive) = (at.path().join("pack"), at.path().join("archive"));
    Made::of_everything().write(true, &pack);
    let (name, _) = keep(&pack, &archive).expect("archived");
    let place = archive.join(&name);
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("mine");
    let refused = |case: &str, path: &Path| {
        let failure = keep(&pack, &archive).expect_err(case);
        let says = format!("{}` is a link", path.display());
        assert!(failure.exit == Exit::Refused && failure.chain().join(": ").contains(&says), "{case}: {failure:?}");
    };
    let question = crate::verify::question(&[signer(1).verifier().to_string()]).expect("a question");
    let wrong = |says: &str| {
        let all = list::read(&archive, &question).expect("read");
        assert!(all[0].report.all_wrong().iter().any(|wrong| wrong.contains(says)), "{:?}", all[0].report);
    };
    let (file, elsewhere) = (place.join(PACK_FILE), at.path().join("elsewhere"));
    fs::rename(&file, &elsewhere).expect("mine");
    symlink(&elsewhere, &file).expect("linked");
    refused("a file", &file);
    wrong("`pack.json` is a link");
    fs::remove_file(&file).expect("mine");
    fs::rename(&elsewhere, &file).expect("mine");
    fs::rename(&place, &elsewhere).expect("mine");
    symlink(&elsewhere, &place).expect("linked");
    refused("a directory", &place);
    wrong("it is no directory of its own");
}

#[test]
fn what_others_write_beside_is_left_alone() {
    let at = Archive::new();
    let (pack, archive) = (at.path().join("pack"), at.path().join("archive"));
    Made::of_everything().write(true, &pack);
    fs::create_dir(&archive).expect("made");
    let other = archive.join(format!(".{}.part", std::process::id()));
    fs::write(&other, "half").expect("written");
    let (name, _) = keep(&pack, &archive).expect("archived");
    assert_eq!((fs::read(&other).expect("read"), fs::read_dir(&archive).expect("there").count()), (b"half".to_vec(), 2));

    // What was there before is closed as well.
    let file = archive.join(name).join(PACK_FILE);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("mine");
    keep(&pack, &archive).expect("again");
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o444);
}

#[test]
fn an_open_pack_in_an_archive_does_not_hold() {
    let at = Archive::new();
    let (pack, archive) = (at.path().join("pack"), at.path().join("archive"));
    Made::of_everything().write(false, &pack);
    let note = fs::read(pack.join(NOTE_FILE)).expect("read");
    fs::create_dir(&archive).expect("made");
    fs::rename(&pack, archive.join(digest(&note))).expect("mine");
    let question = crate::verify::question(&[signer(1).verifier().to_string()]).expect("a question");
    let all = list::read(&archive, &question).expect("read");
    assert_eq!(all[0].report.all_wrong(), ["the body of record 2 is open, and nothing erases it here"]);
}

#[test]
fn a_note_cannot_act_on_the_terminal() {
    let at = Archive::new();
    let archive = at.path().join("archive");
    fs::create_dir_all(archive.join("x")).expect("made");
    let text = "agentgate evidence pack 1\nby \u{202e}me\nat \u{202e}now\n";
    fs::write(archive.join("x").join(NOTE_FILE), statement(text, &signer(2))).expect("written");
    let question = crate::verify::question(&[signer(1).verifier().to_string()]).expect("a question");
    let screen = Screen { color: false, charset: Charset::Unicode, columns: 80, terminal: false };
    let said = list::render(&list::read(&archive, &question).expect("read"), &screen);
    assert!(said.contains("\\u{202e}now \\u{202e}me") && !said.contains('\u{202e}'), "{said:?}");
}

#[test]
fn only_a_sealed_pack_that_holds_is_opened() {
    let keys = [signer(1).verifier().to_string()];
    let check = |case: &str, spoil: &dyn Fn(&Path), says: Result<usize, &str>| {
        let at = tempfile::tempdir().expect("a directory");
        Made::of_everything().write(true, at.path());
        spoil(at.path());
        match (open::judged(at.path(), &keys), says) {
            (Ok(pack), Ok(records)) => assert_eq!(pack.records.len(), records, "{case}"),
            (Err(failure), Err(says)) => {
                assert!(failure.exit == Exit::Refused && failure.chain().join(": ").contains(says), "{case}: {failure:?}");
            }
            (opened, _) => panic!("{case}: {opened:?}"),
        }
    };
    check("whole", &|_| (), Ok(14));
    let erased = |pack: &mut Pack| pack.records[1].body = Body::Erased;
    check("erased in part", &|at| spoiled(at, erased), Ok(14));
    check("of a stranger", &|at| put(&Made::of_everything().pack(true), at, &signer(2)), Err("no key that was given signed"));
    let page = |at: &Path| fs::write(at.join(REPORT_FILE), "x").expect("written");
    check("changed", &page, Err("`report.html` is not the file that was signed"));
    let proof = |pack: &mut Pack| pack.records[2].proof = pack.records[3].proof.clone();
    check("another proof", &|at| spoiled(at, proof), Err("the proof that record 3 is in the log does not hold"));
    let record = |pack: &mut Pack| pack.records[2].record = pack.records[1].record.clone();
    check("another record", &|at| spoiled(at, record), Err("record 3 that was given is not the one"));
    let body = |pack: &mut Pack| pack.records[2].body = Body::Sealed(b"other".to_vec());
    check("another ciphertext", &|at| spoiled(at, body), Err("the body of record 3 is not the one that it names"));
    let left_out = |pack: &mut Pack| drop(pack.records.remove(2));
    check("left out", &|at| spoiled(at, left_out), Err("records were left out of it: 3"));
    let plain = |pack: &mut Pack| pack.records[1].body = Made::of_everything().pack(false).records[1].body.clone();
    check("open in part", &|at| spoiled(at, plain), Err("the body of record 2 is open"));
    let altered = |pack: &mut Pack| pack.records[1].body = Body::Altered { plain: b"x".to_vec(), pii: "redact".into() };
    check("altered in part", &|at| spoiled(at, altered), Err("the body of record 2 is open"));
    check("open", &|at| put(&Made::of_everything().pack(false), at, &signer(1)), Err("it holds no body that is sealed"));
}

#[test]
fn nobody_is_said_not_to_have_been_asked_where_somebody_was() {
    let whole = Made::of_everything().pack(false);
    let mut without = whole.clone();
    without.records.retain(|packed| !matches!(packed.what(), Some((_, What::Approval(_)))));
    for (pack, says) in [(&whole, "spiffe://agentgate.local/operator/me</span>"), (&without, "its approval is not in this pack")]
    {
        let page = report::html(pack).expect("a page");
        assert!(page.contains(says) && !page.contains("nobody was asked"), "{says}");
    }
    let paper = report::texts(&without).concat().join(" ");
    assert!(paper.contains("its approval") && !paper.contains("nobody was asked"), "{paper}");
}
