"""The demo's MCP server: notes in a SQLite file, served over streamable HTTP by the official SDK, in both eras.

It knows nothing of AgentGate and guards nothing: whatever reaches it, it does.
"""

import argparse
import json
import sqlite3
from pathlib import Path

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from serving import serve

SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, title TEXT NOT NULL, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY, note INTEGER NOT NULL, recipient TEXT NOT NULL);
"""

FIRST_NOTES = [
    ("groceries", "oats, apples, coffee"),
    ("standup", "the gate goes live on Monday"),
    ("password list", "kept here so that there is something worth guarding"),
]


def open_store(path: Path) -> sqlite3.Connection:
    store = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    store.executescript(SCHEMA)
    if store.execute("SELECT count(*) FROM notes").fetchone() == (0,):
        store.executemany("INSERT INTO notes (title, text) VALUES (?, ?)", FIRST_NOTES)
    return store


def notes_server(store: sqlite3.Connection) -> MCPServer:
    server = MCPServer("notes")

    @server.tool()
    async def list_notes() -> str:
        """The id and title of every note."""
        rows = store.execute("SELECT id, title FROM notes ORDER BY id").fetchall()
        return json.dumps([{"id": id, "title": title} for id, title in rows])

    @server.tool()
    async def read_note(id: int) -> str:
        """One note, whole."""
        row = store.execute("SELECT title, text FROM notes WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise ToolError(f"there is no note {id}")
        return f"{row[0]}: {row[1]}"

    @server.tool()
    async def search_notes(query: str) -> str:
        """The ids of the notes whose title or text contains the query."""
        pattern = f"%{query}%"
        rows = store.execute("SELECT id FROM notes WHERE title LIKE ? OR text LIKE ? ORDER BY id", (pattern, pattern))
        return json.dumps([id for (id,) in rows])

    @server.tool()
    async def add_note(title: str, text: str) -> str:
        """Write a new note."""
        id = store.execute("INSERT INTO notes (title, text) VALUES (?, ?)", (title, text)).lastrowid
        return f"note {id} was added"

    @server.tool()
    async def delete_note(id: int) -> str:
        """Remove a note for good."""
        gone = store.execute("DELETE FROM notes WHERE id = ?", (id,)).rowcount
        return f"{gone} notes were deleted"

    @server.tool()
    async def send_note(id: int, to: str) -> str:
        """Send a note to somebody."""
        store.execute("INSERT INTO outbox (note, recipient) VALUES (?, ?)", (id, to))
        return f"note {id} was sent to {to}"

    @server.tool()
    async def slow_report(context: Context) -> str:
        """Count the notes, slowly, and tell how far it is."""
        for step in (1, 2, 3):
            await context.report_progress(step, 3, f"step {step} of 3")
            await anyio.sleep(0.1)
        (count,) = store.execute("SELECT count(*) FROM notes").fetchone()
        return f"{count} notes"

    return server


def main() -> None:
    options = argparse.ArgumentParser(description="notes over MCP, for the demo and the stories")
    options.add_argument("--store", type=Path, required=True, help="the SQLite file")
    options.add_argument("--port", type=int, default=0, help="0: any free one")
    options.add_argument("--ready-file", type=Path, help="receives the port once it listens")
    options.add_argument("--json", action="store_true", help="answer with JSON where the SDK would stream")
    given = options.parse_args()

    app = notes_server(open_store(given.store)).streamable_http_app(json_response=given.json)
    serve(app, given.port, given.ready_file)


if __name__ == "__main__":
    main()
