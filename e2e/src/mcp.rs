//! An MCP client that we did not write: the official Python SDK's, given orders line by line.

use crate::{Broken, Doing, Places};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// How the client comes to a protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Asks for the newest and falls back, as clients do in the field.
    Auto,
    /// 2025-11-25, with a session.
    Legacy,
}

#[derive(Debug)]
pub struct McpClient {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// The protocol version that client and server agreed on.
    pub version: String,
}

// === impl McpClient ===

impl McpClient {
    /// Connects, and agrees on a version.
    ///
    /// # Errors
    /// The client gave up; with what it said.
    pub fn connect(places: &Places, gate: SocketAddr, mode: Mode) -> Result<Self, Broken> {
        Self::connect_to(places, &format!("http://{gate}/mcp"), mode)
    }

    /// Connects to this address, and agrees on a version.
    ///
    /// # Errors
    /// The client gave up; with what it said.
    pub fn connect_to(places: &Places, url: &str, mode: Mode) -> Result<Self, Broken> {
        let mut command = Command::new(&places.python);
        command.arg(places.demo("notes_client.py")).arg(url);
        command.arg("--mode").arg(mode.name()).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().doing("starting the MCP client")?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().doing("the client's output")?);
        let mut client = Self { child, orders, answers, version: String::new() };
        let connected = client.answer()?;
        client.version = connected.get("version").and_then(Value::as_str).doing("the client names its version")?.to_owned();
        Ok(client)
    }

    /// The names of the tools that the client was shown.
    ///
    /// # Errors
    /// The client gave up; with what it said.
    pub fn tools(&mut self) -> Result<Value, Broken> {
        self.carry_out(&json!({"do": "list"}))
    }

    /// What the client made of the answer: `is_error`, `text`, `meta`, `progress`, or `error` with `code` and `message`.
    ///
    /// # Errors
    /// The client gave up; with what it said.
    pub fn call(&mut self, tool: &str, arguments: &Value) -> Result<Value, Broken> {
        self.carry_out(&json!({"do": "call", "tool": tool, "arguments": arguments}))
    }

    fn carry_out(&mut self, order: &Value) -> Result<Value, Broken> {
        let orders = self.orders.as_mut().doing("the client takes orders")?;
        writeln!(orders, "{order}").doing("telling the MCP client")?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Value, Broken> {
        let mut line = String::new();
        self.answers.read_line(&mut line).doing("hearing the MCP client")?;
        if line.is_empty() {
            return Err(Broken(format!("the MCP client gave up:\n{}", self.complaint())));
        }
        serde_json::from_str(&line).doing(format_args!("the MCP client said `{line}`"))
    }

    fn complaint(&mut self) -> String {
        let mut said = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            drop(std::io::Read::read_to_string(&mut errors, &mut said));
        }
        said
    }
}

impl Drop for McpClient {
    /// The client ends at the end of its orders, and ends its session as it goes.
    fn drop(&mut self) {
        drop(self.orders.take());
        drop(self.child.wait());
    }
}

// === impl Mode ===

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Legacy => "legacy",
        }
    }
}
