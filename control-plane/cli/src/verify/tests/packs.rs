//! Packs that were spoiled, each by what is said of it and how `agentgate verify` ends.

use super::Said::{self, Not, NotShown, Shown, Wrong};
use super::book::{Book, signer, trust};
use super::{Report, Unreadable, check as check_said, judge, question};
use crate::evidence::remade;
use crate::failure::Exit;
use crate::output::{Desk, Output};
use crate::pack::files::made;
use crate::pack::tests::made::{Call, Made, START_US, list, put, sign, statement};
use crate::pack::{Body, NOTE_FILE, PACK_FILE, PDF_FILE, Pack, REPORT_FILE};
use crate::screen::{Charset, Screen};
use crate::verify::unjudged;
use agentgate_core::error::chain;
use agentgate_core::time::Time;
use agentgate_core::transparency::key::SignerKey;
use agentgate_proto::v1;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Bytes of each file that are flipped, one at a time.
const FLIPPED: usize = 16;

pub(super) fn verified(directory: &Path) -> Result<Report, Unreadable> {
    judge(directory, &question(trust()), &[])
}

/// A pack of this kind, after something was done to its files.
pub(super) fn check(case: &str, made: &Made, sealed: bool, spoil: impl FnOnce(&Path), said: &Said<'_>) {
    let directory = tempfile::tempdir().expect("a directory");
    made.write(sealed, directory.path());
    spoil(directory.path());
    let judged = verified(directory.path());
    check_said(case, &judged, said);
    let wanted = match said {
        Shown(_) | NotShown(_) => Exit::Done,
        Wrong(_) => Exit::Refused,
        Not(_) => Exit::Local,
    };
    let exit = judged.map_or_else(|error| unjudged(error).exit, |report| ended(&report, directory.path()));
    assert_eq!(exit, wanted, "{case}");
}

/// How `agentgate verify` ends.
fn ended(report: &Report, path: &Path) -> Exit {
    told(report, path).0
}

/// How it ends, and what a person reads.
fn told(report: &Report, path: &Path) -> (Exit, String) {
    let screen = Screen { color: false, charset: Charset::Unicode, columns: 80, terminal: false };
    let (mut out, now) = (Vec::new(), Time::from_micros(0));
    let mut desk = Desk { screen, output: Output::Table, now, out: &mut out, person: None };
    let exit = report.say(path, &mut desk).map_or_else(|failure| failure.exit, |()| Exit::Done);
    (exit, String::from_utf8(out).expect("text"))
}

/// As somebody would who has the log's key: the files agree with each other.
pub(super) fn resigned(change: impl FnOnce(&mut Pack)) -> impl FnOnce(&Path) {
    by(signer(1), change)
}

pub(super) fn by(key: SignerKey, change: impl FnOnce(&mut Pack)) -> impl FnOnce(&Path) {
    move |directory| {
        let bytes = fs::read(directory.join(PACK_FILE)).expect("read");
        let (mut pack, _) = Pack::read(directory, &bytes).expect("a pack");
        change(&mut pack);
        put(&pack, directory, &key);
    }
}

/// `pack.json` in other words, and signed again.
pub(super) fn rewritten(change: impl FnOnce(&str) -> String) -> impl FnOnce(&Path) {
    move |directory| {
        let path = directory.join(PACK_FILE);
        let text = fs::read_to_string(&path).expect("read");
        fs::write(&path, change(&text)).expect("written");
        sign(directory, &signer(1));
    }
}

pub(super) fn field(name: &'static str, value: Value) -> impl FnOnce(&str) -> String {
    move |text| {
        let mut pack: Value = serde_json::from_str(text).expect("JSON");
        *pack.pointer_mut(name).expect("there") = value;
        format!("{pack:#}\n")
    }
}

#[test]
fn a_whole_pack_says_what_it_shows() {
    let made = Made::of_everything();
    let whole = |said| check("whole", &made, false, |_| (), &said);
    whole(Shown("3 files are, byte for byte, those that were signed"));
    whole(Shown("it holds the 14 records that the control plane gave, each and no other"));
    whole(Shown("each of 14 records is in the log that the checkpoint is of"));
    whole(Shown("each of 12 bodies is what its record committed to"));
    whole(Shown("its reading (summary, timeline, rules, writes, anomalies) follows from its records"));
    whole(Shown("`report.html` and `report.pdf` say what the pack holds: made of it again, they are the same bytes"));
    whole(Shown("how each body was given, and what, is as the control plane signed it"));
    whole(Shown("signed the files of the pack; spiffe://agentgate.local/operator/me asked for it at 2026-11-22 19:05:52Z"));
    whole(Shown("the records that it gave; spiffe://agentgate.local/operator/me asked for it at 2026-11-22 19:06:52.000Z"));
    whole(NotShown("not witnessed"));
    let mut calls = Made::new();
    calls.call(&Call::default());
    check("decided again", &calls, false, |_| (), &Shown("1 decision comes to the same verdict again"));
    check("sealed", &made, true, |_| (), &Shown("each of 12 sealed bodies is, byte for byte, the one that its record names"));
    check("sealed, and not read", &made, true, |_| (), &NotShown("what 12 sealed bodies say"));
    check(
        "sealed, and not decided again",
        &made,
        true,
        |_| (),
        &NotShown("that decision 2 follows from its facts: its body is sealed"),
    );
}

#[test]
fn a_spoiled_pack_has_a_name_for_what_is_wrong() {
    let all = Made::of_everything();
    let spoiled = |case: &str, spoil: Box<dyn FnOnce(&Path)>, said: Said<'_>| check(case, &all, false, spoil, &said);
    let cut = |file: &'static str| {
        Box::new(move |at: &Path| {
            let bytes = fs::read(at.join(file)).expect("read");
            fs::write(at.join(file), &bytes[..bytes.len() / 2]).expect("written");
        })
    };
    spoiled("pack cut short", cut(PACK_FILE), Wrong("`pack.json` is not the file that was signed"));
    spoiled("page cut short", cut(REPORT_FILE), Wrong("`report.html` is not the file that was signed"));
    spoiled("paper cut short", cut(PDF_FILE), Wrong("`report.pdf` is not the file that was signed"));
    spoiled("note cut short", cut(NOTE_FILE), Not("it is no signed note"));
    spoiled("signed as it was cut", Box::new(rewritten(|text| text[..text.len() / 2].to_owned())), Not("is cut short"));
    let gone = |file: &'static str| Box::new(move |at: &Path| fs::remove_file(at.join(file)).expect("removed"));
    spoiled("no note", gone(NOTE_FILE), Not("lacks `pack.note`"));
    spoiled("no pack", gone(PACK_FILE), Wrong("the pack lacks `pack.json`, which was signed"));
    spoiled("no page", gone(REPORT_FILE), Wrong("the pack lacks `report.html`, which was signed"));
    spoiled("left out", Box::new(resigned(|pack| drop(pack.records.remove(2)))), Wrong("records were left out of it: 3"));
    let twice = |pack: &mut Pack| pack.records.push(pack.records[2].clone());
    spoiled("twice", Box::new(resigned(twice)), Wrong("a record is in it twice"));
    let other_leaf = |pack: &mut Pack| pack.records[2].proof = pack.records[3].proof.clone();
    spoiled("another leaf's proof", Box::new(resigned(other_leaf)), Wrong("the proof that record 3 is in the log does not hold"));
    let other_record = |pack: &mut Pack| pack.records[2].record = pack.records[1].record.clone();
    spoiled("another record", Box::new(resigned(other_record)), Wrong("record 3 that was given is not the one"));
    let other_body = |pack: &mut Pack| pack.records[2].body = pack.records[1].body.clone();
    spoiled("another body", Box::new(resigned(other_body)), Wrong("the body of record 3 is not what the record committed to"));
    let none = |pack: &mut Pack| pack.records[2].body = Body::None;
    spoiled("a body left out", Box::new(resigned(none)), Wrong("record 3 has a body, and the pack says nothing of it"));
    let forged = |pack: &mut Pack| {
        let text = String::from_utf8_lossy(&pack.manifest).split("\n\n").next().expect("a text").to_owned() + "\n";
        pack.manifest = statement(&text, &signer(2));
    };
    spoiled("a forged manifest", Box::new(resigned(forged)), Wrong("no key that was given signed the list of the records"));
    spoiled("signed by another", Box::new(by(signer(2), |_| ())), Wrong("no key that was given signed the files of the pack"));
    let newer = Box::new(rewritten(field("/version", json!(3))));
    spoiled("a newer version", newer, Not("is of version 3 of its form, and this program reads up to 2"));
    let later = Box::new(|at: &Path| {
        let note = fs::read_to_string(at.join(NOTE_FILE)).expect("read");
        let text = note.split("\n\n").next().expect("a text").replacen("pack 1", "pack 2", 1) + "\n";
        fs::write(at.join(NOTE_FILE), statement(&text, &signer(1))).expect("written");
    });
    spoiled("a later note", later, Not("is of a later form than this program reads"));
    let reading = Box::new(rewritten(field("/reading/summary/deny", json!(0))));
    spoiled("another reading", reading, Wrong("its reading does not follow from its records"));
    let key_twice = |text: &str| text.replacen("\"version\": 1", "\"version\": 1,\n  \"version\": 1", 1);
    spoiled("a key twice", Box::new(rewritten(key_twice)), Not("an object in it holds a key twice: `version`"));
    let inner = |text: &str| text.replacen("\"erased\": false", "\"erased\": true, \"erased\": false", 1);
    spoiled("an inner key twice", Box::new(rewritten(inner)), Not("an object in it holds a key twice: `erased`"));
    let swapped = Box::new(|at: &Path| {
        let other = made(&Made::new().pack(false)).expect("files");
        fs::write(at.join(REPORT_FILE), &other[1].1).expect("written");
    });
    spoiled("another pack's page", swapped, Wrong("`report.html` is not the file that was signed"));
    let extra = Box::new(|at: &Path| fs::write(at.join("report2.html"), "x").expect("written"));
    spoiled("another file", extra, Wrong("`report2.html` lies in it and is no file of the pack"));
    let outside = Box::new(|at: &Path| {
        let text = format!("agentgate evidence pack 1\nby a\nat b\n{} ../pack.json\n", "0".repeat(64));
        fs::write(at.join(NOTE_FILE), statement(&text, &signer(1))).expect("written");
    });
    spoiled("a file elsewhere", outside, Not("names `../pack.json`, which is no name of a pack's file"));
    let other_sealed = |pack: &mut Pack| pack.records[2].body = Body::Sealed(b"other".to_vec());
    check("another ciphertext", &all, true, resigned(other_sealed), &Wrong("the body of record 3 is not the one that it names"));
}

/// `pack.json` in other words, while its note stays as it is; wrong in two ways, the second of which says this.
fn spoiled_alone(case: &str, change: impl FnOnce(&str) -> String, says: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    Made::of_everything().write(false, directory.path());
    let path = directory.path().join(PACK_FILE);
    fs::write(&path, change(&fs::read_to_string(&path).expect("read"))).expect("written");
    let report = verified(directory.path()).expect(case);
    let [changed, why] = report.all_wrong() else { panic!("{case}: {report:#?}") };
    assert!(changed == "`pack.json` is not the file that was signed" && why.contains(says), "{case}: {report:#?}");
    assert_eq!(report.all_not_shown(), [crate::verify::UNSEEN], "{case}");
    assert_eq!(ended(&report, directory.path()), Exit::Refused, "{case}");
}

/// What is shown of a pack with so many calls, all of it, and what a person reads of it.
fn shown_of(calls: usize, erased: bool, sealed: bool) -> (String, String) {
    let (directory, mut made) = (tempfile::tempdir().expect("a directory"), Made::new());
    for _ in 0..calls {
        let sequence = made.call(&Call::default());
        if erased {
            made.erase(sequence);
        }
    }
    made.write(sealed, directory.path());
    let report = verified(directory.path()).expect("read");
    (report.shown.join("\n"), told(&report, directory.path()).1)
}

#[test]
fn nothing_is_shown_of_nothing_and_one_is_said_in_another_way_than_many() {
    let one = ["1 decision comes to the same verdict again", "1 body is what its record committed to"];
    let many = ["2 decisions come to the same verdict again", "each of 2 bodies is what its record committed to"];
    let of_records = ["each of 2 records is in the log", "its record is in the log", "it holds the 1 record that"];
    for (calls, erased, sealed, said, unsaid) in [
        (0, false, false, vec![of_records[1], of_records[2]], vec!["bod", "decision", "each record"]),
        (1, false, false, [&one[..], &of_records[..1]].concat(), many.to_vec()),
        (2, false, false, many.to_vec(), one.to_vec()),
        (2, true, false, vec![], [&one[..], &many[..], &["of 0 ", "0 decisions"]].concat()),
        (1, false, true, vec!["1 sealed body is, byte for byte"], [&one[..], &many[..], &["of 0 ", "0 decisions"]].concat()),
        (2, false, true, vec!["each of 2 sealed bodies is, byte for byte"], [&one[..], &many[..]].concat()),
    ] {
        let (shown, text) = shown_of(calls, erased, sealed);
        let case = format!("{calls} calls, erased {erased}, sealed {sealed}: {shown}");
        assert!(said.iter().all(|words| shown.contains(words)), "{case}");
        // How each body was given is said of none as well.
        let shown: Vec<&str> = shown.lines().filter(|line| !line.starts_with("how each body")).collect();
        assert!(!unsaid.iter().any(|words| shown.concat().contains(words)), "{case}");
        let folded = match (calls, sealed) {
            (1, true) => "that decision 2 follows from its facts: its body is sealed",
            (2, true) => "that 2 decisions follow from their facts: their bodies are sealed (2-3)",
            _ => "pack holds",
        };
        assert!(text.contains(folded), "{text}");
    }
}

#[test]
fn a_report_that_does_not_hold_counts_what_is_wrong() {
    for (count, said) in [(1, "x does not hold: 1 thing in it is wrong"), (4, "x does not hold: 4 things in it are wrong")] {
        let mut report = Report::new("pack");
        (0..count).for_each(|_| report.wrong("wrong".into()));
        let screen = Screen { color: false, charset: Charset::Unicode, columns: 80, terminal: false };
        let (mut out, now) = (Vec::new(), Time::from_micros(0));
        let mut desk = Desk { screen, output: Output::Table, now, out: &mut out, person: None };
        assert_eq!(report.say(Path::new("x"), &mut desk).expect_err("wrong").chain(), [said]);
    }
}

#[test]
fn what_is_not_what_was_signed_and_cannot_be_read_says_why_and_that_nothing_was_looked_at() {
    let unread = |why: &str| format!("nothing in `pack.json` can be read: {why}");
    let (read, believed) = (unread("`"), "nothing in it can be believed: ");
    let cut = |text: &str| text[..text.len() / 2].to_owned();
    spoiled_alone("cut short", cut, "pack.json` is cut short: EOF while parsing");
    spoiled_alone("cut short, and said so", cut, &read);
    spoiled_alone("no JSON", |text| text.replacen('{', "[", 1), "pack.json` is corrupt: it is no JSON: ");
    spoiled_alone("empty", |_| String::new(), "pack.json` is cut short");
    spoiled_alone("newer", field("/version", json!(3)), "is of version 3 of its form");
    spoiled_alone("a number for a record", field("/records/0/record", json!(1)), "`records[0].record` is not bytes in base64");
    spoiled_alone("no checkpoint", field("/checkpoint", json!("")), believed);
    spoiled_alone("half a checkpoint", field("/checkpoint", json!("log.example/test\n3\n")), believed);
    let forged = |text: &str| text.replacen("\\n14\\n", "\\n15\\n", 1);
    spoiled_alone("a forged checkpoint", forged, believed);
}

#[test]
fn what_cannot_be_decided_again_is_not_shown() {
    let mut calls = Made::new();
    calls.call(&Call::default());
    let bundle = |pack: &mut Pack| pack.bundles.clear();
    check("no bundle", &calls, false, resigned(bundle), &NotShown("the pack has not the policy that decided it"));
    let other = |pack: &mut Pack| pack.bundles[0].1.truncate(30);
    check("half a bundle", &calls, false, resigned(other), &Wrong("is another one"));
    calls.call(&Call { at_us: START_US + 1, settle_version: 9_999, ..Call::default() });
    check("another law", &calls, false, |_| (), &NotShown("version 9999 of the law decided it"));
    calls.erase(2);
    let said = "what the body of record 2 said: it is said to have been erased; no purge of its session is in this pack";
    check("said to be erased", &calls, false, |_| (), &NotShown(&format!("{said}, which has the whole log: ask for the purge")));
    let part = |pack: &mut Pack| {
        let scope = json!({ "session": "", "principal": "a", "since_us": START_US, "until_us": 0 });
        pack.records.remove(0);
        pack.manifest = list(&pack.records, &scope, false, "");
    };
    let directory = tempfile::tempdir().expect("a directory");
    calls.write(false, directory.path());
    resigned(part)(directory.path());
    let report = verified(directory.path()).expect("read");
    assert!(report.holds() && report.all_not_shown().contains(&said.to_owned()), "{report:#?}");
    calls.purge(6);
    check("another's purge", &calls, false, |_| (), &NotShown(said));
    calls.purge(5);
    // A purge that nothing shows to be in the log is one that anybody could have written.
    let unproved = |pack: &mut Pack| pack.records[4].proof = pack.records[0].proof.clone();
    calls.write(false, directory.path());
    resigned(unproved)(directory.path());
    let report = verified(directory.path()).expect("read");
    assert!(report.all_not_shown().contains(&said.to_owned()), "{report:#?}");
    check("erased", &calls, false, |_| (), &NotShown("what the body of record 2 said: it was erased"));
    check("erased, so not again", &calls, false, |_| (), &NotShown("what was asked has been erased"));
    let mut wrongly = Made::new();
    wrongly.call(&Call { instead: Some((v1::Verdict::Allow, "granted")), ..Call::default() });
    check("another verdict", &wrongly, false, |_| (), &Wrong("decision 2 comes to another verdict"));
}

#[test]
fn a_person_reads_the_verdict_first_and_one_line_for_all_records_of_a_kind() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut calls = Made::new();
    (0..50).for_each(|_| {
        calls.call(&Call::default());
    });
    let bodies: Vec<u64> =
        calls.pack(false).records.iter().filter(|packed| packed.body != Body::None).map(|packed| packed.entry.sequence).collect();
    let kept = bodies[bodies.len() - 2];
    let erased: Vec<u64> = bodies.into_iter().filter(|sequence| *sequence != kept).collect();
    erased.iter().for_each(|sequence| calls.erase(*sequence));
    calls.purge(5);
    calls.write(false, directory.path());
    let report = verified(directory.path()).expect("read");
    let (exit, text) = told(&report, directory.path());
    assert!(exit == Exit::Done && text.starts_with("pack holds\n\nShown\n"), "{text}");
    assert!(text.contains("what was asked for: ") && text.contains(", from 20") && !text.contains("since_us"), "{text}");
    let not_shown = text.split("Not shown\n").nth(1).expect("a part");
    assert!(not_shown.starts_with("  not witnessed: "), "{not_shown}");
    assert!(
        not_shown.contains("that nothing is missing from the log: a pack is only a part of it; `agentgate verify --log URL`"),
        "{not_shown}"
    );
    assert!(not_shown.contains(&format!("what the bodies of {} records said: they were erased (", erased.len())), "{not_shown}");
    assert_eq!(not_shown.lines().count(), 5, "{not_shown}");
    let each = report.all_not_shown().iter().filter(|line| line.ends_with("said: it was erased")).count();
    assert_eq!(each, erased.len(), "JSON has a sentence for each");
    fs::remove_file(directory.path().join(PDF_FILE)).expect("removed");
    let (exit, text) = told(&verified(directory.path()).expect("read"), directory.path());
    assert!(exit == Exit::Refused && text.starts_with("pack does NOT hold\n\nWrong\n  the pack lacks `report.pdf`"), "{text}");
}

/// Says of a pack that another release made it, with a page that says something else.
fn of_another_release(directory: &Path) {
    fs::write(directory.join(REPORT_FILE), "<p>nothing was deleted").expect("written");
    let other = field("/release", json!("0.0.0"));
    let denied = field("/reading/summary/deny", json!(0));
    rewritten(|text| denied(&other(text)))(directory);
}

#[test]
fn a_page_that_nobody_could_compare_is_not_said_to_hold_and_can_be_made_again() {
    type Way<'a> = (&'a str, &'a dyn Fn(&Path), &'a str);
    let ways: [Way<'_>; 4] = [
        ("whole", &|_| (), "pack holds"),
        (
            "another release's",
            &|at| rewritten(field("/release", json!("0.0.0")))(at),
            // What it made is what this one makes, which is shown.
            "pack holds",
        ),
        (
            "another release's page and reading",
            &of_another_release,
            "the records hold; its reading and `report.html` are not shown: make them anew with `agentgate evidence report PACK --out DIR`",
        ),
        (
            "another release's paper",
            &|at| {
                fs::write(at.join(PDF_FILE), "%PDF-1.7").expect("written");
                rewritten(field("/release", json!("0.0.0")))(at);
            },
            "the records hold; `report.pdf` is not shown: make it anew with `agentgate evidence report PACK --out DIR`",
        ),
    ];
    for (case, spoil, verdict) in ways {
        let at = tempfile::tempdir().expect("a directory");
        let (pack, out) = (at.path().join("pack"), at.path().join("out"));
        Made::of_everything().write(false, &pack);
        let told_of_it = [REPORT_FILE, PDF_FILE].map(|file| fs::read(pack.join(file)).expect("read"));
        spoil(&pack);
        let report = verified(&pack).expect("read");
        let (exit, text) = told(&report, &pack);
        assert_eq!((exit, text.lines().next(), report.verdict().as_str()), (Exit::Done, Some(verdict), verdict), "{case}");
        remade(&pack, &out).expect(case);
        let again = [REPORT_FILE, PDF_FILE].map(|file| fs::read(out.join(file)).expect("read"));
        assert!(again == told_of_it, "{case}: it is not what the records say");
        let failure = remade(&pack, &out).expect_err(case);
        assert!(failure.exit == Exit::Refused && failure.chain()[0].contains("is not empty"), "{case}: {failure:?}");
    }
}

#[test]
fn sequences_are_listed_as_ranges_and_a_scope_is_said_in_words() {
    use crate::verify::{manifest::Asked, report::listed};
    for (rising, said) in [
        (&[2, 3, 4, 6][..], "2-4, 6"),
        (&[7], "7"),
        (&[], ""),
        (&[u64::MAX - 1, u64::MAX], "18446744073709551614-18446744073709551615"),
    ] {
        assert_eq!(listed(rising), said);
    }
    let scope = |session: &str, since_us: u64| {
        json!({"session": session, "principal": "", "since_us": since_us, "until_us": 0}).to_string()
    };
    for (scope, said) in [
        (scope("", 0), Some("all that there is")),
        (scope("s-1", 0), Some("the session `s-1`")),
        (scope("s-1", 1_795_374_352_123_000), Some("the session `s-1`, from 2026-11-22 19:05:52.123Z")),
        ("{}".to_owned(), None),
        ("all".to_owned(), None),
    ] {
        assert_eq!(Asked::read(&scope).map(|asked| asked.in_words()).as_deref(), said, "{scope}");
    }
}

#[test]
fn a_file_of_a_pack_or_log_is_not_judged_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    Made::of_everything().write(false, directory.path());
    for file in [PACK_FILE, NOTE_FILE, REPORT_FILE, PDF_FILE] {
        let error = verified(&directory.path().join(file)).expect_err(file);
        assert!(chain(&error).contains("name its directory"), "{}", chain(&error));
        assert_eq!(unjudged(error).exit, Exit::Usage);
    }
}

#[test]
fn an_older_checkpoint_is_found_in_what_holds_one_and_nothing_else_is_taken_for_one() {
    use crate::verify::older::read;
    let directory = tempfile::tempdir().expect("a directory");
    let (pack, log) = (directory.path().join("pack"), directory.path().join("log"));
    fs::create_dir_all(&pack).expect("made");
    let made = Made::of_everything();
    made.write(false, &pack);
    let book = Book::calls(3);
    book.export(&log);
    let proof = directory.path().join("proof.json");
    fs::write(&proof, book.proof(2).to_json().to_string()).expect("written");
    let (of_pack, of_log) = (made.pack(false).checkpoint, book.checkpoint(&signer(1)));
    let held = [
        (pack.clone(), &of_pack),
        (pack.join(PACK_FILE), &of_pack),
        (log.clone(), &of_log),
        (log.join("checkpoint"), &of_log),
        (proof, &of_log),
    ];
    for (path, wanted) in held {
        assert!(read(&path).is_ok_and(|note| note == **wanted), "{}", path.display());
    }
    let empty = directory.path().join("empty");
    fs::create_dir_all(&empty).expect("made");
    let torn = directory.path().join("torn");
    fs::write(&torn, "log.example/test\n3\n").expect("written");
    for path in [empty, torn, pack.join(NOTE_FILE), pack.join(PDF_FILE), log.join("tile/entries/000.p/3")] {
        let error = read(&path).expect_err("none");
        assert!(chain(&error).contains("holds no checkpoint"), "{}: {}", path.display(), chain(&error));
        assert_eq!(unjudged(error).exit, Exit::Usage);
    }
    let absent = read(&directory.path().join("none")).expect_err("none");
    assert!(chain(&absent).contains("cannot read") && unjudged(absent).exit == Exit::Local);
}

#[test]
fn any_byte_that_was_changed_is_found() {
    for sealed in [false, true] {
        let directory = tempfile::tempdir().expect("a directory");
        Made::of_everything().write(sealed, directory.path());
        assert!(verified(directory.path()).expect("read").holds());
        for file in [PACK_FILE, REPORT_FILE, PDF_FILE, NOTE_FILE] {
            let path = directory.path().join(file);
            let whole = fs::read(&path).expect("read");
            for at in (0..FLIPPED).map(|at| at * (whole.len() - 1) / (FLIPPED - 1)) {
                let mut flipped = whole.clone();
                flipped[at] ^= 1;
                fs::write(&path, flipped).expect("written");
                let found = verified(directory.path()).map(|report| report.holds()).unwrap_or_default();
                assert!(!found, "byte {at} of {file}");
            }
            fs::write(&path, whole).expect("written");
        }
    }
}
