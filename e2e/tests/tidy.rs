//! The house inspects itself: every rule of `docs/style.md` and `docs/architecture.md` that a machine can hold is held here.
//!
//! It reads files and runs nothing of the project.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a look that cannot look has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longer files must say at their top why they are long.
const FILE_LINES_MAX: usize = 700;
const LINE_CHARS_MAX: usize = 180;

/// One heavy dependency, and the only files that may name it.
const DOORS: &[(&str, &[&str])] = &[
    ("proxy_wasm::", &["filter/src/host.rs", "filter/src/host/", "e2e/benches/pass-filter/"]),
    ("regorus::", &["policies/src/engine.rs", "policies/src/engine/"]),
    ("sled::", &["control-plane/src/journal/index.rs"]),
    ("tokio_postgres", &["control-plane/src/journal/postgres/"]),
    ("rcgen::", &["control-plane/cli/src/authority.rs"]),
    ("ed25519_dalek::", &["proto/core/src/transparency/key.rs"]),
    ("aes_gcm_siv::", &["control-plane/src/body/cipher.rs"]),
    ("krilla::", &["control-plane/cli/src/pack/report/paper.rs"]),
    (
        "tonic::",
        &[
            "/rpc.rs",
            "control-plane/src/server.rs",
            "control-plane/src/error.rs",
            "control-plane/cli/src/client.rs",
            "tests/",
            "e2e/",
            "benches/",
        ],
    ),
];

/// Which of our crates a crate may name in its `[dependencies]`.
const ARROWS: &[(&str, &[&str])] = &[
    ("proto/core", &[]),
    ("proto", &["agentgate-core"]),
    ("policies", &["agentgate-core"]),
    ("filter", &["agentgate-core", "agentgate-proto"]),
    ("control-plane/outbound", &[]),
    ("control-plane", &["agentgate-core", "agentgate-outbound", "agentgate-proto", "agentgate-policies"]),
    ("control-plane/cli", &["agentgate-core", "agentgate-outbound", "agentgate-proto", "agentgate-policies"]),
];

/// Methods of the protocol that look like paths of ours.
const METHODS: &[&str] = &["tools/call", "tools/list"];

const ROOMS: &[&str] = &["decide", "policy", "session", "identity", "status", "journal", "history"];

struct House {
    root: PathBuf,
    /// Relative path and text of each file that git tracks or would track.
    files: BTreeMap<String, String>,
}

// === impl House ===

impl House {
    fn open() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf();
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .expect("git lists the files of the project");
        let files = String::from_utf8(listed.stdout)
            .unwrap()
            .lines()
            .filter_map(|path| Some((path.to_owned(), fs::read_to_string(root.join(path)).ok()?)))
            .collect();
        Self { root, files }
    }

    fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter(|(path, _)| path.ends_with(".rs")).map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

/// Fails with every fault at once, so that one run is enough.
fn check(rule: &str, faults: impl IntoIterator<Item = String>) {
    let faults: Vec<String> = faults.into_iter().collect();
    assert!(faults.is_empty(), "{rule}:\n  {}\n", faults.join("\n  "));
}

/// The code of a line, without what stands after `//`.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

#[test]
fn every_rust_file_says_what_it_is_for() {
    let house = House::open();
    assert!(house.rust().count() > 30, "the listing is broken: hardly any file was found");
    check("a file opens with `//!`", house.rust().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path.to_owned()));
}

#[test]
fn no_file_is_too_long_without_saying_why() {
    let house = House::open();
    check(
        "a file above the bound says at its top `Long because …`",
        house
            .rust()
            .filter(|(_, text)| text.lines().count() > FILE_LINES_MAX)
            .filter(|(_, text)| !text.lines().take(8).any(|line| line.contains("Long because")))
            .map(|(path, text)| format!("{path}: {} lines", text.lines().count())),
    );
    let long = house.rust().flat_map(|(path, text)| {
        text.lines()
            .enumerate()
            .filter(|(_, line)| line.chars().count() > LINE_CHARS_MAX)
            .map(move |(number, _)| format!("{path}:{}", number + 1))
    });
    check("a line fits on a screen", long);
}

#[test]
fn each_heavy_dependency_has_one_door() {
    let house = House::open();
    let mut faults = Vec::new();
    for (path, text) in house.rust().filter(|(path, _)| *path != "e2e/tests/tidy.rs") {
        for (dependency, doors) in DOORS {
            if doors.iter().any(|door| path.contains(door)) {
                continue;
            }
            let named = text.lines().position(|line| code(line).contains(dependency));
            faults.extend(named.map(|line| format!("{path}:{} names {dependency}", line + 1)));
        }
    }
    check("a heavy dependency is named behind its door only", faults);
}

#[test]
fn the_arrows_between_crates_run_one_way() {
    let house = House::open();
    let mut faults = Vec::new();
    for (krate, allowed) in ARROWS {
        let manifest = &house.files[&format!("{krate}/Cargo.toml")];
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for line in dependencies.lines().filter(|line| line.starts_with("agentgate-")) {
            let name = line.split([' ', '=', '.']).next().unwrap_or_default();
            if !allowed.contains(&name) {
                faults.push(format!("{krate} names {name}"));
            }
        }
    }
    check("core knows nobody; filter and control plane never know each other", faults);
}

#[test]
fn rooms_meet_at_their_doors() {
    let house = House::open();
    let mut faults = Vec::new();
    for (path, text) in house.rust().filter(|(path, _)| path.starts_with("control-plane/src/")) {
        let home = path.strip_prefix("control-plane/src/").unwrap_or_default();
        // The one place that knows everything builds the rooms' edges.
        if home == "run.rs" || home == "run/mod.rs" || home.starts_with("run/") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            if code(line).contains("crate::run::") && !home.starts_with("main") {
                faults.push(format!("{path}:{} imports run", number + 1));
            }
            for room in ROOMS {
                // The server mounts the rooms' gRPC edges; nobody else sees them.
                let mounts = home == "server.rs" && code(line).contains(&format!("crate::{room}::rpc"));
                let inside = home.starts_with(&format!("{room}/")) || mounts;
                let prefix = format!("crate::{room}::");
                let Some((_, rest)) = code(line).split_once(&prefix) else { continue };
                let first: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let file = format!("control-plane/src/{room}/{first}.rs");
                if !inside && house.files.contains_key(&file) {
                    faults.push(format!("{path}:{} goes past the door of {room}: {prefix}{first}", number + 1));
                }
            }
        }
    }
    check("only a room's mod.rs is used by others", faults);
}

#[test]
fn no_rust_file_is_dead() {
    let house = House::open();
    let mut faults = Vec::new();
    for (path, _) in house.rust().filter(|(path, _)| path.contains("/src/")) {
        let (folder, name) = path.rsplit_once('/').unwrap();
        let stem = name.trim_end_matches(".rs");
        if ["lib", "main", "build"].contains(&stem) || folder.ends_with("/bin") {
            continue;
        }
        // `a/mod.rs` is declared beside `a`; `a/b.rs` in `a/mod.rs`, in `a.rs`, or in the crate's root.
        let (folder, stem) = if stem == "mod" { folder.rsplit_once('/').unwrap() } else { (folder, stem) };
        let parents =
            [format!("{folder}/mod.rs"), format!("{folder}.rs"), format!("{folder}/lib.rs"), format!("{folder}/main.rs")];
        let declared = parents.iter().filter_map(|parent| house.files.get(parent)).any(|text| {
            text.lines().map(code).any(|line| {
                let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
                words.windows(2).any(|pair| pair == ["mod", stem])
            })
        });
        if !declared {
            faults.push(path.to_owned());
        }
    }
    check("a file under src stands in some `mod`", faults);
}

#[test]
fn every_path_in_the_documents_exists() {
    let house = House::open();
    let mut faults = Vec::new();
    let documents =
        house.files.iter().filter(|(path, _)| path.ends_with(".md") && (path.starts_with("docs/") || !path.contains('/')));
    for (document, text) in documents {
        // A decision speaks of its day; what it names may have moved since.
        if document.starts_with("docs/decisions/") {
            continue;
        }
        for word in text.split('`').skip(1).step_by(2) {
            let looks = word.contains('/')
                && !METHODS.contains(&word)
                && !word.contains(|c: char| c.is_whitespace() || "<>{}*$:=…\"".contains(c));
            let ours = house.files.keys().any(|path| path.split('/').next() == word.split('/').next());
            if looks && ours && !house.root.join(word.trim_end_matches('/')).exists() {
                faults.push(format!("{document} names `{word}`"));
            }
        }
    }
    check("a path in a document exists", faults);
}

#[test]
fn decisions_are_numbered_without_gap_and_cited_ones_exist() {
    let house = House::open();
    let numbers: BTreeSet<u32> =
        house.files.keys().filter_map(|path| path.strip_prefix("docs/decisions/")?.get(..4)?.parse().ok()).collect();
    let expected: BTreeSet<u32> = (1..=u32::try_from(numbers.len()).unwrap()).collect();
    assert_eq!(numbers, expected, "docs/decisions has a gap or two pages of one number");
    let cited = house.files.iter().flat_map(|(path, text)| {
        text.match_indices("decision 0").filter_map(move |(at, word)| {
            let number: u32 = text.get(at + word.len() - 1..)?.get(..4)?.parse().ok()?;
            Some((path, number))
        })
    });
    check(
        "a cited decision exists",
        cited.filter(|(_, number)| !numbers.contains(number)).map(|(path, number)| format!("{path} cites {number:04}")),
    );
}

#[test]
fn the_project_speaks_of_itself_alone() {
    let house = House::open();
    // Split, so that this file does not contain what it looks for.
    let hosts = [
        ["crates", ".io"],
        ["pypi", ".org"],
        ["registry.npm", "js"],
        ["proxy.golang", ".org"],
        ["/work", "/main"],
        ["/tmp", "/ag/"],
    ];
    let mut faults = Vec::new();
    for (path, text) in house.files.iter().filter(|(path, _)| *path != "Cargo.lock" && !path.ends_with("/Cargo.lock")) {
        for words in hosts {
            if text.contains(&words.concat()) {
                faults.push(format!("{path} names {}", words.concat()));
            }
        }
    }
    check("no registry's host and no path of a machine stands in the project", faults);
}

#[test]
fn lines_end_where_they_end() {
    let house = House::open();
    let text_files = house
        .files
        .iter()
        .filter(|(path, _)| [".rs", ".md", ".toml", ".proto", ".yaml", ".py", ".rego"].iter().any(|end| path.ends_with(end)));
    let faults = text_files.flat_map(|(path, text)| {
        let trailing = text.lines().position(|line| line.ends_with([' ', '\t'])).map(|line| format!("{path}:{}", line + 1));
        let last = (!text.is_empty() && !text.ends_with('\n')).then(|| format!("{path}: no newline at its end"));
        trailing.into_iter().chain(last)
    });
    check("no white space at the end of a line, and a newline at the end of a file", faults);
}
