//! What a policy folder is, and what it is not.

use super::{Bundle, BundleError, MAGIC};
use crate::folder::{self, FILE_BYTES_MAX, FILES_MAX, SourceFile};
use std::path::Path;

const REGO: &str = "package agentgate.platform\n\nallow contains {\"rule\": \"r\", \"reason\": \"x\"} if input.tool == \"a\"\n";
const TOOLS: &str = "notes: { a: { tag: open, scope: read } }\n";
const CASES: &str =
    "- name: a is allowed\n  given: { server: notes, method: tools/call, tool: a }\n  want: { verdict: allow, rule: r }\n";

fn file(path: &str, bytes: impl AsRef<[u8]>) -> SourceFile {
    SourceFile { path: path.to_owned(), bytes: bytes.as_ref().to_vec() }
}

fn good() -> Vec<SourceFile> {
    vec![file("rego/a.rego", REGO), file("tools.yaml", TOOLS), file("cases/a.yaml", CASES)]
}

fn default_policy() -> Bundle {
    Bundle::load(folder::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("default")).unwrap()).unwrap()
}

#[test]
fn the_default_policy_passes_its_cases_and_they_reach_every_line() {
    let bundle = default_policy();
    let report = bundle.try_cases();
    assert!(report.passed(), "{:#?}", report.rows.iter().filter(|row| row.failure.is_some()).collect::<Vec<_>>());
    assert_eq!(report.rows.len(), bundle.cases());
    assert_eq!((bundle.rules(), bundle.cases()), (9, 57));
    let files: Vec<_> = report.coverage.iter().map(|coverage| (coverage.file.as_str(), coverage.missed.as_slice())).collect();
    assert_eq!(files, [("rego/methods.rego", [].as_slice()), ("rego/notes.rego", &[]), ("rego/platform.rego", &[])]);
    assert!(report.coverage.iter().all(|coverage| coverage.reached > 5), "{:?}", report.coverage);
}

#[test]
fn a_policy_to_begin_with_is_the_default_one_without_the_demonstration() {
    let folder = |name: &str| folder::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let start = folder("start");
    let of_demo = ["cases/notes.yaml", "cases/tools.yaml", "rego/notes.rego", "tools.yaml"];
    let shared: Vec<_> = folder("default").into_iter().filter(|file| !of_demo.contains(&file.path.as_str())).collect();
    let own = ["cases/tools.yaml", "tools.yaml"];
    assert_eq!(start.iter().filter(|file| !own.contains(&file.path.as_str())).cloned().collect::<Vec<_>>(), shared);
    let bundle = Bundle::load(start).unwrap();
    let report = bundle.try_cases();
    assert!(report.passed() && bundle.cases() > 25, "{:#?}", report.rows);
    assert!(bundle.table().lines().all(|line| line.starts_with('#')), "it names no tool");
}

#[test]
fn what_is_no_policy_is_refused_by_name() {
    let with = |extra: SourceFile| {
        let mut files = good();
        files.retain(|file| file.path != extra.path);
        files.push(extra);
        files
    };
    let without = |path: &str| good().into_iter().filter(|file| file.path != path).collect::<Vec<_>>();
    for (files, told) in [
        (vec![], "there is no `rego/*.rego`"),
        (without("rego/a.rego"), "there is no `rego/*.rego`"),
        (without("tools.yaml"), "there is no `tools.yaml`"),
        (with(file("README.md", "")), "`README.md` has no place"),
        (with(file("rego/a.rego~", "")), "`rego/a.rego~` is not the path"),
        (with(file("rego/a.rego.orig", "")), "`rego/a.rego.orig` has no place"),
        (with(file("rego/data.json", "{}")), "`rego/data.json` has no place"),
        (with(file("cases/a.yml", "")), "`cases/a.yml` has no place"),
        (with(file("a.rego", REGO)), "`a.rego` has no place"),
        (with(file("../a.rego", REGO)), "`../a.rego` is not the path"),
        (with(file("/a.rego", REGO)), "`/a.rego` is not the path"),
        (with(file("rego//a.rego", REGO)), "`rego//a.rego` is not the path"),
        (with(file("rego/.a.rego", REGO)), "`rego/.a.rego` is not the path"),
        (with(file("rego/b\u{1b}.rego", REGO)), "`rego/b\\u{1b}.rego` is not the path"),
        (with(file("rego/a.rego", [0xff])), "`rego/a.rego` is not UTF-8"),
        (with(file("rego/a.rego", "package agentgate.platform\n\nallow contains")), "rego/a.rego:3:"),
        (
            with(file("rego/b.rego", "package agentgate.platform\n\ndeny contains 1 if tol == 1")),
            "rego/b.rego:3:20: use of undefined variable `tol`",
        ),
        (
            with(file("rego/b.rego", "package agentgate.platform\n\ndeny contains 1 if time.now_ns() > 1")),
            "which replay cannot repeat",
        ),
        (
            with(file("rego/b.rego", "package agentgate.platform\n\ndeny contains 1 if a\na if b\nb if a")),
            "`a` depends on itself",
        ),
        (with(file("tools.yaml", "notes: 1")), "`tools.yaml`, line 1: a map is wanted here"),
        (
            with(file("cases/a.yaml", "- name: x\n  given: { server: s, method: ping }\n")),
            "`cases/a.yaml`, line 1: `want` is missing",
        ),
    ] {
        let error = Bundle::load(files).unwrap_err().to_string();
        assert!(error.contains(told), "wanted: {told}\ncame: {error}");
    }
    assert!(matches!(Bundle::load([good(), good()].concat()), Err(BundleError::Twice { .. })));
}

#[test]
fn a_bundle_is_bounded_on_both_sides() {
    let many = |files: usize| {
        let extra = (0..files - 2).map(|n| file(&format!("cases/{n}.yaml"), "[]"));
        Bundle::load(good().into_iter().take(2).chain(extra).collect())
    };
    assert!(many(FILES_MAX).is_ok());
    assert!(matches!(many(FILES_MAX + 1), Err(BundleError::TooMuch)));
    let long = |bytes: usize| {
        let table = format!("{TOOLS}#{}", "x".repeat(bytes - TOOLS.len() - 1));
        Bundle::load(vec![file("rego/a.rego", REGO), file("tools.yaml", table)])
    };
    assert!(long(FILE_BYTES_MAX).is_ok());
    assert!(matches!(long(FILE_BYTES_MAX + 1), Err(BundleError::TooMuch)));
}

#[test]
fn a_digest_names_paths_and_bytes_and_not_their_order() {
    let digest = |files: Vec<SourceFile>| Bundle::load(files).unwrap().digest();
    let one = digest(good());
    assert_eq!(digest(good().into_iter().rev().collect()), one);
    let mut moved = good();
    moved[0].path = "rego/b.rego".to_owned();
    assert_ne!(digest(moved), one);
    let mut edited = good();
    edited[0].bytes.push(b'\n');
    assert_ne!(digest(edited), one);
    // A byte that moves from the end of one file to the start of the next.
    let table = |text: &str, rego: &str| vec![file("rego/z.rego", rego), file("tools.yaml", text)];
    assert_ne!(digest(table(TOOLS, &format!("{REGO}\n"))), digest(table(&format!("\n{TOOLS}"), REGO)));
}

#[test]
fn a_bundle_survives_its_bytes_and_nothing_else_does() {
    let bundle = default_policy();
    let bytes = bundle.to_bytes();
    let again = Bundle::from_bytes(&bytes).unwrap();
    assert_eq!((again.digest(), again.to_bytes()), (bundle.digest(), bytes.clone()));

    assert_eq!(Bundle::digest_of(&bytes).unwrap(), bundle.digest());
    assert_ne!(Bundle::digest_of(&[&bytes[..], &[0; 16]].concat()).ok(), Some(bundle.digest()));

    let small = Bundle::load(good()).unwrap().to_bytes();
    for end in 0..small.len() {
        assert!(Bundle::from_bytes(&small[..end]).is_err(), "cut at {end}");
    }
    let framed = |files: &[SourceFile]| {
        let mut bytes = MAGIC.to_vec();
        for file in files {
            for part in [file.path.as_bytes(), &file.bytes] {
                bytes.extend((part.len() as u64).to_be_bytes());
                bytes.extend(part);
            }
        }
        bytes
    };
    let mut sorted = good();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    assert_eq!(framed(&sorted), small);
    sorted.reverse();
    for (bytes, told) in [
        ([small.clone(), vec![0]].concat(), "in the middle of a file"),
        ([b"x".to_vec(), small.clone()].concat(), "the first line"),
        (framed(&sorted), "not in order"),
        ([MAGIC, &[0xff; 8]].concat(), "in the middle of a file"),
        ([MAGIC, &[0, 0, 0, 0, 0, 0, 0, 1, 0xff], &[0; 8]].concat(), "a path is not UTF-8"),
    ] {
        let error = Bundle::from_bytes(&bytes).unwrap_err().to_string();
        assert!(error.contains(told), "{told}: {error}");
    }
}
