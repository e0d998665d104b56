//! `try`, `up` and `down` as a person runs them: what they show and leave, and that nothing is left of `try` or of `bench`,
//! however it ends.

use agentgate_e2e::{McpClient, Mode, Notes, Places, directory, eventually};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

fn laptop() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_laptop"));
    command.arg("try").current_dir(Places::found().unwrap().repository);
    command
}

#[test]
fn a_tour_shows_every_kind_of_verdict_and_a_denial_in_full() {
    let output = laptop().output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let wanted =
        ["tool_open", "tool_gated", "unknown_tool", "forbidden_query", "duplicate_key", "the call was not sent on", "./justw up"];
    for words in wanted {
        assert!(text.contains(words), "`{words}` is missing:\n{text}");
    }
}

#[test]
fn who_reads_one_line_of_it_and_leaves_breaks_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (nobody, stdout) = std::io::pipe().unwrap();
    drop(nobody);
    let mut command = Command::new(env!("CARGO_BIN_EXE_laptop"));
    let output = command.arg("down").current_dir(directory.path()).stdout(stdout).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn its_help_says_what_a_person_types() {
    for verb in ["up", "down"] {
        let output = Command::new(env!("CARGO_BIN_EXE_laptop")).args([verb, "--help"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(&format!("Usage: ./justw {verb} ")), "{text}");
    }
}

fn bench() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["--gates", "ours"]).current_dir(Places::found().unwrap().repository);
    command
}

#[test]
fn a_tour_and_a_bench_that_are_ended_early_leave_no_process_and_no_directory() {
    ended_early(laptop(), Signal::KILL);
    ended_early(laptop(), Signal::INT);
    ended_early(bench(), Signal::TERM);
    ended_early(bench(), Signal::INT);
}

fn ended_early(mut program: Command, signal: Signal) {
    let mut running = program.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let parent = running.id();
    let directory = eventually("the control plane runs", || children_of(parent).into_iter().find_map(directory_of)).unwrap();
    eventually("Envoy runs", || fs::exists(format!("{directory}/gate/admin-address")).ok().filter(|exists| *exists)).unwrap();
    let children = children_of(parent);
    assert!(children.len() >= 4, "{children:?}");
    kill_process(pid(parent), signal).unwrap();
    running.wait().unwrap();
    let all_gone = || children.iter().all(|child| test_kill_process(pid(*child)).is_err()).then_some(());
    eventually(format_args!("all of {program:?} are gone after {signal:?}"), all_gone).unwrap();
    let directory = Path::new(&directory).ancestors().find(|above| above.parent() == Some(&std::env::temp_dir())).unwrap();
    eventually("their directory is gone", || (!fs::exists(directory).unwrap()).then_some(())).unwrap();
}

/// The control plane, Envoy, the notes, and the shell that cleans up.
fn children_of(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let by_threads = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let mut children: Vec<u32> = by_threads.flat_map(|text| numbers(&text)).collect();
    children.sort_unstable();
    children.dedup();
    children
}

fn numbers(text: &str) -> Vec<u32> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// The world's directory, as the process's arguments name it.
fn directory_of(process: u32) -> Option<String> {
    let arguments = fs::read_to_string(format!("/proc/{process}/cmdline")).ok()?;
    let named = arguments.split('\0').find_map(|argument| argument.strip_suffix("/control-plane/control-plane.toml"));
    named.map(ToOwned::to_owned)
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

/// A directory in which `up` leaves its `.run/`, in front of these servers.
struct Home {
    places: Places,
    directory: TempDir,
}

/// On any free ports.
const PORTS: [&str; 10] =
    ["--gate-port", "0", "--admin-port", "0", "--filters-port", "0", "--operators-port", "0", "--metrics-port", "0"];

// === impl Home ===

impl Home {
    fn new() -> Self {
        let (places, directory) = (Places::found().unwrap(), directory().unwrap());
        // `up` takes its policies from the repository.
        for part in ["policies", "envoy"] {
            std::os::unix::fs::symlink(places.repository.join(part), directory.path().join(part)).unwrap();
        }
        Self { places, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// What it said, when it ended well or, if that is `wanted`, did not.
    fn laptop(&self, words: &[&str], wanted: bool) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_laptop"));
        let output = command.args(words).current_dir(self.directory.path()).output().unwrap();
        let said = [&output.stdout[..], &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
        assert_eq!(output.status.success(), wanted, "{words:?}: {said}");
        said
    }

    /// The notes that a client finds behind the gate under this path.
    fn client(&self, server: &str) -> McpClient {
        McpClient::connect_to(&self.places, &format!("{}/{server}", self.read(".run/ready")), Mode::Auto).unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let down = Command::new(env!("CARGO_BIN_EXE_laptop"))
            .args(["down", "--remove"])
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        assert!(std::thread::panicking() || (down.status.success() && !self.path(".run").exists()), "{down:?}");
    }
}

#[test]
fn all_servers_of_a_clients_file_stand_behind_one_gate_and_the_file_comes_back_whole() {
    let home = Home::new();
    let [first, second] = ["a", "b"].map(|name| Notes::start(&home.places, &home.path(name), &[]).unwrap());
    let nobody = format!("http://{}/mcp", TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap());
    let mut file = json!({"inputs": [], "mcpServers": {
        "first": {"type": "http", "url": format!("http://{}/mcp", first.address), "timeout": 60},
        "The Second": {"url": format!("http://{}/mcp", second.address), "headers": {"x-token": "t"}},
        "later": {"url": nobody},
        "git": {"command": "uvx", "args": ["mcp-server-git"], "env": {"TOKEN": "t"}},
        "off": {"url": "http://127.0.0.1:1/mcp", "disabled": true},
    }});
    fs::write(home.path("mcp.json"), file.to_string()).unwrap();
    let up = [&["up", "--mcp-config", "mcp.json"][..], &PORTS].concat();
    let said = home.laptop(&up, true);
    let warning = format!("warning: nobody answers at {nobody} yet");
    for words in [warning.as_str(), "-- uvx mcp-server-git", "off: it is disabled"] {
        assert!(said.contains(words), "`{words}` is missing:\n{said}");
    }
    assert_eq!(said.matches("nobody answers").count(), 1, "{said}");

    let (mut one, mut other) = (home.client("first"), home.client("The-Second"));
    let added = other.call("add_note", &json!({"title": "in the second alone", "text": "x"})).unwrap();
    assert_eq!(added["is_error"], false, "{added}");
    let lists = |client: &mut McpClient| client.call("list_notes", &json!({})).unwrap()["text"].to_string();
    assert!(lists(&mut other).contains("in the second alone"));
    let in_the_first = lists(&mut one);
    assert!(in_the_first.contains("title") && !in_the_first.contains("in the second alone"), "{in_the_first}");

    let gate = home.read(".run/ready");
    for (key, name) in [("first", "first"), ("The Second", "The-Second"), ("later", "later")] {
        file["mcpServers"][key]["url"] = json!(format!("{gate}/{name}"));
    }
    assert_eq!(serde_json::from_str::<Value>(&home.read(".run/mcp.json")).unwrap(), file);

    let line = format!("./justw {}", up.join(" "));
    let other = home.laptop(&["up", "http://127.0.0.1:1/mcp"], false);
    assert!(other.contains(&format!("running already, by `{line}`")), "{other}");
    assert!(home.laptop(&["down"], true).contains(&format!("start it again   {line}")));
    let demo = home.laptop(&["up"], false);
    let (again, removal) = (demo.find(&line), demo.find("--remove"));
    assert!(again.is_some() && again < removal, "{demo}");
}
