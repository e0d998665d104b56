//! Files that are none, and files that would be far larger in memory than they are: refused by name, and soon.

use super::book::Book;
use super::{Said, check, judge, question, trust};
use crate::file::fields::parse;
use crate::file::once::{OBJECT_KEYS, OBJECT_PARTS, PART_BYTES_MIN, PARTS_FREE, TEXT_PARTS};
use crate::file::read;
use crate::pack::tests::made::Made;
use crate::pack::{NOTE_FILE, PACK_FILE, PDF_FILE, REPORT_FILE};
use crate::verify::{Unreadable, older};
use agentgate_core::error::chain;
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

type Odd = fn(&Path);

/// What may stand in a file's place, and keep its reader for ever, or feed it for ever.
const ODD: [(&str, Odd); 3] = [
    ("a pipe", |path| mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).expect("made")),
    ("a device", |path| symlink("/dev/zero", path).expect("linked")),
    ("a directory", |path| fs::create_dir(path).expect("made")),
];

fn instead(path: &Path, odd: Odd) {
    fs::remove_file(path).expect("there");
    odd(path);
}

#[test]
fn what_is_no_ordinary_file_is_refused_by_name_wherever_it_lies() {
    for (kind, odd) in ODD {
        for file in [NOTE_FILE, PACK_FILE, REPORT_FILE, PDF_FILE] {
            let directory = tempfile::tempdir().expect("a directory");
            Made::of_everything().write(false, directory.path());
            instead(&directory.path().join(file), odd);
            let said = format!("{file}` is no ordinary file");
            check(&format!("{kind} for {file}"), &judge(directory.path(), &question(trust()), &[]), &Said::Not(&said));
        }
        for file in ["checkpoint", "tile/0/000", "tile/1/000.p/2", "tile/entries/001"] {
            let directory = tempfile::tempdir().expect("a directory");
            Book::calls(600).export(directory.path());
            instead(&directory.path().join(file), odd);
            let said = format!("{file}` is no ordinary file");
            check(&format!("{kind} for {file}"), &judge(directory.path(), &question(trust()), &[]), &Said::Not(&said));
        }
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("proof.json");
        fs::write(&path, "{}").expect("written");
        instead(&path, odd);
        if !path.is_dir() {
            check(kind, &judge(&path, &question(trust()), &[]), &Said::Not("proof.json` is no ordinary file"));
            let why = chain(&older::read(&path).expect_err(kind));
            assert!(why.contains("proof.json` is no ordinary file"), "{kind}: {why}");
        }
    }
}

#[test]
fn a_link_to_an_ordinary_file_is_read_and_what_is_larger_than_it_may_be_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, link) = (directory.path().join("file"), directory.path().join("link"));
    fs::write(&file, "12345").expect("written");
    symlink(&file, &link).expect("linked");
    for path in [&file, &link] {
        assert_eq!(read(path, 5).expect("read"), b"12345");
        assert!(matches!(read(path, 4), Err(Unreadable::Large { max: 4, .. })), "{path:?}");
    }
    // A file that has no length at all, and content.
    assert!(matches!(read(Path::new("/proc/self/status"), 4), Err(Unreadable::Large { max: 4, .. })));
}

/// Text of a list of `count` times the same, which has at least `bytes`.
fn list(item: &str, count: usize, bytes: usize) -> String {
    let text = format!("[{}]", vec![item; count].join(","));
    text.clone() + &" ".repeat(bytes.saturating_sub(text.len()))
}

#[test]
fn values_that_would_take_far_more_memory_than_their_file_are_refused_and_those_that_fit_are_read() {
    let object = format!("{{{}}}", (0..=OBJECT_KEYS).map(|key| format!("\"{key}\":0")).collect::<Vec<_>>().join(","));
    for (item, parts) in [
        ("0", 1),
        ("-1", 1),
        ("0.5", 1),
        ("true", 1),
        ("null", 1),
        ("[]", 1),
        ("{}", 1),
        ("[[]]", 2),
        ("\"\"", TEXT_PARTS),
        ("\"\\n\"", TEXT_PARTS),
        ("{\"a\":0}", 2 + OBJECT_PARTS),
        (object.as_str(), 1 + OBJECT_KEYS + 1 + 2 * OBJECT_PARTS),
    ] {
        for more_bytes in [0, 600_000] {
            // The list itself is a part.
            let fits = |bytes: usize| (PARTS_FREE + bytes / PART_BYTES_MIN - 1) / parts;
            let mut count = PARTS_FREE / parts;
            let mut text = list(item, count, more_bytes);
            while fits(text.len()) > count {
                count = fits(text.len());
                text = list(item, count, more_bytes);
            }
            let read = |text: &str| parse(Path::new("pack.json"), text.as_bytes());
            assert_eq!(read(&text).expect(item).as_array().map(Vec::len), Some(count), "{item}");
            let over = list(item, count + 1 + parts, more_bytes);
            let over = if fits(over.len()) > count + parts { list(item, 2 * count, more_bytes) } else { over };
            let why = read(&over).map_err(|error| chain(&error));
            let refused = Err("`pack.json` holds more values than so few bytes have in any file of this form".to_owned());
            assert_eq!(why.map(drop), refused, "{item} {more_bytes}");
        }
    }
}

#[test]
fn a_real_pack_is_far_from_the_limit_and_a_key_twice_is_still_that() {
    let pack = Made::of_everything().pack(false).to_bytes();
    let value = parse(Path::new("pack.json"), &pack).expect("read");
    let parts = counted(&value);
    assert!(parts * PART_BYTES_MIN * 3 / 2 < pack.len(), "{parts} parts in {} bytes", pack.len());
    let twice = parse(Path::new("pack.json"), br#"{"a":0,"a":0}"#);
    assert!(matches!(twice, Err(Unreadable::Twice { .. })), "{twice:?}");
    let after = parse(Path::new("pack.json"), b"{} {}");
    assert!(matches!(after, Err(Unreadable::Json { .. })), "{after:?}");
}

fn counted(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(_) => TEXT_PARTS,
        Value::Array(values) => 1 + values.iter().map(counted).sum::<usize>(),
        Value::Object(object) => {
            1 + object.len().div_ceil(OBJECT_KEYS) * OBJECT_PARTS + object.values().map(counted).sum::<usize>()
        }
    }
}
