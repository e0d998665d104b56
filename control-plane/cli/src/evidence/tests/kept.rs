//! What is kept or opened although somebody spoiled it: nothing. Each way has a name.

use super::refused;
use super::{Archive, objects, packs};
use crate::evidence::archive::{self, keep};
use crate::evidence::{list, open, policy};
use crate::failure::Exit;
use crate::pack::files::{NOTE_FILE, Named, PACK_FILE, PDF_FILE, REPORT_FILE, digest};
use crate::pack::report;
use crate::pack::tests::made::{Made, put, sign, statement};
use crate::pack::{Body, Pack};
use crate::screen::{Charset, Screen};
use crate::text::hex;
use crate::verify::tests::book::signer;
use agentgate_core::error::chain;
use agentgate_policies::{Bundle, folder};
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
fn nothing_is_archived_that_lasts_and_that_nobody_needs() {
    let text = b"alice.smith@example.com wrote: this is to be forgotten, as it was asked for";
    let signature = |name: &str, bytes: usize| {
        use base64::Engine as _;
        let bytes: Vec<u8> = text.iter().copied().cycle().take(4 + bytes).collect();
        format!("\u{2014} {name} {}\n", base64::engine::general_purpose::STANDARD.encode(bytes)).into_bytes()
    };
    let keeps = |case: &str, spoil: &dyn Fn(&Path)| {
        let at = Archive::new();
        let (pack, archive) = (at.path().join("pack"), at.path().join("archive"));
        Made::of_everything().write(true, &pack);
        spoil(&pack);
        keep(&pack, &archive, &[]).expect(case);
    };
    let by = |note: &'static str, name: &'static str, bytes: usize| {
        let line = signature(name, bytes);
        move |at: &Path| match note {
            "pack.note" => {
                let whole = fs::read(at.join(NOTE_FILE)).expect("read");
                fs::write(at.join(NOTE_FILE), [&whole[..], &line].concat()).expect("written");
            }
            "manifest" => spoiled(at, |pack| pack.manifest.extend(&line)),
            _ => spoiled(at, |pack| pack.checkpoint.extend(&line)),
        }
    };
    for note in ["pack.note", "manifest", "checkpoint"] {
        for (name, bytes) in [("alice.smith@example.com", 60), ("alice.smith@example.com", 64), ("log.example/test", 65)] {
            refused(note, &by(note, name, bytes), &format!("`{note}` has a signature line of `{name}`"));
        }
        keeps(note, &by(note, "log.example/test", 64));
    }
    keeps("a witness", &by("checkpoint", "witness.example", 72));
    for bytes in [71, 73] {
        refused(
            "no witness",
            &by("checkpoint", "witness.example", bytes),
            "`checkpoint` has a signature line of `witness.example`",
        );
    }
    refused(
        "a witness of a list",
        &by("manifest", "witness.example", 72),
        "`manifest` has a signature line of `witness.example`",
    );
    refused(
        "a witness of files",
        &by("pack.note", "witness.example", 72),
        "`pack.note` has a signature line of `witness.example`",
    );
    let key = |key: String| move |at: &Path| spoiled(at, |pack| pack.keys.push(key.clone()));
    keeps("a key", &key(signer(2).verifier().to_string()));
    for other in [String::from_utf8_lossy(text).into_owned(), crate::verify::tests::book::witness(2).verifier().to_string()] {
        refused("no key of the log", &key(other), "`keys[1]` of `pack.json` is no verifier key of the log `log.example/test`");
    }
    let bundle = |digest: Vec<u8>, content: &[u8]| {
        let content = content.to_vec();
        move |at: &Path| spoiled(at, |pack| pack.bundles.push((digest.clone(), content.clone())))
    };
    refused("a policy of nobody", &bundle(vec![7; 32], text), "no decision names it, and nothing erases it in an archive");
    let own = Made::of_everything().pack(true).bundles[0].clone();
    refused("a policy twice", &bundle(own.0, &own.1), "is in it twice, and nothing erases it in an archive");
    let other = |at: &Path| spoiled(at, |pack| pack.bundles[0].1 = text.to_vec());
    refused("another policy", &other, "is another one, and nothing erases it in an archive");
}

#[test]
fn what_another_release_made_is_listed_and_opened_but_for_what_it_could_hide() {
    let keys = [signer(1).verifier().to_string()];
    let question = crate::verify::question(&keys).expect("a question");
    let later = |at: &Path| {
        rewrite(&at.join(PACK_FILE), |text| text.replacen(report_release().as_str(), "\"release\": \"9.9.9\"", 1));
        rewrite(&at.join(REPORT_FILE), |text| text + "<!-- alice -->");
    };
    let more = |at: &Path| {
        later(at);
        fs::write(at.join("alice.txt"), "alice").expect("written");
        let note = fs::read_to_string(at.join(NOTE_FILE)).expect("read");
        let text = format!("{}\n{} alice.txt\n", note.split("\n\n").next().expect("a text"), digest(b"alice"));
        fs::write(at.join(NOTE_FILE), statement(&text, &signer(1))).expect("written");
    };
    let cosigned = |at: &Path| {
        let line = b"\xe2\x80\x94 alice.smith QUFBQUFBQUFBQUFBQUFBQQ==\n";
        let whole = fs::read(at.join(NOTE_FILE)).expect("read");
        fs::write(at.join(NOTE_FILE), [&whole[..], line].concat()).expect("written");
    };
    let no_file = "`alice.txt` was signed and is no file of a pack";
    let cases: [Spoiled<'_>; 3] = [
        ("another page", &later, None),
        ("a file more", &more, Some(no_file)),
        ("a line more", &cosigned, Some("`alice.smith`")),
    ];
    for (case, spoil, wrong) in cases {
        let at = Archive::new();
        let (pack, archive) = (at.path().join("pack"), at.path().join("archive"));
        Made::of_everything().write(true, &pack);
        spoil(&pack);
        let opened = open::judged(&pack, &keys).map(drop).map_err(|failure| failure.chain().join(": "));
        let name = digest(&fs::read(pack.join(NOTE_FILE)).expect("read"));
        fs::create_dir(&archive).expect("made");
        fs::rename(&pack, archive.join(&name)).expect("mine");
        let all = list::read(&archive, &question).expect("read");
        let screen = Screen { color: false, charset: Charset::Unicode, columns: 400, terminal: false };
        let said = list::render(&all, &screen);
        match wrong {
            None => {
                assert!(opened.is_ok() && all[0].report.holds(), "{case}: {opened:?} {said}");
                let unshown = "that `report.html` says what the pack holds: the pack says that release 9.9.9 made it";
                assert!(said.contains("\nNot shown\n") && said.contains(unshown), "{case}: {said}");
                assert!(all[0].to_json()["not_shown"].to_string().contains(unshown), "{case}");
            }
            Some(wrong) => {
                assert!(opened.is_err_and(|why| why.contains(wrong)), "{case}");
                assert!(!all[0].report.holds() && said.contains(wrong), "{case}: {said}");
            }
        }
    }
}

/// What was done to a pack, and what is said of it.
type Spoiled<'a> = (&'a str, &'a dyn Fn(&Path), Option<&'a str>);

fn report_release() -> String {
    format!("\"release\": \"{}\"", crate::pack::RELEASE)
}

#[test]
fn a_file_that_no_reader_takes_is_not_written() {
    use crate::evidence::places::fits;
    use crate::pack::files::FILE_BYTES_MAX;
    let most = usize::try_from(FILE_BYTES_MAX).expect("small");
    fits(PACK_FILE, most).expect("fits");
    let failure = fits(PACK_FILE, most + 1).expect_err("more");
    assert!(
        failure.exit == Exit::Refused && failure.chain()[0].contains("no pack's file has more than 134217728"),
        "{failure:?}"
    );
}

#[test]
fn what_does_not_follow_from_the_pack_itself_is_not_archived() {
    const WORDS: &str = "alice.smith@example.com did it";
    let says = |note: &[u8], after: &str| {
        let text = String::from_utf8_lossy(note).replacen(after, &format!("\n{WORDS}{after}"), 1);
        assert!(text.contains(WORDS));
        text.into_bytes()
    };
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Pack), &'a str);
    let changes: [Change<'_>; 6] = [
        (
            "words for ciphertext",
            &|pack| pack.records[1].body = Body::Sealed(WORDS.into()),
            "the body of record 2 is not the one that it names",
        ),
        ("words in a record", &|pack| pack.records[1].record.extend(WORDS.bytes()), "the record 2 that was given is not the one"),
        ("words in the list", &|pack| pack.manifest = says(&pack.manifest, "\npii off"), "does not hold"),
        ("words in the checkpoint", &|pack| pack.checkpoint = says(&pack.checkpoint, "\n\n"), "does not hold"),
        ("a key twice", &|pack| pack.keys.push(pack.keys[0].clone()), "is named twice"),
        ("no key", &|pack| pack.keys.clear(), "1 to 100 keys, and not 0"),
    ];
    for (case, change, words) in changes {
        refused(case, &|at| spoiled(at, |pack| change(pack)), words);
    }
    // Whoever gives the key does not ask the pack for it.
    let at = Archive::new();
    let (pack, archive) = (at.path().join("pack"), at.path().join("archive"));
    Made::of_everything().write(true, &pack);
    let key = |seed: u8| [signer(seed).verifier().to_string()];
    let failure = keep(&pack, &archive, &key(2)).expect_err("another key");
    assert!(failure.chain().join(": ").contains("no key that was given signed the files of the pack"), "{failure:?}");
    assert!(keep(&pack, &archive, &key(1)).is_ok());
}

#[test]
fn a_pack_that_somebody_signed_again_is_archived_by_its_own_keys_alone_and_listed_as_wrong() {
    let key = |seed: u8| signer(seed).verifier().to_string();
    let question = crate::verify::question(&[key(1)]).expect("a question");
    let again = |note: &[u8]| {
        let text = String::from_utf8_lossy(note).split("\n\n").next().expect("a text").to_owned() + "\n";
        statement(&text, &signer(2))
    };
    let his_own = |pack: &mut Pack| {
        (pack.manifest, pack.checkpoint) = (again(&pack.manifest), again(&pack.checkpoint));
        pack.keys = vec![key(2)];
    };
    type Change<'a> = (&'a str, &'a dyn Fn(&mut Pack), Vec<String>);
    let cases: [Change<'_>; 2] = [
        ("all by a key of his own", &his_own, vec![key(2)]),
        ("its files alone, beside the log's key", &|pack| pack.keys.push(key(2)), vec![key(1), key(2)]),
    ];
    for (case, change, believed) in cases {
        let at = Archive::new();
        let (directory, archive) = (at.path().join("pack"), at.path().join("archive"));
        let mut pack = Made::of_everything().pack(true);
        change(&mut pack);
        put(&pack, &directory, &signer(2));
        let failure = archive::archive(&directory, &archive, &[key(1)]).expect_err(case);
        assert!(failure.chain().join(": ").contains("no key that was given signed"), "{case}: {failure:?}");
        let archived = archive::archive(&directory, &archive, &[]).expect(case);
        assert_eq!(archived.own_keys, believed, "{case}");
        let all = list::read(&archive, &question).expect("read");
        assert!(all.len() == 1 && !all[0].report.holds(), "{case}: {all:#?}");
    }
    let at = Archive::new();
    let (pack, archive) = (at.path().join("pack"), at.path().join("archive"));
    Made::of_everything().write(true, &pack);
    let archived = archive::archive(&pack, &archive, &[key(1)]).expect("archived");
    assert!(archived.own_keys.is_empty(), "whoever gives a key believes no other");
}

#[test]
fn what_lies_in_an_archive_already_is_not_read_where_it_has_another_length() {
    let at = Archive::new();
    let (pack, archive) = (at.path().join("pack"), at.path().join("archive"));
    Made::of_everything().write(true, &pack);
    let place = archive.join(digest(&fs::read(pack.join(NOTE_FILE)).expect("read")));
    fs::create_dir_all(&place).expect("made");
    // More than any machine has memory for, and no block of a disk.
    fs::File::create(place.join(PACK_FILE)).and_then(|file| file.set_len(1 << 43)).expect("sparse");
    let failure = keep(&pack, &archive, &[]).expect_err("something else");
    assert!(failure.chain().join(": ").contains("pack.json` is there already and holds something else"), "{failure:?}");
}

#[test]
fn a_link_is_never_what_an_archive_holds() {
    let at = Archive::new();
    let (pack, archive) = (at.path().join("pack"), at.path().join("archive"));
    Made::of_everything().write(true, &pack);
    let (name, _) = keep(&pack, &archive, &[]).expect("archived");
    let place = archive.join(&name);
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("mine");
    let refused = |case: &str, path: &Path| {
        let failure = keep(&pack, &archive, &[]).expect_err(case);
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
fn a_directory_that_cannot_be_listed_is_not_taken_for_one_that_holds_nothing_else() {
    let at = Archive::new();
    let pack = at.path().join("pack");
    Made::of_everything().write(true, &pack);
    let named = Named::read(&pack).expect("a note");
    assert_eq!(named.others(&pack).expect("listed"), Vec::<String>::new());
    let error = named.others(&at.path().join("none")).expect_err("nothing to list");
    assert!(chain(&error).contains("cannot read"), "{}", chain(&error));
}

#[test]
fn what_others_write_beside_is_left_alone() {
    let at = Archive::new();
    let (pack, archive) = (at.path().join("pack"), at.path().join("archive"));
    Made::of_everything().write(true, &pack);
    fs::create_dir(&archive).expect("made");
    let other = archive.join(format!(".{}.part", std::process::id()));
    fs::write(&other, "half").expect("written");
    let (name, _) = keep(&pack, &archive, &[]).expect("archived");
    assert_eq!((fs::read(&other).expect("read"), fs::read_dir(&archive).expect("there").count()), (b"half".to_vec(), 2));

    // What was there before is closed as well.
    let file = archive.join(name).join(PACK_FILE);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("mine");
    keep(&pack, &archive, &[]).expect("again");
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
    assert_eq!(
        all[0].report.all_wrong(),
        [
            "the body of record 2 is open, and nothing could erase it in an archive; `agentgate evidence pack --sealed` leaves it sealed"
        ]
    );
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
    let erased = |at: &Path| {
        let mut made = Made::of_everything();
        made.erase(2);
        made.write(true, at);
    };
    check("erased in part", &erased, Ok(14));
    let said = |pack: &mut Pack| pack.records[1].body = Body::Erased;
    check("said to be erased", &|at| spoiled(at, said), Err("the body of record 2 is said to be erased"));
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

#[test]
fn the_policies_of_a_pack_are_written_as_the_folders_that_they_were() {
    let at = tempfile::tempdir().expect("a directory");
    let of = |name: &str| at.path().join(name);
    let made = Made::of_everything();
    let digest = hex(&made.pack(false).bundles[0].0);
    for (case, sealed) in [("open", false), ("sealed", true)] {
        made.write(sealed, &of(case));
        let out = of(&format!("{case}-policies"));
        let written = policy::write(&of(case), &out).expect(case);
        let [only] = written.as_slice() else { panic!("{case}: {written:?}") };
        assert_eq!(only.digest, digest, "{case}");
        let files = folder::read(&out.join(&digest)).expect("a folder");
        assert_eq!(files.iter().map(|file| file.path.clone()).collect::<Vec<_>>(), only.files, "{case}");
        assert_eq!(hex(Bundle::load(files).expect("a policy").digest().as_bytes()), digest, "{case}");
        let again = policy::write(&of(case), &out).expect_err("there already");
        assert!(again.exit == Exit::Refused && again.chain()[0].contains("is not empty"), "{case}: {again:?}");
    }
    let spoiled = |spoil: fn(&mut Pack)| {
        let mut pack = made.pack(false);
        spoil(&mut pack);
        pack
    };
    let other = spoiled(|pack| pack.bundles[0].0[0] ^= 1);
    let torn = spoiled(|pack| pack.bundles[0].1.truncate(30));
    let outside = spoiled(|pack| {
        let (content, path) = (&mut pack.bundles[0].1, b"cases/methods.yaml");
        let at = content.windows(path.len()).position(|found| found == path).expect("its first file");
        content[at..at + 5].copy_from_slice(b"../..");
    });
    let none = spoiled(|pack| pack.bundles.clear());
    for (case, pack, said) in [
        ("other", other, "is another one: no policy was written"),
        ("torn", torn, "cannot be read: no policy was written"),
        ("outside", outside, "cannot be read: no policy was written"),
        ("none", none, "holds no policy"),
    ] {
        put(&pack, &of(case), &signer(1));
        let failure = policy::write(&of(case), &of("out")).expect_err(case);
        assert!(failure.exit == Exit::Refused && failure.chain()[0].ends_with(said), "{case}: {failure:?}");
        assert_eq!(failure.next().len(), 1, "{case}");
        assert!(!of("out").exists(), "{case}");
        let page = report::html(&pack).expect("a page");
        assert_eq!(page.contains("agentgate evidence policy PACK --out DIR"), ["torn", "outside"].contains(&case), "{case}");
    }
    let absent = policy::write(&of("nosuch"), &of("out")).expect_err("none");
    assert!(absent.exit == Exit::Local && absent.next()[0].contains("evidence pack"), "{absent:?}");
}
