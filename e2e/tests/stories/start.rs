//! The pages of `docs/start` as somebody follows them on a first day: each command is typed in its order, before the notes as
//! "your own server", and says what the page shows. A line that nothing runs fails; addresses are this world's, numbers are not compared.

use agentgate_e2e::{Broken, Doing, Notes, Places, Process, eventually};
use serde_json::Value;
use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A part of a page, in its order.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    /// The commands of a `sh` block, and the lines of the `text` block after it.
    Typed { commands: Vec<String>, shown: Vec<String> },
    /// A command in a row of a table.
    Row(String),
    /// A command in running text.
    Named(String),
}

#[test]
fn the_platform_engineers_page_is_true() {
    check("platform-engineer");
}

#[test]
fn the_sres_page_is_true() {
    check("sre");
}

#[test]
fn the_policy_authors_page_is_true() {
    check("policy-author");
}

#[test]
fn the_approvers_page_is_true() {
    check("approver");
}

#[test]
fn what_a_page_shows_and_nobody_said_is_noticed() {
    let text = "`agentgate fly`\n```sh\ncat > x <<'END'\ny # z\nEND\nagentgate status  # now\n```\n\n```text\nready  yes\n```\n| `agentgate kill list` |\n";
    let commands = vec!["cat > x <<'END'\ny # z\nEND".to_owned(), "agentgate status".to_owned()];
    let typed = Part::Typed { commands, shown: vec!["ready  yes".to_owned()] };
    assert_eq!(parts(text), [Part::Named("agentgate fly".into()), typed, Part::Row("agentgate kill list".into())]);
    for (said, shown, is_said) in [
        ("  ready        yes", "ready  yes", true),
        ("note 4 was added", "note 9 was added", true),
        ("asked now", "asked 2s ago", true),
        ("yes ready", "ready yes", false),
        ("ready\nyes", "ready yes", false),
        ("", "ready", false),
    ] {
        assert_eq!(missing(said, &[shown.to_owned()]).is_none(), is_said, "{said}");
    }
    let desk = Desk::new().unwrap();
    assert!(desk.part(&Part::Named("agentgate fly".into())).is_err());
    assert!(desk.part(&Part::Row("curl example.com | sh".into())).is_err());
    assert!(desk.part(&Part::Typed { commands: vec!["agentgate --version".into()], shown: vec!["pigs fly".into()] }).is_err());
}

#[test]
fn the_pictures_fetch_nothing_and_name_no_directory_of_whoever_drew_them() {
    for page in ["platform-engineer", "sre", "policy-author", "approver"] {
        let path = Places::found().unwrap().repository.join("docs/start").join(page).with_extension("svg");
        let text = fs::read_to_string(path).unwrap().replace("http://www.w3.org/2000/svg", "");
        let found = ["http:", "https:", "href", "url(", "@import", "<script", "/tmp", "/home", "/root"]
            .into_iter()
            .find(|word| text.contains(word));
        assert!(text.contains("<text") && found.is_none(), "docs/start/{page}.svg has `{}`", found.unwrap_or_default());
    }
}

#[test]
fn every_metric_that_a_page_names_is_one() {
    let repository = Places::found().unwrap().repository;
    let read = |path: &str| fs::read_to_string(repository.join(path)).unwrap();
    let known = read("control-plane/src/telemetry.rs") + &read("filter/src/count.rs");
    for page in ["platform-engineer", "sre", "policy-author", "approver"] {
        let text = read(&format!("docs/start/{page}.md"));
        for word in text.split(|letter: char| !letter.is_ascii_alphanumeric() && !"._*".contains(letter)) {
            let name = word.strip_prefix("wasmcustom.agentgate.").or(Some(word).filter(|word| word.starts_with("agentgate_")));
            let name = name.map(|name| name.trim_end_matches(['*', '.']));
            let is_known = name.is_none_or(|name| known.contains(&format!("\"{name}")) || name.ends_with(".wasm"));
            assert!(is_known, "docs/start/{page}.md: there is no `{word}`");
        }
    }
}

fn check(page: &str) {
    let desk = Desk::new().unwrap();
    let path = desk.places.repository.join("docs/start").join(page).with_extension("md");
    let parts = parts(&fs::read_to_string(path).unwrap());
    assert!(parts.len() > 5, "hardly anything was found: {parts:?}");
    for part in &parts {
        desk.part(part).unwrap_or_else(|why| panic!("docs/start/{page}.md: {part:#?}: {why}"));
    }
}

// === impl Part ===

fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        match line {
            "```sh" => parts.push(Part::Typed { commands: commands(&fenced(&mut lines)), shown: Vec::new() }),
            "```text" => match parts.last_mut() {
                Some(Part::Typed { shown, .. }) => *shown = fenced(&mut lines),
                other => panic!("nothing was typed for it to be said, but {other:?}"),
            },
            _ => {
                let words = line.split('`').skip(1).step_by(2).filter(|words| words.contains(' ')).map(ToOwned::to_owned);
                let part = if line.starts_with('|') { Part::Row } else { Part::Named };
                parts.extend(words.filter(|words| words.starts_with("agentgate ")).map(part));
            }
        }
    }
    parts
}

fn fenced<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Vec<String> {
    lines.take_while(|line| *line != "```").map(ToOwned::to_owned).collect()
}

/// Each command without its comment; one that reads lines up to `END` has them.
fn commands(lines: &[String]) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut is_inside = false;
    for line in lines {
        match commands.last_mut().filter(|_| is_inside) {
            Some(command) => {
                command.push('\n');
                command.push_str(line);
                is_inside = line != "END";
            }
            None => {
                is_inside = line.ends_with("<<'END'");
                commands.push(line.split("  #").next().unwrap_or_default().trim().to_owned());
            }
        }
    }
    commands
}

/// The first line that was shown and not said: some line has to have its words in their order. Numbers and times differ each time.
fn missing<'a>(said: &str, shown: &'a [String]) -> Option<&'a String> {
    shown.iter().filter(|line| !line.trim().is_empty()).find(|line| {
        let words: Vec<&str> = line.split_whitespace().filter(|word| !is_different(word)).collect();
        words.is_empty() || !said.lines().any(|line| holds(line, &words))
    })
}

fn is_different(word: &str) -> bool {
    let bare = word.trim_matches(|letter: char| !letter.is_alphanumeric());
    bare.bytes().any(|byte| byte.is_ascii_digit()) || ["now", "ago"].contains(&bare)
}

fn holds(line: &str, words: &[&str]) -> bool {
    words.iter().try_fold(line, |rest, word| rest.split_once(word).map(|(_, after)| after)).is_some()
}

/// Where the commands are typed: a directory of its own that looks like the checkout, and "your own server".
struct Desk {
    places: Places,
    directory: TempDir,
    notes: Notes,
    /// What was left running with `&`.
    started: RefCell<Vec<Process>>,
}

// === impl Desk ===

const POLICIES: &str = ".run/control-plane/policies";

impl Desk {
    fn new() -> Result<Self, Broken> {
        let places = Places::found()?;
        let directory = tempfile::Builder::new().prefix("agentgate-start-").tempdir().doing("a directory")?;
        for part in ["policies", "envoy", "docs"] {
            std::os::unix::fs::symlink(places.repository.join(part), directory.path().join(part)).doing(part)?;
        }
        let module = directory.path().join("target/wasm32-wasip1/wasm/agentgate_filter.wasm");
        fs::create_dir_all(module.with_file_name("")).doing("the module's directory")?;
        std::os::unix::fs::symlink(&places.filter, module).doing("the module")?;
        let notes = Notes::start(&places, &directory.path().join("notes"), &[])?;
        Ok(Self { places, directory, notes, started: RefCell::default() })
    }

    fn part(&self, part: &Part) -> Result<(), String> {
        match part {
            Part::Typed { commands, shown } => self.typed(commands, shown),
            Part::Row(command) => self.run(command).map(drop),
            Part::Named(command) => self.named(command),
        }
    }

    fn typed(&self, commands: &[String], shown: &[String]) -> Result<(), String> {
        let mut said = String::new();
        for command in commands {
            said += &self.run(command).map_err(|why| format!("`{command}`: {why}"))?;
        }
        if missing(&said, shown).is_none() {
            return Ok(());
        }
        // What only looks may have looked too early.
        let last = commands.last().filter(|last| only_looks(last));
        let again = || {
            let more = self.run(last?).ok()?;
            missing(&(said.clone() + &more), shown).is_none().then_some(())
        };
        match last.map(|_| eventually("it says what the page shows", again)) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(format!("`{:?}` is missing in:\n{said}", missing(&said, shown))),
        }
    }

    /// A command that only text names must be one.
    fn named(&self, command: &str) -> Result<(), String> {
        let is_verb =
            |word: &&str| word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-') && !word.starts_with("--");
        let verbs: Vec<&str> = command.split_whitespace().take_while(is_verb).collect();
        self.shell(&format!("{} --help", verbs.join(" "))).map(drop)
    }

    /// Runs it and returns what it said.
    fn run(&self, command: &str) -> Result<String, String> {
        let here = self.here(command)?;
        match command.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["./justw", "up", ..] => self.up(&here),
            ["./justw", "down", rest @ ..] => good(&self.laptop(&[&["down"], rest].concat())),
            ["source", path] => {
                fs::read_to_string(self.directory.path().join(path)).map(|_| String::new()).map_err(|e| e.to_string())
            }
            ["agentgate", "trace", "tail"] => self.follows(&here),
            ["agentgate-control-plane", .., "&"] => self.leaves(here.trim_end_matches('&')),
            ["agentgate", "enforce", ..] | ["agentgate", "approve", "grant", ..] => self.shell(&format!("{here} --yes")),
            ["agentgate" | "curl", ..] if only_looks(command) && !command.contains('|') => self.looks(&here),
            ["agentgate" | "docs/start/agent" | "cp" | "mkdir" | "sed" | "cat" | "tail" | "kill" | "rm", ..]
                if !command.contains('|') || command.contains("<<'END'") =>
            {
                let said = self.shell(&here)?;
                if command.contains(POLICIES) {
                    self.comes_into_force()?;
                }
                Ok(said)
            }
            _ => Err("nothing here runs it".into()),
        }
    }

    /// With the addresses of this world, and the newest of what a person would choose from a list.
    fn here(&self, command: &str) -> Result<String, String> {
        let mut here = command.replace("127.0.0.1:8000", &self.notes.address.to_string());
        for (port, file, pointer) in [
            ("10000", ".run/ready", ""),
            ("9901", ".run/gate/admin-address", ""),
            ("9445", ".run/control-plane/ready.json", "metrics"),
        ] {
            let address = format!("127.0.0.1:{port}");
            if here.contains(&address) {
                let text = fs::read_to_string(self.directory.path().join(file)).map_err(|error| format!("{file}: {error}"))?;
                let found = if pointer.is_empty() {
                    text.trim().trim_start_matches("http://").to_owned()
                } else {
                    text_of(&parsed(&text)?[pointer])
                };
                here = here.replace(&address, &found);
            }
        }
        let is_asked = |word: &str| here.split_whitespace().any(|one| one == word);
        if is_asked("SEQ") {
            let traces = parsed(&self.shell("agentgate trace list --verdict deny --limit 1 --output json")?)?;
            return Ok(here.replace("SEQ", &traces["traces"][0]["sequence"].to_string()));
        }
        if is_asked("ID") {
            let waiting = parsed(&self.shell("agentgate approve list --output json")?)?;
            return Ok(here.replace(" ID", &format!(" {}", text_of(&waiting["approvals"][0]["id"]))));
        }
        Ok(here)
    }

    /// As `./justw up`, on any free ports; who starts the control plane again finds it where it was.
    fn up(&self, command: &str) -> Result<String, String> {
        let ports = ["--gate-port", "--admin-port", "--filters-port", "--operators-port", "--metrics-port"];
        let ports = ports.into_iter().flat_map(|option| [option, "0"]);
        let said = good(&self.laptop(&command.split_whitespace().skip(1).chain(ports).collect::<Vec<_>>()))?;
        let file = self.directory.path().join(".run/control-plane/control-plane.toml");
        let ready = parsed(&self.read(".run/control-plane/ready.json")?)?;
        let fixed = ["filters", "operators", "metrics"].into_iter().fold(self.read(file.to_str().unwrap())?, |text, name| {
            let listen = |address: &str| format!("[{name}]\nlisten = \"{address}\"");
            text.replace(&listen("127.0.0.1:0"), &listen(&text_of(&ready[name])))
        });
        fs::write(file, fixed).map_err(|error| error.to_string())?;
        Ok(said)
    }

    fn read(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(self.directory.path().join(path)).map_err(|error| format!("{path}: {error}"))
    }

    /// It shows a call that comes, and still runs.
    fn follows(&self, command: &str) -> Result<String, String> {
        let log = self.directory.path().join("followed.log");
        let mut following = Process::start(command, self.bash(command), &log).map_err(|error| error.to_string())?;
        let agent = self.here("docs/start/agent http://127.0.0.1:10000/notes list_notes")?;
        let says = following.until("it shows a call", || {
            self.shell(&agent).ok()?;
            fs::read_to_string(&log).ok().filter(|text| text.contains("list_notes"))
        });
        says.map_err(|error| error.to_string())
    }

    /// It runs on until the page is over.
    fn leaves(&self, command: &str) -> Result<String, String> {
        let log = self.directory.path().join("left.log");
        let process = Process::start(command, self.bash(command), &log).map_err(|error| error.to_string())?;
        self.started.borrow_mut().push(process);
        Ok(String::new())
    }

    /// Until it can be answered: what was started with `&` serves a moment later.
    fn looks(&self, command: &str) -> Result<String, String> {
        let mut said = Err(String::new());
        let answered = eventually(command, || {
            said = self.shell(command);
            said.is_ok().then_some(())
        });
        answered.map_err(|_| said.clone().err().unwrap_or_default()).and(said)
    }

    /// What was saved is in force, or this says why not.
    fn comes_into_force(&self) -> Result<(), String> {
        let saved = parsed(&self.shell(&format!("agentgate policy test {POLICIES} --output json"))?)?;
        let digest = &saved["digest"];
        assert!(digest.is_string(), "{saved}");
        let in_force = || {
            let status = parsed(&self.shell("agentgate status --output json").ok()?).ok()?;
            (status["policy"]["digest"] == *digest).then_some(())
        };
        eventually("what was saved is in force", in_force).map_err(|error| error.to_string())
    }

    fn shell(&self, command: &str) -> Result<String, String> {
        good(&self.bash(command).output().map_err(|error| error.to_string())?)
    }

    /// A shell that has sourced what there is to source.
    fn bash(&self, command: &str) -> Command {
        let mut shell = Command::new("bash");
        let programs = self.places.agentgate.parent().unwrap_or(Path::new("."));
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        shell.args(["-euc", &format!("[ ! -e .run/env ] || source .run/env\n{command}")]).env("PATH", path);
        shell.env("AGENTGATE_PYTHON", &self.places.python).current_dir(self.directory.path());
        shell
    }

    fn laptop(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_laptop")).args(arguments).current_dir(self.directory.path()).output().unwrap()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let down = self.laptop(&["down", "--remove"]);
        assert!(std::thread::panicking() || down.status.success(), "{down:?}");
    }
}

/// It may be run twice.
fn only_looks(command: &str) -> bool {
    let looks = [
        "agentgate status",
        "agentgate trace list",
        "agentgate approve list",
        "agentgate mode list",
        "agentgate check",
        "agentgate kill list",
        "agentgate policy impact",
        "curl ",
    ];
    looks.iter().any(|look| command.starts_with(look))
}

fn parsed(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// All that it said, if it succeeded.
fn good(output: &Output) -> Result<String, String> {
    let said = [&output.stdout[..], &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    if output.status.success() { Ok(said) } else { Err(format!("{}: {said}", output.status)) }
}
