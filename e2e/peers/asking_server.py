"""An MCP server that asks back: its tools bear names of the demo's notes, and each wants something of the client before it answers.

It knows nothing of AgentGate. In the session era its questions are requests on the call's event stream; since 2026-07-28
they are a result of their own, and the client calls again with the answers.
"""

import argparse
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Annotated

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve, Sample
from mcp_types import CreateMessageResult, SamplingMessage, TextContent
from pydantic import BaseModel


class Choice(BaseModel):
    id: int


async def chosen() -> Elicit[Choice]:
    return Elicit("which note?", Choice)


async def summed_up() -> Sample:
    question = SamplingMessage(role="user", content=TextContent(type="text", text="sum up: oats, apples"))
    return Sample([question], max_tokens=20)


def asking_server() -> MCPServer:
    server = MCPServer("asking")

    @server.tool()
    async def read_note(choice: Annotated[Choice, Resolve(chosen)]) -> str:
        """Asks the person which note."""
        return f"note {choice.id}"

    @server.tool()
    async def search_notes(summary: Annotated[CreateMessageResult, Resolve(summed_up)]) -> str:
        """Asks the client's model."""
        return f"summary: {summary.content.text}"

    @server.tool()
    async def list_notes(context: Context) -> str:
        """Says on the session's own stream that the list has changed."""
        await context.session.send_tool_list_changed()
        return "told"

    return server


def end_with_parent() -> None:
    """Whoever started this server holds its standard input open; when that closes, there is nobody left to serve."""
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    options = argparse.ArgumentParser(description="an MCP server that asks back, for the stories")
    options.add_argument("--ready-file", type=Path, required=True, help="receives the port once it listens")
    given = options.parse_args()

    listener = socket.create_server(("127.0.0.1", 0))
    app = asking_server().streamable_http_app()
    threading.Thread(target=end_with_parent, daemon=True).start()
    unfinished = given.ready_file.with_suffix(".tmp")
    unfinished.write_text(str(listener.getsockname()[1]))
    unfinished.rename(given.ready_file)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
