//! A log over HTTP, from servers that are honest, broken and hostile.

use super::book::{Book, signer, trust, witness};
use super::question;
use crate::failure::{Exit, Failure};
use crate::output::{Desk, Output};
use crate::screen::{Charset, Screen};
use crate::verify::{Report, fetched};
use agentgate_core::time::Time;
use agentgate_core::transparency::trust::Trust;
use agentgate_e2e::upstream::{Arrived, Part, Protocol, Reply, Upstream};
use std::path::Path;
use std::time::Duration;

/// What a server answers for one path.
type Answer = fn() -> Reply;

fn says(status: u16, body: &[u8]) -> Reply {
    Reply::new("application/octet-stream", [Part::Bytes(body.to_vec())]).status(status)
}

/// The files of a directory, but for these paths.
fn serve(directory: &Path, other: Option<(&'static str, Answer)>) -> Upstream {
    let directory = directory.to_owned();
    let answer = move |asked: &Arrived| match other {
        Some((path, answer)) if asked.path == path => answer(),
        _ => match std::fs::read(directory.join(asked.path.trim_start_matches('/'))) {
            Ok(bytes) => says(200, &bytes),
            Err(_) => says(404, b""),
        },
    };
    Upstream::start(Protocol::Http1, answer).expect("a server")
}

/// What is said of the log at this address, or why nothing can be.
fn judged(url: &str, trust: &Trust, older: &[Vec<u8>]) -> Result<Report, String> {
    judged_by(url, None, trust, older)
}

fn judged_by(url: &str, roots: Option<&Path>, trust: &Trust, older: &[Vec<u8>]) -> Result<Report, String> {
    judged_within(fetched::LOG_MAX, url, roots, trust, older).map_err(|failure| failure.chain().join(": "))
}

fn judged_within(
    log_max: Duration,
    url: &str,
    roots: Option<&Path>,
    trust: &Trust,
    older: &[Vec<u8>],
) -> Result<Report, Failure> {
    let mut out = Vec::new();
    let screen = Screen { color: false, charset: Charset::Unicode, columns: 80, terminal: false };
    let now = Time::from_micros(0);
    let mut desk = Desk { screen, output: Output::Json, now, out: &mut out, person: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let question = question(trust.clone());
    let judging = fetched::judge(url, roots, &question, older.to_vec(), log_max, &mut desk);
    runtime.block_on(judging)
}

#[test]
fn roots_are_read_as_every_other_file() {
    use fetched::ROOTS_BYTES_MAX;
    let directory = tempfile::tempdir().expect("a directory");
    let (pipe, text, large) = (directory.path().join("pipe"), directory.path().join("text"), directory.path().join("large"));
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("made");
    for (path, bytes) in [(&text, ROOTS_BYTES_MAX), (&large, ROOTS_BYTES_MAX + 1)] {
        std::fs::File::create(path).and_then(|file| file.set_len(bytes)).expect("written");
    }
    for (roots, said) in [
        (pipe.as_path(), "is no ordinary file, and nothing else is read"),
        (Path::new("/dev/zero"), "is no ordinary file, and nothing else is read"),
        (&large, "has more than 4194304 bytes"),
        (&text, "there are no roots to trust"),
        (&directory.path().join("none"), "cannot read"),
    ] {
        let why = judged_by("https://127.0.0.1:1", Some(roots), &trust(), &[]).expect_err(said);
        assert!(why.contains(said) && why.contains("--"), "{}: {why}", roots.display());
    }
}

fn address(server: &Upstream) -> String {
    format!("http://{}", server.address)
}

#[test]
fn a_log_that_is_served_is_judged_as_one_that_was_exported() {
    let directory = tempfile::tempdir().expect("a directory");
    let book = Book::calls(70_000);
    book.export(directory.path());
    let server = serve(directory.path(), None);
    let report = judged(&address(&server), &trust(), &[]).expect("read");
    assert_eq!(report, crate::verify::judge(directory.path(), &question(trust()), &[]).expect("read"));
    assert!(report.holds() && format!("{report:?}").contains("the entries 1 to 70000 are those that were signed"));
    assert!(format!("{report:?}").contains("not witnessed") && format!("{report:?}").contains("no older checkpoint"));

    let old = Book::calls(300).checkpoint(&signer(1));
    let report = judged(&address(&server), &trust(), &[old]).expect("read");
    assert!(format!("{:?}", report.shown).contains("the first 300 of 70000 entries are as they were"), "{report:#?}");
    let mut rewritten = Book::calls(299);
    rewritten.decision(9, 1);
    let report = judged(&address(&server), &trust(), &[rewritten.checkpoint(&signer(1))]).expect("read");
    assert!(format!("{:?}", report.wrong).contains("it was rewritten"), "{report:#?}");
    let report = judged(&address(&server), &Trust::new(vec![signer(2).verifier().clone()]).expect("a key"), &[]).expect("read");
    assert!(!report.holds(), "{report:#?}");
}

#[test]
fn a_log_is_waited_for_no_longer_than_a_whole_log_may_take() {
    let directory = tempfile::tempdir().expect("a directory");
    Book::calls(600).export(directory.path());
    let server = serve(directory.path(), None);
    let within = |log_max| judged_within(log_max, &address(&server), None, &trust(), &[]);
    assert!(within(fetched::LOG_MAX).expect("read").holds());
    let late = within(Duration::ZERO).expect_err("no time");
    assert_eq!((late.exit, late.chain().concat().as_str()), (Exit::Unreachable, "the log's files did not all come within 0 s"));
    assert!(format!("{late:?}").contains("agentgate log export DIR"), "{late:?}");
}

#[test]
fn a_served_log_that_is_smaller_than_it_was_is_wrong_and_an_exported_one_only_shows_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    Book::calls(48).export(directory.path());
    let server = serve(directory.path(), None);
    let cases: [(u64, Option<&str>); 3] = [
        (47, None),
        (48, None),
        (
            49,
            Some(
                "the log has 48 entries, and the checkpoint that was kept is of 49: it was rolled back, or another log is shown",
            ),
        ),
    ];
    for (size, wanted) in cases {
        let kept = [Book::calls(size).checkpoint(&signer(1))];
        let report = judged(&address(&server), &trust(), &kept).expect("read");
        assert_eq!(report.wrong.first().map(String::as_str), wanted, "{report:#?}");
        let exported = crate::verify::judge(directory.path(), &question(trust()), &kept).expect("read");
        let earlier = exported.not_shown.iter().any(|not| not.contains("was signed before the one that was kept"));
        assert_eq!((exported.holds(), earlier), (true, wanted.is_some()), "{exported:#?}");
        assert!(!format!("{:?}", report.not_shown).contains("was signed before"), "{report:#?}");
    }
    let stranger = [Book::calls(49).checkpoint(&signer(2))];
    let report = judged(&address(&server), &trust(), &stranger).expect("read");
    assert!(report.wrong.len() == 1 && report.wrong[0].contains("the older checkpoint is not the log's"), "{report:#?}");
}

#[test]
fn what_witnesses_saw_of_a_served_log_is_said_as_far_as_they_saw_it() {
    let asked = |seed| trust().witnessed_by(vec![witness(seed).verifier().clone()], 1).expect("a witness");
    // What is served as witnessed: of how many calls, of which book, by which witness.
    let saw = |calls: u64, other: bool, seed: u8| {
        let mut book = Book::calls(if other { calls - 1 } else { calls });
        if other {
            book.decision(9, 1);
        }
        book.checkpoint_cosigned(&signer(1), Some(&witness(seed)))
    };
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("all of it", saw(600, false, 9), "shown: witnessed by witness.example+"),
        ("a part of it", saw(400, false, 9), "shown: the first 400 entries are witnessed by witness.example+"),
        ("another witness", saw(600, false, 8), "wrong: not witnessed: 0 of 1"),
        ("another log", saw(400, true, 9), "wrong: the log of 600 entries does not begin with the 400"),
        ("two roots", saw(600, true, 9), "wrong: the log signed two roots over 600 entries"),
    ];
    for (case, note, wanted) in cases {
        let directory = tempfile::tempdir().expect("a directory");
        Book::calls(600).export(directory.path());
        let folder = directory.path().to_owned();
        let answer = move |asked: &Arrived| match asked.path.as_str() {
            "/checkpoint/witnessed" => says(200, &note),
            path => std::fs::read(folder.join(path.trim_start_matches('/')))
                .map_or_else(|_| says(404, b""), |bytes| says(200, &bytes)),
        };
        let server = Upstream::start(Protocol::Http1, answer).expect("a server");
        let report = judged(&address(&server), &asked(9), &[]).expect("read");
        let lines = report.shown.iter().map(|line| format!("shown: {line}"));
        let lines = lines.chain(report.wrong.iter().map(|line| format!("wrong: {line}")));
        let lines: Vec<_> = lines.chain(report.not_shown.iter().map(|line| format!("not shown: {line}"))).collect();
        assert!(lines.iter().any(|line| line.starts_with(wanted)), "{case}: {lines:#?}");
        assert!(
            lines.iter().any(|line| line.contains("no older checkpoint was given")),
            "{case}: a witness's is of the same day"
        );
        let told = ["not shown: not witnessed", "wrong: not witnessed"];
        let is_not = lines.iter().any(|line| told.iter().any(|told| line.starts_with(told)));
        assert_eq!(is_not, case != "all of it", "{case}: {lines:#?}");
    }
}

#[test]
fn a_server_that_is_broken_or_hostile_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    Book::calls(600).export(directory.path());
    const TILE: &str = "/tile/0/001";
    const ENTRIES: &str = "/tile/entries/002.p/88";
    let cases: [(&str, Answer, &str); 10] = [
        (
            "/checkpoint",
            || says(200, &vec![b'x'; 600_000]),
            "`checkpoint` of the log cannot be had: its answer has more than 524288 bytes",
        ),
        ("/checkpoint", || says(404, b""), "`checkpoint` of the log cannot be had: the server answered 404"),
        ("/checkpoint", || says(200, b"log.example/test\n600\n"), "its checkpoint is no signed note"),
        (TILE, || says(200, &[7; 8_193]), "`tile/0/001` of the log cannot be had: its answer has more than 8192 bytes"),
        (TILE, || says(200, &[7; 8_191]), "`tile/0/001` of the log has 8191 bytes in place of 8192"),
        (
            TILE,
            || Reply::new("x/y", [Part::Bytes(vec![7; 9]), Part::Cut]),
            "`tile/0/001` of the log cannot be had: its answer was cut short",
        ),
        (
            TILE,
            || says(302, b"").header("location", "/tile/0/001"),
            "the server answered 302 Found, and redirects are not followed",
        ),
        (TILE, || says(503, b""), "`tile/0/001` of the log cannot be had: the server answered 503"),
        (ENTRIES, || says(404, b""), "`tile/entries/002.p/88` of the log cannot be had: the server answered 404"),
        (ENTRIES, || says(200, &[7; 88 * 72]), "is corrupt"),
    ];
    for (path, answer, wanted) in cases {
        let server = serve(directory.path(), Some((path, answer)));
        let said = judged(&address(&server), &trust(), &[]).expect_err(wanted);
        assert!(said.contains(wanted), "{said}, and not {wanted}");
    }
    let server = serve(directory.path(), Some((TILE, || says(200, &[7; 8_192]))));
    let report = judged(&address(&server), &trust(), &[]).expect("read");
    assert!(format!("{:?}", report.wrong).contains("the tile `tile/0/001` is not made of the log's entries"), "{report:#?}");
    let gone = address(&server);
    drop(server);
    for (url, wanted) in
        [(gone.as_str(), "it cannot be reached"), ("log.example", "it has no scheme or no host"), ("ftp://x", "its scheme is")]
    {
        let said = judged(url, &trust(), &[]).expect_err(wanted);
        assert!(said.contains(wanted), "{said}, and not {wanted}");
    }
}
