//! What somebody could have signed who may gather: reports, and words of bodies, that are not those of the pack.

use super::Said::{self, Not, NotShown, Shown, Wrong};
use super::book::signer;
use super::packs::{check, field, resigned, rewritten};
use crate::pack::tests::made::{ALICE, Call, Made, OPERATOR, START_US, list, put, sign_as, statement};
use crate::pack::{Body, NOTE_FILE, PDF_FILE, Pack, RELEASE, REPORT_FILE};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// As somebody who has whatever he likes signed, beside the pack of this release, or of another one.
fn forged(file: &'static str, release: Option<&'static str>) -> Box<dyn FnOnce(&Path)> {
    Box::new(move |at| {
        let mut bytes = fs::read(at.join(file)).expect("read");
        bytes.extend(b"<!-- all is well -->");
        fs::write(at.join(file), bytes).expect("written");
        of_release(at, release);
    })
}

fn of_release(at: &Path, release: Option<&str>) {
    let change = |text: &str| {
        let mut pack: Value = serde_json::from_str(text).expect("JSON");
        match release {
            Some(release) => pack["release"] = json!(release),
            None => drop(pack.as_object_mut().expect("an object").remove("release")),
        }
        format!("{pack:#}\n")
    };
    rewritten(change)(at);
}

#[test]
fn a_report_that_is_not_the_packs_is_not_believed_for_its_signature() {
    let all = Made::of_everything();
    let spoiled = |case: &str, spoil: Box<dyn FnOnce(&Path)>, said: Said<'_>| check(case, &all, false, spoil, &said);
    for file in [REPORT_FILE, PDF_FILE] {
        let wrong = format!("`{file}` is not the report of this pack");
        spoiled("forged", forged(file, Some(RELEASE)), Wrong(&wrong));
        check("forged, of a sealed pack", &all, true, forged(file, Some(RELEASE)), &Wrong(&wrong));
        let other =
            format!("that `{file}` says what the pack holds: the pack says that release 0.0.9 made it, and this is {RELEASE}");
        spoiled("of another release", forged(file, Some("0.0.9")), NotShown(&other));
        let unnamed = format!("that `{file}` says what the pack holds: the pack does not say which release made it");
        spoiled("of an unnamed release", forged(file, None), NotShown(&unnamed));
    }
    // Whoever made it: the same bytes are the same bytes.
    let same = "`report.html` and `report.pdf` say what the pack holds";
    spoiled("another release, and alike", Box::new(|at| of_release(at, Some("0.0.9"))), Shown(same));
    spoiled("an unnamed release, and alike", Box::new(|at| of_release(at, None)), Shown(same));
    let reading = |release: Option<&'static str>| -> Box<dyn FnOnce(&Path)> {
        Box::new(move |at| {
            rewritten(field("/reading/summary/deny", json!(0)))(at);
            of_release(at, release);
        })
    };
    spoiled("a reading", reading(Some(RELEASE)), Wrong("its reading does not follow from its records"));
    spoiled(
        "a reading of another release",
        reading(Some("0.0.9")),
        NotShown("that its reading follows from its records: the pack"),
    );
    for none in ["", "0.1.0 is fine", &"1".repeat(65)] {
        let named: Box<dyn FnOnce(&Path)> = Box::new(rewritten(field("/release", json!(none))));
        spoiled("no release", named, Not("`release` is not the name of a release"));
    }
    let longest = "1".repeat(64);
    let named: Box<dyn FnOnce(&Path)> = Box::new(rewritten(field("/release", json!(longest))));
    spoiled("a long name of a release", named, Shown(same));
    let more = |at: &Path| {
        let note = fs::read_to_string(at.join(NOTE_FILE)).expect("read");
        let text = format!("{}\n{} summary.html\n", note.split("\n\n").next().expect("a text"), crate::pack::files::digest(b"x"));
        fs::write(at.join("summary.html"), "x").expect("written");
        fs::write(at.join(NOTE_FILE), statement(&text, &signer(1))).expect("written");
    };
    spoiled("a file more that was signed", Box::new(more), Wrong("`summary.html` was signed and is no file of a pack"));
    let more_of_another = Box::new(move |at: &Path| {
        of_release(at, Some("0.0.9"));
        more(at);
    });
    spoiled("a file more of another release", more_of_another, Wrong("`summary.html` was signed and is no file of a pack"));
}

#[test]
fn whoever_had_the_files_signed_is_named_beside_whoever_gathered() {
    let all = Made::of_everything();
    let other = "spiffe://agentgate.local/operator/you";
    let as_other = |at: &Path| sign_as(other, at, &signer(1));
    check("signed by another", &all, false, as_other, &Shown(&format!("the files of the pack; {other} asked for it")));
    let both = format!("that its files are of whoever gathered it: {OPERATOR} gathered it, and {other} had its files signed");
    check("gathered by one, signed by another", &all, false, as_other, &NotShown(&both));
    let directory = tempfile::tempdir().expect("a directory");
    all.write(false, directory.path());
    let report = super::packs::verified(directory.path()).expect("read");
    assert!(!format!("{report:?}").contains("had its files signed"), "{report:#?}");
}

/// The third body redacted, and the list of what was given says so.
fn altered() -> Pack {
    let mut pack = Made::of_everything().pack(false);
    if let Body::Open { plain, .. } = &pack.records[2].body {
        pack.records[2].body = Body::Altered { plain: plain.clone(), pii: "redact".into() };
    }
    let scope = json!({ "session": "", "principal": ALICE, "since_us": START_US, "until_us": 0 });
    pack.manifest = list(&pack.records, &scope, false, "");
    pack
}

/// This pack, after somebody changed it and had it signed again.
fn given(case: &str, whole: Pack, change: impl FnOnce(&mut Pack), said: &Said<'_>) {
    let put = |at: &Path| {
        let mut pack = whole;
        change(&mut pack);
        put(&pack, at, &signer(1));
    };
    check(case, &Made::new(), false, put, said);
}

#[test]
fn a_body_is_the_one_that_was_given_though_no_commitment_covers_it() {
    let signed = "how each body was given, and what, is as the control plane signed it";
    given("altered", altered(), |_| (), &Shown(signed));
    given("altered, and not compared", altered(), |_| (), &NotShown("that the body of record 3 is what the record committed to"));
    let words = |pack: &mut Pack| {
        if let Body::Altered { plain, .. } = &mut pack.records[2].body {
            plain.extend(b"\x12\x03eve");
        }
    };
    given("other words", altered(), words, &Wrong("others may have been put for what was left of the altered ones (3)"));
    let way = |pack: &mut Pack| {
        if let Body::Altered { pii, .. } = &mut pack.records[2].body {
            *pii = "tokenise".into();
        }
    };
    given("altered in another way", altered(), way, &Wrong("its bodies are not as the control plane gave them"));
    let alter = |pack: &mut Pack| pack.records[1].body = Body::Altered { plain: b"x".to_vec(), pii: "redact".into() };
    given("open, and said to be altered", altered(), alter, &Wrong("its bodies are not as the control plane gave them"));
    let erase = |pack: &mut Pack| pack.records[1].body = Body::Erased;
    let erased = "the body of record 2 is said to be erased, and the control plane gave it";
    given("open, and said to be erased", altered(), erase, &Wrong(erased));
    given("sealed, and said to be erased", Made::of_everything().pack(true), erase, &Wrong(erased));
    let gone = || {
        let mut made = Made::of_everything();
        made.erase(2);
        made
    };
    given("erased", gone().pack(false), |_| (), &Shown(signed));
    let back = |pack: &mut Pack| pack.records[1].body = Made::of_everything().pack(false).records[1].body.clone();
    given(
        "erased, and there again",
        gone().pack(false),
        back,
        &Wrong("the body of record 2 was erased when the control plane gave it"),
    );
    let old = |pack: &mut Pack| {
        let text = String::from_utf8_lossy(&pack.manifest).split("\n\n").next().expect("a text").to_owned();
        let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with("bodies ") && !line.starts_with("erased ")).collect();
        pack.manifest = statement(&(kept.join("\n") + "\n"), &signer(1));
    };
    given("an earlier list", altered(), old, &NotShown("its list of the records does not say how it gave them"));
    let other = |pack: &mut Pack| {
        let text =
            String::from_utf8_lossy(&pack.manifest).split("\n\n").next().expect("a text").replace("bodies open", "bodies as-is");
        pack.manifest = statement(&(text + "\n"), &signer(1));
    };
    given("a list of another kind", altered(), other, &Wrong("the list of its records is none that this program knows"));
}

#[test]
fn a_sealed_pack_that_was_opened_is_still_the_one_that_was_given() {
    let sealed = || Made::of_everything().pack(true);
    let open = |pack: &mut Pack| {
        let opened = Made::of_everything().pack(false).records;
        pack.records.iter_mut().zip(opened).for_each(|(sealed, opened)| sealed.body = opened.body);
    };
    let signed = "how each body was given, and what, is as the control plane signed it";
    given("sealed", sealed(), |_| (), &Shown(signed));
    given("opened", sealed(), open, &Shown(signed));
    let erased = |pack: &mut Pack| {
        open(pack);
        pack.records[1].body = Body::Erased;
    };
    given("erased since", sealed(), erased, &NotShown("is said to have been erased when it was opened"));
    let altered = |pack: &mut Pack| {
        open(pack);
        pack.records[1].body = Body::Altered { plain: b"x".to_vec(), pii: "redact".into() };
    };
    given("altered since", sealed(), altered, &NotShown("nobody signed what was left of it when it was opened"));
    let another = |pack: &mut Pack| {
        open(pack);
        pack.records[1].body = pack.records[2].body.clone();
    };
    given("another's body", sealed(), another, &Wrong("the body of record 2 is not what the record committed to"));
}

#[test]
fn what_was_not_compared_is_not_decided_again() {
    let mut calls = Made::new();
    calls.call(&Call::default());
    calls.call(&Call { at_us: START_US + 1, ..Call::default() });
    let alter = |pack: &mut Pack| {
        let Body::Open { plain, .. } = pack.records[1].body.clone() else { return };
        pack.records[1].body = Body::Altered { plain, pii: "redact".into() };
    };
    check("all of them", &calls, false, |_| (), &Shown("2 decisions come to the same verdict again"));
    let scope = json!({ "session": "", "principal": ALICE, "since_us": START_US, "until_us": 0 });
    let altered = || {
        let mut pack = calls.pack(false);
        alter(&mut pack);
        pack.manifest = list(&pack.records, &scope, false, "");
        pack
    };
    given("altered", altered(), |_| (), &Shown("1 decision comes to the same verdict again"));
    let why = "that decision 2 follows from its facts: it is no longer re-decidable: redacted for the pack";
    given("altered, and why", altered(), |_| (), &NotShown(why));
    let unlike = |pack: &mut Pack| {
        if let Body::Open { salt, .. } = &mut pack.records[1].body {
            salt[0] ^= 1;
        }
    };
    let directory = tempfile::tempdir().expect("a directory");
    calls.write(false, directory.path());
    resigned(unlike)(directory.path());
    let report = super::packs::verified(directory.path()).expect("read");
    let said = format!("{report:?}");
    assert!(!report.holds() && said.contains("1 decision comes to the same"), "{report:#?}");
    assert!(report.all_not_shown().iter().any(|not| not.contains("its body is not what its record committed to")), "{report:#?}");
    let lacks = |pack: &mut Pack| pack.records[1].body = Body::None;
    calls.write(false, directory.path());
    resigned(lacks)(directory.path());
    let report = super::packs::verified(directory.path()).expect("read");
    assert!(report.all_not_shown().iter().any(|not| not.contains("the pack holds nothing of what was asked")), "{report:#?}");
}
