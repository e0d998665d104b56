//! What anybody could put into a pack to keep its reader at work, or to have him run a program: it is not looked at, or has an end.

use super::Said::{Not, NotShown, Shown, Wrong};
use super::book::signer;
use super::packs::{by, check, resigned, verified};
use crate::pack::tests::made::{Call, Made, START_US, put, statement};
use crate::pack::{BUNDLES_MAX, PACK_FILE, Pack, RECORDS_MAX};
use crate::verify::manifest::Manifest;
use crate::verify::report::{LISTED, Report};
use agentgate_core::error::chain;
use std::fs;
use std::path::Path;

fn calls(count: u64) -> Made {
    let mut made = Made::new();
    for at in 0..count {
        made.call(&Call { at_us: START_US + at, ..Call::default() });
    }
    made
}

/// The report of a pack that was changed and signed again.
fn changed(made: &Made, change: impl FnOnce(&mut Pack)) -> Report {
    let directory = tempfile::tempdir().expect("a directory");
    made.write(false, directory.path());
    resigned(change)(directory.path());
    verified(directory.path()).expect("read")
}

#[test]
fn a_policy_is_run_for_no_decision_that_somebody_only_says() {
    let again = "come to the same verdict again";
    let two = calls(2);
    check("both", &two, false, |_| (), &Shown(&format!("2 decisions {again}")));
    let case = |case: &str, change: &dyn Fn(&mut Pack)| {
        let report = changed(&two, change);
        assert!(
            report.shown.iter().any(|shown| shown.starts_with("1 decision comes to the same verdict again")),
            "{case}: {report:#?}"
        );
        let why = "that decision 2 follows from its facts: nothing shows that the log has such a record";
        assert!(report.all_not_shown().iter().any(|not| not == why), "{case}: {report:#?}");
    };
    case("another leaf's proof", &|pack| pack.records[1].proof = pack.records[2].proof.clone());
    case("another record", &|pack| pack.records[1].record = pack.records[2].record.clone());
    // One that is the log's vouches for no other one of its number.
    let beside = |pack: &mut Pack| {
        let mut other = pack.records[2].clone();
        other.entry.sequence = 2;
        pack.records.push(other);
    };
    let report = changed(&two, beside);
    assert!(report.shown.iter().any(|shown| shown.starts_with("1 decision comes")), "{report:#?}");
    let other_policy = |pack: &mut Pack| pack.bundles[0].1.extend(0_u64.to_be_bytes());
    let report = changed(&two, other_policy);
    assert!(!report.holds() && !report.shown.iter().any(|shown| shown.contains("same verdict again")), "{report:#?}");

    // Nobody had to have a key for these.
    let directory = tempfile::tempdir().expect("a directory");
    let nothing_again = |case: &str, said: &str| {
        let report = verified(directory.path()).expect("read");
        assert!(!report.holds() && !report.shown.iter().any(|shown| shown.contains("same verdict again")), "{case}: {report:#?}");
        assert!(report.not_shown.iter().any(|not| not.contains(said)), "{case}: {report:#?}");
    };
    two.write(false, directory.path());
    let path = directory.path().join(PACK_FILE);
    fs::write(&path, fs::read_to_string(&path).expect("read") + " ").expect("written");
    nothing_again("changed", "follow from their facts: its files are not those that were signed");
    put(&two.pack(false), directory.path(), &signer(2));
    nothing_again("of a stranger", "follow from their facts: its files are not those that were signed");
    two.write(false, directory.path());
    by(signer(1), |pack| listed(pack, 2, |text| text))(directory.path());
    nothing_again("another's list", "follow from their facts: how they are read was not signed");
}

/// With a list of other words, signed by whoever has this key.
fn listed(pack: &mut Pack, key: u8, change: impl FnOnce(String) -> String) {
    let text = String::from_utf8_lossy(&pack.manifest).split("\n\n").next().expect("a text").to_owned() + "\n";
    pack.manifest = statement(&change(text), &signer(key));
}

#[test]
fn a_list_that_nobody_known_signed_is_not_looked_at() {
    let less = |text: String| text.replace("\nrecords 1,2,3\n", "\nrecords 1\n");
    let (own, forged) = (changed(&calls(2), |pack| listed(pack, 1, less)), changed(&calls(2), |pack| listed(pack, 2, less)));
    let added = |report: &Report| report.wrong.iter().any(|wrong| wrong == "records were added to it: 2-3");
    assert!(added(&own) && !added(&forged), "{own:#?}{forged:#?}");
    let all = [&forged.shown[..], &forged.wrong, &forged.not_shown].concat().join("\n");
    assert!(all.contains("nobody known signed that list, and it was not looked at"), "{all}");
    for unsaid in ["what was asked for", "that the control plane gave", "as the control plane signed"] {
        assert!(!all.contains(unsaid), "{unsaid}: {all}");
    }
}

#[test]
fn ranges_that_do_not_rise_and_lie_apart_are_no_list() {
    let list = |records: &str, erased: &str| {
        Manifest::read(&format!(
            "agentgate evidence 1\nscope x\nby a\nat b\nsize 9\nbody_bytes_max 1\npii off\nrecords {records}\nerased {erased}\nbodies open x\n"
        ))
        .is_some()
    };
    for (ranges, known) in [
        ("none", true),
        ("1", true),
        ("1-3", true),
        ("1,2,3", true),
        ("1-3,5-5,7", true),
        ("18446744073709551614-18446744073709551615", true),
        ("3-1", false),
        ("2,1", false),
        ("1,1", false),
        ("1-3,1-3", false),
        ("1-3,3-5", false),
        ("1-9,4", false),
        ("1,", false),
    ] {
        assert_eq!((list(ranges, "none"), list("1-9", ranges)), (known, known), "{ranges}");
    }
    let twice = |pack: &mut Pack| listed(pack, 1, |text| text.replace("\nrecords 1,2\n", "\nrecords 1-2,1-2\n"));
    check("twice", &calls(1), false, resigned(twice), &Wrong("the list of its records is none that this program knows"));
}

#[test]
fn what_is_wrong_with_many_records_is_said_of_the_first() {
    for (records, more) in [(LISTED, None), (LISTED + 1, Some("and 1 more: ")), (LISTED + 5, Some("and 5 more: "))] {
        let report = changed(&calls(records as u64), |pack| {
            let other = pack.records[0].proof.clone();
            pack.records.iter_mut().skip(1).for_each(|packed| packed.proof = other.clone());
        });
        let of: Vec<&String> = report.wrong.iter().filter(|wrong| wrong.starts_with("the proof that record")).collect();
        assert_eq!(of.len(), LISTED, "{report:#?}");
        assert!(of[0].contains("record 2 ") && of[LISTED - 1].contains("record 21 "), "{report:#?}");
        let counted: Vec<&String> = report.wrong.iter().filter(|wrong| wrong.contains(" more: ")).collect();
        assert_eq!(counted.len(), usize::from(more.is_some()), "{report:#?}");
        assert!(more.is_none_or(|more| *counted[0] == format!("{more}records whose proofs do not hold")), "{report:#?}");
    }
    let added = changed(&calls(50), |pack| {
        listed(pack, 1, |text| {
            let lines = text.lines().map(|line| if line.starts_with("records ") { "records 1" } else { line });
            lines.collect::<Vec<_>>().join("\n") + "\n"
        });
    });
    assert!(added.wrong.iter().any(|wrong| wrong == "records were added to it: 2-21 and 30 more"), "{added:#?}");
}

#[test]
fn a_policy_is_there_once_under_its_digest_and_for_a_decision() {
    let spoiled = |case: &str, change: fn(&mut Pack), said: &str| check(case, &calls(1), false, resigned(change), &Wrong(said));
    spoiled("twice", |pack| pack.bundles.push(pack.bundles[0].clone()), "is in it twice");
    spoiled("another", |pack| pack.bundles[0].1.extend(0_u64.to_be_bytes()), "is another one");
    spoiled("no policy", |pack| pack.bundles[0].1 = b"alice".to_vec(), "is another one");
    spoiled("unnamed", |pack| pack.bundles.push((vec![7; 32], b"alice".to_vec())), "is in it, and no decision names it");
    let unnamed = |count: usize| move |pack: &mut Pack| pack.bundles = vec![(vec![7; 32], Vec::new()); count];
    let many = "is in it, and no decision names it";
    check("as many as there may be", &calls(1), false, resigned(unnamed(BUNDLES_MAX)), &Wrong(many));
    let more = format!("holds {} bundles, and a pack has at most {BUNDLES_MAX}", BUNDLES_MAX + 1);
    check("one more", &calls(1), false, resigned(unnamed(BUNDLES_MAX + 1)), &Not(&more));
    check("named", &calls(1), false, |_| (), &NotShown("not witnessed"));
}

#[test]
fn a_file_larger_than_any_of_a_pack_is_not_read() {
    use crate::pack::files::FILE_BYTES_MAX;
    for bytes in [FILE_BYTES_MAX, FILE_BYTES_MAX + 1] {
        let directory = tempfile::tempdir().expect("a directory");
        calls(1).write(false, directory.path());
        let path = directory.path().join(PACK_FILE);
        fs::File::options().write(true).open(&path).and_then(|file| file.set_len(bytes)).expect("longer");
        match (verified(directory.path()), bytes == FILE_BYTES_MAX) {
            (Ok(report), true) => assert!(report.wrong[0].contains("`pack.json` is not the file that was signed"), "{report:#?}"),
            (Err(error), false) => assert!(chain(&error).contains("has more than 134217728 bytes"), "{}", chain(&error)),
            (read, _) => panic!("{bytes}: {read:?}"),
        }
    }
}

#[test]
fn a_pack_of_more_records_than_are_gathered_is_refused() {
    let whole = calls(1).pack(false);
    for (records, read) in [(RECORDS_MAX, true), (RECORDS_MAX + 1, false)] {
        let mut pack = whole.clone();
        let one = &whole.records[0];
        let at = |sequence: u64| {
            let mut packed = one.clone();
            packed.entry.sequence = sequence;
            packed
        };
        pack.records = (1..=records as u64).map(at).collect();
        let read_as = Pack::read(Path::new(PACK_FILE), &pack.to_bytes()).map(|(pack, _)| pack.records.len());
        match read_as {
            Ok(count) => assert!(read && count == records),
            Err(error) => {
                let said = format!("`pack.json` holds {records} records, and a pack has at most {RECORDS_MAX}");
                assert!(!read && chain(&error) == said, "{}", chain(&error));
            }
        }
    }
}
