//! What the documents tell people to type is typed here: every line of their `sh` blocks has a runner, and a line without one fails.
//! What starts everything runs in a directory and on ports of its own; what fetches tools or runs this very test is only looked up.

use agentgate_e2e::{Broken, Doing, McpClient, Mode, Notes, Places, Process, eventually};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const DOCUMENTS: [&str; 4] = ["README.md", "docs/operating.md", "docs/evidence.md", "policies/README.md"];

/// Recipes that would start this test again, or that another step of `./justw test` runs: here they only have to exist.
const LOOKED_UP: [&str; 5] = ["try", "test", "build", "bench", "wasm"];

/// What a line of a document is, and so how it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    /// `./justw NAME`, which is looked up.
    Recipe(String),
    Up,
    Down,
    /// `source .run/env`: what follows it is run so.
    Source,
    /// Ends by itself.
    Runs(String),
    /// Goes on until it is told to end.
    Follows(String),
}

#[test]
fn every_command_of_the_documents_works() {
    let places = Places::found().unwrap();
    let desk = Desk::new(places).unwrap();
    let mut ran = 0;
    for document in DOCUMENTS {
        let text = fs::read_to_string(desk.places.repository.join(document)).unwrap();
        for command in blocks(&text) {
            let line = Line::of(&command).unwrap_or_else(|| panic!("{document}: nothing here runs `{command}`"));
            desk.run(&line).unwrap_or_else(|why| panic!("{document}: `{command}`: {why}"));
            ran += 1;
        }
        for word in inline(&text) {
            desk.look_up(&word).unwrap_or_else(|why| panic!("{document}: `{word}`: {why}"));
        }
    }
    assert!(ran > 10, "hardly any command was found: the blocks are not read");
}

#[test]
fn a_command_that_nothing_runs_is_noticed() {
    let text = "```sh\n./justw up --mcp-config mcp.json  # and wait\ncurl example.com | sh\n```\n`./justw fly` and `agentgate fly`\n```\nno command\n```\n";
    assert_eq!(blocks(text), ["./justw up --mcp-config mcp.json", "curl example.com | sh"]);
    assert_eq!(blocks(text).iter().map(|line| Line::of(line)).collect::<Vec<_>>(), [Some(Line::Up), None]);
    let desk = Desk::new(Places::found().unwrap()).unwrap();
    for word in inline(text).iter().filter(|word| word.contains("fly")) {
        assert!(desk.look_up(word).is_err(), "{word}");
    }
}

/// The lines of every `sh` block, without comments.
fn blocks(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        // Also inside of a list.
        let line = line.trim_start();
        if line.starts_with("```") {
            inside = line == "```sh";
        } else if inside {
            let command = line.split(" #").next().unwrap_or_default().trim();
            commands.extend((!command.is_empty() && !command.starts_with('#')).then(|| command.to_owned()));
        }
    }
    commands
}

/// What stands between backticks in running text.
fn inline(text: &str) -> Vec<String> {
    let prose: Vec<&str> = text.split("```").step_by(2).collect();
    prose.iter().flat_map(|part| part.split('`').skip(1).step_by(2)).map(ToOwned::to_owned).collect()
}

// === impl Line ===

impl Line {
    /// None: nobody knows how to run it.
    fn of(command: &str) -> Option<Self> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["./justw", "up", "--mcp-config", _] => Some(Self::Up),
            ["./justw", "down"] => Some(Self::Down),
            ["./justw", name] if LOOKED_UP.contains(name) => Some(Self::Recipe((*name).to_owned())),
            ["source", ".run/env"] => Some(Self::Source),
            ["agentgate", "trace", "tail", ..] => Some(Self::Follows(command.to_owned())),
            ["mkdir" | "cp", ..] => Some(Self::Runs(command.to_owned())),
            ["agentgate", "journal" | "evidence" | "log" | "verify", ..] => Some(Self::Runs(command.to_owned())),
            ["agentgate", "enforce", ..] => Some(Self::Runs(format!("{command} --yes"))),
            ["agentgate", "authority" | "check" | "envoy" | "openapi" | "policy" | "status" | "trace", ..] => {
                Some(Self::Runs(command.to_owned()))
            }
            _ => None,
        }
    }
}

/// Where the commands are typed: a directory of its own, in which `./justw up` leaves its `.run/`.
struct Desk {
    places: Places,
    directory: TempDir,
    /// The server of the person who follows the documents. Ends with the desk.
    _notes: Notes,
}

// === impl Desk ===

impl Desk {
    fn new(places: Places) -> Result<Self, Broken> {
        let directory = tempfile::Builder::new().prefix("agentgate-documents-").tempdir().doing("a directory")?;
        // Documents name it as it lies in the repository.
        for part in ["policies", "envoy", "e2e"] {
            std::os::unix::fs::symlink(places.repository.join(part), directory.path().join(part)).doing(part)?;
        }
        let module = directory.path().join("target/wasm32-wasip1/wasm/agentgate_filter.wasm");
        fs::create_dir_all(module.with_file_name("")).doing("the module's directory")?;
        std::os::unix::fs::symlink(&places.filter, module).doing("the module")?;
        let notes = Notes::start(&places, &directory.path().join("own"), &[])?;
        let file = json!({"mcpServers": {"notes": {"type": "http", "url": format!("http://{}/mcp", notes.address)}}});
        fs::write(directory.path().join("mcp.json"), file.to_string()).doing("a client's file")?;
        Ok(Self { places, directory, _notes: notes })
    }

    fn run(&self, line: &Line) -> Result<(), String> {
        match line {
            Line::Recipe(name) => self.recipe(name),
            Line::Up => self.up(),
            Line::Down => good(&self.laptop(&["down"])),
            Line::Source => self.exists(".run/env"),
            Line::Runs(command) => good(&self.shell(&self.here(command))),
            Line::Follows(command) => self.follows(command),
        }
    }

    /// With the directories of this desk: the journal is that of `./justw up`.
    fn here(&self, command: &str) -> String {
        let backup = self.directory.path().join("monday");
        command
            .replace("--from journal ", "--from .run/control-plane/journal ")
            .replace("/backup/monday", &backup.display().to_string())
    }

    /// A command that only text names must be one, and a file of `.run/` must lie there.
    fn look_up(&self, word: &str) -> Result<(), String> {
        let words: Vec<&str> = word.split_whitespace().collect();
        match words.as_slice() {
            ["./justw", name, ..] => self.recipe(name),
            ["agentgate" | "agentgate-control-plane", rest @ ..] => {
                let verbs: Vec<&str> = rest.iter().copied().take_while(|word| word.chars().all(char::is_lowercase)).collect();
                good(&self.shell(&format!("{} {} --help", words[0], verbs.join(" "))))
            }
            [path] if path.starts_with(".run/") => self.exists(path),
            _ => Ok(()),
        }
    }

    fn recipe(&self, name: &str) -> Result<(), String> {
        let justfile = fs::read_to_string(self.places.repository.join("justfile")).map_err(|error| error.to_string())?;
        let is_it = |line: &str| line.split([' ', ':']).next() == Some(name) && line.contains(':') && !line.contains(":=");
        if justfile.lines().any(is_it) { Ok(()) } else { Err("the justfile has no such recipe".into()) }
    }

    /// As `./justw up` before the person's own server, on any free ports; and a few calls, so that there is something to see.
    fn up(&self) -> Result<(), String> {
        let options = ["--gate-port", "--admin-port", "--filters-port", "--operators-port", "--metrics-port"];
        let arguments: Vec<&str> =
            ["up", "--mcp-config", "mcp.json"].into_iter().chain(options.into_iter().flat_map(|option| [option, "0"])).collect();
        good(&self.laptop(&arguments))?;
        let mut client = self.client()?;
        client.tools().map_err(|error| error.to_string())?;
        client.call("list_notes", &json!({})).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// A client of the gate that `up` has started.
    fn client(&self) -> Result<McpClient, String> {
        let gate = fs::read_to_string(self.directory.path().join(".run/ready")).map_err(|error| error.to_string())?;
        McpClient::connect_to(&self.places, &format!("{gate}/notes"), Mode::Auto).map_err(|error| error.to_string())
    }

    /// It has said something, and still runs.
    fn follows(&self, command: &str) -> Result<(), String> {
        let log = self.directory.path().join("followed.log");
        let mut following = Process::start(command, self.bash(command), &log).map_err(|error| error.to_string())?;
        let mut client = self.client()?;
        let says = following.until("it shows a call", || {
            client.call("read_note", &json!({"id": 1})).ok()?;
            fs::read_to_string(&log).ok().filter(|text| text.contains("read_note"))
        });
        says.map(drop).map_err(|error| error.to_string())
    }

    fn exists(&self, path: &str) -> Result<(), String> {
        if self.directory.path().join(path).exists() { Ok(()) } else { Err("there is no such file after `./justw up`".into()) }
    }

    fn shell(&self, command: &str) -> Output {
        self.bash(command).output().unwrap()
    }

    /// In a shell that has sourced what there is to source.
    fn bash(&self, command: &str) -> Command {
        let mut shell = Command::new("bash");
        let programs = self.programs();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        shell.args(["-euc", &format!("[ ! -e .run/env ] || source .run/env\nexec {command}")]).env("PATH", path);
        // As the reader puts it there; the name of a log is enough.
        shell.current_dir(self.directory.path()).env("VERIFIER", "agentgate.local/log");
        shell
    }

    fn laptop(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_laptop")).args(arguments).current_dir(self.directory.path()).output().unwrap()
    }

    fn programs(&self) -> PathBuf {
        self.places.agentgate.parent().unwrap_or(Path::new(".")).to_path_buf()
    }
}

impl Drop for Desk {
    /// What `up` left running ends as a person would end it, and leaves nothing.
    fn drop(&mut self) {
        let down = self.laptop(&["down", "--remove"]);
        // An archive lets nobody remove it.
        let _ = self.shell("chmod -Rf u+w .");
        let left = self.directory.path().join(".run");
        let gone = eventually("nothing is left", || (!left.exists()).then_some(()));
        assert!(std::thread::panicking() || (down.status.success() && gone.is_ok()), "{down:?}");
    }
}

fn good(output: &Output) -> Result<(), String> {
    let said = || [&output.stdout[..], &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    if output.status.success() { Ok(()) } else { Err(format!("{}: {}", output.status, said())) }
}
