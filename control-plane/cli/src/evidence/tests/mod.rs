//! Packs against what is published of them, on the page and on paper, and in an archive.

mod kept;
mod told;

use super::archive::keep;
use super::{SCHEMA, gather};
use crate::failure::Exit;
use crate::pack::reading::{RAPID_CALLS, RAPID_US, Reading, USUAL_CALLS};
use crate::pack::tests::made::{ALICE, Call, Made, START_US, put};
use crate::pack::{Body, PACK_FILE, Pack, report};
use crate::verify::tests::book::signer;
use agentgate_proto::v1;
use clap::Parser;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn validator() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    jsonschema::meta::validate(&schema).expect("a schema");
    jsonschema::validator_for(&schema).expect("a schema")
}

/// Packs of every form, as they lie in files.
fn packs() -> Vec<(&'static str, Value)> {
    let mut erased = Made::of_everything();
    erased.erase(2);
    let mut altered = Made::of_everything().pack(false);
    altered.records[1].body = Body::Altered { plain: b"x".to_vec(), pii: "redact".into() };
    let forms = [
        ("altered", altered),
        ("open", Made::of_everything().pack(false)),
        ("sealed", Made::of_everything().pack(true)),
        ("erased", erased.pack(false)),
    ];
    let mut packs: Vec<(&str, Value)> =
        forms.iter().map(|(form, pack)| (*form, serde_json::from_slice(&pack.to_bytes()).expect("JSON"))).collect();
    packs.push(("empty", Pack { manifest: b"x".into(), checkpoint: b"x".into(), ..Pack::default() }.to_json()));
    let mut anomalous = Made::new();
    for _ in 0..USUAL_CALLS {
        anomalous.call(&Call::default());
    }
    let mut observed = Made::new();
    observed.call(&Call { tool: "delete_note", enforced: false, ..Call::default() });
    packs.push(("observed", observed.pack(false).to_json()));
    packs.push(("with anomalies", anomalous.pack(false).to_json()));
    packs
}

#[test]
fn every_pack_is_as_the_schema_says() {
    let validator = validator();
    for (form, pack) in packs() {
        let wrong: Vec<String> =
            validator.iter_errors(&pack).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{form}: {wrong:#?}");
        assert_eq!(pack["version"], if ["altered", "sealed"].contains(&form) { 2 } else { 1 }, "{form}");
    }
}

/// Each object of a pack, and the way to it.
fn objects(value: &Value, way: &str) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let inner = fields.iter().flat_map(|(name, value)| objects(value, &format!("{way}/{name}")));
            std::iter::once(way.to_owned()).chain(inner).collect()
        }
        Value::Array(values) => {
            values.iter().enumerate().flat_map(|(at, value)| objects(value, &format!("{way}/{at}"))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

#[test]
fn a_field_more_or_less_than_the_schema_names_is_noticed() {
    let validator = validator();
    for (form, pack) in packs() {
        for way in objects(&pack, "") {
            let mut more = pack.clone();
            let object = more.pointer_mut(&way).and_then(Value::as_object_mut).expect("an object");
            object.insert("unnamed".into(), json!(1));
            assert!(!validator.is_valid(&more), "{form}: a field in `{way}` that the schema does not name");
            let fields: Vec<String> = pack.pointer(&way).and_then(Value::as_object).expect("an object").keys().cloned().collect();
            // Only where there is something to say is it said, and earlier programs did not say what they were.
            let at_will = ["sealed", "about", "arguments", "arguments_cut", "observed", "altered"];
            let may_lack = |field: &str| at_will.contains(&field) && way.starts_with("/reading") || field == "release";
            for field in fields.into_iter().filter(|field| !may_lack(field)) {
                let mut less = pack.clone();
                less.pointer_mut(&way).and_then(Value::as_object_mut).expect("an object").remove(&field);
                assert!(!validator.is_valid(&less), "{form}: `{way}` without `{field}`");
            }
        }
    }
}

#[test]
fn a_pack_of_a_later_version_is_not_as_the_schema_says() {
    let mut pack = Made::of_everything().pack(false).to_json();
    pack["version"] = json!(3);
    assert!(!validator().is_valid(&pack));
    // Sealed bodies came with version 2.
    let mut sealed = Made::of_everything().pack(true).to_json();
    sealed["version"] = json!(1);
    assert!(!validator().is_valid(&sealed));
}

#[test]
fn what_an_agent_wrote_cannot_act_on_the_page() {
    let hostile = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "</td></table><style>*{display:none}</style>",
        "' onmouseover='x",
        "{{ 7*7 }}",
        "javascript:alert(1)",
        "\u{202e}gpj.exe\u{1b}[2J",
    ];
    let mut made = Made::new();
    for words in hostile {
        let instead = Some((v1::Verdict::Deny, words));
        made.call(&Call {
            tool: words,
            principal: &format!("{ALICE}/{words}"),
            arguments: json!({ words: words }),
            instead,
            ..Call::default()
        });
        made.call(&Call { instead: Some((v1::Verdict::Deny, words)), ..Call::default() });
    }
    let page = report::html(&made.pack(false)).expect("a page");
    let lower = page.to_lowercase();
    for bad in [
        "<script",
        "<img",
        "</style><",
        "onerror=alert(1)>",
        "' onmouseover='",
        "\u{202e}",
        "\u{1b}",
        "http://",
        "https://",
        "url(",
        "@import",
    ] {
        assert!(!lower.contains(bad), "{bad}");
    }
    assert_eq!(lower.matches("src=").count(), lower.matches("img src=x").count(), "but in the words themselves");
    assert_eq!(page.matches("<style>").count(), 1);
    assert!(page.contains("default-src 'none'") && page.contains("\\u{202e}gpj.exe"), "{page}");
}

#[test]
fn the_same_pack_is_the_same_paper_whatever_stands_in_it() {
    let long = "word ".repeat(2_000) + &"x".repeat(9_000);
    for words in [
        "plain",
        "\u{5e9}\u{5dc}\u{5d5}\u{5dd} العربية",
        "漢字かな 🙂",
        "\0\u{1b}[2J\u{202e}\n\r\t\u{feff}",
        "",
        &long,
        "e\u{301}\u{302}\u{303}",
    ] {
        let mut made = Made::of_everything();
        made.call(&Call { tool: "read_note", instead: Some((v1::Verdict::Deny, words)), ..Call::default() });
        let pack = made.pack(false);
        let paper = report::pdf(&pack).expect("paper");
        assert!(paper.starts_with(b"%PDF-") && paper == report::pdf(&pack).expect("paper"), "{words:?}");
        let has = |word: &str| paper.windows(word.len()).any(|bytes| bytes == word.as_bytes());
        assert!(has("/FontFile") && has("/ToUnicode"), "the font is not in it, or its text cannot be selected");
        assert!(!has("/CreationDate") && !has("/JavaScript") && !has("/URI"), "{words:?}");
    }
}

#[test]
fn a_long_pack_is_printed_whole() {
    let mut made = Made::new();
    for at in 0..300 {
        made.call(&Call { at_us: START_US + at * 1_000_000, ..Call::default() });
    }
    let pages = report::texts(&made.pack(false));
    assert!((8..40).contains(&pages.len()), "{} pages", pages.len());
    let all: Vec<&str> = pages.iter().flatten().map(String::as_str).collect();
    for sequence in 1..=301 {
        assert!(all.contains(&sequence.to_string().as_str()), "record {sequence} is not there");
    }
    assert!(pages.iter().skip(2).rev().skip(1).all(|page| page.iter().any(|text| text == "Said")), "a page without titles");
}

#[test]
fn what_is_too_long_is_cut_and_what_the_font_has_not_is_told() {
    let said = |words: &str| {
        let mut made = Made::new();
        made.call(&Call { instead: Some((v1::Verdict::Deny, words)), ..Call::default() });
        report::texts(&made.pack(false)).concat()
    };
    let boxes = |texts: &[String]| texts.iter().any(|text| text.starts_with("A box stands for"));
    let cut = |texts: &[String]| texts.iter().any(|text| text.ends_with('…'));
    for (words, boxed, is_cut) in [
        ("größe Ωμέγα имя", false, false),
        ("漢字", true, false),
        ("\u{5e9}\u{5dc}\u{5d5}\u{5dd}", true, false),
        ("\u{1b}[2J\u{202e}", false, false),
        (&"x".repeat(9_000), false, true),
        (&"x ".repeat(9_000), false, true),
    ] {
        let texts = said(words);
        assert_eq!((boxes(&texts), cut(&texts)), (boxed, is_cut), "{words:?}");
    }
    assert!(said("\u{202e}gpj").iter().any(|text| text.contains("\\u{202e}gpj")));
}

/// Kinds of what is found in the calls.
fn check(case: &str, calls: &[Call<'_>], found: &[&str]) {
    let mut made = Made::new();
    for call in calls {
        made.call(call);
    }
    let kinds: Vec<&str> = Reading::of(&made.pack(false)).anomalies.iter().map(|anomaly| anomaly.kind).collect();
    assert_eq!(kinds, found, "{case}");
    assert!(Reading::of(&made.pack(true)).anomalies.iter().all(|found| found.kind == "refused_after_approval"), "{case}, sealed");
}

/// So many calls, the last one so long after the first.
fn within(count: usize, span_us: u64) -> Vec<Call<'static>> {
    let last = count as u64 - 1;
    (0..=last).map(|at| Call { at_us: START_US + at * span_us / last, ..Call::default() }).collect()
}

#[test]
fn what_is_out_of_the_ordinary_has_bounds() {
    check("nothing", &[], &[]);
    check("as many, as fast", &within(RAPID_CALLS, RAPID_US), &["rapid_fire"]);
    check("one less", &within(RAPID_CALLS - 1, RAPID_US), &[]);
    check("a moment longer", &within(RAPID_CALLS, RAPID_US + 1), &[]);
    let mut two = within(RAPID_CALLS, RAPID_US);
    two.iter_mut().step_by(2).for_each(|call| call.principal = "spiffe://agentgate.local/agent/bob");
    check("of two subjects", &two, &[]);
    let slow = RAPID_US * 100;
    let once = |count: usize, tool: &'static str, times: usize| {
        let mut calls = within(count, slow);
        calls.iter_mut().take(times).for_each(|call| call.tool = tool);
        calls
    };
    check("once of so many", &once(USUAL_CALLS, "list_notes", 1), &["unusual_tool"]);
    check("once of one less", &once(USUAL_CALLS - 1, "list_notes", 1), &[]);
    check("twice of so many", &once(USUAL_CALLS, "list_notes", 2), &[]);
    let used =
        |approval_use| Call { approval: Some((9, approval_use)), instead: Some((v1::Verdict::Deny, "late")), ..Call::default() };
    check("granted, and refused", &[used(v1::ApprovalUse::Voided)], &["refused_after_approval"]);
    check("granted, and used", &[used(v1::ApprovalUse::Used)], &[]);
    check("denied by a person", &[used(v1::ApprovalUse::Refused)], &[]);
}

/// An archive in a directory of a test, which can be taken away again.
struct Archive(tempfile::TempDir);

impl Archive {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.0.path().join("archive")).into_iter().flatten().flatten() {
            let _ = fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o755));
        }
    }
}

#[test]
fn a_pack_is_archived_once_and_for_good() {
    let at = Archive::new();
    let (pack, archive) = (at.path().join("pack"), at.path().join("archive"));
    Made::of_everything().write(true, &pack);
    let (name, new) = keep(&pack, &archive, &[]).expect("archived");
    assert!(new);
    let place = archive.join(&name);
    assert_eq!(fs::metadata(&place).expect("there").permissions().mode() & 0o777, 0o555);
    for file in fs::read_dir(&place).expect("a directory").map(|file| file.expect("a file").path()) {
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o444, "{}", file.display());
        assert_eq!(fs::read(&file).expect("read"), fs::read(pack.join(file.file_name().expect("a name"))).expect("read"));
    }
    let stamp = fs::metadata(place.join(PACK_FILE)).expect("there").modified().expect("a time");
    assert_eq!(keep(&pack, &archive, &[]).expect("again"), (name.clone(), false));
    assert_eq!(fs::metadata(place.join(PACK_FILE)).expect("there").modified().expect("a time"), stamp);
    assert_eq!(fs::read_dir(&archive).expect("there").count(), 1, "nothing is left beside");

    // What was stopped half-way is gone on with.
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("mine");
    fs::remove_file(place.join("pack.note")).expect("removed");
    assert_eq!(keep(&pack, &archive, &[]).expect("gone on with"), (name.clone(), true));
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("mine");
    assert_eq!(keep(&pack, &archive, &[]).expect("closed at last"), (name.clone(), true));
    assert_eq!(keep(&pack, &archive, &[]).expect("again"), (name.clone(), false));

    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("mine");
    fs::set_permissions(place.join("report.html"), fs::Permissions::from_mode(0o644)).expect("mine");
    fs::write(place.join("report.html"), "another").expect("written");
    let refused = keep(&pack, &archive, &[]).expect_err("other content");
    assert_eq!(refused.exit, Exit::Refused);
    assert!(refused.chain().join(": ").contains("report.html` is there already and holds something else"), "{refused:?}");
    assert_eq!(fs::read(place.join("report.html")).expect("read"), b"another", "it is not written over");
}

/// A sealed pack that was spoiled is not archived, and nothing of it is.
fn refused(case: &str, spoil: &dyn Fn(&Path), says: &str) {
    let at = Archive::new();
    let (pack, archive) = (at.path().join("pack"), at.path().join("archive"));
    Made::of_everything().write(true, &pack);
    spoil(&pack);
    let failure = keep(&pack, &archive, &[]).expect_err(case);
    assert!(failure.chain().join(": ").contains(says), "{case}: {failure:?}");
    assert!(!archive.exists(), "{case}");
}

#[test]
fn what_could_not_be_erased_again_is_not_archived() {
    refused("open", &|pack| put(&Made::of_everything().pack(false), pack, &signer(1)), "the body of record 2 is open");
    refused(
        "changed",
        &|pack| fs::write(pack.join("report.pdf"), "x").expect("written"),
        "`report.pdf` is not the file that was signed",
    );
    refused("another file", &|pack| fs::write(pack.join("more.txt"), "x").expect("written"), "`more.txt` lies in it");
    refused("no note", &|pack| fs::remove_file(pack.join("pack.note")).expect("removed"), "cannot read");
    refused("cut", &|pack| fs::remove_file(pack.join("pack.json")).expect("removed"), "cannot read");
}

#[test]
fn an_archive_is_checked_whole() {
    let at = Archive::new();
    let archive = at.path().join("archive");
    let mut names = Vec::new();
    for (directory, made) in [("one", Made::of_everything()), ("two", Made::new())] {
        made.write(true, &at.path().join(directory));
        names.push(keep(&at.path().join(directory), &archive, &[]).expect("archived").0);
    }
    fs::write(archive.join(".7.part"), "half").expect("written");
    let question = crate::verify::question(&[signer(1).verifier().to_string()]).expect("a question");
    let states = |question| -> Vec<(String, bool)> {
        let all = super::list::read(&archive, question).expect("read");
        all.iter().map(|archived| (archived.name.clone(), archived.report.holds())).collect()
    };
    names.sort();
    assert_eq!(states(&question), [(names[0].clone(), true), (names[1].clone(), true)]);
    let stranger = crate::verify::question(&[signer(2).verifier().to_string()]).expect("a question");
    assert_eq!(states(&stranger), [(names[0].clone(), false), (names[1].clone(), false)]);
    fs::rename(archive.join(&names[0]), archive.join("renamed")).expect("mine");
    assert_eq!(states(&question), [(names[1].clone(), true), ("renamed".into(), false)]);
    fs::write(archive.join("stray"), "x").expect("written");
    assert_eq!(states(&question).last(), Some(&("stray".into(), false)));
}

#[test]
fn what_nothing_is_on_record_of_is_refused_by_name() {
    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: gather::Arguments,
    }
    for (words, said) in [
        (&["--session", "x"][..], "nothing is on record of the session `x`: no pack was written"),
        (&["--since", "1h"], "nothing is on record from 1h ago: no pack was written"),
        (
            &["--since", "2026-10-01", "--until", "2026-10-31T12:00:00Z"],
            "nothing is on record from 2026-10-01 00:00:00.000Z, until 2026-10-31 12:00:00.000Z: no pack was written",
        ),
        (
            &["--principal", ALICE, "--since", "2d", "--until", "3h"],
            &format!("nothing is on record of the principal `{ALICE}`, from 2d ago, until 3h ago: no pack was written"),
        ),
    ] {
        let line = Line::try_parse_from([&["pack", "--out", "x"], words].concat()).expect("a command line");
        for none in [None, Some(v1::Unmatched { records: 0, purges: 3, last_purge_us: START_US })] {
            let failure = gather::nothing(&line.arguments, none.as_ref());
            assert_eq!((failure.exit, failure.chain()[0].as_str(), failure.next().len()), (Exit::Refused, said, 1));
        }
        let of = said.split_once("on record ").and_then(|(_, rest)| rest.split_once(": no")).expect("words").0;
        for (records, purges, words) in [
            (1, 0, "1 record of that time is erased, and nobody can say any longer whose it was"),
            (
                2,
                1,
                "2 records of that time are erased, and nobody can say any longer whose they were (a purge of 2026-11-22 19:05:52.000Z)",
            ),
            (
                12_000,
                2,
                "12,000 records of that time are erased, and nobody can say any longer whose they were (2 purges, the last of 2026-11-22 19:05:52.000Z)",
            ),
        ] {
            let unmatched = v1::Unmatched { records, purges, last_purge_us: START_US };
            let failure = gather::nothing(&line.arguments, Some(&unmatched));
            let wanted = format!("nothing that can be read is on record {of}, but {words}: no pack was written");
            assert_eq!((failure.exit, failure.chain()[0].clone(), failure.next().len()), (Exit::Refused, wanted, 2));
        }
    }
}
